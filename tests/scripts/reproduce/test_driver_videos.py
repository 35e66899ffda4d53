"""Short films of drivers in the real game."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from toy_game import STEERED

from wmrl.agents.controller import ControllerAgent, ControllerConfig
from wmrl.envs.latent.env import LatentEnv
from wmrl.envs.rendering.panels import Panel, PanelDrawer
from wmrl.envs.world_model import Eye
from wmrl.scripts.reproduce.driver_videos import DriveFilmConfig, film_drive, film_drivers


@pytest.fixture(scope="module", params=["memory", "vision alone"])
def eye(request: pytest.FixtureRequest, make_tiny: Any) -> Eye:
    tiny = make_tiny(STEERED)
    memory = tiny.memory if request.param == "memory" else None
    return Eye.open(STEERED, tiny.vision, memory, device="cpu")


def driver(eye: Eye, push: float = 0.0) -> ControllerAgent:
    """Random weights; ``push`` is what it adds to the first action."""
    config = ControllerConfig.for_spaces(eye.observation_space, eye.action_space)
    weights = np.random.default_rng(1).normal(0, 0.3, config.parameter_count)
    weights[-2] += push
    return ControllerAgent(config, weights)


def played(eye: Eye, seed: int, agent: ControllerAgent) -> tuple[list[float], list[np.ndarray]]:
    """The oracle: rewards of a whole episode, and what the game shows after each decision."""
    env = LatentEnv(task=eye.task, vision=eye.vision, memory=eye.memory, render_mode="rgb_array")
    observation, _ = env.reset(seed=seed)
    rewards, pictures, over = [], [], False
    while not over:
        observation, reward, terminated, truncated, _ = env.step(agent.predict(observation)[0])
        rewards.append(float(reward))
        pictures.append(env.render())
        over = terminated or truncated
    env.close()
    return rewards, pictures


def frames(path: Path) -> tuple[float, list[np.ndarray]]:
    """Frames a second, and the frames in RGB."""
    film = cv2.VideoCapture(str(path))
    found = []
    while (got := film.read())[0]:
        found.append(got[1][:, :, ::-1])
    fps = film.get(cv2.CAP_PROP_FPS)
    film.release()
    return fps, found


@pytest.mark.parametrize("decisions", [5, 1000])
def test_each_decision_is_a_frame_of_the_game(eye: Eye, decisions: int, tmp_path: Path) -> None:
    config = DriveFilmConfig(seed=3, decisions=decisions, width=40, crf=0)
    agent = driver(eye)
    earned = film_drive(agent, tmp_path / "deep" / "film.mp4", eye=eye, config=config)
    rewards, pictures = played(eye, 3, agent)
    count = min(decisions, len(rewards))
    assert earned == pytest.approx(sum(rewards[:count]))
    fps, shown = frames(tmp_path / "deep" / "film.mp4")
    assert len(shown) == count
    assert fps == pytest.approx(2 * STEERED.fps / STEERED.frame_skip, rel=1e-3)
    for frame, picture in zip(shown, pictures, strict=False):
        assert frame.shape == (48, 40, 3)  # the game's pictures are 24 × 20
        expected = cv2.resize(picture, (40, 48), interpolation=cv2.INTER_AREA)
        assert np.abs(frame.astype(int) - expected).mean() < 12


def test_an_episode_that_ends_early_ends_its_film(eye: Eye, tmp_path: Path) -> None:
    agent = driver(eye, push=9.0)  # out of the picture as fast as can be
    rewards, _ = played(eye, 0, agent)
    assert len(rewards) < STEERED.max_frames // STEERED.frame_skip
    film_drive(agent, tmp_path / "film.mp4", eye=eye, config=DriveFilmConfig(width=20))
    assert len(frames(tmp_path / "film.mp4")[1]) == len(rewards)


def test_films_are_the_same_for_a_seed(eye: Eye, tmp_path: Path) -> None:
    files = []
    for number, seed in enumerate((1, 1, 2)):
        files.append(tmp_path / f"{number}.mp4")
        config = DriveFilmConfig(seed=seed, decisions=4, width=20)
        film_drive(driver(eye), files[-1], eye=eye, config=config)
    first, same, other = (file.read_bytes() for file in files)
    assert first == same != other


def test_speed_and_coarseness(eye: Eye, tmp_path: Path) -> None:
    for name, options in (("fine", {"crf": 1}), ("coarse", {"crf": 45}), ("slow", {"speed": 0.5})):
        config = DriveFilmConfig(decisions=8, width=100, **options)  # type: ignore[arg-type]
        film_drive(driver(eye), tmp_path / f"{name}.mp4", eye=eye, config=config)
    sizes = {file.stem: file.stat().st_size for file in tmp_path.iterdir()}
    assert sizes["coarse"] < 0.8 * sizes["fine"]
    assert frames(tmp_path / "slow.mp4")[0] == pytest.approx(STEERED.fps / 3 / 2, rel=1e-3)


def test_errors(eye: Eye, tmp_path: Path) -> None:
    for name in ("decisions", "width"):
        with pytest.raises(ValueError, match=f"{name}: expected at least 1, got 0"):
            DriveFilmConfig(**{name: 0})
    with pytest.raises(ValueError, match=r"speed: expected above 0, got 0\.0"):
        DriveFilmConfig(speed=0.0)
    with pytest.raises(ValueError, match="crf: expected 0 to 51, got 52"):
        film_drive(driver(eye), tmp_path / "a.mp4", eye=eye, config=DriveFilmConfig(crf=52))
    with pytest.raises(ValueError, match=r"path: expected a name ending in \.mp4, \.gif or \.webp"):
        film_drive(driver(eye), tmp_path / "film.mov", eye=eye)
    assert list(tmp_path.iterdir()) == []


def test_drivers_side_by_side(eye: Eye, tmp_path: Path) -> None:
    """Each panel is the film of its driver; one that is over is dimmed, and keeps its return."""
    config = DriveFilmConfig(seed=3, decisions=12, width=80, crf=0)
    agents = {"calm": driver(eye), "other": driver(eye, push=0.5)}
    earned = film_drivers(agents, tmp_path / "both.mp4", eye=eye, config=config)
    alone = {
        name: film_drive(agent, tmp_path / f"{name}.mp4", eye=eye, config=config)
        for name, agent in agents.items()
    }
    assert earned == alone
    assert earned["calm"] != earned["other"]
    _, both = frames(tmp_path / "both.mp4")
    singles = {name: frames(tmp_path / f"{name}.mp4")[1] for name in agents}
    assert len(both) == max(len(each) for each in singles.values())
    drawer = PanelDrawer(width=80, height=60, text_size=14, gap=8)
    blank = [Panel(label="", picture=np.zeros((1, 1, 3), np.uint8))] * 2
    height, width = drawer.draw(blank).shape[:2]
    assert both[0].shape == (height, width, 3)
    last = both[-1][: height // 2].astype(float)
    for left in (8, 8 + 80 + 8):
        assert last[40:, left : left + 80].std() > 1
    with pytest.raises(ValueError, match="agents: expected at least one"):
        film_drivers({}, tmp_path / "none.mp4", eye=eye)


def test_a_drive_that_is_over_is_dimmed(make_tiny: Any, tmp_path: Path) -> None:
    tiny = make_tiny(STEERED)
    eye = Eye.open(STEERED, tiny.vision, tiny.memory, device="cpu")
    lengths = {push: len(played(eye, 3, driver(eye, push))[0]) for push in (-2.0, 0.0, 2.0)}
    if len(set(lengths.values())) == 1:
        pytest.fail(f"no drive ends before another: {lengths}")
    agents = {str(push): driver(eye, push) for push in lengths}
    config = DriveFilmConfig(seed=3, decisions=1000, width=80, crf=0)
    film_drivers(agents, tmp_path / "film.mp4", eye=eye, config=config)
    _, shown = frames(tmp_path / "film.mp4")
    assert len(shown) == max(lengths.values())
    first = min(lengths, key=lambda push: lengths[push])
    left = 8 + 88 * list(lengths).index(first)
    at = lengths[first]
    before, after = (each[30:80, left : left + 80].std() for each in shown[at - 1 : at + 1])
    assert after < 0.5 * before
