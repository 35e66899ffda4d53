"""One game that is observed through a world model."""

from typing import Any

import numpy as np

from wmrl.core.frames import newest_frames
from wmrl.dream import DreamState
from wmrl.envs.frames.env import FrameEnv
from wmrl.envs.latent.tracker import LatentTracker
from wmrl.envs.observations import ObservationFormat, ObservationName
from wmrl.envs.world_model import WorldModel


class LatentGame:
    """Game whose frames a world model encodes.

    Args:
        game: environment of the game; its task must be the task of ``world_model``.
        world_model: vision model and memory model.
        observation: format of the observations, ``"embeddings"`` or ``"codes"``.

    Attributes:
        world_model: vision model and memory model.
        observation_space: space of the observations.
        action_space: space of the actions.
    """

    def __init__(
        self, game: FrameEnv, world_model: WorldModel, observation: ObservationName
    ) -> None:
        self._game = game
        self.world_model = world_model
        self._tracker = LatentTracker(world_model, 1)
        self._format = ObservationFormat(world_model, observation)
        self.observation_space = self._format.space
        self.action_space = world_model.action_space
        self._seen: np.ndarray  # latest frame or stack of frames

    @property
    def frame(self) -> np.ndarray:
        """Latest frame of the game, ``(H, W, C) uint8``.

        Raises:
            AttributeError: the game has not been reset.
        """
        return newest_frames(self._seen, self.world_model.task.frame_stack)

    @property
    def state(self) -> DreamState:
        """Latest latent and memory state, as a batch of one."""
        return self._tracker.state

    @property
    def fps(self) -> float:
        """Agent steps per second, according to the game's metadata."""
        fps: float = self._game.metadata["render_fps"]
        return fps

    def reset(
        self, *, seed: int | None, options: dict[str, Any] | None
    ) -> tuple[Any, dict[str, Any]]:
        """Starts an episode; returns the observation and the info."""
        self._seen, info = self._game.reset(seed=seed, options=options)
        self._tracker.reset(np.ones(1, dtype=np.bool_))
        return self._observe(), info

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Advances the game by one agent step."""
        a = self.world_model.check_actions(action, ())
        self._seen, reward, terminated, truncated, info = self._game.step(a)
        self._tracker.advance(a[None])
        return self._observe(), reward, terminated, truncated, info

    def render(self) -> Any:
        """Renders the base environment."""
        return self._game.render()

    def close(self) -> None:
        """Closes the base environment."""
        self._game.close()

    def _observe(self) -> Any:
        return self._format.format(self._tracker.observe(self._seen[None]))


class PlaysLatentGame:
    """Base class of environments whose steps are those of a :class:`LatentGame`.

    It is the common part of :class:`~wmrl.envs.latent.env.LatentEnv` and
    :class:`~wmrl.envs.latent.wrapper.LatentObservation`. The constructor of a subclass sets the
    attribute ``_game`` to a new :class:`LatentGame`.
    """

    _game: LatentGame

    @property
    def world_model(self) -> WorldModel:
        """World model through which the game is observed."""
        return self._game.world_model

    @property
    def frame(self) -> np.ndarray:
        """Latest frame of the game, ``(H, W, C) uint8``."""
        return self._game.frame

    @property
    def state(self) -> DreamState:
        """Latest latent and memory state, as a batch of one; a dream can continue from it."""
        return self._game.state

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Advances the game by one agent step."""
        return self._game.step(action)
