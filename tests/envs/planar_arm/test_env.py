import copy
import math
import pickle
import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import RecordVideo
from stable_baselines3.common.env_checker import check_env as check_env_for_sb3

import wmrl  # noqa: F401 -- registers the environments
from wmrl.envs.planar_arm.env import PlanarArmEnv
from wmrl.envs.planar_arm.vector import PlanarArmVectorEnv

ID = "vsg/PlanarArm-v0"
KINDS = [
    {},
    {"target": "random"},
    {"num_joints": 6, "target": (0.5, 0.5), "obstacles": [(0.3, 0.3, 0.1)], "locks": {3: 0.5}},
    {"num_joints": 3, "link_lengths": (3, 1, 2), "target": "random"},
]


@pytest.mark.parametrize("kwargs", KINDS)
def test_both_checkers_pass_without_warnings(kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gym.make(ID, **kwargs).unwrapped
        assert isinstance(env, PlanarArmEnv)
        check_env(env)
        check_env_for_sb3(env, skip_render_check=False)


def test_a_step_is_an_episode():
    env = gym.make(f"wmrl:{ID}", num_joints=4)
    observation, info = env.reset(seed=0)
    assert observation.tolist() == [0.0]
    assert info == {}
    observation, reward, terminated, truncated, info = env.step(np.float32([0.2] * 4))
    assert observation.tolist() == [0.0]
    assert (terminated, truncated) == (True, False)
    assert type(reward) is float
    assert reward == pytest.approx(0.0, abs=1e-6)
    angles = 0.1 * math.pi * np.arange(1, 5)
    end = np.array([np.cos(angles).mean(), np.sin(angles).mean()])
    assert set(info) == {"end_point", "descriptor"}
    np.testing.assert_allclose(info["end_point"], end, atol=1e-6)
    np.testing.assert_allclose(info["descriptor"], end / 2 + 0.5, atol=1e-6)


def test_a_target_is_observed_and_rewarded():
    env = PlanarArmEnv(num_joints=2, target=(0.0, 1.0), distance_weight=3.0)
    observation, _ = env.reset(seed=0)
    assert observation.tolist() == [0.0, 1.0]
    _, reward, *_, info = env.step(np.zeros(2))
    assert type(info["distance"]) is float
    assert info["distance"] == pytest.approx(math.sqrt(2))
    assert reward == pytest.approx(-3 * math.sqrt(2))
    observation, _ = env.reset(options={"target": (0.5, 0.5)})
    assert observation.tolist() == [0.5, 0.5]
    _, reward, *_, info = env.step(np.array([0.0, 1.0]))
    assert info["distance"] == pytest.approx(0.0, abs=1e-6)
    assert reward == pytest.approx(-math.pi / 4, abs=1e-5)
    assert env.reset()[0].tolist() == [0.0, 1.0]


def test_collisions_are_reported_and_cost():
    env = PlanarArmEnv(num_joints=2, obstacles=[(0.5, 0.1, 0.2)], collision_cost=4.0)
    env.reset(seed=0)
    _, reward, *_, info = env.step(np.zeros(2))
    assert info["collision"] is True
    assert info["penetration"] == pytest.approx(0.1)
    assert reward == pytest.approx(-4.4)
    env.reset()
    _, reward, *_, info = env.step(np.array([-1.0, 0.0]))
    assert info["collision"] is False
    assert info["penetration"] == 0.0
    assert reward == pytest.approx(-math.pi / 4)


def test_actions_outside_are_clipped():
    env = PlanarArmEnv(num_joints=3)
    env.reset(seed=0)
    outside = env.step(np.array([1e300, -5.0, 0.3]))  # one is beyond float32
    env.reset()
    inside = env.step(np.array([1.0, -1.0, 0.3]))
    assert outside[1] == inside[1]
    np.testing.assert_array_equal(outside[4]["end_point"], inside[4]["end_point"])


def test_seeds_and_only_seeds_decide():
    def targets(seed):
        env = PlanarArmEnv(target="random")
        return np.stack([env.reset(seed=seed)[0], *(env.reset()[0] for _ in range(5))])

    np.testing.assert_array_equal(targets(1), targets(1))
    assert not np.isclose(targets(1), targets(2)).any()
    assert len(np.unique(targets(1), axis=0)) == 6


def test_equals_a_batch_of_one_arm():
    env = PlanarArmEnv(target="random")
    batch = PlanarArmVectorEnv(1, target="random")
    np.testing.assert_array_equal(env.reset(seed=3)[0], batch.reset(seed=3)[0][0])
    action = np.linspace(-1, 1, 20)
    reward, expected = env.step(action)[1], batch.step(action[None])[1][0]
    assert reward == expected


def test_spec_is_json_and_rebuilds_the_same_arm():
    for kwargs in KINDS:
        env = gym.make(ID, **kwargs)
        again = gym.make(EnvSpec.from_json(env.spec.to_json()))
        assert env.unwrapped.arm == again.unwrapped.arm
        np.testing.assert_array_equal(env.reset(seed=1)[0], again.reset(seed=1)[0])


def test_pickles_and_copies_are_the_same_arm():
    env = PlanarArmEnv(**KINDS[2])
    for other in (pickle.loads(pickle.dumps(env)), copy.deepcopy(env)):
        assert other.arm == env.arm
        env.reset(seed=0), other.reset(seed=0)
        action = np.full(6, 0.1)
        assert other.step(action)[1] == env.step(action)[1]


def test_renders_the_pose():
    env = PlanarArmEnv(render_mode="rgb_array", target=(0.0, 0.5))
    env.reset(seed=0)
    rest = env.render()
    env.step(np.full(20, 0.1))
    pose = env.render()
    assert rest.shape == pose.shape == (480, 480, 3)
    assert (rest != pose).any()
    env.reset()
    np.testing.assert_array_equal(env.render(), rest)
    assert PlanarArmEnv().render() is None


def test_human_mode_opens_and_closes_a_window():
    import pygame

    env = PlanarArmEnv(render_mode="human")
    env.metadata["render_fps"] = 1000
    env.reset(seed=0)
    env.step(np.zeros(20))
    assert pygame.display.get_surface().get_size() == (480, 480)
    assert env.render() is None
    env.close()
    assert not pygame.display.get_init()
    env.close()


def test_record_video_works(tmp_path):
    env = gym.make(ID, render_mode="rgb_array", target="random")
    env = RecordVideo(env, str(tmp_path / "videos"), episode_trigger=lambda episode: True)
    env.reset(seed=0)
    env.step(env.action_space.sample())
    env.close()
    (video,) = tmp_path.glob("videos/*.mp4")
    assert video.stat().st_size > 1000


def test_bad_calls_are_refused():
    env = PlanarArmEnv(num_joints=3, render_mode="rgb_array")
    with pytest.raises(ResetNeeded, match=r"call reset\(\) first"):
        env.step(np.zeros(3))
    with pytest.raises(ResetNeeded, match=r"call reset\(\) first"):
        env.render()
    env.reset(seed=0)
    for action, message in (
        (np.zeros(4), r"action: expected shape \(3,\) with one number per joint, got \(4,\)"),
        (np.zeros((1, 3)), r"action: expected shape \(3,\)"),
        (np.array([0, math.nan, 0]), "action: expected finite numbers, got nan"),
        (np.array([0, 0, -math.inf]), "action: expected finite numbers, got -inf"),
        (["up", 0, 0], "action: expected one number per joint, got"),
        ([10**400, 0, 0], "action: expected one number per joint, got"),
    ):
        with pytest.raises(ValueError, match=message):
            env.step(action)
    env.step(np.zeros(3))  # what was refused did not end the episode
    with pytest.raises(ResetNeeded, match=r"one pose per episode; call reset\(\) first"):
        env.step(np.zeros(3))
    for kwargs, message in (
        ({"num_joints": 0}, "num_joints: expected"),
        ({"render_mode": "ascii"}, "render_mode: expected one of 'human', 'rgb_array', None, got"),
        ({"target": (2, 0)}, "target: expected a point at a distance from 0 to 1"),
        ({"target": (0.5, 0), "obstacles": [(0.5, 0, 0.1)]}, "target: .* outside of all obstacles"),
        ({"obstacles": [(0, 0, 0.1)]}, "obstacles: expected the base"),
        (
            {"distance_weight": -1},
            "distance_weight: expected at least 0, got -1",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            PlanarArmEnv(**kwargs)
