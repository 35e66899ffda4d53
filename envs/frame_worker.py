"""Worker processes that step slots of a vector environment.

A worker is a fresh interpreter that talks over its standard input and output. Unlike a forked
one it inherits no threads or locks of torch, and unlike a spawned one it doesn't import the
user's main script again, so scripts and notebooks need no guard. Frames and actions go through
a shared file, so that a message is only a few bytes.
"""

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any, BinaryIO

import cloudpickle
from gymnasium.vector import AutoresetMode

from wmrl.envs.frame_slots import FrameSlots, Layout, map_arrays

_BOOTSTRAP = (
    "import pickle, sys; sys.path[:] = pickle.load(sys.stdin.buffer); "
    "from wmrl.envs.frame_worker import serve; serve()"
)
# The workers share out the cores: none may start threads of its own.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class FrameWorker:
    """A process that steps some consecutive slots; it answers once made and after each request.

    Args:
        slots: first slot and the one after the last.
        path: the shared file of the arrays.
        layout: the arrays in it.
        env_kwargs: keyword arguments of :class:`~wmrl.envs.frames.FrameEnv`.
        autoreset_mode: what happens to a slot whose episode is over.
    """

    def __init__(
        self,
        slots: tuple[int, int],
        *,
        path: Path,
        layout: Layout,
        env_kwargs: dict[str, Any],
        autoreset_mode: AutoresetMode,
    ) -> None:
        self.slots = slots
        self._process = subprocess.Popen(
            [sys.executable, "-c", _BOOTSTRAP],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **_ONE_THREAD},
        )
        self._write(pickle.dumps(sys.path))
        # By value where a task's functions live in a script or notebook.
        self._write(cloudpickle.dumps((slots, path, layout, env_kwargs, autoreset_mode)))

    def send(self, method: str, *arguments: Any) -> None:
        """Asks for a method of :class:`~wmrl.envs.frame_slots.FrameSlots`."""
        self._write(pickle.dumps((method, arguments)))

    def receive(self) -> Any:
        """The answer to what was sent last.

        Raises:
            RuntimeError: the process is dead, or raised what can't be sent.
            Exception: whatever the method raised, with the worker's traceback as a note.
        """
        assert self._process.stdout is not None
        try:
            succeeded, value = pickle.load(self._process.stdout)
        except (EOFError, pickle.UnpicklingError, OSError) as error:
            raise self._death() from error
        if succeeded:
            return value
        raised, text = value
        if raised is None:
            raise RuntimeError(f"{self._name()} failed:\n{text}")
        raised.add_note(f"{self._name()} failed:\n{text}")
        raise raised

    def close(self, timeout: float = 5.0) -> None:
        """Ends the process, by force where it doesn't end itself."""
        process = self._process
        with contextlib.suppress(RuntimeError):
            self.send("close")
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _write(self, message: bytes) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(message)
            self._process.stdin.flush()
        except (OSError, ValueError) as error:
            raise self._death() from error

    def _death(self) -> RuntimeError:
        try:
            status = f"exit status {self._process.wait(1.0)}"
        except subprocess.TimeoutExpired:
            status = "its pipe was closed"
        return RuntimeError(
            f"{self._name()} died ({status}); a negative status is the signal that ended it, and "
            "−9 often means that memory ran out; make the environment anew to go on"
        )

    def _name(self) -> str:
        return f"worker {self._process.pid} (slots {self.slots[0]} to {self.slots[1] - 1})"


def serve() -> None:
    """Answers a parent's requests until it closes the pipe (or dies, which closes it too)."""
    # A terminal's Ctrl-C reaches the whole group: the parent decides what becomes of workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    requests = sys.stdin.buffer
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    # Whatever a game prints must not be read as an answer.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    with contextlib.suppress(EOFError, BrokenPipeError):
        slots = None
        try:
            slots = _make_slots(*pickle.load(requests))
            _answer(answers, True, slots.envs[0].metadata)
        except Exception as error:
            _answer_error(answers, error)
        while slots is not None:
            _serve_one(slots, requests, answers)
    # Not the interpreter's own end: nothing is left to save, and it would flush a broken pipe.
    sys.stderr.flush()
    os._exit(0)


def _serve_one(slots: FrameSlots, requests: BinaryIO, answers: BinaryIO) -> None:
    method, arguments = pickle.load(requests)
    if method == "close":
        slots.close()
        raise EOFError
    try:
        _answer(answers, True, getattr(slots, method)(*arguments))
    except BrokenPipeError:
        raise
    except Exception as error:
        _answer_error(answers, error)


def _answer(answers: BinaryIO, succeeded: bool, value: Any) -> None:
    answers.write(pickle.dumps((succeeded, value)))
    answers.flush()


def _answer_error(answers: BinaryIO, error: Exception) -> None:
    text = traceback.format_exc()
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        _answer(answers, False, (None, text))
    else:
        _answer(answers, False, (error, text))


def _make_slots(
    slots: tuple[int, int],
    path: Path,
    layout: Layout,
    env_kwargs: dict[str, Any],
    autoreset_mode: AutoresetMode,
) -> FrameSlots:
    import cv2

    cv2.setNumThreads(1)
    arrays = map_arrays(layout, path)
    return FrameSlots(
        slots[1] - slots[0],
        env_kwargs=env_kwargs,
        autoreset_mode=autoreset_mode,
        arrays={name: array[slice(*slots)] for name, array in arrays.items()},
    )
