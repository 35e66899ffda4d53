"""Small videos of agents in the real game."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from toy_game import STEERED

from wmrl.agents.controller import ControllerAgent, ControllerConfig
from wmrl.envs.latent.env import LatentEnv
from wmrl.envs.rendering.panels import Panel, PanelDrawer
from wmrl.envs.world_model import WorldModel
from wmrl.scripts.reproduce.driver_videos import (
    DriverVideoConfig,
    write_driver_video,
    write_drivers_video,
)


@pytest.fixture(scope="module", params=["memory", "vision alone"])
def world_model(request: pytest.FixtureRequest, make_tiny: Any) -> WorldModel:
    tiny = make_tiny(STEERED)
    memory = tiny.memory if request.param == "memory" else None
    return WorldModel.open(STEERED, tiny.vision, memory, device="cpu")


def driver(world_model: WorldModel, push: float = 0.0) -> ControllerAgent:
    """Random weights; ``push`` is added to the first action."""
    config = ControllerConfig.for_spaces(world_model.observation_space, world_model.action_space)
    weights = np.random.default_rng(1).normal(0, 0.3, config.parameter_count)
    weights[-2] += push
    return ControllerAgent(config, weights)


def played(
    world_model: WorldModel, seed: int, agent: ControllerAgent
) -> tuple[list[float], list[np.ndarray]]:
    """The oracle: rewards of an episode, and the rendered game after each agent step."""
    env = LatentEnv(
        task=world_model.task,
        vision=world_model.vision,
        memory=world_model.memory,
        render_mode="rgb_array",
    )
    observation, _ = env.reset(seed=seed)
    rewards, images, over = [], [], False
    while not over:
        observation, reward, terminated, truncated, _ = env.step(agent.predict(observation)[0])
        rewards.append(float(reward))
        images.append(env.render())
        over = terminated or truncated
    env.close()
    return rewards, images


def frames(path: Path) -> tuple[float, list[np.ndarray]]:
    """Frames a second, and the frames in RGB."""
    video = cv2.VideoCapture(str(path))
    found = []
    while (got := video.read())[0]:
        found.append(got[1][:, :, ::-1])
    fps = video.get(cv2.CAP_PROP_FPS)
    video.release()
    return fps, found


@pytest.mark.parametrize("agent_steps", [5, 1000])
def test_each_agent_step_is_a_frame_of_the_game(
    world_model: WorldModel, agent_steps: int, tmp_path: Path
) -> None:
    config = DriverVideoConfig(seed=3, agent_steps=agent_steps, width=40, crf=0)
    agent = driver(world_model)
    returned = write_driver_video(
        agent, tmp_path / "deep" / "video.mp4", world_model=world_model, config=config
    )
    rewards, images = played(world_model, 3, agent)
    count = min(agent_steps, len(rewards))
    assert returned == pytest.approx(sum(rewards[:count]))
    fps, shown = frames(tmp_path / "deep" / "video.mp4")
    assert len(shown) == count
    assert fps == pytest.approx(2 * STEERED.fps / STEERED.frame_skip, rel=1e-3)
    for frame, image in zip(shown, images, strict=False):
        assert frame.shape == (48, 40, 3)  # the game's images are 24 × 20
        expected = cv2.resize(image, (40, 48), interpolation=cv2.INTER_AREA)
        assert np.abs(frame.astype(int) - expected).mean() < 12


def test_an_episode_that_ends_early_ends_its_video(world_model: WorldModel, tmp_path: Path) -> None:
    agent = driver(world_model, push=9.0)  # leaves the track at once
    rewards, _ = played(world_model, 0, agent)
    assert len(rewards) < STEERED.max_frames // STEERED.frame_skip
    write_driver_video(
        agent, tmp_path / "video.mp4", world_model=world_model, config=DriverVideoConfig(width=20)
    )
    assert len(frames(tmp_path / "video.mp4")[1]) == len(rewards)


def test_videos_are_the_same_for_a_seed(world_model: WorldModel, tmp_path: Path) -> None:
    files = []
    for number, seed in enumerate((1, 1, 2)):
        files.append(tmp_path / f"{number}.mp4")
        config = DriverVideoConfig(seed=seed, agent_steps=4, width=20)
        write_driver_video(driver(world_model), files[-1], world_model=world_model, config=config)
    first, same, other = (file.read_bytes() for file in files)
    assert first == same != other


def test_speed_and_coarseness(world_model: WorldModel, tmp_path: Path) -> None:
    for name, options in (("fine", {"crf": 1}), ("coarse", {"crf": 45}), ("slow", {"speed": 0.5})):
        config = DriverVideoConfig(agent_steps=8, width=100, **options)  # type: ignore[arg-type]
        write_driver_video(
            driver(world_model), tmp_path / f"{name}.mp4", world_model=world_model, config=config
        )
    sizes = {file.stem: file.stat().st_size for file in tmp_path.iterdir()}
    assert sizes["coarse"] < 0.8 * sizes["fine"]
    assert frames(tmp_path / "slow.mp4")[0] == pytest.approx(STEERED.fps / 3 / 2, rel=1e-3)


def test_errors(world_model: WorldModel, tmp_path: Path) -> None:
    for name in ("agent_steps", "width"):
        with pytest.raises(ValueError, match=f"{name}: expected at least 1, got 0"):
            DriverVideoConfig(**{name: 0})
    with pytest.raises(ValueError, match=r"speed: expected above 0, got 0\.0"):
        DriverVideoConfig(speed=0.0)
    with pytest.raises(ValueError, match="crf: expected at most 51, got 52"):
        write_driver_video(
            driver(world_model),
            tmp_path / "a.mp4",
            world_model=world_model,
            config=DriverVideoConfig(crf=52),
        )
    with pytest.raises(ValueError, match=r"path: expected a name ending in \.mp4, \.gif or \.webp"):
        write_driver_video(driver(world_model), tmp_path / "video.mov", world_model=world_model)
    assert list(tmp_path.iterdir()) == []


def test_drivers_side_by_side(world_model: WorldModel, tmp_path: Path) -> None:
    """Each panel shows its agent's video; one whose episode is over is dimmed."""
    config = DriverVideoConfig(seed=3, agent_steps=12, width=80, crf=0)
    agents = {"calm": driver(world_model), "other": driver(world_model, push=0.5)}
    returned = write_drivers_video(
        agents, tmp_path / "both.mp4", world_model=world_model, config=config
    )
    alone = {
        name: write_driver_video(
            agent, tmp_path / f"{name}.mp4", world_model=world_model, config=config
        )
        for name, agent in agents.items()
    }
    assert returned == alone
    assert returned["calm"] != returned["other"]
    _, both = frames(tmp_path / "both.mp4")
    singles = {name: frames(tmp_path / f"{name}.mp4")[1] for name in agents}
    assert len(both) == max(len(each) for each in singles.values())
    drawer = PanelDrawer(width=80, height=60, text_size=14, gap=8)
    blank = [Panel(label="", image=np.zeros((1, 1, 3), np.uint8))] * 2
    height, width = drawer.draw(blank).shape[:2]
    assert both[0].shape == (height, width, 3)
    last = both[-1][: height // 2].astype(float)
    for left in (8, 8 + 80 + 8):
        assert last[40:, left : left + 80].std() > 1
    with pytest.raises(ValueError, match="agents: expected at least one"):
        write_drivers_video({}, tmp_path / "none.mp4", world_model=world_model)


def test_a_panel_whose_episode_is_over_is_dimmed(make_tiny: Any, tmp_path: Path) -> None:
    tiny = make_tiny(STEERED)
    world_model = WorldModel.open(STEERED, tiny.vision, tiny.memory, device="cpu")
    lengths = {
        push: len(played(world_model, 3, driver(world_model, push))[0]) for push in (-2.0, 0.0, 2.0)
    }
    if len(set(lengths.values())) == 1:
        pytest.fail(f"no episode ends before another: {lengths}")
    agents = {str(push): driver(world_model, push) for push in lengths}
    config = DriverVideoConfig(seed=3, agent_steps=1000, width=80, crf=0)
    write_drivers_video(agents, tmp_path / "video.mp4", world_model=world_model, config=config)
    _, shown = frames(tmp_path / "video.mp4")
    assert len(shown) == max(lengths.values())
    first = min(lengths, key=lambda push: lengths[push])
    left = 8 + 88 * list(lengths).index(first)
    at = lengths[first]
    before, after = (each[30:80, left : left + 80].std() for each in shown[at - 1 : at + 1])
    assert after < 0.5 * before
