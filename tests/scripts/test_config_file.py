"""Options in TOML files: read, written, and the same after both."""

import dataclasses
import math
import tomllib
import types
import typing
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import pytest
import tyro
from hypothesis import given, settings
from hypothesis import strategies as st

from wmrl.agents.video.config import DreamVideoConfig, VideoConfig
from wmrl.scripts import cli, record, train_controller, train_vision
from wmrl.scripts.cli import COMMANDS, run
from wmrl.scripts.config_file import options_text, read_options, write_options

REQUIRED = {
    Path: Path("a folder"),
    str: "a name",
    tuple[Path, ...]: (Path("one"), Path("two")),
    tuple[str, ...]: ("one", "two"),
}
NAMES = st.text(
    st.characters(exclude_categories=["Cs"]) | st.sampled_from('"\\\n\t\x00\x7f#='), max_size=8
)


def args_class(command: str) -> Any:
    return import_module(f"wmrl.scripts.{COMMANDS[command].module}").Args


CONTENTS: dict[Any, Any] = {
    DreamVideoConfig: DreamVideoConfig(temperatures=(0.1 + 0.2, 2.0), start=3),
    VideoConfig: VideoConfig(seed=3, base="a\\b", speed=0.1 + 0.2, sharp=False),
}


def default(command: str) -> Any:
    """The options of a command, with a value for each that has no default."""
    cls = args_class(command)
    hints = typing.get_type_hints(cls)
    needed = {
        item.name: REQUIRED[hints[item.name]]
        for item in dataclasses.fields(cls)
        if item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
    }
    return cls(**needed)


def values(hint: Any) -> st.SearchStrategy[Any]:
    """All values that an option of a type may have."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return st.one_of([st.none() if each is types.NoneType else values(each) for each in args])
    if origin is Literal:
        return st.sampled_from(args)
    if origin is tuple and args[1:] == (...,):
        return st.lists(values(args[0]), max_size=3).map(tuple)
    if origin is tuple:
        return st.tuples(*map(values, args))
    if dataclasses.is_dataclass(hint):
        return st.just(CONTENTS[hint])
    return {
        int: st.integers(),
        float: st.floats(allow_nan=False),
        bool: st.booleans(),
        str: NAMES,
        Path: NAMES.map(Path),
    }[hint]


def options(command: str) -> st.SearchStrategy[Any]:
    cls = args_class(command)
    hints = typing.get_type_hints(cls)
    names = [item.name for item in dataclasses.fields(cls)]
    return st.fixed_dictionaries({name: values(hints[name]) for name in names}).map(
        lambda given: cls(**given)
    )


def read(text: str, cls: Any, folder: Path, *, command: str = "try") -> Any:
    path = folder / "options.toml"
    path.write_bytes(text.encode())
    return read_options(path, cls, command=command)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_defaults_of_every_command_come_back(command: str, tmp_path: Path) -> None:
    args = default(command)
    found = read(options_text(args, command=command), type(args), tmp_path)
    assert found == args
    assert tyro.cli(type(args), args=[], default=found) == args


@pytest.mark.parametrize("command", COMMANDS)
def test_all_options_of_every_command_come_back(
    command: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("options")

    @given(args=options(command))
    @settings(max_examples=20, deadline=None, derandomize=True)
    def check(args: Any) -> None:
        found = read(options_text(args, command=command), type(args), folder)
        assert found == args
        assert repr(found) == repr(args)  # also the types, and the sign of zero

    check()


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan, -0.0, 5e-324, 1e22, 0.1 + 0.2])
def test_floats_are_exact(number: float, tmp_path: Path) -> None:
    args = dataclasses.replace(default("train-vision"), learning_rate=number)
    found = read(options_text(args, command="x"), type(args), tmp_path)
    assert repr(found.learning_rate) == repr(number)


def test_the_text_is_as_users_write_it() -> None:
    args = record.Args("my agent", out=Path("a/b.mp4"), video=VideoConfig(seed=1))
    text = options_text(args, command="record")
    assert text.startswith("# The options of wmrl record, which repeats this run with --config ")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert lines[:6] == [
        "",
        'agent = "my agent"',
        'out = "a/b.mp4"',
        'device = "auto"',
        "",
        "[video]",
    ]
    assert "seed = 1" in lines
    assert tomllib.loads(text)["video"]["sharp"] is True


def test_no_option_is_none_unless_that_is_its_default() -> None:
    for command in COMMANDS:
        for item in dataclasses.fields(args_class(command)):
            hint = typing.get_type_hints(args_class(command))[item.name]
            if types.NoneType in typing.get_args(hint):
                assert item.default is None, (command, item.name)
            assert item.name != "config"
    args = dataclasses.replace(default("collect"), task=None)
    with pytest.raises(ValueError, match="task: expected a value, which TOML can store, got None"):
        options_text(args, command="collect")


def test_text_that_is_no_text_is_refused() -> None:
    args = dataclasses.replace(default("collect"), store=Path("runs/\udcff"))
    with pytest.raises(ValueError, match="store: expected text that UTF-8 can store, got"):
        options_text(args, command="collect")


def test_missing_options_have_their_defaults(tmp_path: Path) -> None:
    found = read("steps = 7\nlevels = [4, 4]\n", train_vision.Args, tmp_path)
    assert found.out is tyro.MISSING
    parsed = tyro.cli(train_vision.Args, args=["a", "b", "-o", "c"], default=found)
    expected = train_vision.Args((Path("a"), Path("b")), Path("c"), steps=7, levels=(4, 4))
    assert parsed == expected
    assert read("[video]\nwidth = 9\n", record.Args, tmp_path).video == VideoConfig(width=9)


def test_whole_numbers_are_numbers(tmp_path: Path) -> None:
    found = read("minutes = 60\n", train_vision.Args, tmp_path)
    assert repr(found.minutes) == "60.0"  # as on the command line


UNKNOWN = [
    ("steps = 1\n\n# more\nbach_size = 3", 4, "bach_size", "did you mean batch_size?"),
    ("learning-rate = 1.0", 1, "learning-rate", "did you mean learning_rate?"),
    ('init = """\na\n"""\n"no such" = 1', 4, "no such", "wmrl train-vision --help lists them"),
    ("levels = [\n  4,\n]\n\n[training]\nsteps = 3", 5, "training", "wmrl train-vision --help"),
]


@pytest.mark.parametrize(("text", "line", "name", "advice"), UNKNOWN)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_unknown_keys_are_refused(
    text: str, line: int, name: str, advice: str, end: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="expected an option") as error:
        read(text.replace("\n", end), train_vision.Args, tmp_path, command="train-vision")
    assert str(error.value).startswith(
        f"{tmp_path}/options.toml, line {line}: {name}: expected an option of wmrl train-vision, "
        f"got {name!r}; {advice}"
    )


def test_unknown_keys_in_and_of_tables(tmp_path: Path) -> None:
    for text, advice in (
        ("[video]\nwith = 3", "line 2: video.with: .* did you mean video.width?"),
        ("dream_agent_step = 3", "line 1: dream_agent_step: .* did you mean video.dream_agent_ste"),
        ("[vido]\nwidth = 3", "line 1: vido: .* did you mean video?"),
    ):
        with pytest.raises(ValueError, match=advice):
            read(text, record.Args, tmp_path)


WRONG = [
    ("steps = 1.5", "steps: expected an integer, got 1.5"),
    ("steps = true", "steps: expected an integer, got true"),
    ('batch_size = "many"', 'batch_size: expected an integer, got "many"'),
    ("learning_rate = false", "learning_rate: expected a number, got false"),
    ("kind = 'vea'", 'kind: expected "vae" or "vqvae", got "vea"'),
    ("pixel_variance = 'low'", 'pixel_variance: expected a number or "calibrated", got "low"'),
    ("mean_frame = 1", "mean_frame: expected true or false, got 1"),
    ("out = 3", "out: expected a string, got 3"),
    ("stores = 'one'", 'stores: expected an array of strings, got "one"'),
    ("levels = [4, 4.5]", "levels: expected an array of integers, got [4, 4.5]"),
    ("seed = 2020-01-01", "seed: expected an integer, got datetime.date(2020, 1, 1)"),
    ("device.name = 'cpu'", "device: expected a string, got {'name': 'cpu'}"),
]


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_wrong_types_are_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected") as error:
        read(f"# a comment\n{text}", train_vision.Args, tmp_path)
    assert str(error.value) == f"{tmp_path}/options.toml, line 2: {message}"


def test_wrong_types_of_arrays_and_tables(tmp_path: Path) -> None:
    elites = args_class("search-elites")
    for cls, text, message in (
        (elites, "dims = [3]", r"dims: expected an array of 2 items \(an integer, an integer\), g"),
        (elites, "locks = [[1, 'a']]", r"locks: expected an array of arrays of 2 items \(an integ"),
        (record.Args, "video = 3", "video: expected a table, got 3"),
        (record.Args, "[video]\nwidth = 'x'", 'line 2: video.width: expected an integer, got "x"'),
        (record.Args, "[video]\nwidth = 0", "options.toml: width: expected at least 1, got 0"),
    ):
        with pytest.raises(ValueError, match=message):
            read(text, cls, tmp_path)


def unusable(folder: Path) -> Iterator[tuple[Path, str]]:
    yield folder / "none.toml", "expected a TOML file, got nothing at"
    yield folder, "expected a regular file, got a folder"
    for name, data, message in (
        ("syntax", b"steps = 1\nseed 3\n", r"syntax: Expected '=' after a key .*\(at line 2"),
        ("bytes", b"task = '\xff'\n", "bytes: 'utf-8' codec can't decode byte 0xff"),
        ("deep", b"levels = " + b"[" * 10_000, "deep: "),
        ("twice", b"seed = 1\nseed = 2\n", "twice: Cannot overwrite a value"),
    ):
        (folder / name).write_bytes(data)
        yield folder / name, message


def test_files_that_are_not_toml_are_refused(tmp_path: Path) -> None:
    for path, message in unusable(tmp_path):
        with pytest.raises(ValueError, match=f"^config: .*{message}"):
            read_options(path, train_vision.Args, command="train-vision")


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The options with which the command train-controller was called."""
    found: list[Any] = []
    monkeypatch.setattr(train_controller, "main", found.append)
    return found


def test_the_command_line_overrides_the_file(seen: list[Any], tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text('out = "a"\nalgorithm = "cma-es"\nsigma = 0.5\ndropout = true\nseed = 3\n')
    assert run(["train-controller", "--config", str(path)]) == 0
    words = ["b", "--seed", "4", "--no-dropout"]
    assert run(["train-controller", *words, f"--config={path}"]) == 0
    first = train_controller.Args(Path("a"), algorithm="cma-es", sigma=0.5, dropout=True, seed=3)
    assert seen == [first, dataclasses.replace(first, out=Path("b"), seed=4, dropout=False)]


def test_options_from_a_file_are_checked(
    seen: list[Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run.toml"
    path.write_text('out = "a"\nnum_envs = 0\n')
    for words, message in (
        (["--config", str(path)], "num_envs: expected at least 1, got 0"),
        (["--config"], "config: expected the path of one TOML file, got ''"),
        (["--config", "a", "--config", "b"], "config: expected the path of one TOML file, got 'a,"),
        (["--config", "none.toml"], "config: expected a TOML file, got nothing at none.toml"),
    ):
        assert run(["train-controller", *words]) == 2
        assert capsys.readouterr().err.startswith(f"wmrl: {message}")
    assert not seen


@pytest.mark.parametrize("command", ["train-vision", "record", "reproduce kl"])
def test_help_mentions_the_file(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run([command, "--help"])
    assert cli._CONFIG_HELP in capsys.readouterr().out


def test_results_are_written_with_their_options(tmp_path: Path) -> None:
    args = dataclasses.replace(default("reproduce kl"), out=tmp_path / "new", seeds=(1, 2))
    write_options(args, args.out, command="reproduce kl")
    found = read_options(tmp_path / "new" / "run.toml", type(args), command="reproduce kl")
    assert found == args
