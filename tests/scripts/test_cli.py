import io
import os
import re
import subprocess
import sys
import warnings
from dataclasses import dataclass, fields, replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import tyro

import wmrl
from wmrl.agents.pipeline.plan import TrainingPlan
from wmrl.core.warning import WMRLWarning
from wmrl.scripts import cli, terminal, train_controller
from wmrl.scripts.cli import COMMANDS, Command, main, run
from wmrl.scripts.terminal import show_warning
from wmrl.training.learning_warning import LearningWarning


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A subcommand ``try`` with one option, whose ``main`` the test replaces."""
    module = ModuleType("wmrl.scripts.try_command", "Tries things.")

    @dataclass(frozen=True)
    class Args:
        count: int = 3
        """how many"""

    module.Args = Args
    module.main = lambda args: print(f"count {args.count}")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(COMMANDS, "try", Command("try_command", "tries things"))
    return module


def test_help_lists_every_command_and_loads_nothing_heavy() -> None:
    code = (
        "import sys; from wmrl.scripts.cli import run; status = run(['--help']); "
        "heavy = {'torch', 'tyro', 'Box2D', 'cv2', 'numba'} & set(sys.modules); "
        "assert status == 0 and not heavy, (status, heavy)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name, entry in COMMANDS.items():
        assert name in done.stdout
        assert entry.summary in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100


@pytest.mark.parametrize("words", [["reproduce"], ["reproduce", "--help"]])
def test_a_group_lists_its_commands(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words) == 0
    out = capsys.readouterr().out
    assert COMMANDS["reproduce dde"].summary in out
    assert COMMANDS["evaluate"].summary not in out
    assert run(["reproduce", "dee"]) == 2
    message = "there is no command 'reproduce dee' (did you mean 'reproduce dde'?)"
    assert message in capsys.readouterr().err


def test_a_closed_pipe_is_no_error() -> None:
    code = "from wmrl.scripts.cli import main; main(['--help'])"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()  # before anything is written
        assert process.stderr.read() == b""
        assert process.wait() == 1


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("kl", "wmrl.scripts.reproduce.kl.experiment:RUNS"),
        ("dde", "wmrl.scripts.reproduce.dde.experiment:METHODS"),
        ("codebook", "wmrl.scripts.reproduce.codebook.experiment:VARIANTS"),
        ("policies", "wmrl.scripts.reproduce.policies.experiment:METHODS"),
    ],
)
def test_help_names_what_can_be_chosen(
    name: str, known: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run(["reproduce", name, "--help"])
    words = re.findall(r"[\w-]+", capsys.readouterr().out)
    module, _, table = known.partition(":")
    assert set(getattr(import_module(module), table)) <= set(words)


def test_options_become_arguments(command: ModuleType, capsys: pytest.CaptureFixture) -> None:
    assert run(["try", "--count", "5"]) == 0
    assert capsys.readouterr().out == "count 5\n"


def test_a_command_chooses_its_exit_status(command: ModuleType) -> None:
    command.main = lambda args: 1
    assert run(["try"]) == 1


def test_help_of_a_command(command: ModuleType, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as stopped:
        run(["try", "--help"])
    assert stopped.value.code == 0
    out = capsys.readouterr().out
    assert "Tries things." in out
    assert "how many" in out
    assert "wmrl try" in out


@pytest.mark.parametrize(
    "error",
    [ValueError("lr: expected more"), OSError("lr: disk full"), FloatingPointError("fitness: NaN")],
)
def test_errors_are_one_line(
    command: ModuleType, capsys: pytest.CaptureFixture, error: Exception
) -> None:
    def fail(args: object) -> None:
        raise error

    command.main = fail
    assert run(["try"]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"wmrl: {error}\n")
    assert "Traceback" not in err
    assert "--debug" in err

    assert run(["try", "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_bugs_are_not_hidden(command: ModuleType) -> None:
    def fail(args: object) -> None:
        raise KeyError("bug")

    command.main = fail
    with pytest.raises(KeyError, match="bug"):
        run(["try"])


def test_a_game_that_ends_the_program_is_an_error(
    command: ModuleType, capsys: pytest.CaptureFixture
) -> None:
    def leave(args: object) -> None:
        raise SystemExit(0)

    command.main = leave
    assert run(["try"]) == 2
    assert "a game or a library ended the program (SystemExit: 0)" in capsys.readouterr().err


def test_interruption(command: ModuleType, capsys: pytest.CaptureFixture) -> None:
    def interrupt(args: object) -> None:
        raise KeyboardInterrupt

    command.main = interrupt
    assert run(["try"]) == 130
    assert capsys.readouterr().err == "wmrl: interrupted\n"


def test_unknown_commands_are_corrected(capsys: pytest.CaptureFixture) -> None:
    assert run(["colect"]) == 2
    assert "there is no command 'colect' (did you mean 'collect'?)" in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"wmrl {wmrl.__version__}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as stopped:
        run([name, "--help"])
    assert stopped.value.code == 0
    out = capsys.readouterr().out
    assert f"usage: wmrl {name}" in out
    first = (import_module(f"wmrl.scripts.{COMMANDS[name].module}").__doc__ or "").split()[:4]
    assert " ".join(first) in out


def test_modules_of_the_current_folder_can_be_named(
    command: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "game_of_mine.py").write_text("NAME = 'mine'\n")
    (tmp_path / "json.py").write_text("raise ImportError('not the installed module')\n")
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    command.main = lambda args: print(import_module("game_of_mine").NAME, import_module("json"))
    assert run(["try"]) == 0
    assert capsys.readouterr().out.startswith("mine <module 'json' from '/")
    assert sys.path == before  # outside the command line, nothing is added
    sys.modules.pop("game_of_mine", None)


def test_a_task_in_the_current_folder(tmp_path: Path) -> None:
    """As from a shell, and with worker processes, which must find the module as well."""
    toys = Path(__file__).parents[1] / "toys"
    text = (toys / "toy_game.py").read_text().replace("toy_game:Toy", "my_game:Toy")
    (tmp_path / "my_game.py").write_text(text)
    words = ["collect", "data", "--episodes", "1", "--num-envs", "1", "--workers", "1"]
    code = "from wmrl.scripts.cli import main; main()"
    environment = {**os.environ, "PYTHONPATH": "", "PYTHONSAFEPATH": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code, *words, "--task", "my_game:TOY"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "1 episodes" in done.stdout


@pytest.mark.parametrize("name", ["collect", "evaluate", "record", "play", "train"])
def test_every_command_that_plays_a_game_takes_a_task(name: str) -> None:
    words = {field.name for field in fields(import_module(f"wmrl.scripts.{name}").Args)}
    assert "task" in words


def module_of(name: str) -> ModuleType:
    return import_module(f"wmrl.scripts.{COMMANDS[name].module}")


def has_out(name: str) -> bool:
    return "out" in {field.name for field in fields(module_of(name).Args)}


@pytest.mark.parametrize(
    "name", [name for name, entry in COMMANDS.items() if entry.out == "folder" and has_out(name)]
)
def test_output_folders_are_tried_first(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module_of(name), "main", None)  # calling it would fail
    file = tmp_path / "file"
    file.write_text("")
    required = {"train-vision": ["store"], "train-memory": ["store", "--vision", "v"]}
    required |= {"inspect": ["store"], "compare-memories": ["store"], "artifacts pull": ["a/b"]}
    required |= {"export onnx": ["model"], "import minari": ["dataset"]}
    positional = name in ("train-controller", "search-elites")
    words = [str(file)] if positional else [*required.get(name, []), "--out", str(file)]
    assert run([*name.split(), *words]) == 2
    assert "out: expected a folder, got" in capsys.readouterr().err


def test_text_that_the_output_cannot_encode_is_replaced() -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "LANG": "C"}
    for words in (["--help"], ["play", "--help"], ["reproduce", "kl", "--help"]):
        command = [sys.executable, "-c", "from wmrl.scripts.cli import main; main()", *words]
        found = subprocess.run(command, env=environment, capture_output=True, check=False)
        assert (found.returncode, found.stderr) == (0, b""), words
        text = found.stdout.decode("ascii")
        assert "\\u" not in text
    assert "KL(q||p)" in text


@pytest.mark.parametrize(
    ("text", "printed"),
    [("0.5 ± 0.1 ≥ τ", b"0.5 +/- 0.1 >= tau\n"), ("日", b"\\u65e5\n")],
)
def test_each_character_has_a_replacement(
    text: str, printed: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, "ascii", newline="\n"))
    monkeypatch.setattr(cli, "run", lambda words: print(text) or 0)
    with pytest.raises(SystemExit):
        main([])
    assert raw.getvalue() == printed


@pytest.mark.parametrize("name", sorted(cli._NEXT))
def test_the_next_command_exists_and_its_fields_are_options(name: str) -> None:
    fields = import_module(f"wmrl.scripts.{COMMANDS[name].module}").Args.__dataclass_fields__
    following = cli._NEXT[name].format_map(dict.fromkeys(fields, "x"))
    program, command, *words = following.partition(",")[0].split()
    assert program == "wmrl"
    tyro.cli(import_module(f"wmrl.scripts.{COMMANDS[command].module}").Args, args=words)


def test_the_next_command_keeps_the_task_that_was_given() -> None:
    args = train_controller.Args(Path("runs/agent"))
    assert cli._next_command("train-controller", args) == "wmrl evaluate runs/agent/artifact"
    args = replace(args, task="CartPole-v1")
    following = cli._next_command("train-controller", args)
    assert following == "wmrl evaluate runs/agent/artifact --task CartPole-v1"


def test_a_warning_of_this_package_is_one_line(
    command: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)

    def warn(args: object) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.showwarning = show_warning
            warnings.warn("nothing was learned", LearningWarning, stacklevel=1)
            for category in (WMRLWarning, UserWarning):
                warnings.warn_explicit("cut off", category, terminal.__file__, 1)
            warnings.warn("old", DeprecationWarning, stacklevel=1)

    command.main = warn
    assert run(["try"]) == 0
    printed = capsys.readouterr().err.splitlines()
    own, plain, foreign, other = (line for line in printed if re.search("arning: ", line))
    assert own == "wmrl: warning: nothing was learned"
    assert plain == "wmrl: warning: cut off"
    assert "terminal.py:1: UserWarning: cut off" in foreign
    assert "test_cli.py" in other
    assert "DeprecationWarning: old" in other


def test_the_whole_loop_takes_the_shape_of_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []

    def stop(task: Any, *_: Any, **__: Any) -> None:
        given.append(task)
        raise KeyboardInterrupt

    monkeypatch.setattr("wmrl.agents.pipeline.loop.train", stop)
    words = ["train", "--out", str(tmp_path / "run"), "--frame-size", "84", "--grayscale"]
    run([*words, "--frame-skip", "2"])
    run(words)
    assert (given[0].name, given[0].frame_shape) == ("car-racing@84x84x1", (84, 84, 1))
    assert [task.frame_skip for task in given] == [2, 4]
    run([*words, "--frame-stack", "4"])
    assert (given[2].name, given[2].frame_stack) == ("car-racing@84x84x1x4", 4)


def test_the_whole_loop_plays_any_game(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given: list[Any] = []

    def stop(task: Any, out: Path, *, plan: Any, **_: Any) -> None:
        given.append((task.name, str(out), plan))
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("wmrl.agents.pipeline.loop.train", stop)
    words = ["train", "--task", "choice_game:Choice-v0", "--minutes", "30"]
    run([*words, "--real-frames", "20000"])
    run([*words, "--out", "mine", "--no-real"])
    run(["train", "--task", "vsg/CarRacing-v3"])
    run(["train"])
    assert [out for _, out, _ in given] == [
        *("runs/Choice-v0", "mine", "runs/vsg-CarRacing-v3", "runs/car-racing")
    ]
    name, _, plan = given[0]
    assert (name, plan.real_frames, plan.real_envs) == ("Choice-v0", 20_000, 0)
    assert 19_990 < plan.collected_frames <= 20_000
    assert given[1][2].first_frames == 31_250  # as many agent steps as in CarRacing
    assert given[3][2] == TrainingPlan.for_minutes(60)
    err = capsys.readouterr().err
    assert "Choice-v0: Frames are its observations, 12 × 12 pixels." in err
    assert "real_frames: 20000 frames are too few for fine-tuning in the real game" in err
    assert "This game also has the registered task 'car-racing'" in err


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a shell that closes streams")
def test_a_file_never_takes_the_place_of_a_closed_stream(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys\n"
        "from wmrl.scripts.terminal import open_streams\n"
        "open_streams()\n"
        "file = open(sys.argv[1], 'w')\n"
        "print('out', sys.stdin.read())\n"
        "print('err', file=sys.stderr)\n"
        'child = \'import os; os.write(1, b"child"); os.write(2, b"child")\'\n'
        "subprocess.run([sys.executable, '-c', child], check=True)\n"
        "file.write('whole')\n"
    )
    path = tmp_path / "file"
    words = [sys.executable, "-c", code, str(path)]
    subprocess.run(["sh", "-c", 'exec "$0" "$@" <&- >&- 2>&-', *words], check=True)
    assert path.read_text() == "whole"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("words", [["--help"], ["--version"]])
def test_output_to_a_full_disk_is_an_error_of_one_line(words: list[str]) -> None:
    code = f"from wmrl.scripts.cli import main; main({words})"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", code],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr == "wmrl: [Errno 28] No space left on device\n"
