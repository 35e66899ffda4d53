"""Trains a controller by CMA-ES, PPO or variational search, in a dream or in the real game.

After an interruption, the same command resumes the training. With more --steps or --generations,
the command continues a finished run. The folder of the run contains artifact/ (the agent) and
metrics.csv.

For CMA-ES and variational search, metrics.csv has a row per generation. The columns fitness/mean,
fitness/best and fitness/std describe the mean returns of the candidates; fitness/not_finite is the
number of candidates without a finite score. CMA-ES also has search/sigma (the step size),
search/axis_ratio (the longest axis of the search distribution, divided by the shortest) and
search/mean_norm (the norm of its mean). Variational search also has posterior/divergence (from the
prior, in nats), posterior/alpha (the weight of this divergence), posterior/std and
posterior/mean_norm.

For PPO, metrics.csv has a row per rollout, and the column step counts agent steps. The other
columns are rollout/ep_rew_mean and rollout/ep_len_mean (over the last 100 episodes), and train/…,
as defined by Stable-Baselines3.

All algorithms have the column seconds (training time) and, with --score-every, score/mean and
score/std (mean and standard deviation of the agent's returns in the game).
"""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import tyro

from wmrl.core.validation import check_int

if TYPE_CHECKING:
    from wmrl.agents.agent import Agent, Evaluator
    from wmrl.agents.policy_search.cma_es import CMAES
    from wmrl.agents.policy_search.variational import VariationalSearch
    from wmrl.agents.ppo.learner import PPOLearner
    from wmrl.agents.world_model_ref import WorldModelRef
    from wmrl.envs.world_model import WorldModel


T = TypeVar("T")


@dataclass(frozen=True)
class Args:
    """Options of ``wmrl train-controller``."""

    out: Annotated[Path, tyro.conf.Positional]
    """Folder of the run."""
    algorithm: Literal["cma-es", "ppo", "variational"] = "ppo"
    """Training algorithm."""
    env: Literal["dream", "real"] = "dream"
    """Environment to train in."""
    vision: str = "car-racing-vae"
    """Vision model: a shipped name, a path, or hf://user/name."""
    memory: str = "auto"
    """Memory model: a shipped name, a path, or hf://user/name; "auto" for the one shipped with the
    vision model, or "none" to observe the latents alone (real game only)."""
    task: str = "car-racing"
    """Task: a registered name, the id of an environment such as ALE/Boxing-v5, or module:ATTRIBUTE
    for a task of your own."""
    init: str | None = None
    """Agent to initialize from: a shipped name, a path, or hf://user/name."""
    hidden_dims: tuple[int, ...] | None = None
    """Widths of the hidden layers. If not given, PPO uses 64 64. The other algorithms use the
    widths of the agent that --init names; without --init, they train a linear controller."""
    num_envs: int | None = None
    """Number of parallel environments; if not given, 256 dreams or 32 real games for PPO, and 16
    real games for the other algorithms. In dreams, the other algorithms do not support this
    option."""
    agent_steps: int | None = None
    """Maximum length of an episode, in agent steps; if not given, 60 in dreams and the task's own
    limit in the real game."""
    temperature: float | None = None
    """Dream: temperature τ; 1 if not given."""
    dropout: bool = False
    """Dream: enable the dropout of the memory model."""
    base: str | None = None
    """Id of the base environment; if not given, the task's own. In dreams, only for
    --score-every."""
    workers: int | None = None
    """Number of worker processes; one per core if not given. Affects speed only. In dreams, only
    for --score-every."""
    steps: int | None = None
    """PPO: total number of agent steps. PPO options that are not given have the values of
    PPOConfig.dream or PPOConfig.real."""
    learning_rate: float | None = None
    """PPO: initial learning rate of Adam. Variational: learning rate of the posterior's mean; 1 if
    not given."""
    learning_rate_final: float | None = None
    """PPO: final learning rate of Adam."""
    log_std: float | None = None
    """PPO: initial log standard deviation of the action noise."""
    log_std_final: float | None = None
    """PPO: final log standard deviation of the action noise."""
    reward_scale: float | None = None
    """PPO: factor by which rewards are multiplied. The value of PPOConfig suits CarRacing. For
    other games, 1 divided by the standard deviation of the returns that wmrl inspect prints is a
    good start."""
    generations: int | None = None
    """CMA-ES, variational: number of generations; 300 if not given."""
    population_size: int | None = None
    """CMA-ES, variational: number of controllers per generation; if not given, 32 for CMA-ES
    and 64 for variational."""
    num_rollouts: int | None = None
    """CMA-ES, variational: number of episodes per controller; 16 if not given."""
    sigma: float | None = None
    """CMA-ES: initial step size; 0.1 if not given."""
    rank: int | None = None
    """Variational: number of directions along which parameters can be correlated; 0 (independent
    parameters) if not given."""
    std: float | None = None
    """Variational: initial standard deviation of the posterior; 0.1 if not given."""
    prior_std: float | None = None
    """Variational: standard deviation of the prior; 1 if not given."""
    alpha: float | None = None
    """Variational: initial weight α of the divergence from the prior, in units of return per nat;
    0.1 if not given."""
    alpha_final: float | None = None
    """Variational: final α; equal to the initial α if not given."""
    returns: Literal["raw", "standardized", "ranks"] | None = None
    """Variational: transformation of the returns; "raw" (none) if not given. "standardized" and
    "ranks" change the objective."""
    action_noise: float | None = None
    """CMA-ES, variational, in a dream: standard deviation of the noise on actions; 0.1 if not
    given. The noise keeps the search from exploiting errors of the dream."""
    saturation_penalty: float | None = None
    """CMA-ES, variational, in a dream: penalty per agent step, multiplied by the share of outputs
    that are saturated (beyond ±0.95); 0 if not given."""
    score_every: int | None = None
    """Number of generations between evaluations in the real game, for a learning curve. For PPO,
    chunks of rollouts are counted instead of generations. If not given, there are no
    evaluations."""
    score_episodes: int = 20
    """Number of episodes per evaluation. The seeds of these episodes differ from the default seeds
    of wmrl evaluate."""
    minutes: float | None = None
    """Time limit of training, in minutes."""
    seed: int = 0
    """Root seed."""
    device: str = "auto"
    """Device of the models: auto, cpu, cuda …"""


_ALGORITHMS_OF = {
    "steps": ("ppo",),
    "learning_rate": ("ppo", "variational"),
    "learning_rate_final": ("ppo",),
    "log_std": ("ppo",),
    "log_std_final": ("ppo",),
    "reward_scale": ("ppo",),
    "generations": ("cma-es", "variational"),
    "population_size": ("cma-es", "variational"),
    "num_rollouts": ("cma-es", "variational"),
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
"""Algorithms that support an option, keyed by the name of the option.

Options that all algorithms support are not listed.
"""

_FITNESS_OPTIONS = ("num_rollouts", "action_noise", "saturation_penalty")

_DREAM_OPTIONS = ("temperature", "dropout", "action_noise", "saturation_penalty")

_GAME_OPTIONS = ("base", "workers")


def main(args: Args) -> None:
    """Trains the controller, writes its artifact and prints the path."""
    from wmrl.agents.agent import load_agent
    from wmrl.envs.world_model import WorldModel
    from wmrl.scripts.config_file import recorded
    from wmrl.scripts.options import find_task_aloud

    _check_options(args)
    if args.score_every is not None:
        check_int("score_every", args.score_every, at_least=1)
    if args.memory == "none" and args.env == "dream":
        raise ValueError(
            "memory: expected a memory model with --env dream, got 'none'; pass a memory model, or "
            "use --env real"
        )
    memory = None if args.memory == "none" else args.memory
    task = find_task_aloud(args.task)
    world_model = WorldModel.open(task, args.vision, memory, device=args.device)
    init = None if args.init is None else load_agent(args.init)
    with recorded(args, args.out, command="train-controller"), ExitStack() as stack:
        make = _ppo if args.algorithm == "ppo" else _policy_search
        learner = make(args, world_model, init, stack)
        learner.learn(
            max_seconds=None if args.minutes is None else 60 * args.minutes,
            evaluator=None if args.score_every is None else _evaluator(args, world_model),
            evaluate_every=args.score_every or 1,
        )
        learner.save(args.out / "artifact", provenance={"command": "train-controller"})
    print(f"agent: {args.out / 'artifact'}")


def _policy_search(
    args: Args, world_model: "WorldModel", init: "Agent | None", stack: ExitStack
) -> "CMAES | VariationalSearch":
    """Creates the learner of CMA-ES or variational search."""
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
            f"init: expected a ControllerAgent for {args.algorithm!r}, got {type(init).__name__}; "
            "pass the artifact of a ControllerAgent, or leave --init out"
        )
    hidden = args.hidden_dims or (init.config.hidden_dims if init else ())
    fitness: DreamFitness | RealFitness
    if args.env == "dream":
        in_dreams = DreamFitnessConfig(
            num_rollouts=_or_default(args.num_rollouts, 16),
            agent_steps=_or_default(args.agent_steps, 60),
            temperature=_or_default(args.temperature, 1.0),
            dropout=args.dropout,
            action_noise=_or_default(args.action_noise, 0.1),
            saturation_penalty=_or_default(args.saturation_penalty, 0.0),
        )
        fitness = DreamFitness(world_model, in_dreams, hidden_dims=hidden)
    else:
        in_game = RealFitnessConfig(
            num_rollouts=_or_default(args.num_rollouts, 16),
            agent_steps=args.agent_steps,
            num_envs=_or_default(args.num_envs, 16),
        )
        fitness = stack.enter_context(
            RealFitness(
                world_model, in_game, hidden_dims=hidden, base=args.base, workers=args.workers
            )
        )
    shared: dict[str, Any] = {"path": args.out, "seed": args.seed, "init": init}
    shared["world_model"] = _world_model_ref(args, world_model)
    if args.algorithm == "variational":
        names = [name for name, algorithms in _ALGORITHMS_OF.items() if "variational" in algorithms]
        own = [name for name in names if name not in _FITNESS_OPTIONS]
        posterior = VariationalSearchConfig(**_options(args, *own))
        return stack.enter_context(VariationalSearch(fitness, posterior, **shared))
    config = CMAESConfig(**_options(args, "generations", "population_size", "sigma"))
    return stack.enter_context(CMAES(fitness, config, **shared))


def _ppo(
    args: Args, world_model: "WorldModel", init: "Agent | None", stack: ExitStack
) -> "PPOLearner":
    from gymnasium.vector import AutoresetMode, VectorEnv

    from wmrl.agents.ppo.config import PPOConfig
    from wmrl.agents.ppo.learner import PPOLearner
    from wmrl.envs.dream.vector import DreamVectorEnv
    from wmrl.envs.latent.vector import LatentVectorEnv

    names = [name for name, algorithms in _ALGORITHMS_OF.items() if "ppo" in algorithms]
    options = _options(args, *names, "hidden_dims")
    env: VectorEnv[Any, Any, Any]
    if args.env == "dream":
        config = PPOConfig.dream(**options)
        env = DreamVectorEnv.from_world_model(
            world_model,
            _or_default(args.num_envs, 256),
            max_episode_steps=_or_default(args.agent_steps, 60),
            temperature=_or_default(args.temperature, 1.0),
            dropout=args.dropout,
            autoreset_mode=AutoresetMode.SAME_STEP,
        )
    else:
        config = PPOConfig.real(**options)
        env = LatentVectorEnv.from_world_model(
            world_model,
            _or_default(args.num_envs, 32),
            max_episode_steps=args.agent_steps,
            base=args.base,
            workers=args.workers,
            autoreset_mode=AutoresetMode.SAME_STEP,
        )
    stack.callback(env.close)
    return stack.enter_context(
        PPOLearner(
            env,
            config,
            path=args.out,
            seed=args.seed,
            world_model=_world_model_ref(args, world_model),
            init=init,
            threads=None if args.env == "dream" else 1,
        )
    )


def _check_options(args: Args) -> None:
    """Raises ``ValueError`` for an option that is given but would have no effect."""
    if args.num_envs is not None and args.env == "dream" and args.algorithm != "ppo":
        raise ValueError(
            f"num_envs: expected no value with {args.algorithm!r} in the dream, got "
            f"{args.num_envs}; leave it out, because all dreams of a generation run in one batch"
        )
    for name, algorithms in _ALGORITHMS_OF.items():
        value = getattr(args, name)
        if value is not None and args.algorithm not in algorithms:
            raise ValueError(
                f"{name}: expected no value with {args.algorithm!r}, got {value!r}; leave it out, "
                f"or use --algorithm {' or '.join(algorithms)}"
            )
    for name in _DREAM_OPTIONS if args.env == "real" else ():
        value = getattr(args, name)
        if value is not None and value is not False:
            raise ValueError(
                f"{name}: expected no value with --env real, got {value!r}; leave it out, or use "
                "--env dream"
            )
    in_dream_alone = args.env == "dream" and args.score_every is None
    for name in _GAME_OPTIONS if in_dream_alone else ():
        value = getattr(args, name)
        if value is not None:
            raise ValueError(
                f"{name}: expected no value with --env dream and without --score-every, got "
                f"{value!r}; leave it out, use --env real, or add --score-every"
            )


def _options(args: Args, *names: str) -> dict[str, Any]:
    """Returns a dictionary of the named options' values, without the options that are None."""
    options = {name: getattr(args, name) for name in names}
    return {name: value for name, value in options.items() if value is not None}


def _or_default(value: T | None, default: T) -> T:
    """Returns the value, or the default if the value is None.

    In contrast to ``value or default``, a value of 0 is kept, and the configuration can reject it.
    """
    return default if value is None else value


def _world_model_ref(args: Args, world_model: "WorldModel") -> "WorldModelRef":
    from wmrl.agents.world_model_ref import WorldModelRef

    memory = None if world_model.memory is None else args.memory
    return WorldModelRef.of(world_model, vision=args.vision, memory=memory)


def _evaluator(args: Args, world_model: "WorldModel") -> "Evaluator":
    from wmrl.agents.agent import Agent
    from wmrl.agents.evaluation.scoring import evaluate
    from wmrl.agents.seeds import EVALUATION_SEEDS

    def score(agent: Agent) -> dict[str, float]:
        result = evaluate(
            agent,
            episodes=args.score_episodes,
            base=args.base or world_model.task.env_id,
            seed=EVALUATION_SEEDS.start + 500_000,  # reported scores use the first seeds
            world_model=world_model,
            workers=args.workers,
        )
        return {"score/mean": result.mean, "score/std": result.std}

    return score
