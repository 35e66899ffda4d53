"""Agents of wmrl: what acts, and what learns to act.

- :mod:`wmrl.agents.agent` -- :class:`Agent`, the seam: observations to actions.
- :mod:`wmrl.agents.loading` -- :func:`load_agent` opens any saved agent.
- :mod:`wmrl.agents.controller` -- :class:`ControllerAgent`, linear or a small network.
- :mod:`wmrl.agents.sb3` -- :class:`SB3Agent`, and Stable-Baselines3's view of our environments.
- :mod:`wmrl.agents.cma_es` -- :class:`CMAES`, evolution in dreams or in the real game.
- :mod:`wmrl.agents.variational_search` -- :class:`VariationalSearch`, a posterior over controllers;
  :mod:`wmrl.agents.posterior_agent` -- :class:`PosteriorAgent`, what comes of it.
- :mod:`wmrl.agents.fitness` -- what evolution maximises, as pure functions.
- :mod:`wmrl.agents.ppo` -- :class:`PPOLearner`, policy gradients in dreams or in the real game.
- :mod:`wmrl.agents.evaluation` -- :func:`evaluate`, the protocol behind every score.
- :mod:`wmrl.agents.behaviour`, :mod:`wmrl.agents.collection` -- drivers that gather data.
- :mod:`wmrl.agents.recording` -- films of agents at work.
- :mod:`wmrl.agents.dde` -- :class:`DDE`, MAP-Elites that learns an encoding of its elites.
- :mod:`wmrl.agents.elites` -- :class:`ArchiveConfig` and :class:`Elites`, archives and what is in
  them; :mod:`wmrl.agents.problems` -- what is searched.
- :mod:`wmrl.agents.reconstruction_emitter`, :mod:`wmrl.agents.sliding_bandit` -- DDE's parts, for
  ``ribs``.
- :mod:`wmrl.agents.arm_oracle` -- :func:`solve_targets`, the best that a planar arm can do.

Names are loaded when they are used, so that importing this package is fast.
"""

if __name__ != "wmrl.agents":  # pragma: no cover
    raise ImportError("this folder is the package 'wmrl.agents': install wmrl and import that")

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wmrl.agents.agent import Agent
    from wmrl.agents.arm_oracle import ArmOracleConfig, ArmOracleResult, solve_targets
    from wmrl.agents.cma_es import CMAES, CMAESConfig
    from wmrl.agents.collection import collect
    from wmrl.agents.controller import ControllerAgent, ControllerConfig
    from wmrl.agents.dde import DDE, DDEConfig
    from wmrl.agents.elites import ArchiveConfig, Elites, load_elites
    from wmrl.agents.evaluation import EvaluationResult, evaluate, evaluate_dream
    from wmrl.agents.fitness import (
        DreamFitness,
        DreamFitnessConfig,
        Fitness,
        RealFitness,
        RealFitnessConfig,
    )
    from wmrl.agents.loading import load_agent
    from wmrl.agents.posterior_agent import PosteriorAgent
    from wmrl.agents.ppo import PPOConfig, PPOLearner
    from wmrl.agents.problems import ArmProblem, Problem
    from wmrl.agents.reconstruction_emitter import Mutation, ReconstructionEmitter
    from wmrl.agents.recording import record
    from wmrl.agents.sb3 import SB3Agent, dream_vec_env, latent_vec_env
    from wmrl.agents.sliding_bandit import BanditScheduler, SlidingWindowUCB
    from wmrl.agents.variational_search import VariationalSearch, VariationalSearchConfig

__all__ = [
    "CMAES",
    "DDE",
    "Agent",
    "ArchiveConfig",
    "ArmOracleConfig",
    "ArmOracleResult",
    "ArmProblem",
    "BanditScheduler",
    "CMAESConfig",
    "ControllerAgent",
    "ControllerConfig",
    "DDEConfig",
    "DreamFitness",
    "DreamFitnessConfig",
    "Elites",
    "EvaluationResult",
    "Fitness",
    "Mutation",
    "PPOConfig",
    "PPOLearner",
    "PosteriorAgent",
    "Problem",
    "RealFitness",
    "RealFitnessConfig",
    "ReconstructionEmitter",
    "SB3Agent",
    "SlidingWindowUCB",
    "VariationalSearch",
    "VariationalSearchConfig",
    "collect",
    "dream_vec_env",
    "evaluate",
    "evaluate_dream",
    "latent_vec_env",
    "load_agent",
    "load_elites",
    "record",
    "solve_targets",
]

_MODULES = {
    "agent": ("Agent",),
    "arm_oracle": ("ArmOracleConfig", "ArmOracleResult", "solve_targets"),
    "cma_es": ("CMAES", "CMAESConfig"),
    "collection": ("collect",),
    "controller": ("ControllerAgent", "ControllerConfig"),
    "dde": ("DDE", "DDEConfig"),
    "elites": ("ArchiveConfig", "Elites", "load_elites"),
    "evaluation": ("EvaluationResult", "evaluate", "evaluate_dream"),
    "fitness": (
        "DreamFitness",
        "DreamFitnessConfig",
        "Fitness",
        "RealFitness",
        "RealFitnessConfig",
    ),
    "loading": ("load_agent",),
    "posterior_agent": ("PosteriorAgent",),
    "ppo": ("PPOConfig", "PPOLearner"),
    "problems": ("ArmProblem", "Problem"),
    "reconstruction_emitter": ("Mutation", "ReconstructionEmitter"),
    "recording": ("record",),
    "sb3": ("SB3Agent", "dream_vec_env", "latent_vec_env"),
    "sliding_bandit": ("BanditScheduler", "SlidingWindowUCB"),
    "variational_search": ("VariationalSearch", "VariationalSearchConfig"),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
