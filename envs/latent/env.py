"""A real game seen through a learned eye."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.utils import EzPickle

from wmrl.dream import DreamState
from wmrl.envs.frames.env import FrameEnv
from wmrl.envs.latent.tracker import Gaze
from wmrl.envs.observations import View, ViewName
from wmrl.envs.rendering.window import checked_render_mode
from wmrl.envs.tasks.task import Task
from wmrl.envs.world_model import Eye
from wmrl.memory.base import Memory
from wmrl.vision.base import Vision


class LatentEnv(gym.Env[Any, np.ndarray], EzPickle):
    """A real game, seen through a vision and remembered by a memory.

    ## Description
    World Models (https://arxiv.org/abs/1803.10122): each frame is encoded to a latent z, and a
    recurrent memory follows what is seen and done. A controller needs only these few numbers. A
    step is one decision, which lasts ``frame_skip`` base frames.

    ## Action Space
    ``Box(A,)`` float32, the task's; for CarRacing steer and pedal (+ gas, − brake) in [−1, 1].
    Actions outside are clipped.

    ## Observation Space
    ``Box(Z,)`` float32: the latent z; with a memory ``Box(Z + H,)``: z_t and the hidden state
    h_t, made from all that was seen and done before. See also ``observation`` below.

    ## Rewards
    The base's, summed over the frames of a decision.

    ## Starting State
    The base's; h is zeros. ``seed`` and ``options`` of ``reset`` go to the base.

    ## Episode End
    Terminated when the base is; truncated after the task's ``max_frames`` base frames (CarRacing:
    1000, that is 250 decisions of 4 frames).

    ## Arguments
    - ``task``: a :class:`~wmrl.envs.tasks.task.Task` or its name.
    - ``vision``: the name of a shipped artifact, a path, or an object.
    - ``memory``: the same, trained on this very vision; ``"auto"`` for the shipped one that was,
      None to see z alone.
    - ``base``: id of the base environment; None for the task's (``vsg/CarRacing-v3``, with
      Gymnasium's own drawing ``CarRacing-v3``).
    - ``frame_skip``: base frames a decision lasts; None for what the memory was trained with,
      and without a memory for the task's.
    - ``observation``: ``"embeddings"``, or ``"codes"`` of a quantised vision:
      ``MultiDiscrete(T,)``, and with a memory a dictionary of these and of h as ``"memory"``.
    - ``device``: ``"auto"``, ``"cpu"``, ``"cuda"`` …
    - ``render_mode``: ``"rgb_array"`` or ``"human"``, which show the real game.

    ## Version History
    - v0: first version.
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
            base=base,
            frame_skip=frame_skip,
            observation=observation,
            device=device,
            render_mode=render_mode,
        )
        self.eye = Eye.open(task, vision, memory, frame_skip=frame_skip, device=device)
        self._game = FrameEnv(
            self.eye.task,
            base=base,
            frame_skip=self.eye.frame_skip,
            render_mode=render_mode,
        )
        self._gaze = Gaze(self.eye, 1)
        self._view = View(self.eye, observation)
        self.observation_space = self._view.space
        self.action_space = self.eye.action_space
        self.metadata = {**self.metadata, "render_fps": self._game.metadata["render_fps"]}

    @property
    def frame(self) -> np.ndarray:
        """The frame that was seen last, ``(H, W, 3) uint8``."""
        return self._frame

    @property
    def state(self) -> DreamState:
        """Latent and memory, one row: where a dream could go on from here."""
        return self._gaze.state

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Starts an episode."""
        super().reset(seed=seed)
        self._frame, info = self._game.reset(seed=seed, options=options)
        self._gaze.forget(np.ones(1, dtype=np.bool_))
        return self._view.one(self._gaze.see(self._frame[None])), info

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """One decision."""
        a = self.eye.clip(action, ())
        self._frame, reward, terminated, truncated, info = self._game.step(a)
        self._gaze.act(a[None])
        observation = self._view.one(self._gaze.see(self._frame[None]))
        return observation, reward, terminated, truncated, info

    def render(self) -> Any:
        """What the base renders."""
        return self._game.render()

    def close(self) -> None:
        """Closes the base."""
        self._game.close()
