"""A pilot: an agent that drives several games at once through one eye."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from wmrl.agents.agent import Agent, State
from wmrl.envs.latent.tracker import LatentTracker
from wmrl.envs.world_model import WorldModel


class FrameAgent:
    """Proposes actions for N games from their frames.

    Args:
        agent: who acts.
        world_model: what it looks through.
        count: N. All rows are encoded as one batch, whether or not a game is under way.
    """

    def __init__(self, agent: Agent, world_model: WorldModel, count: int) -> None:
        self.agent = agent
        self.world_model = world_model
        self._tracker = LatentTracker(world_model, count)
        self._state: State | None = None

    def describe(self) -> dict[str, Any]:
        """Who drives, by digests, and how many games are seen at once."""
        memory = self.world_model.memory
        with tempfile.TemporaryDirectory() as folder:
            agent = self.agent.save(Path(folder) / "agent")
        return {
            "agent": agent,
            "vision": self.world_model.vision.digest,
            "memory": None if memory is None else memory.digest,
            "num_envs": len(self._tracker.latents),
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
            self._tracker.reset(fresh)
        actions, self._state = self.agent.predict(
            self._tracker.observe(frames), self._state, fresh, deterministic=True
        )
        return actions

    def remember(self, actions: np.ndarray) -> None:
        """Notes the actions ``(N, A) float32`` that were taken in fact."""
        self._tracker.advance(actions)
