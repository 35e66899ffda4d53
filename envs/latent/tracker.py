"""The gaze: an eye that rests on several running games and keeps what it remembers of each."""

import numpy as np
import torch
from torch import Tensor

from wmrl.dream import DreamState, dream_observation
from wmrl.envs.world_model import Eye
from wmrl.memory.base import MemoryState


class Gaze:
    """Observations of N games, step by step, batched.

    The observation at time t is z_t, or [z_t, h_t] where h_t is the memory's view of all
    (z_s, a_s) with s < t (https://arxiv.org/abs/1803.10122, appendix A.1: initially zeros).

    Attributes:
        eye: the models.
        latents: ``(N, Z) float32``, what was seen last.
    """

    def __init__(self, eye: Eye, count: int) -> None:
        self.eye = eye
        self.latents = torch.zeros(count, eye.vision.latent_size, device=eye.device)
        self._blank: MemoryState = eye.memory.initial_state(count) if eye.memory else ()
        self._state: MemoryState = self._blank

    @torch.inference_mode()
    def forget(self, rows: np.ndarray) -> None:
        """Empties the memory of the games in the mask ``rows: (N,) bool``, which start anew."""
        self._state = self._where(rows, self._blank)

    @torch.inference_mode()
    def act(self, actions: np.ndarray, *, idle: np.ndarray | None = None) -> None:
        """Remembers the actions that were taken on what was seen last.

        Args:
            actions: ``(N, A) float32``.
            idle: ``(N,) bool``, games in which nothing was done.
        """
        memory = self.eye.memory
        if memory is None:
            return
        a = torch.from_numpy(actions).to(self.eye.device)
        before = self._state
        _, self._state = memory.step(self.latents, a, before)
        if idle is not None and idle.any():
            self._state = self._where(idle, before)

    @torch.inference_mode()
    def see(self, frames: np.ndarray) -> np.ndarray:
        """Looks at the frames ``(N, H, W, 3) uint8``; returns observations ``(N, O) float32``."""
        self.latents = self._encode(frames)
        return self._observations(self.state)

    @torch.inference_mode()
    def glance(self, frames: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Looks at the last frames of some games, and changes nothing.

        Args:
            frames: ``(K, H, W, 3) uint8``.
            rows: ``(K,) int``, the games that they are of.

        Returns:
            Observations ``(K, O) float32``.
        """
        index = torch.from_numpy(rows).to(self.eye.device)
        memory = tuple(tensor[index] for tensor in self._state)
        return self._observations(DreamState(self._encode(frames), memory))

    @property
    def state(self) -> DreamState:
        """What was seen last and what is remembered: where a dream could go on from here."""
        return DreamState(self.latents, self._state)

    def _where(self, rows: np.ndarray, state: MemoryState) -> MemoryState:
        """What is remembered, with the rows of the mask taken from ``state``."""
        mask = torch.from_numpy(rows).to(self.eye.device)
        return tuple(
            torch.where(mask.view(-1, *[1] * (now.ndim - 1)), other, now)
            for other, now in zip(state, self._state, strict=True)
        )

    def _encode(self, frames: np.ndarray) -> Tensor:
        return self.eye.vision.encode(torch.from_numpy(frames).to(self.eye.device))

    def _observations(self, state: DreamState) -> np.ndarray:
        memory = self.eye.memory
        seen = state.latent if memory is None else dream_observation(memory, state)
        return seen.cpu().numpy()
