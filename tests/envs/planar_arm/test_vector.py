import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import wmrl  # noqa: F401 -- registers the environments
from wmrl.envs.planar_arm.env import PlanarArmEnv
from wmrl.envs.planar_arm.vector import PlanarArmVectorEnv

ID = "vsg/PlanarArm-v0"
N = 5
FULL = {
    "num_joints": 6,
    "target": (0.5, 0.4),
    "obstacles": [(0.3, 0.3, 0.2)],
    "locks": {3: 0.5},
}


@pytest.fixture
def actions():
    return np.random.default_rng(0).uniform(-1.2, 1.2, (8, N, 6)).astype(np.float32)


def assert_same(one, two):
    """Equal, down into dictionaries and arrays of objects."""
    assert type(one) is type(two)
    if isinstance(one, dict):
        assert set(one) == set(two)
        for key in one:
            assert_same(one[key], two[key])
    elif isinstance(one, np.ndarray) and one.dtype == object:
        for a, b in zip(one, two, strict=True):
            assert_same(a, b)
    elif isinstance(one, np.ndarray):
        assert one.dtype == two.dtype
        np.testing.assert_array_equal(one, two)


def test_make_vec_gives_batched_spaces_and_dtypes():
    env = gym.make_vec(ID, num_envs=N, target="random")
    assert isinstance(env, PlanarArmVectorEnv)
    observation, info = env.reset(seed=0)
    assert observation in env.observation_space
    assert info == {}
    observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
    assert observation in env.observation_space
    assert (reward.shape, reward.dtype) == ((N,), np.float64)
    assert terminated.dtype == truncated.dtype == np.bool_
    assert info["end_point"].shape == info["descriptor"].shape == (N, 2)
    assert env.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    env.close()


def test_make_vec_takes_modes_by_value_and_round_trips_its_spec():
    env = gym.make_vec(ID, num_envs=2, autoreset_mode="SameStep", **FULL)
    again = gym.make_vec(gym.envs.registration.EnvSpec.from_json(env.spec.to_json()))
    assert again.num_envs == 2
    assert again.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    assert again.arm == env.arm


@pytest.mark.parametrize("kwargs", [{"num_joints": 6}, FULL])
@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_is_what_single_arms_are_together(actions, kwargs, mode):
    batch = PlanarArmVectorEnv(N, autoreset_mode=mode, **kwargs)
    singles = SyncVectorEnv([lambda: PlanarArmEnv(**kwargs)] * N, autoreset_mode=mode)
    np.testing.assert_array_equal(batch.reset(seed=0)[0], singles.reset(seed=0)[0])
    for action in actions:
        for ours, theirs in zip(batch.step(action), singles.step(action), strict=True):
            assert_same(ours, theirs)


def test_disabled_idles_until_a_mask_resets(actions):
    env = PlanarArmVectorEnv(N, num_joints=6, target="random", autoreset_mode="Disabled")
    first, _ = env.reset(seed=0)
    observation, reward, terminated, truncated, infos = env.step(actions[0])
    np.testing.assert_array_equal(observation, first)
    assert terminated.all()
    assert not truncated.any()
    assert reward.all()
    assert infos["_distance"].all()
    observation, reward, terminated, _, infos = env.step(actions[1])
    assert terminated.all()
    assert not reward.any()
    assert infos == {}
    mask = np.array([True, False, True, False, False])
    anew, _ = env.reset(options={"reset_mask": mask})
    np.testing.assert_array_equal((anew != first).all(1), mask)
    _, reward, terminated, _, infos = env.step(actions[2])
    assert terminated.all()
    np.testing.assert_array_equal(reward != 0, mask)
    np.testing.assert_array_equal(infos["_end_point"], mask)
    np.testing.assert_array_equal(infos["end_point"].any(1), mask)


def test_same_step_draws_a_target_for_each_step(actions):
    env = PlanarArmVectorEnv(N, num_joints=6, target="random", autoreset_mode="SameStep")
    seen, _ = env.reset(seed=0)
    for action in actions:
        observation, _, terminated, _, infos = env.step(action)
        np.testing.assert_array_equal(np.stack(infos["final_obs"]), seen)
        final = infos["final_info"]
        gaps = np.linalg.norm(final["end_point"] - seen, axis=1)
        np.testing.assert_allclose(final["distance"], gaps, atol=1e-6)
        assert terminated.all()
        assert not np.isclose(observation, seen).any()
        seen = observation


def test_the_same_seed_is_the_same_and_another_differs(actions):
    def rollout(seed):
        env = PlanarArmVectorEnv(N, num_joints=6, target="random", autoreset_mode="SameStep")
        seen = [(env.reset(seed=seed)[0], np.zeros(N))]
        seen += [env.step(action)[:2] for action in actions]
        return [np.stack(values) for values in zip(*seen, strict=True)]

    for one, two, other in zip(rollout(1), rollout(1), rollout(2), strict=True):
        np.testing.assert_array_equal(one, two)
        assert not np.array_equal(one, other)
    seeds = list(range(N))
    first, again, other = (rollout(each)[0] for each in (seeds, seeds, seeds[::-1]))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_global_random_state_is_left_alone(actions):
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    env = PlanarArmVectorEnv(N, num_joints=6, target="random", autoreset_mode="SameStep")
    env.reset(seed=0)
    env.step(actions[0])
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002


def test_each_arm_may_be_given_its_target():
    env = PlanarArmVectorEnv(2, target="random")
    observation, _ = env.reset(seed=0, options={"target": [(0.5, 0), (0, 0.5)]})
    assert observation.tolist() == [[0.5, 0], [0, 0.5]]
    observation, _ = env.reset(
        options={"target": (0.1, 0.2), "reset_mask": np.array([False, True])}
    )
    np.testing.assert_allclose(observation, [[0.5, 0], [0.1, 0.2]])


def test_returned_arrays_are_not_used_again(actions):
    env = PlanarArmVectorEnv(N, num_joints=6, target="random", autoreset_mode="Disabled")
    observation, _ = env.reset(seed=0)
    observation += 1  # a user's own arithmetic must not reach the arms
    _, _, terminated, _, infos = env.step(actions[0])
    expected = infos["distance"].copy()
    terminated[:] = False
    infos["_distance"][:] = False
    assert env.step(actions[0])[4] == {}
    env.reset(seed=0)
    np.testing.assert_array_equal(env.step(actions[0])[4]["distance"], expected)


def test_gymnasiums_vector_wrappers_and_modes_work():
    env = gym.make_vec(ID, num_envs=2, autoreset_mode="SameStep")
    env = gym.wrappers.vector.RecordEpisodeStatistics(env)
    env.reset(seed=0)
    *_, infos = env.step(env.action_space.sample())
    assert infos["final_info"]["end_point"].shape == (2, 2)
    singles = gym.make_vec(ID, num_envs=2, vectorization_mode="sync", target="random")
    assert singles.reset(seed=0)[0].shape == (2, 2)


def test_renders_what_was_posed_last(actions):
    env = PlanarArmVectorEnv(2, render_mode="rgb_array", autoreset_mode="SameStep", **FULL)
    with pytest.raises(ResetNeeded):
        env.render()
    env.reset(seed=0)
    rest = env.render()
    assert [frame.shape for frame in rest] == [(480, 480, 3)] * 2
    env.step(actions[0, :2])
    single = PlanarArmEnv(render_mode="rgb_array", **FULL)
    for row, frame in enumerate(env.render()):
        single.reset()
        single.step(actions[0, row])
        np.testing.assert_array_equal(frame, single.render())
    assert PlanarArmVectorEnv(2).render() is None


def test_bad_arguments_and_calls_are_refused():
    for kwargs, message in (
        ({"num_envs": 0}, "num_envs: expected at least 1, got 0"),
        ({"autoreset_mode": "Never"}, "Never"),
        ({"render_mode": "human"}, "render_mode: expected one of 'rgb_array', None, got 'human'"),
        ({"target": "here"}, "target: expected a point"),
        ({"collision_cost": -1}, "collision_cost: expected at least 0, got -1"),
    ):
        with pytest.raises(ValueError, match=message):
            PlanarArmVectorEnv(**kwargs)
    env = PlanarArmVectorEnv(N)
    with pytest.raises(ResetNeeded, match=r"call reset\(\) first"):
        env.step(np.zeros((N, 20)))
    with pytest.raises(ResetNeeded, match=r"call reset\(\) first"):
        env.reset(options={"reset_mask": np.arange(N) == 0})
    env.reset(seed=0)
    for actions, message in (
        (np.zeros(20), r"action: expected shape \(5, 20\) .* got \(20,\)"),
        (
            np.zeros((N, 3)),
            r"expected shape \(5, 20\) .* argument 'num_joints' determines the shape",
        ),
        (np.full((N, 20), np.nan), "action: expected finite numbers, got nan"),
    ):
        with pytest.raises(ValueError, match=message):
            env.step(actions)
    with pytest.raises(ValueError, match=r"options\['target'\]: expected none"):
        env.reset(options={"target": (0, 0)})
