"""Comparison of training methods."""

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from toy_game import STEERED

from wmrl.agents.agent import load_agent
from wmrl.agents.evaluation.scoring import evaluate, evaluate_dream
from wmrl.agents.policy_search.fitness import (
    DreamFitness,
    DreamFitnessConfig,
    RealFitness,
    RealFitnessConfig,
)
from wmrl.agents.policy_search.posterior_agent import PosteriorAgent
from wmrl.agents.ppo.config import PPOConfig
from wmrl.core.seeding import integer_seed
from wmrl.envs.world_model import WorldModel
from wmrl.scripts.reproduce.policies.experiment import (
    METHODS,
    Method,
    PolicyTrialConfig,
    SpreadConfig,
    try_policy,
    try_spread,
)
from wmrl.storage.reading import read_json

FITNESS = DreamFitnessConfig(num_rollouts=2, agent_steps=8, dropout=True, action_noise=0.1)
TINY = PolicyTrialConfig(
    generations=3,
    population_size=4,
    fitness=FITNESS,
    rank=2,
    ppo=PPOConfig(rollout_steps=8, chunk_rollouts=1, batch_size=16, n_epochs=1),
    num_envs=4,
    dream_episodes=3,
    episodes=2,
)


@pytest.fixture(scope="module")
def world_model(make_tiny: Any) -> WorldModel:
    tiny = make_tiny(STEERED)
    return WorldModel.open(STEERED, tiny.vision, tiny.memory, device="cpu")


def try_it(method: Method, path: Path, world_model: WorldModel, **options: Any) -> dict[str, Any]:
    options = {"config": TINY, "seed": 1, "workers": 0, "progress": False} | options
    return try_policy(method, path, world_model=world_model, **options)


def test_every_method_has_a_title() -> None:
    assert set(METHODS) == set(get_args(Method))


@pytest.mark.parametrize("method", METHODS)
def test_a_trial_trains_and_scores_once(
    method: Method, world_model: WorldModel, tmp_path: Path
) -> None:
    row = try_it(method, tmp_path, world_model)
    assert (row["method"], row["seed"], row["base"]) == (method, 1, STEERED.env_id)
    assert TINY.steps == 3 * 4 * 2 * 8
    assert row["steps"] == TINY.steps
    agent = load_agent(tmp_path / "agent")
    assert isinstance(agent, PosteriorAgent) == method.startswith("variational")
    if isinstance(agent, PosteriorAgent):
        assert agent.directions.shape[1] == (2 if method == "variational-low-rank" else 0)
    score = evaluate(agent, episodes=2, world_model=world_model, workers=0)
    assert row["returns"] == list(score.returns)
    assert (row["mean"], row["std"]) == (score.mean, score.std)
    dream = evaluate_dream(
        agent, episodes=3, agent_steps=8, dropout=True, world_model=world_model, seed=1_250_000
    )
    assert row["dream"] == dream.mean
    made = (tmp_path / "result.json").stat().st_mtime_ns
    assert try_it(method, tmp_path, world_model) == row
    assert (tmp_path / "result.json").stat().st_mtime_ns == made
    with pytest.raises(ValueError, match="which has other settings"):
        try_it(method, tmp_path, world_model, seed=2)


def test_methods_differ_and_seeds_repeat(world_model: WorldModel, tmp_path: Path) -> None:
    def trained(method: Method, name: str, **options: Any) -> np.ndarray:
        try_it(method, tmp_path / name, world_model, **options)
        return load_agent(tmp_path / name / "agent").parameters  # type: ignore[attr-defined]

    ranks = trained("variational", "ranks")
    np.testing.assert_array_equal(trained("variational", "again"), ranks)
    assert (trained("variational", "other", seed=2) != ranks).all()
    raw = trained("variational-raw", "raw")
    warmer = trained("variational-raw", "warmer", config=replace(TINY, raw_alpha=50.0))
    assert (raw != ranks).any()
    assert (raw != warmer).any()


def test_an_unknown_method_is_refused(world_model: WorldModel, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"method: expected one of 'cma-es', .*, got 'sgd'"):
        try_it("sgd", tmp_path, world_model)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_samples_are_evaluated_in_the_dream_and_in_the_game(
    world_model: WorldModel, tmp_path: Path
) -> None:
    size = DreamFitness(world_model, FITNESS).controller.parameter_count
    rng = np.random.default_rng(0)
    posterior = PosteriorAgent(
        DreamFitness(world_model, FITNESS).controller, rng.normal(0, 0.3, size), np.full(size, 0.5)
    )
    config = SpreadConfig(scales=(0.5, 2.0), num_samples=4, num_rollouts=3, episodes=2)

    def evaluated() -> list[dict[str, Any]]:
        return try_spread(
            posterior,
            tmp_path,
            world_model=world_model,
            fitness=FITNESS,
            config=config,
            seed=5,
            workers=0,
        )

    rows = evaluated()
    assert [row["scale"] for row in rows] == [0.0, 0.5, 2.0]
    assert [len(row["real"]) for row in rows] == [1, 4, 4]
    assert rows[0]["correlation"] is None
    assert -1.0 <= rows[1]["correlation"] <= 1.0
    samples = [posterior.sample(integer_seed(5, "draw", number), scale=2.0) for number in range(4)]
    parameters = np.stack([each.parameters for each in samples])
    dreamed = DreamFitness(world_model, replace(FITNESS, num_rollouts=3))
    dream = dreamed(parameters, integer_seed(5, "spread", "dream")).mean(1)
    assert rows[2]["dream"] == dream.tolist()
    with RealFitness(world_model, RealFitnessConfig(num_rollouts=2), workers=0) as real:
        played = real(parameters, integer_seed(5, "spread", "real")).mean(1)
    assert rows[2]["real"] == played.tolist()
    assert read_json(tmp_path / "spread.json")["rows"] == rows
    assert evaluated() == rows
    posterior.std[0] = 0.7
    with pytest.raises(ValueError, match="which has other settings"):
        evaluated()
