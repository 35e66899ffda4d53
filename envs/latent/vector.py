"""Real games seen through a learned eye, as one batched environment."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from wmrl.dream import DreamState
from wmrl.envs.autoreset import final_observations, reset_mask, step_limit
from wmrl.envs.frames.vector import FrameVectorEnv
from wmrl.envs.latent.tracker import Gaze
from wmrl.envs.observations import View, ViewName
from wmrl.envs.rendering.window import checked_render_mode
from wmrl.envs.tasks.task import Task
from wmrl.envs.world_model import Eye
from wmrl.memory.base import Memory
from wmrl.vision.base import Vision


class LatentVectorEnv(VectorEnv[Any, np.ndarray, np.ndarray]):
    """N real games over worker processes, seen through one eye.

    ## Description
    What :class:`~wmrl.envs.latent.env.LatentEnv` is, N times: workers step the games, and this
    process encodes all frames as one batch, so results are the same for any number of workers.

    ## Action Space
    ``Box(N, A)`` float32, N actions of the task.

    ## Observation Space
    ``Box(N, Z)`` float32, or ``Box(N, Z + H)`` with a memory.

    ## Rewards
    The base's, summed over the frames of a decision.

    ## Starting State
    The base's. ``reset(seed=s)`` seeds the games by s, s + 1, …; a sequence seeds each. Options:
    ``"reset_mask"``, ``(N,) bool``, the games to reset; others go to the base.

    ## Episode End
    As :class:`~wmrl.envs.latent.env.LatentEnv`, also after ``max_episode_steps`` decisions. With
    ``autoreset_mode`` DISABLED a game that is over idles until a reset names it.

    ## Arguments
    - ``num_envs``: N.
    - ``workers``: worker processes; None for one a core, 0 to step the games in this process.
    - ``autoreset_mode``: one of Gymnasium's three.
    - ``max_episode_steps``: decisions until truncation, besides the task's own limit.
    - ``render_mode``: ``"rgb_array"`` or None.
    - The others are those of :class:`~wmrl.envs.latent.env.LatentEnv`.

    ## Version History
    - v0: first version.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 -- Gymnasium's own attribute
        "render_modes": ["rgb_array"],
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }

    def __init__(
        self,
        num_envs: int = 1,
        *,
        task: Task | str = "car-racing",
        vision: Vision | str | Path = "car-racing-vae",
        memory: Memory[Any] | str | Path | None = "auto",
        base: str | None = None,
        frame_skip: int | None = None,
        max_episode_steps: int | None = None,
        workers: int | None = None,
        observation: ViewName = "embeddings",
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        device: str | torch.device = "auto",
        render_mode: str | None = None,
    ) -> None:
        self.render_mode = checked_render_mode(render_mode, self.metadata)
        self.closed = True  # until there is something to close
        self.eye = Eye.open(task, vision, memory, frame_skip=frame_skip, device=device)
        self._mode = AutoresetMode(autoreset_mode)
        limit = step_limit(max_episode_steps) * self.eye.frame_skip
        self._games = FrameVectorEnv(
            num_envs,
            task=self.eye.task,
            base=base,
            frame_skip=self.eye.frame_skip,
            max_frames=int(min(limit, self.eye.task.max_frames)),
            workers=workers,
            autoreset_mode=self._mode,
            render_mode=render_mode,
        )
        self.closed = False
        self._gaze = Gaze(self.eye, num_envs)
        self._view = View(self.eye, observation)
        self.num_envs = num_envs
        self.metadata = {
            **self.metadata,
            "autoreset_mode": self._mode,
            "render_fps": self._games.metadata["render_fps"],
        }
        self.single_observation_space = self._view.space
        self.single_action_space = self.eye.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._ended = np.ones(num_envs, dtype=np.bool_)  # none has begun

    @property
    def frames(self) -> np.ndarray:
        """The frames that were seen last, ``(N, H, W, 3) uint8``."""
        return self._frames

    @property
    def state(self) -> DreamState:
        """Latents and memory, N rows: where dreams could go on from here."""
        return self._gaze.state

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Any, dict[str, Any]]:
        """Starts all games, or those of ``options["reset_mask"]``."""
        self._frames, infos = self._games.reset(seed=seed, options=options)
        mask = reset_mask(options, self.num_envs)
        self._gaze.forget(mask)
        self._ended = self._ended & ~mask
        with self._threads():
            return self._view.many(self._gaze.see(self._frames)), infos

    def step(
        self, actions: np.ndarray
    ) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """One decision in every game."""
        a = self.eye.clip(actions, (self.num_envs,))
        self._frames, rewards, terminated, truncated, infos = self._games.step(a)
        with self._threads():
            observations = self._look(a, terminated | truncated, infos)
        return observations, rewards, terminated, truncated, infos

    def _look(self, actions: np.ndarray, ended: np.ndarray, infos: dict[str, Any]) -> Any:
        """Observations after a step, and in ``infos`` the last ones of episodes that ended."""
        stale, self._ended = self._ended, ended
        self._gaze.act(actions, idle=stale)
        if self._mode is AutoresetMode.NEXT_STEP and stale.any():
            self._gaze.forget(stale)
        elif self._mode is AutoresetMode.SAME_STEP and ended.any():
            rows = np.flatnonzero(ended)
            final = self._gaze.glance(np.stack(infos["final_obs"][rows]), rows)
            infos["final_obs"] = final_observations(self._view.rows(final), ended)
            self._gaze.forget(ended)
            self._ended = np.zeros_like(ended)
        return self._view.many(self._gaze.see(self._frames))

    def _threads(self) -> AbstractContextManager[None]:
        """One thread to encode on, where workers want the cores.

        Torch's other threads stay awake for a while after each batch, and the games that step
        meanwhile lose more than the batch gained (two cores, 16 games: 1,900 against 2,600
        decisions a second).
        """
        crowded = self._games.workers > 0 and self.eye.device.type == "cpu"
        return _one_thread() if crowded else nullcontext()

    def render(self) -> tuple[np.ndarray, ...] | None:
        """The real frames, N of them, or None without a render mode."""
        return None if self.render_mode is None else self._games.render()

    def close_extras(self, **kwargs: Any) -> None:
        """Ends the workers."""
        self._games.close(**kwargs)


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
