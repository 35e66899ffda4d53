"""Pages of the API reference: one for each package that exports public names.

The docstring of a package is its index: a page shows it with links, and then documents the names.
Each name is documented once, under the shortest path from which it can be imported, and on the page
of the innermost package that exports it: ``wmrl.agents.PPOLearner`` is on the page of
``wmrl.agents.ppo``.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from inspect import cleandoc, getdoc, isclass, isroutine
from itertools import pairwise
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

_FLOORS = ("wmrl", "wmrl.envs", "wmrl.agents")
_NO_PAGE = ("wmrl", "wmrl.artifacts", "wmrl.scripts")
MODULES = ("wmrl.dream",)
"""Modules that are public, although they are not packages."""


def packages() -> Iterator[str]:
    """Yields the names of all packages that have a page, each floor before its packages."""
    for floor in _FLOORS:
        if floor not in _NO_PAGE:
            yield floor
        for module in iter_modules(import_module(floor).__path__, f"{floor}."):
            if module.ispkg and module.name not in (*_FLOORS, *_NO_PAGE):
                yield module.name


@cache
def exports(page: str) -> list[str]:
    """Returns the public names of a package, or of one of the :data:`MODULES`."""
    module = import_module(page)
    if page not in MODULES:
        return list(module.__all__)
    return [
        name
        for name, value in vars(module).items()
        if getattr(value, "__module__", None) == page and not name.startswith("_")
    ]


class Reference:
    """All public names, by the paths at which they are defined.

    Attributes:
        pages: names of the packages and modules that have a page.
    """

    def __init__(self) -> None:
        self.pages = [*packages(), *MODULES]
        exporters: dict[str, list[str]] = {}
        for page in self.pages:
            for name in exports(page):
                exporters.setdefault(_definition(page, name), []).append(page)
        self._page_of = {path: max(pages, key=_depth) for path, pages in exporters.items()}
        self._public = {
            path: f"{min(pages, key=_depth)}.{path.rpartition('.')[2]}"
            for path, pages in exporters.items()
        }

    def names(self, page: str) -> dict[str, str]:
        """Maps the public names of a package to the paths under which they are documented."""
        return {name: self._public[_definition(page, name)] for name in exports(page)}

    def text(self, page: str) -> str:
        """Returns a page as reStructuredText."""
        title = f"{page}\n{'=' * len(page)}"
        parts = [title, f".. py:module:: {page}", self._index(page)]
        for name, path in self.names(page).items():
            definition = _definition(page, name)
            if self._page_of[definition] == page:
                parts.append(_directive(path, definition))
        return "\n\n".join(parts) + "\n"

    def _index(self, page: str) -> str:
        """The docstring of a package, in which its public names are links."""
        paths = self.names(page)

        def link(found: re.Match[str]) -> str:
            name = found[1]
            return f":py:obj:`{name} <{paths[name]}>`" if name in paths else found[0]

        return re.sub(r"``(\w+)``", link, getdoc(import_module(page)) or "")

    def find(self, target: str, *, package: str | None, cls: str | None) -> str | None:
        """Finds what a docstring refers to.

        Args:
            target: path or name in the docstring.
            package: package whose page contains the docstring.
            cls: path of the class, if the docstring is in a class.

        Returns:
            The path under which the target is documented; an empty text if it exists, but is not
            public; None if there is no such thing.
        """
        scopes = [""]
        if cls is not None:
            value = _value(cls)
            scopes += [f"{value.__module__}.{value.__qualname__}.", f"{value.__module__}."]
        if package in self.pages:
            paths = {_definition(package, name).rpartition(".")[0] for name in exports(package)}
            scopes += [f"{path}." for path in sorted(paths)]
        for path in (f"{scope}{target}" for scope in scopes):
            if path.startswith("wmrl") and _exists(path):
                return self._public_path(path) or ""
        return None

    def _public_path(self, path: str) -> str | None:
        """Documented path of something in a public class, or of a public name, if there is one."""
        parts = path.split(".")
        for end in range(len(parts), 1, -1):
            if (public := self._public.get(".".join(parts[:end]))) is not None:
                return ".".join((public, *parts[end:]))
        return None


@cache
def _definition(page: str, name: str) -> str:
    """Path at which a public name is defined."""
    value = getattr(import_module(page), name)
    if isclass(value) or isroutine(value):
        return f"{value.__module__}.{value.__qualname__}"
    for node in ast.walk(ast.parse(_source(page))):
        if isinstance(node, ast.ImportFrom) and name in {each.name for each in node.names}:
            return f"{node.module}.{name}"
    return f"{page}.{name}"


def _source(module: str) -> str:
    return Path(str(import_module(module).__file__)).read_text()


def _value(path: str) -> Any:
    """The object at a path, or None."""
    parts = path.split(".")
    for end in range(len(parts), 0, -1):
        try:
            value: Any = import_module(".".join(parts[:end]))
        except ImportError:
            continue
        for name in parts[end:]:
            value = getattr(value, name, None)
        return value
    return None


def _exists(path: str) -> bool:
    """True if there is something at a path, such as an attribute that only instances have."""
    parent, _, name = path.rpartition(".")
    bases = cls.__mro__ if parent and isclass(cls := _value(parent)) else ()
    annotated = any(name in vars(base).get("__annotations__", ()) for base in bases)
    return annotated or _value(path) is not None


def _depth(page: str) -> int:
    return page.count(".")


def _directive(path: str, definition: str) -> str:
    value = _value(path)
    if isroutine(value):
        return f".. autofunction:: {path}"
    if not isclass(value):
        return f".. py:data:: {path}\n\n   {_docstring_below(definition)}"
    lines = [f".. autoclass:: {path}", "   :members:", "   :show-inheritance:"]
    if attributes := _listed_attributes(value):
        # They are described with the class, so that they must not appear again below.
        lines.append(f"   :exclude-members: {', '.join(attributes)}")
    return "\n".join(lines)


def _docstring_below(definition: str) -> str:
    """The docstring below the assignment that defines a constant; empty if there is none."""
    module, _, name = definition.rpartition(".")
    body = ast.parse(_source(module)).body
    for node, below in pairwise(body):
        if not isinstance(node, ast.Assign | ast.AnnAssign):
            continue
        target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
        if ast.unparse(target) == name and isinstance(below, ast.Expr):
            return cleandoc(str(ast.literal_eval(below.value))).replace("\n", "\n   ")
    return ""


def _listed_attributes(cls: type) -> list[str]:
    """Names in the section "Attributes" of a class's own docstring."""
    docstring = cleandoc(cls.__doc__ or "") + "\n"
    section = re.search(r"^Attributes:\n((?: .*\n|\n)*)", docstring, re.M)
    return re.findall(r"^    (\w+):", section[1], re.M) if section else []
