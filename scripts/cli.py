"""The ``wmrl`` command, which imports only the module of the requested subcommand.

Each subcommand is a module of this package. The module defines a frozen dataclass ``Args``, whose
fields become the options of the subcommand, and a function ``main(args)``.
"""

import difflib
import os
import sys
import traceback
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

import gymnasium

import wmrl
from wmrl.core.processes import WorkerError
from wmrl.scripts.terminal import Interruption, accept_all_text, open_streams, show_warning

# Errors that are reported in one line; others are faults of this package.
_ERRORS = (ValueError, OSError, ImportError, FloatingPointError, WorkerError, gymnasium.error.Error)


@dataclass(frozen=True)
class Command:
    """Module and summary of a subcommand.

    Attributes:
        module: name of the module below ``wmrl.scripts`` that defines ``Args`` and ``main``.
        summary: one-line description, shown by ``wmrl --help``.
        out: ``"file"`` if the option ``--out`` of the subcommand is the path of a file;
            ``"folder"`` if the option is the path of a folder.
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
    "dream": Command(
        "dream", "record a video of dreams at several temperatures, from one recorded start", "file"
    ),
    "export minari": Command("export_minari", "write a rollout store as a Minari dataset"),
    "export onnx": Command(
        "export_onnx", "write a vision model or a memory as ONNX files, and check them"
    ),
    "import minari": Command("import_minari", "read a Minari dataset into a rollout store"),
    "artifacts list": Command(
        "artifacts.listing", "list the shipped artifacts, and those in folders"
    ),
    "artifacts show": Command("artifacts.show", "show what an artifact is, and how it was made"),
    "artifacts verify": Command(
        "artifacts.verify", "verify artifacts, and the models they were trained with"
    ),
    "artifacts push": Command("artifacts.push", "upload an artifact to the Hugging Face hub"),
    "artifacts pull": Command(
        "artifacts.pull", "download artifacts from the Hugging Face hub to a folder"
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
        "measure whether codes of elites align along few directions; test remedies",
    ),
    "reproduce drivers": Command(
        "reproduce.drivers.command",
        "search for elite drivers, and train a vision model on the frames they see",
    ),
    "reproduce policies": Command(
        "reproduce.policies.command",
        "compare CMA-ES, variational search and PPO in one dream",
    ),
    "reproduce take-cover": Command(
        "reproduce.take_cover.command",
        "learn Doom's Take Cover by training in the dream alone",
    ),
    "reproduce games": Command(
        "reproduce.games.command",
        "train in games for which nothing was tuned; compare with PPO on frames",
    ),
    "reproduce binary-vae": Command(
        "reproduce.binary_vae.command",
        "train a VAE for binary vectors with two learning-rate schedules",
    ),
}

_NEXT = {
    "demo": "wmrl play dream, or wmrl train for an agent that learns everything from scratch",
    "collect": "wmrl train-vision {store} -o runs/vision",
    "import minari": "wmrl train-vision {out} -o runs/vision",
    "train-vision": "wmrl train-memory STORE --vision {out}/artifact -o runs/memory",
    "train-memory": "wmrl train-controller runs/agent --task TASK --vision {vision} "
    "--memory {out}/artifact",
    "train-controller": "wmrl evaluate {out}/artifact --task {task}",
    "search-elites": "wmrl curves {out}",
    "evaluate": "wmrl record AGENT --task {task}, for a video",
    "record": "wmrl evaluate {agent} --task {task}, for its score",
}
"""Commands that usually come next, keyed by the command that has just finished.

The next command is printed as a hint. A name in braces stands for a field of the finished command's
``Args``, and is replaced by the value of the field. The option ``--task`` is left out if the
finished command was called without it.
"""


_CONFIG_HELP = "--config FILE reads options from a TOML file, such as the run.toml of a run."


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the command and exits the process.

    The exit status is:

    - 0 on success.
    - 1 if ``wmrl doctor`` finds problems, or if a pipe that receives the output is closed early.
    - 2 if the command is invalid or fails.
    - 130 after Ctrl-C.
    - 128 plus the number of the signal after a request to terminate (SIGTERM, SIGHUP).

    Args:
        argv: arguments after the program name; ``sys.argv[1:]`` if None.
    """
    open_streams()
    accept_all_text()
    warnings.showwarning = show_warning
    with Interruption() as interruption:
        try:
            status = run(sys.argv[1:] if argv is None else argv)
            sys.stdout.flush()
        except BrokenPipeError:  # the reader closed the pipe, as head does
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            status = 1  # the work may be incomplete
        except OSError as error:  # for example, the disk that the output goes to is full
            status = _fail(str(error))
        except BaseException:
            # Some libraries turn an interruption into an error of their own.
            if not interruption.signal:
                raise
            status = _fail("interrupted")
        if interruption.signal and status:
            # The command has saved and closed what it had to. Taking down the interpreter and its
            # libraries in order would take seconds on a busy machine.
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            os._exit(128 + interruption.signal)
        sys.exit(status)


def run(argv: Sequence[str]) -> int:
    """Parses the words after ``wmrl``, runs the subcommand and returns the exit status."""
    words, plugins = _split_option(argv, "--plugins")
    words, configs = _split_option(words, "--config")
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
            return _run_command(name, rest, configs)
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
            "usage: wmrl [--debug] [--plugins NAME] COMMAND [--config FILE] [OPTIONS]",
            "",
            "World models for reinforcement learning: agents that learn in their own dreams.",
            "",
            *(f"  {name:{width}}  {command.summary}" for name, command in commands.items()),
            "",
            "wmrl COMMAND --help lists the options of a command. --version prints the version.",
            "--config FILE reads options from a TOML file, such as the run.toml of a run; those on",
            "the command line replace them.",
            "--debug shows the traceback of an error. --plugins NAME loads the plugins of an",
            "installed package, which register further models and agents. The option --plugins",
            "can be repeated.",
        ]
    )


def _split_option(argv: Sequence[str], option: str) -> tuple[list[str], list[str]]:
    """Separates an option that all commands share from the other words.

    Args:
        argv: words of the command line.
        option: the option, such as ``"--config"``, which is followed by a value or by ``=`` and a
            value.

    Returns:
        The other words, and the values of the option, which may be given several times.
    """
    words: list[str] = []
    values: list[str] = []
    given = iter(argv)
    for word in given:
        name, equals, value = word.partition("=")
        if name != option:
            words.append(word)
        else:
            values.append(value if equals else next(given, ""))
    return words, values


def _run_command(name: str, words: Sequence[str], configs: Sequence[str]) -> int:
    import tyro

    from wmrl.scripts.options import check_options
    from wmrl.training.progress import heartbeat

    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    module = import_module(f"wmrl.scripts.{COMMANDS[name].module}")
    if len(configs) > 1 or "" in configs:
        raise ValueError(f"config: expected the path of one TOML file, got {', '.join(configs)!r}")
    given: dict[str, Any] = {}
    if configs:
        from wmrl.scripts.config_file import read_options

        given["default"] = read_options(configs[0], module.Args, command=name)
    description = f"{module.__doc__}\n{_CONFIG_HELP}"
    args = tyro.cli(module.Args, prog=f"wmrl {name}", description=description, args=words, **given)
    check_options(args)
    _check_outputs(COMMANDS[name], args)
    with heartbeat(name, show=getattr(args, "progress", True)):
        try:
            # A command may return an exit status; most return None, which means success.
            status: int = module.main(args) or 0
        except SystemExit as error:  # no command raises it
            return _fail(
                f"{name}: expected the command to finish, but a game or a library ended the "
                f"program (SystemExit: {error.code}); let it raise another exception instead"
            )
    if status == 0 and name in _NEXT:
        print(f"next: {_next_command(name, args)}")
    return status


def _next_command(name: str, args: Any) -> str:
    """Returns the command to suggest after the command ``name`` has finished.

    Args:
        name: name of the finished command.
        args: options of the finished command, an instance of its ``Args``.
    """
    text = _NEXT[name]
    if getattr(args, "task", None) == getattr(type(args), "task", None):
        text = text.replace(" --task {task}", "")
    return text.format_map(vars(args))


@contextmanager
def _importable_folder() -> Iterator[None]:
    """Makes modules in the current folder importable, for ``--task module:ATTRIBUTE``.

    The current folder is searched last, so that its modules never replace installed modules. The
    folder is removed from the search path at the end of the ``with`` block.
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
    """Checks that the output paths of a command can be written, before the command begins.

    Raises:
        ValueError: a path can't be written, or its kind (file or folder) is not the expected one.
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
    with suppress(OSError):  # the status says it as well
        print(f"wmrl: {message}", file=sys.stderr)
    return status
