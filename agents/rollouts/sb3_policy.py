"""Models of Stable-Baselines3 that act on frames, as policies."""

from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm

from wmrl.agents.rollouts.frame_policy import FramePolicy
from wmrl.core.action_spec import ActionSpec
from wmrl.core.hashing import tensors_digest
from wmrl.envs.frames.env import frame_space
from wmrl.envs.tasks.task import Task


class SB3Policy(FramePolicy):
    """Policy that takes the deterministic actions of a model of Stable-Baselines3.

    Args:
        model: model that was trained on the frames of the task, for example in
            :class:`~wmrl.envs.frames.env.FrameEnv`. Its observation space has the channels as the
            last axis or, as in ``VecTransposeImage``, as the first axis.
        task: task that is played.

    Raises:
        ValueError: the observation space of the model is not that of the task's frames, or the
            action space of the model is not that of the task.
    """

    def __init__(self, model: BaseAlgorithm, task: Task) -> None:
        self._model = model
        self._state: Any = None
        frames, found = frame_space(task), model.observation_space
        height, width, channels = frames.shape
        if not isinstance(found, spaces.Box) or found.shape not in (
            (height, width, channels),
            (channels, height, width),  # SB3 moves the channels first
        ):
            raise ValueError(
                f"policy: expected a model whose observations are the frames of task "
                f"{task.name!r} ({frames}), got observations {found}; train the model in "
                "FrameEnv(task), or let it play in its own environment, wrapped in RecordRollouts"
            )
        self._actions = task.actions
        own = ActionSpec.of(model.action_space, name="policy: action space")
        if own not in (self._actions, self._actions.from_zero):
            raise ValueError(
                f"policy: expected a model with the action space {self._actions.space} of task "
                f"{task.name!r}, got {model.action_space}; train the model in FrameEnv(task)"
            )
        self._shifted = own != self._actions

    def describe(self) -> dict[str, Any]:
        """Implements :meth:`FramePolicy.describe`: the class and the digest of the weights."""
        return {
            "model": type(self._model).__name__,
            "weights": tensors_digest(self._model.policy.state_dict()),
        }

    def propose(self, frames: np.ndarray, fresh: np.ndarray, live: np.ndarray) -> np.ndarray:
        """Implements :meth:`FramePolicy.propose`."""
        actions, self._state = self._model.predict(
            frames, state=self._state, episode_start=fresh, deterministic=True
        )
        actions = actions.astype(self._actions.dtype, copy=False)  # SB3 has bits of float32
        if self._shifted:
            actions = self._actions.shift(actions)
        return self._actions.check("policy: actions", actions, (len(frames),), clip=True)
