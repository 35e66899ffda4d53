"""Latent environment: a real game that is observed through a world model."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import torch
from gymnasium.utils import EzPickle

from wmrl.core.validation import check_seed
from wmrl.envs.frames.env import FrameEnv
from wmrl.envs.latent.game import LatentGame, PlaysLatentGame
from wmrl.envs.observations import ObservationName
from wmrl.envs.rendering.window import check_render_mode
from wmrl.envs.specs import SpecNamesModels
from wmrl.envs.tasks.task import Task
from wmrl.envs.world_model import WorldModel
from wmrl.memory.base import Memory
from wmrl.vision.base import Vision


class LatentEnv(SpecNamesModels, PlaysLatentGame, gym.Env[Any, Any], EzPickle):
    """Latent environment: a real game, observed through a vision model and a memory model.

    ## Description
    The environment follows World Models (https://arxiv.org/abs/1803.10122): the vision model
    encodes each frame to a latent z, and the memory model summarizes past latents and actions in a
    hidden state h. An agent observes only z and h. The game itself is the base environment, and its
    frames are called base frames. One step, called an agent step, repeats an action for
    ``frame_skip`` base frames.

    ## Action Space
    The task's action space. For CarRacing, ``Box(2,)`` float32: an action is (steer, pedal) in
    [−1, 1]. Positive values of the pedal are gas, negative values are brake. Actions are clipped to
    this space.

    ## Observation Space
    ``Box(Z + H,)`` float32: the latent z_t and the hidden state h_t, where h_t depends on all
    latents and actions before t. With an MDN-RNN whose configuration has
    ``features="cell_and_hidden"``, ``Box(Z + 2H,)`` float32: z_t, the cell state c_t, and h_t.
    Without a memory, ``Box(Z,)`` float32: only z_t. The argument ``observation`` selects another
    format.

    ## Rewards
    The sum of the base environment's rewards over the frames of an agent step.

    ## Starting State
    The starting state of the base environment, to which the seed and the options are passed. All
    entries of h are 0.

    ## Episode End
    Terminates when the base environment terminates. Truncates when the base environment truncates,
    or after the task's ``max_frames`` base frames. For CarRacing, this limit is 1000
    base frames, which are 250 agent steps of 4 base frames.

    ## Arguments
    - ``task``: a :class:`~wmrl.envs.tasks.task.Task`, or its name or location, or the id of an
      environment (see :func:`~wmrl.envs.tasks.registry.find_task`).
    - ``vision``: a vision model, the path of its artifact, or the name of a shipped artifact.
    - ``memory``: a memory model that was trained on this vision model, the path of its artifact, or
      the name of a shipped artifact; ``"auto"`` for the shipped memory that was trained on the
      vision model; None to observe only z.
    - ``base``: id of a base environment to use instead of the task's. For example, CarRacing uses
      ``vsg/CarRacing-v3`` by default; ``CarRacing-v3`` selects Gymnasium's slower environment.
    - ``frame_skip``: number of base frames per agent step. If None, the frame skip of the memory
      or, without a memory, of the task.
    - ``observation``: ``"embeddings"`` or ``"codes"``. ``"embeddings"`` returns z and h as one
      vector. ``"codes"`` requires a VQ-VAE as vision model, and returns the T discrete codes of a
      frame, ``(T,) int64``. With a memory, ``"codes"`` returns a dictionary in which ``"codes"``
      contains these codes and ``"memory"`` contains h.
    - ``device``: device of the models, such as ``"auto"``, ``"cpu"`` or ``"cuda"``.
    - ``render_mode``: ``"rgb_array"`` or ``"human"``; both show the real game.

    ## Version History
    - v0: first version.

    Raises:
        ArtifactError: an artifact is missing or damaged, or the models and the task do not fit
            together.
        ValueError: an argument is invalid.

    Example:
        >>> import gymnasium as gym
        >>> import wmrl
        >>> env = gym.make("vsg/CarRacingLatent-v0", device="cpu")
        >>> observation, info = env.reset(seed=0)
        >>> observation.shape
        (288,)
        >>> observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
        >>> info["frames"]
        4
        >>> env.close()
    """

    metadata: dict[str, Any] = {"render_modes": ["human", "rgb_array"]}  # noqa: RUF012

    def __init__(
        self,
        *,
        task: Task | str = "car-racing",
        vision: Vision | str | Path = "car-racing-vae",
        memory: Memory[Any] | str | Path | None = "auto",
        base: str | None = None,
        frame_skip: int | None = None,
        observation: ObservationName = "embeddings",
        device: str | torch.device = "auto",
        render_mode: str | None = None,
    ) -> None:
        self.render_mode = check_render_mode(render_mode, self.metadata)
        EzPickle.__init__(
            self,
            task=task,
            vision=vision,
            memory=memory,
            base=base,
            frame_skip=frame_skip,
            observation=observation,
            device=device,
            render_mode=render_mode,
        )
        world_model = WorldModel.open(task, vision, memory, frame_skip=frame_skip, device=device)
        game = FrameEnv(
            world_model.task,
            base=base,
            frame_skip=world_model.frame_skip,
            render_mode=render_mode,
        )
        self._game = LatentGame(game, world_model, observation)
        self.observation_space = self._game.observation_space
        self.action_space = self._game.action_space
        self.metadata = {**self.metadata, "render_fps": self._game.fps}

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Starts an episode."""
        seed = None if seed is None else check_seed("seed", seed)
        super().reset(seed=seed)
        return self._game.reset(seed=seed, options=options)

    def render(self) -> Any:
        """Renders the base environment."""
        return self._game.render()

    def close(self) -> None:
        """Closes the base environment."""
        self._game.close()
