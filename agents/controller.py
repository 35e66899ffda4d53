"""Controllers: small networks whose weights are one flat vector.

Source: World Models (https://arxiv.org/abs/1803.10122), eq. 1: a_t = tanh(W [z_t h_t] + b). Here
the network may also have hidden layers of tanh units, and its outputs are scaled to the task's
action space.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, ClassVar, Self

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from wmrl.agents.agent import Agent, State
from wmrl.agents.world_model_ref import WorldModelRef
from wmrl.core.config import build_config, check_fields
from wmrl.core.validation import check_finite, check_int, check_shape
from wmrl.storage.artifact import Artifact, ArtifactError
from wmrl.storage.restoring import check_dtypes


@dataclass(frozen=True, kw_only=True)
class ControllerConfig:
    """Configuration of a controller.

    Attributes:
        observation_dim: number of inputs, O. With a memory model, these are Z latents and H hidden
            units.
        action_dim: number of action dimensions, A.
        hidden_dims: widths of the hidden layers; empty for the paper's linear controller.
        action_low: lower bounds ``(A,)`` of the action space; all −1 if empty.
        action_high: upper bounds ``(A,)`` of the action space; all 1 if empty.

    Raises:
        ValueError: a dimension is less than 1, the number of bounds is neither 0 nor A, a bound is
            not finite, or a lower bound is not below its upper bound.
    """

    observation_dim: int
    action_dim: int
    hidden_dims: tuple[int, ...] = ()
    action_low: tuple[float, ...] = ()
    action_high: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for name in ("hidden_dims", "action_low", "action_high"):  # JSON gives lists
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for name in ("observation_dim", "action_dim"):
            check_int(name, getattr(self, name), at_least=1)
        for dim in self.hidden_dims:
            check_int("hidden_dims", dim, at_least=1)
        for name in ("action_low", "action_high"):
            if len(getattr(self, name)) not in (0, self.action_dim):
                raise ValueError(
                    f"{name}: expected {self.action_dim} numbers, or an empty tuple, got "
                    f"{getattr(self, name)}"
                )
        space = self.action_space
        if not (space.is_bounded() and np.all(space.low < space.high)):
            raise ValueError(
                f"action_low, action_high: expected finite bounds with low < high, got "
                f"{self.action_low} and {self.action_high}"
            )
        check_fields(self)

    @classmethod
    def for_spaces(
        cls, observation_space: spaces.Box, action_space: spaces.Box, **options: Any
    ) -> Self:
        """Creates a configuration that fits an environment's spaces.

        Args:
            observation_space: space of a single observation.
            action_space: space of a single action.
            options: values of other attributes, such as ``hidden_dims``.
        """
        return cls(
            observation_dim=observation_space.shape[0],
            action_dim=action_space.shape[0],
            action_low=tuple(action_space.low.tolist()),
            action_high=tuple(action_space.high.tolist()),
            **options,
        )

    @property
    def action_space(self) -> spaces.Box:
        """Action space: a ``float32`` box of shape ``(A,)`` between the bounds."""
        low = np.array(self.action_low or (-1.0,) * self.action_dim, np.float32)
        high = np.array(self.action_high or (1.0,) * self.action_dim, np.float32)
        return spaces.Box(low, high, dtype=np.float32)

    @property
    def layer_dims(self) -> tuple[int, ...]:
        """Widths of the layers, from the input to the output."""
        return (self.observation_dim, *self.hidden_dims, self.action_dim)

    @property
    def parameter_count(self) -> int:
        """Length N of the flat parameter vector."""
        return sum((inputs + 1) * outputs for inputs, outputs in pairwise(self.layer_dims))


def batched_outputs(
    parameters: Tensor, observations: Tensor, *, config: ControllerConfig
) -> Tensor:
    """Computes the outputs, in [−1, 1], of P controllers for R observations each.

    Args:
        parameters: ``(P, N) float32``, one vector of parameters per controller. A vector holds, for
            each layer, the weight matrix (outputs × inputs, row-major) and then the bias.
        observations: ``(P, R, O) float32``.
        config: configuration of the controllers.

    Returns:
        Outputs ``(P, R, A) float32``.

    Raises:
        ValueError: a shape does not match the configuration.
    """
    count = len(parameters)
    check_shape("parameters", parameters, ("P", config.parameter_count))
    check_shape("observations", observations, (count, "R", config.observation_dim))
    hidden, start = observations, 0
    for inputs, outputs in pairwise(config.layer_dims):
        middle, end = start + inputs * outputs, start + (inputs + 1) * outputs
        weight = parameters[:, start:middle].view(count, outputs, inputs)
        bias = parameters[:, None, middle:end]
        hidden = torch.tanh(torch.baddbmm(bias, hidden, weight.mT))  # (P, R, outputs)
        start = end
    return hidden


def scale_outputs(outputs: Tensor, *, config: ControllerConfig) -> Tensor:
    """Scales outputs ``(..., A)`` from [−1, 1] to the bounds of the action space."""
    if not (config.action_low or config.action_high):
        return outputs
    space = config.action_space
    low, high = (outputs.new_tensor(bound) for bound in (space.low, space.high))
    return low + (outputs + 1.0) * 0.5 * (high - low)


def batched_actions(
    parameters: Tensor, observations: Tensor, *, config: ControllerConfig
) -> Tensor:
    """Computes the actions ``(P, R, A) float32`` of P controllers for R observations each.

    The arguments are those of :func:`batched_outputs`.
    """
    outputs = batched_outputs(parameters, observations, config=config)
    return scale_outputs(outputs, config=config)


class ControllerAgent(Agent):
    """Agent that acts with a controller, without a state and without exploration noise.

    Args:
        config: configuration of the controller.
        parameters: ``(N,) float``, weights of the controller.
        world_model: reference to the world model that the agent was trained with, or None.

    Raises:
        ValueError: the shape of ``parameters`` is not ``(config.parameter_count,)``, or a number is
            not finite.

    Example:
        >>> import numpy as np
        >>> from wmrl.agents import ControllerAgent, ControllerConfig
        >>> config = ControllerConfig(observation_dim=3, action_dim=2)
        >>> agent = ControllerAgent(config, np.zeros(config.parameter_count))
        >>> actions, _ = agent.predict(np.ones((5, 3), np.float32))
        >>> actions.shape
        (5, 2)
        >>> agent.save("runs/controller") == agent.digest
        True
    """

    class_name: ClassVar[str] = "ControllerAgent"

    def __init__(
        self,
        config: ControllerConfig,
        parameters: np.ndarray,
        *,
        world_model: WorldModelRef | None = None,
    ) -> None:
        self.config = config
        self.parameters = np.asarray(parameters, np.float32).copy()
        check_shape("parameters", self.parameters, (config.parameter_count,))
        check_finite("parameters", self.parameters)
        self.world_model = world_model
        self.observation_space = spaces.Box(-np.inf, np.inf, (config.observation_dim,), np.float32)
        self.action_space = config.action_space
        self._weights = torch.from_numpy(self.parameters)[None]

    @torch.inference_mode()
    def predict(
        self,
        observation: np.ndarray,
        state: State | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, State | None]:
        """Implements :meth:`~wmrl.agents.agent.Agent.predict`."""
        batch = self.batch_observations(observation)
        observations = torch.from_numpy(batch).to(self._weights.device)[None]
        actions = batched_actions(self._weights, observations, config=self.config)
        return actions[0].cpu().numpy().reshape(*np.shape(observation)[:-1], -1), state

    def to(self, device: str | torch.device) -> Self:
        """Implements :meth:`~wmrl.agents.agent.Agent.to`."""
        self._weights = self._weights.to(device)
        return self

    def artifact_config(self) -> dict[str, Any]:
        """Implements :meth:`~wmrl.agents.agent.Agent.artifact_config`."""
        return {"controller": asdict(self.config)}

    def artifact_tensors(self) -> dict[str, Tensor]:
        """Implements :meth:`~wmrl.agents.agent.Agent.artifact_tensors`."""
        return {"parameters": torch.from_numpy(self.parameters)}

    @classmethod
    def from_artifact(cls, artifact: Artifact) -> Self:
        """Implements :meth:`~wmrl.agents.agent.Agent.from_artifact`."""
        if artifact.class_name != cls.class_name or set(artifact.tensors) != {"parameters"}:
            raise ArtifactError(
                f"{artifact.path}: expected class {cls.class_name} with weights ['parameters'], "
                f"got class {artifact.class_name} with weights {sorted(artifact.tensors)}; load an "
                "agent of any class with wmrl.agents.load_agent"
            )
        check_dtypes(artifact, {"parameters": (torch.float32,)})
        try:
            check_sizes(artifact.config["controller"], len(artifact.tensors["parameters"]))
            config = build_config(ControllerConfig, artifact.config["controller"])
            return cls(
                config,
                artifact.tensors["parameters"].numpy(),
                world_model=WorldModelRef.from_artifact(artifact),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ArtifactError(
                f"{artifact.path}: expected the artifact of a controller, got invalid contents "
                f"({error})"
            ) from error


def check_sizes(values: Mapping[str, Any], num_weights: int) -> None:
    """Checks that the dimensions in a saved configuration do not exceed the number of weights.

    The check must precede the creation of a :class:`ControllerConfig`, which allocates arrays of
    these dimensions.

    Args:
        values: attributes of the configuration, by name.
        num_weights: number of the saved weights.

    Raises:
        ValueError: ``observation_dim`` or ``action_dim`` is not an integer from 1 to
            ``num_weights``.
    """
    for name in ("observation_dim", "action_dim"):
        check_int(name, values[name], at_least=1, at_most=num_weights)
