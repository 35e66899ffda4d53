"""World models for reinforcement learning: agents that learn in their own dreams.

Importing this package registers the environments of the namespace ``vsg/`` (visual semantic
grounding) with Gymnasium. The packages torch and Box2D are imported only on first use.
Processes that are forked after the import compute with one thread each
(:mod:`wmrl.core.processes`).

Packages and modules; each imports only those that are below it in this list:

- :mod:`wmrl.scripts`: the ``wmrl`` command.
- :mod:`wmrl.export`: sharing of models and agents on the Hugging Face hub.
- :mod:`wmrl.agents`: controllers, learners, collection, evaluation.
- :mod:`wmrl.envs`: Gymnasium environments, tasks, rendering.
- :mod:`wmrl.dream`: functions that start dreams and advance them step by step.
- :mod:`wmrl.memory`: models of the next latent, reward and termination.
- :mod:`wmrl.vision`: models that encode frames as latents or discrete codes, and decode them.
- :mod:`wmrl.priors`: autoregressive priors over the codes of images.
- :mod:`wmrl.encodings`: learned encodings of the solutions of MAP-Elites.
- :mod:`wmrl.nn`: layers, losses and samplers that the models are built from.
- :mod:`wmrl.inference`: variational inference.
- :mod:`wmrl.data`: rollout stores, and samplers of training batches.
- :mod:`wmrl.training`: the training loop.
- :mod:`wmrl.storage`: artifacts, runs, files.
- :mod:`wmrl.core`: seeds, devices, configurations, argument checks.

Example:
    >>> import gymnasium as gym
    >>> import wmrl
    >>> env = gym.make("vsg/CarRacingDream-v0", device="cpu")
    >>> observation, info = env.reset(seed=1)
    >>> observation.shape
    (288,)
"""

from typing import Any as _Any

from gymnasium.envs.registration import register as _register
from gymnasium.envs.registration import registry as _registry

from wmrl.core import processes as _processes  # noqa: F401 -- prepares this process for forks

__version__ = "1.0.0rc1"
__all__ = ["__version__"]


def _register_world_model(
    name: str,
    kwargs: dict[str, _Any],
    *,
    solved_at: float | None = None,
    agent_steps: int | None = None,
) -> None:
    _register(
        f"vsg/{name}Latent-v0",
        entry_point="wmrl.envs.latent.env:LatentEnv",
        vector_entry_point="wmrl.envs.latent.vector:LatentVectorEnv",
        reward_threshold=solved_at,
        kwargs=kwargs,
    )
    _register(
        f"vsg/{name}Dream-v0",
        entry_point="wmrl.envs.dream.env:DreamEnv",
        vector_entry_point="wmrl.envs.dream.vector:DreamVectorEnv",
        max_episode_steps=agent_steps,
        kwargs=kwargs,
    )


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
        "vsg/TakeCover-v0",
        entry_point="wmrl.envs.take_cover.env:TakeCover",
        reward_threshold=750,
    )
    # For any task, of which ``register_task`` makes copies; no vision model fits all tasks.
    _register_world_model("", {"task": None, "vision": None})
    _register_world_model("CarRacing", {"task": "car-racing"}, solved_at=900, agent_steps=250)
    _register_world_model(
        "TakeCover", {"task": "take-cover", "vision": None}, solved_at=750, agent_steps=525
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
