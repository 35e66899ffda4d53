"""Comparison of training methods in one dream, with the same number of agent steps."""

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from scipy.stats import spearmanr

from wmrl.agents.policy_search.cma_es import CMAESConfig
from wmrl.agents.policy_search.fitness import (
    DreamFitness,
    DreamFitnessConfig,
    RealFitness,
    RealFitnessConfig,
)
from wmrl.agents.policy_search.posterior_agent import PosteriorAgent
from wmrl.agents.policy_search.variational import VariationalSearchConfig
from wmrl.agents.ppo.config import PPOConfig
from wmrl.agents.world_model_ref import WorldModelRef
from wmrl.core.config import check_fields
from wmrl.core.hashing import tensors_digest
from wmrl.core.seeding import integer_seed
from wmrl.core.validation import check_choice, check_float, check_int
from wmrl.envs.world_model import WorldModel
from wmrl.scripts.reproduce.cached_result import CachedResult
from wmrl.scripts.reproduce.dream_trial import DreamTrial, Training

Method = Literal["cma-es", "variational", "variational-raw", "variational-low-rank", "ppo"]

METHODS: dict[Method, str] = {
    "cma-es": "CMA-ES",
    "variational": "variational search, on ranks",
    "variational-raw": "variational search, on returns",
    "variational-low-rank": "variational search, on ranks, correlated",
    "ppo": "PPO (Stable-Baselines3)",
}
"""Titles of the training methods in tables, by name. CMA-ES and variational search train linear
controllers. PPO trains a network with the hidden layers of the default configuration."""


@dataclass(frozen=True, kw_only=True)
class PolicyTrialConfig:
    """Settings of a comparison of training methods.

    Attributes:
        generations: number of generations of CMA-ES and variational search.
        population_size: number of controllers per generation.
        fitness: evaluation of controllers in the dream. All methods, including PPO, train for
            ``generations`` × ``population_size`` × ``fitness.num_rollouts`` ×
            ``fitness.agent_steps`` agent steps.
        cma_es: settings of CMA-ES; its ``generations`` and ``population_size`` are ignored.
        variational: settings of variational search; its ``generations`` and ``population_size`` are
            ignored. By default, its initial standard deviation equals the initial step size of
            CMA-ES.
        rank: number of directions along which the posterior of ``"variational-low-rank"`` may be
            correlated.
        raw_alpha: weight α of the divergence from the prior in ``"variational-raw"``.
        ppo: settings of PPO; its number of ``steps`` is ignored.
        num_envs: number of parallel dreams in which PPO trains.
        dream_episodes: number of dreams in which a trained agent is scored.
        episodes: number of episodes of the unmodified game in which a trained agent is scored.
    """

    generations: int = 60
    population_size: int = 64
    fitness: DreamFitnessConfig = field(
        default_factory=lambda: DreamFitnessConfig(
            num_rollouts=16, agent_steps=50, dropout=True, action_noise=0.2
        )
    )
    cma_es: CMAESConfig = field(default_factory=lambda: CMAESConfig(sigma=0.05))
    variational: VariationalSearchConfig = field(
        default_factory=lambda: VariationalSearchConfig(
            returns="ranks", alpha=0.01, std=0.05, learning_rate=2.0
        )
    )
    rank: int = 8
    raw_alpha: float = 0.1
    ppo: PPOConfig = field(default_factory=PPOConfig.dream)
    num_envs: int = 256
    dream_episodes: int = 1024
    episodes: int = 100

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("generations", "rank", "num_envs", "dream_episodes", "episodes"):
            check_int(name, getattr(self, name), at_least=1)
        check_int("population_size", self.population_size, at_least=4)
        check_float("raw_alpha", self.raw_alpha, above=0)

    @property
    def steps(self) -> int:
        """Number of agent steps for which each method trains in the dream."""
        return (
            self.generations
            * self.population_size
            * self.fitness.num_rollouts
            * self.fitness.agent_steps
        )


@dataclass(frozen=True, kw_only=True)
class SpreadConfig:
    """Settings for the evaluation of controllers that are sampled from a posterior.

    Attributes:
        scales: factors by which the posterior's standard deviations are multiplied.
        num_samples: number of controllers sampled at each scale.
        num_rollouts: number of rollouts of each controller in the dream.
        episodes: number of episodes of each controller in the task's own environment, which renders
            faster than the unmodified game.
    """

    scales: tuple[float, ...] = (0.5, 1.0, 2.0)
    num_samples: int = 25
    num_rollouts: int = 16
    episodes: int = 4

    def __post_init__(self) -> None:
        check_fields(self)
        for name, least in (("num_samples", 2), ("num_rollouts", 1), ("episodes", 1)):
            check_int(name, getattr(self, name), at_least=least)
        for scale in self.scales:
            check_float("scales", scale, above=0)


def try_policy(
    method: Method,
    path: str | Path,
    *,
    world_model: WorldModel,
    config: PolicyTrialConfig | None = None,
    seed: int = 0,
    ref: WorldModelRef | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Trains an agent in the dream, then scores it in the dream and in the unmodified game.

    To resume an interrupted trial, repeat the call. If the trial is finished, its result is read
    from the folder. The folder of a finished trial contains the training run ``learner/``, the
    agent ``agent/``, and ``result.json``.

    Args:
        method: training method.
        path: folder of the trial.
        world_model: world model of the dream.
        config: settings; the defaults if None.
        seed: root seed.
        ref: reference to the world model, which is saved with the agent; None to save the agent
            without a reference.
        workers: number of worker processes that play the game; one per core if None.
        progress: True to show progress bars.

    Returns:
        The result, with ``method``, ``seed`` and these entries:

        - ``key``: everything that the result depends on.
        - ``steps`` and ``seconds``: number of agent steps and wall time of the training.
        - ``dream``: mean return of deterministic episodes in the dream.
        - ``mean``, ``std`` and ``returns``: mean, standard deviation and list of the returns in the
          unmodified game.
        - ``base``: Gymnasium id of the unmodified game.

    Raises:
        ValueError: the method is unknown, or the folder contains the result of another trial.
        RunError: the folder is in use, or belongs to another trial.
    """
    check_choice("method", method, get_args(Method))
    path, config = Path(path), config or PolicyTrialConfig()
    key = {
        "method": method,
        "config": asdict(config),
        "seed": seed,
        "memory": world_model.memory.digest if world_model.memory is not None else None,
    }
    cached = CachedResult(path / "result.json", key, name="trial")
    if cached.value is not None:
        return cached.value
    dreams = config.fitness
    trial = DreamTrial(
        path=path,
        world_model=world_model,
        ref=ref,
        temperature=dreams.temperature,
        dropout=dreams.dropout,
        agent_steps=dreams.agent_steps,
        seed=integer_seed(seed, "policy", method),
        provenance={"command": "reproduce policies", "method": method, "seed": seed},
        progress=progress,
    )
    training = _train(method, trial, config)
    dream, game = trial.score(
        training.agent,
        dream_episodes=config.dream_episodes,
        episodes=config.episodes,
        workers=workers,
    )
    return cached.store(
        {
            "method": method,
            "seed": seed,
            "steps": training.steps,
            "seconds": training.seconds,
            "dream": dream.mean,
            "mean": game.mean,
            "std": game.std,
            "returns": list(game.returns),
            "base": game.base,
        }
    )


def _train(method: Method, trial: DreamTrial, config: PolicyTrialConfig) -> Training:
    if method == "ppo":
        return trial.train_by_ppo(replace(config.ppo, steps=config.steps), num_envs=config.num_envs)
    fitness = DreamFitness(trial.world_model, config.fitness)
    size: dict[str, Any] = {
        "generations": config.generations,
        "population_size": config.population_size,
    }
    if method == "cma-es":
        return trial.train_by_search(replace(config.cma_es, **size), fitness)
    changes: dict[str, dict[str, Any]] = {
        "variational": {},
        "variational-raw": {"returns": "raw", "alpha": config.raw_alpha},
        "variational-low-rank": {"rank": config.rank},
    }
    posterior = replace(config.variational, **size, **changes[method])
    return trial.train_by_search(posterior, fitness)


def try_spread(
    agent: PosteriorAgent,
    path: str | Path,
    *,
    world_model: WorldModel,
    fitness: DreamFitnessConfig,
    config: SpreadConfig | None = None,
    seed: int = 0,
    workers: int | None = None,
) -> list[dict[str, Any]]:
    """Samples controllers from a posterior, and evaluates them in the dream and in the real game.

    This is repeated for several factors, by which the posterior's standard deviations are
    multiplied. If the folder already contains the result, the result is read from there.

    Args:
        agent: agent with the posterior.
        path: folder in which the result is stored, as ``spread.json``.
        world_model: world model of the agent.
        fitness: settings of the evaluation in the dream, including action noise. Its attribute
            ``num_rollouts`` is ignored; ``config.num_rollouts`` is used.
        config: settings; the defaults if None.
        seed: root seed.
        workers: number of worker processes that play the game; one per core if None.

    Returns:
        One row for scale 0 and one row for each scale of ``config``. At scale 0, the posterior's
        mean is the only controller. Each row contains:

        - ``scale``: factor by which the standard deviations are multiplied.
        - ``dream`` and ``real``: two lists, with the mean return of each controller in the dream
          and in the real game.
        - ``correlation``: Spearman's correlation of the two lists. None if all numbers of a list
          are equal, which is always the case at scale 0.

    Raises:
        ValueError: the folder contains a result with other settings.
    """
    path, config = Path(path), config or SpreadConfig()
    key = {
        "agent": _digest(agent),
        "memory": world_model.memory.digest if world_model.memory is not None else None,
        "config": asdict(config),
        "fitness": asdict(fitness),
        "seed": seed,
    }
    cached = CachedResult(path / "spread.json", key, name="posterior's trial")
    if cached.value is not None:
        rows: list[dict[str, Any]] = cached.value["rows"]
        return rows
    dream = DreamFitness(world_model, replace(fitness, num_rollouts=config.num_rollouts))
    real_config = RealFitnessConfig(num_rollouts=config.episodes)
    rows = []
    with RealFitness(world_model, real_config, workers=workers) as real:
        for scale in (0.0, *config.scales):
            drawn = [
                agent.sample(integer_seed(seed, "draw", number), scale=scale).parameters
                for number in range(config.num_samples if scale else 1)
            ]
            parameters = np.stack(drawn)
            found = {
                "dream": dream(parameters, integer_seed(seed, "spread", "dream")).mean(1),
                "real": real(parameters, integer_seed(seed, "spread", "real")).mean(1),
            }
            differ = all(np.ptp(values) > 0 for values in found.values())
            alike = float(spearmanr(found["dream"], found["real"]).statistic) if differ else None
            returns = {name: values.tolist() for name, values in found.items()}
            rows.append({"scale": scale, **returns, "correlation": alike})
    cached.store({"rows": rows})
    return rows


def _digest(agent: PosteriorAgent) -> str:
    arrays = {"mean": agent.parameters, "std": agent.std, "directions": agent.directions}
    return tensors_digest({name: torch.from_numpy(array) for name, array in arrays.items()})
