"""Handling of standard streams, warnings and Ctrl-C in the commands."""

import codecs
import io
import math
import os
import signal
import sys
import threading
import time
import warnings
from contextlib import suppress
from types import FrameType
from typing import Any, Self, TextIO

from wmrl.core.warning import WMRLWarning

_PLAIN = {
    "≥": ">=",
    "≤": "<=",
    "±": "+/-",
    "−": "-",
    "–": "-",
    "…": "...",
    "×": "x",
    "·": "*",
    "→": "->",
    "‖": "||",
    "²": "^2",
    "√": "sqrt",
    "σ": "sigma",
    "τ": "tau",
    "μ": "mu",
    "γ": "gamma",
    "λ": "lambda",
    "β": "beta",
    "ε": "epsilon",
    "Γ": "Gamma",
    "π": "pi",
    "‘": "'",
    "’": "'",
    "“": '"',
    "”": '"',
    "•": "*",
    **dict.fromkeys("╭╮╰╯", "+"),
    **dict.fromkeys("─━╸╺", "-"),
    **dict.fromkeys("│┃", "|"),
}
"""ASCII replacements of characters, for terminals and logs that cannot encode the characters."""


# Seconds for which Ctrl-C waits for the end of an import.
_LONGEST_IMPORT = 1.0


class Interruption:
    """Context manager in which Ctrl-C (SIGINT), SIGTERM and SIGHUP raise ``KeyboardInterrupt``.

    A command thus saves its work in the same way, whichever of the three signals interrupts it.

    While a module is imported, the exception waits for the end of the import, for at most a
    second. Some libraries in C++ would otherwise abort the process.

    Attributes:
        signal: number of the signal that arrived; 0 if none did.
    """

    def __init__(self) -> None:
        self.signal = 0
        self._before: dict[int, Any] = {}
        self._deadline = math.inf
        self._again: threading.Timer | None = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for name in ("SIGINT", "SIGTERM", "SIGHUP"):
                number = getattr(signal, name, None)
                # Signals that the caller ignores, as nohup does, stay ignored.
                if number is not None and signal.getsignal(number) != signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._interrupt)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._again is not None:
            self._again.cancel()
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if not self.signal:
            self._deadline = time.monotonic() + _LONGEST_IMPORT
        self.signal = number
        if _is_importing(frame) and time.monotonic() < self._deadline:
            self._again = threading.Timer(0.02, os.kill, (os.getpid(), number))
            self._again.daemon = True
            self._again.start()
            return
        raise KeyboardInterrupt


def _is_importing(frame: FrameType | None) -> bool:
    """Returns True if a frame, or one of its callers, belongs to an import."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib."):
            return True
        frame = frame.f_back
    return False


def open_streams() -> None:
    """Opens the null device in place of each closed standard stream.

    A command can be started with closed standard streams. The next files that it opens would then
    get the file descriptors of these streams. As a result, whatever libraries and child processes
    print would be written to these files.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:  # the lowest free number
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, PTH123


def accept_all_text() -> None:
    """Makes stdout and stderr flush each line, and replace characters that they cannot encode.

    An ASCII stream, for example, prints "≥" as ">=". A character for which no such replacement is
    known is printed as a backslash escape sequence.
    """
    codecs.register_error("wmrl.plain", _replace_plainly)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="wmrl.plain", line_buffering=True)


def show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Prints a warning; a replacement for :func:`warnings.showwarning`.

    For a warning of this package, only the text is printed. For any other warning, the file and
    the line of code are also printed.
    """
    own = issubclass(category, WMRLWarning)
    text = warnings.formatwarning(message, category, filename, lineno, line)
    with suppress(OSError):
        print(f"wmrl: warning: {message}" if own else text, file=file or sys.stderr)


def table_text(text: str) -> str:
    """Returns text for a cell of a table, in which nothing is a command to rich or the terminal.

    The text may be a stranger's, such as the name of a class in a downloaded artifact.
    """
    from rich.markup import escape

    plain = (each if each.isprintable() else f"\\x{ord(each):02x}" for each in text)
    return escape("".join(plain))


def _replace_plainly(error: UnicodeError) -> tuple[str, int]:
    """Replaces characters that cannot be encoded; a handler for :func:`codecs.register_error`.

    Args:
        error: error about a range of characters that cannot be encoded. An error that is not a
            ``UnicodeEncodeError`` is raised unchanged.

    Returns:
        The text that replaces the range, and the position after the range.
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    plain = "".join(_PLAIN.get(character, character) for character in text)
    return plain.encode("ascii", "backslashreplace").decode("ascii"), error.end
