"""Proximal policy optimization (PPO) in runs that can be interrupted and resumed.

- :mod:`~wmrl.agents.ppo.learner`: training of an agent (``PPOLearner``).
- :mod:`~wmrl.agents.ppo.config`: configuration (``PPOConfig``).
- :mod:`~wmrl.agents.ppo.batched`: Stable-Baselines3's PPO with faster collection of rollouts
  (``BatchedPPO``).
"""

from typing import TYPE_CHECKING

from wmrl.core.lazy import lazy_exports

if TYPE_CHECKING:
    from wmrl.agents.ppo.batched import BatchedPPO
    from wmrl.agents.ppo.config import PPOConfig
    from wmrl.agents.ppo.learner import PPOLearner
else:
    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "BatchedPPO",
    "PPOConfig",
    "PPOLearner",
]
