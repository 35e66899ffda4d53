"""Registry of the features extractors that saved policies refer to by name."""

from typing import TypeVar

from stable_baselines3.common.torch_layers import BaseFeaturesExtractor

from wmrl.storage.registry import Registry

FEATURES_EXTRACTORS: Registry[BaseFeaturesExtractor] = Registry(
    BaseFeaturesExtractor,
    "features extractor",
    (
        "stable_baselines3.common.torch_layers:CombinedExtractor",
        "stable_baselines3.common.torch_layers:FlattenExtractor",
    ),
    register="wmrl.agents.register_features_extractor",
)
"""Registry of features extractors."""

E = TypeVar("E", bound=BaseFeaturesExtractor)


def register_features_extractor(cls: type[E]) -> type[E]:
    """Registers a features extractor of a policy of Stable-Baselines3; usable as a decorator.

    An artifact of an :class:`~wmrl.agents.sb3.agent.SB3Agent` names the class of the policy's
    features extractor, and a name in a file is never imported. The program that saves or loads the
    agent therefore registers the class.

    Args:
        cls: subclass of ``BaseFeaturesExtractor``. Its keyword arguments
            (``features_extractor_kwargs``) have values that JSON can store, and the class can be
            created on PyTorch's meta device, where tensors have shapes but no numbers.

    Returns:
        The same class.

    Raises:
        ValueError: another class is registered under the same name.
        TypeError: ``cls`` does not derive from ``BaseFeaturesExtractor``.

    Example:
        >>> from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
        >>> from torch import nn
        >>> from wmrl.agents import register_features_extractor
        >>> @register_features_extractor
        ... class Bottleneck(BaseFeaturesExtractor):
        ...     def __init__(self, observation_space, features_dim=16):
        ...         super().__init__(observation_space, features_dim)
        ...         self.linear = nn.Linear(observation_space.shape[0], features_dim)
        ...
        ...     def forward(self, observations):
        ...         return self.linear(observations)
        >>> policy_kwargs = {"features_extractor_class": Bottleneck}  # for PPO, SAC, DQN …
    """
    return FEATURES_EXTRACTORS.register(cls)
