"""Processes that are forked can compute, and processes that follow another one end with it."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time

from wmrl.core.processes import Lifeline, follow


def run(code: str) -> str:
    """Runs a script with two threads in all libraries."""
    environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_forked_process_computes_with_one_thread_each() -> None:
    code = """
import os, signal
import wmrl  # before torch
import numpy as np, torch, cv2
torch.set_num_threads(2); cv2.setNumThreads(2)
image = np.random.default_rng(0).integers(0, 256, (900, 900, 3), np.uint8)
a = torch.ones(900, 900)
expected = float((a @ a).sum()), int(cv2.GaussianBlur(image, (31, 31), 3).sum(dtype=np.int64))
child = os.fork()
if child == 0:
    signal.alarm(20)  # ends a child that waits for threads that it does not have
    cv2.setNumThreads(1)
    found = float((a @ a).sum()), int(cv2.GaussianBlur(image, (31, 31), 3).sum(dtype=np.int64))
    os._exit(0 if found == expected and torch.get_num_threads() == 1 else 3)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print(torch.get_num_threads(), cv2.getNumThreads())
"""
    assert run(code).split() == ["0", "2", "2"]


def test_guarding_forks_imports_nothing_heavy() -> None:
    code = (
        "import os, sys, wmrl.core.processes; child = os.fork(); "
        "heavy = {'torch', 'cv2', 'numba'} & set(sys.modules); "
        "child or os._exit(len(heavy)); print(os.waitpid(child, 0)[1])"
    )
    assert run(code).split() == ["0"]


def _follow_until_it_closes(descriptor: int) -> None:
    follow(descriptor)
    while True:
        pass


def test_a_process_that_follows_a_pipe_is_killed_when_it_closes() -> None:
    lifeline = Lifeline()
    process = multiprocessing.get_context("fork").Process(
        target=_follow_until_it_closes, args=(lifeline.reading,)
    )
    process.start()
    sibling = os.fork()  # without the guard, it would keep the pipe open
    if sibling == 0:
        time.sleep(20)
        os._exit(0)
    lifeline.close_reading()
    time.sleep(0.2)
    assert process.is_alive()
    lifeline.close()
    lifeline.close()
    process.join(2)
    assert process.exitcode == -signal.SIGKILL
    os.kill(sibling, signal.SIGKILL)
    os.waitpid(sibling, 0)


def test_a_pipe_that_is_closed_already_counts() -> None:
    lifeline = Lifeline()
    lifeline.close()
    process = multiprocessing.get_context("fork").Process(
        target=_follow_until_it_closes, args=(lifeline.reading,)
    )
    process.start()
    process.join(5)
    assert process.exitcode == -signal.SIGKILL
    lifeline.close_reading()
