"""Agent with a posterior distribution over controllers."""

from typing import ClassVar, Self

import numpy as np
import torch

from wmrl.agents.controller import ControllerAgent, ControllerConfig, check_sizes
from wmrl.agents.world_model_ref import WorldModelRef
from wmrl.core.config import build_config
from wmrl.core.seeding import numpy_generator
from wmrl.core.validation import check_float, check_shape
from wmrl.storage.artifact import Artifact, ArtifactError
from wmrl.storage.restoring import check_dtypes


class PosteriorAgent(ControllerAgent):
    """Agent with a normal posterior over a controller's parameters: N(μ, WWᵀ + diag(σ²)).

    The agent uses the posterior's mean as its parameters. The method :meth:`sample` draws other
    controllers from the posterior.

    Args:
        config: configuration of the controllers.
        parameters: μ, ``(N,)``, the parameters that :meth:`predict` uses.
        std: σ, ``(N,)``, standard deviations of the independent noise in each parameter.
        directions: W, ``(N, R)``, R directions of correlated noise; None if all parameters are
            independent.
        world_model: reference to the world model that the agent was trained with, or None.

    Raises:
        ValueError: a shape is wrong, a standard deviation is not above 0, or a number is not
            finite.
    """

    class_name: ClassVar[str] = "PosteriorAgent"

    def __init__(
        self,
        config: ControllerConfig,
        parameters: np.ndarray,
        std: np.ndarray,
        directions: np.ndarray | None = None,
        *,
        world_model: WorldModelRef | None = None,
    ) -> None:
        super().__init__(config, parameters, world_model=world_model)
        size = config.parameter_count
        self.std = np.asarray(std, np.float32).copy()
        if directions is None:
            directions = np.zeros((size, 0))
        self.directions = np.asarray(directions, np.float32).copy()
        check_shape("std", self.std, (size,))
        if not (self.std > 0).all() or np.isinf(self.std).any():
            raise ValueError(
                f"std: expected finite numbers above 0, got numbers from {self.std.min()} to "
                f"{self.std.max()}; pass a positive standard deviation for each parameter"
            )
        if self.directions.ndim != 2 or len(self.directions) != size:
            raise ValueError(
                f"directions: expected shape ({size}, R), got {self.directions.shape}; pass one "
                "row for each parameter, and one column for each of R directions"
            )
        if not np.isfinite(self.directions).all():
            raise ValueError(
                "directions: expected finite numbers, got NaN or infinity; use the directions of a "
                "search that has not diverged"
            )

    def sample(self, seed: int, *, scale: float = 1.0) -> ControllerAgent:
        """Draws a controller from the posterior, as in Thompson sampling.

        Args:
            seed: seed of the sample.
            scale: factor by which the sample's deviation from the mean is multiplied.
        """
        check_float("scale", scale)
        generator = numpy_generator(seed, "posterior-sample")
        own = self.std * generator.standard_normal(len(self.std))
        shared = self.directions @ generator.standard_normal(self.directions.shape[1])
        return ControllerAgent(
            self.config, self.parameters + scale * (own + shared), world_model=self.world_model
        )

    def artifact_tensors(self) -> dict[str, torch.Tensor]:
        """Implements :meth:`~wmrl.agents.agent.Agent.artifact_tensors`."""
        arrays = {"parameters": self.parameters, "std": self.std, "directions": self.directions}
        return {name: torch.from_numpy(value) for name, value in arrays.items()}

    @classmethod
    def from_artifact(cls, artifact: Artifact) -> Self:
        """Implements :meth:`~wmrl.agents.agent.Agent.from_artifact`."""
        expected = {"parameters", "std", "directions"}
        if artifact.class_name != cls.class_name or set(artifact.tensors) != expected:
            raise ArtifactError(
                f"{artifact.path}: expected a {cls.class_name}, got a {artifact.class_name} with "
                f"weights {sorted(artifact.tensors)}; use wmrl.agents.load_agent to open any agent"
            )
        check_dtypes(artifact, dict.fromkeys(expected, (torch.float32,)))
        arrays = {name: tensor.numpy() for name, tensor in artifact.tensors.items()}
        try:
            config = build_config(ControllerConfig, artifact.config["controller"])
            check_sizes(config, len(arrays["parameters"]))
            return cls(config, **arrays, world_model=WorldModelRef.from_artifact(artifact))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ArtifactError(
                f"{artifact.path}: expected a valid PosteriorAgent, got invalid contents "
                f"({error}); save the agent again"
            ) from error
