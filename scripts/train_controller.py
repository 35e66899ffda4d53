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
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import tyro

if TYPE_CHECKING:
    from wmrl.agents.agent import Agent, Evaluator
    from wmrl.agents.policy_search.cma_es import CMAES
    from wmrl.agents.policy_search.variational import VariationalSearch
    from wmrl.agents.ppo.learner import PPOLearner
    from wmrl.envs.world_model import Eye


T = TypeVar("T")


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
    """Widths of hidden layers; if not given 64 64 for PPO, and none for others: a linear
    controller."""
    num_envs: int | None = None
    """Dreams or games at once: 256 and 32 for PPO; others have 16 games, and dreams as they fit."""
    decisions: int | None = None
    """Most decisions of an episode: 60 in dreams; the task's own limit in the game."""
    temperature: float | None = None
    """Dream: how uncertain it is; 1 if not given."""
    dropout: bool = False
    """Dream: keep the memory's dropout on."""
    base: str | None = None
    """Id of another environment than the task's own."""
    workers: int | None = None
    """Processes that play; one a core if not given. They change nothing but the speed."""
    steps: int | None = None
    """PPO: decisions in all; the recipe's if not given, as all that follows."""
    learning_rate: float | None = None
    """PPO: Adam's at the start; variational: of the mean, 1 if not given."""
    learning_rate_final: float | None = None
    """PPO: Adam's at the end."""
    log_std: float | None = None
    """PPO: log of the action noise's standard deviation at the start."""
    log_std_final: float | None = None
    """PPO: the same at the end."""
    generations: int | None = None
    """CMA-ES, variational: how many; 300 if not given."""
    population: int | None = None
    """CMA-ES, variational: controllers a generation, 32 and 64 if not given."""
    rollouts: int | None = None
    """CMA-ES, variational: episodes for each controller; 16 if not given."""
    sigma: float | None = None
    """CMA-ES: the first step size; 0.1 if not given."""
    rank: int | None = None
    """Variational: directions in which parameters may be correlated; none if not given."""
    std: float | None = None
    """Variational: standard deviations of the posterior at the start; 0.1 if not given."""
    prior_std: float | None = None
    """Variational: standard deviation of the prior; 1 if not given."""
    alpha: float | None = None
    """Variational: temperature α at the start, in units of the returns; 0.1 if not given."""
    alpha_final: float | None = None
    """Variational: the same at the end; that of the start if not given."""
    returns: Literal["raw", "standardised", "ranks"] | None = None
    """Variational: returns as they are, which are taken if not given, or what replaces them and so
    changes the objective."""
    action_noise: float | None = None
    """CMA-ES, variational, in a dream: noise on actions, against exploiting what is wrong in it;
    0.1 if not given."""
    saturation_penalty: float | None = None
    """CMA-ES, variational, in a dream: cost of a decision whose outputs are at their limits; 0 if
    not given."""
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


_OWN = {
    "steps": ("ppo",),
    "learning_rate": ("ppo", "variational"),
    "learning_rate_final": ("ppo",),
    "log_std": ("ppo",),
    "log_std_final": ("ppo",),
    "generations": ("cma-es", "variational"),
    "population": ("cma-es", "variational"),
    "rollouts": ("cma-es", "variational"),
    "sigma": ("cma-es",),
    "rank": ("variational",),
    "std": ("variational",),
    "prior_std": ("variational",),
    "alpha": ("variational",),
    "alpha_final": ("variational",),
    "returns": ("variational",),
    "action_noise": ("cma-es", "variational"),
    "saturation_penalty": ("cma-es", "variational"),
}
"""Options that not every algorithm has."""

_OF_DREAMS = ("temperature", "dropout", "action_noise", "saturation_penalty")


def main(args: Args) -> None:
    """Trains, writes the agent and says where it is."""
    from wmrl.agents.agent import load_agent
    from wmrl.envs.world_model import Eye

    _check_own(args)
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
    from wmrl.agents.controller import ControllerAgent
    from wmrl.agents.policy_search.cma_es import CMAES, CMAESConfig
    from wmrl.agents.policy_search.fitness import (
        DreamFitness,
        DreamFitnessConfig,
        RealFitness,
        RealFitnessConfig,
    )
    from wmrl.agents.policy_search.variational import VariationalSearch, VariationalSearchConfig

    if init is not None and not isinstance(init, ControllerAgent):
        raise ValueError(
            f"init: {args.algorithm} goes on from a ControllerAgent, got {type(init).__name__}"
        )
    hidden = args.hidden_sizes or (init.config.hidden_sizes if init else ())
    fitness: DreamFitness | RealFitness
    if args.env == "dream":
        trials = DreamFitnessConfig(
            rollouts=_given(args.rollouts, 16),
            decisions=_given(args.decisions, 60),
            temperature=_given(args.temperature, 1.0),
            dropout=args.dropout,
            action_noise=_given(args.action_noise, 0.1),
            saturation_penalty=_given(args.saturation_penalty, 0.0),
        )
        fitness = DreamFitness(eye, trials, hidden_sizes=hidden)
    else:
        episodes = RealFitnessConfig(
            rollouts=_given(args.rollouts, 16),
            decisions=args.decisions,
            num_envs=_given(args.num_envs, 16),
        )
        fitness = stack.enter_context(
            RealFitness(eye, episodes, hidden_sizes=hidden, base=args.base, workers=args.workers)
        )
    shared: dict[str, Any] = {"path": args.out, "seed": args.seed, "init": init}
    shared["eye"] = _entry(args, eye)
    if args.algorithm == "variational":
        names = {"alpha": "temperature", "alpha_final": "final_temperature"}
        own = ("learning_rate", "generations", "population", "rank", "std", "prior_std", "returns")
        options = _options(args, *own) | {
            names[name]: value for name, value in _options(args, *names).items()
        }
        posterior = VariationalSearchConfig(**options)
        return stack.enter_context(VariationalSearch(fitness, posterior, **shared))
    config = CMAESConfig(**_options(args, "generations", "population", "sigma"))
    return stack.enter_context(CMAES(fitness, config, **shared))


def _gradients(args: Args, eye: "Eye", init: "Agent | None", stack: ExitStack) -> "PPOLearner":
    from gymnasium.vector import AutoresetMode, VectorEnv

    from wmrl.agents.ppo.learner import PPOConfig, PPOLearner
    from wmrl.envs.dream.vector import DreamVectorEnv
    from wmrl.envs.latent.vector import LatentVectorEnv

    names = ("steps", "learning_rate", "learning_rate_final", "log_std", "log_std_final")
    options = _options(args, *names, "hidden_sizes")
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
            temperature=_given(args.temperature, 1.0),
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


def _check_own(args: Args) -> None:
    """Raises ``ValueError`` where an option is given that would change nothing."""
    if args.num_envs is not None and args.env == "dream" and args.algorithm != "ppo":
        raise ValueError(
            f"num_envs: expected none with {args.algorithm!r} in the dream, where all of a "
            f"generation's dreams are made at once, got {args.num_envs}; leave it out"
        )
    for name, algorithms in _OWN.items():
        value = getattr(args, name)
        if value is not None and args.algorithm not in algorithms:
            raise ValueError(
                f"{name}: expected none with {args.algorithm!r}, got {value!r}; leave it out, or "
                f"learn by {' or '.join(map(repr, algorithms))}"
            )
    for name in _OF_DREAMS if args.env == "real" else ():
        value = getattr(args, name)
        if value is not None and value is not False:
            raise ValueError(
                f"{name}: expected none in the real game, got {value!r}; leave it out, or learn in "
                "the dream"
            )


def _options(args: Args, *names: str) -> dict[str, Any]:
    """Those that are given; what is not has the learner's own default."""
    options = {name: getattr(args, name) for name in names}
    return {name: value for name, value in options.items() if value is not None}


def _given(value: T | None, otherwise: T) -> T:
    """0 counts as given, and is then refused by what it is given to."""
    return otherwise if value is None else value


def _entry(args: Args, eye: "Eye") -> dict[str, Any]:
    from wmrl.agents.world_model_ref import eye_entry, lasting_name

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
