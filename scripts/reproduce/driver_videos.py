"""Videos of agents that play the real game, alone or side by side."""

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path

import cv2
import numpy as np

from wmrl.agents.agent import Agent, State
from wmrl.core.config import check_fields
from wmrl.core.validation import check_float, check_int
from wmrl.envs.latent.env import LatentEnv
from wmrl.envs.rendering.panels import Panel, PanelDrawer
from wmrl.envs.rendering.video import write_video
from wmrl.envs.world_model import WorldModel


@dataclass(frozen=True, kw_only=True)
class DriverVideoConfig:
    """Configuration of a video of one or more agents.

    Attributes:
        seed: seed of the episode, the same for all agents.
        agent_steps: maximum length of the video in agent steps. The video is shorter if all
            episodes end earlier.
        width: width of each agent's image in pixels.
        speed: speed of the video relative to the game; 2 for twice as fast.
        crf: constant rate factor, as in :func:`~wmrl.envs.rendering.video.write_video`.
    """

    seed: int = 0
    agent_steps: int = 150
    width: int = 240
    speed: float = 2.0
    crf: int = 32

    def __post_init__(self) -> None:
        check_fields(self)
        check_int("agent_steps", self.agent_steps, at_least=1)
        check_int("width", self.width, at_least=1)
        check_float("speed", self.speed, above=0)
        check_int("crf", self.crf, at_least=0, at_most=63)


def write_driver_video(
    agent: Agent,
    path: str | Path,
    *,
    world_model: WorldModel,
    config: DriverVideoConfig | None = None,
) -> float:
    """Writes a video of an agent in the real game.

    Args:
        agent: agent that plays the game.
        path: path of the video, which ends in ``.mp4``, ``.gif`` or ``.webp``.
        world_model: world model of the agent.
        config: configuration of the video; the defaults if None.

    Returns:
        The agent's return up to the end of the video.
    """
    config = config or DriverVideoConfig()
    total = 0.0

    def frames() -> Iterator[np.ndarray]:
        nonlocal total
        for image, total in _play(agent, world_model, config):  # noqa: B007 - is returned below
            yield _resized(image, config.width)

    write_video(path, frames(), fps=world_model.fps * config.speed, crf=config.crf)
    return total


def write_drivers_video(
    agents: Mapping[str, Agent],
    path: str | Path,
    *,
    world_model: WorldModel,
    config: DriverVideoConfig | None = None,
) -> dict[str, float]:
    """Writes a video of several agents in the real game, side by side.

    All agents play with the same seed. If the episode of an agent ends before the video, the panel
    of that agent is dimmed from then on.

    Args:
        agents: agents, keyed by the labels of their panels.
        path: path of the video, which ends in ``.mp4``, ``.gif`` or ``.webp``.
        world_model: world model of the agents.
        config: configuration of the video; the defaults if None.

    Returns:
        The return of each agent up to the end of the video, keyed by label.

    Raises:
        ValueError: there are no agents.
    """
    if not agents:
        raise ValueError("agents: expected at least one agent, got none")
    config = config or DriverVideoConfig()
    drawer = PanelDrawer(width=config.width, height=round(0.75 * config.width), text_size=14, gap=8)
    panels = dict.fromkeys(agents, Panel(label="", image=np.zeros((1, 1, 3), np.uint8)))
    returns = dict.fromkeys(agents, 0.0)

    def frames() -> Iterator[np.ndarray]:
        plays = [_play(agent, world_model, config) for agent in agents.values()]
        for moments in zip_longest(*plays):
            for label, moment in zip(agents, moments, strict=True):
                if moment is None:
                    panels[label] = replace(panels[label], dimmed=True)
                    continue
                image, returns[label] = moment
                metrics = [("return", f"{returns[label]:.0f}")]
                panels[label] = Panel(label=label, image=image, metrics=metrics)
            yield drawer.draw(list(panels.values()))

    write_video(path, frames(), fps=world_model.fps * config.speed, crf=config.crf)
    return returns


def _play(
    agent: Agent, world_model: WorldModel, config: DriverVideoConfig
) -> Iterator[tuple[np.ndarray, float]]:
    """Plays an episode; after each agent step, yields the rendered frame and the return so far."""
    env = LatentEnv(
        task=world_model.task,
        vision=world_model.vision,
        memory=world_model.memory,
        frame_skip=world_model.frame_skip,
        render_mode="rgb_array",
    )
    total = 0.0
    with closing(env):
        observation, _ = env.reset(seed=config.seed)
        state: State | None = None
        for _ in range(config.agent_steps):
            action, state = agent.predict(observation, state, deterministic=True)
            observation, reward, terminated, truncated, _ = env.step(action)
            total += float(reward)
            yield env.render(), total
            if terminated or truncated:
                return


def _resized(image: np.ndarray, width: int) -> np.ndarray:
    height = round(image.shape[0] * width / image.shape[1])
    resized: np.ndarray = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return resized
