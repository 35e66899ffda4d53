"""Utilities of Stable-Baselines3 and Gymnasium give right values on every environment.

Each is compared with a loop that plays the same actions by hand.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers import vector
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    VecCheckNan,
    VecEnv,
    VecMonitor,
    VecNormalize,
    is_vecenv_wrapped,
)

from wmrl.agents.sb3.vec_env import SB3VecEnv, dream_vec_env, latent_vec_env

IDS = [
    "vsg/CarRacing-v3",
    "vsg/CarRacingLatent-v0",
    "vsg/CarRacingDream-v0",
    "vsg/PlanarArm-v0",
    "vsg/PlanarArmLatent-v0",
]
BATCHED = IDS[1:]
STEPS = 4  # episodes of games and dreams are cut after as many


class Actions:
    """A model of Stable-Baselines3 that takes actions drawn with a seed, whatever it observes."""

    def __init__(self, space: spaces.Space[Any], count: int) -> None:
        self.space, self.count = space, count
        space.seed(7)

    def predict(self, observation: Any, **_: Any) -> tuple[np.ndarray, None]:
        return np.stack([self.space.sample() for _ in range(self.count)]), None


@pytest.fixture(scope="module")
def arguments(make_tiny: Any) -> Callable[[str], dict[str, Any]]:
    """Arguments with which an environment is small."""
    world_model = make_tiny().kwargs

    def make(env_id: str) -> dict[str, Any]:
        if "PlanarArm-" in env_id:
            return {"num_joints": 3, "target": "random"}
        if "PlanarArm" in env_id:
            return {"target": "random", "device": "cpu"}
        limit = {"max_episode_steps": STEPS}
        return limit if env_id == "vsg/CarRacing-v3" else world_model | limit

    return make


def play(env: gym.Env[Any, Any], episodes: int = 2) -> Iterator[tuple[Any, ...]]:
    """Yields (observation, reward, ended, info) of each step, with actions drawn with a seed."""
    env.action_space.seed(7)
    for episode in range(episodes):
        env.reset(seed=episode)
        ended = False
        while not ended:
            observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
            ended = terminated or truncated
            yield observation, reward, ended, info


def statistics(steps: Iterator[tuple[Any, ...]]) -> list[tuple[float, int]]:
    """Return and length of each episode, summed by hand."""
    found, total, length = [], 0.0, 0
    for _, reward, ended, _ in steps:
        total, length = total + reward, length + 1
        if ended:
            found.append((total, length))
            total, length = 0.0, 0
    return found


@pytest.mark.parametrize("env_id", IDS)
def test_single_environments(env_id: str, arguments: Any, tmp_path: Path) -> None:
    def make() -> gym.Env[Any, Any]:
        return gym.make(env_id, **arguments(env_id))

    expected = list(play(make()))
    episodes = statistics(iter(expected))
    assert len(episodes) == 2
    assert all(length == (1 if "Arm" in env_id else STEPS) for _, length in episodes)
    for wrapper in (gym.wrappers.RecordEpisodeStatistics, Monitor):
        infos = [info["episode"] for *_, ended, info in play(wrapper(make())) if ended]
        found = [(float(info["r"]), int(info["l"])) for info in infos]
        np.testing.assert_allclose(found, episodes, rtol=1e-5, atol=1e-5)
    short = gym.wrappers.TimeLimit(make(), 2)
    assert [length for _, length in statistics(play(short))] == [min(n, 2) for _, n in episodes]
    rewards = [reward for _, reward, *_ in play(gym.wrappers.TransformReward(make(), lambda r: -r))]
    np.testing.assert_array_equal(rewards, [-reward for _, reward, *_ in expected])
    normal = gym.wrappers.NormalizeObservation(make())
    seen = [normal.observation_space.dtype, *(each for each, *_ in play(normal))]
    running = gym.wrappers.utils.RunningMeanStd(shape=normal.observation_space.shape)
    plain = make()
    plain.action_space.seed(7)
    for episode in range(2):
        observation, _ = plain.reset(seed=episode)
        running.update(np.array([observation]))
        for _ in range(episodes[episode][1]):
            observation, *_ = plain.step(plain.action_space.sample())
            running.update(np.array([observation]))
            scaled = (observation - running.mean) / np.sqrt(running.var + 1e-8)
    np.testing.assert_allclose(seen[-1], scaled, rtol=1e-4, atol=1e-4)
    assert normal.get_wrapper_attr("spec").id == env_id
    normal.set_wrapper_attr("mark", 5)
    assert normal.get_wrapper_attr("mark") == 5
    assert type(normal.unwrapped) is type(plain.unwrapped)


@pytest.mark.parametrize("env_id", IDS)
def test_actions_are_clipped_by_the_wrapper(env_id: str, arguments: Any) -> None:
    envs = [gym.make(env_id, **arguments(env_id)) for _ in range(2)]
    wrapped = gym.wrappers.ClipAction(envs[0])
    low, high = envs[1].action_space.low, envs[1].action_space.high
    action = np.linspace(-3, 3, low.size, dtype=np.float32).reshape(low.shape)
    for env in (wrapped, envs[1]):
        env.reset(seed=1)
    mine, other = wrapped.step(action), envs[1].step(np.clip(action, low, high))
    np.testing.assert_array_equal(mine[0], other[0])
    assert mine[1] == other[1]


@pytest.mark.parametrize("env_id", IDS)
def test_videos(env_id: str, arguments: Any, tmp_path: Path) -> None:
    pytest.importorskip("moviepy")
    env = gym.make(env_id, render_mode="rgb_array", **arguments(env_id))
    env = gym.wrappers.RecordVideo(env, str(tmp_path / "videos"), episode_trigger=lambda n: n == 0)
    ((_, length),) = statistics(play(env, episodes=1))
    env.close()
    (file,) = (tmp_path / "videos").glob("*.mp4")
    video = cv2.VideoCapture(str(file))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == length + 1
    video.release()


@pytest.mark.parametrize("env_id", IDS)
def test_evaluate_policy_on_a_single_environment(env_id: str, arguments: Any) -> None:
    envs = [DummyVecEnv([lambda: Monitor(gym.make(env_id, **arguments(env_id)))]) for _ in range(2)]
    for env in envs:
        env.seed(5)
    expected = hand_played(envs[0], Actions(envs[0].action_space, 1), 2)
    normalized = VecNormalize(envs[1], clip_reward=0.1)
    model = Actions(normalized.action_space, 1)
    found = evaluate_policy(model, normalized, 2, return_episode_rewards=True)
    np.testing.assert_allclose(list(zip(*found, strict=True)), expected, rtol=1e-5, atol=1e-5)


def hand_played(env: VecEnv, model: Actions, episodes: int) -> list[tuple[float, int]]:
    """Return and length of each episode in the order in which they end, from raw rewards."""
    observation = env.reset()
    totals, lengths = np.zeros(env.num_envs), np.zeros(env.num_envs, int)
    found: list[tuple[float, int]] = []
    while len(found) < episodes:
        observation, rewards, dones, _ = env.step(model.predict(observation)[0])
        totals, lengths = totals + rewards, lengths + 1
        for slot in np.flatnonzero(dones):
            found.append((float(totals[slot]), int(lengths[slot])))
            totals[slot], lengths[slot] = 0.0, 0
    return found


def adapter(env_id: str, arguments: Any) -> SB3VecEnv:
    make = dream_vec_env if "Dream" in env_id else latent_vec_env
    more = {"workers": 0} if "CarRacingLatent" in env_id else {}
    env = make(env_id, 2, **arguments(env_id) | more)
    env.seed(5)
    return env


@pytest.mark.parametrize("wrap", ["plain", "normalized", "monitored", "nan"])
@pytest.mark.parametrize("env_id", BATCHED)
def test_evaluate_policy_reports_the_rewards_of_the_environment(
    env_id: str, wrap: str, arguments: Any
) -> None:
    raw = adapter(env_id, arguments)
    expected = hand_played(raw, Actions(raw.action_space, 2), 4)
    env: VecEnv = adapter(env_id, arguments)
    if wrap == "normalized":
        env = VecNormalize(env, gamma=0.9, clip_reward=0.1)
    elif wrap == "monitored":
        with pytest.warns(UserWarning, match="already wrapped with a `Monitor`"):
            env = VecMonitor(env)
    elif wrap == "nan":
        env = VecCheckNan(env, raise_exception=True)
    found = evaluate_policy(
        Actions(raw.action_space, 2), env, 4, return_episode_rewards=True, warn=True
    )
    np.testing.assert_allclose(list(zip(*found, strict=True)), expected, rtol=1e-5, atol=1e-5)
    assert is_vecenv_wrapped(env, VecMonitor) == (wrap == "monitored")
    assert env.env_is_wrapped(Monitor) == [True, True]
    assert env.env_is_wrapped(gym.wrappers.TimeLimit) == [False, False]


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize("env_id", BATCHED)
def test_statistics_of_vector_environments(
    env_id: str, mode: AutoresetMode, arguments: Any
) -> None:
    """Those of the wrapper are the sums of the steps in which an episode was in progress."""

    def make() -> Any:
        env = gym.make_vec(
            env_id,
            2,
            vectorization_mode="vector_entry_point",
            autoreset_mode=mode,
            **arguments(env_id) | ({"workers": 0} if "CarRacingLatent" in env_id else {}),
        )
        env.action_space.seed(7)
        env.reset(seed=5)
        return env

    plain = make()
    wrapped = vector.RecordEpisodeStatistics(vector.TransformReward(make(), lambda r: 2 * r))
    wrapped.reset(seed=5)
    wrapped.env.action_space.seed(7)
    totals, lengths, over = np.zeros(2), np.zeros(2, int), np.zeros(2, bool)
    ends = 0
    for _ in range(2 * STEPS + 2):
        action = plain.action_space.sample()
        _, rewards, terminated, truncated, _ = plain.step(action)
        _, doubled, _, _, info = wrapped.step(action)
        np.testing.assert_array_equal(doubled, 2 * rewards)
        running = ~over
        totals, lengths = totals + np.where(running, 2 * rewards, 0), lengths + running
        ended = (terminated | truncated) & running
        for slot in np.flatnonzero(ended):
            ends += 1
            assert info["episode"]["l"][slot] == lengths[slot]
            assert info["episode"]["r"][slot] == pytest.approx(totals[slot], rel=1e-5)
        totals[ended], lengths[ended] = 0, 0
        if mode is AutoresetMode.NEXT_STEP:
            over = terminated | truncated
        elif mode is AutoresetMode.DISABLED and ended.any():
            mask = ended.copy()
            plain.reset(options={"reset_mask": mask})
            wrapped.reset(options={"reset_mask": mask.copy()})
    assert ends >= 2
    plain.close()
    wrapped.close()


@pytest.mark.parametrize("env_id", IDS)
def test_copies_of_gymnasium_s_vector_environments(env_id: str, arguments: Any) -> None:
    """The same rewards as two single environments have."""
    env = gym.make_vec(env_id, 2, vectorization_mode="sync", **arguments(env_id))
    env.reset(seed=3)
    env.action_space.seed(7)
    action = env.action_space.sample()
    _, rewards, *_ = env.step(action)
    for slot in range(2):
        single = gym.make(env_id, **arguments(env_id))
        single.reset(seed=3 + slot)
        assert single.step(action[slot])[1] == pytest.approx(rewards[slot], rel=1e-6)
    assert [spec.id for spec in env.get_attr("spec")] == [env_id] * 2
    assert env.call("get_wrapper_attr", "render_mode") == (None, None)
    env.set_attr("mark", [1, 2])
    assert env.get_attr("mark") == (1, 2)
    env.close()
