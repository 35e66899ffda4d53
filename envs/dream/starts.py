"""Initial states of dreams, as the options of ``reset`` select them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from wmrl.core.frames import stack_frames
from wmrl.core.validation import as_array
from wmrl.dream import DreamState, dream_reset
from wmrl.envs.world_model import WorldModel
from wmrl.memory.base import Memory

_STARTS = ("start", "state", "frames")  # options that select a start, of which one may be given


class StartSelector:
    """Selector of the initial states of dreams, by the options of ``reset``.

    :class:`~wmrl.envs.dream.env.DreamEnv` describes the options.

    Args:
        world_model: world model of the dreams.
        memory: its memory, which has start states.
    """

    def __init__(self, world_model: WorldModel, memory: Memory[Any]) -> None:
        self._world_model = world_model
        self._memory = memory

    def select(
        self, count: int, options: Mapping[str, Any], generator: torch.Generator
    ) -> DreamState:
        """Returns the initial states of ``count`` dreams, which share one dictionary of options.

        Raises:
            ValueError: an option is invalid.
        """
        if (option := _given_option(options)) == "state":
            return self._given_state(count, options["state"])
        if option == "frames":
            return self._after_frames((count,), options["frames"], options.get("actions"))
        if option is None:
            return dream_reset(self._memory, batch_size=count, generator=generator)
        given = np.asarray(options["start"])
        if given.dtype.kind not in "iu" or given.shape not in ((), (1,), (count,)):
            raise ValueError(
                f"options['start']: expected one index, or one for each of the {count} dreams that "
                f"are reset, got {options['start']!r:.100}; give an integer, or a list of integers"
            )
        indices = np.broadcast_to(given.astype(np.int64), (count,))
        available = self._memory.num_start_states
        if indices.min() < 0 or indices.max() >= available:
            raise ValueError(
                f"options['start']: expected indices from 0 to {available - 1}, got "
                f"{indices.tolist()}; the memory has {available} start states"
            )
        on_device = torch.from_numpy(indices.copy()).to(self._world_model.device)
        return dream_reset(self._memory, indices=on_device, generator=generator)

    def select_each(
        self, options: Sequence[Mapping[str, Any]], generator: torch.Generator
    ) -> DreamState:
        """Returns the initial states of all dreams, given one dictionary of options per dream.

        Raises:
            ValueError: an option is invalid.
        """
        if all(_given_option(one) == "start" for one in options):
            starts = [one["start"] for one in options]
            return self.select(len(options), {"start": starts}, generator)
        states = [self._select_one(one, generator) for one in options]
        memory = tuple(map(torch.cat, zip(*(state.memory for state in states), strict=True)))
        return DreamState(torch.cat([state.latent for state in states]), memory)

    def _select_one(self, options: Mapping[str, Any], generator: torch.Generator) -> DreamState:
        if _given_option(options) == "frames":
            return self._after_frames((), options["frames"], options.get("actions"))
        return self.select(1, options, generator)

    def _given_state(self, count: int, state: DreamState) -> DreamState:
        if not isinstance(state, DreamState):
            raise ValueError(
                f"options['state']: expected a DreamState, got {state!r:.100}; give the state of a "
                "dream or latent environment"
            )
        expected = (count, self._memory.latent_dim)
        if tuple(state.latent.shape) != expected:
            raise ValueError(
                f"options['state']: expected latents of shape {expected}, got "
                f"{tuple(state.latent.shape)}; give one latent for each dream that is reset"
            )
        blank = [tuple(tensor.shape) for tensor in self._memory.initial_state(count)]
        got = [tuple(tensor.shape) for tensor in state.memory]
        if blank != got:
            raise ValueError(
                f"options['state']: expected memory tensors of the shapes {blank}, got {got}; give "
                "a state of the same memory model, with one entry for each dream that is reset"
            )
        for tensor in (state.latent, *state.memory):
            if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
                raise ValueError(
                    "options['state']: expected finite numbers, got NaN or infinity; give another "
                    "state"
                )
        device = self._world_model.device
        return DreamState(
            state.latent.to(device), tuple(tensor.to(device) for tensor in state.memory)
        )

    def _after_frames(self, axes: tuple[int, ...], frames: Any, actions: Any) -> DreamState:
        """Returns the states after recorded frames and the actions between them.

        The frames are encoded and the memory is advanced step by step, as a latent environment does
        while the game runs, so that the states have the same bits.

        Args:
            axes: ``(K,)`` for K dreams, or ``()`` for a single dream.
            frames: ``(*axes, T + 1, H, W, C) uint8``.
            actions: ``(*axes, T, …)``, actions of the task; None if T is 0.
        """
        task, device = self._world_model.task, self._world_model.device
        images = self._check_frames(axes, frames)
        steps, count = images.shape[-4] - 1, axes[0] if axes else 1
        a = self._check_actions((*axes, steps), actions).reshape(count, steps, *task.actions.shape)
        images = images.reshape(count, *images.shape[-4:])
        order = np.arange(steps + 1)
        stacks = np.stack([stack_frames(each, task.frame_stack, order) for each in images])
        encoded = torch.tensor(task.actions.encode(a), device=device)
        state = self._memory.initial_state(len(images))
        for t in range(steps):
            _, state = self._memory.step(self._encode(stacks[:, t]), encoded[:, t], state)
        return DreamState(self._encode(stacks[:, -1]), state)

    def _encode(self, frames: np.ndarray) -> torch.Tensor:
        contiguous = torch.from_numpy(np.ascontiguousarray(frames))
        return self._world_model.vision.encode(contiguous.to(self._world_model.device))

    def _check_frames(self, axes: tuple[int, ...], frames: Any) -> np.ndarray:
        found = as_array("options['frames']", frames)
        shape = self._world_model.task.frame_shape
        places = len(axes)
        fits = found.ndim == places + 4 and (*found.shape[:places], *found.shape[-3:]) == (
            *axes,
            *shape,
        )
        if not fits or not found.shape[places] or found.dtype != np.uint8:
            expected = ", ".join([*map(str, axes), "T + 1", *map(str, shape)])
            each = " for each dream that is reset" if axes else ""
            raise ValueError(
                f"options['frames']: expected T + 1 successive frames{each}, ({expected}) uint8, "
                f"got {found.shape} {found.dtype}; give frames of the task "
                f"{self._world_model.task.name!r}, such as episode.frames of a rollout store"
            )
        return found

    def _check_actions(self, axes: tuple[int, ...], actions: Any) -> np.ndarray:
        """Checks actions of shape ``(*axes, …)``, where the last axis of ``axes`` has length T."""
        spec, steps = self._world_model.task.actions, axes[-1]
        if actions is None:
            if steps:
                raise ValueError(
                    f"options['actions']: expected the {steps} actions between the {steps + 1} "
                    "frames, got none; give the actions as well, or one frame only"
                )
            return spec.neutral(axes)
        found = as_array("options['actions']", actions)
        if not steps and not found.size:
            return spec.neutral(axes)
        checked = spec.check("options['actions']", found, axes)
        if spec.is_continuous:
            low, high = spec.bounds
            outside = (checked < low) | (checked > high)
            if outside.any():
                place = tuple(np.argwhere(outside)[0].tolist())
                raise ValueError(
                    f"options['actions']: expected actions in {spec.space}, got {checked[place]} "
                    f"at index {place}; give actions as the environment's step takes them"
                )
        return checked


def _given_option(options: Mapping[str, Any]) -> str | None:
    """Returns the name of the option that selects a start; None if there is none.

    Raises:
        ValueError: several options select a start, or there are actions without frames.
    """
    given = [name for name in _STARTS if options.get(name) is not None]
    if len(given) > 1:
        raise ValueError(
            f"options: expected one of {', '.join(map(repr, _STARTS))}, got "
            f"{' and '.join(map(repr, given))}; leave all but one out"
        )
    if options.get("actions") is not None and given != ["frames"]:
        raise ValueError(
            "options['actions']: expected actions between frames, got actions without frames; give "
            "options['frames'] as well"
        )
    return given[0] if given else None
