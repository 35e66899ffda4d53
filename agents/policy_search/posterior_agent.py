"""A posterior over controllers, as an agent: it acts by their mean, and others can be drawn."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch

from wmrl.agents.controller import ControllerAgent, ControllerConfig, check_sizes
from wmrl.agents.world_model_ref import located_eye
from wmrl.core.config import build_config
from wmrl.core.seeding import numpy_generator
from wmrl.storage.artifact import Artifact, ArtifactError, save_artifact


class PosteriorAgent(ControllerAgent):
    """A Gaussian over a controller's parameters: N(μ, WWᵀ + diag(σ²)).

    Args:
        config: sizes of the controllers.
        parameters: μ, ``(N,)``; what :meth:`predict` acts by.
        std: σ, ``(N,)``.
        directions: W, ``(N, R)``; none if the parameters are independent.
        eye: see :class:`~wmrl.agents.agent.Agent`.

    Raises:
        ValueError: a shape does not fit, or a standard deviation is not above 0.
    """

    class_name: ClassVar[str] = "PosteriorAgent"

    def __init__(
        self,
        config: ControllerConfig,
        parameters: np.ndarray,
        std: np.ndarray,
        directions: np.ndarray | None = None,
        *,
        eye: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(config, parameters, eye=eye)
        size = config.parameter_count
        self.std = np.asarray(std, np.float32).copy()
        if directions is None:
            directions = np.zeros((size, 0))
        self.directions = np.asarray(directions, np.float32).copy()
        if self.std.shape != (size,) or not (self.std > 0).all() or np.isinf(self.std).any():
            raise ValueError(
                f"std: expected {size} finite numbers above 0, got shape {self.std.shape}, from "
                f"{self.std.min(initial=np.inf)} to {self.std.max(initial=0.0)}"
            )
        if self.directions.ndim != 2 or len(self.directions) != size:
            raise ValueError(f"directions: expected shape ({size}, R), got {self.directions.shape}")
        if not np.isfinite(self.directions).all():
            raise ValueError("directions: expected finite numbers, got some that are not")

    def sample(self, seed: int, *, scale: float = 1.0) -> ControllerAgent:
        """A controller drawn from the posterior, as Thompson sampling does.

        Args:
            seed: which.
            scale: multiple of the posterior's standard deviations.
        """
        if not np.isfinite(scale):
            raise ValueError(f"scale: expected a finite number, got {scale}")
        generator = numpy_generator(seed, "posterior-sample")
        own = self.std * generator.standard_normal(len(self.std))
        shared = self.directions @ generator.standard_normal(self.directions.shape[1])
        return ControllerAgent(self.config, self.parameters + scale * (own + shared), eye=self.eye)

    def save(
        self,
        path: str | Path,
        *,
        provenance: Mapping[str, Any] | None = None,
        card: str | None = None,
    ) -> str:
        """See :meth:`~wmrl.agents.agent.Agent.save`."""
        arrays = {"parameters": self.parameters, "std": self.std, "directions": self.directions}
        return save_artifact(
            path,
            kind="agent",
            class_name=self.class_name,
            config={"controller": asdict(self.config), "eye": dict(self.eye)},
            tensors={name: torch.from_numpy(value) for name, value in arrays.items()},
            provenance=provenance,
            card=card,
        )

    @classmethod
    def from_artifact(cls, artifact: Artifact) -> Self:
        """Restores from an artifact that was read."""
        expected = {"parameters", "std", "directions"}
        if artifact.class_name != cls.class_name or set(artifact.tensors) != expected:
            raise ArtifactError(
                f"{artifact.path}: expected a {cls.class_name}, got a {artifact.class_name} with "
                f"weights {sorted(artifact.tensors)}; wmrl.agents.load_agent opens any agent"
            )
        arrays = {name: tensor.float().numpy() for name, tensor in artifact.tensors.items()}
        try:
            check_sizes(artifact.config["controller"], len(arrays["parameters"]))
            config = build_config(ControllerConfig, artifact.config["controller"])
            return cls(config, **arrays, eye=located_eye(artifact))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ArtifactError(f"{artifact.path}: not a posterior's artifact ({error})") from error
