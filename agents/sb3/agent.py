"""Policies of Stable-Baselines3 as agents, saved without pickle."""

from collections.abc import Mapping
from dataclasses import asdict
from itertools import pairwise
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
from wmrl.agents.sb3.vec_env import SB3VecEnv
from wmrl.agents.world_model_ref import WorldModelRef
from wmrl.core.action_spec import ActionSpec, as_action_spec
from wmrl.core.validation import check_int, check_seed
from wmrl.storage.artifact import Artifact, ArtifactError
from wmrl.storage.restoring import limited_layers, load_weights

# Names that an artifact may contain. Loading an artifact uses no other classes and options.
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

# Errors that SB3, Gymnasium and NumPy raise for an invalid configuration.
_INVALID_POLICY = (AttributeError, AssertionError, KeyError, RuntimeError, TypeError, ValueError)


class SB3Agent(Agent):
    """Agent that acts with a policy of Stable-Baselines3.

    Args:
        policy: policy of PPO, A2C, SAC or TD3. Its observation space is a ``Box`` with one axis,
            and its action space is supported by :class:`~wmrl.core.action_spec.ActionSpec`.
        action_space: action space of the environment; the policy's action space if None. The
            options of a discrete policy are numbered from 0. This argument is needed only if the
            environment numbers its options from another integer.
        world_model: reference to the world model that the policy was trained with; None if there
            is no such reference.
        seed: seed of the exploration noise, which is used if ``deterministic=False``.

    Raises:
        ValueError: the class, the spaces, the activation function or the features extractor of the
            policy is not supported.

    Example:
        >>> from stable_baselines3 import PPO
        >>> from wmrl.agents import SB3Agent, WorldModelRef, dream_vec_env, load_agent
        >>> dreams = dream_vec_env("vsg/CarRacingDream-v0", num_envs=4, device="cpu")
        >>> model = PPO("MlpPolicy", dreams, n_steps=8, batch_size=32, n_epochs=1, seed=0)
        >>> model = model.learn(total_timesteps=32)
        >>> ref = WorldModelRef.of(
        ...     dreams.env.world_model, vision="car-racing-vae", memory="car-racing-mdnrnn"
        ... )
        >>> agent = SB3Agent.from_model(model, world_model=ref)
        >>> digest = agent.save("runs/agent")
        >>> load_agent("runs/agent").digest == digest
        True
    """

    class_name: ClassVar[str] = "SB3Agent"

    def __init__(
        self,
        policy: BasePolicy,
        *,
        action_space: spaces.Space[Any] | None = None,
        world_model: WorldModelRef | None = None,
        seed: int = 0,
    ) -> None:
        self._options = _policy_options(policy)
        self.action_space = policy.action_space if action_space is None else action_space
        self._actions = ActionSpec.of(self.action_space)
        if self._actions.from_zero != ActionSpec.of(policy.action_space):
            raise ValueError(
                f"action_space: expected {policy.action_space} as in the policy, or the same space "
                f"with options numbered from another integer, got {action_space}"
            )
        self.policy = policy
        self.world_model = world_model
        self.observation_space: spaces.Box = policy.observation_space
        self._generator = np.random.default_rng(check_seed("seed", seed))

    @classmethod
    def from_model(cls, model: BaseAlgorithm, *, world_model: WorldModelRef | None = None) -> Self:
        """Creates an agent that shares the policy of a model.

        If the model continues to learn, the agent changes as well.

        Args:
            model: model of Stable-Baselines3, such as ``PPO``.
            world_model: reference to the world model in which ``model`` is trained; None for an
                agent without such a reference.
        """
        env = model.get_env()
        space = env.env.single_action_space if isinstance(env, SB3VecEnv) else None
        return cls(model.policy, action_space=space, world_model=world_model)

    def predict(
        self,
        observation: np.ndarray,
        state: State | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, State | None]:
        """Implements :meth:`~wmrl.agents.agent.Agent.predict`."""
        batch = self.batch_observations(observation)
        if deterministic:
            actions, _ = self.policy.predict(batch, deterministic=True)
        else:
            with isolated_randomness(int(self._generator.integers(2**31))):
                actions, _ = self.policy.predict(batch)
        shape = (*np.shape(observation)[:-1], *self._actions.shape)
        chosen = self._actions.shift(np.asarray(actions, self._actions.dtype).reshape(shape))
        return chosen, state

    def to(self, device: str | torch.device) -> Self:
        """Implements :meth:`~wmrl.agents.agent.Agent.to`."""
        self.policy.to(device)
        return self

    def artifact_config(self) -> dict[str, Any]:
        """Implements :meth:`~wmrl.agents.agent.Agent.artifact_config`."""
        return {
            "policy": type(self.policy).__name__,
            "policy_kwargs": self._options,
            "observation_dim": self.observation_space.shape[0],
            "action_space": asdict(self._actions),
        }

    def artifact_tensors(self) -> dict[str, torch.Tensor]:
        """Implements :meth:`~wmrl.agents.agent.Agent.artifact_tensors`."""
        tensors: dict[str, torch.Tensor] = self.policy.state_dict()
        return tensors

    @classmethod
    def from_artifact(cls, artifact: Artifact) -> Self:
        """Implements :meth:`~wmrl.agents.agent.Agent.from_artifact`."""
        if artifact.class_name != cls.class_name:
            raise ArtifactError(
                f"{artifact.path}: expected class {cls.class_name}, got class "
                f"{artifact.class_name}; load an agent of any class with wmrl.agents.load_agent"
            )
        try:
            _check_dims(artifact)
            with limited_layers(artifact):
                policy = _build_policy(artifact.config)
                agent = cls(policy, action_space=_action_spec(artifact.config).space)
        except _INVALID_POLICY as error:
            raise ArtifactError(
                f"{artifact.path}: expected a valid config.json of a policy, got an invalid one "
                f"({error})"
            ) from error
        load_weights(agent.policy, artifact)
        agent.world_model = WorldModelRef.from_artifact(artifact)
        return agent


def _check_dims(artifact: Artifact) -> None:
    """Checks that the configured layers of a policy fit the number of saved weights.

    This check must come before the policy is created, because SB3 allocates all weights of the
    configured layers when it creates a policy.

    Args:
        artifact: artifact with the configuration and the saved weights.

    Raises:
        ValueError: the layers need more than twice as many weights as the artifact has, or a
            dimension is not an integer of at least 1.
    """
    options = artifact.config["policy_kwargs"]
    layers = options.get("net_arch", [])
    groups = list(layers.values()) if isinstance(layers, dict) else [layers]
    critics, inputs = options.get("n_critics", 1), artifact.config["observation_dim"]
    outputs = _action_spec(artifact.config).dim
    dims = [inputs, critics, outputs, *(dim for group in groups for dim in group)]
    for dim in dims:
        check_int("policy_kwargs", dim, at_least=1)
    needed = inputs + critics * sum(
        a * b for group in groups for a, b in pairwise([inputs, *group])
    )
    needed += outputs
    available = sum(tensor.numel() for tensor in artifact.tensors.values())
    # Twice the weights, since ``needed`` counts the layers of an actor once for each critic.
    if needed > 2 * available:
        raise ValueError(
            f"policy: expected layers that fit the {available} weights in the artifact, got far "
            f"larger layers: {dims} as the dimension of observations, the number of critics, the "
            f"dimension of actions and the layer widths; restore the original config.json"
        )


def _policy_options(policy: BasePolicy) -> dict[str, Any]:
    """Returns the constructor arguments that recreate a policy, as JSON-serializable values.

    Raises:
        ValueError: the class, a space, the features extractor or the activation function of the
            policy is not supported.
    """
    name = type(policy).__name__
    if _POLICIES.get(name) is not type(policy):
        raise ValueError(f"policy: expected one of the classes {sorted(_POLICIES)}, got {name}")
    space = policy.observation_space
    if not isinstance(space, spaces.Box) or len(space.shape) != 1:
        raise ValueError(f"policy: expected a Box with one axis as observation space, got {space}")
    ActionSpec.of(policy.action_space, name="policy: action space")
    given = policy._get_constructor_parameters()
    extractor = given.get("features_extractor_class", FlattenExtractor)
    if extractor is not FlattenExtractor:
        raise ValueError(
            f"policy: expected FlattenExtractor as the features extractor, got {extractor.__name__}"
        )
    options = {key: given[key] for key in _OPTIONS if given.get(key) is not None}
    activation = options["activation_fn"].__name__
    if activation not in _ACTIVATIONS:
        raise ValueError(
            f"policy: expected one of {sorted(_ACTIVATIONS)} as activation_fn, got {activation}"
        )
    return options | {"activation_fn": activation}


def _build_policy(config: Mapping[str, Any]) -> BasePolicy:
    """Creates a policy with the configured layers and random weights.

    Raises:
        ValueError: the configuration contains an unsupported policy, activation or option.
    """
    name, options = config["policy"], dict(config["policy_kwargs"])
    unknown = set(options) - set(_OPTIONS)
    activation = options.get("activation_fn")
    if name not in _POLICIES:
        raise ValueError(f"policy: expected one of the classes {sorted(_POLICIES)}, got {name!r}")
    if activation not in _ACTIVATIONS:
        raise ValueError(
            f"activation_fn: expected one of {sorted(_ACTIVATIONS)}, got {activation!r}"
        )
    if unknown:
        raise ValueError(
            f"policy_kwargs: expected keys from {sorted(_OPTIONS)}, got the unknown keys "
            f"{sorted(unknown)}; leave them out"
        )
    actions = _action_spec(config)
    dim = int(config["observation_dim"])
    with isolated_randomness(0):  # the initial weights are drawn, but not used
        policy: BasePolicy = _POLICIES[name](
            spaces.Box(-np.inf, np.inf, (dim,), np.float32),
            actions.from_zero.space,
            lambda _: 0.0,
            **options | {"activation_fn": _ACTIVATIONS[activation]},
        )
    policy.set_training_mode(False)
    return policy


def _action_spec(config: Mapping[str, Any]) -> ActionSpec:
    """Returns the action space of a saved policy, given the configuration of its artifact.

    Artifacts that wmrl 0.1 wrote have continuous actions, and store only the bounds of the actions.
    """
    if "action_space" in config:
        return as_action_spec(config["action_space"])
    low, high = (np.array(config[key], np.float32) for key in ("action_low", "action_high"))
    return ActionSpec.of(spaces.Box(low, high, dtype=np.float32))
