"""What an encoding knows of a planar arm, as actions: latents or codes that stand for poses."""

from pathlib import Path

import numpy as np
import torch
from gymnasium import spaces

from wmrl.core.device import resolve_device
from wmrl.encodings.base import Encoding, load_encoding
from wmrl.envs.planar_arm.validation import clipped_action
from wmrl.nn.vq_autoencoder import QuantisedAutoencoder

LATENT_LIMIT = 3.0
"""Latents of a VAE are about N(0, I): 99.7 % of a dimension's are within it."""


class ArmLatents:
    """Actions that an encoding turns into poses.

    Args:
        encoding: the name of a shipped artifact, a path, or an object, which goes to the device.
        latent_limit: what an action of 1 is as a latent; without effect on codes.
        device: where poses are decoded.

    Attributes:
        encoding: the encoding.
        in_codes: whether actions are codes.
        space: of one action: ``MultiDiscrete([K] * T)`` of codes, else ``Box(Z,)`` in [−1, 1].

    Raises:
        ArtifactError: there is no such encoding.
        ValueError: the limit is not above 0.
        TypeError: the encoding is neither a name, a path nor an encoding.
    """

    space: spaces.MultiDiscrete | spaces.Box

    def __init__(
        self,
        encoding: Encoding | str | Path,
        *,
        latent_limit: float = LATENT_LIMIT,
        device: str | torch.device = "auto",
    ) -> None:
        if not 0.0 < latent_limit < np.inf:
            raise ValueError(f"latent_limit: expected a number above 0, got {latent_limit}")
        if isinstance(encoding, str | Path):
            encoding = load_encoding(encoding, device=device)
        elif not isinstance(encoding, Encoding):
            raise TypeError(
                "encoding: expected a shipped name, the path of an artifact or an Encoding, got "
                f"{type(encoding).__name__}"
            )
        self.encoding = encoding.to(resolve_device(device)).eval()
        self.in_codes = isinstance(encoding, QuantisedAutoencoder)
        self._limit = latent_limit
        if isinstance(encoding, QuantisedAutoencoder):
            self.space = spaces.MultiDiscrete([encoding.code_count] * encoding.tokens)
        else:
            self.space = spaces.Box(-1.0, 1.0, (encoding.latent_size,), np.float32)

    @property
    def joints(self) -> int:
        """n, of the arm that the encoding is of."""
        return self.encoding.size

    def checked(self, actions: np.ndarray, shape: tuple[int, ...] | None) -> np.ndarray:
        """Actions as they are taken: ``float32`` clipped to [−1, 1], or ``int64`` codes.

        Args:
            actions: numbers of that shape.
            shape: the shape expected.

        Raises:
            ValueError: the shape is another, a number is not finite, or a code is none.
        """
        if not self.in_codes:
            return clipped_action(
                actions, shape, each="one number a latent dimension", argument="encoding"
            )
        codes = np.asarray(actions)
        if codes.shape != shape:
            raise ValueError(
                f"action: expected shape {shape}, one code a token, got {codes.shape}; the "
                "environment's argument encoding sets their number"
            )
        return self._codes(codes)

    @torch.no_grad()
    def poses(self, actions: np.ndarray) -> np.ndarray:
        """Decodes actions ``(B, Z)`` or ``(B, T)`` that were checked.

        Returns:
            ``(B, n) float32`` in [−1, 1], what a :class:`~wmrl.envs.planar_arm.arm.Arm` takes.
        """
        device = self.encoding.device
        given = torch.from_numpy(np.ascontiguousarray(actions)).to(device)
        if isinstance(self.encoding, QuantisedAutoencoder):
            latents = self.encoding.latents_of(given)
        else:
            latents = self._limit * given
        poses: np.ndarray = self.encoding.decode(latents).clamp(-1.0, 1.0).cpu().numpy()
        return poses

    def _codes(self, actions: np.ndarray) -> np.ndarray:
        assert isinstance(self.space, spaces.MultiDiscrete)
        count = int(self.space.nvec[0])
        if not np.issubdtype(actions.dtype, np.integer):
            raise ValueError(f"action: expected whole numbers, codes, got {actions.dtype}")
        outside = (actions < 0) | (actions >= count)
        if outside.any():
            raise ValueError(
                f"action: expected codes from 0 to {count - 1}, got {actions[outside][0]}"
            )
        return actions.astype(np.int64)
