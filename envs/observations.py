"""Formats of the observations of latent and dream environments: embeddings or codes."""

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
    """Format in which an environment returns observations [z] or [z, h].

    The format ``"embeddings"`` leaves observations unchanged. ``"codes"`` replaces the latent z by
    its discrete codes ``(T,) int64``. If there is a hidden state h, the observation becomes a
    dictionary ``{"codes": (T,) int64, "memory": (H,) float32}``.

    Args:
        world_model: world model that the observations come from.
        name: name of the format, ``"embeddings"`` or ``"codes"``.

    Attributes:
        space: space of one formatted observation.

    Raises:
        ValueError: there is no format of that name, or ``"codes"`` is chosen for a vision model
            without codes.

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
                f"observation: expected a VQ-VAE as vision for 'codes', got a "
                f"{type(world_model.vision).__name__}; use a VQ-VAE, or observation='embeddings'"
            )
        self._vision = world_model.vision
        self.space = world_model.vision.code_space
        if world_model.memory is not None:
            features = spaces.Box(-BOUND, BOUND, (world_model.memory.feature_dim,), np.float32)
            self.space = spaces.Dict({"codes": self.space, "memory": features})

    @torch.inference_mode()
    def format_batch(self, observations: np.ndarray) -> Any:
        """Formats observations ``(N, O) float32`` for a vector environment."""
        if self._vision is None:
            return observations
        latent_dim = self._vision.latent_dim
        latents = torch.from_numpy(np.ascontiguousarray(observations[:, :latent_dim]))
        codes = self._vision.codes_of(latents.to(self._vision.device)).cpu().numpy()
        if not self._has_memory:
            return codes
        return {"codes": codes, "memory": observations[:, latent_dim:]}

    def format_each(self, observations: np.ndarray) -> Iterable[Any]:
        """Formats observations ``(N, O) float32`` and returns them one by one."""
        formatted = self.format_batch(observations)
        return [select_observation(formatted, index) for index in range(len(observations))]

    def format(self, observations: np.ndarray) -> Any:
        """Formats one observation, given as ``(1, O) float32``, for a single environment."""
        return select_observation(self.format_batch(observations), 0)
