"""A pilot: an agent that drives several games at once through one eye."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from wmrl.agents.agent import Agent, State
from wmrl.envs.latent.tracker import Gaze
from wmrl.envs.world_model import Eye


class Pilot:
    """Proposes actions for N games from their frames.

    Args:
        agent: who acts.
        eye: what it looks through.
        count: N. All rows are encoded as one batch, whether or not a game is under way.
    """

    def __init__(self, agent: Agent, eye: Eye, count: int) -> None:
        self.agent = agent
        self.eye = eye
        self._gaze = Gaze(eye, count)
        self._state: State | None = None

    def describe(self) -> dict[str, Any]:
        """Who drives, by digests, and how many games are seen at once."""
        memory = self.eye.memory
        with tempfile.TemporaryDirectory() as folder:
            agent = self.agent.save(Path(folder) / "agent")
        return {
            "agent": agent,
            "vision": self.eye.vision.digest,
            "memory": None if memory is None else memory.digest,
            "num_envs": len(self._gaze.latents),
        }

    def propose(self, frames: np.ndarray, fresh: np.ndarray) -> np.ndarray:
        """Looks at the games and proposes actions, without exploration noise.

        Args:
            frames: ``(N, H, W, 3) uint8``.
            fresh: ``(N,) bool``, games that have just begun.

        Returns:
            Actions ``(N, A) float32``.
        """
        if fresh.any():
            self._gaze.forget(fresh)
        actions, self._state = self.agent.predict(
            self._gaze.see(frames), self._state, fresh, deterministic=True
        )
        return actions

    def remember(self, actions: np.ndarray) -> None:
        """Notes the actions ``(N, A) float32`` that were taken in fact."""
        self._gaze.act(actions)
