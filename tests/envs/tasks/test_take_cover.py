"""The task Take Cover as agent steps and frames."""

from collections.abc import Iterator
from contextlib import closing

import cv2
import numpy as np
import pytest
from gymnasium import spaces

from wmrl.envs.frames.env import FrameEnv
from wmrl.envs.frames.vector import FrameVectorEnv
from wmrl.envs.take_cover.env import TakeCover
from wmrl.envs.tasks.registry import find_task, registered_task
from wmrl.envs.tasks.take_cover import TAKE_COVER, TAKE_COVER_PAPER
from wmrl.envs.tasks.task import Task

LEFT, STAY, RIGHT = range(3)


@pytest.fixture
def env() -> Iterator[FrameEnv]:
    env = FrameEnv("take-cover")
    yield env
    env.close()


def test_is_registered() -> None:
    assert find_task("take-cover") is registered_task("take-cover") is TAKE_COVER


@pytest.mark.parametrize(
    ("task", "rows", "size"),
    [(TAKE_COVER, slice(40, 88), (128, 32)), (TAKE_COVER_PAPER, slice(0, 100), (64, 64))],
    ids=["band", "paper"],
)
def test_frames_are_a_part_of_the_picture(task: Task, rows: slice, size: tuple[int, int]) -> None:
    with closing(FrameEnv(task)) as env:
        frame, _ = env.reset(seed=1)
        game = env.base.unwrapped
        assert isinstance(game, TakeCover)
        part = game.observe()[rows]
        np.testing.assert_array_equal(frame, cv2.resize(part, size, interpolation=cv2.INTER_AREA))
        assert env.action_space == spaces.Discrete(3)


def test_an_agent_step_lasts_four_tics_and_renders_one(
    env: FrameEnv, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures: list[None] = []
    observe = TakeCover.observe
    monkeypatch.setattr(TakeCover, "observe", lambda game: pictures.append(None) or observe(game))
    env.reset(seed=1)
    for steps in range(1, 6):
        _, reward, *_, info = env.step(np.int64(RIGHT))
        assert (reward, info["tics"], info["frames"]) == (4.0, 4 * steps, 4 * steps)
    assert len(pictures) == 1 + 5


def test_the_frame_before_death_stands_for_that_after_it(env: FrameEnv) -> None:
    frame, _ = env.reset(seed=1)
    total, terminated = 0.0, False
    while not terminated:
        before = frame
        frame, reward, terminated, truncated, info = env.step(np.int64(STAY))
        total += reward
        assert frame.any()
        assert not truncated
    np.testing.assert_array_equal(frame, before)
    assert total == info["tics"] - 1


def test_who_survives_2100_tics_gets_2100_points(env: FrameEnv) -> None:
    env.reset(seed=1)
    game = env.base.unwrapped
    assert isinstance(game, TakeCover)
    game._game.send_game_command("god")
    total, truncated, steps = 0.0, False, 0
    while not truncated:
        frame, reward, terminated, truncated, info = env.step(np.int64(STAY))
        assert not terminated
        total, steps = total + reward, steps + 1
    assert (total, steps, info["survived"]) == (2100, 525, True)
    assert frame.any()


def test_worker_processes_play_the_same_episodes(env: FrameEnv) -> None:
    envs = FrameVectorEnv(2, task="take-cover", workers=2)
    try:
        frames, _ = envs.reset(seed=[3, 4])
        for _ in range(10):
            frames, *_ = envs.step(np.array([LEFT, RIGHT]))
    finally:
        envs.close()
    for slot, action in enumerate((LEFT, RIGHT)):
        frame, _ = env.reset(seed=3 + slot)
        for _ in range(10):
            frame, *_ = env.step(np.int64(action))
        np.testing.assert_array_equal(frames[slot], frame)
