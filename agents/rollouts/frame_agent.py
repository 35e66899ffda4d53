"""Agents that act on the frames of several games in parallel."""

from typing import Any

import numpy as np

from wmrl.agents.agent import Agent, State
from wmrl.agents.rollouts.frame_policy import FramePolicy
from wmrl.envs.latent.tracker import LatentTracker
from wmrl.envs.observations import ObservationFormat
from wmrl.envs.world_model import WorldModel


class FrameAgent(FramePolicy):
    """Agent that plays N games from their frames, which the agent's world model encodes.

    Args:
        agent: agent that chooses the actions.
        world_model: world model of the agent.
        num_envs: number of games, N. All N frames are always encoded as one batch, even if some of
            the games are not in progress.
    """

    def __init__(self, agent: Agent, world_model: WorldModel, num_envs: int) -> None:
        self.agent = agent
        self.world_model = world_model
        self._num_envs = num_envs
        self._tracker = LatentTracker(world_model, num_envs)
        self._format = ObservationFormat(world_model, agent.observation)
        self._state: State | None = None

    def describe(self) -> dict[str, Any]:
        """Implements :meth:`FramePolicy.describe`.

        The description contains the digests of the agent and of its world model's parts, and the
        number of games.
        """
        memory = self.world_model.memory
        return {
            "agent": self.agent.digest,
            "vision": self.world_model.vision.digest,
            "memory": None if memory is None else memory.digest,
            "num_envs": self._num_envs,
        }

    def propose(self, frames: np.ndarray, fresh: np.ndarray, live: np.ndarray) -> np.ndarray:
        """Implements :meth:`FramePolicy.propose`."""
        if fresh.any():
            self._tracker.reset(fresh)
        observations = self._format.format_batch(self._tracker.observe(frames))
        actions, self._state = self.agent.predict(
            observations, self._state, fresh, deterministic=True
        )
        return actions

    def advance(self, actions: np.ndarray) -> None:
        """Advances the state of the memory model in each game by one agent step.

        Args:
            actions: actions, with exploration noise, that are taken in the N games.
        """
        self._tracker.advance(actions)
