"""Reference of the ``wmrl`` command, made from what its subcommands print for ``--help``."""

import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress

from wmrl.scripts.cli import COMMANDS, run, usage

_WIDTH = "10000"  # columns, in which no help text is wrapped


def text() -> str:
    """Returns the reference of all subcommands as Markdown."""
    parts = [f"```text\n{usage()}\n```"]
    for name, command in COMMANDS.items():
        shown = help_of(name)
        description, *_ = shown.partition("\n╭")[0].partition("\n\n")[2:]
        parts += [
            f"## wmrl {name}",
            f"{_as_sentence(command.summary)}.",
            f"```text\n{shown.splitlines()[0].removeprefix('usage: ')}\n```",
            _marked(description.strip()),
            *(f"`{option}`\n: {_marked(about)}" for option, about in options(shown)),
        ]
    return "\n\n".join(parts) + "\n"


def help_of(name: str) -> str:
    """Returns what a subcommand prints for ``--help``, without wrapped lines."""
    shown = io.BytesIO()
    stream = io.TextIOWrapper(shown, encoding="utf-8")  # else, boxes would be drawn in ASCII
    with _wide_terminal(), redirect_stdout(stream), suppress(SystemExit):
        run([*name.split(), "--help"])
    stream.flush()
    return shown.getvalue().decode()


def options(shown: str) -> list[tuple[str, str]]:
    """Returns the arguments and options in the boxes of a help text, with their descriptions."""
    found: list[tuple[str, str]] = []
    first = 0  # of the current box
    for line in shown.splitlines():
        if not line.startswith("│"):
            first = len(found)
            continue
        content = line.strip("│")[1:].rstrip()
        if content.startswith("─"):  # above the line is the title of the box
            del found[first:]
        elif content.startswith(" "):
            option, about = found[-1]
            found[-1] = option, f"{about} {content.strip()}".strip()
        else:
            option, _, about = content.partition("  ")
            found.append((option, about.strip()))
    return [
        (_without_none(option), _as_sentence(re.sub(r" \(default: (None)?\)$", "", about)))
        for option, about in found
        if not option.startswith("-h,")
    ]


def _as_sentence(about: str) -> str:
    return f"{about[:1].upper()}{about[1:]}"


def _without_none(option: str) -> str:
    """Leaves out that an option may be None, which is the same as not giving it."""
    option = re.sub(r"\{None\}\|\{?([^{}]+)\}?$", r"\1", option)
    return option.replace("{None}|", "").replace("{None,", "{")


def _marked(about: str) -> str:
    """Marks the options in a text as code."""
    return re.sub(r"(?<![\w-])--[a-z][\w-]*", r"`\g<0>`", about)


@contextmanager
def _wide_terminal() -> Iterator[None]:
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = _WIDTH
    try:
        yield
    finally:
        os.environ.pop("COLUMNS")
        if before is not None:
            os.environ["COLUMNS"] = before
