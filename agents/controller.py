"""Controllers: small networks whose weights are one flat vector.

Source: World Models (https://arxiv.org/abs/1803.10122), eq. 1: a_t = W [z_t h_t] + b, followed by
tanh, which bounds the actions. Here the network may also have hidden layers of tanh units. For
continuous actions, the outputs of the network are scaled to the bounds of the task's action space.
For discrete actions, the outputs choose among the options.
"""

from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from wmrl.agents.agent import Agent, State
from wmrl.agents.world_model_ref import WorldModelRef
from wmrl.core.action_spec import ActionSpec, as_action_spec
from wmrl.core.config import build_config, check_fields
from wmrl.core.validation import check_int, check_reals, check_shape
from wmrl.storage.artifact import Artifact, ArtifactError
from wmrl.storage.restoring import check_dtypes

Readout = Literal["argmax", "thresholds"]


@dataclass(frozen=True, kw_only=True)
class ControllerConfig:
    """Configuration of a controller.

    Attributes:
        observation_dim: number O of inputs. With a memory model, the inputs are the Z numbers of
            the latent and the H features of the memory.
        action_space: description of the task's action space. A Gymnasium space is also accepted,
            and is converted to its description.
        hidden_dims: widths of the hidden layers; empty for a linear controller as in World Models.
        readout: how outputs become discrete actions. A ``Discrete`` action is one choice among
            several options; a ``MultiDiscrete`` action consists of several choices. With
            ``"argmax"``, there is one output per option, and each choice takes the option with the
            greatest output. With ``"thresholds"``, there is one output per choice, and [−1, 1]
            is divided into one interval per option. For example, World Models divides [−1, 1] at
            ±1/3 into three intervals. ``readout`` has no effect on continuous or ``MultiBinary``
            actions. Each bit of a ``MultiBinary`` action has one output, and is 1 if this output is
            above 0.

    Raises:
        ValueError: a dimension is less than 1; or the action space is not supported; or a bound of
            continuous actions is infinite; or a lower bound is not below the upper bound.
    """

    observation_dim: int
    action_space: ActionSpec
    hidden_dims: tuple[int, ...] = ()
    readout: Readout = "argmax"

    def __post_init__(self) -> None:
        object.__setattr__(self, "action_space", as_action_spec(self.action_space))
        check_fields(self)
        check_int("observation_dim", self.observation_dim, at_least=1)
        for dim in self.hidden_dims:
            check_int("hidden_dims", dim, at_least=1)
        spec = self.action_space
        low, high = spec.bounds
        with np.errstate(over="ignore"):
            spans = high - low  # infinite for bounds near the limits of float32
        if not (spec.is_bounded and np.all((spans > 0) & np.isfinite(spans))):
            raise ValueError(
                f"action_space: expected finite bounds with low < high, got {spec.space}; set such "
                "bounds in the task's action space"
            )

    @classmethod
    def for_spaces(
        cls, observation_space: spaces.Box, action_space: spaces.Space[Any], **options: Any
    ) -> Self:
        """Creates a configuration that fits an environment's spaces.

        Args:
            observation_space: space of a single observation.
            action_space: space of a single action.
            options: values of other attributes, such as ``hidden_dims``.
        """
        return cls(
            observation_dim=observation_space.shape[0],
            action_space=ActionSpec.of(action_space),
            **options,
        )

    @property
    def num_outputs(self) -> int:
        """Number of outputs of the network."""
        spec = self.action_space
        by_thresholds = self.readout == "thresholds" and not spec.is_continuous
        return len(spec.num_options) if by_thresholds else spec.dim

    @property
    def is_squashed(self) -> bool:
        """True if the outputs pass through tanh, which keeps them in [−1, 1].

        False for ``Discrete`` and ``MultiDiscrete`` actions with ``readout="argmax"``, which
        compares outputs. Due to rounding, all large outputs have the same tanh, 1. Therefore, tanh
        could hide which output is the greatest.
        """
        spec = self.action_space
        return spec.kind in ("box", "multi_binary") or self.readout == "thresholds"

    @property
    def layer_dims(self) -> tuple[int, ...]:
        """Widths of the layers, from the input to the output."""
        return (self.observation_dim, *self.hidden_dims, self.num_outputs)

    @property
    def parameter_count(self) -> int:
        """Length N of the flat parameter vector."""
        return sum((inputs + 1) * outputs for inputs, outputs in pairwise(self.layer_dims))


def batched_outputs(
    parameters: Tensor, observations: Tensor, *, config: ControllerConfig
) -> Tensor:
    """Computes the outputs of P controllers for R observations each.

    Args:
        parameters: ``(P, N) float32``, one vector of parameters per controller. A vector holds, for
            each layer, the weight matrix (outputs × inputs, row-major) and then the bias.
        observations: ``(P, R, O) float32``, R observations for each controller.
        config: configuration of the controllers.

    Returns:
        Outputs ``(P, R, num_outputs) float32``, in [−1, 1] if ``config.is_squashed``.

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
        hidden = torch.baddbmm(bias, hidden, weight.mT)  # (P, R, outputs)
        if end < config.parameter_count or config.is_squashed:
            hidden = torch.tanh(hidden)
        start = end
    return hidden


def decode_outputs(outputs: Tensor, *, config: ControllerConfig) -> Tensor:
    """Converts outputs ``(..., num_outputs)`` to actions ``(..., *shape)`` of the action space.

    For continuous actions, outputs are scaled from [−1, 1] to the bounds of the action space. For
    discrete actions, outputs choose options (see :attr:`ControllerConfig.readout`).
    """
    spec = config.action_space
    if spec.is_continuous:
        low, high = (torch.from_numpy(bound).to(outputs.device) for bound in spec.bounds)
        return low + (outputs + 1.0) * 0.5 * (high - low)
    if spec.kind == "multi_binary":
        return (outputs > 0).to(torch.int8)
    if config.readout == "thresholds":
        number = torch.tensor(spec.num_options, device=outputs.device)
        interval = torch.floor((outputs + 1.0) * 0.5 * number).long()
        chosen = torch.minimum(interval.clamp(min=0), number - 1)
    else:
        parts = torch.split(outputs, list(spec.num_options), -1)
        chosen = torch.stack([part.argmax(-1) for part in parts], -1)
    chosen = chosen + torch.tensor(spec.start, device=outputs.device)
    return chosen if spec.shape else chosen.squeeze(-1)


def batched_actions(
    parameters: Tensor, observations: Tensor, *, config: ControllerConfig
) -> Tensor:
    """Computes the actions ``(P, R, *shape)`` of P controllers for R observations each.

    The arguments are those of :func:`batched_outputs`.
    """
    outputs = batched_outputs(parameters, observations, config=config)
    return decode_outputs(outputs, config=config)


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
        >>> from gymnasium.spaces import Box
        >>> from wmrl.agents import ControllerAgent, ControllerConfig
        >>> config = ControllerConfig(observation_dim=3, action_space=Box(-1, 1, (2,)))
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
        self.parameters = check_reals("parameters", parameters).copy()
        check_shape("parameters", self.parameters, (config.parameter_count,))
        self.world_model = world_model
        self.observation_space = spaces.Box(-np.inf, np.inf, (config.observation_dim,), np.float32)
        self.action_space = config.action_space.space
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
        batch_shape = np.shape(observation)[:-1]
        shape = (*batch_shape, *self.config.action_space.shape)
        return actions[0].cpu().numpy().reshape(shape), state

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
            config = build_config(ControllerConfig, artifact.config["controller"])
            check_sizes(config, len(artifact.tensors["parameters"]))
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


def check_sizes(config: ControllerConfig, num_weights: int) -> None:
    """Checks that the dimensions in a saved configuration do not exceed the number of weights.

    The check must precede the creation of a :class:`ControllerAgent`, which allocates arrays of
    these dimensions.

    Args:
        config: saved configuration.
        num_weights: number of weights that were saved with the configuration.

    Raises:
        ValueError: ``observation_dim`` or the number of outputs exceeds ``num_weights``.
    """
    check_int("observation_dim", config.observation_dim, at_most=num_weights)
    check_int("action_space", config.num_outputs, at_most=num_weights)
