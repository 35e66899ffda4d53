"""The ``wmrl`` command: finds the subcommand, and loads that one module only.

Every subcommand is a module of this package with a frozen dataclass ``Args``, whose fields become
options, and a function ``main(args)``.
"""

import difflib
import os
import sys
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module

import wmrl


@dataclass(frozen=True)
class Command:
    """A subcommand.

    Attributes:
        module: module of this package that holds its ``Args`` and ``main``.
        summary: its line in ``wmrl --help``.
    """

    module: str
    summary: str


COMMANDS = {
    "demo": Command("demo", "five minutes: learn to drive in a dream, then drive the real game"),
    "doctor": Command("doctor", "check this installation, and say how to mend what is wrong"),
    "play": Command("play", "drive yourself with the arrow keys, in the real game or in the dream"),
    "train": Command("train", "the whole loop, from nothing to a driver; resumable"),
    "collect": Command("collect", "record episodes of a task into a rollout store"),
    "inspect": Command("inspect_store", "show what a rollout store holds"),
    "train-vision": Command("train_vision", "train the eye: frames to latents and back"),
    "train-memory": Command(
        "train_memory", "train the memory: what comes next, which is the dream"
    ),
    "compare-memories": Command(
        "reproduce.memories.command",
        "memories side by side: in symbols or not, LSTM or Transformer",
    ),
    "train-controller": Command("train_controller", "train a controller, in a dream or for real"),
    "search-elites": Command(
        "search_elites", "search for elites among the poses of a planar arm; resumable"
    ),
    "curves": Command("curves", "draw the training curves of runs"),
    "evaluate": Command("evaluate", "score an agent on fixed seeds in the unmodified game"),
    "record": Command("record", "film an agent: real frame, reconstruction and dream side by side"),
    "reproduce kl": Command(
        "reproduce.kl.command",
        "a Gaussian that learns to be another by KL(q‖p): what works, what can't",
    ),
    "reproduce vqvae": Command(
        "reproduce.vqvae.command", "VQ-VAEs and priors over their codes, on digits and clothes"
    ),
    "reproduce dde": Command(
        "reproduce.dde.command",
        "elites of planar arms: MAP-Elites with a learned encoding, and others",
    ),
    "reproduce reuse": Command(
        "reproduce.reuse.command",
        "targets for a planar arm, searched for in what its elites taught",
    ),
    "reproduce codebook": Command(
        "reproduce.codebook.command", "whether codes of elites align, and what keeps them apart"
    ),
    "reproduce drivers": Command(
        "reproduce.drivers.command", "elites that drive, and an eye that learns from what they see"
    ),
    "reproduce policies": Command(
        "reproduce.policies.command",
        "CMA-ES, variational search and PPO in one dream, and a posterior's drivers",
    ),
    "reproduce binary-vae": Command(
        "reproduce.binary_vae.command",
        "a VAE for binary vectors, in two regimes of its learning rate",
    ),
}


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the command and exits: 0 when it did its work, 2 when it was asked for the impossible.

    Args:
        argv: arguments after the program's name; those of the process if None.
    """
    try:
        status = run(sys.argv[1:] if argv is None else argv)
        if sys.stdout is not None:  # as it is where it was closed before
            sys.stdout.flush()
    except BrokenPipeError:  # whoever reads has read enough, as head does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1  # what was to be done may not be
    sys.exit(status)


def run(argv: Sequence[str]) -> int:
    """Runs the command and returns its exit status."""
    debug = "--debug" in argv
    words = [word for word in argv if word != "--debug"]
    if not words or words[0] in ("-h", "--help", "help"):
        print(usage())
        return 0
    name, *rest = words
    if f"{name} {' '.join(rest[:1])}" in COMMANDS:  # of two words
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
        return _fail(f"there is no command {name!r}{_suggestion(name)}; see wmrl --help")
    try:
        return _run_command(name, rest)
    except BrokenPipeError:  # no fault of the command's
        raise
    except KeyboardInterrupt:
        return _fail("interrupted", status=130)
    except (ValueError, OSError, ImportError, FloatingPointError) as error:
        if debug:
            traceback.print_exc()
            return 2
        return _fail(f"{error or type(error).__name__}\n(wmrl --debug {name} … shows where)")


def usage(names: Iterable[str] = COMMANDS) -> str:
    """The text of ``wmrl --help``, or of some commands' part of it."""
    commands = {name: COMMANDS[name] for name in names}
    width = max(map(len, commands))
    return "\n".join(
        [
            "usage: wmrl [--debug] COMMAND [OPTIONS]",
            "",
            "World models for reinforcement learning: agents that learn in their own dreams.",
            "",
            *(f"  {name:{width}}  {command.summary}" for name, command in commands.items()),
            "",
            "wmrl COMMAND --help lists a command's options; --debug shows the traceback of an",
            "error; --version prints the version.",
        ]
    )


def _run_command(name: str, words: Sequence[str]) -> int:
    import tyro

    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    module = import_module(f"wmrl.scripts.{COMMANDS[name].module}")
    args = tyro.cli(module.Args, prog=f"wmrl {name}", description=module.__doc__, args=words)
    # A command may return an exit status; most return nothing, which is success.
    return module.main(args) or 0


def _suggestion(name: str) -> str:
    close = difflib.get_close_matches(name, COMMANDS, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _fail(message: str, *, status: int = 2) -> int:
    print(f"wmrl: {message}", file=sys.stderr)
    return status
