"""Vector environment of planar arms with latent actions."""

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
    """Vector environment of N planar arms with latent actions.

    ## Description
    This is the vector version of :class:`~wmrl.envs.planar_arm.latent_env.PlanarArmLatentEnv`. All
    actions of a step are decoded as one batch, and all poses are evaluated as one batch.

    ## Action Space
    With a VAE, ``Box(N, Z)`` float32 in [−1, 1]. With a VQ-VAE, ``MultiDiscrete`` of shape
    ``(N, T)``: T codes per arm.

    ## Observation Space
    ``Box(N, 2)`` float32, the targets. Without targets, ``Box(N, 1)`` float32, always 0.

    ## Rewards
    As in :class:`~wmrl.envs.planar_arm.vector.PlanarArmVectorEnv`.

    ## Starting State
    As in :class:`~wmrl.envs.planar_arm.vector.PlanarArmVectorEnv`.

    ## Episode End
    As in :class:`~wmrl.envs.planar_arm.vector.PlanarArmVectorEnv`.

    ## Information
    As in :class:`~wmrl.envs.planar_arm.vector.PlanarArmVectorEnv`. In addition, the info contains
    ``"pose"``, ``(N, n)`` float32: the decoded actions.

    ## Arguments
    - ``num_envs``: number N of arms.
    - ``autoreset_mode``: one of Gymnasium's three autoreset modes.
    - ``render_mode``: ``"rgb_array"`` or None.
    - All other arguments: as in
      :class:`~wmrl.envs.planar_arm.latent_env.PlanarArmLatentEnv`.

    ## Version History
    - v0: first version.
    """

    def __init__(
        self,
        num_envs: int = 1,
        *,
        encoding: Encoding | str | Path = "planar-arm-vae",
        latent_limit: float = LATENT_LIMIT,
        num_joints: int | None = None,
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
        _check_joints("num_joints", num_joints, self._latents.num_joints)
        if isinstance(link_lengths, Sized):  # Arm refuses anything else
            _check_joints("link_lengths", len(link_lengths) or None, self._latents.num_joints)
        super().__init__(
            num_envs,
            num_joints=self._latents.num_joints,
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
        """Encoding whose decoder maps actions to poses."""
        return self._latents.encoding

    def check_actions(self, actions: np.ndarray, shape: tuple[int, ...] | None) -> np.ndarray:
        """Checks actions, which are latents or codes, and returns them.

        Latents are clipped to [−1, 1]; codes are not changed.

        Args:
            actions: actions of one arm or of all arms.
            shape: expected shape of the actions.

        Raises:
            ValueError: the shape is wrong, a number is not finite, or a code is out of range.
        """
        return self._latents.check_actions(actions, shape)

    def _poses(self, actions: np.ndarray) -> np.ndarray:
        return self._latents.poses(actions)

    def _info_arrays(
        self, poses: np.ndarray, evaluation: ArmEvaluation, distances: np.ndarray | None
    ) -> dict[str, np.ndarray]:
        return super()._info_arrays(poses, evaluation, distances) | {"pose": poses}


def _check_joints(name: str, given: int | None, num_joints: int) -> None:
    if given not in (None, num_joints):
        raise ValueError(
            f"{name}: expected {num_joints} joints (as in the encoding), got {given}; use "
            f"{num_joints} joints, or choose an encoding for {given} joints"
        )
