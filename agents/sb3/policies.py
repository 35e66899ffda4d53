"""Policies of Stable-Baselines3 as JSON: the arguments that create them again."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.distributions import StateDependentNoiseDistribution
from stable_baselines3.common.policies import (
    ActorCriticPolicy,
    BasePolicy,
    MultiInputActorCriticPolicy,
)
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.dqn.policies import DQNPolicy
from stable_baselines3.dqn.policies import MultiInputPolicy as DQNMultiInputPolicy
from stable_baselines3.sac.policies import MultiInputPolicy as SACMultiInputPolicy
from stable_baselines3.sac.policies import SACPolicy
from stable_baselines3.td3.policies import MultiInputPolicy as TD3MultiInputPolicy
from stable_baselines3.td3.policies import TD3Policy
from torch import nn

from wmrl.agents.sb3.features import FEATURES_EXTRACTORS
from wmrl.agents.sb3.global_rng import isolated_randomness
from wmrl.agents.sb3.observations import describe_space, restore_space
from wmrl.core.action_spec import ActionSpec, as_action_spec
from wmrl.core.validation import check_int

# Names that a configuration may contain, and what they stand for.
_POLICIES = {cls.__name__: cls for cls in (ActorCriticPolicy, DQNPolicy, SACPolicy, TD3Policy)}
_ACTIVATIONS = {
    cls.__name__: cls
    for cls in (nn.Tanh, nn.ReLU, nn.LeakyReLU, nn.ELU, nn.SiLU, nn.GELU, nn.Mish, nn.Identity)
}
# Policies that differ from those above only in their default features extractor.
_VARIANTS: dict[type[BasePolicy], type[BasePolicy]] = {
    MultiInputActorCriticPolicy: ActorCriticPolicy,
    DQNMultiInputPolicy: DQNPolicy,
    SACMultiInputPolicy: SACPolicy,
    TD3MultiInputPolicy: TD3Policy,
}
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
    "features_extractor_class",
    "features_extractor_kwargs",
)


def policy_config(policy: BasePolicy) -> dict[str, Any]:
    """Describes a policy as a JSON-able configuration, from which :func:`build_policy` creates it.

    The configuration lacks the action space, which the caller adds.

    Raises:
        ValueError: the class, a space, the features extractor or the activation function of the
            policy is not supported.
    """
    observations = describe_space(policy.observation_space)
    ActionSpec.of(policy.action_space, name="policy: action space")
    cls = _VARIANTS.get(type(policy), type(policy))
    if _POLICIES.get(cls.__name__) is not cls:
        raise ValueError(
            f"policy: expected a policy of DQN, SAC, TD3, DDPG, A2C or PPO (one of the classes "
            f"{sorted(_POLICIES)}), got {cls.__name__}; write an agent of your own "
            "(wmrl.agents.Agent), whose method predict calls the policy"
        )
    given = policy._get_constructor_parameters()
    given["share_features_extractor"] = getattr(policy, "share_features_extractor", None)
    options = {key: given[key] for key in _OPTIONS if given.get(key) is not None}
    options["activation_fn"] = _activation_name(given["activation_fn"])
    try:
        name = FEATURES_EXTRACTORS.name_of(given["features_extractor_class"])
    except ValueError as error:
        raise ValueError(f"policy: features_extractor_class: {error}") from error
    _check_json("policy: features_extractor_kwargs", options["features_extractor_kwargs"])
    _on_meta(name, policy.observation_space, options["features_extractor_kwargs"])
    options["features_extractor_class"] = name
    return {"policy": cls.__name__, "policy_kwargs": options, **observations}


def build_policy(config: Mapping[str, Any], *, num_weights: int) -> BasePolicy:
    """Creates a policy with the configured layers and random weights.

    Args:
        config: result of :func:`policy_config` together with the entry ``"action_space"``.
        num_weights: number of saved weights, which the layers must fit.

    Raises:
        AttributeError, AssertionError, KeyError, RuntimeError, TypeError, ValueError: an entry is
            missing, unknown or invalid, or the layers are far larger than ``num_weights``.
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
    extractor = options.get("features_extractor_class", "FlattenExtractor")
    extractor_kwargs = dict(options.get("features_extractor_kwargs", {}))
    observation_space, actions = restore_space(config), saved_actions(config)
    features = _on_meta(extractor, observation_space, extractor_kwargs)
    _check_layers(options, features, actions.dim, num_weights)
    with isolated_randomness(0):  # the initial weights are drawn, but not used
        policy: BasePolicy = _POLICIES[name](
            observation_space,
            actions.from_zero.space,
            lambda _: 0.0,
            **options
            | {
                "activation_fn": _ACTIVATIONS[activation],
                "features_extractor_class": FEATURES_EXTRACTORS.find(extractor),
                "features_extractor_kwargs": extractor_kwargs,
            },
        )
    policy.set_training_mode(False)
    return policy


def saved_actions(config: Mapping[str, Any]) -> ActionSpec:
    """Returns the action space of a saved policy, given the configuration of its artifact.

    Artifacts that wmrl 0.1 wrote have continuous actions, and store only the bounds of the actions.
    """
    if "action_space" in config:
        return as_action_spec(config["action_space"])
    low, high = (np.array(config[key], np.float32) for key in ("action_low", "action_high"))
    return ActionSpec.of(spaces.Box(low, high, dtype=np.float32))


@contextmanager
def fresh_noise(policy: BasePolicy, count: int) -> Iterator[None]:
    """Draws the noise of a policy with generalized state-dependent exploration (gSDE) anew.

    The noise of gSDE (https://arxiv.org/abs/2005.05719) is a matrix that a policy keeps, and that
    belongs to no weights. On exit, the policy has its earlier matrix again, so that a model that
    is being trained with the policy does not notice. Other policies stay unchanged.

    Args:
        policy: policy of any class.
        count: number of observations, each of which gets a matrix of its own.
    """
    actor: Any = getattr(policy, "actor", policy)
    noise = getattr(actor, "action_dist", None)
    if not isinstance(noise, StateDependentNoiseDistribution):
        yield
        return
    before = dict(vars(noise))
    with torch.no_grad():
        noise.sample_weights(actor.log_std, batch_size=count)
    try:
        yield
    finally:
        vars(noise).update(before)


def _activation_name(activation: Any) -> str:
    name = getattr(activation, "__name__", "")
    if _ACTIVATIONS.get(name) is not activation:
        raise ValueError(
            f"policy: expected one of {sorted(_ACTIVATIONS)} as activation_fn, got "
            f"{name or activation}, which an artifact can't refer to by its name"
        )
    return str(name)


def _on_meta(
    name: str, space: spaces.Space[Any], kwargs: Mapping[str, Any]
) -> BaseFeaturesExtractor:
    """Creates a features extractor on PyTorch's meta device, where tensors take no memory.

    Raises:
        ValueError: the class is unknown, or it can't be created on this device.
    """
    cls = FEATURES_EXTRACTORS.find(name)
    try:
        with torch.device("meta"), isolated_randomness(0):
            return cls(space, **kwargs)
    except Exception as error:
        raise ValueError(
            f"policy: features_extractor_class: expected a class that can be created on PyTorch's "
            f"meta device for {space}, got {name} with {dict(kwargs)}: {error!r:.300}"
        ) from error


def _check_layers(
    options: Mapping[str, Any], features: BaseFeaturesExtractor, outputs: int, num_weights: int
) -> None:
    """Checks that the configured layers of a policy fit the number of saved weights.

    This check must come before the policy is created, because SB3 allocates all weights of the
    configured layers when it creates a policy.

    Args:
        options: ``policy_kwargs`` of the configuration.
        features: features extractor of the policy.
        outputs: dimension of encoded actions.
        num_weights: number of saved weights.

    Raises:
        ValueError: the layers need more than twice as many weights as were saved, or a dimension
            is not an integer of at least 1.
    """
    layers = options.get("net_arch", [])
    groups = list(layers.values()) if isinstance(layers, dict) else [layers]
    critics, inputs = options.get("n_critics", 1), features.features_dim
    dims = [inputs, critics, outputs, *(dim for group in groups for dim in group)]
    for dim in dims:
        check_int("policy_kwargs", dim, at_least=1)
    needed = inputs + outputs + sum(weight.numel() for weight in features.parameters())
    needed += critics * sum(a * b for group in groups for a, b in pairwise([inputs, *group]))
    # Twice the weights, since ``needed`` counts the layers of an actor once for each critic.
    if needed > 2 * num_weights:
        raise ValueError(
            f"policy: expected layers that fit the {num_weights} weights in the artifact, got far "
            f"larger layers: {dims} as the dimension of features, the number of critics, the "
            f"dimension of actions and the layer widths; restore the original config.json"
        )


def _check_json(name: str, value: Any) -> None:
    """Checks that JSON can store a value so that the same value is read."""
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        for key, item in value.items():
            _check_json(f"{name}.{key}", item)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _check_json(f"{name}[{index}]", item)
    elif not (value is None or isinstance(value, bool | int | float | str)):
        raise ValueError(
            f"{name}: expected a number, a string, True, False, None, or a list or dictionary of "
            f"these, which JSON can store, got {value!r:.100}"
        )
