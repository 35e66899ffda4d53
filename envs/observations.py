"""Observation formats of latent and dream environments: embeddings or codes."""

from collections.abc import Iterable
from typing import Any, Literal, get_args

import numpy as np
import torch
from gymnasium import spaces

from wmrl.core.validation import check_choice
from wmrl.envs.single_env import select_observation
from wmrl.envs.world_model import BOUND, WorldModel
from wmrl.vision.vqvae import VQVAE

ObservationName = Literal["embeddings", "codes"]


class ObservationFormat:
    """Observation format of an environment: latents as embeddings or as discrete codes.

    Before formatting, an observation is one vector: the latent z or, with a memory, [z, h], where h
    is the memory's hidden state. The format ``"embeddings"`` leaves this vector unchanged. The
    format ``"codes"`` replaces z by its T discrete codes ``(T,) int64``; with a memory, the
    observation becomes a dictionary ``{"codes": (T,) int64, "memory": (H,) float32}``.

    Args:
        world_model: world model of the environment.
        name: name of the format, ``"embeddings"`` or ``"codes"``.

    Attributes:
        space: space of one formatted observation.

    Raises:
        ValueError: the format is unknown, or it is ``"codes"`` and the vision model has no discrete
            codes.

    Example:
        >>> import numpy as np
        >>> from wmrl.envs import ObservationFormat, WorldModel
        >>> world_model = WorldModel.open("car-racing", "car-racing-vqvae", None, device="cpu")
        >>> codes = ObservationFormat(world_model, "codes")
        >>> codes.space.shape
        (16,)
        >>> latents = world_model.vision.encode_numpy(np.zeros((5, 64, 64, 3), np.uint8))
        >>> codes.format_batch(latents).shape
        (5, 16)
    """

    def __init__(self, world_model: WorldModel, name: ObservationName) -> None:
        check_choice("observation", name, get_args(ObservationName))
        self.space: spaces.Space[Any] = world_model.observation_space
        self._vision: VQVAE | None = None
        self._has_memory = world_model.memory is not None
        if name == "embeddings":
            return
        if not isinstance(world_model.vision, VQVAE):
            raise ValueError(
                f"observation: expected a VQ-VAE as vision model for observation='codes', got a "
                f"{type(world_model.vision).__name__}; use a VQ-VAE, or observation='embeddings'"
            )
        self._vision = world_model.vision
        self.space = world_model.vision.code_space
        if world_model.memory is not None:
            features = spaces.Box(-BOUND, BOUND, (world_model.memory.feature_dim,), np.float32)
            self.space = spaces.Dict({"codes": self.space, "memory": features})

    @torch.inference_mode()
    def format_batch(self, observations: np.ndarray) -> Any:
        """Formats N observations as one batch.

        Args:
            observations: ``(N, O) float32``, N vectors of length O.

        Returns:
            One batch of N formatted observations.
        """
        if self._vision is None:
            return observations
        latent_dim = self._vision.latent_dim
        latents = torch.from_numpy(np.ascontiguousarray(observations[:, :latent_dim]))
        codes = self._vision.codes_of(latents.to(self._vision.device)).cpu().numpy()
        if not self._has_memory:
            return codes
        return {"codes": codes, "memory": observations[:, latent_dim:]}

    def format_each(self, observations: np.ndarray) -> Iterable[Any]:
        """Formats N observations as a list.

        Args:
            observations: ``(N, O) float32``, N vectors of length O.

        Returns:
            A list of N formatted observations.
        """
        formatted = self.format_batch(observations)
        return [select_observation(formatted, index) for index in range(len(observations))]

    def format(self, observations: np.ndarray) -> Any:
        """Formats a single observation.

        Args:
            observations: ``(1, O) float32``, one vector of length O.

        Returns:
            The formatted observation, without a batch axis.
        """
        return select_observation(self.format_batch(observations), 0)
