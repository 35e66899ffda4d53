"""Trains a controller by evolution, by policy gradients, or as a posterior over controllers.

In a dream or in the real game. Killed at any moment, the same command resumes it. The folder ends
up with artifact/ and metrics.csv. Columns of CMA-ES, by generation: fitness/mean, /best and /std
(of the candidates' mean returns), /not_finite (candidates without a score), search/sigma,
/axis_ratio and /mean_norm; of the variational search the same of its draws, posterior/temperature,
/divergence (from the prior, nats), /std and /mean_norm. Those of PPO, by decision:
rollout/ep_rew_mean and /ep_len_mean (last 100 episodes), and train/…, as Stable-Baselines3 defines
them. All: seconds of learning, and with --score-every score/mean and score/std in the game.
"""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

if TYPE_CHECKING:
    from wmrl.agents.agent import Agent
    from wmrl.agents.cma_es import CMAES
    from wmrl.agents.evaluator import Evaluator
    from wmrl.agents.ppo import PPOLearner
    from wmrl.agents.variational_search import VariationalSearch
    from wmrl.envs.eye import Eye


@dataclass(frozen=True)
class Args:
    """Options of ``wmrl train-controller``."""

    out: Annotated[Path, tyro.conf.Positional]
    """Folder of the run."""
    algorithm: Literal["cma-es", "ppo", "variational"] = "ppo"
    """How it learns."""
    env: Literal["dream", "real"] = "dream"
    """Where it learns."""
    vision: str = "car-racing-vae"
    """The eye: a shipped name, or the path of an artifact."""
    memory: str = "auto"
    """The memory, likewise; "auto" for the shipped one of that eye, "none" to look at the latents
    alone (real game only)."""
    task: str = "car-racing"
    """What to play: a task's name, or module:ATTRIBUTE of your own."""
    init: str | None = None
    """An agent to start from, by name or path."""
    hidden_sizes: tuple[int, ...] | None = None
    """Widths of hidden layers; 64 64 for PPO, none (a linear controller) for CMA-ES."""
    num_envs: int | None = None
    """Dreams or games at once: 256 and 32 for PPO, 16 games for CMA-ES."""
    decisions: int | None = None
    """Most decisions of an episode: 60 in dreams; the task's own limit in the game."""
    temperature: float = 1.0
    """How uncertain the dream is."""
    dropout: bool = False
    """Keep the memory's dropout on in the dream."""
    base: str | None = None
    """Id of another environment than the task's own."""
    workers: int | None = None
    """Processes that play; one a core if not given. They change nothing but the speed."""
    steps: int | None = None
    """PPO: decisions in all; the recipe's if not given, as all that follows."""
    learning_rate: float | None = None
    """PPO: Adam's at the start."""
    learning_rate_final: float | None = None
    """PPO: Adam's at the end."""
    log_std: float | None = None
    """PPO: log of the action noise's standard deviation at the start."""
    log_std_final: float | None = None
    """PPO: the same at the end."""
    generations: int = 300
    """CMA-ES, variational: how many."""
    population: int | None = None
    """Controllers a generation: 32 for CMA-ES, 64 for variational search."""
    rollouts: int = 16
    """CMA-ES, variational: episodes for each controller."""
    sigma: float = 0.1
    """CMA-ES: the first step size."""
    rank: int = 0
    """Variational: directions in which parameters may be correlated; 0 for none."""
    std: float = 0.1
    """Variational: standard deviations of the posterior at the start."""
    prior_std: float = 1.0
    """Variational: standard deviation of the prior."""
    alpha: float = 0.1
    """Variational: temperature α at the start, in units of the returns."""
    alpha_final: float | None = None
    """Variational: the same at the end."""
    returns: Literal["raw", "standardised", "ranks"] = "raw"
    """Variational: returns as they are, or what replaces them and so changes the objective."""
    action_noise: float = 0.1
    """CMA-ES, variational, in a dream: noise on actions, against exploiting what is wrong in it."""
    saturation_penalty: float = 0.0
    """CMA-ES, variational, in a dream: cost of a decision whose outputs are at their limits."""
    score_every: int | None = None
    """Measure in the game after so many generations or chunks, for a curve."""
    score_episodes: int = 20
    """Episodes of such a measurement, on seeds of their own."""
    minutes: float | None = None
    """End early after so many minutes of learning."""
    seed: int = 0
    """Root of all randomness."""
    device: str = "auto"
    """Where the models run: auto, cpu, cuda …"""


def main(args: Args) -> None:
    """Trains, writes the agent and says where it is."""
    from wmrl.agents.loading import load_agent
    from wmrl.envs.eye import Eye

    if args.score_every is not None and args.score_every < 1:
        raise ValueError(f"score_every: expected at least 1, got {args.score_every}")
    if args.memory == "none" and args.env == "dream":
        raise ValueError("memory: there is no dream without one; name one, or use --env real")
    memory = None if args.memory == "none" else args.memory
    eye = Eye.open(args.task, args.vision, memory, device=args.device)
    init = None if args.init is None else load_agent(args.init)
    with ExitStack() as stack:
        make = _gradients if args.algorithm == "ppo" else _evolution
        learner = make(args, eye, init, stack)
        learner.learn(
            max_seconds=None if args.minutes is None else 60 * args.minutes,
            evaluator=None if args.score_every is None else _evaluator(args, eye),
            evaluate_every=args.score_every or 1,
        )
        learner.save(args.out / "artifact", provenance={"command": "train-controller"})
    print(f"agent: {args.out / 'artifact'} (wmrl evaluate {args.out / 'artifact'} scores it)")


def _evolution(
    args: Args, eye: "Eye", init: "Agent | None", stack: ExitStack
) -> "CMAES | VariationalSearch":
    """What tries whole controllers."""
    from wmrl.agents.cma_es import CMAES, CMAESConfig
    from wmrl.agents.controller import ControllerAgent
    from wmrl.agents.fitness import (
        DreamFitness,
        DreamFitnessConfig,
        RealFitness,
        RealFitnessConfig,
    )
    from wmrl.agents.variational_search import VariationalSearch, VariationalSearchConfig

    if init is not None and not isinstance(init, ControllerAgent):
        raise ValueError(
            f"init: {args.algorithm} goes on from a ControllerAgent, got {type(init).__name__}"
        )
    hidden = args.hidden_sizes or (init.config.hidden_sizes if init else ())
    fitness: DreamFitness | RealFitness
    if args.env == "dream":
        trials = DreamFitnessConfig(
            rollouts=args.rollouts,
            decisions=_given(args.decisions, 60),
            temperature=args.temperature,
            dropout=args.dropout,
            action_noise=args.action_noise,
            saturation_penalty=args.saturation_penalty,
        )
        fitness = DreamFitness(eye, trials, hidden_sizes=hidden)
    else:
        episodes = RealFitnessConfig(
            rollouts=args.rollouts,
            decisions=args.decisions,
            num_envs=_given(args.num_envs, 16),
        )
        fitness = stack.enter_context(
            RealFitness(eye, episodes, hidden_sizes=hidden, base=args.base, workers=args.workers)
        )
    shared: dict[str, Any] = {"path": args.out, "seed": args.seed, "init": init}
    shared["eye"] = _entry(args, eye)
    if args.algorithm == "variational":
        posterior = VariationalSearchConfig(
            generations=args.generations,
            population=_given(args.population, 64),
            rank=args.rank,
            std=args.std,
            prior_std=args.prior_std,
            temperature=args.alpha,
            final_temperature=args.alpha_final,
            returns=args.returns,
        )
        return stack.enter_context(VariationalSearch(fitness, posterior, **shared))
    config = CMAESConfig(
        generations=args.generations,
        population=_given(args.population, 32),
        sigma=args.sigma,
    )
    return stack.enter_context(CMAES(fitness, config, **shared))


def _gradients(args: Args, eye: "Eye", init: "Agent | None", stack: ExitStack) -> "PPOLearner":
    from gymnasium.vector import AutoresetMode, VectorEnv

    from wmrl.agents.ppo import PPOConfig, PPOLearner
    from wmrl.envs.dream_vector import DreamVectorEnv
    from wmrl.envs.latent_vector import LatentVectorEnv

    names = ("steps", "learning_rate", "learning_rate_final", "log_std", "log_std_final")
    options = {name: getattr(args, name) for name in (*names, "hidden_sizes")}
    options = {name: value for name, value in options.items() if value is not None}
    shared: dict[str, Any] = {
        "task": eye.task,
        "vision": eye.vision,
        "memory": eye.memory,
        "autoreset_mode": AutoresetMode.SAME_STEP,
    }
    env: VectorEnv[Any, Any, Any]
    if args.env == "dream":
        config = PPOConfig.dream(**options)
        env = DreamVectorEnv(
            _given(args.num_envs, 256),
            max_episode_steps=_given(args.decisions, 60),
            temperature=args.temperature,
            dropout=args.dropout,
            **shared,
        )
    else:
        config = PPOConfig.real(**options)
        env = LatentVectorEnv(
            _given(args.num_envs, 32),
            max_episode_steps=args.decisions,
            base=args.base,
            workers=args.workers,
            frame_skip=eye.frame_skip,
            **shared,
        )
    stack.callback(env.close)
    return stack.enter_context(
        PPOLearner(
            env,
            config,
            path=args.out,
            seed=args.seed,
            eye=_entry(args, eye),
            init=init,
            threads=None if args.env == "dream" else 1,
        )
    )


def _given(value: int | None, otherwise: int) -> int:
    """0 counts as given, and is then refused by what it is given to."""
    return otherwise if value is None else value


def _entry(args: Args, eye: "Eye") -> dict[str, Any]:
    from wmrl.agents.eye_entry import eye_entry, lasting_name

    return eye_entry(
        eye,
        vision=lasting_name(args.vision),
        memory=None if eye.memory is None else lasting_name(args.memory),
    )


def _evaluator(args: Args, eye: "Eye") -> "Evaluator":
    from wmrl.agents.agent import Agent
    from wmrl.agents.evaluation import evaluate
    from wmrl.agents.seeds import EVALUATION_SEEDS

    def score(agent: Agent) -> dict[str, float]:
        result = evaluate(
            agent,
            episodes=args.score_episodes,
            base=args.base or eye.task.env_id,
            seed=EVALUATION_SEEDS.start + 500_000,  # scores that are reported use the first ones
            eye=eye,
            workers=args.workers,
        )
        return {"score/mean": result.mean, "score/std": result.std}

    return score
