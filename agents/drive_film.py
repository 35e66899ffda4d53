"""A short film of a driver in the real game, and of nothing else: small enough to have many."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from wmrl.agents.agent import Agent, State
from wmrl.envs.eye import Eye
from wmrl.envs.latent import LatentEnv
from wmrl.envs.video import write_video


@dataclass(frozen=True, kw_only=True)
class DriveFilmConfig:
    """What is filmed.

    Attributes:
        seed: of the episode.
        decisions: most decisions to film.
        width: pixels of the picture from left to right.
        speed: how many times faster than the game's own speed the film plays.
        crf: see :func:`~wmrl.envs.video.write_video`.
    """

    seed: int = 0
    decisions: int = 150
    width: int = 240
    speed: float = 2.0
    crf: int = 32

    def __post_init__(self) -> None:
        for name in ("decisions", "width"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if not self.speed > 0:
            raise ValueError(f"speed: expected above 0, got {self.speed}")


def film_drive(
    agent: Agent, path: str | Path, *, eye: Eye, config: DriveFilmConfig | None = None
) -> float:
    """Films an agent in the real game and returns the sum of what it earned.

    Args:
        agent: who drives.
        path: an ``.mp4`` file.
        eye: what it looks through.
        config: what is filmed.
    """
    config = config or DriveFilmConfig()
    earned = 0.0

    def frames() -> Iterator[np.ndarray]:
        nonlocal earned
        env = LatentEnv(
            task=eye.task,
            vision=eye.vision,
            memory=eye.memory,
            frame_skip=eye.frame_skip,
            render_mode="rgb_array",
        )
        try:
            observation, _ = env.reset(seed=config.seed)
            state: State | None = None
            for _ in range(config.decisions):
                action, state = agent.predict(observation, state, deterministic=True)
                observation, reward, terminated, truncated, _ = env.step(action)
                earned += reward
                yield _shrunk(env.render(), config.width)
                if terminated or truncated:
                    return
        finally:
            env.close()

    write_video(path, frames(), fps=eye.fps * config.speed, crf=config.crf)
    return earned


def _shrunk(picture: np.ndarray, width: int) -> np.ndarray:
    height = round(picture.shape[0] * width / picture.shape[1])
    shrunk: np.ndarray = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    return shrunk
