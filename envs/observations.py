"""Views: whether an agent is shown an eye's latents as numbers or as codes."""

from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
import torch
from gymnasium import spaces

from wmrl.envs.world_model import WorldModel
from wmrl.vision.vqvae import VQVAE

ObservationName = Literal["embeddings", "codes"]


class ObservationFormat:
    """What is shown of observations [z] or [z, h], which the models deal in.

    ``"embeddings"`` shows them as they are. ``"codes"`` shows the discrete latents that z stands for, alone
    or in a dictionary beside h: ``{"codes": (T,) int64, "memory": (H,) float32}``.

    Args:
        world_model: what is looked through.
        name: which view.

    Attributes:
        space: space of one observation.

    Raises:
        ValueError: there is no such view, or the eye sees no codes.
    """

    def __init__(self, world_model: WorldModel, name: ObservationName) -> None:
        if name not in ("embeddings", "codes"):
            raise ValueError(f"observation: expected 'embeddings' or 'codes', got {name!r}")
        self.space: spaces.Space[Any] = world_model.observation_space
        self._vision: VQVAE | None = None
        self._remembers = world_model.memory is not None
        if name == "embeddings":
            return
        if not isinstance(world_model.vision, VQVAE):
            raise ValueError(
                f"observation: codes need a VQ-VAE, the vision is a {type(world_model.vision).__name__}; "
                "choose another vision, or 'embeddings'"
            )
        self._vision = world_model.vision
        self.space = world_model.vision.code_space
        if world_model.memory is not None:
            bound = float(np.finfo(np.float32).max)
            remembered = spaces.Box(-bound, bound, (world_model.memory.feature_dim,), np.float32)
            self.space = spaces.Dict({"codes": self.space, "memory": remembered})

    @torch.inference_mode()
    def format_batch(self, observations: np.ndarray) -> Any:
        """Observations ``(N, O) float32`` as a vector environment shows them."""
        if self._vision is None:
            return observations
        size = self._vision.latent_dim
        latents = torch.from_numpy(np.ascontiguousarray(observations[:, :size]))
        codes = self._vision.codes_of(latents.to(self._vision.device)).cpu().numpy()
        return {"codes": codes, "memory": observations[:, size:]} if self._remembers else codes

    def format_each(self, observations: np.ndarray) -> Iterable[Any]:
        """The same, one by one."""
        shown = self.format_batch(observations)
        return [row_of(shown, row) for row in range(len(observations))]

    def format(self, observations: np.ndarray) -> Any:
        """An observation ``(1, O)`` as an environment shows it."""
        return row_of(self.format_batch(observations), 0)


def row_of(shown: Any, row: int) -> Any:
    """One observation out of what :meth:`ObservationFormat.format_batch` gave."""
    if isinstance(shown, dict):
        return {key: value[row] for key, value in shown.items()}
    return shown[row]
