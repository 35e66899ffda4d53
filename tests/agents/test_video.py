from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from toy_game import SCREEN

from wmrl.agents.controller import ControllerAgent, ControllerConfig
from wmrl.agents.video.config import VideoConfig
from wmrl.agents.video.recording import EpisodeVideo, record
from wmrl.envs.latent.env import LatentEnv
from wmrl.envs.world_model import WorldModel
from wmrl.memory.base import load_memory

WARMUP = 13  # agent steps of 4 frames that 50 frames take
SMALL: dict[str, Any] = {"width": 80, "height": 60, "sharp": False, "code_map": False}


@pytest.fixture(scope="module")
def world_model(tiny: Any) -> WorldModel:
    """A world model whose dreams do not end."""
    memory = load_memory(tiny.memory, device="cpu")
    plain = memory.sample

    def endless(*args: Any, **kwargs: Any) -> Any:
        sampled = plain(*args, **kwargs)
        return type(sampled)(sampled.latent, sampled.reward, torch.zeros_like(sampled.terminated))

    memory.sample = endless  # type: ignore[method-assign]
    return WorldModel.open("car-racing", tiny.vision, memory, device="cpu")


def controller(world_model: WorldModel) -> ControllerAgent:
    config = ControllerConfig.for_spaces(world_model.observation_space, world_model.action_space)
    weights = np.random.default_rng(1).normal(0, 0.3, config.parameter_count)
    return ControllerAgent(config, weights)


class Scripted(ControllerAgent):
    """Steers by how often it was asked, and remembers what it was shown."""

    def __init__(self, world_model: WorldModel) -> None:
        super().__init__(controller(world_model).config, controller(world_model).parameters)
        self.shown: list[np.ndarray] = []

    def predict(self, observation: np.ndarray, *args: Any, **kwargs: Any) -> Any:
        self.shown.append(observation)
        return np.array([np.sin(len(self.shown)), 0.1], np.float32), None


def panels(frame: np.ndarray) -> list[np.ndarray]:
    """The three images in a video frame of SMALL panels."""
    top, gap = 15, 16
    lefts = [gap + i * (80 + gap) for i in range(3)]
    return [frame[top : top + 60, left : left + 80] for left in lefts]


def test_the_episode_is_that_of_the_latent_environment(world_model: WorldModel) -> None:
    agent = controller(world_model)
    video = EpisodeVideo(agent, world_model, VideoConfig(seed=3, agent_steps=30, **SMALL))
    frames = list(video)
    env = LatentEnv(vision=world_model.vision, memory=world_model.memory)
    observation, _ = env.reset(seed=3)
    score = 0.0
    for _ in range(30):
        observation, reward, *_ = env.step(agent.predict(observation)[0])
        score += float(reward)
    env.close()
    assert video.score == score
    assert video.agent_steps == 30
    assert len(frames) == 31
    expected = cv2.resize(env.frame, (80, 60), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(panels(frames[-1])[0], expected)


def test_the_dream_starts_where_the_game_is_and_goes_its_own_way(world_model: WorldModel) -> None:
    video = EpisodeVideo(
        controller(world_model), world_model, VideoConfig(agent_steps=WARMUP + 3, **SMALL)
    )
    frames = list(video)
    before, start, after = (panels(frames[i]) for i in (WARMUP - 1, WARMUP, WARMUP + 1))
    assert before[2].max() < 80  # dimmed
    np.testing.assert_array_equal(start[2], start[1])
    assert (after[2] != after[1]).any()


def test_the_dream_starts_anew(world_model: WorldModel) -> None:
    video = EpisodeVideo(
        controller(world_model),
        world_model,
        VideoConfig(agent_steps=WARMUP + 9, dream_agent_steps=4, **SMALL),
    )
    frames = list(video)
    same = [bool((panels(frame)[1] == panels(frame)[2]).all()) for frame in frames[WARMUP:]]
    assert [index for index, equal in enumerate(same) if equal] == [0, 4, 8]
    assert len(video.dreams) == 2
    dreamed, real = np.array(video.dreams).T
    assert (dreamed != real).all()


def test_the_dream_asks_the_agent_or_takes_its_actions(world_model: WorldModel) -> None:
    own, same = Scripted(world_model), Scripted(world_model)
    list(EpisodeVideo(own, world_model, VideoConfig(agent_steps=WARMUP + 3, **SMALL)))
    list(
        EpisodeVideo(
            same, world_model, VideoConfig(agent_steps=WARMUP + 3, same_actions=True, **SMALL)
        )
    )
    # Asked once a frame for the game; for the dream from its second agent step on.
    assert len(same.shown) == WARMUP + 4
    assert len(own.shown) == WARMUP + 4 + 2


def test_videos_are_reproducible(world_model: WorldModel) -> None:
    config = VideoConfig(agent_steps=WARMUP + 5, **SMALL)
    first, second = (
        list(EpisodeVideo(controller(world_model), world_model, config)) for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)
    again = list(
        EpisodeVideo(
            controller(world_model),
            world_model,
            VideoConfig(seed=1, agent_steps=WARMUP + 5, **SMALL),
        )
    )
    assert (first[0] != again[0]).any()


def test_without_a_memory_there_is_no_dream(tiny: Any, tmp_path: Path) -> None:
    world_model = WorldModel.open("car-racing", tiny.vision, None, device="cpu")
    config = VideoConfig(agent_steps=2, **SMALL)
    recording = record(
        controller(world_model), tmp_path / "video.gif", world_model=world_model, config=config
    )
    assert recording.dreams == ()
    (frame, *_) = list(EpisodeVideo(controller(world_model), world_model, config))
    assert frame.shape[1] == 2 * (80 + 16) + 16


def test_a_sharp_video_shows_the_rows_that_the_world_model_sees(world_model: WorldModel) -> None:
    size = {"width": 80, "height": 60}
    (blurred, *_), (sharp, *_) = (
        list(
            EpisodeVideo(
                controller(world_model),
                world_model,
                VideoConfig(agent_steps=1, sharp=sharp, **size),
            )
        )
        for sharp in (False, True)
    )
    assert (panels(sharp)[0] != panels(blurred)[0]).any()
    difference = panels(sharp)[0].astype(float) - panels(blurred)[0]
    assert np.abs(difference).mean() < 12  # the same view


def test_record_writes_a_video(world_model: WorldModel, tmp_path: Path) -> None:
    config = VideoConfig(agent_steps=10, speed=2.0, **SMALL)
    recording = record(
        controller(world_model), tmp_path / "video.mp4", world_model=world_model, config=config
    )
    video = cv2.VideoCapture(str(recording.path))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 11
    assert video.get(cv2.CAP_PROP_FPS) == 25
    video.release()
    assert (recording.agent_steps, recording.seed) == (10, 0)


def test_codes_have_a_panel_of_their_own(make_tiny: Any, tmp_path: Path) -> None:
    tiny = make_tiny(discrete=True)
    world_model = WorldModel.open("car-racing", tiny.vision, tiny.memory, device="cpu")
    agent = controller(world_model)
    shown = VideoConfig(**SMALL | {"seed": 3, "agent_steps": 3, "code_map": True})
    frames = list(EpisodeVideo(agent, world_model, shown))
    plain = list(EpisodeVideo(agent, world_model, VideoConfig(seed=3, agent_steps=3, **SMALL)))
    assert frames[0].shape[1] == plain[0].shape[1] + 96
    codes = [frame[38:98, 208:288] for frame in frames]  # the third panel
    assert codes[0].std() > 1
    for frame, other in zip(frames, plain, strict=True):
        assert np.array_equal(frame[38:98, :192], other[38:98, :192])


def test_errors(world_model: WorldModel, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"path: expected a name ending in \.mp4, \.gif or \.webp"):
        record(controller(world_model), tmp_path / "video.mov", world_model=world_model)
    small = ControllerAgent(
        ControllerConfig(observation_dim=3, action_space=Box(-1, 1, (2,))), np.zeros(8)
    )
    with pytest.raises(
        ValueError, match=r"agent: expected observation_space of shape .*, got \(3,\)"
    ):
        record(small, tmp_path / "video.mp4", world_model=world_model)
    with pytest.raises(ValueError, match="dream_agent_steps: expected at least 1, got 0"):
        VideoConfig(dream_agent_steps=0)
    with pytest.raises(ValueError, match="speed: expected above 0, got 0"):
        VideoConfig(speed=0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("sharp", [False, True])
@pytest.mark.parametrize("discrete", [False, True])
def test_gray_frames_are_shown_in_color(
    sharp: bool, discrete: bool, make_tiny: Any, tmp_path: Path
) -> None:
    task = replace(SCREEN, frame_size=(64, 64), grayscale=True, crop_rows=(0, 6))
    tiny = make_tiny(task, discrete=discrete)
    gray = WorldModel.open(task, tiny.vision, tiny.memory, device="cpu")
    config = VideoConfig(agent_steps=3, width=80, height=60, sharp=sharp)
    video = EpisodeVideo(controller(gray), gray, config)
    frames = list(video)
    shown = panels(frames[0])
    raw = gym.make(task.env_id, disable_env_checker=True)
    raw.reset(seed=0)
    expected = raw.unwrapped.render()[:12]  # of 24 rows: the upper half, as in the crop
    if sharp:
        expected = cv2.resize(expected, (80, 60), interpolation=cv2.INTER_LINEAR)
        np.testing.assert_array_equal(shown[0], expected)
    else:
        assert (shown[0] == shown[0][..., :1]).all()
    for image in shown[1:2]:
        assert (image == image[..., :1]).all()
    out = record(controller(gray), tmp_path / "gray.mp4", world_model=gray, config=config)
    assert out.path.stat().st_size > 0


def test_games_that_render_no_image_are_named(make_tiny: Any) -> None:
    task = replace(SCREEN, frame_size=(64, 64), env_id="toy_game:UnseenToy-v0")
    tiny = make_tiny(task)
    world_model = WorldModel.open(task, tiny.vision, tiny.memory, device="cpu")
    with pytest.raises(
        ValueError, match=r"^render\(\): expected an array .*, got None; create the"
    ):
        list(EpisodeVideo(controller(world_model), world_model, VideoConfig(agent_steps=1)))
