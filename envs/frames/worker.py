"""Worker processes that step slots of a vector environment.

A worker is a fresh interpreter that talks over its standard input and output. Unlike a forked
one it inherits no threads or locks of torch, and unlike a spawned one it doesn't import the
user's main script again, so scripts and notebooks need no guard. Frames and actions go through
a shared file, so that a message is only a few bytes. It needs an operating system with POSIX
pipes; elsewhere take ``workers=0``.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import traceback
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from typing import Any

import cloudpickle
from gymnasium.vector import AutoresetMode

from wmrl.envs.frames.slots import FrameSlots, Layout, map_arrays

_BOOTSTRAP = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from wmrl.envs.frames.worker import serve; serve()"
)
# The workers share out the cores: none may start threads of its own.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class FrameWorker:
    """A process that steps some consecutive slots; it answers once made and after each request.

    Args:
        slots: first slot and the one after the last.
        shared: descriptor of the shared file of the arrays.
        layout: the arrays in it.
        env_kwargs: keyword arguments of :class:`~wmrl.envs.frames.env.FrameEnv`.
        autoreset_mode: what happens to a slot whose episode is over.
    """

    def __init__(
        self,
        slots: tuple[int, int],
        *,
        shared: int,
        layout: Layout,
        env_kwargs: dict[str, Any],
        autoreset_mode: AutoresetMode,
    ) -> None:
        self.slots = slots
        (its_input, ours_to_write), (ours_to_read, its_output) = os.pipe(), os.pipe()
        self._requests = Connection(ours_to_write, readable=False)
        self._answers = Connection(ours_to_read, writable=False)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _BOOTSTRAP, json.dumps(sys.path)],
                stdin=its_input,
                stdout=its_output,
                pass_fds=(shared,),
                env={**os.environ, **_ONE_THREAD},
            )
        finally:
            # Only its own copies may stay open, or its death would not close the pipes.
            os.close(its_input)
            os.close(its_output)
        # By value where a task's functions live in a script or notebook.
        self._write(cloudpickle.dumps((slots, shared, layout, env_kwargs, autoreset_mode)))

    def send(self, method: str, *arguments: Any) -> None:
        """Asks for a method of :class:`~wmrl.envs.frames.slots.FrameSlots`."""
        self._write(ForkingPickler.dumps((method, arguments)))

    def receive(self) -> Any:
        """The answer to what was sent last.

        Raises:
            RuntimeError: the process is dead, or raised what can't be sent.
            Exception: whatever the method raised, with the worker's traceback as a note.
        """
        try:
            succeeded, value = self._answers.recv()
        except (EOFError, OSError) as error:
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
        with contextlib.suppress(RuntimeError):
            self.send("close")
        self._requests.close()
        self._answers.close()
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _write(self, message: Any) -> None:
        try:
            self._requests.send_bytes(message)
        except OSError as error:
            raise self._death() from error

    def _death(self) -> RuntimeError:
        try:
            status = f"exit status {self._process.wait(1.0)}"
        except subprocess.TimeoutExpired:
            status = "its pipe was closed"
        return RuntimeError(
            f"{self._name()} died ({status}); a negative status is the signal that ended it, and "
            "-9 often means that memory ran out; make the environment anew to go on"
        )

    def _name(self) -> str:
        return f"worker {self._process.pid} (slots {self.slots[0]} to {self.slots[1] - 1})"


def serve() -> None:
    """Answers a parent's requests until it closes the pipe (or dies, which closes it too)."""
    # A terminal's Ctrl-C reaches the whole group: the parent decides what becomes of workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    requests = Connection(os.dup(0), writable=False)
    answers = Connection(os.dup(1), readable=False)
    # What a game prints must not be read as an answer, nor may it read requests.
    os.dup2(2, 1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    with contextlib.suppress(EOFError, BrokenPipeError):
        slots = None
        try:
            slots = _make_slots(*requests.recv())
            answers.send((True, slots.envs[0].metadata))
        except Exception as error:
            _send_error(answers, error)
        while slots is not None:
            _serve_one(slots, requests, answers)
    # Not the interpreter's own end, which would take its time over what isn't needed any more.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _serve_one(slots: FrameSlots, requests: Connection, answers: Connection) -> None:
    method, arguments = requests.recv()
    if method == "close":
        slots.close()
        raise EOFError
    try:
        answers.send((True, getattr(slots, method)(*arguments)))
    except BrokenPipeError:
        raise
    except Exception as error:
        _send_error(answers, error)


def _send_error(answers: Connection, error: Exception) -> None:
    text = traceback.format_exc()
    sent: Exception | None = error
    try:
        ForkingPickler.loads(ForkingPickler.dumps(error))
    except Exception:
        sent = None  # one that can't be sent, or that the parent couldn't make again
    answers.send((False, (sent, text)))


def _make_slots(
    slots: tuple[int, int],
    shared: int,
    layout: Layout,
    env_kwargs: dict[str, Any],
    autoreset_mode: AutoresetMode,
) -> FrameSlots:
    import cv2

    cv2.setNumThreads(1)
    arrays = map_arrays(layout, shared)
    return FrameSlots(
        slots[1] - slots[0],
        env_kwargs=env_kwargs,
        autoreset_mode=autoreset_mode,
        arrays={name: array[slice(*slots)] for name, array in arrays.items()},
    )
