"""Environment of a dream: a game that is simulated by a memory."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.utils import EzPickle
from gymnasium.vector import AutoresetMode

from wmrl.dream import DreamState
from wmrl.envs.dream.vector import DreamVectorEnv
from wmrl.envs.observations import ObservationName
from wmrl.envs.single_env import SingleEnv
from wmrl.envs.tasks.task import Task
from wmrl.envs.world_model import WorldModel
from wmrl.memory.base import Memory
from wmrl.vision.base import Vision


class DreamEnv(SingleEnv[Any], EzPickle):
    """Game that is simulated by a memory.

    ## Description
    World Models (https://arxiv.org/abs/1803.10122): from a latent and an action the memory predicts
    distributions of the next latent, the reward and termination, and each is drawn from its
    distribution. There is no game behind it. An agent that was trained here can act in
    :class:`~wmrl.envs.latent.env.LatentEnv`, which has the same spaces.

    ## Action Space
    ``Box(A,)`` float32, the task's; for CarRacing steer and pedal (+ gas, − brake) in [−1, 1].
    Actions outside are clipped.

    ## Observation Space
    ``Box(Z + H,)`` float32: the latent z and the memory's hidden state h.

    ## Rewards
    The memory's prediction for one agent step, in the task's own units.

    ## Starting State
    One of the memory's start states, drawn at random: real, encoded sequences whose recorded
    actions warm up h. Options of ``reset``: ``"start"``, the index of a start state; ``"state"``, a
    :class:`~wmrl.dream.DreamState` with a batch of one to continue from, for instance a latent
    environment's.

    ## Episode End
    Terminated when the memory predicts it, truncated after ``max_episode_steps`` agent steps
    (``vsg/CarRacingDream-v0``: 250).

    ## Arguments
    - ``task``: a :class:`~wmrl.envs.tasks.task.Task` or its name.
    - ``vision``, ``memory``: the name of a shipped artifact, a path, or an object; a memory may be
      ``"auto"``, the shipped memory of that vision.
    - ``temperature``: τ > 0, the dream's uncertainty: mixture logits are divided by τ, and the
      noise is multiplied by √τ.
    - ``dropout``: whether the memory's dropout stays on, so that every step uses another network.
    - ``max_episode_steps``: agent steps until truncation; no limit if None. ``gymnasium.make``
      takes it for its own ``TimeLimit``, to the same effect.
    - ``observation``: ``"embeddings"``, or ``"codes"`` of a quantized vision: a dictionary of the
      codes, ``MultiDiscrete(T,)``, and of h as ``"memory"``.
    - ``device``: ``"auto"``, ``"cpu"``, ``"cuda"`` …
    - ``render_mode``: ``"rgb_array"`` (the decoded latent, enlarged), ``"human"`` (in a window).

    ## Version History
    - v0: first version.

    Raises:
        ArtifactError: an artifact is missing or damaged, does not fit the others, or the memory has
            no start states.
        ValueError: an argument is not as described.

    Example:
        >>> import gymnasium as gym
        >>> import wmrl
        >>> env = gym.make("vsg/CarRacingDream-v0", temperature=1.15, device="cpu")
        >>> observation, info = env.reset(seed=0)
        >>> observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
        >>> observation.shape, truncated
        ((288,), False)
        >>> env.close()
    """

    metadata: dict[str, Any] = {"render_modes": ["human", "rgb_array"]}  # noqa: RUF012
    reset_needed = "step: no dream is running; call reset() first"

    def __init__(
        self,
        *,
        task: Task | str = "car-racing",
        vision: Vision | str | Path = "car-racing-vae",
        memory: Memory[Any] | str | Path = "auto",
        temperature: float = 1.0,
        dropout: bool = False,
        max_episode_steps: int | None = None,
        observation: ObservationName = "embeddings",
        device: str | torch.device = "auto",
        render_mode: str | None = None,
    ) -> None:
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
        SingleEnv.__init__(self, self._dreams, render_mode=render_mode, title="wmrl: dream")

    @property
    def world_model(self) -> WorldModel:
        """Task, vision and memory."""
        return self._dreams.world_model

    @property
    def state(self) -> DreamState:
        """Current state of the dream, a batch of one.

        Raises:
            ResetNeeded: there was no reset yet.
        """
        return self._dreams.state

    def check_action(self, action: np.ndarray) -> np.ndarray:
        """Returns an action ``(A,) float32`` clipped to the action space.

        Raises:
            ValueError: the shape is another, or a number is NaN.
        """
        return self.world_model.clip(action, ())
