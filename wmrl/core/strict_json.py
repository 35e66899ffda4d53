"""Strict JSON: NumPy's numbers become plain numbers, and NaN and infinity raise errors."""

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

MAX_DEPTH = 64
"""Maximum number of nested levels in JSON files that are read; deeper files are rejected."""
_MAX_WRITTEN = MAX_DEPTH - 8  # files hold the content a few levels further down


def jsonable(content: Any, name: str = "") -> Any:
    """Converts content to values that JSON can store: None, bool, int, float, str, list and dict.

    Scalars and arrays of NumPy become numbers and lists; tuples become lists.

    Args:
        content: value to convert: None, a string, a number, an array, a list or tuple, or a mapping
            with strings or numbers as keys. Lists, tuples and mappings may be nested.
        name: name of the content, for error messages.

    Raises:
        TypeError: JSON can't store a value or a key. The message says where it is in the content.
        ValueError: a number is NaN or infinite (the message says where it is in the content), or
            the content is nested more than 56 levels deep or contains itself.

    Example:
        >>> import numpy as np
        >>> from wmrl.core import jsonable
        >>> jsonable({"step": np.int64(3), "loss": np.array([0.5, 0.25])})
        {'step': 3, 'loss': [0.5, 0.25]}
        >>> jsonable({"scores": {"mean": float("nan")}})
        Traceback (most recent call last):
        ValueError: scores.mean: expected a finite number, which JSON can store, got nan
    """
    return _plain(content, name, _MAX_WRITTEN)


def _plain(content: Any, name: str, levels: int) -> Any:
    """Implements :func:`jsonable` for content that is nested at most ``levels`` levels deep.

    Error messages contain ``name``, the place of the content, such as ``"scores.mean"``.
    """
    if isinstance(content, np.ndarray | np.generic):
        content = content.tolist()
    if content is None or isinstance(content, bool | int | str):
        return content
    if isinstance(content, float):
        if not math.isfinite(content):
            raise ValueError(
                f"{name or 'content'}: expected a finite number, which JSON can store, got "
                f"{content}"
            )
        return content
    if isinstance(content, Mapping | list | tuple) and not levels:
        raise ValueError(
            f"{name:.100}…: expected at most {_MAX_WRITTEN} nested levels, got more; flatten the "
            "content, and check that it does not contain itself"
        )
    if isinstance(content, Mapping):
        return {
            _key(key, name): _plain(value, _below(name, key), levels - 1)
            for key, value in content.items()
        }
    if isinstance(content, list | tuple):
        return [
            _plain(value, f"{name}[{index}]", levels - 1) for index, value in enumerate(content)
        ]
    raise TypeError(
        f"{name or 'content'}: expected a value that JSON can store, got a "
        f"{type(content).__name__}; convert it to a string, a number, a list or a dictionary"
    )


def json_text(content: Any, *, indent: int | None = None, sort_keys: bool = False) -> str:
    """Returns content as JSON text; accepts the same content as :func:`jsonable`.

    The options ``indent`` and ``sort_keys`` are those of ``json.dumps``.
    """
    return json.dumps(jsonable(content), indent=indent, sort_keys=sort_keys, allow_nan=False)


def _key(key: Any, name: str) -> Any:
    key = key.item() if isinstance(key, np.generic) else key
    if key is None or isinstance(key, str | bool | int):
        return key
    if isinstance(key, float) and math.isfinite(key):
        return key
    raise TypeError(
        f"{name or 'content'}: expected strings or finite numbers as keys, got {key!r:.100}"
    )


def _below(name: str, key: Any) -> str:
    return f"{name}.{key}" if name else str(key)
