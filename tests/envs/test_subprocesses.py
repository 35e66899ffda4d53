"""Environments in the processes of Gymnasium, Stable-Baselines3 and torch's data loader."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

_PLAY = """
import sys
import gymnasium as gym, numpy as np, torch
import wmrl

def play(env):
    env.reset(seed=0)
    for _ in range(3):
        env.step(env.action_space.sample())
    env.close()

if __name__ == "__main__":
    torch.set_num_threads(2)
    torch.ones(900, 900) @ torch.ones(900, 900)  # starts torch's threads
    _, name, context, *words = sys.argv
    arguments = dict(word.split("=") for word in words)
"""
_ASYNC = (
    _PLAY
    + """
    env = gym.make_vec(
        name, 2, vectorization_mode="async", vector_kwargs={"context": context}, **arguments
    )
    play(env)
    print("played")
"""
)
_SB3 = (
    _PLAY
    + """
    from functools import partial
    from stable_baselines3.common.vec_env import SubprocVecEnv
    env = SubprocVecEnv([partial(gym.make, name, **arguments)] * 2, start_method=context)
    env.reset()
    env.step(np.stack([env.action_space.sample()] * 2))
    env.close()
    print("played")
"""
)
_LOADER = (
    _PLAY
    + """
    class Frames(torch.utils.data.IterableDataset):
        def __iter__(self):
            env = gym.make(name, **arguments)
            yield torch.as_tensor(env.reset(seed=0)[0])
            for _ in range(3):
                yield torch.as_tensor(env.step(env.action_space.sample())[0])
    loader = torch.utils.data.DataLoader(
        Frames(), batch_size=None, num_workers=2, multiprocessing_context=context
    )
    assert len(list(loader)) == 8
    print("played")
"""
)


def start(folder: Path, code: str, *words: str) -> "subprocess.Popen[str]":
    script = folder / "script.py"
    script.write_text(code)
    environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    return subprocess.Popen(
        [sys.executable, str(script), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )


def check_played(process: "subprocess.Popen[str]") -> None:
    try:
        out, err = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        pytest.fail("hangs")
    assert out.split() == ["played"], err


@pytest.mark.parametrize(
    ("code", "name"),
    [(_ASYNC, "Latent"), (_LOADER, "Dream")],  # the others are below
    ids=["async-latent", "loader-dream"],
)
def test_forked_environments_work_whatever_torch_did_before(
    tmp_path: Path, make_tiny: Any, code: str, name: str
) -> None:
    words = [f"{key}={value}" for key, value in make_tiny().kwargs.items()]
    check_played(start(tmp_path, code, f"vsg/CarRacing{name}-v0", "fork", *words))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "context"),
    [
        *[
            (code, context)
            for code in (_ASYNC, _SB3)
            for context in ("fork", "spawn", "forkserver")
        ],
        (_LOADER, "fork"),  # other contexts could not import the script's data set
    ],
)
@pytest.mark.parametrize("name", ["Latent", "Dream"])
def test_every_way_of_starting_processes(
    tmp_path: Path, make_tiny: Any, code: str, context: str, name: str
) -> None:
    words = [f"{key}={value}" for key, value in make_tiny().kwargs.items()]
    check_played(start(tmp_path, code, f"vsg/CarRacing{name}-v0", context, *words))


@pytest.mark.slow
@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_a_hundred_asynchronous_environments_do_not_hang(
    tmp_path: Path, make_tiny: Any, context: str
) -> None:
    words = [f"{key}={value}" for key, value in make_tiny().kwargs.items()]
    for number in range(100):
        name = f"vsg/CarRacing{('Latent', 'Dream')[number % 2]}-v0"
        check_played(start(tmp_path, _ASYNC, name, context, *words))


@pytest.mark.parametrize("name", ["vsg/CarRacing-v3", "vsg/PlanarArm-v0"])
def test_gymnasiums_workers_end_with_their_parent(tmp_path: Path, name: str) -> None:
    code = """
import os, time
import gymnasium as gym
import wmrl
if __name__ == "__main__":
    env = gym.make_vec(os.environ["GAME"], 2, vectorization_mode="async")
    env.reset(seed=0)
    print(*(process.pid for process in env.processes), flush=True)
    time.sleep(1000)
"""
    code = code.replace('os.environ["GAME"]', repr(name))
    parent = start(tmp_path, code)
    assert parent.stdout is not None
    pids = [int(word) for word in parent.stdout.readline().split()]
    assert len(pids) == 2
    parent.kill()
    parent.wait()
    began = time.monotonic()
    while any(Path(f"/proc/{pid}").exists() and not _dead(pid) for pid in pids):
        assert time.monotonic() - began < 2, "processes outlive their parent"
        time.sleep(0.02)
    parent.communicate()


def _dead(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True
