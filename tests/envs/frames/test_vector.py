"""Contract of FrameVectorEnv: the same bits for any number of workers, and robust workers."""

import gc
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from toy_game import SCREEN, TOY

from wmrl.envs.frames.env import FrameEnv
from wmrl.envs.frames.vector import FrameVectorEnv
from wmrl.envs.tasks.task import Task

SLOTS, STEPS = 5, 25
MODES = list(AutoresetMode)


def moves(step: int) -> np.ndarray:
    generator = np.random.default_rng(step)
    return (generator.uniform(-0.3, 1, (SLOTS, 2)) * [1, 0.5]).astype(np.float32)


def flat(infos: dict[str, Any]) -> dict[str, Any]:
    """Infos as comparable values."""
    return {
        key: flat(value)
        if isinstance(value, dict)
        else [None if row is None else np.asarray(row).tolist() for row in value]
        for key, value in infos.items()
    }


def play(env: Any, mode: AutoresetMode) -> list[Any]:
    """All results of some steps; the games end at different times."""
    frames, infos = env.reset(seed=7)
    results: list[Any] = [frames.copy(), flat(infos)]
    over = np.zeros(SLOTS, bool)
    for step in range(STEPS):
        if mode is AutoresetMode.DISABLED and over.any():
            seeds = [100 * step + slot for slot in range(SLOTS)]
            frames, infos = env.reset(seed=seeds, options={"reset_mask": over})
            results += [frames.copy(), flat(infos)]
        frames, rewards, terminated, truncated, infos = env.step(moves(step))
        over = terminated | truncated
        results += [frames.copy(), rewards, terminated, truncated, flat(infos)]
    env.close()
    return results


def assert_same(left: list[Any], right: list[Any]) -> None:
    assert len(left) == len(right)
    for one, other in zip(left, right, strict=True):
        if isinstance(one, dict):
            assert one == other
        else:
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("task", "mode"),
    [
        *((TOY, mode) for mode in MODES),
        *(
            pytest.param(
                replace(TOY, frame_stack=3),
                mode,
                marks=() if mode is AutoresetMode.SAME_STEP else pytest.mark.slow,
            )
            for mode in MODES
        ),
    ],
    ids=[f"{task}-{mode.value}" for task in ("frames", "stacks") for mode in MODES],
)
def test_same_bits_as_gymnasiums_own_for_any_number_of_workers(
    task: Task, mode: AutoresetMode
) -> None:
    oracle = play(
        SyncVectorEnv([lambda: FrameEnv(task) for _ in range(SLOTS)], autoreset_mode=mode), mode
    )
    flags = [value for value in oracle if isinstance(value, np.ndarray) and value.dtype == bool]
    assert sum(int(value.sum()) for value in flags) >= 3  # or no slot was ever reset
    for workers in (0, 1, 3):  # none, all slots together, and unequal shares
        env = FrameVectorEnv(SLOTS, task=task, workers=workers, autoreset_mode=mode)
        assert env.workers == workers
        assert env.metadata["autoreset_mode"] is mode
        assert env.metadata["render_fps"] == 10
        assert_same(play(env, mode), oracle)


@pytest.mark.parametrize("workers", [0, 2])
def test_ended_and_unborn_slots_idle_when_autoreset_is_disabled(workers: int) -> None:
    env = FrameVectorEnv(
        3, task=TOY, workers=workers, max_frames=3, autoreset_mode=AutoresetMode.DISABLED
    )
    mask = np.array([True, False, True])
    first, _ = env.reset(seed=[1, 2, 3], options={"reset_mask": mask})
    assert not first[1].any()
    actions = np.full((3, 2), 0.1, np.float32)
    last, rewards, _, truncated, infos = env.step(actions)
    np.testing.assert_array_equal(truncated, mask)
    assert rewards[1] == 0
    for _ in range(2):
        frames, rewards, _, truncated, infos = env.step(actions)
        np.testing.assert_array_equal(frames, last)
        np.testing.assert_array_equal(truncated, mask)
        assert not rewards.any()
        assert infos == {}
    env.close()


def test_seeds_a_slot_each_or_none() -> None:
    env = FrameVectorEnv(3, task=TOY, workers=0)
    spread, _ = env.reset(seed=4)
    listed, _ = env.reset(seed=[4, 5, 6])
    np.testing.assert_array_equal(spread, listed)
    again = [env.reset(seed=[4, None, 6])[0] for _ in range(2)]
    np.testing.assert_array_equal(again[0][[0, 2]], again[1][[0, 2]])
    assert (again[0][1] != again[1][1]).any()


def test_results_are_copies() -> None:
    env = FrameVectorEnv(2, task=TOY, workers=1)
    first, _ = env.reset(seed=0)
    kept = first.copy()
    frames, rewards, *_ = env.step(np.ones((2, 2), np.float32) * 0.5)
    assert type(frames) is np.ndarray
    np.testing.assert_array_equal(first, kept)
    kept_rewards = rewards.copy()
    env.step(np.zeros((2, 2), np.float32))
    np.testing.assert_array_equal(rewards, kept_rewards)
    env.close()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_games_error_comes_through_and_the_rest_goes_on(workers: int) -> None:
    env = FrameVectorEnv(4, task=TOY, workers=workers)
    env.reset(seed=0)
    actions = np.zeros((4, 2), np.float32)
    actions[2, 1] = 0.95
    with pytest.raises(ValueError, match="the toy broke") as caught:
        env.step(actions)
    if workers:
        note = "".join(caught.value.__notes__)
        assert "slots 2 to 3" in note
        assert "toy_game.py" in note
    fresh = FrameVectorEnv(4, task=TOY, workers=0)
    np.testing.assert_array_equal(env.reset(seed=1)[0], fresh.reset(seed=1)[0])
    env.close()


def test_a_dead_worker_is_named() -> None:
    env = FrameVectorEnv(4, task=TOY, workers=2)
    env.reset(seed=0)
    actions = np.zeros((4, 2), np.float32)
    actions[3, 1] = -0.95
    with pytest.raises(RuntimeError, match=r"slots 2 to 3\) died \(exit status -9\)"):
        env.step(actions)
    with pytest.raises(RuntimeError, match="died"):
        env.step(actions)
    env.close()


def test_failure_to_start_comes_through_and_leaves_nothing() -> None:
    gc.collect()
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(gym.error.NameNotFound, match="NoSuchGame"):
        FrameVectorEnv(2, task=TOY, workers=2, base="NoSuchGame-v0")
    gc.collect()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def run_script(text: str, folder: Path) -> "subprocess.Popen[str]":
    script = folder / "script.py"
    script.write_text(text)
    environment = {**os.environ, "PYTHONPATH": str(Path(sys.modules["toy_game"].__file__).parent)}
    return subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env=environment
    )


def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    # A main module without a guard: workers must not run it again.
    parent = run_script(
        "import time, numpy as np\n"
        "from toy_game import TOY\n"
        "from wmrl.envs.frames.vector import FrameVectorEnv\n"
        "env = FrameVectorEnv(4, task=TOY, workers=2)\n"
        "env.reset(seed=0)\n"
        "print(*(worker._process.pid for worker in env._workers), flush=True)\n"
        "while True: env.step(np.zeros((4, 2), np.float32))\n",
        tmp_path,
    )
    assert parent.stdout is not None
    pids = [int(word) for word in parent.stdout.readline().split()]
    assert len(pids) == 2
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 10
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < deadline, "workers outlive their parent"
        time.sleep(0.05)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_task_of_a_script_travels_to_workers(tmp_path: Path) -> None:
    script = run_script(
        "from dataclasses import replace\n"
        "import numpy as np\n"
        "from toy_game import TOY\n"
        "from wmrl.envs.frames.vector import FrameVectorEnv\n"
        "def mirrored(action): return -action\n"
        "def total(task):\n"
        "    env = FrameVectorEnv(2, task=task, workers=1)\n"
        "    env.reset(seed=0)\n"
        "    rewards = env.step(np.full((2, 2), 0.5, np.float32))[1]\n"
        "    env.close()\n"
        "    return rewards.sum()\n"
        "print(total(TOY) > 0, total(replace(TOY, to_env_action=mirrored)) < 0)\n",
        tmp_path,
    )
    assert script.communicate(timeout=60)[0].split() == ["True", "True"]
    assert script.returncode == 0


def test_interrupt_leaves_workers_to_their_parent() -> None:
    env = FrameVectorEnv(2, task=TOY, workers=1)
    env.reset(seed=0)
    os.kill(env._workers[0]._process.pid, signal.SIGINT)
    time.sleep(0.1)
    assert env.step(np.zeros((2, 2), np.float32))[0].any()
    env.close()


def test_render_and_close() -> None:
    env = FrameVectorEnv(3, task=TOY, workers=2, render_mode="rgb_array")
    env.reset(seed=0)
    shown = env.render()
    assert [frame.shape for frame in shown] == [(24, 20, 3)] * 3
    env.close()
    env.close()
    with pytest.raises(ValueError, match="step: expected an open environment"):
        env.step(np.zeros((3, 2), np.float32))


def test_errors_name_the_mend() -> None:
    with pytest.raises(ValueError, match="num_envs: expected at least 1, got 0"):
        FrameVectorEnv(0, task=TOY)
    with pytest.raises(ValueError, match="workers: expected at least 0, got -1"):
        FrameVectorEnv(1, task=TOY, workers=-1)
    with pytest.raises(ValueError, match="not a valid AutoresetMode"):
        FrameVectorEnv(1, task=TOY, autoreset_mode="sometimes")
    env = FrameVectorEnv(2, task=TOY, workers=0)
    with pytest.raises(ResetNeeded, match="call reset"):
        env.step(np.zeros((2, 2), np.float32))
    with pytest.raises(ValueError, match="seed: expected 2 seeds, got 3"):
        env.reset(seed=[1, 2, 3])
    with pytest.raises(ValueError, match="at least one True"):
        env.reset(options={"reset_mask": np.zeros(2, bool)})
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"actions: expected shape \(2, 2\), got \(2,\)"):
        env.step(np.zeros(2, np.float32))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("workers", [0, 2])
def test_gray_frames_without_the_one_after_the_end(workers: int, mode: AutoresetMode) -> None:
    task = replace(SCREEN, grayscale=True, blank_final_frame=True)
    env = FrameVectorEnv(2, task=task, workers=workers, autoreset_mode=mode)
    assert env.single_observation_space.shape == (16, 16, 1)
    frames, _ = env.reset(seed=0)
    assert env.observation_space.contains(frames)
    ended = np.zeros(2, bool)
    while not ended.any():
        before = frames
        frames, _, ended, _, infos = env.step(np.array([[1.0, 0.0]] * 2, np.float32))
        assert frames.any((1, 2, 3)).all()
    env.close()
    final = infos["final_obs"] if mode is AutoresetMode.SAME_STEP else frames
    for slot in np.flatnonzero(ended):
        np.testing.assert_array_equal(final[slot], before[slot])
