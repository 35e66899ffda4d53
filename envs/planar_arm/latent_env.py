"""Environment of a planar arm with latent actions and one pose per episode."""

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
    """Environment of a planar arm with latent actions and one pose per episode.

    ## Description
    An encoding decodes each action to a pose. The action is a latent of a VAE, or consists of the
    codes of a VQ-VAE. As in Data-Driven Encodings (https://arxiv.org/abs/2003.04389), the encoding
    was trained on the elites of one problem and defines the search space of another problem. The
    two problems may differ in link lengths, locked joints and obstacles. Everything else is as in
    :class:`~wmrl.envs.planar_arm.env.PlanarArmEnv`.

    ## Action Space
    With a VAE, ``Box(Z,)`` float32 in [−1, 1]; the latent is the action times ``latent_limit``.
    Actions are clipped to this space. With a VQ-VAE, ``MultiDiscrete([K] * T)``: T codes
    from 0 to K − 1.

    ## Observation Space
    ``Box(2,)`` float32: x and y of the target. Without a target, ``Box(1,)`` float32, always 0.

    ## Rewards
    As in :class:`~wmrl.envs.planar_arm.env.PlanarArmEnv`: −std of the joint angles in radians. With
    a target, ``distance_weight`` · distance / reach is subtracted. If the arm collides,
    ``collision_cost`` · (1 + penetration / reach) is subtracted.

    ## Starting State
    The arm is stretched along the x axis. This pose has no effect on later poses. If the
    environment has a target, ``reset`` has the option ``"target"``: a point ``(2,)`` that replaces
    the target for one episode.

    ## Episode End
    Terminates after one step.

    ## Information
    As in :class:`~wmrl.envs.planar_arm.env.PlanarArmEnv`. In addition, the info contains
    ``"pose"``, ``(n,)`` float32: the decoded action. In ``vsg/PlanarArm-v0``, an action with the
    values of this pose gets the same reward.

    ## Arguments
    - ``encoding``: an encoding, the path of its artifact, or the name of a shipped artifact
      (``"planar-arm-vae"``, ``"planar-arm-vqvae"``). The encoding determines the number of joints,
      which is 200 for shipped encodings.
    - ``latent_limit``: latent value that corresponds to an action of 1. Each dimension of a VAE's
      latents is distributed about as N(0, 1), so a limit of 3 excludes almost no latents. The paper
      on Data-Driven Encodings uses a limit of 5. The limit has no effect on codes.
    - ``num_joints``: number of joints that the encoding must have; None for any number.
    - ``link_lengths``, ``locks``, ``obstacles``, ``target``, ``distance_weight``,
      ``collision_cost``: as in :class:`~wmrl.envs.planar_arm.env.PlanarArmEnv`.
    - ``device``: device on which actions are decoded, such as ``"auto"``, ``"cpu"`` or ``"cuda"``.
    - ``render_mode``: ``"rgb_array"``, ``"human"`` (in a window) or None.

    ## Version History
    - v0: first version.

    Raises:
        ArtifactError: the artifact is missing or damaged, or is not an encoding.
        ValueError: an argument is invalid, or the target is out of reach.

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
