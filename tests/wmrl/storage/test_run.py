"""Runs: one owner, one configuration, and checkpoints that are whole or not there."""

import errno
import fcntl
import math
import multiprocessing
import os
import shutil
import signal
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from wmrl.storage.files import write_json
from wmrl.storage.run import Run, RunError

CONFIG = {"seed": 1, "model": {"width": 16, "sizes": [1, 2]}}


def test_checkpoint_comes_back_exactly(tmp_path: Path) -> None:
    base = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    tensors = {
        "weights": base,
        "shared": base[1:],
        "transposed": base.T,
        "half": base.half(),
        "brain": base.bfloat16(),
        "double": base.double(),
        "count": torch.tensor(7),
        "flags": base > 0,
        "none": torch.zeros(0, 3),
        "state": torch.Generator().get_state(),
        "special": torch.tensor([float("nan"), -0.0]),
    }
    state = {"step": 3, "loss": 0.1 + 0.2, "names": ["é"], "nested": {"one": 1}}
    with Run(tmp_path, config=CONFIG) as run:
        assert run.load_checkpoint("last") is None
        run.save_checkpoint("last", tensors, state, may_hold_nan=("special",))
        found = run.load_checkpoint("last")
    assert found is not None
    assert found.state == state
    assert found.tensors.keys() == tensors.keys()
    for name, tensor in tensors.items():
        torch.testing.assert_close(found.tensors[name], tensor, rtol=0, atol=0, equal_nan=True)
        assert found.tensors[name].dtype == tensor.dtype
    assert torch.signbit(found.tensors["special"][1])
    # Plain safetensors, which other programs read too.
    torch.testing.assert_close(load_file(tmp_path / "last.checkpoint")["half"], base.half())


def test_checkpoints_have_names_and_are_replaced(tmp_path: Path) -> None:
    with Run(tmp_path, config=CONFIG) as run:
        for step in range(3):
            run.save_checkpoint("last", {"x": torch.tensor(step)}, {"step": step})
        run.save_checkpoint("best", {}, {"step": 1})
        last, best = run.load_checkpoint("last"), run.load_checkpoint("best")
        assert last is not None
        assert best is not None
        assert (last.state, int(last.tensors["x"]), best.state) == ({"step": 2}, 2, {"step": 1})
        run.delete_checkpoint("best")
        run.delete_checkpoint("best")
        assert run.load_checkpoint("best") is None
        for name in ("", "../last", ".hidden", "a/b"):
            with pytest.raises(ValueError, match="name: expected a file name without folders"):
                run.save_checkpoint(name, {}, {})


@pytest.mark.parametrize("kind", ["tensor", "state", "truncated", "foreign"])
def test_damaged_checkpoints_are_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "last.checkpoint"
    with Run(tmp_path, config=CONFIG) as run:
        run.save_checkpoint("last", {"x": torch.ones(100)}, {"step": 123456})
        data = path.read_bytes()
        path.write_bytes(
            {
                "tensor": data[:-5] + bytes([data[-5] ^ 1]) + data[-4:],
                "state": data.replace(b"123456", b"123457"),
                "truncated": data[:-10],
                "foreign": b"something else",
            }[kind]
        )
        with pytest.raises(RunError, match=r"last\.checkpoint: .*delete it to start again"):
            run.load_checkpoint("last")


def test_a_failed_write_keeps_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError("no space left on device")

    with Run(tmp_path, config=CONFIG) as run:
        run.save_checkpoint("last", {"x": torch.ones(3)}, {"step": 1})
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="no space"):
            run.save_checkpoint("last", {"x": torch.zeros(3)}, {"step": 2})
        found = run.load_checkpoint("last")
    assert found is not None
    assert found.state == {"step": 1}
    assert not list(tmp_path.glob(".*"))


def test_the_next_owner_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    (tmp_path / "round-0").mkdir()
    for name in (
        ".last.0123abcd.new.checkpoint",
        ".report.89abcdef.new.json",
        "round-0/.a.new.txt",
    ):
        (tmp_path / name).touch()
    for name in (".artifact.0123abcd.new", "round-0/.agent.89abcdef.new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").touch()
    (tmp_path / ".notes").touch()
    Run(tmp_path, config=CONFIG).close()
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")}
    assert left == {".notes", "config.json", "lock", "round-0", "round-0/.a.new.txt"}


def test_a_file_system_without_locks_is_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(RunError, match=r"cannot be locked \(No locks available\)"):
        Run(tmp_path, config=CONFIG)


def test_one_owner(tmp_path: Path) -> None:
    with (
        Run(tmp_path, config=CONFIG),
        pytest.raises(RunError, match=rf"in use by process {os.getpid()}; wait for that"),
    ):
        Run(tmp_path, config=CONFIG)
    with Run(tmp_path, config=CONFIG) as run:
        run.close()
        with pytest.raises(RunError, match="the run is closed"):
            run.save_checkpoint("last", {}, {})


def write_for_ever(path: Path, first: Any) -> None:
    run = Run(path, config={"seed": 1})
    found = run.load_checkpoint("last")
    step = found.state["step"] if found else 0
    first.send(step)
    while True:
        step += 1
        run.save_checkpoint("last", {"x": torch.full((50_000,), step)}, {"step": step})


@pytest.mark.filterwarnings("ignore:.*fork")
def test_killed_owner_leaves_the_lock_and_a_whole_checkpoint(tmp_path: Path) -> None:
    checkpoint = tmp_path / "last.checkpoint"
    fork = multiprocessing.get_context("fork")  # has imported torch already
    steps: list[int] = []
    for delay in (0.003, 0.011, 0.017):
        written = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
        receiver, sender = fork.Pipe(duplex=False)
        owner = fork.Process(target=write_for_ever, args=(tmp_path, sender), daemon=True)
        owner.start()
        try:
            assert receiver.poll(60)
            assert receiver.recv() == (steps[-1] if steps else 0)
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:  # until it has written anything, however busy we are
                if checkpoint.exists() and checkpoint.stat().st_mtime_ns != written:
                    break
            time.sleep(delay)
            with pytest.raises(RunError, match=f"in use by process {owner.pid}"):
                Run(tmp_path, config={"seed": 1})
        finally:
            owner.kill()
            owner.join()
        assert owner.exitcode == -signal.SIGKILL
        with Run(tmp_path, config={"seed": 1}) as run:
            found = run.load_checkpoint("last")
            assert found is not None
            assert bool((found.tensors["x"] == found.state["step"]).all())
            steps.append(found.state["step"])
    assert 0 < steps[0] < steps[1] < steps[2]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({**CONFIG, "seed": 2}, "seed: expected 2, got 1"),
        ({"seed": 1, "model": {"width": 32, "sizes": [1, 2]}}, r"model\.width: expected 32, got"),
        ({"seed": 1}, "model: expected 'nothing', got"),
        ({**CONFIG, "device": "cpu"}, "device: expected 'cpu', got 'nothing'"),
    ],
)
def test_another_configuration_is_refused_by_field(
    tmp_path: Path, config: dict[str, Any], message: str
) -> None:
    Run(tmp_path, config=CONFIG).close()
    with pytest.raises(RunError, match=message):
        Run(tmp_path, config=config)
    # The refusal left no lock, and tuples are lists to JSON.
    Run(tmp_path, config={"seed": 1, "model": {"width": 16, "sizes": (1, 2)}}).close()


def test_a_foreign_configuration_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("not JSON")
    with pytest.raises(RunError, match="should hold the configuration of a run; delete this file"):
        Run(tmp_path, config=CONFIG)


LIMITED = {"seed": 1, "training": {"steps": 60, "max_seconds": None}}
LIMITS = ("training.steps", "training.max_seconds")


def limited(**training: Any) -> dict[str, Any]:
    return {**LIMITED, "training": LIMITED["training"] | training}  # type: ignore[operator]


def test_limits_can_be_raised(tmp_path: Path) -> None:
    with Run(tmp_path, config=limited(), limits=LIMITS) as run:
        run.save_checkpoint("last", {"x": torch.ones(2)}, {"step": 60})
        assert not run.extended
    write_json(tmp_path / "report.json", {"steps": 60})
    with Run(tmp_path, config=limited(steps=80), limits=LIMITS) as run:
        assert run.extended
        assert not (tmp_path / "report.json").exists()
        assert run.load_checkpoint("last") is not None
    with Run(tmp_path, config=limited(steps=80), limits=LIMITS) as run:
        assert not run.extended


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (limited(steps=59), r"training\.steps: expected at least 60, as in the run .*, got 59"),
        (
            limited(steps=80, max_seconds=1e9),
            r"max_seconds: expected no limit, .*got 1000000000\.0; remove the limit",
        ),
        (limited(steps=80) | {"seed": 2}, "with another configuration: seed: expected 2, got 1"),
        (
            {"seed": 1, "training": {"steps": 80, "max_seconds": None, "more": 1}},
            r"with another configuration: training\.more: expected 1, got 'nothing'",
        ),
    ],
)
def test_other_changes_are_refused(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    Run(tmp_path, config=limited(), limits=LIMITS).close()
    write_json(tmp_path / "report.json", {"steps": 60})
    with pytest.raises(RunError, match=message):
        Run(tmp_path, config=changed, limits=LIMITS)
    assert (tmp_path / "report.json").exists()
    with pytest.raises(RunError, match=r"training\.steps: expected 80, got 60"):
        Run(tmp_path, config=limited(steps=80))


@pytest.mark.parametrize("kind", ["flipped", "cut", "empty", "removed"])
def test_a_lost_configuration_is_written_again(tmp_path: Path, kind: str) -> None:
    with Run(tmp_path, config=CONFIG) as run:
        run.save_checkpoint("last", {"x": torch.ones(2)}, {"step": 1})
    path = tmp_path / "config.json"
    whole = path.read_bytes()
    damages = {"flipped": whole.replace(b"16", b"17"), "cut": whole[:20], "empty": b""}
    if kind == "removed":
        path.unlink()
    else:
        path.write_bytes(damages[kind])
    with pytest.raises(RunError, match="belongs to a run with another configuration"):
        Run(tmp_path, config={**CONFIG, "seed": 2})
    message = r"damaged \((?!.*delete).*; it is written again from the given configuration, which"
    told = nullcontext() if kind == "removed" else pytest.warns(UserWarning, match=message)
    with told, Run(tmp_path, config=CONFIG) as run:
        assert run.load_checkpoint("last") is not None
    assert path.read_bytes() == whole


def test_the_files_of_others_are_left_alone(tmp_path: Path) -> None:
    text = '{"name": "of another program"}'
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(RunError, match="of a run; delete this file to start a run with"):
        Run(tmp_path, config=CONFIG)
    assert (tmp_path / "config.json").read_text() == text


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_special_files_are_no_checkpoints(tmp_path: Path, make: Any) -> None:
    with Run(tmp_path, config=CONFIG) as run:
        make(tmp_path / "last.checkpoint")
        with pytest.raises(RunError, match="expected a regular file, got a"):
            run.load_checkpoint("last")


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_checkpoints_that_are_not_finite_are_not_written(tmp_path: Path, bad: float) -> None:
    with Run(tmp_path, config=CONFIG) as run:
        run.save_checkpoint("last", {"w": torch.ones(3)}, {"step": 1})
        with pytest.raises(FloatingPointError, match="NaN or infinity 1 times in 'w'; this check"):
            run.save_checkpoint("last", {"w": torch.tensor([0.0, bad])}, {"step": 2})
        with pytest.raises(FloatingPointError, match=r"loss\.kl: expected a finite number"):
            run.save_checkpoint("last", {"w": torch.ones(3)}, {"loss": {"kl": bad}})
        kept = run.load_checkpoint("last")
    assert kept is not None
    assert kept.state == {"step": 1}
    assert torch.equal(kept.tensors["w"], torch.ones(3))


def test_only_nan_may_stand_for_a_missing_value(tmp_path: Path) -> None:
    with Run(tmp_path, config=CONFIG) as run:
        run.save_checkpoint("last", {"map": torch.tensor([math.nan])}, {}, may_hold_nan=("map",))
        with pytest.raises(FloatingPointError, match="in 'map'"):
            run.save_checkpoint(
                "last", {"map": torch.tensor([math.inf])}, {}, may_hold_nan=("map",)
            )


def test_configurations_and_states_take_numbers_of_numpy(tmp_path: Path) -> None:
    with Run(tmp_path, config={"seed": np.int64(3), "rates": np.float32([0.5])}) as run:
        run.save_checkpoint("last", {}, {"step": np.int64(4), "ok": np.True_})
    with Run(tmp_path, config={"seed": 3, "rates": [0.5]}) as run:
        found = run.load_checkpoint("last")
    assert found is not None
    assert found.state == {"step": 4, "ok": True}
    with pytest.raises(ValueError, match=r"^rates\[0\]: expected a finite number"):
        Run(tmp_path / "new", config={"rates": [math.nan]})


@pytest.mark.parametrize("how", ["moved", "removed", "replaced", "another current folder"])
def test_nothing_is_written_beside_the_folder_of_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with Run("run", config={"seed": 1}) as run:
        run.save_checkpoint("last", {}, {"step": 1})
        if how == "another current folder":
            (tmp_path / "other").mkdir()
            monkeypatch.chdir("other")
        else:
            Path("run").rename("moved")
        if how == "replaced":
            Path("run").mkdir()
        if how == "removed":
            shutil.rmtree("moved")
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(RunError, match="nothing was written; open the run again"):
            run.save_checkpoint("last", {}, {"step": 2})
        assert sorted(tmp_path.rglob("*")) == before
