"""Dream environment: a memory model simulates a game."""

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
    """Dream environment, in which a memory model simulates a game.

    ## Description
    Dreams are described in World Models (https://arxiv.org/abs/1803.10122). Given a latent and an
    action, the memory predicts the expected reward, a distribution of the next latent, and the
    probability of termination. The next latent and the termination are then sampled. The game
    itself does not run. An agent that was trained in a dream can act in the real game, because
    :class:`~wmrl.envs.latent.env.LatentEnv` has the same spaces.

    ## Action Space
    The task's action space. For CarRacing, ``Box(2,)`` float32: an action is (steer, pedal) in
    [−1, 1]. Positive values of the pedal are gas, negative values are brake. Actions are clipped to
    this space.

    ## Observation Space
    ``Box(Z + H,)`` float32: the latent z and the memory's hidden state h. With an MDN-RNN whose
    configuration has ``features="cell_and_hidden"``, ``Box(Z + 2H,)`` float32: z, the cell state c,
    and h. The argument ``observation`` selects another format.

    ## Rewards
    The memory's prediction of the task's reward for one agent step.

    ## Starting State
    One of the memory's start states, drawn at random. A start state is a recorded sequence of
    latents and actions from the real game. The memory runs over this sequence to initialize h, and
    the dream starts at the last latent. Options of ``reset`` select another start:

    - ``"start"``: index of a start state.
    - ``"state"``: a :class:`~wmrl.dream.DreamState` of batch size 1, from which the dream
      continues, for example :attr:`LatentEnv.state <wmrl.envs.latent.env.LatentEnv.state>`.
    - ``"frames"``: ``(T + 1, H, W, C) uint8``, successive frames of the task, one per agent step.
      The vision model encodes the frames, the memory runs over the latents and the actions between
      them, and the dream starts at the last frame, in the same state as
      :class:`~wmrl.envs.latent.env.LatentEnv` after these frames.
    - ``"actions"``: ``(T, …)``, the actions between the frames, in the action space. They may be
      left out if there is only one frame.

    Only one of ``"start"``, ``"state"`` and ``"frames"`` may be given. Options hold for one reset:
    the next one without options draws a start state again.

    ## Episode End
    In each step, termination is drawn from the memory's prediction. A dream is truncated after
    ``max_episode_steps`` agent steps, which are 250 in ``vsg/CarRacingDream-v0``.

    ## Arguments
    - ``task``: a :class:`~wmrl.envs.tasks.task.Task`, or its name or location, or the id of an
      environment (see :func:`~wmrl.envs.tasks.registry.find_task`).
    - ``vision``: a vision model, the path of its artifact, or the name of a shipped artifact.
    - ``memory``: a memory model, the path of its artifact, or the name of a shipped artifact;
      ``"auto"`` for the shipped memory that was trained on the vision model.
    - ``temperature``: τ > 0, which controls the uncertainty of the dream: logits are divided by τ,
      and Gaussian noise is multiplied by √τ.
    - ``dropout``: True to apply the memory's dropout, with a new random mask in each step.
    - ``max_episode_steps``: maximum number of agent steps per episode; no limit if None. In an
      environment from ``gymnasium.make``, Gymnasium's ``TimeLimit`` wrapper enforces this limit,
      with the same effect.
    - ``observation``: ``"embeddings"`` or ``"codes"``. ``"embeddings"`` returns z and h as one
      vector. ``"codes"`` requires a VQ-VAE as vision model, and returns a dictionary: ``"codes"``
      contains the T discrete codes of a frame, ``(T,) int64``, and ``"memory"`` contains h.
    - ``device``: device of the models, such as ``"auto"``, ``"cpu"`` or ``"cuda"``.
    - ``render_mode``: ``"rgb_array"`` to return the decoded latent as an enlarged image;
      ``"human"`` to show this image in a window.

    ## Version History
    - v0: first version.

    Raises:
        ArtifactError: an artifact is missing or damaged, the models and the task do not fit
            together, or the memory has no start states.
        ValueError: an argument is invalid.

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

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Starts a dream.

        Raises:
            ValueError: ``seed`` is not an integer of at least 0, or an option is invalid.
        """
        # Without an axis for dreams, as in the options of one of several dreams.
        return super().reset(seed=seed, options=options and [options])  # type: ignore[arg-type]

    @property
    def world_model(self) -> WorldModel:
        """World model of the dream: task, vision model and memory model."""
        return self._dreams.world_model

    @property
    def state(self) -> DreamState:
        """Current state of the dream, as a batch of one.

        Raises:
            ResetNeeded: the environment has not been reset.
        """
        return self._dreams.state

    def check_action(self, action: np.ndarray) -> np.ndarray:
        """Checks an action, and clips a continuous action to the action space.

        Raises:
            ValueError: the action has the wrong shape, contains NaN or infinity, or is a discrete
                action that does not exist.
        """
        return self.world_model.check_actions(action, ())
