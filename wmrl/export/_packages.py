"""Import of optional packages, which extras of this package install."""

from importlib import import_module
from types import ModuleType


def import_packages(extra: str, *names: str) -> tuple[ModuleType, ...]:
    """Imports optional packages.

    Args:
        extra: name in square brackets in ``pip install "wmrl[…]"``, which installs the packages.
        names: names of the packages.

    Raises:
        ImportError: a package is not installed, or can't be imported.
    """
    modules = []
    for name in names:
        try:
            modules.append(import_module(name))
        except ImportError as error:
            raise ImportError(
                f"expected the package {name!r}, whose import failed ({error}); install it with "
                f'pip install "wmrl[{extra}]"'
            ) from error
    return tuple(modules)
