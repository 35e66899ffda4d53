import os
import signal
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from children import in_child
from gymnasium.spaces import Box
from stable_baselines3.common.evaluation import evaluate_policy

from wmrl.agents.agent import load_agent
from wmrl.agents.controller import ControllerAgent, ControllerConfig, batched_actions
from wmrl.agents.policy_search import cma_es as cma_es_module
from wmrl.agents.policy_search.cma_es import CMAES, CMAESConfig
from wmrl.agents.policy_search.fitness import (
    DreamFitness,
    DreamFitnessConfig,
    RealFitness,
    RealFitnessConfig,
)
from wmrl.agents.sb3.vec_env import SB3VecEnv
from wmrl.envs.world_model import WorldModel
from wmrl.storage.artifact import load_artifact
from wmrl.storage.run import RunError
from wmrl.training.metrics import read_metrics

TINY = CMAESConfig(generations=7, population_size=6, checkpoint_every=3)


class Sphere:
    """Its optimum is at ``target`` and its noise is a function of the seed."""

    def __init__(
        self, target: float = 0.5, noise: float = 0.0, hidden: tuple[int, ...] = ()
    ) -> None:
        self.controller = ControllerConfig(
            observation_dim=4, action_space=Box(-1, 1, (2,)), hidden_dims=hidden
        )
        self.target, self.noise, self.calls = target, noise, 0

    def describe(self):
        return {"target": self.target, "noise": self.noise}

    def __call__(self, parameters, seed):
        assert parameters.dtype == np.float32
        self.calls += 1
        drawn = np.random.default_rng(seed).normal(size=(len(parameters), 3))
        return -((parameters - self.target) ** 2).sum(1, keepdims=True) + self.noise * drawn


class Match:
    """The toy game of ``conftest``: returns over its own seeds."""

    controller = ControllerConfig(observation_dim=2, action_space=Box(-1, 1, (2,)))

    def __init__(self, match_env) -> None:
        self.match_env = match_env

    def describe(self):
        return {"game": "match"}

    def __call__(self, parameters, seed):
        scores, weights = np.zeros((len(parameters), 4)), torch.from_numpy(parameters)
        env = self.match_env(scores.size, horizon=20)
        seeds = [seed % 2**31 + slot % 4 for slot in range(scores.size)]
        observations, _ = env.reset(seed=seeds)
        for _ in range(20):
            seen = torch.from_numpy(observations.reshape(*scores.shape, 2))
            actions = batched_actions(weights, seen, config=self.controller)
            observations, rewards, *_ = env.step(actions.reshape(-1, 2).numpy())
            scores += rewards.reshape(scores.shape)
        return scores


def assert_same(first: CMAES, second: CMAES) -> None:
    for name in first.state._fields:
        np.testing.assert_array_equal(
            getattr(first.state, name), getattr(second.state, name), err_msg=name
        )


def without_time(path):
    return [
        {name: value for name, value in row.items() if name != "seconds"}
        for row in read_metrics(path / "metrics.csv")
    ]


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
def test_solves_the_sphere(tmp_path, covariance):
    config = CMAESConfig(generations=150, population_size=12, sigma=0.3, covariance=covariance)
    with CMAES(Sphere(), config, path=tmp_path) as search:
        search.learn(progress=False)
    np.testing.assert_allclose(search.agent.parameters, 0.5, atol=1e-3)


def test_learns_the_toy_game_and_sb3_evaluates_it(match_env, tmp_path):
    config = CMAESConfig(generations=40, population_size=12, sigma=0.3)
    with CMAES(Match(match_env), config, path=tmp_path) as search:
        env = SB3VecEnv(match_env(4))
        before, _ = evaluate_policy(search, env, n_eval_episodes=8, warn=False)
        search.learn(progress=False)
        for agent in (search, search.agent):
            after, _ = evaluate_policy(agent, env, n_eval_episodes=8, warn=False)
            assert after > 9.5 > 5.0 > before
        with pytest.raises(ValueError, match="observation: expected shape"):
            search.predict(np.zeros(3, np.float32))


def test_interrupted_equals_uninterrupted(tmp_path):
    """Stopped by an error in any generation, and gone on in a new object."""
    with CMAES(Sphere(noise=0.1), TINY, path=tmp_path / "whole") as whole:
        whole.learn(progress=False)

    class Failing(Sphere):
        def __call__(self, parameters, seed):
            if self.calls == 2:
                raise InterruptedError
            return super().__call__(parameters, seed)

    with (
        CMAES(Failing(noise=0.1), TINY, path=tmp_path / "parts") as parts,
        pytest.raises(InterruptedError),
    ):
        parts.learn(progress=False)
    for _ in range(2):  # stopped after a checkpoint, too
        with CMAES(Sphere(noise=0.1), TINY, path=tmp_path / "parts") as parts:
            parts.learn(max_seconds=parts.seconds + 1e-9, progress=False)
    with CMAES(Sphere(noise=0.1), TINY, path=tmp_path / "parts") as parts:
        assert 0 < parts.generation < 7
        parts.learn(progress=False)
    assert_same(whole, parts)
    assert without_time(tmp_path / "whole") == without_time(tmp_path / "parts")
    assert [row["step"] for row in without_time(tmp_path / "whole")] == [1, 2, 3, 4, 5, 6, 7]


def test_a_finished_search_can_be_extended(tmp_path):
    with CMAES(Sphere(noise=0.1), TINY, path=tmp_path / "whole") as whole:
        whole.learn(progress=False)
    for generations in (2, 5, 7):
        config = replace(TINY, generations=generations)
        with CMAES(Sphere(noise=0.1), config, path=tmp_path / "parts") as parts:
            parts.learn(progress=False)
    assert_same(whole, parts)
    assert without_time(tmp_path / "whole") == without_time(tmp_path / "parts")


@pytest.mark.parametrize(
    "tiny", ["gaussian", pytest.param("discrete", marks=pytest.mark.slow)], indirect=True
)
def test_killed_process_resumes(tiny, tmp_path):
    """SIGKILL inside a generation of dreams; another process goes on."""
    fitness = DreamFitness(
        WorldModel.open("car-racing", tiny.vision, tiny.memory),
        DreamFitnessConfig(num_rollouts=2, agent_steps=5),
    )
    config = CMAESConfig(generations=5, population_size=6, checkpoint_every=2)

    def learn_and_die():
        search = CMAES(fitness, config, path=tmp_path / "parts")
        rollouts, calls = fitness._rollouts, []

        def dying(*args):
            calls.append(args)
            if len(calls) == 4:
                os.kill(os.getpid(), signal.SIGKILL)
            return rollouts(*args)

        fitness._rollouts = dying
        search.learn(progress=False)

    assert in_child(learn_and_die) == (-signal.SIGKILL, None)
    with CMAES(fitness, config, path=tmp_path / "whole") as whole:
        whole.learn(progress=False)
    with CMAES(fitness, config, path=tmp_path / "parts") as parts:
        assert parts.generation == 2
        assert parts.learn(progress=False).done
        assert_same(whole, parts)


@pytest.mark.parametrize(
    "tiny", ["gaussian", pytest.param("discrete", marks=pytest.mark.slow)], indirect=True
)
def test_two_workers_give_the_same_generation(tiny, tmp_path):
    world_model = WorldModel.open("car-racing", tiny.vision, tiny.memory)
    searches = []
    for workers in (0, 2):
        trials = RealFitnessConfig(num_rollouts=2, agent_steps=4, num_envs=3)
        with (
            RealFitness(world_model, trials, workers=workers) as fitness,
            CMAES(
                fitness, CMAESConfig(generations=1, population_size=4), path=tmp_path / str(workers)
            ) as search,
        ):
            search.learn(progress=False)
        searches.append(search)
    assert_same(searches[0], searches[1])


def test_seeds_differ_by_generation_and_root(tmp_path):
    seen = []

    class Listening(Sphere):
        def __call__(self, parameters, seed):
            seen.append(seed)
            return super().__call__(parameters, seed)

    for root in (0, 1):
        with CMAES(Listening(), TINY, path=tmp_path / str(root), seed=root) as search:
            search.learn(progress=False)
    assert len(set(seen)) == 14


class Broken(Sphere):
    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def __call__(self, parameters, seed):
        scores = super().__call__(parameters, seed)
        scores[: self.count] = [[np.nan], [np.inf], [-np.inf], [np.nan]][: self.count]
        return scores


def test_scores_that_are_not_finite_rank_last(tmp_path):
    config = CMAESConfig(generations=60, population_size=8, sigma=0.3)
    with CMAES(Broken(3), config, path=tmp_path) as search:
        search.learn(progress=False)
    rows = read_metrics(tmp_path / "metrics.csv")
    assert [row["fitness/not_finite"] for row in rows] == [3.0] * 60
    assert np.isfinite([list(row.values()) for row in rows]).all()
    assert np.isfinite(search.state.covariance).all()
    assert rows[-1]["fitness/mean"] > 0.2 * rows[0]["fitness/mean"]


@pytest.mark.parametrize(("policy", "count", "allowed"), [("worst", 4, 3), ("raise", 1, 0)])
def test_too_many_of_them_stop_the_search(tmp_path, policy, count, allowed):
    config = CMAESConfig(generations=1, population_size=6, not_finite=policy)
    with (
        CMAES(Broken(count), config, path=tmp_path) as search,
        pytest.raises(
            FloatingPointError,
            match=rf"at most {allowed} candidates .* in generation 0, got {count} of 6",
        ),
    ):
        search.learn(progress=False)


def test_evaluator_fills_the_curve(tmp_path):
    with CMAES(Sphere(), TINY, path=tmp_path) as search:
        search.learn(
            evaluator=lambda agent: {"real/first": float(agent.parameters[0])},
            evaluate_every=3,
            progress=False,
        )
    rows = read_metrics(tmp_path / "metrics.csv")
    assert [row["step"] for row in rows if "real/first" in row] == [3, 6]
    assert list((tmp_path / "tensorboard").iterdir())


def test_save_and_load(tmp_path, ref):
    with CMAES(Sphere(), TINY, path=tmp_path / "a", world_model=ref) as search:
        search.learn(progress=False)
        search.save(tmp_path / "agent", provenance={"note": "x"})
    loaded = load_agent(tmp_path / "agent")
    np.testing.assert_array_equal(loaded.parameters, search.state.mean.astype(np.float32))
    assert loaded.world_model == ref
    provenance = load_artifact(tmp_path / "agent").provenance
    assert provenance["generations"] == 7
    assert provenance["fitness"] == {"target": 0.5, "noise": 0.0}
    assert provenance["note"] == "x"
    with CMAES.load(tmp_path / "agent", Sphere(), TINY, path=tmp_path / "b") as again:
        np.testing.assert_array_equal(again.agent.parameters, loaded.parameters)
        assert again.world_model == loaded.world_model
        assert again.generation == 0


def test_a_bad_start_is_refused(tmp_path):
    other = ControllerAgent(
        ControllerConfig(observation_dim=1, action_space=Box(-1, 1, (1,))), np.zeros(2)
    )
    with pytest.raises(ValueError, match="init: expected an agent with ControllerConfig"):
        CMAES(Sphere(), TINY, path=tmp_path, init=other)
    with pytest.raises(ValueError, match=r"init: expected shape \(10,\), got \(3,\)"):
        CMAES(Sphere(), TINY, path=tmp_path, init=np.zeros(3))
    with pytest.raises(ValueError, match="init: expected finite numbers, got "):
        CMAES(Sphere(), TINY, path=tmp_path, init=np.full(10, np.nan))


def test_a_large_controller_needs_a_diagonal(tmp_path):
    large = Sphere(hidden=(1000,))
    with pytest.raises(ValueError, match=r"'diagonal' for 7002 parameters, .* 0\.4 GB; use"):
        CMAES(large, path=tmp_path)
    config = CMAESConfig(generations=1, population_size=4, covariance="diagonal")
    with CMAES(large, config, path=tmp_path) as search:
        assert search.learn(progress=False).done


def test_a_run_is_for_one_configuration(tmp_path):
    CMAES(Sphere(), TINY, path=tmp_path).close()
    with pytest.raises(RunError, match=r"fitness\.target: expected 0\.7, got 0\.5"):
        CMAES(Sphere(0.7), TINY, path=tmp_path)
    with pytest.raises(RunError, match="init"):
        CMAES(Sphere(), TINY, path=tmp_path, init=np.ones(10))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"generations": 0}, "generations: expected at least 1, got 0"),
        ({"population_size": 3}, "population_size: expected at least 4, got 3"),
        ({"sigma": 0.0}, r"sigma: expected above 0, got 0\.0"),
        ({"covariance": "some"}, "covariance: expected one of"),
        ({"not_finite": "ignore"}, "not_finite: expected one of"),
    ],
)
def test_config_errors(options, message):
    with pytest.raises(ValueError, match=message):
        CMAESConfig(**options)


def test_an_update_that_ctrl_c_cuts_short_is_not_saved(tmp_path, monkeypatch):
    """The interruption is repeated in the update of generation 6, after the checkpoint at 3."""
    with CMAES(Sphere(noise=0.1), TINY, path=tmp_path / "whole") as whole:
        whole.learn(progress=False)
    update = cma_es_module.cma_update

    def interrupted_update(state, *given):
        if int(state.generation) == 5:
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGINT)
        return update(state, *given)

    with CMAES(Sphere(noise=0.1), TINY, path=tmp_path / "parts") as parts:
        monkeypatch.setattr(cma_es_module, "cma_update", interrupted_update)
        with pytest.raises(KeyboardInterrupt):
            parts.learn(progress=False)
    monkeypatch.undo()
    with CMAES(Sphere(noise=0.1), TINY, path=tmp_path / "parts") as parts:
        assert parts.generation == 3
        parts.learn(progress=False)
    assert_same(whole, parts)


@pytest.mark.parametrize("where", ["fitness", "evaluator"])
def test_ctrl_c_keeps_the_complete_generations(tmp_path, where):
    """The interruption arrives in the long part of generation 6, after the checkpoint at 3."""
    with CMAES(Sphere(noise=0.1), TINY, path=tmp_path / "whole") as whole:
        whole.learn(evaluator=lambda agent: {"score": 1.0}, evaluate_every=1, progress=False)

    class Interrupted(Sphere):
        def __call__(self, parameters, seed):
            if self.calls == 5 and where == "fitness":
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(5)
            return super().__call__(parameters, seed)

    def evaluator(agent):
        if parts.generation == 6 and where == "evaluator":
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)
        return {"score": 1.0}

    began = time.monotonic()
    with (
        CMAES(Interrupted(noise=0.1), TINY, path=tmp_path / "parts") as parts,
        pytest.raises(KeyboardInterrupt),
    ):
        parts.learn(evaluator=evaluator, evaluate_every=1, progress=False)
    assert time.monotonic() - began < 4
    with CMAES(Sphere(noise=0.1), TINY, path=tmp_path / "parts") as parts:
        # An evaluation that is not complete leaves its generation without a row of metrics.
        assert parts.generation == {"fitness": 5, "evaluator": 3}[where]
        parts.learn(evaluator=lambda agent: {"score": 1.0}, evaluate_every=1, progress=False)
    assert_same(whole, parts)
    assert without_time(tmp_path / "whole") == without_time(tmp_path / "parts")
