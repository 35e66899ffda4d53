"""Variational policy search, against posteriors that are known."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from stable_baselines3.common.evaluation import evaluate_policy

from wmrl.agents.agent import load_agent
from wmrl.agents.controller import ControllerAgent, ControllerConfig, batched_actions
from wmrl.agents.policy_search.posterior_agent import PosteriorAgent
from wmrl.agents.policy_search.variational import (
    VariationalSearch,
    VariationalSearchConfig,
    make_posterior,
    natural_step,
    prior_divergence,
    transform_returns,
)
from wmrl.agents.sb3.vec_env import SB3VecEnv
from wmrl.inference.elbo_gradient import control_variate_mean, score_function
from wmrl.storage.artifact import ArtifactError
from wmrl.storage.run import RunError
from wmrl.training.metrics import read_metrics

TINY = VariationalSearchConfig(generations=7, population_size=8, checkpoint_every=3)


class Bowl:
    """Return −½ (θ − t)ᵀ A (θ − t): with the prior, a Gaussian posterior."""

    def __init__(self, *, correlated: bool = False, noise: float = 0.0) -> None:
        self.controller = ControllerConfig(observation_dim=4, action_space=Box(-1, 1, (2,)))
        size = self.controller.parameter_count
        rng = np.random.default_rng(0)
        self.target = rng.normal(0, 0.3, size)
        self.precision = np.diag(rng.uniform(20.0, 200.0, size))
        if correlated:
            direction = rng.normal(size=size)
            direction /= np.linalg.norm(direction)
            self.precision = 100.0 * (np.eye(size) - 0.95 * np.outer(direction, direction))
        self.noise, self.calls = noise, 0

    def describe(self):
        return {"noise": self.noise}

    def __call__(self, parameters, seed):
        assert parameters.dtype == np.float32
        self.calls += 1
        gaps = parameters - self.target
        drawn = np.random.default_rng(seed).normal(size=(len(parameters), 3))
        values = -0.5 * np.einsum("pi,ij,pj->p", gaps, self.precision, gaps)
        return values[:, None] + self.noise * drawn


def posterior_of(bowl: Bowl, alpha: float, prior_std: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean ``(N,)`` and covariance ``(N, N)``."""
    precision = bowl.precision / alpha + np.eye(len(bowl.target)) / prior_std**2
    covariance = np.linalg.inv(precision)
    return covariance @ (bowl.precision @ bowl.target) / alpha, covariance


def search(fitness, config, path, seed=0, **options) -> VariationalSearch:
    return VariationalSearch(fitness, config, path=path, seed=seed, **options)


def test_it_ends_in_the_posterior(tmp_path) -> None:
    bowl = Bowl(noise=0.1)
    config = VariationalSearchConfig(
        generations=200,
        population_size=64,
        alpha=3.0,
        prior_std=0.7,
        learning_rate=0.15,
        std_learning_rate=0.1,
    )
    with search(bowl, config, tmp_path) as learner:
        agent = learner.learn(progress=False).agent
    mean, covariance = posterior_of(bowl, 3.0, 0.7)
    std = np.sqrt(np.diag(covariance))
    assert np.abs(agent.parameters - mean).max() < 0.3 * std.max()
    np.testing.assert_allclose(agent.std, std, rtol=0.2)


@pytest.mark.slow
def test_directions_find_what_is_correlated(tmp_path) -> None:
    bowl = Bowl(correlated=True)
    config = VariationalSearchConfig(
        generations=400, population_size=64, rank=1, alpha=2.0, learning_rate=0.2
    )
    with search(bowl, config, tmp_path) as learner:
        agent = learner.learn(progress=False).agent
    _, covariance = posterior_of(bowl, 2.0, 1.0)
    values, vectors = np.linalg.eigh(covariance)
    found = agent.directions[:, 0]
    assert abs(found @ vectors[:, -1]) / np.linalg.norm(found) > 0.9
    own = np.diag(agent.std**2) + np.outer(found, found)
    assert vectors[:, -1] @ own @ vectors[:, -1] == pytest.approx(values[-1], rel=0.3)


def test_a_search_that_is_sure_has_an_agent(tmp_path) -> None:
    """Whose standard deviations are above 0, where those of the search are too small for it."""
    config = VariationalSearchConfig(generations=4, population_size=8, checkpoint_every=1)
    with search(Bowl(), config, tmp_path) as learner:
        learner.learn(progress=False)
        with torch.no_grad():
            dict(learner.posterior.named_parameters())["log_scale"].fill_(-300.0)
        agent = learner.agent
    assert (agent.std > 0).all()
    np.testing.assert_allclose(agent.sample(1).parameters, agent.parameters)


def test_gradients_may_be_off(tmp_path) -> None:
    config = VariationalSearchConfig(generations=3, population_size=8)
    ends = []
    for on in (True, False):
        with (
            torch.set_grad_enabled(on),
            search(Bowl(), config, tmp_path / str(on)) as learner,
        ):
            ends.append(learner.learn(progress=False).agent.parameters)
    np.testing.assert_array_equal(*ends)


@pytest.mark.parametrize("returns", ["standardized", "ranks"])
def test_other_returns_find_the_target(returns, tmp_path) -> None:
    bowl = Bowl()
    config = VariationalSearchConfig(
        generations=120, population_size=32, alpha=0.1, returns=returns
    )
    with search(bowl, config, tmp_path) as learner:
        agent = learner.learn(progress=False).agent
    assert np.abs(agent.parameters - bowl.target).max() < 0.05


def test_the_natural_step_is_the_gradient_times_the_inverse_fisher_information() -> None:
    """In one dimension by hand, for a return that is linear in θ: E[return] = 2 μ."""
    config = VariationalSearchConfig(std=0.5)
    posterior = make_posterior(np.array([0.3]), config, seed=0)
    generator = torch.Generator().manual_seed(0)
    steps = []
    for _ in range(300):
        with torch.no_grad():
            drawn = posterior.draw(64, generator)
        steps.append(natural_step(posterior, drawn, 2.0 * drawn[:, 0], prior_std=2.0))
    loc = torch.stack([step["loc"] for step in steps])
    scale = torch.stack([step["log_scale"] for step in steps])
    # σ² (2 − μ/s²) = 0.25 (2 − 0.075), and ½ (1 − σ²/s²) = ½ (1 − 0.0625).
    assert loc.mean().item() == pytest.approx(0.25 * 1.925, abs=3 * float(loc.std()) / 300**0.5)
    assert scale.mean().item() == pytest.approx(
        0.46875, abs=3 * float(scale.std()) / 300**0.5 + 1e-9
    )


def test_the_natural_step_of_a_correlated_mean_is_the_covariance_times_the_gradient() -> None:
    """For a return that is linear in θ, whose gradient is known; and the directions' own step."""
    config = VariationalSearchConfig(std=0.5, rank=2)
    posterior = make_posterior(np.array([0.3, -0.2, 0.1]), config, seed=0)
    parameters = dict(posterior.named_parameters())
    with torch.no_grad():
        parameters["directions"].copy_(torch.tensor([[0.4, 0.0], [0.3, -0.2], [0.0, 0.6]]))
        parameters["log_scale"].copy_(torch.tensor([-0.5, -1.0, 0.2]))
    towards = torch.tensor([2.0, -1.0, 0.5], dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    steps, plain = [], []
    for _ in range(400):
        with torch.no_grad():
            drawn = posterior.draw(64, generator)
        utilities = drawn @ towards
        steps.append(natural_step(posterior, drawn, utilities, prior_std=2.0))
        if len(steps) > 20:  # more are only for the mean
            continue
        score = score_function(posterior, drawn)["directions"]
        divergence = prior_divergence(posterior, 2.0)
        own = torch.autograd.grad(divergence, parameters["directions"])[0]
        plain.append(control_variate_mean(utilities[:, None, None] * score, score) - own)
    loc = torch.stack([step["loc"] for step in steps])
    covariance = posterior.distribution().covariance_matrix
    expected = covariance @ (towards - parameters["loc"].detach() / 4.0)
    assert ((loc.mean(0) - expected).abs() < 4 * loc.std(0) / 20.0).all()
    variance = (2.0 * parameters["log_scale"].detach()).exp()
    for step, gradient in zip(steps[:20], plain, strict=True):
        torch.testing.assert_close(step["directions"], variance[:, None] * gradient)


def test_how_far_a_step_goes(tmp_path) -> None:
    """The mean up to a length in standard deviations, all else up to a fifth."""
    config = replace(TINY, rank=1, std=0.5, learning_rate=2.0, std_learning_rate=0.1)
    with search(Bowl(), config, tmp_path) as learner:
        parameters = dict(learner.posterior.named_parameters())
        before = {name: value.detach().clone() for name, value in parameters.items()}
        ones = {name: torch.ones_like(value) for name, value in before.items()}
        size = len(ones["loc"])
        ones["log_scale"][0] = 100.0
        learner._move(ones, max_length=3.0, std_scale=0.5)
        moved = {name: parameters[name].detach() - before[name] for name in before}
    # Its own length is √N / 0.5 standard deviations, of which it goes 3, times the rate of 2.
    length = math.sqrt(size) / 0.5
    torch.testing.assert_close(moved["loc"], torch.full_like(moved["loc"], 2.0 * 3.0 / length))
    torch.testing.assert_close(moved["log_scale"][1:], torch.full((size - 1,), 0.05).double())
    assert moved["log_scale"][0].item() == pytest.approx(0.2)
    torch.testing.assert_close(moved["directions"], torch.full_like(moved["directions"], 0.05))


@pytest.mark.parametrize("rank", [0, 2])
def test_the_divergence_is_torch_s(rank: int) -> None:
    posterior = make_posterior(
        np.array([0.3, -0.2, 0.1]), VariationalSearchConfig(rank=rank), seed=1
    )
    q = posterior.distribution()
    covariance = q.covariance_matrix if rank else torch.diag(q.variance)
    full = torch.distributions.MultivariateNormal(q.mean, covariance)
    prior = torch.distributions.MultivariateNormal(
        torch.zeros(3).double(), 0.49 * torch.eye(3).double()
    )
    expected = torch.distributions.kl_divergence(full, prior)
    assert torch.allclose(prior_divergence(posterior, 0.7), expected)


def test_returns_that_are_not_raw() -> None:
    returns = np.array([3.0, 1.0, 2.0, 1.0])
    np.testing.assert_array_equal(transform_returns(returns, "raw"), returns)
    ranks = transform_returns(returns, "ranks")
    assert ranks[1] == ranks[3] < ranks[2] < ranks[0]
    for kind in ("ranks", "standardized"):
        found = transform_returns(returns, kind)
        assert found.mean() == pytest.approx(0.0)
        assert found.std() == pytest.approx(1.0)
        np.testing.assert_array_equal(transform_returns(np.ones(4), kind), np.zeros(4))
    np.testing.assert_allclose(
        transform_returns(np.array([0.0, 1e6, 1.0]), "ranks"), [-(1.5**0.5), 1.5**0.5, 0]
    )


def test_alpha_falls_geometrically() -> None:
    config = VariationalSearchConfig(generations=5, alpha=16.0, alpha_final=1.0)
    assert [config.alpha_at(g) for g in range(5)] == pytest.approx([16, 8, 4, 2, 1])
    assert VariationalSearchConfig(alpha=3.0).alpha_at(7) == 3.0


@pytest.mark.parametrize("rank", [0, 2])
def test_a_killed_search_goes_on_to_the_same_bits(rank: int, tmp_path) -> None:
    config = VariationalSearchConfig(
        generations=7, population_size=8, rank=rank, checkpoint_every=3
    )
    with search(Bowl(), config, tmp_path / "whole") as whole:
        whole.learn(progress=False)

    class Killing(Bowl):
        def __call__(self, parameters, seed):
            if self.calls == 5:
                raise KeyboardInterrupt
            return super().__call__(parameters, seed)

    with search(Killing(), config, tmp_path / "k") as killed, pytest.raises(KeyboardInterrupt):
        killed.learn(progress=False)
    with search(Bowl(), config, tmp_path / "k") as resumed:
        assert resumed.generation == 5  # all that were complete
        resumed.learn(progress=False)
        for name, value in whole.posterior.state_dict().items():
            assert torch.equal(value, resumed.posterior.state_dict()[name]), name
    rows = [
        [{k: v for k, v in row.items() if k != "seconds"} for row in read_metrics(path)]
        for path in (tmp_path / "whole/metrics.csv", tmp_path / "k/metrics.csv")
    ]
    assert rows[0] == rows[1]
    with pytest.raises(RunError, match="another configuration"):
        search(Bowl(), config, tmp_path / "k", seed=1)


def test_the_posterior_is_an_agent(tmp_path, ref) -> None:
    config = VariationalSearchConfig(generations=2, population_size=8, rank=2)
    with search(Bowl(), config, tmp_path / "run", world_model=ref) as learner:
        learner.learn(progress=False).save(tmp_path / "agent")
        agent = learner.agent
    loaded = load_agent(tmp_path / "agent")
    assert isinstance(loaded, PosteriorAgent)
    for name in ("parameters", "std", "directions"):
        np.testing.assert_allclose(
            getattr(loaded, name), getattr(agent, name), rtol=2e-3, atol=1e-4
        )
    drawn = np.stack([loaded.sample(seed).parameters for seed in range(1500)])
    expected = np.sqrt(loaded.std**2 + (loaded.directions**2).sum(1))
    np.testing.assert_allclose(drawn.std(0), expected, rtol=0.1)
    np.testing.assert_allclose(drawn.mean(0), loaded.parameters, atol=5 * expected.max() / 60)
    np.testing.assert_array_equal(loaded.sample(3).parameters, loaded.sample(3).parameters)
    np.testing.assert_array_equal(loaded.sample(3, scale=0.0).parameters, loaded.parameters)
    twice = loaded.sample(3, scale=2.0).parameters - loaded.parameters
    np.testing.assert_allclose(
        twice, 2 * (loaded.sample(3).parameters - loaded.parameters), atol=1e-6
    )
    with search(Bowl(), config, tmp_path / "again", init=loaded) as further:
        np.testing.assert_array_equal(further.agent.parameters, loaded.parameters)
    with VariationalSearch.load(tmp_path / "agent", Bowl(), path=tmp_path / "from") as further:
        np.testing.assert_array_equal(further.agent.parameters, loaded.parameters)


def test_it_learns_a_game(match_env, tmp_path) -> None:
    class Match:
        controller = ControllerConfig(observation_dim=2, action_space=Box(-1, 1, (2,)))

        def describe(self):
            return {"game": "match"}

        def __call__(self, parameters, seed):
            scores, weights = np.zeros((len(parameters), 4)), torch.from_numpy(parameters)
            env = match_env(scores.size, horizon=20)
            seeds = [seed % 2**31 + slot % 4 for slot in range(scores.size)]
            observations, _ = env.reset(seed=seeds)
            for _ in range(20):
                seen = torch.from_numpy(observations.reshape(*scores.shape, 2))
                actions = batched_actions(weights, seen, config=self.controller)
                observations, rewards, *_ = env.step(actions.reshape(-1, 2).numpy())
                scores += rewards.reshape(scores.shape)
            return scores

    fitness = Match()
    config = VariationalSearchConfig(
        generations=50, population_size=24, std=0.3, alpha=1.0, returns="standardized"
    )
    with search(fitness, config, tmp_path) as learner:
        before = fitness(np.zeros((1, fitness.controller.parameter_count), np.float32), 0).mean()
        learner.learn(progress=False)
        score, _ = evaluate_policy(learner.agent, SB3VecEnv(match_env(4, horizon=20)), warn=False)
    assert score > 15.0 > 9.0 > before


def test_what_is_not_finite_counts_as_the_worst(tmp_path) -> None:
    """To the bit what the worst of the others' returns would have made of it."""

    class Patched(Bowl):
        patch = math.nan

        def __call__(self, parameters, seed):
            values = super().__call__(parameters, seed)
            values[:2] = values[2:].mean(1).min() if self.patch == 0.0 else self.patch
            return values

    found = []
    for name, patch in (("nan", math.nan), ("inf", math.inf), ("worst", 0.0)):
        fitness = Patched()
        fitness.patch = patch
        with search(fitness, TINY, tmp_path / name) as learner:
            found.append(learner.learn(progress=False).agent.parameters)
    np.testing.assert_array_equal(found[0], found[2])
    np.testing.assert_array_equal(found[1], found[2])


def test_returns_that_are_not_finite(tmp_path) -> None:
    class Broken(Bowl):
        bad = 2

        def __call__(self, parameters, seed):
            values = super().__call__(parameters, seed)
            values[: self.bad] = math.nan
            return values

    with search(Broken(), TINY, tmp_path / "some") as learner:
        learner.learn(progress=False)
        assert np.isfinite(learner.agent.parameters).all()
    assert read_metrics(tmp_path / "some/metrics.csv")[-1]["fitness/not_finite"] == 2
    many = Broken()
    many.bad = 6
    said = "in generation 0, got 6 of 8"
    with (
        search(many, TINY, tmp_path / "many") as learner,
        pytest.raises(FloatingPointError, match=said),
    ):
        learner.learn(progress=False)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"population_size": 3}, "population_size: expected at least 4, got 3"),
        ({"alpha": 0.0}, "alpha: expected above 0, got 0.0"),
        ({"alpha_final": -1.0}, "alpha_final: expected above 0, got -1.0"),
        ({"std": math.nan}, "std: expected a finite number, got nan"),
        ({"returns": "luck"}, "returns: expected one of"),
        ({"rank": -1}, "rank: expected at least 0"),
    ],
)
def test_settings_that_can_not_be_are_refused(wrong, said) -> None:
    with pytest.raises(ValueError, match=said):
        VariationalSearchConfig(**wrong)


def test_an_agent_that_does_not_fit_is_refused(tmp_path) -> None:
    config = ControllerConfig(observation_dim=4, action_space=Box(-1, 1, (2,)))
    size = config.parameter_count
    with pytest.raises(ValueError, match="std: expected finite numbers above 0, got numbers"):
        PosteriorAgent(config, np.zeros(size), np.zeros(size))
    with pytest.raises(ValueError, match=rf"directions: expected shape \({size}, R\)"):
        PosteriorAgent(config, np.zeros(size), np.ones(size), np.ones((3, 2)))
    ControllerAgent(config, np.zeros(size)).save(tmp_path / "plain")
    with pytest.raises(ArtifactError, match="expected a PosteriorAgent, got a ControllerAgent"):
        PosteriorAgent.load(tmp_path / "plain")
