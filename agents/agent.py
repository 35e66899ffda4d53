"""Interface of agents, and loading of saved agents."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import numpy as np
import torch
from gymnasium import spaces

from wmrl.agents.world_model_ref import WorldModelRef
from wmrl.core.device import resolve_device
from wmrl.core.validation import check_reals
from wmrl.envs.observations import ObservationName
from wmrl.envs.tasks.task import Task
from wmrl.envs.world_model import WorldModel
from wmrl.storage.artifact import (
    Artifact,
    ArtifactError,
    artifact_digest,
    load_artifact,
    save_artifact,
)
from wmrl.storage.registry import Registry

State = tuple[np.ndarray, ...]


class Agent(ABC):
    """Policy that maps observations to actions, with the ``predict`` method of Stable-Baselines3.

    Attributes:
        observation_space: space of a single observation: a ``Box`` with one axis, or another space
            for agents that observe codes.
        action_space: space of a single action.
        world_model: reference to the world model that the agent was trained with; None if the agent
            has no such reference.
    """

    class_name: ClassVar[str]
    observation_space: spaces.Space[Any]
    action_space: spaces.Space[Any]
    world_model: WorldModelRef | None

    @property
    def observation(self) -> ObservationName:
        """Format of the observations, as environments take it: ``"embeddings"`` or ``"codes"``."""
        return "embeddings" if isinstance(self.observation_space, spaces.Box) else "codes"

    @abstractmethod
    def predict(
        self,
        observation: np.ndarray,
        state: State | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, State | None]:
        """Chooses actions.

        Args:
            observation: one observation ``(O,) float32`` or a batch ``(N, O) float32``; for an
                agent with another observation space, one observation or a batch of that space.
            state: state that the previous call returned; None in the first call, and for agents
                without a state.
            episode_start: ``(N,) bool``, True for batch entries at the start of an episode; may be
                None for agents without a state.
            deterministic: True to act without exploration noise.

        Returns:
            One action of the action space, or a batch of N actions; and the state to pass to the
            next call.
        """

    @abstractmethod
    def artifact_config(self) -> dict[str, Any]:
        """Returns the JSON-able configuration that :meth:`from_artifact` needs."""

    @abstractmethod
    def artifact_tensors(self) -> dict[str, torch.Tensor]:
        """Returns the weights that :meth:`from_artifact` needs."""

    @classmethod
    @abstractmethod
    def from_artifact(cls, artifact: Artifact) -> Self:
        """Restores an agent from an artifact.

        Raises:
            ArtifactError: the artifact does not contain an agent of this class.
        """

    @classmethod
    def load(cls, name_or_path: str | Path) -> Self:
        """Loads a saved agent of this class.

        Args:
            name_or_path: name of a shipped agent, folder that :meth:`save` wrote, or reference
                ``hf://user/name`` to a repository of the Hugging Face hub.

        Raises:
            ArtifactError: the artifact is missing or damaged, or contains an agent of another
                class.
        """
        return cls.from_artifact(load_artifact(name_or_path, kind="agent"))

    def save(
        self,
        path: str | Path,
        *,
        provenance: Mapping[str, Any] | None = None,
        card: str | None = None,
    ) -> str:
        """Saves the agent as an artifact of kind ``"agent"``.

        Args:
            path: folder to which the artifact is written.
            provenance: JSON-able description of how the agent was made; None for no description.
            card: Markdown text of the agent's model card; None for no model card.

        Returns:
            SHA-256 digest of the weights.
        """
        ref = self.world_model
        return save_artifact(
            path,
            kind="agent",
            class_name=self.class_name,
            config={
                **self.artifact_config(),
                "world_model": None if ref is None else asdict(ref),
            },
            tensors=self.artifact_tensors(),
            provenance=provenance,
            card=card,
        )

    @property
    def digest(self) -> str:
        """SHA-256 digest of the weights, equal to the digest that :meth:`save` returns."""
        return artifact_digest(self.artifact_tensors())

    def open_world_model(
        self,
        *,
        task: Task | str | None = None,
        vision: str | Path | None = None,
        memory: str | Path | None = None,
        device: str | torch.device = "auto",
    ) -> WorldModel:
        """Opens the world model that the agent was trained with.

        For an agent that was saved without a reference to its world model, give both the task and
        the vision model.

        Args:
            task: task that the agent was trained on, or a text by which
                :func:`~wmrl.envs.tasks.registry.find_task` finds this task, such as the id of an
                environment. If None, the task is found by the name in :attr:`world_model`.
            vision: name of a shipped vision model, or path of a vision model. If None, the vision
                model to which :attr:`world_model` refers.
            memory: name of a shipped memory model, or path of a memory model. If None, the memory
                model to which :attr:`world_model` refers; without a reference, the shipped memory
                model that was trained on the vision model.
            device: device of the models.

        Raises:
            ArtifactError: the agent has no reference to a world model, and ``task`` or ``vision``
                is None; or the task in the reference
                is unknown; or a model is missing, damaged, or not the model that the agent was
                trained with.
            ValueError: ``device`` or ``task`` does not exist, or ``task`` is not the task that the
                agent was trained on.
            ImportError: the module of ``task`` cannot be imported.
        """
        if self.world_model is None:
            if task is not None and vision is not None:
                return WorldModel.open(task, vision, memory or "auto", device=device)
            raise ArtifactError(
                "agent: expected a reference to its world model, got none; name the task, the "
                "vision model and the memory model, or set agent.world_model to a WorldModelRef"
            )
        return self.world_model.open(task=task, vision=vision, memory=memory, device=device)

    def to(self, device: str | torch.device) -> Self:
        """Moves the agent's computation to a device, and returns the agent.

        Observations and actions stay NumPy arrays on any device. The base class ignores
        ``device``. Subclasses that can compute on a GPU override this method.
        """
        return self

    def batch_observations(self, observation: np.ndarray) -> np.ndarray:
        """Converts one observation ``(O,)`` or a batch ``(N, O)`` to a batch ``(N, O) float32``.

        Raises:
            ValueError: the shape of the observation is neither ``(O,)`` nor ``(N, O)``, or a number
                is NaN or infinite. Agents with discrete actions would otherwise choose actions from
                NaN without an error.
        """
        dim = (self.observation_space.shape or (0,))[0]
        return batch_vectors("observation", observation, dim=dim)


def batch_vectors(name: str, observation: Any, *, dim: int) -> np.ndarray:
    """Converts one vector ``(O,)`` or a batch ``(N, O)`` to a batch ``(N, O) float32``.

    Args:
        name: name of the argument, for the error message.
        observation: finite real numbers.
        dim: O, the length of a vector.

    Raises:
        ValueError: the shape is neither ``(O,)`` nor ``(N, O)``, or a number is NaN or infinite.
    """
    batch = check_reals(name, observation, advice="check the game and its world model")
    if batch.ndim not in (1, 2) or batch.shape[-1] != dim:
        raise ValueError(
            f"{name}: expected shape ({dim},) or (N, {dim}), got {batch.shape}; use the "
            "world model that the agent was trained with"
        )
    return np.ascontiguousarray(batch).reshape(-1, dim)


AGENTS: Registry[Agent] = Registry(
    Agent,  # type: ignore[type-abstract]
    "agent",
    (
        "wmrl.agents.controller:ControllerAgent",
        "wmrl.agents.policy_search.posterior_agent:PosteriorAgent",
        "wmrl.agents.sb3.agent:SB3Agent",
    ),
    register="wmrl.agents.register_agent",
)
"""Registry of agent classes."""

A = TypeVar("A", bound=Agent)


def register_agent(cls: type[A]) -> type[A]:
    """Registers an agent class that is defined outside this library; usable as a decorator.

    Artifacts of the class can then be loaded wherever an agent is expected.

    Args:
        cls: subclass of :class:`Agent`. Its attribute ``class_name`` is stored in artifacts. If the
            class lacks this attribute, the attribute is set to the ``__name__`` of the class.

    Returns:
        The same class.

    Raises:
        ValueError: another class is registered under the same ``class_name``.
        TypeError: ``cls`` does not derive from :class:`Agent`.
    """
    if issubclass(cls, Agent) and not hasattr(cls, "class_name"):
        cls.class_name = cls.__name__
    return AGENTS.register(cls)


def load_agent(name_or_path: str | Path, device: str | torch.device = "auto") -> Agent:
    """Loads a saved agent of any registered class.

    Args:
        name_or_path: name of a shipped agent, folder that ``Agent.save`` wrote, or reference
            ``hf://user/name`` to a repository of the Hugging Face hub.
        device: device of the agent's computation. ``"auto"`` is the CPU. Controllers and small
            policies are fastest there, because a step takes less time than a transfer to a GPU.

    Raises:
        ArtifactError: the artifact is missing, damaged, not an agent, or of an unknown class.
        ValueError: there is no such device.

    Example:
        >>> import gymnasium as gym
        >>> import wmrl
        >>> from wmrl.agents import load_agent
        >>> agent = load_agent("car-racing-dream")
        >>> env = gym.make("vsg/CarRacingLatent-v0", device="cpu")
        >>> observation, info = env.reset(seed=1)
        >>> action, _ = agent.predict(observation, deterministic=True)
        >>> action.shape
        (2,)
        >>> env.close()
    """
    target = torch.device("cpu") if device == "auto" else resolve_device(device)
    artifact = load_artifact(name_or_path, kind="agent")
    try:
        cls = AGENTS.find(artifact.class_name)
    except ValueError as error:
        raise ArtifactError(f"{artifact.path}: {error}") from error
    return cls.from_artifact(artifact).to(target)


Evaluator = Callable[[Agent], Mapping[str, float]]
"""Function that evaluates an agent and returns metrics by name, for learning curves.

The function must not evaluate the agent on seeds that are used in training.
"""
