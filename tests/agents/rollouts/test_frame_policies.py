"""Functions and models of Stable-Baselines3 as the policy of a collection."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from choice_game import CHOICES, SPACES
from gymnasium import spaces
from stable_baselines3 import A2C, PPO
from toy_game import TOY

from wmrl.agents.rollouts.collection import collect
from wmrl.agents.rollouts.exploration import NoisyAgent
from wmrl.data.store import RolloutStore, StoreError
from wmrl.envs.frames.env import FrameEnv

SMALL = {kind: replace(task, frame_size=(12, 12)) for kind, task in CHOICES.items()}


def gather(task: Any, path: Path, **options: Any) -> RolloutStore:
    options = {"episodes": 5, "num_envs": 2, "workers": 0, "progress": False, **options}
    return collect(task, path, **options)


def follow(frame: np.ndarray) -> int:
    """Takes the option of the brightest column, which is the best one."""
    chosen = 2 + int(frame[0, :3, 0].argmax())
    frame[:] = 0  # what the function does to its frame is its own affair
    return chosen


class Follower:
    """The same as an object."""

    def __call__(self, frame: np.ndarray) -> int:
        return follow(frame)


@pytest.mark.parametrize("policy", [follow, partial(follow), Follower()])
def test_functions_of_frames(tmp_path: Path, policy: Any) -> None:
    task = SMALL["discrete"]
    store = gather(task, tmp_path / "a", policy=policy)
    assert [summary.reward for summary in store.summaries] == [12.0] * 5
    assert store.frames(0).any()
    name = "Follower" if isinstance(policy, Follower) else "follow"
    about = store.metadata.policy
    assert about["name"] == "unperturbed"
    assert about["function"].endswith(f"test_frame_policies.{name}")
    other = gather(task, tmp_path / "b", policy=policy, num_envs=1, workers=1)
    assert other.content_hash() == store.content_hash()
    assert len(gather(task, tmp_path / "a", policy=policy, episodes=7)) == 7


def test_noise_on_a_function(tmp_path: Path) -> None:
    store = gather(SMALL["discrete"], tmp_path, policy=follow, noise=NoisyAgent(max_scale=1.0))
    assert min(summary.reward for summary in store.summaries) < 12
    assert store.metadata.policy["name"] == "noisy"


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (lambda frame: 7, "policy: action: expected an integer from 2 to 4, got 7"),
        (lambda frame: None, "policy: action: expected"),
        (3, "policy: expected an exploration policy or its name, an agent or its name or path, a"),
    ],
)
def test_bad_policies(tmp_path: Path, policy: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gather(SMALL["discrete"], tmp_path / "data", policy=policy)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("kind", list(SPACES))
def test_models_of_sb3(tmp_path: Path, kind: str) -> None:
    task = SMALL[kind]
    base = FrameEnv(task)
    env: gym.Env[Any, Any] = base
    if kind == "discrete":  # SB3 requires options that count from 0
        env = gym.wrappers.TransformAction(base, lambda a: a + 2, spaces.Discrete(3))
    model = A2C("MlpPolicy", env, policy_kwargs={"net_arch": [4]}, seed=0, device="cpu")
    store = gather(task, tmp_path / "a", policy=model)
    about = store.metadata.policy
    assert (about["name"], about["model"]) == ("noisy", "A2C")
    assert gather(task, tmp_path / "b", policy=model).content_hash() == store.content_hash()
    still = gather(task, tmp_path / "c", policy=model, noise=NoisyAgent(max_scale=0.0))
    expected, _ = model.predict(still.frames(0)[:-1], deterministic=True)
    if kind == "discrete":
        expected = expected + 2
    np.testing.assert_allclose(still.actions(0), expected, atol=1e-6)
    model.policy.action_net.bias.data += 1
    with pytest.raises(StoreError, match="policy"):
        gather(task, tmp_path / "a", policy=model, episodes=6)


def test_models_with_convolutions_see_the_channels_first(tmp_path: Path) -> None:
    task = replace(TOY, frame_size=(36, 36))
    model = PPO("CnnPolicy", FrameEnv(task), n_steps=8, batch_size=8, seed=0, device="cpu")
    store = gather(task, tmp_path, policy=model, episodes=2)
    assert store.metadata.frame_shape == (36, 36, 3)


def test_models_with_other_spaces_are_refused(tmp_path: Path) -> None:
    model = A2C("MlpPolicy", FrameEnv(SMALL["box"]), device="cpu")
    with pytest.raises(ValueError, match=r"observations are the frames .*Box.* RecordRollouts"):
        gather(CHOICES["box"], tmp_path, policy=model)
    with pytest.raises(ValueError, match="expected a model with the action space MultiBinary"):
        gather(SMALL["multi_binary"], tmp_path, policy=model)
