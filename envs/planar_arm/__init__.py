"""``vsg/PlanarArm-v0`` and ``vsg/PlanarArmLatent-v0``: a planar arm that takes one pose an episode.

- :mod:`~wmrl.envs.planar_arm.arm`: batches of poses, evaluated (``Arm``, ``ArmEvaluation``).
- :mod:`~wmrl.envs.planar_arm.kinematics`: end points, penetration of obstacles; compiled.
- :mod:`~wmrl.envs.planar_arm.reward`: rewards, and reaching a target as an objective
  (``ArmReward``, ``Reached``, ``ReachObjective``).
- :mod:`~wmrl.envs.planar_arm.targets`: where targets may be (``ArmTargets``).
- :mod:`~wmrl.envs.planar_arm.validation`: argument checks.
- :mod:`~wmrl.envs.planar_arm.rendering`: pictures of arms (``draw_arm``).
- :mod:`~wmrl.envs.planar_arm.env`: one arm (``PlanarArmEnv``).
- :mod:`~wmrl.envs.planar_arm.vector`: many arms (``PlanarArmVectorEnv``).
- :mod:`~wmrl.envs.planar_arm.latent_actions`: poses from a learned encoding's latents or codes
  (``ArmLatents``).
- :mod:`~wmrl.envs.planar_arm.latent_env`: one arm, posed in latents (``PlanarArmLatentEnv``).
- :mod:`~wmrl.envs.planar_arm.latent_vector`: many arms, posed in latents
  (``PlanarArmLatentVectorEnv``).
- :mod:`~wmrl.envs.planar_arm.oracle`: the least std of angles that reaches a target
  (``ArmOracleConfig``, ``ArmOracleResult``, ``solve_targets``).
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
    from wmrl.envs.planar_arm.reward import ArmReward, Reached, ReachObjective
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
    "ReachObjective",
    "Reached",
    "draw_arm",
    "solve_targets",
]
