"""Registries of the classes that artifacts refer to by name, and plugins that add classes.

Artifacts cannot make the program import arbitrary modules: they can refer only to classes of this
library and to classes that the running program has registered.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

T = TypeVar("T")
S = TypeVar("S")

PLUGIN_GROUP = "wmrl.plugins"
"""Entry point group in which a package lists the modules that register its classes."""


class Registry(Generic[T]):
    """Registry of the classes of one kind, by name.

    The built-in classes are imported when they are first used; :meth:`register` adds other classes.

    Args:
        base: base class of all registered classes.
        kind: kind of the artifacts that store instances of the classes, such as ``"vision"``.
        builtin: the built-in classes, each as a path ``"module:Class"``.
        register: dotted name of the public function that registers a class; error messages name
            this function.

    Example:
        >>> from torch import nn
        >>> from wmrl.storage import Registry
        >>> layers = Registry(nn.Module, "layer", ["torch.nn:Linear"], register="add_layer")
        >>> @layers.register
        ... class Double(nn.Module):
        ...     pass
        >>> layers.names
        ['Double', 'Linear']
        >>> layers.find("Linear").__name__
        'Linear'
        >>> layers.find("Triple")
        Traceback (most recent call last):
        ValueError: unknown layer class 'Triple': expected one of 'Double', 'Linear'; import the ...
    """

    def __init__(self, base: type[T], kind: str, builtin: Iterable[str], *, register: str) -> None:
        self.base, self.kind = base, kind
        self._builtin = {path.partition(":")[2]: path for path in builtin}
        self._register_name = register
        self._registered: dict[str, type[T]] = {}

    @property
    def names(self) -> list[str]:
        """Names of all known classes, sorted."""
        return sorted({*self._builtin, *self._registered})

    def register(self, cls: type[S]) -> type[S]:
        """Adds a class under its name; usable as a decorator.

        If a class is defined again, for example by a notebook cell that runs twice, the new
        definition replaces the earlier one.

        Args:
            cls: class that derives from ``base``.

        Returns:
            The same class.

        Raises:
            ValueError: a different class has the same name.
            TypeError: ``cls`` is not a class, or does not derive from ``base``.
        """
        given: object = cls  # the annotation is not checked at run time
        if not isinstance(given, type) or not issubclass(given, self.base):
            raise TypeError(f"cls: expected a subclass of {self.base.__name__}, got {cls!r:.100}")
        name = _artifact_name(cls)
        known = self._builtin.get(name)
        if name in self._registered:
            known = _path(self._registered[name])
        if known not in (None, _path(cls)):
            raise ValueError(
                f"{name}: expected an unused name for a {self.kind} class, got the name of {known}"
                f"; rename the class {_path(cls)}"
            )
        if name not in self._builtin:
            self._registered[name] = given
        return cls

    def find(self, name: str) -> type[T]:
        """Returns the class with a given name.

        Raises:
            ValueError: there is no class with that name.
        """
        if name in self._registered:
            return self._registered[name]
        if name not in self._builtin:
            raise ValueError(f"unknown {self.kind} class {name!r}: {self._expected()}")
        found: type[T] = _import(self._builtin[name])
        return found

    def name_of(self, cls: Any) -> str:
        """Returns the name of a known class.

        Raises:
            ValueError: the class is not known.
        """
        name = _artifact_name(cls) if isinstance(cls, type) else ""
        if name not in self.names or self.find(name) is not cls:
            raise ValueError(
                f"expected a known {self.kind} class, got {cls!r:.200}; register it: put the "
                f"decorator {self._register_name} before the class"
            )
        return name

    def for_config(self, config: Any) -> type[T]:
        """Returns the class whose ``config_class`` is the type of ``config``.

        Raises:
            ValueError: there is no such class.
        """
        for cls in self:
            if getattr(cls, "config_class", None) is type(config):
                return cls
        raise ValueError(
            f"config: expected the configuration of a known {self.kind} class, got a "
            f"{type(config).__name__}; {self._expected()}"
        )

    def __iter__(self) -> Iterator[type[T]]:
        return iter([self.find(name) for name in self.names])

    def _expected(self) -> str:
        names = ", ".join(map(repr, self.names))
        return (
            f"expected one of {names}; import the package that registers the class with "
            f"{self._register_name}, or pass the package's name to wmrl --plugins"
        )


def load_plugins(names: Iterable[str]) -> None:
    """Imports the plugins of the given packages.

    A plugin is a module that registers classes when it is imported. A package declares its plugins
    as entry points in the group ``wmrl.plugins``. Plugins of other packages are not imported.

    Args:
        names: names of installed packages, as in ``pip install``.

    Raises:
        ValueError: a package is not installed, or declares no plugins.
    """
    known = _plugins()
    for name in names:
        if _normalized(name) not in known:
            found = ", ".join(map(repr, sorted(known))) or "none"
            raise ValueError(
                f"plugins: expected one of the installed packages with entry points in the group "
                f"{PLUGIN_GROUP!r} ({found}), got {name!r}; install the package, or correct its "
                "name"
            )
        for point in known[_normalized(name)]:
            point.load()


def _plugins() -> Mapping[str, list[EntryPoint]]:
    """Returns the plugin entry points of all installed packages, by package name."""
    found: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group=PLUGIN_GROUP):
        if point.dist is not None:
            found.setdefault(_normalized(point.dist.name), []).append(point)
    return found


def _normalized(name: str) -> str:
    """Normalizes a package name as package indexes do (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _artifact_name(cls: type) -> str:
    return getattr(cls, "class_name", cls.__name__)


def _path(cls: type) -> str:
    return f"{cls.__module__}:{cls.__qualname__}"


def _import(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)
