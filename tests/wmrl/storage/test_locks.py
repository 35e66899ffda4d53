"""Locks on files: one at a time, whatever happens to the process that holds one."""

import errno
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from wmrl.storage import locks
from wmrl.storage.locks import LockError, file_lock

HOLD = """
import sys, time
from wmrl.storage.locks import file_lock
with file_lock(sys.argv[1]):
    print("locked", flush=True)
    time.sleep(60)
"""


def hold(path: Path) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-c", HOLD, str(path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"locked\n"
    return process


def test_a_lock_in_use_is_waited_for_with_a_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "_TELL_SECONDS", 0.05)
    with hold(tmp_path / "lock") as process:
        with (
            pytest.raises(TimeoutError, match=f"in use by process {process.pid}; wait"),
            file_lock(tmp_path / "lock", timeout=0),
        ):
            pytest.fail("was given twice")
        killer = threading.Timer(0.3, process.kill)
        killer.start()
        with file_lock(tmp_path / "lock"):  # as soon as the other one is dead
            pass
        killer.join()
    said = capsys.readouterr().err
    assert said == f"waiting for process {process.pid}, which uses {tmp_path}\n"


def test_shared_locks_are_held_together_but_not_with_one_alone(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    shared, alone = {"shared": True, "timeout": 0}, {"timeout": 0}

    def is_free(how: dict[str, Any]) -> bool:
        try:
            with file_lock(path, **how):
                return True
        except TimeoutError:
            return False

    with file_lock(path, **shared):
        assert (is_free(shared), is_free(alone)) == (True, False)
    with file_lock(path, **alone):
        assert (is_free(shared), is_free(alone)) == (False, False)
    assert (is_free(shared), is_free(alone)) == (True, True)


def test_threads_take_turns(tmp_path: Path) -> None:
    inside: list[int] = []

    def enter() -> None:
        for _ in range(5):
            with file_lock(tmp_path / "lock"):
                inside.append(1)
                time.sleep(0.001)
                assert len(inside) == 1
                inside.pop()

    failures: list[Any] = []
    hook, threading.excepthook = threading.excepthook, failures.append
    threads = [threading.Thread(target=enter) for _ in range(4)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        threading.excepthook = hook
    assert not failures


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # of a process with threads
def test_a_forked_child_does_not_keep_the_lock(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    with file_lock(tmp_path / "lock"):
        child = os.fork()
        if child == 0:
            os.read(reader, 1)
            os._exit(0)
    with file_lock(tmp_path / "lock", timeout=0):
        pass
    os.write(writer, b".")
    os.waitpid(child, 0)
    os.close(reader)
    os.close(writer)


def test_a_forked_child_does_not_release_the_lock(tmp_path: Path) -> None:
    parent = os.getpid()
    with file_lock(tmp_path / "lock"):
        child = os.fork()
        if child:
            os.waitpid(child, 0)
            with (
                pytest.raises(TimeoutError, match=f"in use by process {parent}"),
                file_lock(tmp_path / "lock", timeout=0),
            ):
                pass
    if not child:  # it has left the block, too
        os._exit(0)


def test_a_deleted_file_is_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    entered = threading.Event()

    def wait() -> None:
        with file_lock(path):
            assert path.exists()
            entered.set()

    with file_lock(path):
        thread = threading.Thread(target=wait)
        thread.start()
        time.sleep(0.05)
        path.unlink()
    thread.join()
    assert entered.is_set()


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks_is_told_apart(
    tmp_path: Path, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(locks.fcntl, "flock", refuse)
    with (
        pytest.raises(
            LockError, match=r"cannot be locked .*no locks; use a folder on a local disk"
        ),
        file_lock(tmp_path / "lock"),
    ):
        pytest.fail("was given")
    done = False
    with file_lock(tmp_path / "lock", required=False):
        done = True
    assert done


@pytest.mark.parametrize("kind", ["folder", "loop"])
def test_what_is_no_file_cannot_be_locked(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "lock"
    if kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(path)
    error = r"lock: can't be opened .* delete it if it is not a regular"
    with pytest.raises(OSError, match=error), file_lock(path, required=False):
        pass
