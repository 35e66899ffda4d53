"""The game engine is a process of its own: it leaves nothing behind, and ends when it should."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from wmrl.envs.take_cover import engine

PLAY = """
import os, sys, time
import gymnasium as gym
import wmrl
if __name__ == "__main__":
    env = gym.make("vsg/TakeCover-v0")
    print("starts", flush=True)
    env.reset(seed=0)
    env.step(1)
    print("plays", flush=True)
"""
ASYNC = """
import time
import gymnasium as gym
import wmrl
if __name__ == "__main__":
    env = gym.make_vec("vsg/TakeCover-v0", 2, vectorization_mode="async")
    env.reset(seed=0)
    print("plays", flush=True)
    time.sleep(1000)
"""
Start = Callable[[str], "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a script in an empty folder, in a session of its own."""
    (tmp_path / "here").mkdir()
    (tmp_path / "temporary").mkdir()
    started = []

    def start(code: str) -> "subprocess.Popen[str]":
        (tmp_path / "script.py").write_text(code)
        started.append(
            subprocess.Popen(
                [sys.executable, str(tmp_path / "script.py")],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                cwd=tmp_path / "here",
                env=os.environ | {"TMPDIR": str(tmp_path / "temporary")},
                start_new_session=True,
            )
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def wait_for(process: "subprocess.Popen[str]", word: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if line.split() == [word]:
            return
    pytest.fail(process.communicate()[1])


def living(folder: Path) -> list[str]:
    """Command lines of the living processes that were started with a folder as ``TMPDIR``."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            state = (path / "stat").read_text().rpartition(")")[2].split()[0]
            variables = (path / "environ").read_bytes().split(b"\0")
            if state != "Z" and f"TMPDIR={folder / 'temporary'}".encode() in variables:
                found.append((path / "cmdline").read_text())
        except (OSError, ProcessLookupError):
            continue
    return found


def engines(folder: Path) -> list[str]:
    return [line for line in living(folder) if "viz_instance_id" in line]


def instance(command_line: str) -> str:
    """Name of a game engine."""
    words = command_line.split("\0")
    return words[words.index("+viz_instance_id") + 1]


def shared_memory(name: str) -> list[Path]:
    return list(Path("/dev/shm").glob(f"ViZDoom*{name}"))


def remove_orphans() -> None:
    """Removes shared memory that no process uses: a start that is cut short leaves some."""
    orphans = shared_memory("")
    used = ""
    for path in Path("/proc").glob("[0-9]*/maps"):
        with contextlib.suppress(OSError):
            used += path.read_text()
    for path in orphans:
        if path.name not in used:
            path.unlink(missing_ok=True)


def check_all_end(folder: Path) -> None:
    began = time.monotonic()
    while living(folder):
        assert time.monotonic() - began < 2, living(folder)
        time.sleep(0.02)


def test_leaves_no_files(start: Start, tmp_path: Path) -> None:
    code = PLAY + (
        "    print(env.unwrapped._game.get_instance_id())\n"
        "    print(*os.listdir('.'), *os.listdir(os.environ['TMPDIR']))\n"
        "    env.close()\n"
    )
    out, err = start(code).communicate(timeout=60)
    *words, name = out.split()
    assert (words, err) == (["starts", "plays"], "")
    assert not list((tmp_path / "here").iterdir())
    assert not list((tmp_path / "temporary").iterdir())
    assert not shared_memory(name)
    assert not living(tmp_path)


def test_ends_with_the_interpreter_if_it_is_not_closed(start: Start, tmp_path: Path) -> None:
    out, err = start(PLAY).communicate(timeout=60)
    assert (out.split(), err) == (["starts", "plays"], "")
    check_all_end(tmp_path)


def test_ends_if_the_process_is_killed(start: Start, tmp_path: Path) -> None:
    process = start(PLAY + "    time.sleep(1000)\n")
    wait_for(process, "plays")
    (command_line,) = engines(tmp_path)
    process.kill()
    process.wait()
    check_all_end(tmp_path)
    assert not list((tmp_path / "temporary").iterdir())
    assert not shared_memory(instance(command_line))


@pytest.mark.parametrize("delay", [0.0, 0.02, 0.05, 0.1, 0.2])
def test_ends_if_the_process_is_killed_during_its_start(
    start: Start, tmp_path: Path, delay: float
) -> None:
    process = start(PLAY + "    time.sleep(1000)\n")
    wait_for(process, "starts")
    time.sleep(delay)
    process.kill()
    process.wait()
    check_all_end(tmp_path)
    remove_orphans()


def test_ends_if_the_parent_of_a_worker_process_is_killed(start: Start, tmp_path: Path) -> None:
    process = start(ASYNC)
    wait_for(process, "plays")
    assert len(engines(tmp_path)) == 2
    process.kill()
    process.wait()
    check_all_end(tmp_path)


def test_ctrl_c_interrupts_the_process_but_not_the_engine(start: Start, tmp_path: Path) -> None:
    code = PLAY + (
        "    try:\n        print('waits', flush=True)\n        time.sleep(1000)\n"
        "    except KeyboardInterrupt:\n        env.step(1)\n        print('continues')\n"
    )
    process = start(code)
    wait_for(process, "waits")
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (out.split(), err) == (["continues"], "")
    check_all_end(tmp_path)


def test_settings_in_the_current_folder_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("_vizdoom.cfg").write_text("doom_skill = 1\n")
    with pytest.raises(RuntimeError, match=r"expected no file _vizdoom\.cfg in the current folder"):
        engine.start_engine(skill=4, seed=0)


def test_says_that_temporary_files_cannot_be_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine.os, "access", lambda path, mode: False)
    with pytest.raises(RuntimeError, match="mounted with noexec; set TMPDIR to another folder"):
        engine.start_engine(skill=4, seed=0)
