"""Lazy exports of packages: each public name is imported when it is first used."""

import ast
import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any


def lazy_exports(package: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Returns ``__getattr__`` and ``__dir__`` of a package that imports its public names lazily.

    The returned ``__getattr__`` imports a name when it is first used. The names and their modules
    are parsed from the imports that the package declares for type checkers::

        if TYPE_CHECKING:
            from wmrl.nn.losses import gaussian_kl as gaussian_kl
        else:
            __getattr__, __dir__ = lazy_exports(__name__)

        __all__ = ["gaussian_kl"]

    Args:
        package: the package's ``__name__``.

    Returns:
        The functions ``__getattr__`` and ``__dir__`` of the package (PEP 562).
    """

    @cache
    def homes() -> dict[str, str]:
        return _imports_for_type_checkers(package)

    def get(name: str) -> Any:
        # Dunders are never exported, and Python looks up some (__path__, __wrapped__) often.
        if name.startswith("__") or name not in homes():
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(homes()[name]), name)
        setattr(sys.modules[package], name, value)  # later look-ups find it there
        return value

    def names() -> list[str]:
        return sorted(homes())

    return get, names


def _imports_for_type_checkers(package: str) -> dict[str, str]:
    """Maps the names that a package imports under ``if TYPE_CHECKING`` to the names' modules."""
    spec = sys.modules[package].__spec__
    source = None if spec is None or spec.loader is None else spec.loader.get_source(package)  # type: ignore[attr-defined]
    if source is None:
        raise ImportError(
            f"{package}: expected an __init__.py, which lists the package's exports, got none; "
            "install the package with its .py files"
        )
    return {
        alias.asname or alias.name: node.module
        for block in ast.parse(source).body
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in block.body
        if isinstance(node, ast.ImportFrom) and node.module is not None
        for alias in node.names
    }
