"""A wrapper records what passes through it, and changes nothing."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from choice_game import CHOICES, Choice
from gymnasium.utils.env_checker import check_env
from stable_baselines3 import A2C
from toy_game import SCREEN, TOY, ScreenToy, Toy

from wmrl.agents.rollouts.wrapper import RecordRollouts
from wmrl.data.store import RolloutStore, StoreError
from wmrl.envs.frames.env import FrameEnv
from wmrl.envs.tasks.task import Task, rendered_frame

RENDERED = Task(
    name="rendered",
    env_id="MountainCarContinuous-v0",
    frame=rendered_frame,
    frame_size=(32, 32),
    env_kwargs={"render_mode": "rgb_array"},
)


def play(env: Any, *, seed: int | None, steps: int = 100) -> list[Any]:
    """Plays an episode, or a part of one, with random actions; returns all that came back."""
    env.action_space.seed(0)
    passed = [env.reset(seed=seed)]
    for _ in range(steps):
        passed.append(env.step(env.action_space.sample()))
        if passed[-1][2] or passed[-1][3]:
            break
    return passed


def test_frames_of_a_task_are_recorded_as_they_pass(tmp_path: Path) -> None:
    expected = play(FrameEnv(TOY), seed=3)
    env = RecordRollouts(FrameEnv(TOY), tmp_path)
    passed = play(env, seed=3)
    for one, other in zip(passed, expected, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        assert one[1:] == other[1:]
    play(env, seed=None, steps=1)
    env.close()
    store = RolloutStore(tmp_path)
    assert (store.metadata.task, store.metadata.frame_skip) == ("toy", 3)
    episode = store.episode(0)
    np.testing.assert_array_equal(episode.frames, [each[0] for each in passed])
    np.testing.assert_allclose(episode.rewards, [each[1] for each in passed[1:]], rtol=1e-6)
    assert (episode.terminated, episode.truncated) == passed[-1][2:4]
    assert episode.info["seed"] == 3
    assert episode.info["frames"] == passed[-1][4]["frames"]
    assert episode.info["reset"] == {"frames": 0, "x": passed[0][1]["x"]}
    assert episode.info["last"]["x"] == passed[-1][4]["x"]
    cut = store.episode(1)
    assert (cut.terminated, cut.truncated, len(cut)) == (False, True, 1)
    assert cut.info["seed"] is None
    assert cut.info["unfinished"]


def test_resets_cut_episodes_off(tmp_path: Path) -> None:
    env = RecordRollouts(FrameEnv(TOY), tmp_path)
    play(env, seed=0, steps=2)
    for _ in range(3):
        env.reset(seed=1)  # episodes without steps leave nothing
    play(env, seed=2, steps=1)
    env.close()
    store = RolloutStore(tmp_path)
    assert [summary.length for summary in store.summaries] == [2, 1]
    assert [store.info(index)["seed"] for index in (0, 1)] == [0, 2]


@pytest.mark.parametrize("kind", list(CHOICES))
def test_images_of_any_environment(tmp_path: Path, kind: str) -> None:
    env = RecordRollouts(gym.make("Choice-v0", kind=kind), tmp_path)
    passed = play(env, seed=1)
    store = RolloutStore(tmp_path)  # episodes are written when they end
    assert (store.metadata.task, store.metadata.frame_shape) == ("Choice-v0", (12, 12, 3))
    assert store.metadata.action_space == CHOICES[kind].actions
    np.testing.assert_array_equal(store.frames(0), [each[0] for each in passed])
    assert store.info(0)["frames"] == store.summary(0).length == 12


def test_a_task_makes_frames_of_any_environment(tmp_path: Path) -> None:
    task = replace(CHOICES["box"], frame_size=(16, 24))
    env = RecordRollouts(Choice("box"), tmp_path / "a", task=task, frame_skip=2)
    play(env, seed=0)
    store = RolloutStore(tmp_path / "a")
    assert (store.metadata.task, store.metadata.frame_skip) == ("choice-box", 2)
    assert store.frames(0).shape == (13, 16, 24, 3)
    assert store.info(0)["frames"] == 24
    game = gym.make(RENDERED.env_id, render_mode="rgb_array")
    env = RecordRollouts(game, tmp_path / "b", task=RENDERED)
    play(env, seed=0, steps=2)
    env.close()
    assert RolloutStore(tmp_path / "b").frames(0).shape == (3, 32, 32, 3)


def test_reaching_the_goal_is_no_failure(tmp_path: Path) -> None:
    class Goal(Toy):
        def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
            frame, reward, _, _, info = super().step(action)
            info |= {"won": True, "data": np.zeros(3), "p": np.nan}
            return frame, reward, True, False, info

    task = replace(TOY, completed_key="won")
    play(RecordRollouts(Goal(), tmp_path, task=task), seed=0)
    episode = RolloutStore(tmp_path).episode(0)
    assert (episode.terminated, episode.truncated) == (False, True)
    assert set(episode.info["last"]) == {"x", "won"}  # what is neither number nor text is left out


def test_blank_final_frames_are_left_out(tmp_path: Path) -> None:
    env = RecordRollouts(ScreenToy(), tmp_path, task=replace(SCREEN, blank_final_frame=True))
    env.reset(seed=0)
    over = False
    while not over:
        *_, over, _, _ = env.step(np.array([1.0, 0.0]))
    frames = RolloutStore(tmp_path).frames(0)
    assert all(frame.any() for frame in frames)
    np.testing.assert_array_equal(frames[-1], frames[-2])


def test_several_environments_share_a_store(tmp_path: Path) -> None:
    first = RecordRollouts(FrameEnv(TOY), tmp_path)
    store = RolloutStore(tmp_path, "a")
    second = RecordRollouts(gym.wrappers.RecordEpisodeStatistics(FrameEnv(TOY)), store)
    play(first, seed=0)
    play(second, seed=1)
    store.refresh()
    assert [store.info(index)["seed"] for index in store.indices] == [0, 1]
    assert store.info(1)["last"]["episode"]["l"] == store.summary(1).length


def test_a_learner_of_sb3_is_such_a_loop(tmp_path: Path) -> None:
    task = replace(CHOICES["box"], frame_size=(12, 12))
    env = RecordRollouts(FrameEnv(task), tmp_path)
    A2C("MlpPolicy", env, policy_kwargs={"net_arch": [4]}, device="cpu").learn(30)
    env.close()
    assert [summary.length for summary in RolloutStore(tmp_path).summaries] == [12, 12, 6]


@pytest.mark.filterwarnings("ignore:.*different from the unwrapped version:UserWarning")
def test_the_checker_passes(tmp_path: Path) -> None:
    env = RecordRollouts(FrameEnv(CHOICES["multi_binary"]), tmp_path)
    check_env(env, skip_render_check=True)


def test_a_frame_env_is_recorded_as_its_own_task(tmp_path: Path) -> None:
    for name, task in (("none", None), ("same", TOY), ("equal", replace(TOY))):
        RecordRollouts(FrameEnv(TOY), tmp_path / name, task=task).close()
        assert RolloutStore(tmp_path / name).metadata.task == "toy"
    for task, said in (
        (replace(TOY, name="other"), "got the task 'other'"),
        (replace(TOY, completed_key="won"), "got a task with other settings 'toy'"),
    ):
        with pytest.raises(ValueError, match=f"task: expected .* 'toy' of the FrameEnv, {said}"):
            RecordRollouts(FrameEnv(TOY), tmp_path / "x", task=task)
    assert not (tmp_path / "x").exists()


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    env = RecordRollouts(FrameEnv(TOY), tmp_path / "toy")
    play(env, seed=0)
    env.reset(seed=0)
    with pytest.raises(ValueError, match="action: expected"):
        env.step(np.array([np.nan, 0.0]))
    store = RolloutStore(tmp_path / "toy", "a")
    with pytest.raises(StoreError, match="expected a store with frame_shape"):
        RecordRollouts(FrameEnv(replace(TOY, frame_size=(8, 8))), store)
    with pytest.raises(StoreError, match="expected a store with task"):
        RecordRollouts(FrameEnv(replace(TOY, name="other")), tmp_path / "toy")
    with pytest.raises(ValueError, match=r"env: expected observations that are images .* a task"):
        RecordRollouts(gym.make("CartPole-v1"), tmp_path / "x")
    with pytest.raises(ValueError, match="task: expected a task because the environment has no id"):
        RecordRollouts(Toy(), tmp_path / "x")
    with pytest.raises(ValueError, match=r"env: expected the action space Box.* wrap FrameEnv"):
        RecordRollouts(gym.make("CarRacing-v3"), tmp_path / "x", task="car-racing")
