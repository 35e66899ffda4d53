"""Checks of configuration dataclasses: each value against the type of its field."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from wmrl.core.validation import (
    check_choice,
    check_flag,
    check_float,
    check_int,
    check_name,
    check_seed,
)

C = TypeVar("C")


def build_config(config_class: type[C], values: Mapping[str, Any]) -> C:
    """Builds a configuration dataclass from the values of a JSON object.

    Each value is checked against the type of its field. Dataclasses do not check types themselves:
    a dimension of 256.0 or "256" would be accepted, and cause an error much later or none at all.

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


def check_fields(config: Any) -> None:
    """Checks the value of each field of a configuration against the type of the field.

    Configuration dataclasses call this function at the start of ``__post_init__``.

    Integers must not be booleans, numbers must be finite, flags must be booleans, and strings must
    not be empty. The value of a ``Literal`` field must be one of the listed values. Integers whose
    name is ``seed`` or ends in ``_seed`` must be from 0 to 2⁶³ − 1. The value of a ``Callable``
    field must be callable. The value of a dictionary field must be a mapping; its contents are not
    checked. The value of a dataclass field must be an instance of that dataclass. Each item of a
    tuple is checked against the item's type. Values of all other types are not checked.

    NumPy scalars are replaced by Python scalars, which JSON can store. In tuple fields, lists and
    arrays are replaced by tuples.

    Args:
        config: instance of a dataclass, frozen or not.

    Raises:
        ValueError: a value does not have the type of its field.

    Example:
        >>> from dataclasses import dataclass
        >>> from wmrl.core import check_fields
        >>> @dataclass(frozen=True)
        ... class Config:
        ...     temperature: float = 1.0
        ...
        ...     def __post_init__(self) -> None:
        ...         check_fields(self)
        >>> Config(temperature=float("nan"))
        Traceback (most recent call last):
        ValueError: temperature: expected a finite number, got nan
    """
    config_class: Any = type(config)
    for name, hint in _hints(config_class).items():
        given = getattr(config, name)
        checked = _checked(name, given, hint)
        if checked is not given:
            object.__setattr__(config, name, checked)


@cache
def _hints(config_class: Any) -> dict[str, Any]:
    hints = get_type_hints(config_class)
    return {item.name: hints[item.name] for item in fields(config_class)}


def _checked(name: str, value: Any, hint: Any) -> Any:
    """Checks that a value fits a type hint, and returns the value.

    A NumPy scalar is returned as a Python scalar. Raises ``ValueError`` if the value does not fit.
    """
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return _checked_option(name, value, args)
    if isinstance(value, np.generic):
        value = value.item()
    if origin is Literal:
        return check_choice(name, value, args)
    if origin is tuple:
        return _checked_tuple(name, value, args)
    if hint is int and (name == "seed" or name.endswith("_seed")):
        return check_seed(name, value)
    if hint is float:
        check_float(name, value)
        return value  # an int stays an int, as in the files of earlier runs
    if hint is int:
        return check_int(name, value)
    if hint is bool:
        return check_flag(name, value)
    if hint is str:
        return check_name(name, value)
    if isinstance(hint, type) and is_dataclass(hint) and not isinstance(value, hint):
        raise ValueError(f"{name}: expected a value of type {hint.__name__}, got {value!r:.100}")
    if origin in (dict, Mapping) and not isinstance(value, Mapping):
        raise ValueError(f"{name}: expected a dictionary, got {value!r:.100}")
    if origin is Callable and not callable(value):
        raise ValueError(f"{name}: expected a function, got {value!r:.100}")
    return value


def _checked_option(name: str, value: Any, hints: tuple[Any, ...]) -> Any:
    """Checks that a value fits at least one type hint of a union, and returns the value."""
    if value is None and NoneType in hints:
        return None
    others = [hint for hint in hints if hint is not NoneType]
    for hint in others[:-1]:
        try:
            return _checked(name, value, hint)
        except ValueError:
            continue
    return _checked(name, value, others[-1])


def _checked_tuple(name: str, value: Any, hints: tuple[Any, ...]) -> tuple[Any, ...]:
    """Checks that the items of a sequence fit the type hints of a tuple; returns a tuple."""
    scalar = isinstance(value, np.ndarray) and not value.ndim
    if scalar or not isinstance(value, tuple | list | np.ndarray):
        raise ValueError(f"{name}: expected a tuple, got {value!r:.100}")
    each = (hints[0],) * len(value) if hints[1:] == (...,) else hints
    if len(each) != len(value):
        raise ValueError(f"{name}: expected {len(each)} items, got {value!r:.100}")
    items = tuple(_checked(name, item, hint) for item, hint in zip(value, each, strict=True))
    same = isinstance(value, tuple) and all(a is b for a, b in zip(items, value, strict=True))
    return value if same else items  # type: ignore[return-value]


def _fits(value: Any, hint: Any) -> bool:
    """Returns True if a value from JSON fits a type hint; a list may fit the hint of a tuple."""
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
