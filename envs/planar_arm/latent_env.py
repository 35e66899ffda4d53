"""Environment of a planar arm with latent actions."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from gymnasium.utils import EzPickle
from gymnasium.vector import AutoresetMode

from wmrl.encodings.base import Encoding
from wmrl.envs.planar_arm.env import OneArmEnv
from wmrl.envs.planar_arm.latent_actions import LATENT_LIMIT
from wmrl.envs.planar_arm.latent_vector import PlanarArmLatentVectorEnv
from wmrl.envs.planar_arm.targets import Target
from wmrl.envs.planar_arm.validation import Locks


class PlanarArmLatentEnv(OneArmEnv, EzPickle):
    """A planar arm with latent actions, which takes one pose per episode.

    ## Description
    The reuse of encodings in Data-Driven Encodings (https://arxiv.org/abs/2003.04389): an encoding
    trained on the elites of one problem is the search space of another. An action is decoded to
    joint angles; everything else is as in :class:`~wmrl.envs.planar_arm.env.PlanarArmEnv`. The
    problem may differ from that of the encoding in link lengths, locked joints and obstacles.

    ## Action Space
    With a VAE ``Box(Z,)`` float32 in [−1, 1], which is multiplied by ``latent_limit`` to give the
    latent; actions outside are clipped. With a VQ-VAE ``MultiDiscrete([K] * T)``, its codes.

    ## Observation Space
    ``Box(2,)`` float32: the target's x and y; without a target ``Box(1,)``, always 0.

    ## Rewards
    As :class:`~wmrl.envs.planar_arm.env.PlanarArmEnv`: −std of the angles in radians, minus
    ``distance_weight`` · distance / reach, minus ``collision_cost`` · (1 + penetration / reach) if
    the arm collides.

    ## Starting State
    The arm is stretched along the x axis, which has no effect on later poses. Option of ``reset``:
    ``"target"``, ``(2,)``, a target for this episode.

    ## Episode End
    Terminates after one step.

    ## Information
    As :class:`~wmrl.envs.planar_arm.env.PlanarArmEnv`, and ``"pose"`` ``(n,)`` float32, the decoded
    action, which earns the same reward in ``vsg/PlanarArm-v0``.

    ## Arguments
    - ``encoding``: name of a shipped artifact (``"planar-arm-vae"``, ``"planar-arm-vqvae"``), a
      path, or an encoding. It determines the number of joints, 200 for those that are shipped.
    - ``latent_limit``: latent that corresponds to an action of 1. Latents of a VAE are about
      N(0, I), so 3 excludes almost none of them (Data-Driven Encodings uses 5).
    - ``num_joints``: None, or the number of joints that the encoding is expected to have.
    - ``link_lengths``, ``locks``, ``obstacles``, ``distance_weight``, ``collision_cost``: as of
      :class:`~wmrl.envs.planar_arm.env.PlanarArmEnv`.
    - ``target``: a point ``(x, y)``; ``"random"`` for one drawn at each reset; None for none.
    - ``device``: device on which poses are decoded: ``"auto"``, ``"cpu"``, ``"cuda"`` …
    - ``render_mode``: ``"rgb_array"`` or ``"human"`` (in a window).

    ## Version History
    - v0: first version.

    Raises:
        ArtifactError: there is no such encoding.
        ValueError: an argument is not as described, or the target is out of reach.

    Example:
        >>> import gymnasium as gym
        >>> import wmrl  # registers the environment
        >>> env = gym.make("vsg/PlanarArmLatent-v0", encoding="planar-arm-vqvae", device="cpu")
        >>> observation, info = env.reset(seed=0)
        >>> codes = env.action_space.sample()
        >>> observation, reward, terminated, truncated, info = env.step(codes)
        >>> codes.shape, info["pose"].shape, terminated
        ((8,), (200,), True)
    """

    def __init__(
        self,
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
        render_mode: str | None = None,
    ) -> None:
        arguments: dict[str, Any] = {
            "encoding": encoding,
            "latent_limit": latent_limit,
            "num_joints": num_joints,
            "link_lengths": link_lengths,
            "locks": locks,
            "obstacles": obstacles,
            "target": target,
            "distance_weight": distance_weight,
            "collision_cost": collision_cost,
            "device": device,
        }
        EzPickle.__init__(self, **arguments, render_mode=render_mode)
        arms = PlanarArmLatentVectorEnv(
            1, **arguments, autoreset_mode=AutoresetMode.DISABLED, render_mode="rgb_array"
        )
        OneArmEnv.__init__(self, arms, render_mode=render_mode)
