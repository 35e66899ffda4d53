"""Policies of Stable-Baselines3 as agents, saved without pickle."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, ClassVar, Self

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import BasePolicy

from wmrl.agents.agent import Agent, State
from wmrl.agents.sb3.global_rng import isolated_randomness
from wmrl.agents.sb3.observations import batch_of
from wmrl.agents.sb3.policies import build_policy, fresh_noise, policy_config, saved_actions
from wmrl.agents.sb3.vec_env import SB3VecEnv
from wmrl.agents.world_model_ref import WorldModelRef
from wmrl.core.action_spec import ActionSpec
from wmrl.core.validation import check_seed
from wmrl.storage.artifact import Artifact, ArtifactError
from wmrl.storage.restoring import limited_layers, load_weights

# Errors that SB3, Gymnasium and NumPy raise for an invalid configuration.
_INVALID_POLICY = (AttributeError, AssertionError, KeyError, RuntimeError, TypeError, ValueError)


class SB3Agent(Agent):
    """Agent that acts with a policy of Stable-Baselines3.

    An artifact of the agent holds the weights of the policy, and the arguments that create it
    again. Policies of PPO, A2C and SAC draw actions if ``deterministic=False``; with generalized
    state-dependent exploration (``use_sde``), the noise is drawn anew in each call of ``predict``.
    Policies of DQN, TD3 and DDPG have no noise of their own: the noise of these algorithms belongs
    to their training.

    Args:
        policy: policy of PPO, A2C, DQN, SAC, TD3 or DDPG: ``"MlpPolicy"``, or
            ``"MultiInputPolicy"`` for dictionaries. Its observation space is a ``Box``,
            ``Discrete``, ``MultiDiscrete`` or ``MultiBinary`` with at most one axis, or a ``Dict``
            of these; its action space is supported by
            :class:`~wmrl.core.action_spec.ActionSpec`. The class of its features extractor is one
            of Stable-Baselines3, or registered by
            :func:`~wmrl.agents.sb3.features.register_features_extractor`.
        action_space: action space of the environment; the policy's action space if None. The
            options of a discrete policy are numbered from 0. This argument is needed only if the
            environment numbers its options from another integer.
        world_model: reference to the world model that the policy was trained with; None if there
            is no such reference.
        seed: seed of the exploration noise, which is used if ``deterministic=False``.

    Raises:
        ValueError: the class, a space, the activation function or the features extractor of the
            policy can't be stored in an artifact.

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
        self._config = policy_config(policy)
        self.action_space = policy.action_space if action_space is None else action_space
        self._actions = ActionSpec.of(self.action_space)
        if self._actions.from_zero != ActionSpec.of(policy.action_space):
            raise ValueError(
                f"action_space: expected {policy.action_space} as in the policy, or the same space "
                f"with options numbered from another integer, got {action_space}"
            )
        self.policy = policy
        self.world_model = world_model
        self.observation_space: spaces.Space[Any] = policy.observation_space
        self._generator = np.random.default_rng(check_seed("seed", seed))

    @classmethod
    def from_model(cls, model: BaseAlgorithm, *, world_model: WorldModelRef | None = None) -> Self:
        """Creates an agent that shares the policy of a model.

        If the model continues to learn, the agent changes as well.

        Args:
            model: model of Stable-Baselines3, such as ``PPO``.
            world_model: reference to the world model in which ``model`` is trained; None for an
                agent without such a reference.

        Raises:
            ValueError: the policy can't be stored in an artifact, or it observes what
                ``VecNormalize`` returns, whose statistics do not belong to the policy.
        """
        env = model.get_env()
        normalizer = model.get_vec_normalize_env()
        if normalizer is not None and normalizer.norm_obs:
            raise ValueError(
                "model: expected a policy that observes what the environment returns, got one that "
                "observes what VecNormalize returns; train with VecNormalize(…, norm_obs=False)"
            )
        base = None if env is None else env.unwrapped
        space = base.env.single_action_space if isinstance(base, SB3VecEnv) else None
        return cls(model.policy, action_space=space, world_model=world_model)

    def predict(
        self,
        observation: np.ndarray | Mapping[str, np.ndarray],
        state: State | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, State | None]:
        """Implements :meth:`~wmrl.agents.agent.Agent.predict`."""
        batch, axes = batch_of(self.observation_space, observation)
        if deterministic:
            actions, _ = self.policy.predict(batch, deterministic=True)
        else:
            count = axes[0] if axes else 1
            seed = int(self._generator.integers(2**31))
            with isolated_randomness(seed), fresh_noise(self.policy, count):
                actions, _ = self.policy.predict(batch)
        shape = (*axes, *self._actions.shape)
        chosen = self._actions.shift(np.asarray(actions, self._actions.dtype).reshape(shape))
        return chosen, state

    def to(self, device: str | torch.device) -> Self:
        """Implements :meth:`~wmrl.agents.agent.Agent.to`."""
        self.policy.to(device)
        return self

    def artifact_config(self) -> dict[str, Any]:
        """Implements :meth:`~wmrl.agents.agent.Agent.artifact_config`."""
        return {**self._config, "action_space": asdict(self._actions)}

    def artifact_tensors(self) -> dict[str, torch.Tensor]:
        """Implements :meth:`~wmrl.agents.agent.Agent.artifact_tensors`."""
        # Networks may share a features extractor, but safetensors stores no tensor twice.
        state: dict[str, torch.Tensor] = self.policy.state_dict()
        return {name: tensor.detach().clone() for name, tensor in state.items()}

    @classmethod
    def from_artifact(cls, artifact: Artifact) -> Self:
        """Implements :meth:`~wmrl.agents.agent.Agent.from_artifact`."""
        if artifact.class_name != cls.class_name:
            raise ArtifactError(
                f"{artifact.path}: expected class {cls.class_name}, got class "
                f"{artifact.class_name}; load an agent of any class with wmrl.agents.load_agent"
            )
        try:
            num_weights = sum(tensor.numel() for tensor in artifact.tensors.values())
            with limited_layers(artifact):
                policy = build_policy(artifact.config, num_weights=num_weights)
                agent = cls(policy, action_space=saved_actions(artifact.config).space)
        except _INVALID_POLICY as error:
            raise ArtifactError(
                f"{artifact.path}: expected a valid config.json of a policy, got an invalid one "
                f"({error})"
            ) from error
        load_weights(agent.policy, artifact)
        agent.world_model = WorldModelRef.from_artifact(artifact)
        return agent
