"""Worker processes that step the slots (sub-environments) of a vector environment.

A worker is a new Python interpreter that communicates over its standard input and output. Unlike a
forked process, it inherits no threads or locks of torch. Unlike a spawned process, it does not
import the user's main script again, so scripts need no ``if __name__ == "__main__"`` guard. Frames
and actions are exchanged through a shared file, so messages stay small. Workers require an
operating system with POSIX pipes; on other systems, use ``workers=0``.
"""

import contextlib
import copy
import json
import os
import select
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from typing import Any

import cloudpickle
import gymnasium as gym
from gymnasium.envs.registration import EnvSpec, load_env_creator, parse_env_id
from gymnasium.vector import AutoresetMode

from wmrl.core.processes import Lifeline, follow
from wmrl.envs.frames.slots import FrameSlots, Layout, map_arrays

_BOOTSTRAP = (
    "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); "
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from wmrl.envs.frames.worker import serve; serve(int(sys.argv[2]))"
)
# Workers share the CPU cores, so that each of them should use a single thread.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
# Seconds that workers have to end: those that wait for a request, and those that are busy.
_IDLE_TIMEOUT, _BUSY_TIMEOUT = 5.0, 1.0


class FrameWorker:
    """Worker process that steps consecutive slots (sub-environments) of a vector environment.

    The process sends one answer after it has started, and one answer to each request.

    Args:
        slots: half-open range ``(start, stop)`` of the slots' indices.
        shared: descriptor of the file that holds the shared arrays.
        layout: shape and dtype of each shared array, by name.
        env_kwargs: keyword arguments of :class:`~wmrl.envs.frames.env.FrameEnv`.
        autoreset_mode: Gymnasium's autoreset mode.
        specs: specs of the environments to register with Gymnasium in the worker.

    Attributes:
        slots: half-open range of the slots' indices.
        name: name of the worker in error messages.
    """

    def __init__(
        self,
        slots: tuple[int, int],
        *,
        shared: int,
        layout: Layout,
        env_kwargs: dict[str, Any],
        autoreset_mode: AutoresetMode,
        specs: Sequence[EnvSpec] = (),
    ) -> None:
        self.slots = slots
        # Unlike pickle, cloudpickle can send functions that a script or notebook defines.
        try:
            request = cloudpickle.dumps((slots, shared, layout, env_kwargs, autoreset_mode, specs))
        except Exception as error:
            raise ValueError(
                "task, base: expected a task and a game that can be pickled for worker processes, "
                f"but pickling failed ({error}); register the game in a module and give it as "
                'base="module:id", or use workers=0'
            ) from error
        self._lifeline = Lifeline()
        self._unanswered = 1  # the worker answers once it has started
        self._torn = False  # True while a message is read or written
        self._killed = False
        # Only the worker may keep its ends open, or its death would not close the pipes.
        with contextlib.ExitStack() as its_ends:
            its_ends.callback(self._lifeline.close_reading)
            its_input, ours_to_write = os.pipe()
            its_ends.callback(os.close, its_input)
            self._requests = Connection(ours_to_write, readable=False)
            ours_to_read, its_output = os.pipe()
            its_ends.callback(os.close, its_output)
            self._answers = Connection(ours_to_read, writable=False)
            self._process = _start(its_input, its_output, self._lifeline.reading, shared)
        self._readable = select.poll()
        self._readable.register(ours_to_read, select.POLLIN)
        self.name = f"worker {self._process.pid} (slots {slots[0]} to {slots[1] - 1})"
        self._write(request)

    @property
    def busy(self) -> bool:
        """True if an answer of the worker has not been received yet."""
        return self._unanswered > 0

    def send(self, method: str, *arguments: Any) -> None:
        """Asks the worker to call a method of its :class:`~wmrl.envs.frames.slots.FrameSlots`.

        If Ctrl-C interrupted the caller earlier, some answers to previous requests may not have
        been received. This method first waits for these answers and discards them.
        """
        message = _request(method, arguments)
        self._check_whole()
        while self.busy:
            with contextlib.suppress(WorkerFailure):
                self.receive()
        self._unanswered += 1
        self._write(message)

    def receive(self) -> Any:
        """Waits for the worker's next answer, and returns it.

        Raises:
            WorkerFailure: the process died, the called method raised an exception, or the answer
                cannot be unpickled.
        """
        self._check_whole()
        self._readable.poll()  # Ctrl-C while waiting loses no part of the answer
        self._torn = True
        try:
            message = self._answers.recv_bytes()
        except (EOFError, OSError):
            raise self._death() from None
        self._unanswered -= 1
        self._torn = False
        try:
            succeeded, value = ForkingPickler.loads(message)
        except Exception as error:
            raise WorkerFailure(
                # In the message that the user sees, the worker's name precedes this text.
                f"sent an answer that cannot be unpickled ({type(error).__name__}: {error})",
                mend="let the game return only objects whose classes can be imported in the parent "
                "process, or use workers=0",
                cause=error,
            ) from None
        if succeeded:
            return value
        pickled, summary, text = value
        cause = None
        if pickled is not None:
            with contextlib.suppress(Exception):
                cause = ForkingPickler.loads(pickled)
        raise WorkerFailure(summary, cause=cause, note=f"{self.name} failed:\n{text}")

    def _write(self, message: Any) -> None:
        self._torn = True
        try:
            self._requests.send_bytes(message)
        except OSError:
            raise self._death() from None
        self._torn = False

    def _check_whole(self) -> None:
        if self._torn:
            raise WorkerFailure(
                # In the message that the user sees, the worker's name precedes this text.
                "was interrupted in the middle of a message, for example by Ctrl-C",
                mend="create a new environment",
            )

    def _death(self) -> "WorkerFailure":
        self._unanswered, self._torn = 0, False
        mend = "create a new environment to continue"
        try:
            status = f"exit status {self._process.wait(1.0)}"
        except subprocess.TimeoutExpired:
            status = "its pipe was closed"
        else:
            mend += (
                ". An exit status of -n means that signal n ended the process; -9 often means that "
                "the machine ran out of memory"
            )
        self._kill()
        return WorkerFailure(f"died ({status})", mend=mend)

    def _kill(self) -> None:
        """Kills the worker and all processes that its games have started."""
        if not self._killed:  # later, its ID may be that of another process
            self._killed = True
            with contextlib.suppress(ProcessLookupError, PermissionError):  # they have all ended
                os.killpg(self._process.pid, signal.SIGKILL)


class WorkerFailure(Exception):  # noqa: N818 -- a part of the error that the caller gets
    """Failure of a worker, described without the slot and episode in which it occurred.

    Attributes:
        summary: description of the failure. If the code of a slot raised an exception, the summary
            is the type and the message of this exception. If the worker died or could not exchange
            a message, the summary is a sentence without its subject, such as
            "died (exit status 1)". The caller then puts the worker's name in front.
        mend: advice on how to continue; empty for no advice.
        cause: exception that caused the failure; None if there is no exception, or if the exception
            cannot be sent between processes.
        note: the worker's traceback; empty if there is no traceback.
    """

    def __init__(
        self, summary: str, *, mend: str = "", cause: BaseException | None = None, note: str = ""
    ) -> None:
        super().__init__(summary)
        self.summary, self.mend, self.cause, self.note = summary, mend, cause, note


def registered_specs(env_id: str) -> list[EnvSpec]:
    """Returns the specs of all versions of an environment that are registered in this process.

    Workers register these specs too, because workers do not run the script or notebook that
    registered the environment.

    Args:
        env_id: id of the environment, with or without a version.

    Returns:
        The specs. For an id of the form ``"module:id"``, the list is empty, because workers import
        the module themselves.
    """
    if ":" in env_id:
        return []
    namespace, name, _ = parse_env_id(env_id)
    found = [
        spec for spec in gym.registry.values() if (spec.namespace, spec.name) == (namespace, name)
    ]
    return [_with_classes(spec) for spec in found]


def _with_classes(spec: EnvSpec) -> EnvSpec:
    """Returns a spec that workers can use even if its entry point is in the main script.

    Workers do not import the main script. If the entry point is a string that names a class or
    function of the main script, the class or function itself replaces the string.
    """
    entry = spec.entry_point
    if not isinstance(entry, str) or not entry.startswith("__main__:"):
        return spec
    spec = copy.copy(spec)
    spec.entry_point = load_env_creator(entry)  # type: ignore[assignment]
    return spec


def close_workers(workers: Sequence[FrameWorker]) -> None:
    """Stops several worker processes in parallel, and all processes that their games have started.

    Workers that have not ended after 5 seconds are killed. For all workers, this limit is only 1
    second if one of them is busy, or if an exception (such as ``KeyboardInterrupt``) is being
    handled.
    """
    hurried = sys.exc_info()[0] is not None or any(worker.busy for worker in workers)
    deadline = time.monotonic() + (_BUSY_TIMEOUT if hurried else _IDLE_TIMEOUT)
    try:
        for worker in workers:
            with contextlib.suppress(OSError):
                worker._requests.send_bytes(ForkingPickler.dumps(("close", ())))
            with contextlib.suppress(OSError):
                worker._requests.close()
                worker._answers.close()
        for worker in workers:
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker._process.wait(max(0.0, deadline - time.monotonic()))
    finally:
        for worker in workers:
            worker._kill()
            worker._lifeline.close()
        for worker in workers:
            worker._process.wait()


def _start(its_input: int, its_output: int, lifeline: int, shared: int) -> subprocess.Popen[bytes]:
    """Starts the process of a worker, in a process group of its own.

    Args:
        its_input: descriptor that becomes the standard input of the process.
        its_output: descriptor that becomes the standard output of the process.
        lifeline: descriptor of the reading end of a pipe. The process is killed when the pipe
            closes.
        shared: descriptor of the file that holds the shared arrays.
    """
    paths = json.dumps([path for path in sys.path if isinstance(path, str)])  # others don't count
    with _sigint_blocked():  # until the worker ignores it
        return subprocess.Popen(
            [sys.executable, "-c", _BOOTSTRAP, paths, str(lifeline)],
            stdin=its_input,
            stdout=its_output,
            stderr=subprocess.DEVNULL if sys.__stderr__ is None else None,  # None if it is closed
            pass_fds=(shared, lifeline),
            env={**os.environ, **_ONE_THREAD},
            process_group=0,
        )


def _request(method: str, arguments: tuple[Any, ...]) -> Any:
    """Pickles a request to a worker: the name of the method to call, and the method's arguments.

    Raises:
        ValueError: an argument cannot be pickled.
    """
    with contextlib.suppress(Exception):
        return ForkingPickler.dumps((method, arguments))  # faster than cloudpickle
    try:
        return cloudpickle.dumps((method, arguments))
    except Exception as error:
        raise ValueError(
            "options: expected values that can be pickled for worker processes, but pickling "
            f"failed ({error}); give only numbers, strings or arrays, or use workers=0"
        ) from error


@contextmanager
def _sigint_blocked() -> Iterator[None]:
    """Blocks SIGINT in this thread during a ``with`` block.

    Processes that are started in the ``with`` block also block SIGINT. A SIGINT that arrives during
    the ``with`` block is delivered to this process afterwards.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def serve(lifeline: int) -> None:
    """Answers requests of the parent process until the parent closes this worker or dies.

    Args:
        lifeline: descriptor of the reading end of a pipe. When the parent closes the pipe or dies,
            this process and the processes that its games have started are killed.
    """
    follow(lifeline, group=True)
    # Ctrl-C in a terminal reaches the whole process group; only the parent may stop workers. The
    # signal was ignored before; it need not be blocked any more, and games may use it.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    # Some terminals stop a process outside of their foreground group as soon as it prints.
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    requests = Connection(os.dup(0), writable=False)
    answers = Connection(os.dup(1), readable=False)

    def close_in_child() -> None:
        # A process that a game forks must neither answer nor hide the end of this process.
        requests.close()
        answers.close()

    os.register_at_fork(after_in_child=close_in_child)
    # Redirects standard output to standard error and standard input to the null device, so that
    # what a game prints is not mistaken for an answer, and a game cannot read requests.
    os.dup2(2, 1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    with contextlib.suppress(EOFError, OSError):
        slots = None
        try:
            slots = _make_slots(*requests.recv())
            answers.send((True, slots.envs[0].metadata))
        except BaseException as error:
            _send_error(answers, error)
        while slots is not None and _serve_one(slots, requests, answers):
            pass
    # Skips the slow shutdown of the interpreter; there is nothing left to clean up.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _serve_one(slots: FrameSlots, requests: Connection, answers: Connection) -> bool:
    """Processes one request; returns False after a request to close the slots, otherwise True.

    The request to close the slots gets no answer. Every other request gets one.
    """
    request = requests.recv_bytes()
    try:
        method, arguments = ForkingPickler.loads(request)
        result = getattr(slots, method)(*arguments)
    except BaseException as error:
        _send_error(answers, error)
        return True
    if method == "close":
        return False
    try:
        message = ForkingPickler.dumps((True, result))
    except Exception as error:
        _send_error(answers, _unpicklable(slots, method, result, error))
        return True
    answers.send_bytes(message)
    return True


def _send_error(answers: Connection, error: BaseException) -> None:
    text = "".join(traceback.format_exception(error))
    try:
        pickled: bytes | None = bytes(ForkingPickler.dumps(error))
    except Exception:
        pickled = None
    answers.send((False, (pickled, _summary(error), text)))


def _summary(error: BaseException) -> str:
    """Returns the type of an error, followed by its message if it has one.

    If the error's ``__str__`` raises an exception, only the type is returned.
    """
    message = ""
    with contextlib.suppress(Exception):
        message = str(error)
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def _unpicklable(
    slots: FrameSlots, method: str, results: Sequence[Any], error: Exception
) -> TypeError:
    """Returns an error about the first value that cannot be pickled in a worker's answer.

    The slot that returned this value is marked as the cause of the failure.

    Args:
        slots: slots of the worker.
        method: name of the method that returned ``results``: ``"reset"``, ``"step"`` or
            ``"render"``.
        results: one result per slot. A result is an info or, from ``"render"``, an image.
        error: exception that was raised when the results were pickled.
    """
    for slot, result in enumerate(results):
        if method == "render":
            parts, advice = {"render()": result}, "return an array"
        else:
            parts = {f"info[{key!r}]": value for key, value in result.items()}
            advice = "leave it out or convert it to an array"
        for name, value in parts.items():
            try:
                ForkingPickler.dumps(value)
            except Exception:
                slots.blame(slot)
                return TypeError(
                    f"{name}: expected a value that can be pickled and sent to the parent process, "
                    f"got {type(value).__name__} ({error}); let the game {advice}, or use workers=0"
                )
    return TypeError(
        f"result: expected values that can be pickled, got one that cannot ({error}); use workers=0"
    )


def _make_slots(
    slots: tuple[int, int],
    shared: int,
    layout: Layout,
    env_kwargs: dict[str, Any],
    autoreset_mode: AutoresetMode,
    specs: Sequence[EnvSpec],
) -> FrameSlots:
    import cv2

    cv2.setNumThreads(1)
    gym.registry.update({spec.id: spec for spec in specs})
    arrays = map_arrays(layout, shared)
    return FrameSlots(
        slots[1] - slots[0],
        env_kwargs=env_kwargs,
        autoreset_mode=autoreset_mode,
        arrays={name: array[slice(*slots)] for name, array in arrays.items()},
    )
