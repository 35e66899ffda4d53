"""Exploration policies: functions of the generator alone, inside the action space."""

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
from gymnasium import spaces

from wmrl.agents.rollouts.exploration import (
    AutoregressiveNoise,
    ExplorationPolicy,
    NoisyAgent,
    RepeatedRandom,
    autoregressive_noise,
)
from wmrl.envs.tasks.car_racing import CAR_RACING

LOPSIDED = replace(
    CAR_RACING,
    action_space=spaces.Box(np.array([-1, 0], np.float32), np.array([1, 4], np.float32)),
    explore_low=(0.0, 1.0),
    explore_high=(0.0, 3.0),
)
EXPLORATION_POLICIES = [RepeatedRandom(), AutoregressiveNoise(), NoisyAgent()]
PROPOSAL = np.array([0.25, 0.5], np.float32)


def act_for(exploration: ExplorationPolicy, seed: int, count: int = 50) -> np.ndarray:
    act = exploration.start(LOPSIDED, np.random.default_rng(seed))
    return np.stack([act(PROPOSAL) for _ in range(count)])


@pytest.mark.parametrize("exploration", EXPLORATION_POLICIES)
def test_contract(exploration: ExplorationPolicy) -> None:
    actions = act_for(exploration, 1)
    assert actions.dtype == np.float32
    assert all(LOPSIDED.action_space.contains(action) for action in actions)
    np.testing.assert_array_equal(actions, act_for(exploration, 1))
    assert (actions != act_for(exploration, 2)).any()
    described = exploration.describe()
    assert json.loads(json.dumps(described)) == described
    numbers = {name: value for name, value in described.items() if name != "name"}
    assert type(exploration)(**numbers) == exploration


def test_random_actions_are_repeated_and_spread() -> None:
    actions = act_for(RepeatedRandom(min_repeats=2, max_repeats=5), 0, 4000)
    runs = [len(list(group)) for _, group in itertools.groupby(map(tuple, actions))]
    assert set(runs[:-1]) == {2, 3, 4, 5}
    np.testing.assert_allclose(actions.mean(axis=0), [0, 2], atol=0.15)
    np.testing.assert_allclose(actions.std(axis=0), [2 / 12**0.5, 4 / 12**0.5], rtol=0.1)


def test_autoregressive_actions_scatter_around_the_episode_mean() -> None:
    exploration = AutoregressiveNoise(smoothing=0.5, min_scale=0.05, max_scale=0.1)
    means, spreads = [], []
    for seed in range(60):
        actions = act_for(exploration, seed, 400)
        means.append(actions.mean(axis=0))
        spreads.append(actions.std(axis=0))
    steer, pedal = np.array(means).T
    np.testing.assert_allclose(steer, 0, atol=0.05)
    assert 0.95 < pedal.min() < 1.4
    assert 2.6 < pedal.max() < 3.05
    # Half of the range is 1 for the first number and 2 for the second.
    for half, spread in zip((1, 2), np.array(spreads).T, strict=True):
        assert 0.04 * half < spread.min() < 0.065 * half
        assert 0.085 * half < spread.max() < 0.115 * half


def test_a_task_without_bounds_explores_around_zero() -> None:
    plain = replace(CAR_RACING, explore_low=(), explore_high=())
    act = AutoregressiveNoise(min_scale=0, max_scale=0).start(plain, np.random.default_rng(0))
    np.testing.assert_array_equal(act(None), [0, 0])


def test_noise_is_around_the_proposal() -> None:
    np.testing.assert_array_equal(act_for(NoisyAgent(max_scale=0), 0), [PROPOSAL] * 50)
    spread = [(act_for(NoisyAgent(max_scale=0.2), seed) - PROPOSAL)[:, 0] for seed in range(200)]
    scales = np.array([noise.std() for noise in spread])
    assert scales.min() < 0.02
    assert 0.15 < scales.max() < 0.35
    assert abs(np.mean(spread)) < 0.02
    with pytest.raises(ValueError, match="proposal: expected an agent"):
        NoisyAgent().start(LOPSIDED, np.random.default_rng(0))(None)


@pytest.mark.parametrize("smoothing", [0.0, 0.6, 0.95])
def test_noise_is_stationary_with_the_correlation_asked_for(smoothing: float) -> None:
    generator = np.random.default_rng(0)
    noise = autoregressive_noise(generator, dim=4000, smoothing=smoothing)
    x = np.stack([noise() for _ in range(6)])
    np.testing.assert_allclose(x.std(axis=1), 1, atol=0.05)
    for lag in (1, 2, 5):
        assert np.mean(x[lag] * x[0]) == pytest.approx(smoothing**lag, abs=0.06)


def test_errors() -> None:
    with pytest.raises(ValueError, match="min_repeats: expected at least 1, got 0"):
        RepeatedRandom(min_repeats=0)
    with pytest.raises(ValueError, match="max_repeats: expected at least 3, got 2"):
        RepeatedRandom(min_repeats=3, max_repeats=2)
    for kind in (AutoregressiveNoise, NoisyAgent):
        with pytest.raises(ValueError, match=r"smoothing: expected below 1, got 1\.0"):
            kind(smoothing=1.0)
        with pytest.raises(ValueError, match=r"max_scale: expected at least 0.*, got -0\.1"):
            kind(max_scale=-0.1)
    with pytest.raises(ValueError, match="min_scale: expected a finite number, got nan"):
        AutoregressiveNoise(min_scale=float("nan"))
