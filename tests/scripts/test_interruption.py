"""Commands that are interrupted, terminated or killed, as real processes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from wmrl.data.store import RolloutStore
from wmrl.storage.reading import read_json
from wmrl.storage.run import Run
from wmrl.training.metrics import read_metrics
from wmrl.training.trainer import TRAINING_LIMITS

_MAIN = "from wmrl.scripts.cli import main; main()"
_LIMIT = 2.0 if os.environ.get("WMRL_IDLE_MACHINE") else 4.0  # seconds; other tests run beside this

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts the command in a session of its own, which is killed at the end of the test."""
    started = []

    def run(*words: object) -> "subprocess.Popen[str]":
        toys = str(Path(__file__).parents[1] / "toys")
        process = subprocess.Popen(
            [sys.executable, "-c", _MAIN, *map(str, words)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": toys, "OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        for pid in session(process.pid):
            os.kill(pid, signal.SIGKILL)
        process.communicate()


def session(leader: int) -> list[int]:
    """Returns the ids of the living processes of a session."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if fields[0] != "Z" and int(fields[3]) == leader:
            found.append(int(stat.parent.name))
    return found


def wait_for(condition: Callable[[], Any], process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 90
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def end(process: "subprocess.Popen[str]", number: int, *, group: bool) -> str:
    """Sends a signal; checks that all processes end in time, and returns what was printed."""
    began = time.monotonic()
    (os.killpg if group else os.kill)(process.pid, number)
    _, err = process.communicate(timeout=60)
    assert time.monotonic() - began < _LIMIT
    while session(process.pid):
        assert time.monotonic() - began < _LIMIT, "processes are left"
        time.sleep(0.02)
    return err


@pytest.mark.parametrize(
    ("number", "status"),
    [
        pytest.param(signal.SIGINT, 130, id="ctrl-c"),
        pytest.param(signal.SIGTERM, 143, id="term", marks=pytest.mark.slow),
    ],
)
def test_interrupted_training_keeps_its_last_step(
    start: Start, make_rollouts: Any, tmp_path: Path, number: int, status: int
) -> None:
    store, out = make_rollouts().path, tmp_path / "run"
    words = ("--base-channels", 1, "--latent-dim", 2, "--batch-size", 2, "--steps", 1_000_000)
    process = start("train-vision", store, "--out", out, *words, "--device", "cpu")
    wait_for(lambda: len(read_metrics(out / "metrics.csv")) >= 2, process)
    err = end(process, number, group=False)
    assert process.returncode == status
    assert err.endswith("wmrl: interrupted\n")
    assert "Traceback" not in err
    config = read_json(out / "config.json")
    with Run(out, config=config, limits=TRAINING_LIMITS) as run:
        checkpoint = run.load_checkpoint("last")
    assert checkpoint is not None
    assert checkpoint.state["step"] >= read_metrics(out / "metrics.csv")[-1]["step"] >= 100


@pytest.mark.parametrize(
    "group",
    [
        pytest.param(False, id="process", marks=pytest.mark.slow),
        pytest.param(True, id="group"),
    ],
)
def test_interrupted_collecting_keeps_its_episodes(
    start: Start, tmp_path: Path, group: bool
) -> None:
    words = ("--task", "toy_game:TOY", "--frames", 10**9, "--num-envs", 4, "--workers", 2)
    process = start("collect", tmp_path / "data", *words)
    episodes = tmp_path / "data" / "episodes"
    wait_for(lambda: episodes.exists() and len(list(episodes.iterdir())) > 5, process)
    assert len(session(process.pid)) == 3
    err = end(process, signal.SIGINT, group=group)
    assert process.returncode == 130
    assert "Traceback" not in err
    store = RolloutStore(tmp_path / "data")
    assert len(store) > 5
    store.verify()


def test_games_that_hang_do_not_keep_a_command(start: Start, tmp_path: Path) -> None:
    words = ("--task", "rogue_game:HANGING", "--episodes", 2, "--num-envs", 2, "--workers", 2)
    process = start("collect", tmp_path / "data", *words)
    wait_for(lambda: (tmp_path / "data").exists() and len(session(process.pid)) == 3, process)
    time.sleep(2)
    end(process, signal.SIGINT, group=True)
    assert process.returncode == 130


def test_a_game_that_dies_is_one_line(start: Start, tmp_path: Path) -> None:
    words = ("--task", "rogue_game:DYING", "--episodes", 4, "--num-envs", 4, "--workers", 2)
    process = start("collect", tmp_path / "data", *words, "--seed", 3)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    message = err[err.index("wmrl: ") :]
    assert "died (exit status -9), in slot 0, agent step 2 of the episode with seed" in message
    assert len(message.splitlines()) == 2  # the second one tells of --debug


def _commands(agent: Path, store: Path, tiny: Any) -> dict[str, list[object]]:
    """Returns commands that take minutes, by name; ``OUT`` stands for a new path."""
    game = ["--base", "vsg/CarRacing-v3", "--workers", 2]
    model = ["--vision", tiny.vision, "--memory", tiny.memory, "--device", "cpu"]
    controller = ["train-controller", "OUT", *model]
    return {
        "collect": ["collect", "OUT", "--frames", 10**9, "--workers", 2],
        "train": ["train", "--out", "OUT", "--workers", 2, "--device", "cpu"],
        "train-vision": ["train-vision", store, "--out", "OUT", "--steps", 10**6],
        "ppo in a dream": [*controller, "--steps", 10**9],
        "ppo in the game": [*controller, "--steps", 10**9, "--env", "real", *game],
        "cma-es": [*controller, "--algorithm", "cma-es", "--generations", 10**6],
        "cma-es in the game": [
            *controller, "--algorithm", "cma-es", "--env", "real", *game
        ],
        "variational": [*controller, "--algorithm", "variational", "--generations", 10**6],
        "search-elites": ["search-elites", "OUT", "--evaluations", 10**8],
        "evaluate": ["evaluate", agent, "--episodes", 10**4, *game, "--device", "cpu"],
        "evaluate in a dream": ["evaluate", agent, "--dream", "--episodes", 10**5],
        "record": ["record", agent, "--out", "OUT.mp4", *model],
    }  # fmt: skip


_NAMES = [
    *("collect", "train", "train-vision", "ppo in a dream", "ppo in the game", "cma-es"),
    *("cma-es in the game", "variational", "search-elites", "evaluate", "evaluate in a dream"),
    "record",
]


def _words(name: str, agent: Path, store: Path, tiny: Any, out: Path) -> list[object]:
    words = _commands(agent, store, tiny)[name]
    return [str(word).replace("OUT", str(out)) for word in words]


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.5, 4.0, 12.0])
@pytest.mark.parametrize("group", [False, True], ids=["process", "group"])
@pytest.mark.parametrize("name", _NAMES)
def test_every_command_ends_at_ctrl_c(
    start: Start, name: str, group: bool, seconds: float, agent_path: Path,
    make_rollouts: Any, tiny: Any, tmp_path: Path,
) -> None:  # fmt: skip
    process = start(*_words(name, agent_path, make_rollouts().path, tiny, tmp_path / "out"))
    time.sleep(seconds)
    if process.poll() is None:
        err = end(process, signal.SIGINT, group=group)
        assert process.returncode in (130, -signal.SIGINT)  # the latter before the command began
        assert process.returncode == 130 or seconds < 1, err
        assert "Traceback" not in err or seconds < 1, err
    else:
        assert name == "record"
        assert process.returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["collect", "train", "evaluate"])
def test_nothing_outlives_a_command_that_is_killed(
    start: Start, name: str, agent_path: Path, make_rollouts: Any, tiny: Any, tmp_path: Path
) -> None:
    """Fifty kills in all, at moments from the start of the workers to the middle of the games."""
    for number in range(17):
        out = tmp_path / f"out-{number}"
        process = start(*_words(name, agent_path, make_rollouts().path, tiny, out))
        wait_for(lambda leader=process.pid: len(session(leader)) > 1, process)
        time.sleep(0.5 * number)
        process.kill()
        process.wait()
        began = time.monotonic()
        while session(process.pid):
            assert time.monotonic() - began < _LIMIT, "processes are left"
            time.sleep(0.02)
