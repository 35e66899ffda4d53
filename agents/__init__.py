"""Agents: what acts, and what learns to act.

- :mod:`~wmrl.agents.agent`: the interface, and :func:`load_agent` (``Agent``, ``load_agent``).
- :mod:`~wmrl.agents.controller`: the linear controller of World Models, or a small network
  (``ControllerAgent``, ``ControllerConfig``).
- :mod:`~wmrl.agents.world_model_ref`: which world model an agent was trained with (``eye_entry``,
  ``open_driver``, ``open_eye``).
- :mod:`~wmrl.agents.evaluation`: the protocol behind every score (``EvaluationResult``,
  ``evaluate``, ``evaluate_dream``).
- :mod:`~wmrl.agents.video`: videos of agents at work (``FilmConfig``, ``record``).
- :mod:`~wmrl.agents.seeds`: seeds kept for evaluation, seeds for training.
- :mod:`~wmrl.agents.rollouts`: exploration and collection (``collect``).
- :mod:`~wmrl.agents.policy_search`: CMA-ES and variational search (``CMAES``, ``CMAESConfig``,
  ``CMASearch``, ``DreamFitness``, ``DreamFitnessConfig``, ``Fitness``, ``PosteriorAgent``,
  ``RealFitness``, ``RealFitnessConfig``, ``VariationalSearch``, ``VariationalSearchConfig``).
- :mod:`~wmrl.agents.ppo`: PPO (``PPOConfig``, ``PPOLearner``).
- :mod:`~wmrl.agents.sb3`: Stable-Baselines3 (``SB3Agent``, ``dream_vec_env``,
  ``latent_vec_env``).
- :mod:`~wmrl.agents.quality_diversity`: MAP-Elites and DDE (``DDE``, ``ArchiveConfig``,
  ``ArmProblem``, ``BanditScheduler``, ``DDEConfig``, ``Elites``, ``Mutation``, ``Problem``,
  ``ReconstructionEmitter``, ``SlidingWindowUCB``, ``load_elites``, ``write_map``).
- :mod:`~wmrl.agents.pipeline`: the whole loop (``TrainingPlan``, ``train``).
"""

if __name__ != "wmrl.agents":  # pragma: no cover
    raise ImportError("this folder is the package 'wmrl.agents': install wmrl and import that")

from typing import TYPE_CHECKING

from wmrl.core.lazy import lazy_exports

if TYPE_CHECKING:
    from wmrl.agents.agent import Agent, load_agent
    from wmrl.agents.controller import ControllerAgent, ControllerConfig
    from wmrl.agents.evaluation import EvaluationResult, evaluate, evaluate_dream
    from wmrl.agents.pipeline.loop import train
    from wmrl.agents.pipeline.plan import TrainingPlan
    from wmrl.agents.policy_search.cma import CMASearch
    from wmrl.agents.policy_search.cma_es import CMAES, CMAESConfig
    from wmrl.agents.policy_search.fitness import (
        DreamFitness,
        DreamFitnessConfig,
        Fitness,
        RealFitness,
        RealFitnessConfig,
    )
    from wmrl.agents.policy_search.posterior_agent import PosteriorAgent
    from wmrl.agents.policy_search.variational import VariationalSearch, VariationalSearchConfig
    from wmrl.agents.ppo.config import PPOConfig
    from wmrl.agents.ppo.learner import PPOLearner
    from wmrl.agents.quality_diversity.archive import ArchiveConfig, Elites, load_elites
    from wmrl.agents.quality_diversity.bandit import BanditScheduler, SlidingWindowUCB
    from wmrl.agents.quality_diversity.dde import DDE, DDEConfig
    from wmrl.agents.quality_diversity.emitters import Mutation, ReconstructionEmitter
    from wmrl.agents.quality_diversity.heatmap import write_map
    from wmrl.agents.quality_diversity.problems import ArmProblem, Problem
    from wmrl.agents.rollouts.collection import collect
    from wmrl.agents.sb3.agent import SB3Agent
    from wmrl.agents.sb3.vec_env import dream_vec_env, latent_vec_env
    from wmrl.agents.video import FilmConfig, record
    from wmrl.agents.world_model_ref import eye_entry, open_driver, open_eye
else:
    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "CMAES",
    "DDE",
    "Agent",
    "ArchiveConfig",
    "ArmProblem",
    "BanditScheduler",
    "CMAESConfig",
    "CMASearch",
    "ControllerAgent",
    "ControllerConfig",
    "DDEConfig",
    "DreamFitness",
    "DreamFitnessConfig",
    "Elites",
    "EvaluationResult",
    "FilmConfig",
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
    "TrainingPlan",
    "VariationalSearch",
    "VariationalSearchConfig",
    "collect",
    "dream_vec_env",
    "evaluate",
    "evaluate_dream",
    "eye_entry",
    "latent_vec_env",
    "load_agent",
    "load_elites",
    "open_driver",
    "open_eye",
    "record",
    "train",
    "write_map",
]
