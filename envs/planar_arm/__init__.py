"""``vsg/PlanarArm-v0`` and ``vsg/PlanarArmLatent-v0``: planar arms that take one pose per episode.

- :mod:`~wmrl.envs.planar_arm.arm`: the arm, which evaluates batches of poses (``Arm``,
  ``ArmEvaluation``).
- :mod:`~wmrl.envs.planar_arm.kinematics`: pure functions that compute end points, penetration of
  obstacles and more.
- :mod:`~wmrl.envs.planar_arm.reward`: rewards, and the objective of reaching a target
  (``ArmReward``, ``ReachEvaluation``, ``ReachObjective``).
- :mod:`~wmrl.envs.planar_arm.targets`: fixed and random targets (``ArmTargets``).
- :mod:`~wmrl.envs.planar_arm.validation`: checks of arguments.
- :mod:`~wmrl.envs.planar_arm.rendering`: images of arms (``draw_arm``).
- :mod:`~wmrl.envs.planar_arm.env`: the environment (``PlanarArmEnv``).
- :mod:`~wmrl.envs.planar_arm.vector`: the vector environment (``PlanarArmVectorEnv``).
- :mod:`~wmrl.envs.planar_arm.latent_actions`: actions that are latents or codes of an encoding
  (``ArmLatents``).
- :mod:`~wmrl.envs.planar_arm.latent_env`: the environment with latent actions
  (``PlanarArmLatentEnv``).
- :mod:`~wmrl.envs.planar_arm.latent_vector`: the vector environment with latent actions
  (``PlanarArmLatentVectorEnv``).
- :mod:`~wmrl.envs.planar_arm.oracle`: poses that reach a target with the smallest standard
  deviation of the joint angles (``ArmOracleConfig``, ``ArmOracleResult``, ``solve_targets``).
"""

from typing import TYPE_CHECKING

from wmrl.core.lazy import lazy_exports

if TYPE_CHECKING:
    from wmrl.envs.planar_arm.arm import Arm, ArmEvaluation
    from wmrl.envs.planar_arm.env import PlanarArmEnv
    from wmrl.envs.planar_arm.latent_actions import ArmLatents
    from wmrl.envs.planar_arm.latent_env import PlanarArmLatentEnv
    from wmrl.envs.planar_arm.latent_vector import PlanarArmLatentVectorEnv
    from wmrl.envs.planar_arm.oracle import ArmOracleConfig, ArmOracleResult, solve_targets
    from wmrl.envs.planar_arm.rendering import draw_arm
    from wmrl.envs.planar_arm.reward import ArmReward, ReachEvaluation, ReachObjective
    from wmrl.envs.planar_arm.targets import ArmTargets
    from wmrl.envs.planar_arm.vector import PlanarArmVectorEnv
else:
    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "Arm",
    "ArmEvaluation",
    "ArmLatents",
    "ArmOracleConfig",
    "ArmOracleResult",
    "ArmReward",
    "ArmTargets",
    "PlanarArmEnv",
    "PlanarArmLatentEnv",
    "PlanarArmLatentVectorEnv",
    "PlanarArmVectorEnv",
    "ReachEvaluation",
    "ReachObjective",
    "draw_arm",
    "solve_targets",
]
