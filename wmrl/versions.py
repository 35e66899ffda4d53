"""Versions of packages, for what is written down beside results."""

from importlib.metadata import version


def package_versions(*more: str) -> dict[str, str]:
    """Versions of wmrl, NumPy, torch, and ``more`` packages, by name."""
    return {name: version(name) for name in sorted({"wmrl", "numpy", "torch", *more})}
