from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from wmrl.agents.controller import ControllerAgent, ControllerConfig
from wmrl.agents.video import Film, FilmConfig, record
from wmrl.envs.latent.env import LatentEnv
from wmrl.envs.world_model import Eye
from wmrl.memory.base import load_memory

WARMUP = 13  # decisions of 4 frames that 50 frames take
SMALL: dict[str, Any] = {"width": 80, "height": 60, "sharp": False, "code_map": False}


@pytest.fixture(scope="module")
def eye(tiny: Any) -> Eye:
    """An eye whose dreams don't end."""
    memory = load_memory(tiny.memory, device="cpu")
    plain = memory.sample

    def endless(*args: Any, **kwargs: Any) -> Any:
        sampled = plain(*args, **kwargs)
        return type(sampled)(sampled.latent, sampled.reward, torch.zeros_like(sampled.terminated))

    memory.sample = endless  # type: ignore[method-assign]
    return Eye.open("car-racing", tiny.vision, memory, device="cpu")


def driver(eye: Eye) -> ControllerAgent:
    config = ControllerConfig.for_spaces(eye.observation_space, eye.action_space)
    weights = np.random.default_rng(1).normal(0, 0.3, config.parameter_count)
    return ControllerAgent(config, weights)


class Scripted(ControllerAgent):
    """Steers by how often it was asked, and remembers what it was shown."""

    def __init__(self, eye: Eye) -> None:
        super().__init__(driver(eye).config, driver(eye).parameters)
        self.shown: list[np.ndarray] = []

    def predict(self, observation: np.ndarray, *args: Any, **kwargs: Any) -> Any:
        self.shown.append(observation)
        return np.array([np.sin(len(self.shown)), 0.1], np.float32), None


def panels(frame: np.ndarray) -> list[np.ndarray]:
    """The three pictures in a film frame of SMALL panels."""
    top, gap = 15, 16
    lefts = [gap + i * (80 + gap) for i in range(3)]
    return [frame[top : top + 60, left : left + 80] for left in lefts]


def test_the_episode_is_that_of_the_latent_environment(eye: Eye) -> None:
    agent = driver(eye)
    film = Film(agent, eye, FilmConfig(seed=3, decisions=30, **SMALL))
    frames = list(film)
    env = LatentEnv(vision=eye.vision, memory=eye.memory)
    observation, _ = env.reset(seed=3)
    score = 0.0
    for _ in range(30):
        observation, reward, *_ = env.step(agent.predict(observation)[0])
        score += float(reward)
    env.close()
    assert film.score == score
    assert film.decisions == 30
    assert len(frames) == 31
    expected = cv2.resize(env.frame, (80, 60), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(panels(frames[-1])[0], expected)


def test_the_dream_starts_where_the_game_is_and_goes_its_own_way(eye: Eye) -> None:
    film = Film(driver(eye), eye, FilmConfig(decisions=WARMUP + 3, **SMALL))
    frames = list(film)
    before, start, after = (panels(frames[i]) for i in (WARMUP - 1, WARMUP, WARMUP + 1))
    assert before[2].max() < 80  # dimmed
    np.testing.assert_array_equal(start[2], start[1])
    assert (after[2] != after[1]).any()


def test_the_dream_starts_anew(eye: Eye) -> None:
    film = Film(driver(eye), eye, FilmConfig(decisions=WARMUP + 9, dream_decisions=4, **SMALL))
    frames = list(film)
    same = [bool((panels(frame)[1] == panels(frame)[2]).all()) for frame in frames[WARMUP:]]
    assert [index for index, equal in enumerate(same) if equal] == [0, 4, 8]
    assert len(film.dreams) == 2
    dreamed, real = np.array(film.dreams).T
    assert (dreamed != real).all()


def test_the_dream_asks_the_agent_or_takes_its_actions(eye: Eye) -> None:
    own, same = Scripted(eye), Scripted(eye)
    list(Film(own, eye, FilmConfig(decisions=WARMUP + 3, **SMALL)))
    list(Film(same, eye, FilmConfig(decisions=WARMUP + 3, same_actions=True, **SMALL)))
    # Asked once a frame for the game; for the dream from its second decision on.
    assert len(same.shown) == WARMUP + 4
    assert len(own.shown) == WARMUP + 4 + 2


def test_films_are_reproducible(eye: Eye) -> None:
    config = FilmConfig(decisions=WARMUP + 5, **SMALL)
    first, second = (list(Film(driver(eye), eye, config)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    again = list(Film(driver(eye), eye, FilmConfig(seed=1, decisions=WARMUP + 5, **SMALL)))
    assert (first[0] != again[0]).any()


def test_without_a_memory_there_is_no_dream(tiny: Any, tmp_path: Path) -> None:
    eye = Eye.open("car-racing", tiny.vision, None, device="cpu")
    config = FilmConfig(decisions=2, **SMALL)
    recording = record(driver(eye), tmp_path / "film.gif", eye=eye, config=config)
    assert recording.dreams == ()
    (frame, *_) = list(Film(driver(eye), eye, config))
    assert frame.shape[1] == 2 * (80 + 16) + 16


def test_a_sharp_film_shows_the_rows_that_the_eye_sees(eye: Eye) -> None:
    size = {"width": 80, "height": 60}
    (blurred, *_), (sharp, *_) = (
        list(Film(driver(eye), eye, FilmConfig(decisions=1, sharp=sharp, **size)))
        for sharp in (False, True)
    )
    assert (panels(sharp)[0] != panels(blurred)[0]).any()
    difference = panels(sharp)[0].astype(float) - panels(blurred)[0]
    assert np.abs(difference).mean() < 12  # the same view


def test_record_writes_a_film(eye: Eye, tmp_path: Path) -> None:
    config = FilmConfig(decisions=10, speed=2.0, **SMALL)
    recording = record(driver(eye), tmp_path / "film.mp4", eye=eye, config=config)
    film = cv2.VideoCapture(str(recording.path))
    assert film.get(cv2.CAP_PROP_FRAME_COUNT) == 11
    assert film.get(cv2.CAP_PROP_FPS) == 25
    film.release()
    assert (recording.decisions, recording.seed) == (10, 0)


def test_codes_have_a_panel_of_their_own(make_tiny: Any, tmp_path: Path) -> None:
    tiny = make_tiny(symbols=True)
    eye = Eye.open("car-racing", tiny.vision, tiny.memory, device="cpu")
    agent = driver(eye)
    shown = FilmConfig(**SMALL | {"seed": 3, "decisions": 3, "code_map": True})
    frames = list(Film(agent, eye, shown))
    plain = list(Film(agent, eye, FilmConfig(seed=3, decisions=3, **SMALL)))
    assert frames[0].shape[1] == plain[0].shape[1] + 96
    codes = [frame[38:98, 208:288] for frame in frames]  # the third panel
    assert codes[0].std() > 1
    for frame, other in zip(frames, plain, strict=True):
        assert np.array_equal(frame[38:98, :192], other[38:98, :192])


def test_errors(eye: Eye, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"path: expected a name ending in \.mp4, \.gif or \.webp"):
        record(driver(eye), tmp_path / "film.mov", eye=eye)
    small = ControllerAgent(ControllerConfig(observation_size=3, action_size=2), np.zeros(8))
    with pytest.raises(ValueError, match=r"its observation_space has shape \(3,\), the eye's"):
        record(small, tmp_path / "film.mp4", eye=eye)
    with pytest.raises(ValueError, match="dream_decisions: expected at least 1, got 0"):
        FilmConfig(dream_decisions=0)
    with pytest.raises(ValueError, match="speed: expected a positive number, got 0"):
        FilmConfig(speed=0)
    assert list(tmp_path.iterdir()) == []
