"""Ways to train controllers side by side: in the same dream, for as many of its decisions."""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from gymnasium.vector import AutoresetMode
from scipy.stats import spearmanr

from wmrl.agents.agent import Agent, load_agent
from wmrl.agents.evaluation import evaluate, evaluate_dream
from wmrl.agents.policy_search.cma_es import CMAES, CMAESConfig
from wmrl.agents.policy_search.fitness import (
    DreamFitness,
    DreamFitnessConfig,
    RealFitness,
    RealFitnessConfig,
)
from wmrl.agents.policy_search.posterior_agent import PosteriorAgent
from wmrl.agents.policy_search.variational import VariationalSearch, VariationalSearchConfig
from wmrl.agents.ppo.learner import PPOConfig, PPOLearner
from wmrl.agents.seeds import EVALUATION_SEEDS
from wmrl.core.seeding import integer_seed
from wmrl.envs.dream.vector import DreamVectorEnv
from wmrl.envs.world_model import Eye
from wmrl.scripts.reproduce.cached_result import KeptReport

Method = Literal["cma-es", "variational", "variational-raw", "variational-low-rank", "ppo"]

METHODS: dict[Method, str] = {
    "cma-es": "CMA-ES",
    "variational": "variational search, on ranks",
    "variational-raw": "variational search, on returns",
    "variational-low-rank": "variational search, on ranks, correlated",
    "ppo": "PPO (Stable-Baselines3)",
}
"""Ways to train, and their titles. All controllers are linear but PPO's, which has its usual
hidden layers."""

# Dreams of their own, apart from those of training and of curves.
_DREAM_SEED = EVALUATION_SEEDS.start + 250_000


@dataclass(frozen=True, kw_only=True)
class PolicyTrialConfig:
    """How ways to train are compared.

    Attributes:
        generations: of the searches over parameters.
        population: controllers in each.
        trials: how each controller is tried in the dream. ``generations`` × ``population`` ×
            ``trials.rollouts`` × ``trials.decisions`` is the number of dreamed decisions, which PPO
            has as well.
        evolution: how CMA-ES searches; the numbers above replace its own, as they do below.
        variational: how posteriors are searched for. It begins as wide as CMA-ES does.
        rank: directions of the posterior whose parameters are correlated.
        raw_temperature: α where returns are taken as they are.
        ppo: how PPO learns.
        dreams: dreams at once for PPO.
        scored_dreams: dreams of a driver's dream score.
        episodes: of its real score, in the unmodified game.
    """

    generations: int = 60
    population: int = 64
    trials: DreamFitnessConfig = field(
        default_factory=lambda: DreamFitnessConfig(
            rollouts=16, decisions=50, dropout=True, action_noise=0.2
        )
    )
    evolution: CMAESConfig = field(default_factory=lambda: CMAESConfig(sigma=0.05))
    variational: VariationalSearchConfig = field(
        default_factory=lambda: VariationalSearchConfig(
            returns="ranks", temperature=0.01, std=0.05, learning_rate=2.0
        )
    )
    rank: int = 8
    raw_temperature: float = 0.1
    ppo: PPOConfig = field(default_factory=PPOConfig.dream)
    dreams: int = 256
    scored_dreams: int = 1024
    episodes: int = 100

    def __post_init__(self) -> None:
        for name in ("generations", "rank", "dreams", "scored_dreams", "episodes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")

    @property
    def steps(self) -> int:
        """Dreamed decisions that each way has."""
        return self.generations * self.population * self.trials.rollouts * self.trials.decisions


@dataclass(frozen=True, kw_only=True)
class SpreadConfig:
    """How a posterior's draws are tried.

    Attributes:
        scales: multiples of its standard deviations.
        draws: controllers drawn at each.
        dreams: that each dreams.
        episodes: that each drives, in the task's own game, whose pictures are drawn faster than
            the unmodified one's.
    """

    scales: tuple[float, ...] = (0.5, 1.0, 2.0)
    draws: int = 25
    dreams: int = 16
    episodes: int = 4

    def __post_init__(self) -> None:
        for name, least in (("draws", 2), ("dreams", 1), ("episodes", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}: expected at least {least}, got {getattr(self, name)}")
        if not all(0.0 < scale < np.inf for scale in self.scales):
            raise ValueError(f"scales: expected finite numbers above 0, got {self.scales}")


def try_policy(
    method: Method,
    path: str | Path,
    *,
    eye: Eye,
    config: PolicyTrialConfig | None = None,
    seed: int = 0,
    entry: Mapping[str, Any] | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Trains a driver in the dream and scores it there and in the unmodified game, once.

    The folder holds the run, ``driver/`` and ``result.json``: killed at any moment, the same call
    goes on, and ends at once where all is done.

    Args:
        method: how it learns.
        path: folder of the trial.
        eye: vision and memory.
        config: how much of everything.
        seed: root of all randomness.
        entry: what the driver's artifact says of the eye, see
            :func:`~wmrl.agents.world_model_ref.eye_entry`.
        workers: processes that play.
        progress: show progress bars.

    Returns:
        ``method``, ``seed``, ``steps``, ``seconds`` of learning, ``dream``, the mean return of
        deterministic drives in the dream, and ``mean``, ``std`` and ``returns`` in the game.

    Raises:
        ValueError: the method is unknown, or the folder holds the result of another trial.
        RunError: the folder is in use, or belongs to another trial.
    """
    if method not in get_args(Method):
        raise ValueError(f"method: expected one of {', '.join(METHODS)}, got {method!r}")
    path, config = Path(path), config or PolicyTrialConfig()
    asked = {
        "method": method,
        "config": asdict(config),
        "seed": seed,
        "memory": eye.memory.digest if eye.memory is not None else None,
    }
    report = KeptReport(path / "result.json", asked, what="trial")
    if report.found is not None:
        return report.found
    agent, steps, seconds = _train(method, path, eye, config, seed, entry, progress)
    trials = config.trials
    dream = evaluate_dream(
        agent,
        episodes=config.scored_dreams,
        decisions=trials.decisions,
        temperature=trials.temperature,
        dropout=trials.dropout,
        seed=_DREAM_SEED,
        eye=eye,
    )
    score = evaluate(agent, episodes=config.episodes, eye=eye, workers=workers, progress=progress)
    return report.keep(
        {
            "method": method,
            "seed": seed,
            "steps": steps,
            "seconds": seconds,
            "dream": dream.mean,
            "mean": score.mean,
            "std": score.std,
            "returns": list(score.returns),
            "base": score.base,
        }
    )


def _train(
    method: Method,
    path: Path,
    eye: Eye,
    config: PolicyTrialConfig,
    seed: int,
    entry: Mapping[str, Any] | None,
    progress: bool,
) -> tuple[Agent, int, float]:
    """Leaves ``driver/``; returns it, the dreamed decisions and the seconds that it took."""
    own: dict[str, Any] = {
        "path": path / "learner",
        "seed": integer_seed(seed, "policy", method),
        "eye": entry,
    }
    provenance = {"command": "reproduce policies", "method": method, "seed": seed}
    learner: CMAES | VariationalSearch | PPOLearner
    if method == "ppo":
        env = DreamVectorEnv(
            config.dreams,
            task=eye.task,
            vision=eye.vision,
            memory=eye.memory,  # type: ignore[arg-type]  # None is refused there, with a message
            temperature=config.trials.temperature,
            dropout=config.trials.dropout,
            max_episode_steps=config.trials.decisions,
            autoreset_mode=AutoresetMode.SAME_STEP,
        )
        with closing(env), PPOLearner(env, replace(config.ppo, steps=config.steps), **own) as ppo:
            ppo.learn(progress=progress).save(path / "driver", provenance=provenance)
            return load_agent(path / "driver"), ppo.steps, ppo.seconds
    fitness = DreamFitness(eye, config.trials)
    size: dict[str, Any] = {
        "generations": config.generations,
        "population": config.population,
    }
    if method == "cma-es":
        learner = CMAES(fitness, replace(config.evolution, **size), **own)
    else:
        changes: dict[str, dict[str, Any]] = {
            "variational": {},
            "variational-raw": {"returns": "raw", "temperature": config.raw_temperature},
            "variational-low-rank": {"rank": config.rank},
        }
        posterior = replace(config.variational, **size, **changes[method])
        learner = VariationalSearch(fitness, posterior, **own)
    with learner:
        learner.learn(progress=progress).save(path / "driver", provenance=provenance)
        return load_agent(path / "driver"), config.steps, learner.seconds


def try_spread(
    agent: PosteriorAgent,
    path: str | Path,
    *,
    eye: Eye,
    trials: DreamFitnessConfig,
    config: SpreadConfig | None = None,
    seed: int = 0,
    workers: int | None = None,
) -> list[dict[str, Any]]:
    """What a posterior's draws are worth, at multiples of its standard deviations, once.

    Args:
        agent: the posterior.
        path: folder of the result, ``spread.json``.
        eye: what it looks through.
        trials: how draws are tried in the dream, with its noise on actions; the number of dreams is
            ``config.dreams``.
        config: how many of everything.
        seed: root of all randomness.
        workers: processes that play.

    Returns:
        For 0 (the mean alone) and each scale: ``scale``; ``dream`` and ``real``, mean returns of
        each draw; and ``correlation``, Spearman's, of the two (None for the mean alone, and where
        all returns are the same).

    Raises:
        ValueError: the folder holds a result of other settings.
    """
    path, config = Path(path), config or SpreadConfig()
    asked = {
        "agent": _digest(agent),
        "memory": eye.memory.digest if eye.memory is not None else None,
        "config": asdict(config),
        "trials": asdict(trials),
        "seed": seed,
    }
    report = KeptReport(path / "spread.json", asked, what="posterior's trial")
    if report.found is not None:
        rows: list[dict[str, Any]] = report.found["rows"]
        return rows
    dreamed = DreamFitness(eye, replace(trials, rollouts=config.dreams))
    played = RealFitnessConfig(rollouts=config.episodes)
    rows = []
    with RealFitness(eye, played, workers=workers) as real:
        for scale in (0.0, *config.scales):
            drawn = [
                agent.sample(integer_seed(seed, "draw", draw), scale=scale).parameters
                for draw in range(config.draws if scale else 1)
            ]
            parameters = np.stack(drawn)
            found = {
                "dream": dreamed(parameters, integer_seed(seed, "spread", "dream")).mean(1),
                "real": real(parameters, integer_seed(seed, "spread", "real")).mean(1),
            }
            differ = all(np.ptp(values) > 0 for values in found.values())
            alike = float(spearmanr(found["dream"], found["real"]).statistic) if differ else None
            figures = {name: values.tolist() for name, values in found.items()}
            rows.append({"scale": scale, **figures, "correlation": alike})
    report.keep({"rows": rows})
    return rows


def _digest(agent: PosteriorAgent) -> str:
    arrays = (agent.parameters, agent.std, agent.directions)
    return sha256(b"".join(each.tobytes() for each in arrays)).hexdigest()
