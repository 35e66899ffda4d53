"""Sub-environments of ``FrameVectorEnv``, and arrays that are shared between processes."""

import mmap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode

from wmrl.core.action_spec import ActionSpec
from wmrl.envs.frames.env import FrameEnv

Layout = dict[str, tuple[tuple[int, ...], str]]
"""Shape and dtype of each shared array, by name."""

_ALIGNMENT = 64


def slot_layout(num_envs: int, frame_shape: tuple[int, ...], actions: ActionSpec) -> Layout:
    """Returns the shape and dtype of each shared array, by name.

    The arrays hold the data of N sub-environments, called slots. Processes share the arrays.

    The array ``"finals"`` is used in the autoreset mode SAME_STEP. It holds the final frames of the
    episodes that ended in the last step. Three other arrays show in which slot, episode and step a
    game failed, even if the worker process that ran the game died:

    - ``"playing"``: True while the game of a slot is stepped or reset.
    - ``"episodes"``: number of resets since the last reset with a seed.
    - ``"steps"``: number of agent steps since the last reset.

    Args:
        num_envs: number N of sub-environments.
        frame_shape: shape ``(H, W, C)`` of a frame, or ``(H, W, C · K)`` of a stack of frames.
        actions: description of the action space.
    """
    return {
        "frames": ((num_envs, *frame_shape), "uint8"),
        "finals": ((num_envs, *frame_shape), "uint8"),
        "actions": ((num_envs, *actions.shape), actions.dtype.name),
        "rewards": ((num_envs,), "float64"),
        "terminated": ((num_envs,), "bool"),
        "truncated": ((num_envs,), "bool"),
        "playing": ((num_envs,), "bool"),
        "episodes": ((num_envs,), "int64"),
        "steps": ((num_envs,), "int64"),
    }


def layout_bytes(layout: Layout) -> int:
    """Returns the size in bytes of a file that holds all arrays of a layout."""
    return sum(_padded_bytes(shape, dtype) for shape, dtype in layout.values())


def map_arrays(layout: Layout, descriptor: int) -> dict[str, np.ndarray]:
    """Maps a file into memory and returns its arrays by name.

    Processes that map the same file share the arrays.

    Args:
        layout: layout of the arrays.
        descriptor: descriptor of the file, whose size is ``layout_bytes(layout)``.
    """
    shared = mmap.mmap(descriptor, layout_bytes(layout))
    arrays: dict[str, np.ndarray] = {}
    offset = 0
    for name, (shape, dtype) in layout.items():
        arrays[name] = np.ndarray(shape, dtype, buffer=shared, offset=offset)
        offset += _padded_bytes(shape, dtype)
    return arrays


def _padded_bytes(shape: tuple[int, ...], dtype: str) -> int:
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return -(-size // _ALIGNMENT) * _ALIGNMENT


class FrameSlots:
    """Consecutive sub-environments (slots) of a vector environment, stepped one after another.

    Args:
        num_slots: number of slots.
        env_kwargs: keyword arguments of :class:`~wmrl.envs.frames.env.FrameEnv`.
        autoreset_mode: Gymnasium's autoreset mode. With ``DISABLED``, a slot whose episode has
            ended keeps its frame and its flags (terminated, truncated), with reward 0, until it
            is reset.
        arrays: the parts of the shared arrays (see :func:`slot_layout`) that belong to these slots.
    """

    def __init__(
        self,
        num_slots: int,
        *,
        env_kwargs: Mapping[str, Any],
        autoreset_mode: AutoresetMode,
        arrays: Mapping[str, np.ndarray],
    ) -> None:
        self.envs = [FrameEnv(**env_kwargs) for _ in range(num_slots)]
        self._mode = autoreset_mode
        self._arrays = arrays
        self._ready = [False] * num_slots

    def reset(
        self,
        seeds: Sequence[int | None],
        mask: Sequence[bool],
        options: Sequence[dict[str, Any] | None],
    ) -> list[dict[str, Any]]:
        """Resets the slots that ``mask`` selects.

        Args:
            seeds: one seed per slot; None for slots that are not seeded.
            mask: one flag per slot, True for slots to reset.
            options: for each slot, the options that its base environment gets; None for no options.

        Returns:
            One info per slot. The infos of slots that are not reset are empty.
        """
        return [
            self._reset(slot, seed, given) if chosen else {}
            for slot, (seed, chosen, given) in enumerate(zip(seeds, mask, options, strict=True))
        ]

    def step(self) -> list[dict[str, Any]]:
        """Steps each slot with its action from the shared arrays; returns one info per slot."""
        return [self._step(slot) for slot in range(len(self.envs))]

    def render(self) -> list[Any]:
        """Renders the environment of each slot."""
        return [env.render() for env in self.envs]

    def blame(self, slot: int) -> None:
        """Marks a slot as the cause of a failure.

        The mark is needed if the failure is found only after the slot has returned its result.
        """
        self._arrays["playing"][slot] = True

    def close(self) -> None:
        """Closes the environments of all slots."""
        for env in self.envs:
            env.close()

    def _reset(self, slot: int, seed: int | None, options: dict[str, Any] | None) -> dict[str, Any]:
        arrays = self._arrays
        arrays["playing"][slot] = True
        arrays["episodes"][slot] = 0 if seed is not None else arrays["episodes"][slot] + 1
        arrays["steps"][slot] = 0
        frame, info = self.envs[slot].reset(seed=seed, options=options)
        arrays["frames"][slot] = frame
        arrays["rewards"][slot] = 0.0
        arrays["terminated"][slot] = arrays["truncated"][slot] = False
        arrays["playing"][slot] = False
        self._ready[slot] = True
        return info

    def _step(self, slot: int) -> dict[str, Any]:
        arrays = self._arrays
        over = not self._ready[slot] or arrays["terminated"][slot] or arrays["truncated"][slot]
        if over and self._mode is AutoresetMode.DISABLED:
            arrays["rewards"][slot] = 0.0
            return {}
        if over and self._mode is AutoresetMode.NEXT_STEP:
            return self._reset(slot, None, None)
        arrays["playing"][slot] = True
        arrays["steps"][slot] += 1
        frame, reward, terminated, truncated, info = self.envs[slot].step(arrays["actions"][slot])
        if (terminated or truncated) and self._mode is AutoresetMode.SAME_STEP:
            arrays["finals"][slot] = frame
            info = {**self._reset(slot, None, None), "final_info": info}
        else:
            arrays["frames"][slot] = frame
        arrays["rewards"][slot] = reward
        arrays["terminated"][slot] = terminated
        arrays["truncated"][slot] = truncated
        arrays["playing"][slot] = False
        return info
