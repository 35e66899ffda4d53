"""Contract of FrameEnv, against the base environment stepped by hand."""

from dataclasses import replace
from typing import Any

import cv2
import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from toy_game import SCREEN, TOY, Toy

from wmrl.envs.frames.env import FrameEnv
from wmrl.envs.tasks.car_racing import CAR_RACING
from wmrl.envs.tasks.task import ObservationKey, Task, rendered_frame

ACTION = np.array([0.2, 0.0], np.float32)
RIGHT = np.array([1.0, 0.0], np.float32)
BASES = ("toy_game:Toy-v0", "toy_game:FastToy-v0")


def actions(count: int, seed: int = 0) -> np.ndarray:
    moves = np.random.default_rng(seed).uniform(-0.3, 1, (count, 2))
    return (moves * [1, 0.5]).astype(np.float32)


@pytest.mark.parametrize("base", BASES)
def test_passes_gymnasiums_check(base: str) -> None:
    calm = replace(TOY, action_space=spaces.Box(-0.5, 0.5, (2,), np.float32))
    # No spec to make it again by, which is all that the checker warns of.
    with pytest.warns(UserWarning, match=r"spec|symmetric|normalized"):
        check_env(FrameEnv(calm, base=base))


@pytest.mark.parametrize("base", BASES)
def test_equals_the_base_stepped_by_hand(base: str) -> None:
    env = FrameEnv(TOY, base=base, max_frames=1000)
    by_hand: Any = gym.make(base, max_episode_steps=-1, disable_env_checker=True)
    frame, _ = env.reset(seed=3)
    expected, _ = by_hand.reset(seed=3)
    np.testing.assert_array_equal(frame, TOY.observe(by_hand, expected))
    for action in actions(20):
        frame, reward, terminated, truncated, info = env.step(action)
        total = 0.0
        for _ in range(TOY.frame_skip):
            expected, r, over, _, known = by_hand.step(action)
            total += r
            if over:
                break
        np.testing.assert_array_equal(frame, TOY.observe(by_hand, expected))
        assert (reward, terminated, truncated) == (total, over, False)
        assert info["x"] == known["x"]
        if over:
            return
    pytest.fail("the toy never ended")


def test_draws_once_an_agent_step_where_the_base_can() -> None:
    drawn = {}
    for base in BASES:
        env = FrameEnv(TOY, base=base)
        env.reset(seed=0)
        for _ in range(4):
            env.step(ACTION * 0)
        drawn[base] = env.base.unwrapped.draws
    assert list(drawn.values()) == [1 + 4 * 3, 1 + 4]


def test_own_limit_rules_and_shortens_the_last_agent_step() -> None:
    env = FrameEnv(TOY, max_frames=7)
    env.reset(seed=0)
    steps = [env.step(ACTION * 0) for _ in range(3)]
    assert [info["frames"] for *_, info in steps] == [3, 6, 7]
    assert [truncated for _, _, _, truncated, _ in steps] == [False, False, True]


def test_patience_counts_frames_since_the_last_gain() -> None:
    env = FrameEnv(TOY, patience=6, max_frames=1000)
    env.reset(seed=0)
    left, right = np.array([-0.3, 0], np.float32), np.array([0.5, 0], np.float32)
    ends = [env.step(action)[3] for action in (left, right, left, left)]
    assert ends == [False, False, False, True]


def test_frame_skip_and_rate() -> None:
    env = FrameEnv(TOY, frame_skip=5)
    env.reset(seed=0)
    assert env.step(ACTION)[4]["frames"] == 5
    assert env.metadata["render_fps"] == 6


def test_options_reach_the_base() -> None:
    env = FrameEnv(TOY)
    _, plain = env.reset(seed=1)
    _, moved = env.reset(seed=1, options={"start": 0.25})
    assert moved["x"] == pytest.approx(plain["x"] + 0.25)


def test_frames_from_render_and_render_mode() -> None:
    shown = replace(TOY, frame=rendered_frame, env_kwargs={"render_mode": "rgb_array"})
    env = FrameEnv(shown)
    frame, _ = env.reset(seed=0)
    np.testing.assert_array_equal(frame, shown.observe(env.base, None))
    assert env.render().shape == (24, 20, 3)
    with pytest.raises(
        ValueError, match=r"render_mode: expected 'rgb_array' or None, got 'human'; the task 'toy'"
    ):
        FrameEnv(shown, render_mode="human")


def test_errors_name_the_mend() -> None:
    env = FrameEnv(TOY, max_frames=3)
    with pytest.raises(ResetNeeded, match="call reset"):
        env.step(ACTION)
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"action: expected shape \(2,\), got \(3,\)"):
        env.step(np.zeros(3, np.float32))
    assert env.step(ACTION)[3]
    with pytest.raises(ResetNeeded, match="call reset"):
        env.step(ACTION)
    for name in ("frame_skip", "max_frames", "patience"):
        with pytest.raises(ValueError, match=f"{name}: expected at least 1, got 0"):
            FrameEnv(TOY, **{name: 0})
    with pytest.raises(ValueError, match="task: expected one of"):
        FrameEnv("no such game")


@pytest.mark.parametrize("info", [None, [], 3])
def test_infos_are_dictionaries(info: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    env = FrameEnv(TOY)
    env.reset(seed=0)
    step, reset = Toy.step, Toy.reset
    monkeypatch.setattr(Toy, "step", lambda *given: (*step(*given)[:4], info))
    with pytest.raises(ValueError, match=r"^info: expected a dictionary, .* method step of"):
        env.step(ACTION)
    monkeypatch.setattr(Toy, "reset", lambda *given, **more: (reset(*given, **more)[0], info))
    with pytest.raises(ValueError, match=r"^info: expected a dictionary, .* method reset of"):
        env.reset()


@pytest.mark.parametrize("task", [CAR_RACING])
def test_fast_drawing_changes_nothing_but_pixels(task: Task) -> None:
    drives = []
    for base in ("vsg/CarRacing-v3", "CarRacing-v3"):
        env = FrameEnv(task, base=base)
        env.reset(seed=11)
        generator = np.random.default_rng(0)
        steps = [env.step(generator.uniform(-0.3, 1, 2).astype(np.float32)) for _ in range(15)]
        drives.append([(r, terminated, truncated) for _, r, terminated, truncated, _ in steps])
        env.close()
    assert drives[0] == drives[1]


def test_gray_frames() -> None:
    env, color = FrameEnv(replace(TOY, grayscale=True)), FrameEnv(TOY)
    assert env.observation_space == spaces.Box(0, 255, (16, 16, 1), np.uint8)
    frame, _ = env.reset(seed=3)
    other, _ = color.reset(seed=3)
    for action in actions(3):
        assert env.observation_space.contains(frame)
        gray = cv2.cvtColor(other, cv2.COLOR_RGB2GRAY)[..., None].astype(int)
        assert np.abs(frame - gray).max() <= 2  # up to the rounding of the resizing
        frame, other = env.step(action)[0], color.step(action)[0]


def test_observations_that_are_dictionaries() -> None:
    env, plain = FrameEnv(SCREEN), FrameEnv(TOY)
    np.testing.assert_array_equal(env.reset(seed=3)[0], plain.reset(seed=3)[0])
    np.testing.assert_array_equal(env.step(ACTION)[0], plain.step(ACTION)[0])
    wrong = FrameEnv(replace(SCREEN, frame=ObservationKey("image")))
    with pytest.raises(
        ValueError, match=r"'image', got the keys 'screen', 'x'; .*task 'screen-toy'"
    ):
        wrong.reset(seed=0)


def test_frames_after_the_end_are_as_the_game_returns_them() -> None:
    env = FrameEnv(SCREEN)
    env.reset(seed=0)
    terminated = False
    while not terminated:
        frame, _, terminated, _, _ = env.step(RIGHT)
        assert frame.any() != terminated


def test_the_last_frame_before_the_end_is_returned_again() -> None:
    env = FrameEnv(replace(SCREEN, blank_final_frame=True))
    frames = [env.reset(seed=0)[0]]
    terminated = False
    while not terminated:
        frame, _, terminated, _, _ = env.step(RIGHT)
        frames.append(frame)
    np.testing.assert_array_equal(frames[-1], frames[-2])
    assert frames[-1] is not frames[-2]
    shown = FrameEnv(replace(SCREEN, blank_final_frame=True), max_frames=3)
    frames = [shown.reset(seed=0)[0], shown.step(ACTION)[0]]
    assert not np.array_equal(*frames)  # a truncated game still shows its picture
