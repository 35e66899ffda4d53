"""Configurations from JSON, checked against the fields of a dataclass."""

import sys
from collections.abc import Mapping
from dataclasses import fields
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

C = TypeVar("C")


def build_config(config_class: type[C], values: Mapping[str, Any]) -> C:
    """Builds a configuration dataclass from the values of a JSON object.

    Each value is checked against the type of its field. Dataclasses do not check types themselves:
    a dimension of 256.0 or "256" would be accepted, and cause an error much later or never.

    Args:
        config_class: dataclass whose fields have types that JSON can store.
        values: values by field name; missing fields keep their defaults.

    Raises:
        TypeError: a name is unknown, or a value does not have the type of its field.
        ValueError: ``config_class`` rejects a value.

    Example:
        >>> from wmrl.core import build_config
        >>> from wmrl.vision import VAEConfig
        >>> build_config(VAEConfig, {"latent_dim": 16}).latent_dim
        16
        >>> build_config(VAEConfig, {"latent_dim": "16"})
        Traceback (most recent call last):
        TypeError: latent_dim: expected int, got '16'
    """
    hints = get_type_hints(config_class)
    known = {item.name for item in fields(config_class)}  # type: ignore[arg-type]
    for name, value in values.items():
        if name not in known:
            raise TypeError(f"{name}: unknown field; expected one of {sorted(known)}")
        if not _fits(value, hints[name]):
            hint = getattr(hints[name], "__name__", None) or str(hints[name])
            raise TypeError(f"{name}: expected {hint}, got {value!r:.100}")
    # JSON stores tuples as lists.
    values = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
    return config_class(**values)


def _fits(value: Any, hint: Any) -> bool:
    """Returns True if a value from JSON matches a type hint."""
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return any(_fits(value, option) for option in args)
    if origin is Literal:
        return value in args
    if origin is tuple:
        if not isinstance(value, list | tuple):
            return False
        kinds = [args[0]] * len(value) if args[1:] == (...,) else list(args)
        return len(kinds) == len(value) and all(map(_fits, value, kinds))
    if hint is float:
        return type(value) in (int, float) and abs(value) <= sys.float_info.max
    if hint in (int, str, bool, NoneType):
        return type(value) is hint  # bool, a subclass of int, is not accepted as int
    return origin is None or isinstance(value, origin)
