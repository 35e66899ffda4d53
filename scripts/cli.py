"""The ``wmrl`` command, which imports only the module of the requested subcommand.

Each subcommand is a module of this package. The module defines a frozen dataclass ``Args``, whose
fields become the options of the subcommand, and a function ``main(args)``.
"""

import codecs
import difflib
import io
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from importlib import import_module
from typing import Any, Literal, Self, TextIO

import gymnasium

import wmrl
from wmrl.core.processes import WorkerError

# Errors that are reported in one line; others are faults of this package.
_ERRORS = (ValueError, OSError, ImportError, FloatingPointError, WorkerError, gymnasium.error.Error)


@dataclass(frozen=True)
class Command:
    """Module and summary of a subcommand.

    Attributes:
        module: name of the module below ``wmrl.scripts`` that defines ``Args`` and ``main``.
        summary: one-line description, shown by ``wmrl --help``.
        out: whether the option ``--out`` names a file or a folder.
    """

    module: str
    summary: str
    out: Literal["file", "folder"] = "folder"


COMMANDS = {
    "demo": Command(
        "demo", "take a five-minute tour: train an agent in a dream, run it in the game"
    ),
    "doctor": Command("doctor", "check this installation and report how to fix problems"),
    "play": Command("play", "drive with the arrow keys, in the real game or in the dream", "file"),
    "train": Command(
        "train", "run the whole training loop, from no data to a trained agent; resumable"
    ),
    "collect": Command("collect", "record episodes of a task into a rollout store"),
    "inspect": Command("inspect_store", "show the contents of a rollout store"),
    "train-vision": Command(
        "train_vision", "train a vision model, which maps frames to latents and back"
    ),
    "train-memory": Command(
        "train_memory",
        "train a memory model, which predicts the next step and so generates dreams",
    ),
    "compare-memories": Command(
        "reproduce.memories.command",
        "compare memory models: continuous or discrete latents, LSTM or Transformer",
    ),
    "train-controller": Command(
        "train_controller", "train a controller, in a dream or in the real game"
    ),
    "search-elites": Command("search_elites", "search for elite poses of a planar arm; resumable"),
    "curves": Command("curves", "plot the training curves of runs", "file"),
    "evaluate": Command("evaluate", "score an agent on fixed seeds in the unmodified game", "file"),
    "record": Command(
        "record", "record a video of an agent: real frame, reconstruction and dream", "file"
    ),
    "reproduce kl": Command(
        "reproduce.kl.command",
        "fit one Gaussian to another by minimizing KL(q‖p), with several estimators",
    ),
    "reproduce vqvae": Command(
        "reproduce.vqvae.command",
        "train VQ-VAEs and priors over their codes, on MNIST and Fashion-MNIST",
    ),
    "reproduce dde": Command(
        "reproduce.dde.command",
        "compare DDE with other MAP-Elites searches and an oracle, on planar arms",
    ),
    "reproduce reuse": Command(
        "reproduce.reuse.command",
        "reach targets with a planar arm, using an encoding learned from elites",
    ),
    "reproduce codebook": Command(
        "reproduce.codebook.command",
        "measure along how few directions codes of elites align, and test remedies",
    ),
    "reproduce drivers": Command(
        "reproduce.drivers.command",
        "search for elite drivers, and train a vision model on the frames they see",
    ),
    "reproduce policies": Command(
        "reproduce.policies.command",
        "compare CMA-ES, variational search and PPO in one dream",
    ),
    "reproduce binary-vae": Command(
        "reproduce.binary_vae.command",
        "train a VAE for binary vectors with two learning-rate schedules",
    ),
}

# Rules for the options of all commands, by name. Other integers are counts of at least 1, and
# other numbers are at least 0.
_SEEDS = ("seed", "seeds", "full_seeds")
_ABOVE_ZERO = ("minutes", "hours", "seconds", "fps", "temperature")
_NOT_COUNTS = ("warmup_steps", "burn_in", "rank", "workers", "videos", "video_agent_steps")
_SIGNED = ("log_std", "log_std_final", "qd_score_offset", "min_return")
_NEXT = {
    "demo": "wmrl play dream, or wmrl train for an agent that learns everything from scratch",
    "collect": "wmrl train-vision {store} -o runs/vision",
    "train-vision": "wmrl train-memory STORE --vision {out}/artifact -o runs/memory",
    "train-memory": "wmrl train-controller --vision {vision} --memory {out}/artifact -o runs/agent",
    "train-controller": "wmrl evaluate {out}/artifact",
    "search-elites": "wmrl curves {out}",
    "evaluate": "wmrl record AGENT, for a video",
    "record": "wmrl evaluate {agent}, for its score",
}
"""Commands that usually come next, which are printed at the end. Fields of ``Args`` in braces are
replaced by their values."""

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
"""Text that replaces characters on terminals and in logs that cannot encode them."""


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the command and exits the process.

    The exit status is 0 on success, 2 if the request cannot be carried out, 130 after Ctrl-C, and
    128 plus the number of the signal after a request to terminate (SIGTERM, SIGHUP).

    Args:
        argv: arguments after the program name; ``sys.argv[1:]`` if None.
    """
    _accept_all_text()
    warnings.showwarning = _show_warning
    with _Interruption() as interruption:
        try:
            status = run(sys.argv[1:] if argv is None else argv)
            if sys.stdout is not None:  # None if the caller closed it
                sys.stdout.flush()
        except BrokenPipeError:  # the reader closed the pipe, as head does
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            status = 1  # the work may be incomplete
        except BaseException:
            # Some libraries turn an interruption into an error of their own.
            if not interruption.signal:
                raise
            status = _fail("interrupted")
        if interruption.signal and status:
            # The command has saved and closed what it had to. Taking down the interpreter and its
            # libraries in order would take seconds on a busy machine.
            for stream in (sys.stdout, sys.stderr):
                if stream is not None:
                    stream.flush()
            os._exit(128 + interruption.signal)
        sys.exit(status)


class _Interruption:
    """Context in which Ctrl-C and requests to terminate raise ``KeyboardInterrupt``.

    What an interrupted command does to keep its work is thus the same in all cases.

    Attributes:
        signal: number of the signal that arrived; 0 if none did.
    """

    def __init__(self) -> None:
        self.signal = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for name in ("SIGINT", "SIGTERM", "SIGHUP"):
                number = getattr(signal, name, None)
                # Signals that the caller ignores, as nohup does, stay ignored.
                if number is not None and signal.getsignal(number) != signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._interrupt)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _interrupt(self, number: int, frame: object) -> None:
        self.signal = number
        raise KeyboardInterrupt


def _accept_all_text() -> None:
    """Makes the standard streams print each line at once, and text that they cannot encode.

    Characters that an encoding such as ASCII lacks are replaced: "≥" by ">=", others by their code.
    """
    codecs.register_error("wmrl.plain", _replace_plainly)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="wmrl.plain", line_buffering=True)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Prints a warning of this package as its text alone, and others with their place in code."""
    own = category.__module__.startswith("wmrl.")
    text = warnings.formatwarning(message, category, filename, lineno, line)
    with suppress(OSError):
        print(f"wmrl: warning: {message}" if own else text, file=file or sys.stderr)


def _replace_plainly(error: UnicodeError) -> tuple[str, int]:
    """Replaces characters that cannot be encoded, as :func:`codecs.register_error` defines it."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    plain = "".join(_PLAIN.get(character, character) for character in text)
    return plain.encode("ascii", "backslashreplace").decode("ascii"), error.end


def run(argv: Sequence[str]) -> int:
    """Parses the arguments, runs the subcommand and returns the exit status."""
    words, plugins = _split_plugins(argv)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    if not words or words[0] in ("-h", "--help", "help"):
        print(usage())
        return 0
    name, *rest = words
    if f"{name} {' '.join(rest[:1])}" in COMMANDS:  # the name has two words
        name, rest = f"{name} {rest[0]}", rest[1:]
    if name in ("-V", "--version"):
        print(f"wmrl {wmrl.__version__}")
        return 0
    group = [each for each in COMMANDS if each.startswith(f"{name} ")]
    if group and (not rest or rest[0] in ("-h", "--help")):
        print(usage(group))
        return 0
    if group:
        name = f"{name} {rest[0]}"
    if name not in COMMANDS:
        return _fail(
            f"there is no command {name!r}{_suggestion(name)}; wmrl --help lists all commands"
        )
    try:
        if plugins:
            from wmrl.storage.registry import load_plugins

            load_plugins(plugins)
        with _importable_folder():
            return _run_command(name, rest)
    except BrokenPipeError:  # main handles it
        raise
    except KeyboardInterrupt:
        return _fail("interrupted", status=130)
    except _ERRORS as error:
        if debug:
            traceback.print_exc()
            return 2
        return _fail(f"{error or type(error).__name__}\n(for the traceback: wmrl --debug {name} …)")


def usage(names: Iterable[str] = COMMANDS) -> str:
    """Returns the text of ``wmrl --help``, restricted to the given commands."""
    commands = {name: COMMANDS[name] for name in names}
    width = max(map(len, commands))
    return "\n".join(
        [
            "usage: wmrl [--debug] [--plugins NAME] COMMAND [OPTIONS]",
            "",
            "World models for reinforcement learning: agents that learn in their own dreams.",
            "",
            *(f"  {name:{width}}  {command.summary}" for name, command in commands.items()),
            "",
            "wmrl COMMAND --help lists the options of a command. --version prints the version.",
            "--debug shows the traceback of an error. --plugins NAME loads the plugins of an",
            "installed package, which register further models and agents; it can be repeated.",
        ]
    )


def _split_plugins(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Separates the options ``--plugins NAME`` and ``--plugins=NAME`` from the other words.

    Returns:
        The other words, and the names.
    """
    words: list[str] = []
    names: list[str] = []
    given = iter(argv)
    for word in given:
        option, equals, name = word.partition("=")
        if option != "--plugins":
            words.append(word)
        else:
            names.append(name if equals else next(given, ""))
    return words, names


def _run_command(name: str, words: Sequence[str]) -> int:
    import tyro

    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    module = import_module(f"wmrl.scripts.{COMMANDS[name].module}")
    args = tyro.cli(module.Args, prog=f"wmrl {name}", description=module.__doc__, args=words)
    check_options(args)
    _check_outputs(COMMANDS[name], args)
    # A command may return an exit status; most return None, which means success.
    from wmrl.training.progress import heartbeat

    with heartbeat(name, show=getattr(args, "progress", True)):
        status: int = module.main(args) or 0
    if status == 0 and name in _NEXT:
        print(f"next: {_NEXT[name].format_map(vars(args))}")
    return status


def check_options(args: Any) -> None:
    """Checks the options of a command: their types, and that numbers are not negative or 0.

    Configurations check their own numbers, but some are only created after a model was loaded or a
    run was begun, and a few options are not part of any.

    Args:
        args: options of a command, an instance of its ``Args``.

    Raises:
        ValueError: an option is out of range.
    """
    from wmrl.core.config import check_fields
    from wmrl.core.validation import check_float, check_int, check_seed

    check_fields(args)
    for item in fields(args):
        value = getattr(args, item.name)
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, bool) or not isinstance(number, int | float):
                continue
            if item.name in _SEEDS:
                check_seed(item.name, number)  # type: ignore[arg-type]
            elif item.name in _ABOVE_ZERO:
                check_float(item.name, number, above=0)
            elif isinstance(number, int) and item.name not in _NOT_COUNTS:
                check_int(item.name, number, at_least=1)
            elif item.name not in _SIGNED:
                check_float(item.name, number, at_least=0)


@contextmanager
def _importable_folder() -> Iterator[None]:
    """Lets modules be imported from the current folder, for ``--task module:ATTRIBUTE``.

    Modules of this folder come last, so that they never replace installed ones.
    """
    folder = os.getcwd()  # noqa: PTH109 -- sys.path holds strings
    added = folder not in sys.path
    if added:
        sys.path.append(folder)
    try:
        yield
    finally:
        if added and folder in sys.path:
            sys.path.remove(folder)


def _check_outputs(command: Command, args: Any) -> None:
    """Checks that what a command will write can be written, before its work begins.

    Raises:
        ValueError: a path can't be written, or is a folder instead of a file or vice versa.
    """
    from wmrl.storage.files import check_writable

    names = ("out", "work", "ship", *(["store"] if command.module == "collect" else []))
    for name in names:
        path = getattr(args, name, None)
        if path is not None:
            check_writable(path, kind=command.out if name == "out" else "folder", name=name)


def _suggestion(name: str) -> str:
    close = difflib.get_close_matches(name, COMMANDS, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _fail(message: str, *, status: int = 2) -> int:
    print(f"wmrl: {message}", file=sys.stderr)
    return status
