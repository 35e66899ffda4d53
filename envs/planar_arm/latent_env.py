"""A planar arm, posed by what an encoding has learned of good poses."""

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
    """A planar arm that takes on one pose an episode, said in an encoding's few numbers.

    ## Description
    The reuse of Data-Driven Encodings (https://arxiv.org/abs/2003.04389): an encoding that was
    learned from the elites of one problem is where another is searched. An action is decoded to
    the joints' angles; else this is :class:`~wmrl.envs.planar_arm.env.PlanarArmEnv`. The problem
    may differ from the one that the encoding was learned in: link lengths, joints that are stuck,
    circles in the way.

    ## Action Space
    With a VAE ``Box(Z,)`` float32 in [−1, 1], times ``latent_limit`` the latent; actions outside
    are clipped. With a VQ-VAE ``MultiDiscrete([K] * T)``, its codes.

    ## Observation Space
    ``Box(2,)`` float32: the target's x and y; without a target ``Box(1,)``, always 0.

    ## Rewards
    As :class:`~wmrl.envs.planar_arm.env.PlanarArmEnv`: −std of the angles in radians, less
    ``distance_weight`` · distance / reach, less ``collision_cost`` · (1 + penetration / reach) for
    an arm that collides.

    ## Starting State
    The arm is stretched out along the x axis, which no pose depends on. Option of ``reset``:
    ``"target"``, ``(2,)``, a target for this episode.

    ## Episode End
    Terminated after one step.

    ## Information
    As :class:`~wmrl.envs.planar_arm.env.PlanarArmEnv`, and ``"pose"`` ``(n,)`` float32, the decoded
    action: given to ``vsg/PlanarArm-v0``, it earns the same.

    ## Arguments
    - ``encoding``: the name of a shipped artifact (``"planar-arm-vae"``, ``"planar-arm-vqvae"``),
      a path, or an object. It sets the number of joints, 200 for those that are shipped.
    - ``latent_limit``: what an action of 1 is as a latent. A VAE's latents are about N(0, I), so
      that 3 leaves nearly nothing out (Data-Driven Encodings took 5).
    - ``joints``: None, or the number that the encoding is expected to have.
    - ``link_lengths``, ``locks``, ``obstacles``, ``distance_weight``, ``collision_cost``: as of
      :class:`~wmrl.envs.planar_arm.env.PlanarArmEnv`.
    - ``target``: a point ``(x, y)``; ``"random"`` for one drawn at each reset; None for none.
    - ``device``: where poses are decoded: ``"auto"``, ``"cpu"``, ``"cuda"`` …
    - ``render_mode``: ``"rgb_array"`` or ``"human"`` (in a window).

    ## Version History
    - v0: first version.

    Raises:
        ArtifactError: there is no such encoding.
        ValueError: an argument is not as described, or the target is out of reach.
    """

    def __init__(
        self,
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
        render_mode: str | None = None,
    ) -> None:
        arguments: dict[str, Any] = {
            "encoding": encoding,
            "latent_limit": latent_limit,
            "joints": joints,
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
