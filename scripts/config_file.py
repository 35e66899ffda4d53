"""Options of commands in TOML files: those of ``--config``, and the ``run.toml`` of each run."""

import difflib
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import tyro

from wmrl.storage.files import write_text
from wmrl.storage.options_file import OPTIONS, options_file
from wmrl.storage.reading import StoredFileError, read_file

A = TypeVar("A")

_LIMIT = 2**20  # bytes of a file
_SHORT = {"\b": "b", "\t": "t", "\n": "n", "\f": "f", "\r": "r", '"': '"', "\\": "\\"}


class _MismatchError(Exception):
    """Signal that a value does not have the type of its option."""


def read_options(path: str | Path, args_class: type[A], *, command: str) -> A:
    """Reads the options of a command from a TOML file.

    The keys of the file are the names of the fields of ``args_class``. A field whose value is a
    dataclass is a table.

    Args:
        path: path of the file.
        args_class: class of the options, a dataclass.
        command: name of the command, for error messages.

    Returns:
        The options. Those that the file does not contain have their defaults. Those without a
        default are ``tyro.MISSING``, which stands for an option that the command line must contain.

    Raises:
        ValueError: the file is missing, can't be read or is not in TOML; a key is no option of the
            command; or a value does not have the type of its option.
    """
    path = Path(path)
    try:
        text = read_file(path, limit=_LIMIT).decode()
        table = tomllib.loads(text)
    except FileNotFoundError:
        raise ValueError(f"config: expected a TOML file, got nothing at {path}") from None
    except StoredFileError as error:
        raise ValueError(f"config: {error}") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"config: expected a TOML file, got {path}: {error}") from error
    return _Reader(path, text, command, args_class).build(args_class, table)


def options_text(args: Any, *, command: str) -> str:
    """Returns the text of a TOML file from which :func:`read_options` reads the given options.

    Options that are None are left out.

    Args:
        args: options of a command, an instance of its ``Args``.
        command: name of the command, for the comment at the top.

    Raises:
        ValueError: a text can't be written in UTF-8, or an option is None but its default is not.
    """
    lines = [
        f"# The options of wmrl {command}, which repeats this run with --config {OPTIONS}.",
        "# Options on the command line, such as another folder, replace those in the file.",
        "",
        *_table(args),
    ]
    return "\n".join([*lines, ""])


def recorded(args: Any, folder: Path, *, command: str) -> AbstractContextManager[None]:
    """Returns a context in which a run or a store in a folder keeps the options, in ``run.toml``.

    The file is written when the run or the store is opened; see
    :func:`~wmrl.storage.options_file.options_file`.

    Args:
        args: options of the command, an instance of its ``Args``.
        folder: folder of the run or the store.
        command: name of the command.
    """
    return options_file(folder, options_text(args, command=command))


def write_options(args: Any, folder: Path, *, command: str) -> None:
    """Writes the options of a command to ``run.toml`` in a folder of results.

    Args:
        args: options of the command, an instance of its ``Args``.
        folder: the folder.
        command: name of the command.
    """
    write_text(folder / OPTIONS, options_text(args, command=command))


class _Reader:
    """Conversion of a parsed TOML file to options, with errors that name the place in the file."""

    def __init__(self, path: Path, text: str, command: str, args_class: type[Any]) -> None:
        self._path, self._text, self._command = path, text, command
        self._names = list(_option_names(args_class))

    def build(self, cls: type[A], table: Mapping[str, Any], outer: tuple[str, ...] = ()) -> A:
        """Builds a dataclass from a table.

        Args:
            cls: the dataclass.
            table: values by key.
            outer: keys of the tables that contain the table.
        """
        hints = get_type_hints(cls)
        values: dict[str, Any] = {
            item.name: tyro.MISSING
            for item in fields(cls)  # type: ignore[arg-type]
            if item.default is MISSING and item.default_factory is MISSING
        }
        for name, value in table.items():
            key = (*outer, name)
            if name not in hints:
                raise self._unknown(key)
            hint = hints[name]
            if _is_table(hint) and isinstance(value, dict):
                values[name] = self.build(hint, value, key)
                continue
            try:
                values[name] = _converted(value, hint)
            except _MismatchError:
                raise ValueError(
                    f"{self._place(key)}: expected {_described(hint)}, got {_shown(value)}"
                ) from None
        try:
            return cls(**values)
        except ValueError as error:  # the dataclass checks its values
            raise ValueError(f"{self._path}: {error}") from error

    def _unknown(self, key: tuple[str, ...]) -> ValueError:
        name = ".".join(key)
        ends = {known.rpartition(".")[2]: known for known in self._names}
        close = difflib.get_close_matches(name, self._names, n=1) or [
            ends[end] for end in difflib.get_close_matches(key[-1], ends, n=1)
        ]
        command = f"wmrl {self._command}"
        advice = f"did you mean {close[0]}?" if close else f"{command} --help lists them"
        return ValueError(
            f"{self._place(key)}: expected an option of {command}, got {name!r}; {advice}"
        )

    def _place(self, key: tuple[str, ...]) -> str:
        return f"{self._path}, line {_line_of(key, self._text)}: {'.'.join(key)}"


def _converted(value: Any, hint: Any) -> Any:
    """Converts a value from TOML to the type of its option.

    Raises:
        _MismatchError: the value does not fit the type.
    """
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        for option in args:
            try:
                return _converted(value, option)
            except _MismatchError:
                continue
    if origin is Literal and value in args:
        return value
    if origin is tuple and isinstance(value, list):
        each = (args[0],) * len(value) if args[1:] == (...,) else args
        if len(each) == len(value):
            return tuple(_converted(item, kind) for item, kind in zip(value, each, strict=True))
    if hint is Path and isinstance(value, str):
        return Path(value)
    if hint is float and type(value) is int and abs(value) < 2**53:
        return float(value)  # as on the command line
    if hint in (int, float, bool, str) and type(value) is hint:
        return value
    raise _MismatchError


def _described(hint: Any, *, many: bool = False) -> str:
    """Describes the type of an option in the words of TOML, in the plural if ``many`` is True."""
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return " or ".join(_described(each, many=many) for each in args if each is not NoneType)
    if origin is Literal:
        return " or ".join(map(_shown, args))
    if origin is tuple and args[1:] == (...,):
        return f"{'arrays' if many else 'an array'} of {_described(args[0], many=True)}"
    if origin is tuple:
        items = ", ".join(_described(each) for each in args)
        return f"{'arrays' if many else 'an array'} of {len(args)} items ({items})"
    one = {int: "an integer", float: "a number", bool: "true or false"}
    several = {int: "integers", float: "numbers", bool: "true or false"}
    if _is_table(hint):
        return "a table"
    return several.get(hint, "strings") if many else one.get(hint, "a string")


def _line_of(key: tuple[str, ...], text: str) -> int:
    """Returns the number of the line of a TOML file at which a key is defined."""
    lines = text.replace("\r\n", "\n").split("\n")
    start = 1  # of the latest statement
    for end in range(1, len(lines)):
        try:
            content: Any = tomllib.loads("\n".join(lines[:end]))
        except tomllib.TOMLDecodeError:
            continue  # the statement goes on
        for name in key:
            content = content.get(name) if isinstance(content, dict) else None
        if content is not None:
            return start
        start = end + 1
    return start


def _table(args: Any, outer: tuple[str, ...] = ()) -> Iterator[str]:
    """Yields the lines of a table with the fields of a dataclass; nested tables come last."""
    nested: list[str] = []
    for item in fields(args):
        value = getattr(args, item.name)
        if value is None and item.default is not None:
            raise ValueError(f"{item.name}: expected a value, which TOML can store, got None")
        if is_dataclass(value):
            key = (*outer, item.name)
            nested += ["", f"[{'.'.join(key)}]", *_table(value, key)]
        elif value is not None:
            try:
                yield f"{item.name} = {_toml(value)}"
            except UnicodeEncodeError:
                raise ValueError(
                    f"{item.name}: expected text that UTF-8 can store, got {value!r}; choose "
                    "another name"
                ) from None
    yield from nested


def _toml(value: Any) -> str:
    """Formats a value in TOML; floats are exact."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_toml, value))}]"
    if not isinstance(value, str | Path):
        raise TypeError(f"expected a value that TOML can store, got {value!r}")
    text = str(value)
    text.encode()  # lone surrogates raise an error
    return f'"{"".join(map(_escaped, text))}"'


def _escaped(character: str) -> str:
    if character in _SHORT:
        return f"\\{_SHORT[character]}"
    control = character < " " or character == "\x7f"
    return f"\\u{ord(character):04x}" if control else character


def _shown(value: Any) -> str:
    """Formats a value for an error message: as in the file, if that is short."""
    try:
        text = _toml(value)
    except (TypeError, UnicodeEncodeError):  # a table or a date
        text = repr(value)
    return text if len(text) <= 100 else f"{text[:97]}..."


def _option_names(cls: type[Any], outer: tuple[str, ...] = ()) -> Iterator[str]:
    """Yields the dotted names of all options."""
    for name, hint in get_type_hints(cls).items():
        key = (*outer, name)
        yield ".".join(key)
        if _is_table(hint):
            yield from _option_names(hint, key)


def _is_table(hint: Any) -> bool:
    return isinstance(hint, type) and is_dataclass(hint)
