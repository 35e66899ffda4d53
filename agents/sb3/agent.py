"""SB3Agent: a policy of Stable-Baselines3 as an agent, kept without pickle; and its environments.

``PPO("MlpPolicy", dream_vec_env("vsg/CarRacingDream-v0", num_envs=64)).learn(1_000_000)``
"""

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.sac.policies import SACPolicy
from stable_baselines3.td3.policies import TD3Policy
from torch import nn

from wmrl.agents.agent import Agent, State
from wmrl.agents.sb3.global_rng import isolated_randomness
from wmrl.agents.world_model_ref import located_eye
from wmrl.storage.artifact import Artifact, ArtifactError, load_weights, save_artifact

# What an artifact may name. Nothing else is ever looked up or called when one is opened.
_POLICIES = {cls.__name__: cls for cls in (ActorCriticPolicy, SACPolicy, TD3Policy)}
_ACTIVATIONS = {cls.__name__: cls for cls in (nn.Tanh, nn.ReLU, nn.ELU, nn.SiLU, nn.GELU)}
_OPTIONS = (
    "net_arch",
    "activation_fn",
    "use_sde",
    "full_std",
    "use_expln",
    "squash_output",
    "clip_mean",
    "n_critics",
    "share_features_extractor",
)

# What a configuration that is none ends in, somewhere in SB3, Gymnasium or NumPy.
_NO_POLICY = (AttributeError, AssertionError, KeyError, RuntimeError, TypeError, ValueError)


class SB3Agent(Agent):
    """An agent that acts by a policy of Stable-Baselines3.

    Args:
        policy: an actor-critic (PPO, A2C), SAC or TD3 policy on flat observations.
        eye: which eye it looks through (see :class:`~wmrl.agents.agent.Agent`).
        seed: of its exploration noise (``deterministic=False``).

    Raises:
        ValueError: the policy's class, layers or spaces are none that can be saved.
    """

    class_name: ClassVar[str] = "SB3Agent"

    def __init__(
        self, policy: BasePolicy, *, eye: Mapping[str, Any] | None = None, seed: int = 0
    ) -> None:
        self._options = _policy_options(policy)
        self.policy = policy
        self.eye = dict(eye or {})
        self.observation_space: spaces.Box = policy.observation_space
        self.action_space: spaces.Box = policy.action_space
        self._generator = np.random.default_rng(seed)

    @classmethod
    def from_model(cls, model: BaseAlgorithm, *, eye: Mapping[str, Any] | None = None) -> Self:
        """The agent of a model of Stable-Baselines3; it learns when the model does."""
        return cls(model.policy, eye=eye)

    def predict(
        self,
        observation: np.ndarray,
        state: State | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, State | None]:
        """See :meth:`~wmrl.agents.agent.Agent.predict`."""
        rows = self.observation_rows(observation)
        if deterministic:
            actions, _ = self.policy.predict(rows, deterministic=True)
        else:
            with isolated_randomness(int(self._generator.integers(2**31))):
                actions, _ = self.policy.predict(rows)
        return actions.reshape(*np.shape(observation)[:-1], -1), state

    def to(self, device: str | torch.device) -> Self:
        """See :meth:`~wmrl.agents.agent.Agent.to`."""
        self.policy.to(device)
        return self

    def save(
        self,
        path: str | Path,
        *,
        provenance: Mapping[str, Any] | None = None,
        card: str | None = None,
    ) -> str:
        """See :meth:`~wmrl.agents.agent.Agent.save`."""
        return save_artifact(
            path,
            kind="agent",
            class_name=self.class_name,
            config={
                "policy": type(self.policy).__name__,
                "policy_kwargs": self._options,
                "observation_size": self.observation_space.shape[0],
                "action_low": self.action_space.low.tolist(),
                "action_high": self.action_space.high.tolist(),
                "eye": dict(self.eye),
            },
            tensors=self.policy.state_dict(),
            provenance=provenance,
            card=card,
        )

    @classmethod
    def from_artifact(cls, artifact: Artifact) -> Self:
        """Restores from an artifact that was read."""
        if artifact.class_name != cls.class_name:
            raise ArtifactError(
                f"{artifact.path}: expected a {cls.class_name}, got a {artifact.class_name}; "
                "wmrl.agents.load_agent opens any agent"
            )
        try:
            _check_sizes(artifact)
            agent = cls(_build_policy(artifact.config))
        except _NO_POLICY as error:
            raise ArtifactError(f"{artifact.path}: not a policy's artifact ({error})") from error
        load_weights(agent.policy, artifact)
        agent.eye = located_eye(artifact)
        return agent


def _check_sizes(artifact: Artifact) -> None:
    """Raises :class:`ValueError` where the layers have more weights than the artifact.

    SB3 allocates a policy as it makes it, so this comes first.
    """
    options = artifact.config["policy_kwargs"]
    layers = options.get("net_arch", [])
    groups = list(layers.values()) if isinstance(layers, dict) else [layers]
    critics, inputs = options.get("n_critics", 1), artifact.config["observation_size"]
    sizes = [inputs, critics, *(size for group in groups for size in group)]
    if any(type(size) is not int or size < 1 for size in sizes):
        raise ValueError(f"expected sizes of at least 1, got {sizes}")
    needed = inputs + critics * sum(
        a * b for group in groups for a, b in pairwise([inputs, *group])
    )
    held = sum(tensor.numel() for tensor in artifact.tensors.values())
    if needed > 2 * held:  # twice, since an actor's layers are counted once for each critic here
        raise ValueError(f"expected layers of at most {held} weights, got {sizes}")


def _policy_options(policy: BasePolicy) -> dict[str, Any]:
    """The JSON-able part of a policy's constructor arguments."""
    name = type(policy).__name__
    if _POLICIES.get(name) is not type(policy):
        raise ValueError(f"policy: expected one of {sorted(_POLICIES)}, got {name}")
    for space in (policy.observation_space, policy.action_space):
        if not isinstance(space, spaces.Box) or len(space.shape) != 1:
            raise ValueError(f"policy: expected Box spaces of one axis, got {space}")
    given = policy._get_constructor_parameters()
    extractor = given.get("features_extractor_class", FlattenExtractor)
    if extractor is not FlattenExtractor:
        raise ValueError(f"policy: expected no extractor of features, got {extractor.__name__}")
    options = {key: given[key] for key in _OPTIONS if given.get(key) is not None}
    activation = options["activation_fn"].__name__
    if activation not in _ACTIVATIONS:
        raise ValueError(f"policy: expected one of {sorted(_ACTIVATIONS)}, got {activation}")
    return options | {"activation_fn": activation}


def _build_policy(config: Mapping[str, Any]) -> BasePolicy:
    """A policy with weights yet to be loaded.

    Raises:
        ValueError: the configuration names something that is not on the lists.
    """
    name, options = config["policy"], dict(config["policy_kwargs"])
    unknown = set(options) - set(_OPTIONS)
    activation = options.get("activation_fn")
    if name not in _POLICIES or unknown or activation not in _ACTIVATIONS:
        raise ValueError(
            f"policy {name!r}, activation {activation!r}, unknown options {sorted(unknown)}: "
            f"expected a policy of {sorted(_POLICIES)}, an activation of {sorted(_ACTIVATIONS)} "
            f"and options of {sorted(_OPTIONS)}"
        )
    low, high = (np.array(config[key], np.float32) for key in ("action_low", "action_high"))
    size = int(config["observation_size"])
    with isolated_randomness(0):  # initial weights are drawn, and then replaced
        policy: BasePolicy = _POLICIES[name](
            spaces.Box(-np.inf, np.inf, (size,), np.float32),
            spaces.Box(low, high, dtype=np.float32),
            lambda _: 0.0,
            **options | {"activation_fn": _ACTIVATIONS[activation]},
        )
    policy.set_training_mode(False)
    return policy
