"""Worker processes that step the slots of a vector environment.

A worker is a new Python interpreter that communicates over its standard input and output. Unlike a
forked process, it inherits no threads or locks of torch. Unlike a spawned process, it does not
import the user's main script again, so scripts need no ``if __name__ == "__main__"`` guard. Frames
and actions are exchanged through a shared file, so messages stay small. Workers require an
operating system with POSIX pipes; on other systems, use ``workers=0``.
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
# Workers share the CPU cores, so that each of them should use a single thread.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class FrameWorker:
    """Worker process that steps consecutive slots (sub-environments) of a vector environment.

    The process sends one answer after it has started, and one answer to each request.

    Args:
        slots: half-open range ``(start, stop)`` of the slots' indices.
        shared: descriptor of the file that holds the shared arrays.
        layout: shape and dtype of each shared array, by name.
        env_kwargs: keyword arguments of :class:`~wmrl.envs.frames.env.FrameEnv`.
        autoreset_mode: Gymnasium's autoreset mode.
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
            # Only the worker may keep these ends open, or its death would not close the pipes.
            os.close(its_input)
            os.close(its_output)
        # Unlike pickle, cloudpickle can send functions that a script or notebook defines.
        self._write(cloudpickle.dumps((slots, shared, layout, env_kwargs, autoreset_mode)))

    def send(self, method: str, *arguments: Any) -> None:
        """Asks the worker to call a method of its :class:`~wmrl.envs.frames.slots.FrameSlots`."""
        self._write(ForkingPickler.dumps((method, arguments)))

    def receive(self) -> Any:
        """Waits for the worker's next answer, and returns it.

        Raises:
            RuntimeError: the process died, or raised an exception that cannot be pickled.
            Exception: any exception that the called method raised; the worker's traceback is
                attached as a note.
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
        """Stops the process.

        Args:
            timeout: seconds to wait for the process to exit before it is killed.
        """
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
            f"{self._name()} died ({status}); create a new environment to continue. A negative "
            "exit status is the number of the signal that ended the process; -9 often means that "
            "the machine ran out of memory"
        )

    def _name(self) -> str:
        return f"worker {self._process.pid} (slots {self.slots[0]} to {self.slots[1] - 1})"


def serve() -> None:
    """Answers requests of the parent process until the parent closes this worker or dies."""
    # Ctrl-C in a terminal reaches the whole process group; only the parent may stop workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    requests = Connection(os.dup(0), writable=False)
    answers = Connection(os.dup(1), readable=False)
    # Redirects standard output to standard error and standard input to the null device, so that
    # what a game prints is not mistaken for an answer, and a game cannot read requests.
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
    # Skips the slow shutdown of the interpreter; there is nothing left to clean up.
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
        sent = None  # it cannot be pickled, or the parent could not unpickle it
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
