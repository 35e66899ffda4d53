"""Environment of a real game that is observed through a world model."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.utils import EzPickle

from wmrl.dream import DreamState
from wmrl.envs.frames.env import FrameEnv
from wmrl.envs.latent.tracker import LatentTracker
from wmrl.envs.observations import ObservationFormat, ObservationName
from wmrl.envs.rendering.window import check_render_mode
from wmrl.envs.tasks.task import Task
from wmrl.envs.world_model import WorldModel
from wmrl.memory.base import Memory
from wmrl.vision.base import Vision


class LatentEnv(gym.Env[Any, np.ndarray], EzPickle):
    """Real game, observed through a vision and a memory.

    ## Description
    World Models (https://arxiv.org/abs/1803.10122): each frame is encoded to a latent z, and a
    recurrent memory summarizes past latents and actions. A controller needs only these few numbers.
    A step is one agent step, which lasts ``frame_skip`` base frames.

    ## Action Space
    ``Box(A,)`` float32, the task's; for CarRacing steer and pedal (+ gas, − brake) in [−1, 1].
    Actions outside are clipped.

    ## Observation Space
    ``Box(Z,)`` float32, the latent z; with a memory ``Box(Z + H,)``, z_t and the hidden state h_t,
    which depends on all latents and actions before t. See also ``observation`` below.

    ## Rewards
    The base environment's, summed over the frames of an agent step.

    ## Starting State
    The base environment's; h is zeros. ``seed`` and ``options`` of ``reset`` are passed to it.

    ## Episode End
    Terminated when the base environment is; truncated after the task's ``max_frames`` base frames
    (CarRacing: 1000, which are 250 agent steps of 4 frames).

    ## Arguments
    - ``task``: a :class:`~wmrl.envs.tasks.task.Task` or its name.
    - ``vision``: the name of a shipped artifact, a path, or an object.
    - ``memory``: the same, trained on this very vision; ``"auto"`` for the shipped memory of the
      vision, None to observe z alone.
    - ``base``: id of the base environment; None for the task's (``vsg/CarRacing-v3``;
      ``CarRacing-v3`` for Gymnasium's own rendering).
    - ``frame_skip``: base frames of one agent step; None for the memory's, or the task's own
      without a memory.
    - ``observation``: ``"embeddings"``, or ``"codes"`` of a quantized vision:
      ``MultiDiscrete(T,)``, and with a memory a dictionary of the codes and of h as ``"memory"``.
    - ``device``: ``"auto"``, ``"cpu"``, ``"cuda"`` …
    - ``render_mode``: ``"rgb_array"`` or ``"human"``, which show the real game.

    ## Version History
    - v0: first version.

    Raises:
        ArtifactError: an artifact is missing or damaged, or does not fit the others.
        ValueError: an argument is not as described.

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
        self.world_model = WorldModel.open(
            task, vision, memory, frame_skip=frame_skip, device=device
        )
        self._game = FrameEnv(
            self.world_model.task,
            base=base,
            frame_skip=self.world_model.frame_skip,
            render_mode=render_mode,
        )
        self._tracker = LatentTracker(self.world_model, 1)
        self._format = ObservationFormat(self.world_model, observation)
        self.observation_space = self._format.space
        self.action_space = self.world_model.action_space
        self.metadata = {**self.metadata, "render_fps": self._game.metadata["render_fps"]}

    @property
    def frame(self) -> np.ndarray:
        """Latest frame, ``(H, W, 3) uint8``."""
        return self._frame

    @property
    def state(self) -> DreamState:
        """Latent and state of the memory, a batch of one, from which a dream can continue."""
        return self._tracker.state

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Starts an episode."""
        super().reset(seed=seed)
        self._frame, info = self._game.reset(seed=seed, options=options)
        self._tracker.reset(np.ones(1, dtype=np.bool_))
        return self._format.format(self._tracker.observe(self._frame[None])), info

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Advances the game by one agent step."""
        a = self.world_model.clip(action, ())
        self._frame, reward, terminated, truncated, info = self._game.step(a)
        self._tracker.advance(a[None])
        observation = self._format.format(self._tracker.observe(self._frame[None]))
        return observation, reward, terminated, truncated, info

    def render(self) -> Any:
        """Returns what the base environment renders."""
        return self._game.render()

    def close(self) -> None:
        """Closes the base environment."""
        self._game.close()
