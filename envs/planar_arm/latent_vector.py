"""N planar arms, posed by what an encoding has learned, as one batched environment."""

from collections.abc import Sequence, Sized
from pathlib import Path

import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from wmrl.encodings.base import Encoding
from wmrl.envs.planar_arm.arm import ArmEvaluation
from wmrl.envs.planar_arm.latent_actions import LATENT_LIMIT, ArmLatents
from wmrl.envs.planar_arm.targets import Target
from wmrl.envs.planar_arm.validation import Locks
from wmrl.envs.planar_arm.vector import PlanarArmVectorEnv


class PlanarArmLatentVectorEnv(PlanarArmVectorEnv):
    """N planar arms, posed by what an encoding has learned, and evaluated as one batch.

    ## Description
    What :class:`~wmrl.envs.planar_arm.latent_env.PlanarArmLatentEnv` is, N times; all poses of a
    step are decoded at once.

    ## Action Space
    ``Box(N, Z)`` float32 in [−1, 1], or ``MultiDiscrete(N, T)``.

    ## Observation Space
    ``Box(N, 2)`` float32, the targets; without a target ``Box(N, 1)``, zeros.

    ## Rewards
    As :class:`~wmrl.envs.planar_arm.env.PlanarArmEnv`; 0 for an arm that is reset or idle instead.

    ## Starting State
    As :class:`~wmrl.envs.planar_arm.vector.PlanarArmVectorEnv`.

    ## Episode End
    As :class:`~wmrl.envs.planar_arm.vector.PlanarArmVectorEnv`.

    ## Information
    As :class:`~wmrl.envs.planar_arm.vector.PlanarArmVectorEnv`, and ``"pose"`` ``(N, n)`` float32.

    ## Arguments
    - ``num_envs``: N.
    - ``autoreset_mode``: one of Gymnasium's three.
    - ``render_mode``: ``"rgb_array"`` or None.
    - The others are those of :class:`~wmrl.envs.planar_arm.latent_env.PlanarArmLatentEnv`.

    ## Version History
    - v0: first version.
    """

    def __init__(
        self,
        num_envs: int = 1,
        *,
        encoding: Encoding | str | Path = "planar-arm-vae",
        latent_limit: float = LATENT_LIMIT,
        joints: int | None = None,
        link_lengths: Sequence[float] = (),
        locks: Locks = (),
        obstacles: Sequence[tuple[float, float, float]] = (),
        target: Target = None,
        distance_weight: float = 5.0,
        collision_cost: float = 2.0,
        device: str | torch.device = "auto",
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
    ) -> None:
        self._latents = ArmLatents(encoding, latent_limit=latent_limit, device=device)
        _check_size("joints", joints, self._latents.joints)
        if isinstance(link_lengths, Sized):  # what is no sequence at all is refused below
            _check_size("link_lengths", len(link_lengths) or None, self._latents.joints)
        super().__init__(
            num_envs,
            joints=self._latents.joints,
            link_lengths=link_lengths,
            locks=locks,
            obstacles=obstacles,
            target=target,
            distance_weight=distance_weight,
            collision_cost=collision_cost,
            autoreset_mode=autoreset_mode,
            render_mode=render_mode,
        )
        self.single_action_space = self._latents.space
        self.action_space = batch_space(self._latents.space, num_envs)

    @property
    def encoding(self) -> Encoding:
        """What decodes actions."""
        return self._latents.encoding

    def checked(self, actions: np.ndarray, shape: tuple[int, ...] | None) -> np.ndarray:
        """Actions as they are taken: clipped to [−1, 1], or codes.

        Args:
            actions: of one arm or of all.
            shape: the shape expected.

        Raises:
            ValueError: the shape is another, a number is not finite, or a code is none.
        """
        return self._latents.checked(actions, shape)

    def _poses(self, actions: np.ndarray) -> np.ndarray:
        return self._latents.poses(actions)

    def _known(
        self, poses: np.ndarray, found: ArmEvaluation, distances: np.ndarray | None
    ) -> dict[str, np.ndarray]:
        return super()._known(poses, found, distances) | {"pose": poses}


def _check_size(name: str, given: int | None, size: int) -> None:
    if given not in (None, size):
        raise ValueError(
            f"{name}: expected {size} joints, which the encoding was learned from, got {given}; "
            "give as many, or an encoding of arms of that size"
        )
