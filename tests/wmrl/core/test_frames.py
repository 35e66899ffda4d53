"""Gray frames, and stacks of frames against loops and against Gymnasium's wrapper."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.wrappers import FrameStackObservation

from wmrl.core.frames import FrameStacker, as_rgb, newest_frames, stack_frames


def noise(count: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 5, 4, channels), dtype=np.uint8)


def by_loops(frames: np.ndarray, frame_stack: int, newest: int, first: int = 0) -> np.ndarray:
    """One stack, channel by channel."""
    channels = []
    for past in range(frame_stack - 1, -1, -1):
        frame = frames[max(newest - past, first)]
        channels += [frame[:, :, channel] for channel in range(frame.shape[2])]
    return np.stack(channels, axis=2)


@pytest.mark.parametrize("frame_stack", [1, 2, 4, 9])
@pytest.mark.parametrize("channels", [1, 3])
def test_recorded_frames_are_stacked(frame_stack: int, channels: int) -> None:
    frames, newest = noise(7, channels), np.array([6, 0, 3, 3, 1])
    stacks = stack_frames(frames, frame_stack, newest)
    assert stacks.flags.c_contiguous
    assert stacks.dtype == np.uint8
    np.testing.assert_array_equal(stacks, [by_loops(frames, frame_stack, n) for n in newest])
    shown = newest_frames(stacks, frame_stack)
    np.testing.assert_array_equal(shown, frames[newest])
    np.testing.assert_array_equal(newest_frames(torch.from_numpy(stacks), frame_stack), shown)


def test_episodes_begin_where_one_says() -> None:
    frames, newest, first = noise(9), np.array([2, 4, 5, 8]), np.array([0, 4, 4, 4])
    expected = [by_loops(frames, 3, n, f) for n, f in zip(newest, first, strict=True)]
    np.testing.assert_array_equal(stack_frames(frames, 3, newest, first=first), expected)
    np.testing.assert_array_equal(stack_frames(frames, 3, newest[2:], first=4), expected[2:])


class Slides(gym.Env[np.ndarray, int]):
    """A game that shows one frame after the other; if asked, always in the same array."""

    observation_space = spaces.Box(0, 255, (5, 4, 3), np.uint8)
    action_space = spaces.Discrete(1)

    def __init__(self, *, reuse: bool = False) -> None:
        self.slides, self.place, self.reuse = noise(12), -1, reuse
        self.shown = np.zeros((5, 4, 3), np.uint8)

    def reset(self, **_: Any) -> tuple[np.ndarray, dict[str, Any]]:
        return self._next(), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        return self._next(), 0.0, False, False, {}

    def _next(self) -> np.ndarray:
        self.place += 1
        self.shown[:] = self.slides[self.place]
        return self.shown if self.reuse else self.shown.copy()


@pytest.mark.parametrize("frame_stack", [1, 2, 4])
def test_running_games_are_stacked_as_gymnasium_does(frame_stack: int) -> None:
    game, stacker = Slides(reuse=True), FrameStacker(frame_stack)
    wrapped = FrameStackObservation(Slides(), frame_stack, padding_type="reset")
    for steps in (6, 3):  # two episodes
        ours, theirs = [stacker.reset(game.reset()[0])], [wrapped.reset()[0]]
        for _ in range(steps):
            np.testing.assert_array_equal(ours[-1], np.concatenate(list(theirs[-1]), axis=-1))
            ours[-1][:] = 0  # what is done to an observation does not reach the next one
            ours.append(stacker.push(game.step(0)[0]))
            theirs.append(wrapped.step(0)[0])


def test_a_stack_has_frames() -> None:
    with pytest.raises(ValueError, match="frame_stack: expected at least 1, got 0"):
        FrameStacker(0)


def test_gray_becomes_color_and_color_stays() -> None:
    gray = np.arange(24, dtype=np.uint8).reshape(2, 3, 4, 1)
    color = as_rgb(gray)
    assert color.shape == (2, 3, 4, 3)
    for channel in range(3):
        np.testing.assert_array_equal(color[..., channel], gray[..., 0])
    assert as_rgb(color) is color
