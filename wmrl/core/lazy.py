"""Lazy exports: the one loader behind the ``__init__`` of every package of this project."""

import ast
import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any


def lazy_exports(package: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Makes a package import each of its public names when it is first used.

    The package lists its names once, as type checkers read them; this function reads the same
    lines::

        if TYPE_CHECKING:
            from wmrl.nn.losses import gaussian_kl as gaussian_kl
        else:
            __getattr__, __dir__ = lazy_exports(__name__)

        __all__ = ["gaussian_kl"]

    Args:
        package: its ``__name__``.

    Returns:
        The package's ``__getattr__`` and ``__dir__`` (PEP 562).
    """

    @cache
    def homes() -> dict[str, str]:
        return _imports_for_type_checkers(package)

    def get(name: str) -> Any:
        # A dunder is never exported; Python asks for some (__path__, __wrapped__) all the time.
        if name.startswith("__") or name not in homes():
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(homes()[name]), name)
        setattr(sys.modules[package], name, value)  # found without this function from now on
        return value

    def names() -> list[str]:
        return sorted(homes())

    return get, names


def _imports_for_type_checkers(package: str) -> dict[str, str]:
    """Module of each name that a package imports under ``if TYPE_CHECKING``."""
    spec = sys.modules[package].__spec__
    source = None if spec is None or spec.loader is None else spec.loader.get_source(package)  # type: ignore[attr-defined]
    if source is None:
        raise ImportError(f"{package}: its source is not there, which tells where its names live")
    return {
        alias.asname or alias.name: node.module
        for block in ast.parse(source).body
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in block.body
        if isinstance(node, ast.ImportFrom) and node.module is not None
        for alias in node.names
    }
