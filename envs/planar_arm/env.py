"""Environment of a planar arm that takes one pose per episode."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.utils import EzPickle
from gymnasium.vector import AutoresetMode

from wmrl.envs.planar_arm.arm import Arm
from wmrl.envs.planar_arm.targets import Target
from wmrl.envs.planar_arm.validation import Locks
from wmrl.envs.planar_arm.vector import PlanarArmVectorEnv
from wmrl.envs.single_env import SingleEnv


class OneArmEnv(SingleEnv[np.ndarray]):
    """Base class of environments with a single planar arm.

    Actions can be poses, latents or codes.

    Args:
        arms: vector environment with a single arm, with autoreset disabled and the render mode
            ``"rgb_array"``. The new environment has the observation space and the action space of
            this arm.
        render_mode: ``"rgb_array"``, ``"human"`` (in a window) or None.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 -- Gymnasium's own attribute
        "render_modes": ["human", "rgb_array"],
        "render_fps": 2,
    }
    reset_needed = (
        "step: expected a running episode, got none, because an arm takes one pose per episode; "
        "call reset() first"
    )

    def __init__(self, arms: PlanarArmVectorEnv, *, render_mode: str | None = None) -> None:
        super().__init__(arms, render_mode=render_mode, title="wmrl: planar arm")
        self._arms = arms

    @property
    def arm(self) -> Arm:
        """Arm of the environment."""
        return self._arms.arm

    def check_action(self, action: np.ndarray) -> np.ndarray:
        """Checks an action and returns it.

        Real numbers are clipped to [−1, 1]. Codes, which are integers, keep their values.

        Raises:
            ValueError: the shape is wrong, a number is not finite, or a code is out of range.
        """
        return self._arms.check_actions(action, self.action_space.shape)


class PlanarArmEnv(OneArmEnv, EzPickle):
    """Environment of a planar arm that takes one pose per episode.

    ## Description
    The arm is that of Data-Driven Encodings (https://arxiv.org/abs/2003.04389): it has n joints and
    links of length 1/n, and its base is at the origin. It should bend as evenly as possible and
    reach the target, if there is one. Arguments can change the link lengths, lock joints and add
    obstacles. To evaluate batches of poses without episodes, use
    :class:`~wmrl.envs.planar_arm.arm.Arm`.

    ## Action Space
    ``Box(n,)`` float32 in [−1, 1]. Multiplied by π/2, an action gives the joint angles in radians,
    in order from the base to the end. Each angle is relative to the previous link. Actions are
    clipped to this space. They have no effect on locked joints.

    ## Observation Space
    ``Box(2,)`` float32: x and y of the target. Without a target, ``Box(1,)`` float32, always 0.

    ## Rewards
    The fitness minus costs. The fitness is −std of the joint angles in radians. With a target, the
    cost of the distance is ``distance_weight`` · distance / reach. The distance is that of the end
    point from the target, and the reach is the length of the whole arm. The cost of a collision is
    ``collision_cost`` · (1 + penetration / reach). An arm collides if the center line of a link
    enters an obstacle. The penetration is the greatest depth to which a link enters an obstacle.
    Links may cross each other.

    ## Starting State
    The arm is stretched along the x axis, which has no effect on later poses. If the environment
    has a target, ``reset`` has the option ``"target"``: a point ``(2,)`` that replaces the target
    for one episode.

    ## Episode End
    Terminates after one step.

    ## Information
    After a step, the info contains ``"end_point"``, ``(2,)`` float32, and ``"descriptor"``,
    ``(2,)`` float32 in [0, 1], which is end point / (2 · reach) + 0.5. With a target, the info also
    contains ``"distance"``. With obstacles, it also contains ``"collision"`` and ``"penetration"``.

    ## Arguments
    - ``num_joints``: number n of joints.
    - ``link_lengths``: n lengths; 1/n each if empty.
    - ``locks``: locked joints, as pairs ``(joint, angle)`` or a mapping from joint to angle. Joints
      are given by index (0 is at the base), and angles in radians.
    - ``obstacles``: circles ``(x, y, radius)``, none of which covers the base.
    - ``target``: a fixed point ``(x, y)``; ``"random"`` for a new random point at each reset; None
      for no target. Random points are drawn uniformly within the arm's reach. With few joints, some
      of these points are unreachable because the joint angles are limited.
    - ``distance_weight``: cost if the end point's distance from the target equals the reach. The
      cost is in radians, like the fitness.
    - ``collision_cost``: cost of a collision with penetration 0, in radians, like the fitness.
    - ``render_mode``: ``"rgb_array"``, ``"human"`` (in a window) or None.

    ## Version History
    - v0: first version.

    Raises:
        ValueError: an argument is invalid, or the target is out of reach.

    Example:
        >>> import gymnasium as gym
        >>> import numpy as np
        >>> import wmrl  # registers the environment
        >>> env = gym.make("vsg/PlanarArm-v0", num_joints=2, target=(0.5, 0.5))
        >>> observation, info = env.reset(seed=0)
        >>> observation
        array([0.5, 0.5], dtype=float32)
        >>> action = np.array([0.0, 1.0], np.float32)
        >>> observation, reward, terminated, truncated, info = env.step(action)
        >>> round(reward, 3), terminated, round(info["distance"], 3)
        (-0.785, True, 0.0)
    """

    def __init__(
        self,
        *,
        num_joints: int = 20,
        link_lengths: Sequence[float] = (),
        locks: Locks = (),
        obstacles: Sequence[tuple[float, float, float]] = (),
        target: Target = None,
        distance_weight: float = 5.0,
        collision_cost: float = 2.0,
        render_mode: str | None = None,
    ) -> None:
        arguments: dict[str, Any] = {
            "num_joints": num_joints,
            "link_lengths": link_lengths,
            "locks": locks,
            "obstacles": obstacles,
            "target": target,
            "distance_weight": distance_weight,
            "collision_cost": collision_cost,
        }
        EzPickle.__init__(self, **arguments, render_mode=render_mode)
        arms = PlanarArmVectorEnv(
            1, **arguments, autoreset_mode=AutoresetMode.DISABLED, render_mode="rgb_array"
        )
        OneArmEnv.__init__(self, arms, render_mode=render_mode)
