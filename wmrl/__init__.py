"""wmrl: agents that learn in their own dreams.

Importing this package registers the environments of the namespace ``vsg/`` (visual semantic
grounding) with Gymnasium. It imports neither torch nor Box2D: those are loaded when used.

Floors, each of which imports only those below it:

- :mod:`wmrl` -- what is learned and how it lasts: vision (:mod:`wmrl.vision.base`,
  :mod:`wmrl.vision.vae`), memory (:mod:`wmrl.memory.base`, :mod:`wmrl.memory.mdn_rnn`), the pure
  dream step (:mod:`wmrl.dream`), the rollout store (:mod:`wmrl.data.store`), artifacts
  (:mod:`wmrl.storage.artifact`).
- :mod:`wmrl.envs` -- Gymnasium environments, tasks, videos.
- :mod:`wmrl.agents` -- controllers, learners, collection, evaluation.
- :mod:`wmrl.scripts` -- the ``wmrl`` command.
"""

from gymnasium.envs.registration import register as _register
from gymnasium.envs.registration import registry as _registry

__version__ = "0.1.0"
__all__ = ["__version__"]


def _register_environments() -> None:
    if "vsg/CarRacing-v3" in _registry:
        return
    _register(
        "vsg/CarRacing-v3",
        entry_point="wmrl.envs.car_racing.env:CarRacing",
        max_episode_steps=1000,
        reward_threshold=900,
    )
    _register(
        "vsg/CarRacingLatent-v0",
        entry_point="wmrl.envs.latent.env:LatentEnv",
        vector_entry_point="wmrl.envs.latent.vector:LatentVectorEnv",
        reward_threshold=900,
        kwargs={"task": "car-racing"},
    )
    _register(
        "vsg/CarRacingDream-v0",
        entry_point="wmrl.envs.dream.env:DreamEnv",
        vector_entry_point="wmrl.envs.dream.vector:DreamVectorEnv",
        max_episode_steps=250,
        kwargs={"task": "car-racing"},
    )
    _register(
        "vsg/PlanarArm-v0",
        entry_point="wmrl.envs.planar_arm.env:PlanarArmEnv",
        vector_entry_point="wmrl.envs.planar_arm.vector:PlanarArmVectorEnv",
    )
    _register(
        "vsg/PlanarArmLatent-v0",
        entry_point="wmrl.envs.planar_arm.latent_env:PlanarArmLatentEnv",
        vector_entry_point="wmrl.envs.planar_arm.latent_vector:PlanarArmLatentVectorEnv",
    )


_register_environments()
