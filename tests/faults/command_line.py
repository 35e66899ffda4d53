"""Random words for every command of the command line, most of them nonsense."""

import dataclasses
import io
import json
import os
import random
import signal
import sys
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module
from pathlib import Path

from children import in_child

from wmrl.scripts.cli import COMMANDS, run

SECONDS = 10
"""Limit of the time of a command; one that is still at work then has accepted its words."""

VALUES = (
    *("", "-1", "0", "1", "2", "nan", "inf", "-inf", "1e400", "1e-400", "9" * 400, "0x10", "1_0"),
    *("½", "None", "True", "no", "ä", "a b", "--", "-", "x" * 5000, "../..", "/", "/dev/null"),
    *("/dev/full", "/proc/self/mem", ".", "missing/folder", "car-racing", "car-racing-vae"),
    *("car-racing-mdnrnn", "car-racing-dream", "json:loads", "nothing:", ":x", "os:path"),
    *("vsg/CarRacing-v3", "run", "file"),
)


def draw(choice: random.Random) -> list[str]:
    """Draws a command, and up to four of its options with values that may mean nothing."""
    name = choice.choice(sorted(COMMANDS))
    module = import_module(f"wmrl.scripts.{COMMANDS[name].module}")
    options = [field.name.replace("_", "-") for field in dataclasses.fields(module.Args)]
    words = name.split()
    words += [choice.choice(VALUES) for _ in range(choice.choice((0, 1, 1, 2)))]
    for _ in range(choice.randrange(5)):
        words.append(f"--{choice.choice(options)}" if options else "--help")
        words += [choice.choice(VALUES) for _ in range(choice.choice((0, 1, 1, 1, 2)))]
    return words


def try_words(words: list[str], folder: Path) -> str:
    """Runs a command in a child, in an empty folder.

    Returns:
        ``"done"``, ``"refused"``, ``"at work"`` after the time limit, or a failure.
    """
    folder.mkdir()
    (folder / "file").write_text("a file")
    (folder / "run").mkdir()

    def work() -> str:
        os.chdir(folder)
        os.setpgid(0, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(SECONDS)
        out = io.StringIO()
        with redirect_stdout(out), redirect_stderr(out):
            try:
                status: object = run(words)
            except SystemExit as stop:  # of the parser
                status = stop.code
        text = out.getvalue()
        if "Traceback" in text:
            return f"traceback: {text[-1500:]}"
        if status not in (0, 1, 2):
            return f"exit status {status}: {text[-500:]}"
        return "done" if status == 0 else "refused" if text.strip() else "refused without a word"

    status, result = in_child(work)
    if status == -signal.SIGALRM:
        return "at work"
    if status != 0:
        return f"failed: {result or f'signal {-status}'}"
    return _strange_file(folder) or str(result)


def _strange_file(folder: Path) -> str:
    """Returns a description of a JSON file that is no strict JSON; empty if there is none."""
    for file in folder.rglob("*.json"):
        try:
            json.loads(file.read_text(), parse_constant=_refuse)
        except ValueError as error:
            return f"wrote {file.name}: {error}"
    return ""


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


if __name__ == "__main__":
    print(try_words(sys.argv[1:], Path.cwd() / "case"))
