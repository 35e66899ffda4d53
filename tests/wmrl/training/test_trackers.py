"""Weights & Biases: with a stand-in for the package, and with the package in its offline mode."""

import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from wmrl.storage.reading import StoredFileError, read_json
from wmrl.training.callback_list import CallbackList
from wmrl.training.callbacks import CallbackError, RunContext
from wmrl.training.trackers import WandbCallback


class StandIn(ModuleType):
    """What the callback uses of wandb; runs are kept as long as the object lives."""

    class Error(Exception):
        pass

    class Run:
        def __init__(self) -> None:
            self.step, self.rows, self.exit_codes = 0, [], []

        def log(self, metrics: dict[str, float], step: int) -> None:
            assert type(metrics) is dict
            self.step = step
            self.rows.append((step, metrics))

        def finish(self, exit_code: int) -> None:
            self.exit_codes.append(exit_code)

    def __init__(self) -> None:
        super().__init__("wandb")
        self.runs: dict[str | None, StandIn.Run] = {}
        self.given: list[dict[str, Any]] = []
        self.account = True

    def init(self, **given: Any) -> "StandIn.Run":
        if not self.account and given["mode"] != "offline":
            raise self.Error("No API key configured.")
        self.given.append(given)
        return self.runs.setdefault(given.get("id"), self.Run())


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    stand_in = StandIn()
    monkeypatch.setitem(sys.modules, "wandb", stand_in)
    return stand_in


def log(callback: WandbCallback, path: Path | None, steps: range, *, step: int = 0) -> None:
    context = RunContext(name="demo", path=path, config={"seed": 1}, step=step)
    with CallbackList([callback], context, progress=False) as called:
        for at in steps:
            called.log(at, {"loss": 1 / at})


def test_rows_and_configuration_are_logged(wandb: StandIn, tmp_path: Path) -> None:
    log(WandbCallback("racing", mode="offline", tags=["a"]), tmp_path, range(1, 4))
    (run,) = wandb.runs.values()
    assert run.rows == [(1, {"loss": 1.0}), (2, {"loss": 0.5}), (3, {"loss": 1 / 3})]
    assert run.exit_codes == [0]
    assert wandb.given == [
        {
            "project": "racing",
            "mode": "offline",
            "tags": ["a"],
            "name": str(tmp_path),
            "dir": str(tmp_path),
            "id": read_json(tmp_path / "wandb.json")["id"],
            "resume": "allow",
            "config": {"seed": 1},
            "reinit": "create_new",
        }
    ]


def test_a_resumed_training_continues_its_run(wandb: StandIn, tmp_path: Path) -> None:
    log(WandbCallback(), tmp_path / "a", range(1, 6))
    log(WandbCallback(), tmp_path / "a", range(4, 8), step=3)  # its checkpoint was of step 3
    log(WandbCallback(), tmp_path / "b", range(1, 2))
    assert len({given["id"] for given in wandb.given}) == len(wandb.runs) == 2
    run = wandb.runs[wandb.given[0]["id"]]
    # W&B merges what is logged twice at its latest step, and complains about earlier steps.
    assert run.rows == [(step, {"loss": 1 / step}) for step in (1, 2, 3, 4, 5, 5, 6, 7)]
    assert wandb.given[0]["mode"] is None
    (tmp_path / "a" / "wandb.json").write_text("{}")
    with pytest.raises(CallbackError, match="delete it to log to a new W&B run") as error:
        log(WandbCallback(), tmp_path / "a", range(8, 9), step=7)
    assert isinstance(error.value.__cause__, StoredFileError)


def test_a_training_without_a_folder_has_a_run_of_its_own(wandb: StandIn) -> None:
    log(WandbCallback(), None, range(1, 3))
    assert len(wandb.runs[None].rows) == 2
    assert wandb.given[0]["name"] == "demo"


def test_a_failed_training_is_a_failed_run(wandb: StandIn, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        log(WandbCallback(), tmp_path, range(1))
    (run,) = wandb.runs.values()
    assert run.exit_codes == [1]


def test_without_an_account_one_sentence_says_what_to_do(wandb: StandIn, tmp_path: Path) -> None:
    wandb.account = False
    message = (
        r"^WandbCallback\.start: RuntimeError: expected an account at W&B, got an error \(No API "
        r"key configured\.\); run wandb login, or log to a file with "
        r'WandbCallback\(mode="offline"\) and upload it later with wandb sync'
    )
    with pytest.raises(CallbackError, match=message):
        log(WandbCallback(), tmp_path, range(1, 3))
    log(WandbCallback(mode="offline"), tmp_path, range(1, 3))


@pytest.mark.parametrize("module", [None, ModuleType("wandb")])
def test_a_missing_package_is_named(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of that name, such as the package makes, can be imported but is not the package."""
    monkeypatch.setitem(sys.modules, "wandb", module)
    with pytest.raises(ImportError, match=r'not installed; run pip install "wmrl\[wandb\]"$'):
        WandbCallback()


@pytest.mark.usefixtures("wandb")
def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="mode: expected one of 'online', 'offline'"):
        WandbCallback(mode="of line")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="project: expected a non-empty name"):
        WandbCallback("")


def test_the_package_in_its_offline_mode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb")
    for name in ("HOME", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    without = (
        "x_disable_stats",
        "x_disable_meta",
        "x_disable_machine_info",
        "disable_git",
        "silent",
    )
    callback = WandbCallback(mode="offline", settings=dict.fromkeys(without, True))
    log(callback, tmp_path / "run", range(1, 4))
    number = read_json(tmp_path / "run" / "wandb.json")["id"]
    (path,) = (tmp_path / "run" / "wandb").glob(f"offline-run-*/run-{number}.wandb")
    deadline = time.monotonic() + 30  # the package's own process writes the file
    while repr(1 / 3).encode() not in path.read_bytes() and time.monotonic() < deadline:
        time.sleep(0.05)
    wandb.teardown()
    assert path.read_bytes().count(b"loss") >= 3
