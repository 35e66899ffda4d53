"""Vector environment of ``FrameEnv`` sub-environments, stepped by worker processes."""

import itertools
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from wmrl.core.processes import (
    WorkerError,
    WorkerValueError,
    above_standard_streams,
    follow_parent,
)
from wmrl.core.validation import check_int
from wmrl.envs.autoreset import ResetOptions, joint_seed, options_of_each, reset_mask, slot_seeds
from wmrl.envs.frames.env import frame_space
from wmrl.envs.frames.slots import FrameSlots, Layout, layout_bytes, map_arrays, slot_layout
from wmrl.envs.frames.worker import (
    FrameWorker,
    WorkerFailure,
    close_workers,
    registered_specs,
)
from wmrl.envs.tasks.registry import find_task
from wmrl.envs.tasks.task import Task

_ARGUMENT_ERRORS = (ValueError, OSError, ImportError, gym.error.Error)


class FrameVectorEnv(VectorEnv[np.ndarray, np.ndarray, np.ndarray]):
    """Vector environment of N ``FrameEnv`` sub-environments, stepped by worker processes.

    ## Description
    The sub-environments, each a :class:`~wmrl.envs.frames.env.FrameEnv`, are called slots. Results
    are bit-identical for any number of workers.

    ## Action Space
    The task's action space, batched: ``Box(N, A) float32`` for continuous actions.

    ## Observation Space
    ``Box(0, 255, (N, H, W, C), uint8)``, with C = 3, or 1 if the task's frames are gray. If the
    task stacks K frames, ``Box(0, 255, (N, H, W, C · K), uint8)``, as in
    :class:`~wmrl.envs.frames.env.FrameEnv`.

    ## Rewards
    ``(N,) float64``, one reward of :class:`~wmrl.envs.frames.env.FrameEnv` per slot.

    ## Starting State
    As in :class:`~wmrl.envs.frames.env.FrameEnv`. ``reset(seed=s)`` seeds the slots with s, s + 1,
    and so on.

    ## Episode End
    As in :class:`~wmrl.envs.frames.env.FrameEnv`. When a slot's episode has ended,
    ``autoreset_mode`` determines when the slot is reset
    (https://farama.org/Vector-Autoreset-Mode). With ``DISABLED``, the slot keeps its frame and its
    flags (terminated, truncated), with reward 0 and an empty info, until
    ``reset(options={"reset_mask": …})`` selects the slot. A slot that was never reset returns a
    black frame, flags that are False, reward 0 and an empty info.

    ## Arguments
    - ``num_envs``: number N of slots.
    - ``task``: a task, the name or location of a task, or the id of an environment (see
      :func:`~wmrl.envs.tasks.registry.find_task`).
    - ``base``: id of a base environment to use instead of the task's.
    - ``frame_skip``: number of base frames (frames of the base environment) per agent step; the
      task's if None.
    - ``max_frames``: maximum number of base frames per episode; the task's if None.
    - ``patience``: an episode is truncated after this number of successive base frames without a
      positive reward; no such limit if None.
    - ``workers``: number of worker processes, among which the slots are divided; at most N are
      started. With 0, all slots are stepped in this process. If None, one worker per CPU core, or 0
      for a single slot.
    - ``autoreset_mode``: a member of ``gymnasium.vector.AutoresetMode``, or its value.
    - ``render_mode``: ``"rgb_array"`` or None.

    Raises:
        ValueError: there is no such task or autoreset mode, or a number is out of range.

    Example:
        >>> import numpy as np
        >>> from wmrl.envs import FrameVectorEnv
        >>> envs = FrameVectorEnv(2, task="car-racing", workers=0)
        >>> frames, infos = envs.reset(seed=0)
        >>> frames.shape
        (2, 64, 64, 3)
        >>> frames, rewards, terminated, truncated, infos = envs.step(np.zeros((2, 2)))
        >>> infos["frames"]
        array([4, 4])
        >>> envs.close()
    """

    options_per_env = True  # ``reset`` takes a sequence of options

    def __init__(
        self,
        num_envs: int,
        *,
        task: Task | str = "car-racing",
        base: str | None = None,
        frame_skip: int | None = None,
        max_frames: int | None = None,
        patience: int | None = None,
        workers: int | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
    ) -> None:
        self.closed = True  # there is nothing to close yet
        num_envs = check_int("num_envs", num_envs, at_least=1)
        self.task = find_task(task)
        self.num_envs = num_envs
        self.workers = _worker_count(workers, num_envs)
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        self.render_mode = render_mode
        self.single_action_space = self.task.actions.space
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.single_observation_space = frame_space(self.task)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        env_kwargs = {
            "task": self.task,
            "base": base,
            "frame_skip": frame_skip,
            "max_frames": max_frames,
            "patience": patience,
            "render_mode": render_mode,
        }
        follow_parent()
        layout = slot_layout(num_envs, self.single_observation_space.shape, self.task.actions)
        self._seeds: list[int | None] = [None] * num_envs
        self._process = os.getpid()
        self._workers: list[FrameWorker] = []
        self._slots: FrameSlots | None = None
        self.closed = False
        try:
            metadata = self._start(layout, env_kwargs)
        except BaseException:
            self.close()
            raise
        self.metadata = {**metadata, "autoreset_mode": self.autoreset_mode}
        self._started = False

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: ResetOptions = None,
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Starts episodes.

        Args:
            seed: an integer s, which seeds the slots with s, s + 1, and so on; or a sequence of one
                seed per slot. Slots with the seed None are not seeded.
            options: one dictionary for all slots, a sequence of N dictionaries with the options of
                each slot, or None. The base environments get these options. One dictionary for all
                slots can also contain ``"reset_mask"``, an array ``(N,) bool`` that is True for the
                slots to reset; the base environments do not get the mask. Without a mask, all slots
                are reset.

        Returns:
            A copy of the frames ``(N, H, W, C) uint8``, and the infos.

        Raises:
            TypeError: ``options`` has the wrong type, or the mask is not an array of bool.
            ValueError: a seed is not an integer of at least 0, the number of seeds or of
                dictionaries is not N, the mask has the wrong shape or selects no slot, or a game
                returned a frame that is not an image.
            WorkerError: a game failed, or a worker process died.
        """
        mask = reset_mask(options, self.num_envs)
        each = options_of_each(options, self.num_envs)
        if each is None:
            assert options is None or isinstance(options, Mapping)
            shared = {k: value for k, value in (options or {}).items() if k != "reset_mask"}
            each = [shared] * self.num_envs
        seeds = slot_seeds(seed, self.num_envs)
        super().reset(seed=joint_seed(seed, self.num_envs))
        for slot in np.flatnonzero(mask):
            if seeds[slot] is not None:
                self._seeds[slot] = seeds[slot]
        infos = self._ask("reset", seeds, mask.tolist(), [one or None for one in each])
        self._started = True
        return self._arrays["frames"].copy(), self._merge(infos)

    def step(
        self, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Takes an agent step in every slot.

        Args:
            actions: ``(N, *shape)``, one action per slot, where ``shape`` is the shape of one
                action.

        Returns:
            Frames ``(N, H, W, C) uint8``, rewards ``(N,) float64``, terminated ``(N,) bool``,
            truncated ``(N,) bool``, and the infos. The arrays are copies.

        Raises:
            ResetNeeded: the environment has not been reset.
            ValueError: ``actions`` has the wrong shape, contains NaN or infinity, or contains a
                discrete action that does not exist; or a game returned a reward that is not finite
                or a frame that is not an image.
            WorkerError: a game failed, or a worker process died.
        """
        if not self._started:
            raise ResetNeeded("step: no episode is running; call reset() first")
        actions = self.task.actions.check("actions", actions, (self.num_envs,))
        arrays = self._arrays
        arrays["actions"][:] = actions
        infos = self._merge(self._ask("step"))
        return (
            arrays["frames"].copy(),
            arrays["rewards"].copy(),
            arrays["terminated"].copy(),
            arrays["truncated"].copy(),
            infos,
        )

    def render(self) -> tuple[Any, ...]:
        """Renders the base environment of each slot."""
        return tuple(self._ask("render"))

    def close_extras(self, **kwargs: Any) -> None:
        """Stops the workers; without workers, closes the slots of this process."""
        if os.getpid() == self._process:  # a forked process must not stop its parent's workers
            close_workers(self._workers)
        if self._slots is not None:
            self._slots.close()
        self._workers, self._slots = [], None

    def _start(self, layout: Layout, env_kwargs: dict[str, Any]) -> dict[str, Any]:
        """Creates the slots and their workers, and returns the metadata of the environments."""
        if self.workers == 0:
            self._arrays: Mapping[str, np.ndarray] = {
                name: np.zeros(shape, dtype) for name, (shape, dtype) in layout.items()
            }
            self._slots = FrameSlots(
                self.num_envs,
                env_kwargs=env_kwargs,
                autoreset_mode=self.autoreset_mode,
                arrays=self._arrays,
            )
            return self._slots.envs[0].metadata
        shared = _shared_file(layout_bytes(layout))
        try:
            self._arrays = map_arrays(layout, shared)
            bounds = np.linspace(0, self.num_envs, self.workers + 1).round().astype(int).tolist()
            for slots in itertools.pairwise(bounds):
                self._workers.append(
                    FrameWorker(
                        slots,
                        shared=shared,
                        layout=layout,
                        env_kwargs=env_kwargs,
                        autoreset_mode=self.autoreset_mode,
                        specs=registered_specs(env_kwargs["base"] or self.task.env_id),
                    )
                )
            metadata: dict[str, Any] = self._receive(starting=True)[0]
        finally:
            os.close(shared)  # the memory maps stay valid
        return metadata

    def _ask(self, method: str, *per_slot: Sequence[Any], **shared: Any) -> list[Any]:
        """Calls a method of :class:`FrameSlots` in all workers; without workers, in this process.

        Args:
            method: name of the method.
            *per_slot: arguments, each a sequence with one item per slot. Each worker receives the
                items of its own slots.
            **shared: arguments that are the same for all workers.

        Returns:
            One result per slot, in order.
        """
        if self.closed:
            raise ValueError(
                f"{method}: expected an open environment, got a closed one; create a new "
                "environment"
            )
        if os.getpid() != self._process:
            raise ValueError(
                f"{method}: expected an environment that this process created, got one from before "
                "the fork of this process; create a new environment in this process"
            )
        if self._slots is not None:
            try:
                answers: list[Any] = getattr(self._slots, method)(*per_slot, *shared.values())
            except Exception as error:
                failure = WorkerFailure(f"{type(error).__name__}: {error}", cause=error)
                raise self._error(failure, range(self.num_envs)) from error
            return answers
        failures = []
        for worker in self._workers:
            parts = (argument[slice(*worker.slots)] for argument in per_slot)
            try:
                worker.send(method, *parts, *shared.values())
            except WorkerFailure as failure:
                failures.append((worker, failure))
        return [answer for answers in self._receive(failures) for answer in answers]

    def _receive(
        self, failures: Sequence[tuple[FrameWorker, WorkerFailure]] = (), *, starting: bool = False
    ) -> list[Any]:
        """Waits for all workers and returns their answers, or raises the first failure.

        Args:
            failures: pairs of a worker and its failure, for workers that have already failed.
            starting: True if the workers have just been started. In this case, a worker's exception
                about an invalid argument is raised unchanged, instead of as a WorkerError.
        """
        answers, failures = [], list(failures)
        for worker in self._workers:
            if any(worker is failed for failed, _ in failures):
                continue
            try:
                answers.append(worker.receive())
            except WorkerFailure as failure:
                failures.append((worker, failure))
        if not failures:
            return answers
        worker, first = failures[0]
        if starting and isinstance(first.cause, _ARGUMENT_ERRORS):
            first.cause.add_note(first.note)
            raise first.cause
        slots = () if starting else range(*worker.slots)
        raise self._error(first, slots, worker.name) from first.cause

    def _error(
        self, failure: WorkerFailure, slots: Iterable[int], worker: str | None = None
    ) -> WorkerError:
        """Returns an error that names the worker, the slot, the episode and its seed.

        Args:
            failure: failure of a worker or, without workers, of a slot of this process.
            slots: slots that may have failed. If a step or reset of one of these slots was not
                finished, the error names only this slot. Empty if the worker failed as it started.
            worker: name of the worker; None without workers.
        """
        playing = [slot for slot in slots if self._arrays["playing"][slot]]
        self._arrays["playing"][:] = False
        parts = [failure.summary]
        if worker is not None:
            parts.insert(0, f"{worker}: " if failure.note else f"{worker} ")
        where = [self._describe(slot) for slot in playing[:1] or slots]
        parts += [f", in {'; '.join(where)}" if where else " as it started"]
        parts += [f"; {failure.mend}"] if failure.mend else []
        kind = WorkerValueError if isinstance(failure.cause, ValueError) else WorkerError
        error = kind("".join(parts))
        if failure.note:
            error.add_note(failure.note)
        return error

    def _describe(self, slot: int) -> str:
        """Returns a phrase that names a slot, its agent step, its episode and the seed."""
        seed, later = self._seeds[slot], int(self._arrays["episodes"][slot])
        if seed is None:
            episode = f"episode {later} (no seed)"
        elif later:
            episode = f"episode {later} after the one with seed {seed}"
        else:
            episode = f"the episode with seed {seed}"
        return f"slot {slot}, agent step {self._arrays['steps'][slot]} of {episode}"

    def _merge(self, infos: list[dict[str, Any]]) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        for slot, info in enumerate(infos):
            if "final_info" in info:
                final = {"final_obs": self._arrays["finals"][slot].copy()}
                merged = self._add_info(merged, final, slot)
            merged = self._add_info(merged, info, slot)
        return merged


def _worker_count(workers: int | None, num_envs: int) -> int:
    if workers is None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        return 0 if num_envs == 1 else min(num_envs, cores or 1)
    return min(check_int("workers", workers, at_least=0), num_envs)


def _shared_file(size: int) -> int:
    """Creates an unnamed file of a given size in bytes, and returns its file descriptor.

    The operating system deletes the file when no process uses it any more.
    """
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("wmrl", os.MFD_CLOEXEC)
    else:  # pragma: no cover - systems other than Linux
        descriptor, name = tempfile.mkstemp(prefix="wmrl-")
        Path(name).unlink()
    os.truncate(descriptor, size)
    return above_standard_streams(descriptor)
