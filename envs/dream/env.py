"""A dream: a game that a memory makes up."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.error import ResetNeeded
from gymnasium.utils import EzPickle
from gymnasium.vector import AutoresetMode

from wmrl.dream import DreamState
from wmrl.envs.dream.vector import DreamVectorEnv
from wmrl.envs.observations import ViewName, row_of
from wmrl.envs.rendering.window import Window, checked_render_mode
from wmrl.envs.tasks.task import Task
from wmrl.envs.world_model import Eye
from wmrl.memory.base import Memory
from wmrl.vision.base import Vision


class DreamEnv(gym.Env[Any, np.ndarray], EzPickle):
    """A game that a memory makes up.

    ## Description
    World Models (https://arxiv.org/abs/1803.10122): the memory foresees the next latent, the
    reward and the end from a latent and an action, and each is drawn from what it foresees. There
    is no game behind it. What was trained here can be driven in
    :class:`~wmrl.envs.latent.env.LatentEnv`, which has the same spaces.

    ## Action Space
    ``Box(A,)`` float32, the task's; for CarRacing steer and pedal (+ gas, − brake) in [−1, 1].
    Actions outside are clipped.

    ## Observation Space
    ``Box(Z + H,)`` float32: the latent z and the memory's hidden state h.

    ## Rewards
    What the memory predicts, in the task's own units, for one decision.

    ## Starting State
    One of the real, encoded sequences that the memory's artifact keeps, drawn at random; h is
    filled by the sequence's recorded actions. Options of ``reset``: ``"start"``, the index of a
    kept sequence; ``"state"``, a :class:`~wmrl.dream.DreamState` of one row to go on from, for
    instance a latent environment's.

    ## Episode End
    Terminated when the memory says so, truncated after ``max_episode_steps`` decisions
    (``vsg/CarRacingDream-v0``: 250).

    ## Arguments
    - ``task``: a :class:`~wmrl.envs.tasks.task.Task` or its name.
    - ``vision``, ``memory``: the name of a shipped artifact, a path, or an object; a memory may be
      ``"auto"``, the shipped one of that vision.
    - ``temperature``: τ > 0, the dream's uncertainty: mixture logits are divided by τ, and the
      noise is multiplied by √τ.
    - ``dropout``: whether the memory's dropout stays on, so that every step asks another network.
    - ``max_episode_steps``: decisions until truncation; no limit if None. ``gymnasium.make`` takes
      it for its own ``TimeLimit``, to the same effect.
    - ``observation``: ``"embeddings"``, or ``"codes"`` of a quantised vision: a dictionary of the
      codes, ``MultiDiscrete(T,)``, and of h as ``"memory"``.
    - ``device``: ``"auto"``, ``"cpu"``, ``"cuda"`` …
    - ``render_mode``: ``"rgb_array"`` (the decoded latent, enlarged), ``"human"`` (in a window).

    ## Version History
    - v0: first version.
    """

    metadata: dict[str, Any] = {"render_modes": ["human", "rgb_array"]}  # noqa: RUF012

    def __init__(
        self,
        *,
        task: Task | str = "car-racing",
        vision: Vision | str | Path = "car-racing-vae",
        memory: Memory[Any] | str | Path = "auto",
        temperature: float = 1.0,
        dropout: bool = False,
        max_episode_steps: int | None = None,
        observation: ViewName = "embeddings",
        device: str | torch.device = "auto",
        render_mode: str | None = None,
    ) -> None:
        self.render_mode = checked_render_mode(render_mode, self.metadata)
        EzPickle.__init__(
            self,
            task=task,
            vision=vision,
            memory=memory,
            temperature=temperature,
            dropout=dropout,
            max_episode_steps=max_episode_steps,
            observation=observation,
            device=device,
            render_mode=render_mode,
        )
        self._dreams = DreamVectorEnv(
            1,
            task=task,
            vision=vision,
            memory=memory,
            temperature=temperature,
            dropout=dropout,
            max_episode_steps=max_episode_steps,
            observation=observation,
            autoreset_mode=AutoresetMode.DISABLED,
            device=device,
            render_mode="rgb_array",
        )
        self.observation_space = self._dreams.single_observation_space
        self.action_space = self._dreams.single_action_space
        self.metadata = {**self.metadata, "render_fps": self.eye.fps}
        self._running = False
        self._window = Window("wmrl: dream", fps=self.eye.fps)

    @property
    def eye(self) -> Eye:
        """Task, vision and memory."""
        return self._dreams.eye

    @property
    def state(self) -> DreamState:
        """Where the dream is, one row."""
        return self._dreams.state

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Starts a dream."""
        super().reset(seed=seed)
        observations, info = self._dreams.reset(seed=seed, options=options)
        self._running = True
        self._show()
        return row_of(observations, 0), info

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """One decision.

        Raises:
            ResetNeeded: no dream is running.
            ValueError: ``action`` is not ``(A,)``.
        """
        if not self._running:
            raise ResetNeeded("step: no dream is running; call reset() first")
        a = self.eye.clip(action, ())[None]
        observations, rewards, terminated, truncated, info = self._dreams.step(a)
        self._running = not (terminated[0] or truncated[0])
        self._show()
        ended = bool(terminated[0]), bool(truncated[0])
        return row_of(observations, 0), float(rewards[0]), *ended, info

    def render(self) -> np.ndarray | None:
        """The decoded latent, enlarged, with ``render_mode="rgb_array"``."""
        if self.render_mode != "rgb_array":
            return None
        return self._frame()

    def close(self) -> None:
        """Closes the window, if there is one."""
        self._window.close()

    def _frame(self) -> np.ndarray:
        frames = self._dreams.render()
        assert frames is not None
        return frames[0]

    def _show(self) -> None:
        if self.render_mode == "human":
            self._window.show(self._frame())
