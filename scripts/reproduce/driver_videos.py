"""Short films of drivers in the real game, and of nothing else: small enough to have many."""

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path

import cv2
import numpy as np

from wmrl.agents.agent import Agent, State
from wmrl.envs.latent.env import LatentEnv
from wmrl.envs.rendering.panels import Panel, PanelDrawer
from wmrl.envs.rendering.video import write_video
from wmrl.envs.world_model import Eye


@dataclass(frozen=True, kw_only=True)
class DriveFilmConfig:
    """What is filmed.

    Attributes:
        seed: of the episode.
        decisions: most decisions to film.
        width: pixels of the picture from left to right.
        speed: how many times faster than the game's own speed the film plays.
        crf: see :func:`~wmrl.envs.rendering.video.write_video`.
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
        for picture, earned in _drive(agent, eye, config):  # noqa: B007  # its last value is kept
            yield _shrunk(picture, config.width)

    write_video(path, frames(), fps=eye.fps * config.speed, crf=config.crf)
    return earned


def film_drivers(
    agents: Mapping[str, Agent],
    path: str | Path,
    *,
    eye: Eye,
    config: DriveFilmConfig | None = None,
) -> dict[str, float]:
    """Films agents side by side in the same episode, each until it ends for it.

    Args:
        agents: who drives, by the labels of their panels.
        path: an ``.mp4`` file.
        eye: what they look through.
        config: what is filmed; ``width`` is that of each panel.

    Returns:
        What each earned.

    Raises:
        ValueError: there are no agents.
    """
    if not agents:
        raise ValueError("agents: expected at least one, got none")
    config = config or DriveFilmConfig()
    drawer = PanelDrawer(width=config.width, height=round(0.75 * config.width), text_size=14, gap=8)
    shown = dict.fromkeys(agents, Panel(label="", picture=np.zeros((1, 1, 3), np.uint8)))
    earned = dict.fromkeys(agents, 0.0)

    def frames() -> Iterator[np.ndarray]:
        drives = [_drive(agent, eye, config) for agent in agents.values()]
        for moments in zip_longest(*drives):
            for label, moment in zip(agents, moments, strict=True):
                if moment is None:
                    shown[label] = replace(shown[label], dimmed=True)
                    continue
                picture, earned[label] = moment
                figures = [("return", f"{earned[label]:.0f}")]
                shown[label] = Panel(label=label, picture=picture, figures=figures)
            yield drawer.draw(list(shown.values()))

    write_video(path, frames(), fps=eye.fps * config.speed, crf=config.crf)
    return earned


def _drive(agent: Agent, eye: Eye, config: DriveFilmConfig) -> Iterator[tuple[np.ndarray, float]]:
    """What the game shows after each decision, and the return so far."""
    env = LatentEnv(
        task=eye.task,
        vision=eye.vision,
        memory=eye.memory,
        frame_skip=eye.frame_skip,
        render_mode="rgb_array",
    )
    earned = 0.0
    with closing(env):
        observation, _ = env.reset(seed=config.seed)
        state: State | None = None
        for _ in range(config.decisions):
            action, state = agent.predict(observation, state, deterministic=True)
            observation, reward, terminated, truncated, _ = env.step(action)
            earned += float(reward)
            yield env.render(), earned
            if terminated or truncated:
                return


def _shrunk(picture: np.ndarray, width: int) -> np.ndarray:
    height = round(picture.shape[0] * width / picture.shape[1])
    shrunk: np.ndarray = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    return shrunk
