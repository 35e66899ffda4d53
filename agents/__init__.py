"""Agents, and the algorithms that train them.

- :mod:`~wmrl.agents.agent`: base class of agents, and functions that load agents and register
  agent classes (``Agent``, ``load_agent``, ``register_agent``).
- :mod:`~wmrl.agents.controller`: controllers (linear, or small neural networks) with a flat weight
  vector (``ControllerAgent``, ``ControllerConfig``).
- :mod:`~wmrl.agents.world_model_ref`: references from agents to their world models
  (``WorldModelRef``).
- :mod:`~wmrl.agents.learner`: base class of learners, which can be interrupted and resumed
  (``Learner``).
- :mod:`~wmrl.agents.seeds`: seeds reserved for evaluation.
- :mod:`~wmrl.agents.evaluation`: evaluation protocol (``EvaluationResult``, ``evaluate``,
  ``evaluate_dream``).
- :mod:`~wmrl.agents.video`: videos of agents, and of dreams (``DreamVideoConfig``,
  ``VideoConfig``, ``record``, ``record_dreams``).
- :mod:`~wmrl.agents.rollouts`: exploration policies and data collection (``RecordRollouts``,
  ``collect``).
- :mod:`~wmrl.agents.policy_search`: CMA-ES and variational search (``CMAES``, ``CMAESConfig``,
  ``CMASearch``, ``DreamFitness``, ``DreamFitnessConfig``, ``Fitness``, ``PosteriorAgent``,
  ``RealFitness``, ``RealFitnessConfig``, ``VariationalSearch``, ``VariationalSearchConfig``).
- :mod:`~wmrl.agents.ppo`: PPO (``PPOConfig``, ``PPOLearner``).
- :mod:`~wmrl.agents.sb3`: adapters to Stable-Baselines3 (``SB3Agent``, ``dream_vec_env``,
  ``latent_vec_env``, ``register_features_extractor``).
- :mod:`~wmrl.agents.quality_diversity`: MAP-Elites and Data-Driven Encodings (``DDE``,
  ``ArchiveConfig``, ``ArmProblem``, ``BanditScheduler``, ``DDEConfig``, ``Elites``, ``Mutation``,
  ``Problem``, ``ReconstructionEmitter``, ``SlidingWindowUCB``, ``load_elites``, ``write_map``).
- :mod:`~wmrl.agents.pipeline`: the whole training loop (``TrainingPlan``, ``train``).
"""

if __name__ != "wmrl.agents":  # pragma: no cover
    raise ImportError(
        "agents: expected an import as 'wmrl.agents', got an import of the source folder 'agents' "
        "itself; install wmrl, then import wmrl.agents"
    )

from typing import TYPE_CHECKING

from wmrl.core.lazy import lazy_exports

if TYPE_CHECKING:
    from wmrl.agents.agent import Agent, load_agent, register_agent
    from wmrl.agents.controller import ControllerAgent, ControllerConfig
    from wmrl.agents.evaluation.result import EvaluationResult
    from wmrl.agents.evaluation.scoring import evaluate, evaluate_dream
    from wmrl.agents.learner import Learner
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
    from wmrl.agents.quality_diversity.dde import DDE
    from wmrl.agents.quality_diversity.dde_config import DDEConfig
    from wmrl.agents.quality_diversity.emitters import Mutation, ReconstructionEmitter
    from wmrl.agents.quality_diversity.heatmap import write_map
    from wmrl.agents.quality_diversity.problems import ArmProblem, Problem
    from wmrl.agents.rollouts.collection import collect
    from wmrl.agents.rollouts.wrapper import RecordRollouts
    from wmrl.agents.sb3.agent import SB3Agent
    from wmrl.agents.sb3.features import register_features_extractor
    from wmrl.agents.sb3.vec_env import dream_vec_env, latent_vec_env
    from wmrl.agents.video.config import DreamVideoConfig, VideoConfig
    from wmrl.agents.video.recording import record
    from wmrl.agents.video.temperatures import record_dreams
    from wmrl.agents.world_model_ref import WorldModelRef
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
    "DreamVideoConfig",
    "Elites",
    "EvaluationResult",
    "Fitness",
    "Learner",
    "Mutation",
    "PPOConfig",
    "PPOLearner",
    "PosteriorAgent",
    "Problem",
    "RealFitness",
    "RealFitnessConfig",
    "ReconstructionEmitter",
    "RecordRollouts",
    "SB3Agent",
    "SlidingWindowUCB",
    "TrainingPlan",
    "VariationalSearch",
    "VariationalSearchConfig",
    "VideoConfig",
    "WorldModelRef",
    "collect",
    "dream_vec_env",
    "evaluate",
    "evaluate_dream",
    "latent_vec_env",
    "load_agent",
    "load_elites",
    "record",
    "record_dreams",
    "register_agent",
    "register_features_extractor",
    "train",
    "write_map",
]
