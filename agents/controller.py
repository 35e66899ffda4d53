"""Controller: a small network whose weights are one flat vector, as evolution wants them.

World Models (https://arxiv.org/abs/1803.10122), eq. 1: a_t = tanh(W [z_t h_t] + b), here with
optional hidden layers of tanh units, scaled into the task's action space.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from wmrl.agents.agent import Agent, State
from wmrl.agents.world_model_ref import located_eye
from wmrl.core.config import build_config
from wmrl.storage.artifact import Artifact, ArtifactError, save_artifact


@dataclass(frozen=True, kw_only=True)
class ControllerConfig:
    """Sizes of a controller.

    Attributes:
        observation_size: O, the number of inputs (Z + H where there is a memory).
        action_size: A, the number of action dimensions.
        hidden_sizes: widths of hidden layers; none for the paper's linear controller.
        action_low, action_high: bounds ``(A,)`` of the action space; −1 and 1 if empty.
    """

    observation_size: int
    action_size: int
    hidden_sizes: tuple[int, ...] = ()
    action_low: tuple[float, ...] = ()
    action_high: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for name in ("hidden_sizes", "action_low", "action_high"):  # JSON gives lists
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for name in ("observation_size", "action_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if any(size < 1 for size in self.hidden_sizes):
            raise ValueError(f"hidden_sizes: expected at least 1 each, got {self.hidden_sizes}")
        for name in ("action_low", "action_high"):
            if len(getattr(self, name)) not in (0, self.action_size):
                raise ValueError(
                    f"{name}: expected {self.action_size} numbers, got {getattr(self, name)}"
                )
        space = self.action_space
        if not (space.is_bounded() and np.all(space.low < space.high)):
            raise ValueError(
                f"action_low, action_high: expected finite bounds with low < high, got "
                f"{self.action_low} and {self.action_high}"
            )

    @classmethod
    def for_spaces(
        cls, observation_space: spaces.Box, action_space: spaces.Box, **options: Any
    ) -> Self:
        """The configuration for an environment's (single) spaces."""
        return cls(
            observation_size=observation_space.shape[0],
            action_size=action_space.shape[0],
            action_low=tuple(action_space.low.tolist()),
            action_high=tuple(action_space.high.tolist()),
            **options,
        )

    @property
    def action_space(self) -> spaces.Box:
        """``Box(A,) float32`` between the bounds."""
        low = np.array(self.action_low or (-1.0,) * self.action_size, np.float32)
        high = np.array(self.action_high or (1.0,) * self.action_size, np.float32)
        return spaces.Box(low, high, dtype=np.float32)

    @property
    def layer_sizes(self) -> tuple[int, ...]:
        """Widths from input to output."""
        return (self.observation_size, *self.hidden_sizes, self.action_size)

    @property
    def parameter_count(self) -> int:
        """N, the length of the flat parameter vector."""
        return sum((inputs + 1) * outputs for inputs, outputs in pairwise(self.layer_sizes))


def batched_outputs(
    parameters: Tensor, observations: Tensor, *, config: ControllerConfig
) -> Tensor:
    """Outputs of P controllers on R observations each, in [−1, 1].

    Args:
        parameters: ``(P, N) float32``, per layer a matrix (outputs × inputs, row by row) and then
            a bias.
        observations: ``(P, R, O) float32``.
        config: sizes.

    Returns:
        ``(P, R, A) float32``.

    Raises:
        ValueError: a shape does not fit the configuration.
    """
    count = len(parameters)
    if parameters.shape != (count, config.parameter_count):
        raise ValueError(
            f"parameters: expected shape (P, {config.parameter_count}), "
            f"got {tuple(parameters.shape)}"
        )
    if observations.ndim != 3 or observations.shape[::2] != (count, config.observation_size):
        raise ValueError(
            f"observations: expected shape ({count}, R, {config.observation_size}), "
            f"got {tuple(observations.shape)}"
        )
    hidden, start = observations, 0
    for inputs, outputs in pairwise(config.layer_sizes):
        middle, end = start + inputs * outputs, start + (inputs + 1) * outputs
        weight = parameters[:, start:middle].view(count, outputs, inputs)
        bias = parameters[:, None, middle:end]
        hidden = torch.tanh(torch.baddbmm(bias, hidden, weight.mT))  # (P, R, outputs)
        start = end
    return hidden


def scale_outputs(outputs: Tensor, *, config: ControllerConfig) -> Tensor:
    """Outputs ``(..., A)`` in [−1, 1] to actions between the bounds."""
    if not (config.action_low or config.action_high):
        return outputs
    space = config.action_space
    low, high = (outputs.new_tensor(bound) for bound in (space.low, space.high))
    return low + (outputs + 1.0) * 0.5 * (high - low)


def batched_actions(
    parameters: Tensor, observations: Tensor, *, config: ControllerConfig
) -> Tensor:
    """Actions ``(P, R, A)`` of P controllers; arguments as in :func:`batched_outputs`."""
    outputs = batched_outputs(parameters, observations, config=config)
    return scale_outputs(outputs, config=config)


class ControllerAgent(Agent):
    """An agent that acts by one controller; it has no noise of its own and no state.

    Args:
        config: sizes.
        parameters: ``(N,) float``, its weights.
        eye: which eye it looks through (see :class:`~wmrl.agents.agent.Agent`).
    """

    class_name: ClassVar[str] = "ControllerAgent"

    def __init__(
        self,
        config: ControllerConfig,
        parameters: np.ndarray,
        *,
        eye: Mapping[str, Any] | None = None,
    ) -> None:
        self.config = config
        self.parameters = np.asarray(parameters, np.float32).copy()
        if self.parameters.shape != (config.parameter_count,):
            raise ValueError(
                f"parameters: expected shape ({config.parameter_count},), "
                f"got {self.parameters.shape}"
            )
        self.eye = dict(eye or {})
        self.observation_space = spaces.Box(-np.inf, np.inf, (config.observation_size,), np.float32)
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
        """See :meth:`~wmrl.agents.agent.Agent.predict`."""
        rows = self.observation_rows(observation)
        observations = torch.from_numpy(rows).to(self._weights.device)[None]
        actions = batched_actions(self._weights, observations, config=self.config)
        return actions[0].cpu().numpy().reshape(*np.shape(observation)[:-1], -1), state

    def to(self, device: str | torch.device) -> Self:
        """See :meth:`~wmrl.agents.agent.Agent.to`."""
        self._weights = self._weights.to(device)
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
            config={"controller": asdict(self.config), "eye": dict(self.eye)},
            tensors={"parameters": torch.from_numpy(self.parameters)},
            provenance=provenance,
            card=card,
        )

    @classmethod
    def from_artifact(cls, artifact: Artifact) -> Self:
        """Restores from an artifact that was read."""
        if artifact.class_name != cls.class_name or set(artifact.tensors) != {"parameters"}:
            raise ArtifactError(
                f"{artifact.path}: expected a {cls.class_name}, got a {artifact.class_name} with "
                f"weights {sorted(artifact.tensors)}; wmrl.agents.load_agent opens any agent"
            )
        try:
            check_sizes(artifact.config["controller"], len(artifact.tensors["parameters"]))
            config = build_config(ControllerConfig, artifact.config["controller"])
            return cls(config, artifact.tensors["parameters"].numpy(), eye=located_eye(artifact))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ArtifactError(
                f"{artifact.path}: not a controller's artifact ({error})"
            ) from error


def check_sizes(values: Mapping[str, Any], held: int) -> None:
    """Raises :class:`ValueError` for a size beyond the number of weights: bounds are made of it."""
    for name in ("observation_size", "action_size"):
        if type(values[name]) is not int or not 1 <= values[name] <= held:
            raise ValueError(f"{name}: expected 1 to {held}, got {values[name]!r}")
