"""Tracker of the latents and memory states of several running games."""

import numpy as np
import torch
from torch import Tensor

from wmrl.dream import DreamState, dream_observation
from wmrl.envs.world_model import WorldModel
from wmrl.memory.base import MemoryState
from wmrl.memory.sequences import select_states


class LatentTracker:
    """Tracker of the latents and memory states of N running games, processed as one batch.

    The observation at time t is the latent z_t or, with a memory, [z_t, h_t]. The hidden state h_t
    is 0 at the start of an episode, and depends on all earlier latents and actions: all z_s and a_s
    with s < t (https://arxiv.org/abs/1803.10122, appendix A.1).

    Args:
        world_model: vision model and memory model.
        num_envs: number N of games.

    Attributes:
        world_model: vision model and memory model.
        latents: ``(N, Z) float32``, the latest latents.

    Example:
        >>> import numpy as np
        >>> from wmrl.envs import WorldModel
        >>> from wmrl.envs.latent import LatentTracker
        >>> world_model = WorldModel.open("car-racing", "car-racing-vae", "auto", device="cpu")
        >>> tracker = LatentTracker(world_model, num_envs=2)
        >>> frames = np.zeros((2, 64, 64, 3), np.uint8)
        >>> tracker.observe(frames).shape
        (2, 288)
        >>> tracker.advance(np.zeros((2, 2), np.float32))
        >>> bool(tracker.observe(frames)[:, 32:].any())  # the hidden state is no longer zero
        True
    """

    def __init__(self, world_model: WorldModel, num_envs: int) -> None:
        self.world_model = world_model
        device = world_model.device
        self.latents = torch.zeros(num_envs, world_model.vision.latent_dim, device=device)
        self._blank: MemoryState = (
            world_model.memory.initial_state(num_envs) if world_model.memory else ()
        )
        self._state: MemoryState = self._blank

    @torch.inference_mode()
    def reset(self, mask: np.ndarray) -> None:
        """Resets the memory states of some games.

        Args:
            mask: ``(N,) bool``, True for the games whose memory states are reset.
        """
        self._state = self._select(mask, self._blank)

    @torch.inference_mode()
    def advance(self, actions: np.ndarray, *, idle: np.ndarray | None = None) -> None:
        """Updates the memory states with the latest latents and the actions that followed them.

        Args:
            actions: actions of the N games, in the task's action space.
            idle: ``(N,) bool``, True for games in which no action was taken. The memory states of
                these games stay unchanged. If None, all memory states are updated.
        """
        memory = self.world_model.memory
        if memory is None:
            return
        encoded = self.world_model.task.actions.encode(actions)
        a = torch.from_numpy(encoded).to(self.world_model.device)
        before = self._state
        _, self._state = memory.step(self.latents, a, before)
        if idle is not None and idle.any():
            self._state = self._select(idle, before)

    @torch.inference_mode()
    def observe(self, frames: np.ndarray) -> np.ndarray:
        """Encodes frames ``(N, H, W, C) uint8``, and returns observations ``(N, O) float32``.

        O is the length of an observation: Z or, with a memory of H hidden units, Z + H. If the task
        stacks K frames, the argument ``frames`` contains stacks, ``(N, H, W, C · K) uint8``.
        """
        self.latents = self._encode(frames)
        return self._observations(self.state)

    @torch.inference_mode()
    def peek(self, frames: np.ndarray, indices: np.ndarray) -> np.ndarray:
        """Returns observations of K of the N games without changing the tracker's state.

        Args:
            frames: ``(K, H, W, C) uint8``, one frame (or stack of frames) of each of the K games.
            indices: ``(K,) int``, indices of the K games, in the order of ``frames``.

        Returns:
            Observations ``(K, O) float32``, where O is the length of an observation.
        """
        index = torch.from_numpy(indices).to(self.world_model.device)
        memory = tuple(tensor[index] for tensor in self._state)
        return self._observations(DreamState(self._encode(frames), memory))

    @property
    def state(self) -> DreamState:
        """Latest latents and memory states of the N games; N dreams can continue from them."""
        return DreamState(self.latents, self._state)

    def _select(self, mask: np.ndarray, state: MemoryState) -> MemoryState:
        """Returns the memory states of the N games, with some of them taken from ``state``.

        Games for which ``mask`` is True get their memory states from ``state``. All other games
        keep their current memory states.
        """
        return select_states(torch.from_numpy(mask).to(self.world_model.device), state, self._state)

    def _encode(self, frames: np.ndarray) -> Tensor:
        return self.world_model.vision.encode(torch.from_numpy(frames).to(self.world_model.device))

    def _observations(self, state: DreamState) -> np.ndarray:
        memory = self.world_model.memory
        observations = state.latent if memory is None else dream_observation(memory, state)
        return observations.cpu().numpy()
