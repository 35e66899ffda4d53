"""Worker processes that fail, hang, are interrupted, or lose their parent."""

import contextlib
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from rogue_game import FOREIGN, FORKING, HELPED, LEAVING, PICKY, RUDE, SLEEPY
from toy_game import TOY

from wmrl.core.processes import WorkerError
from wmrl.envs.frames.vector import FrameVectorEnv

BREAK, DIE = 0.95, -0.95  # second action number that makes the toy fail, or kill its process
RunScript = Callable[[str], "subprocess.Popen[str]"]


@pytest.fixture
def run_script(tmp_path: Path) -> RunScript:
    """Starts a script that can import the tests' games."""

    def run(text: str) -> "subprocess.Popen[str]":
        script = tmp_path / "script.py"
        script.write_text(text)
        toys = str(Path(sys.modules["toy_game"].__file__ or "").parent)
        return subprocess.Popen(
            [sys.executable, str(script)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": toys},
            start_new_session=True,
        )

    return run


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def seconds_until_gone(pids: list[int], limit: float = 5.0) -> float:
    began = time.monotonic()
    while any(map(alive, pids)):
        if time.monotonic() - began > limit:
            for pid in pids:
                if alive(pid):
                    os.kill(pid, signal.SIGKILL)
            raise AssertionError("processes outlive their parent")
        time.sleep(0.02)
    return time.monotonic() - began


def actions(slot: int, value: float) -> np.ndarray:
    chosen = np.zeros((4, 2), np.float32)
    chosen[slot, 1] = value
    return chosen


@pytest.mark.parametrize("workers", [0, 2])
def test_a_failure_names_the_slot_the_step_and_the_seed(workers: int) -> None:
    env = FrameVectorEnv(4, task=TOY, workers=workers)
    env.reset(seed=[5, 6, 7, 8])
    env.step(actions(0, 0.0))
    with pytest.raises(WorkerError) as caught:
        env.step(actions(2, BREAK))
    message = str(caught.value)
    assert (
        "ValueError: the toy broke, in slot 2, agent step 2 of the episode with seed 7" in message
    )
    assert isinstance(caught.value, ValueError)  # as the game's own error
    assert isinstance(caught.value.__cause__, ValueError)
    if workers:
        pid = env._workers[1]._process.pid
        assert message.startswith(f"worker {pid} (slots 2 to 3): ")
    env.close()


def test_a_failure_names_how_many_episodes_the_seed_is_ago() -> None:
    env = FrameVectorEnv(4, task=TOY, workers=1, max_frames=3)  # an episode a step
    env.reset(seed=10)
    for _ in range(4):
        env.step(actions(0, 0.0))  # ends, is reset, ends, is reset
    with pytest.raises(WorkerError, match="agent step 1 of episode 2 after the one with seed 13"):
        env.step(actions(3, BREAK))
    fresh = FrameVectorEnv(4, task=TOY, workers=1)
    fresh.reset()
    with pytest.raises(WorkerError, match=r"slot 0, agent step 1 of episode 1 \(no seed\)"):
        fresh.step(actions(0, BREAK))
    env.close()
    fresh.close()


def test_the_death_of_a_worker_is_one_error_that_names_its_game() -> None:
    env = FrameVectorEnv(4, task=TOY, workers=2)
    env.reset(seed=20)
    with pytest.raises(WorkerError) as caught:
        env.step(actions(3, DIE))
    assert "died (exit status -9), in slot 3, agent step 1 of the episode with seed 23; create" in (
        str(caught.value)
    )
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    env.close()


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ("exit", "SystemExit: 0"),
        ("interrupt", "KeyboardInterrupt"),
        ("base", "BaseException: no exception"),
        ("wordless", "WordlessError"),
    ],
)
def test_a_worker_survives_whatever_a_game_raises(error: str, message: str) -> None:
    env = FrameVectorEnv(2, task=RUDE, workers=1)
    with pytest.raises(WorkerError, match=rf"\(slots 0 to 1\): {message}, in slot 0, agent step 0"):
        env.reset(seed=3, options={"error": error})
    assert env.reset(seed=3)[0].any()
    env.close()


def test_a_game_that_leaves_at_once_is_named() -> None:
    with pytest.raises(WorkerError, match="SystemExit: 0 as it started"):
        FrameVectorEnv(2, task=LEAVING, workers=1)


def test_helpers_of_a_game_neither_hide_its_death_nor_outlive_it() -> None:
    env = FrameVectorEnv(2, task=HELPED, workers=2)
    helpers = [pid for pids in env.reset(seed=0)[1]["helpers"] for pid in pids]
    assert len(helpers) == 4
    assert all(map(alive, helpers))
    env.step(np.zeros((2, 1), np.float32))
    with pytest.raises(WorkerError, match=r"died \(exit status -9\)"):
        env.step(np.zeros((2, 1), np.float32))
    assert seconds_until_gone(helpers) < 1
    env.close()


def test_helpers_of_a_game_end_when_it_is_closed() -> None:
    env = FrameVectorEnv(1, task=HELPED, workers=1)
    helpers = env.reset(seed=0)[1]["helpers"][0]
    env.close()
    assert seconds_until_gone(helpers) < 1


def test_helpers_of_a_game_end_with_the_parent_of_its_worker(run_script: RunScript) -> None:
    parent = run_script(
        "import time\n"
        "from rogue_game import HELPED\n"
        "from wmrl.envs.frames.vector import FrameVectorEnv\n"
        "env = FrameVectorEnv(1, task=HELPED, workers=1)\n"
        "print(*env.reset(seed=0)[1]['helpers'][0], flush=True)\n"
        "time.sleep(60)\n"
    )
    assert parent.stdout is not None
    helpers = [int(word) for word in parent.stdout.readline().split()]
    assert all(map(alive, helpers))
    parent.kill()
    assert seconds_until_gone(helpers) < 2
    parent.communicate()


def test_a_process_that_a_game_forks_gives_no_answers(capfd: pytest.CaptureFixture[str]) -> None:
    env = FrameVectorEnv(2, task=FORKING, workers=1)
    known = FrameVectorEnv(2, task=SLEEPY, workers=0)
    for one in (env, known):
        one.reset(seed=0)
    for _ in range(4):
        action = np.zeros((2, 1), np.float32)
        np.testing.assert_array_equal(env.step(action)[0], known.step(action)[0])
        time.sleep(0.1)
    env.close()
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize(
    "closed",
    [(0, 1, 2), *(pytest.param((one,), marks=pytest.mark.slow) for one in range(3))],
    ids=str,
)
def test_workers_start_although_standard_streams_are_closed(
    tmp_path: Path, closed: tuple[int, ...]
) -> None:
    code = (
        "import os, sys, numpy as np\n"
        "from toy_game import TOY\n"
        "from wmrl.envs.frames.vector import FrameVectorEnv\n"
        "env = FrameVectorEnv(2, task=TOY, workers=2)\n"
        "env.reset(seed=0)\n"
        "env.step(np.zeros((2, 2)))\n"
        "env.close()\n"
        "os._exit(7)\n"
    )
    (tmp_path / "script.py").write_text(code)
    streams = " ".join(f"{number}>&-" for number in closed)
    shell = f'exec "{sys.executable}" "{tmp_path / "script.py"}" {streams}'
    toys = str(Path(sys.modules["toy_game"].__file__ or "").parent)
    done = subprocess.run(
        ["sh", "-c", shell], timeout=60, check=False, env={**os.environ, "PYTHONPATH": toys}
    )
    assert done.returncode == 7


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it isn't closed
def test_no_descriptor_is_left_over(monkeypatch: pytest.MonkeyPatch) -> None:
    def descriptors() -> int:
        gc.collect()
        return len(list(Path("/proc/self/fd").iterdir()))

    FrameVectorEnv(2, task=TOY, workers=1).close()
    before = descriptors()
    pids = [worker._process.pid for worker in FrameVectorEnv(2, task=TOY, workers=1)._workers]
    assert descriptors() == before  # nobody has closed it
    assert seconds_until_gone(pids) < 2
    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "Popen", lambda *_, **__: 1 / 0)
        with contextlib.suppress(ZeroDivisionError):
            FrameVectorEnv(2, task=TOY, workers=1)
    assert descriptors() == before


def test_paths_that_python_ignores_are_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, Path("/nowhere")])
    env = FrameVectorEnv(2, task=TOY, workers=1)
    assert env.reset(seed=0)[0].shape == (2, 16, 16, 3)
    env.close()


@pytest.mark.parametrize(
    "call",
    [
        lambda env: env.step(np.zeros((2, 1), np.float32)),
        lambda env: env.reset(options={"lock": True}),
    ],
    ids=["step", "reset"],
)
def test_an_info_that_cannot_be_pickled_is_named(call: Callable[[FrameVectorEnv], Any]) -> None:
    env = FrameVectorEnv(2, task=PICKY, workers=1)
    env.reset(seed=3)
    with pytest.raises(WorkerError, match=r"TypeError: info\['lock'\]: .* got lock .*workers=0"):
        call(env)
    env.reset(seed=3)  # the worker goes on
    env.close()
    alone = FrameVectorEnv(2, task=PICKY, workers=0)
    alone.reset(seed=3)
    assert "lock" in alone.step(np.zeros((2, 1), np.float32))[4]
    alone.close()


def test_an_image_that_cannot_be_pickled_is_named() -> None:
    env = FrameVectorEnv(2, task=PICKY, workers=1)
    env.reset(seed=3)
    with pytest.raises(WorkerError, match=r"TypeError: render\(\): .* got lock .*return an array"):
        env.render()
    env.close()


def test_advice_on_an_answer_that_cannot_be_unpickled_comes_last() -> None:
    env = FrameVectorEnv(2, task=FOREIGN, workers=1)
    env.reset(seed=3)
    with pytest.raises(WorkerError) as caught:
        env.step(np.zeros((2, 1), np.float32))
    message = str(caught.value)
    assert "sent an answer that cannot be unpickled (LookupError: the class is unknown" in message
    assert "here), in slot 0, agent step 1 of the episode with seed 3; slot 1, agent" in message
    assert message.endswith(
        "seed 4; let the game return only objects whose classes can be "
        "imported in the parent process, or use workers=0"
    )
    env.reset(seed=3)  # the worker goes on
    env.close()


def test_a_closed_pipe_is_not_explained_as_an_exit_status() -> None:
    env = FrameVectorEnv(1, task=SLEEPY, workers=1)
    env.reset(seed=0)
    env._workers[0]._answers.close()
    with pytest.raises(WorkerError, match=r"died \(its pipe was closed\), .* continue$"):
        env.step(np.full((1, 1), 0.25, np.float32))  # sleeps for ever
    env.close()


def test_options_that_cannot_be_pickled_are_refused() -> None:
    env = FrameVectorEnv(2, task=TOY, workers=1)
    with pytest.raises(ValueError, match=r"options: expected values that can be pickled"):
        env.reset(options={"lock": threading.Lock()})
    assert env.reset(seed=0)[0].shape == (2, 16, 16, 3)
    env.close()


def test_workers_know_the_environments_of_a_script(run_script: RunScript) -> None:
    script = run_script(
        "from dataclasses import replace\n"
        "import gymnasium as gym, numpy as np\n"
        "from toy_game import TOY, Toy\n"
        "from wmrl.envs.frames.vector import FrameVectorEnv\n"
        "class Mine(Toy):\n"
        "    def observe(self): return np.full((12, 10, 3), 77, np.uint8)\n"
        "gym.register('mine/Game-v3', entry_point=Mine)\n"
        "gym.register('mine/Text-v0', entry_point='__main__:Mine')\n"
        "for name in ('mine/Game-v3', 'mine/Text-v0'):\n"
        "    for task, base in ((TOY, name), (replace(TOY, env_id=name), None)):\n"
        "        env = FrameVectorEnv(2, task=task, base=base, workers=1)\n"
        "        print(np.unique(env.reset(seed=0)[0]))\n"
        "        env.close()\n"
    )
    out, err = script.communicate(timeout=120)
    assert out.split("\n")[:-1] == ["[77]"] * 4, err


def test_a_worker_registers_what_its_parent_has_registered_instead() -> None:
    before = gym.registry["CartPole-v1"]
    try:
        gym.registry["CartPole-v1"] = replace(gym.registry["Toy-v0"], id="CartPole-v1")
        env = FrameVectorEnv(2, task=TOY, base="CartPole-v1", workers=1)
        known = FrameVectorEnv(2, task=TOY, workers=0)
        np.testing.assert_array_equal(env.reset(seed=1)[0], known.reset(seed=1)[0])
        env.close()
    finally:
        gym.registry["CartPole-v1"] = before


def test_a_game_that_cannot_be_sent_is_refused_with_a_way_out() -> None:
    lock = threading.Lock()
    gym.register("Locked-v0", entry_point=lambda: lock)
    try:
        with pytest.raises(ValueError, match=r'base="module:id", or use workers=0'):
            FrameVectorEnv(2, task=TOY, base="Locked-v0", workers=2)
    finally:
        del gym.registry["Locked-v0"]


HANG = (
    "import numpy as np\n"
    "from rogue_game import SLEEPY\n"
    "from wmrl.envs.frames.vector import FrameVectorEnv\n"
    "env = FrameVectorEnv(2, task=SLEEPY, workers=2)\n"
    "env.reset(seed=0)\n"
    "print(*(worker._process.pid for worker in env._workers), flush=True)\n"
    "with env_closing(env): env.step(np.full((2, 1), {way}, np.float32))\n"
).replace("with env_closing(env)", "from contextlib import closing\nwith closing(env)")


@pytest.mark.parametrize(
    "way",
    [pytest.param(0.25, marks=pytest.mark.slow, id="asleep"), pytest.param(0.75, id="computing")],
)
def test_workers_that_hang_end_with_their_parent(run_script: RunScript, way: float) -> None:
    parent = run_script(HANG.format(way=way))
    assert parent.stdout is not None
    pids = [int(word) for word in parent.stdout.readline().split()]
    assert len(pids) == 2
    time.sleep(0.3)
    assert all(map(alive, pids))
    parent.kill()
    assert seconds_until_gone(pids) < 2
    parent.communicate()


@pytest.mark.parametrize("group", [False, True])
def test_ctrl_c_ends_a_script_whose_games_hang(run_script: RunScript, group: bool) -> None:
    parent = run_script(HANG.format(way=0.25))
    assert parent.stdout is not None
    pids = [int(word) for word in parent.stdout.readline().split()]
    time.sleep(0.3)
    began = time.monotonic()
    (os.killpg if group else os.kill)(parent.pid, signal.SIGINT)
    _, err = parent.communicate(timeout=20)
    assert time.monotonic() - began < 3  # one second for all workers, and the interpreter's end
    assert parent.returncode == -signal.SIGINT
    assert err.count("Traceback") == 1  # the parent's; workers print none
    assert not any(map(alive, pids))


def test_workers_are_given_up_together() -> None:
    env = FrameVectorEnv(4, task=SLEEPY, workers=4)
    env.reset(seed=0)
    for worker in env._workers:
        worker.send("step")
    env._arrays["actions"][:] = 0.25
    began = time.monotonic()
    env.close()
    assert time.monotonic() - began < 3


def test_an_interrupted_step_does_not_leave_a_stale_answer() -> None:
    env = FrameVectorEnv(2, task=SLEEPY, workers=2)
    env.reset(seed=0)
    threading.Timer(0.2, os.kill, [os.getpid(), signal.SIGINT]).start()
    with pytest.raises(KeyboardInterrupt):
        env.step(np.full((2, 1), -0.5, np.float32))  # takes a second
    fresh = FrameVectorEnv(2, task=SLEEPY, workers=0)
    frames, infos = env.reset(seed=9)
    np.testing.assert_array_equal(frames, fresh.reset(seed=9)[0])
    np.testing.assert_array_equal(infos["frames"], [0, 0])
    env.close()


def test_workers_survive_the_thread_that_made_them() -> None:
    made: list[Any] = []
    thread = threading.Thread(target=lambda: made.append(FrameVectorEnv(2, task=TOY, workers=1)))
    thread.start()
    thread.join()
    time.sleep(0.2)
    frames, _ = made[0].reset(seed=0)
    assert frames.shape == (2, 16, 16, 3)
    made[0].close()


def test_a_forked_process_leaves_its_parents_workers_alone() -> None:
    env = FrameVectorEnv(2, task=TOY, workers=1)
    env.reset(seed=0)
    child = os.fork()
    if child == 0:
        try:
            try:
                env.step(np.zeros((2, 2), np.float32))
            except ValueError as error:
                if "fork" in str(error):
                    env.close()
                    os._exit(7)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert env.step(np.zeros((2, 2), np.float32))[0].any()
    env.close()
