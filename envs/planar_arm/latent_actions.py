"""Latent actions of planar arms: latents or codes, which an encoding decodes to poses."""

from pathlib import Path

import numpy as np
import torch
from gymnasium import spaces

from wmrl.core.device import resolve_device
from wmrl.core.validation import check_float
from wmrl.encodings.base import Encoding, load_encoding
from wmrl.envs.planar_arm.validation import LARGEST, clip_action
from wmrl.nn.vq_autoencoder import QuantizedAutoencoder

LATENT_LIMIT = 3.0
"""Latent value that corresponds to an action of 1, by default.

Each dimension of a VAE's latents is distributed about as N(0, 1). Therefore, 99.7 % of the latent
values are within ±3.
"""


class ArmLatents:
    """Latent actions of planar arms, decoded to poses by an encoding.

    Args:
        encoding: an encoding, the path of its artifact, or the name of a shipped artifact. The
            encoding is moved to ``device``.
        latent_limit: latent value that corresponds to an action of 1. It has no effect on codes.
        device: device on which actions are decoded.

    Attributes:
        encoding: encoding that decodes actions.
        discrete: True if actions are codes, False if they are latents.
        space: action space of one arm: ``MultiDiscrete([K] * T)`` for T codes from 0 to K − 1, and
            ``Box(Z,)`` in [−1, 1] for latents of Z dimensions.

    Raises:
        ArtifactError: the artifact is missing or damaged, or is not an encoding.
        ValueError: ``latent_limit`` is not a finite number above 0.
        TypeError: ``encoding`` is not an encoding, a path or a name.
    """

    space: spaces.MultiDiscrete | spaces.Box

    def __init__(
        self,
        encoding: Encoding | str | Path,
        *,
        latent_limit: float = LATENT_LIMIT,
        device: str | torch.device = "auto",
    ) -> None:
        check_float("latent_limit", latent_limit, above=0, at_most=LARGEST)
        if isinstance(encoding, str | Path):
            encoding = load_encoding(encoding, device=device)
        elif not isinstance(encoding, Encoding):
            raise TypeError(
                "encoding: expected the name of a shipped artifact, a path or an Encoding, got "
                f"{type(encoding).__name__}"
            )
        self.encoding = encoding.to(resolve_device(device)).eval()
        self.discrete = isinstance(encoding, QuantizedAutoencoder)
        self._limit = latent_limit
        if isinstance(encoding, QuantizedAutoencoder):
            self.space = spaces.MultiDiscrete([encoding.codebook_size] * encoding.num_tokens)
        else:
            self.space = spaces.Box(-1.0, 1.0, (encoding.latent_dim,), np.float32)

    @property
    def num_joints(self) -> int:
        """Number n of joints of the arms for which the encoding was trained."""
        return self.encoding.input_dim

    def check_actions(self, actions: np.ndarray, shape: tuple[int, ...] | None) -> np.ndarray:
        """Checks actions and returns them.

        Latents are returned as float32, clipped to [−1, 1]. Codes are returned as int64.

        Args:
            actions: actions of one arm or of several arms.
            shape: expected shape of the actions.

        Raises:
            ValueError: the shape is wrong, a number is not finite, or a code is out of range.
        """
        if not self.discrete:
            return clip_action(
                actions, shape, each="one number per latent dimension", argument="encoding"
            )
        try:
            codes = np.asarray(actions)
        except ValueError as error:  # sequences of different lengths
            raise ValueError(
                "action: expected the same number of codes for each arm, got sequences of "
                f"different lengths: {actions!r:.100}"
            ) from error
        if codes.shape != shape:
            raise ValueError(
                f"action: expected shape {shape} of integer codes, got shape {codes.shape}; the "
                "environment's argument 'encoding' determines the number of codes"
            )
        return self._check_codes(codes)

    @torch.no_grad()
    def poses(self, actions: np.ndarray) -> np.ndarray:
        """Decodes actions to poses.

        Args:
            actions: latents ``(B, Z)`` or codes ``(B, T)`` of B poses, from :meth:`check_actions`.

        Returns:
            ``(B, n) float32`` in [−1, 1], to be used as actions of an
            :class:`~wmrl.envs.planar_arm.arm.Arm`.
        """
        device = self.encoding.device
        given = torch.from_numpy(np.ascontiguousarray(actions)).to(device)
        if isinstance(self.encoding, QuantizedAutoencoder):
            latents = self.encoding.latents_of(given)
        else:
            latents = self._limit * given
        poses: np.ndarray = self.encoding.decode(latents).clamp(-1.0, 1.0).cpu().numpy()
        return poses

    def _check_codes(self, actions: np.ndarray) -> np.ndarray:
        assert isinstance(self.space, spaces.MultiDiscrete)
        codebook_size = int(self.space.nvec[0])
        if not np.issubdtype(actions.dtype, np.integer):
            raise ValueError(
                f"action: expected integer codes, got {actions.dtype}; convert them to int64"
            )
        outside = (actions < 0) | (actions >= codebook_size)
        if outside.any():
            raise ValueError(
                f"action: expected codes from 0 to {codebook_size - 1}, got {actions[outside][0]}"
            )
        return actions.astype(np.int64)
