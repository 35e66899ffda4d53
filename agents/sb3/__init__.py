"""Adapters to Stable-Baselines3.

- :mod:`~wmrl.agents.sb3.agent`: policies of Stable-Baselines3 as agents (``SB3Agent``).
- :mod:`~wmrl.agents.sb3.features`: features extractors that saved policies refer to by name
  (``register_features_extractor``).
- :mod:`~wmrl.agents.sb3.policies`: policies as JSON.
- :mod:`~wmrl.agents.sb3.observations`: observation spaces as JSON, and checks of observations.
- :mod:`~wmrl.agents.sb3.vec_env`: batched environments as a ``VecEnv`` (``SB3VecEnv``,
  ``dream_vec_env``, ``latent_vec_env``).
- :mod:`~wmrl.agents.sb3.global_rng`: temporary seeding of the global random generators
  (``isolated_randomness``).
"""

from typing import TYPE_CHECKING

from wmrl.core.lazy import lazy_exports

if TYPE_CHECKING:
    from wmrl.agents.sb3.agent import SB3Agent
    from wmrl.agents.sb3.features import register_features_extractor
    from wmrl.agents.sb3.global_rng import isolated_randomness
    from wmrl.agents.sb3.vec_env import SB3VecEnv, dream_vec_env, latent_vec_env
else:
    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "SB3Agent",
    "SB3VecEnv",
    "dream_vec_env",
    "isolated_randomness",
    "latent_vec_env",
    "register_features_extractor",
]
