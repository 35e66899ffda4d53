"""Ways to train controllers side by side."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from toy_game import STEERED

from wmrl.agents.agent import load_agent
from wmrl.agents.evaluation import evaluate, evaluate_dream
from wmrl.agents.policy_search.fitness import (
    DreamFitness,
    DreamFitnessConfig,
    RealFitness,
    RealFitnessConfig,
)
from wmrl.agents.policy_search.posterior_agent import PosteriorAgent
from wmrl.agents.ppo.learner import PPOConfig
from wmrl.core.seeding import integer_seed
from wmrl.envs.world_model import Eye
from wmrl.scripts.reproduce.policies.experiment import (
    METHODS,
    Method,
    PolicyTrialConfig,
    SpreadConfig,
    try_policy,
    try_spread,
)

TRIALS = DreamFitnessConfig(rollouts=2, decisions=8, dropout=True, action_noise=0.1)
TINY = PolicyTrialConfig(
    generations=3,
    population=4,
    trials=TRIALS,
    rank=2,
    ppo=PPOConfig(rollout_steps=8, chunk_rollouts=1, minibatch=16, epochs=1),
    dreams=4,
    scored_dreams=3,
    episodes=2,
)


@pytest.fixture(scope="module")
def eye(make_tiny: Any) -> Eye:
    tiny = make_tiny(STEERED)
    return Eye.open(STEERED, tiny.vision, tiny.memory, device="cpu")


def try_it(method: Method, path: Path, eye: Eye, **options: Any) -> dict[str, Any]:
    options = {"config": TINY, "seed": 1, "workers": 0, "progress": False} | options
    return try_policy(method, path, eye=eye, **options)


def test_every_way_has_a_title() -> None:
    assert set(METHODS) == set(get_args(Method))


@pytest.mark.parametrize("method", METHODS)
def test_a_trial_trains_and_scores_once(method: Method, eye: Eye, tmp_path: Path) -> None:
    row = try_it(method, tmp_path, eye)
    assert (row["method"], row["seed"], row["base"]) == (method, 1, STEERED.env_id)
    assert TINY.steps == 3 * 4 * 2 * 8
    assert row["steps"] == TINY.steps
    driver = load_agent(tmp_path / "driver")
    assert isinstance(driver, PosteriorAgent) == method.startswith("variational")
    if isinstance(driver, PosteriorAgent):
        assert driver.directions.shape[1] == (2 if method == "variational-low-rank" else 0)
    score = evaluate(driver, episodes=2, eye=eye, workers=0)
    assert row["returns"] == list(score.returns)
    assert (row["mean"], row["std"]) == (score.mean, score.std)
    dream = evaluate_dream(driver, episodes=3, decisions=8, dropout=True, eye=eye, seed=1_250_000)
    assert row["dream"] == dream.mean
    made = (tmp_path / "result.json").stat().st_mtime_ns
    assert try_it(method, tmp_path, eye) == row
    assert (tmp_path / "result.json").stat().st_mtime_ns == made
    with pytest.raises(ValueError, match="one of other settings"):
        try_it(method, tmp_path, eye, seed=2)


def test_ways_differ_and_seeds_repeat(eye: Eye, tmp_path: Path) -> None:
    def trained(method: Method, name: str, **options: Any) -> np.ndarray:
        try_it(method, tmp_path / name, eye, **options)
        return load_agent(tmp_path / name / "driver").parameters  # type: ignore[attr-defined]

    ranks = trained("variational", "ranks")
    np.testing.assert_array_equal(trained("variational", "again"), ranks)
    assert (trained("variational", "other", seed=2) != ranks).all()
    raw = trained("variational-raw", "raw")
    warmer = trained("variational-raw", "warmer", config=replace(TINY, raw_temperature=50.0))
    assert (raw != ranks).any()
    assert (raw != warmer).any()


def test_an_unknown_way_is_refused(eye: Eye, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"method: expected one of cma-es, .*, got 'sgd'"):
        try_it("sgd", tmp_path, eye)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_draws_are_tried_in_the_dream_and_in_the_game(eye: Eye, tmp_path: Path) -> None:
    size = DreamFitness(eye, TRIALS).controller.parameter_count
    rng = np.random.default_rng(0)
    posterior = PosteriorAgent(
        DreamFitness(eye, TRIALS).controller, rng.normal(0, 0.3, size), np.full(size, 0.5)
    )
    config = SpreadConfig(scales=(0.5, 2.0), draws=4, dreams=3, episodes=2)

    def tried() -> list[dict[str, Any]]:
        return try_spread(
            posterior, tmp_path, eye=eye, trials=TRIALS, config=config, seed=5, workers=0
        )

    rows = tried()
    assert [row["scale"] for row in rows] == [0.0, 0.5, 2.0]
    assert [len(row["real"]) for row in rows] == [1, 4, 4]
    assert rows[0]["correlation"] is None
    assert -1.0 <= rows[1]["correlation"] <= 1.0
    draws = [posterior.sample(integer_seed(5, "draw", draw), scale=2.0) for draw in range(4)]
    parameters = np.stack([each.parameters for each in draws])
    dreamed = DreamFitness(eye, replace(TRIALS, rollouts=3))
    dream = dreamed(parameters, integer_seed(5, "spread", "dream")).mean(1)
    assert rows[2]["dream"] == dream.tolist()
    with RealFitness(eye, RealFitnessConfig(rollouts=2), workers=0) as real:
        played = real(parameters, integer_seed(5, "spread", "real")).mean(1)
    assert rows[2]["real"] == played.tolist()
    assert json.loads((tmp_path / "spread.json").read_text())["rows"] == rows
    assert tried() == rows
    posterior.std[0] = 0.7
    with pytest.raises(ValueError, match="one of other settings"):
        tried()
