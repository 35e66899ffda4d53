"""Views: whether an agent is shown an eye's latents as numbers or as codes."""

from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
import torch
from gymnasium import spaces

from wmrl.envs.world_model import Eye
from wmrl.vision.vqvae import VQVAE

ViewName = Literal["embeddings", "codes"]


class View:
    """What is shown of observations [z] or [z, h], which the models deal in.

    ``"embeddings"`` shows them as they are. ``"codes"`` shows the symbols that z stands for, alone
    or in a dictionary beside h: ``{"codes": (T,) int64, "memory": (H,) float32}``.

    Args:
        eye: what is looked through.
        name: which view.

    Attributes:
        space: space of one observation.

    Raises:
        ValueError: there is no such view, or the eye sees no codes.
    """

    def __init__(self, eye: Eye, name: ViewName) -> None:
        if name not in ("embeddings", "codes"):
            raise ValueError(f"observation: expected 'embeddings' or 'codes', got {name!r}")
        self.space: spaces.Space[Any] = eye.observation_space
        self._vision: VQVAE | None = None
        self._remembers = eye.memory is not None
        if name == "embeddings":
            return
        if not isinstance(eye.vision, VQVAE):
            raise ValueError(
                f"observation: codes need a VQ-VAE, the vision is a {type(eye.vision).__name__}; "
                "choose another vision, or 'embeddings'"
            )
        self._vision = eye.vision
        self.space = eye.vision.code_space
        if eye.memory is not None:
            bound = float(np.finfo(np.float32).max)
            remembered = spaces.Box(-bound, bound, (eye.memory.feature_size,), np.float32)
            self.space = spaces.Dict({"codes": self.space, "memory": remembered})

    @torch.inference_mode()
    def many(self, observations: np.ndarray) -> Any:
        """Observations ``(N, O) float32`` as a vector environment shows them."""
        if self._vision is None:
            return observations
        size = self._vision.latent_size
        latents = torch.from_numpy(np.ascontiguousarray(observations[:, :size]))
        codes = self._vision.codes_of(latents.to(self._vision.device)).cpu().numpy()
        return {"codes": codes, "memory": observations[:, size:]} if self._remembers else codes

    def rows(self, observations: np.ndarray) -> Iterable[Any]:
        """The same, one by one."""
        shown = self.many(observations)
        return [row_of(shown, row) for row in range(len(observations))]

    def one(self, observations: np.ndarray) -> Any:
        """An observation ``(1, O)`` as an environment shows it."""
        return row_of(self.many(observations), 0)


def row_of(shown: Any, row: int) -> Any:
    """One observation out of what :meth:`View.many` gave."""
    if isinstance(shown, dict):
        return {key: value[row] for key, value in shown.items()}
    return shown[row]
