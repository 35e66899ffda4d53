"""Gymnasium environments; importing :mod:`wmrl` registers the ids that start with ``vsg/``.

- :mod:`~wmrl.envs.tasks`: descriptions of games (``CAR_RACING``, ``ObservationKey``,
  ``TAKE_COVER``, ``TAKE_COVER_PAPER``, ``Task``, ``find_task``, ``register_task``,
  ``rendered_frame``).
- :mod:`~wmrl.envs.world_model`: a vision model and a memory model for the same task
  (``WorldModel``).
- :mod:`~wmrl.envs.observations`: observation formats of latent and dream environments
  (``ObservationFormat``).
- :mod:`~wmrl.envs.car_racing`: ``vsg/CarRacing-v3`` (``CarRacing``).
- :mod:`~wmrl.envs.take_cover`: ``vsg/TakeCover-v0`` (``TakeCover``).
- :mod:`~wmrl.envs.frames`: environments with frame skip that return frames (``FrameEnv``,
  ``FrameVectorEnv``).
- :mod:`~wmrl.envs.latent`: ``vsg/CarRacingLatent-v0``, and ``vsg/Latent-v0`` for any task
  (``LatentEnv``, ``LatentObservation``, ``LatentVectorEnv``).
- :mod:`~wmrl.envs.dream`: ``vsg/CarRacingDream-v0``, and ``vsg/Dream-v0`` for any task
  (``DreamEnv``, ``DreamVectorEnv``).
- :mod:`~wmrl.envs.planar_arm`: ``vsg/PlanarArm-v0``, ``vsg/PlanarArmLatent-v0`` (``Arm``,
  ``PlanarArmEnv``, ``PlanarArmLatentEnv``, ``PlanarArmLatentVectorEnv``, ``PlanarArmVectorEnv``,
  ``ReachObjective``, ``solve_targets``).
- :mod:`~wmrl.envs.rendering`: windows, videos and images (``write_video``).
- :mod:`~wmrl.envs.single_env`: base class of environments that wrap a vector environment of size 1.
- :mod:`~wmrl.envs.autoreset`: helpers for resets, step limits and Gymnasium's autoreset modes.
- :mod:`~wmrl.envs.specs`: specs of environments as JSON that refers to models and tasks by name.
"""

if __name__ != "wmrl.envs":  # pragma: no cover
    raise ImportError(
        "envs: expected an import as 'wmrl.envs', got an import of the source folder 'envs' "
        "itself; install wmrl, then import wmrl.envs"
    )

from typing import TYPE_CHECKING

from wmrl.core.lazy import lazy_exports

if TYPE_CHECKING:
    from wmrl.envs.car_racing.env import CarRacing
    from wmrl.envs.dream.env import DreamEnv
    from wmrl.envs.dream.vector import DreamVectorEnv
    from wmrl.envs.frames.env import FrameEnv
    from wmrl.envs.frames.vector import FrameVectorEnv
    from wmrl.envs.latent.env import LatentEnv
    from wmrl.envs.latent.vector import LatentVectorEnv
    from wmrl.envs.latent.wrapper import LatentObservation
    from wmrl.envs.observations import ObservationFormat
    from wmrl.envs.planar_arm.arm import Arm
    from wmrl.envs.planar_arm.env import PlanarArmEnv
    from wmrl.envs.planar_arm.latent_env import PlanarArmLatentEnv
    from wmrl.envs.planar_arm.latent_vector import PlanarArmLatentVectorEnv
    from wmrl.envs.planar_arm.oracle import solve_targets
    from wmrl.envs.planar_arm.reward import ReachObjective
    from wmrl.envs.planar_arm.vector import PlanarArmVectorEnv
    from wmrl.envs.rendering.video import write_video
    from wmrl.envs.take_cover.env import TakeCover
    from wmrl.envs.tasks.car_racing import CAR_RACING
    from wmrl.envs.tasks.registry import find_task, register_task
    from wmrl.envs.tasks.take_cover import TAKE_COVER, TAKE_COVER_PAPER
    from wmrl.envs.tasks.task import ObservationKey, Task, rendered_frame
    from wmrl.envs.world_model import WorldModel
else:
    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "CAR_RACING",
    "TAKE_COVER",
    "TAKE_COVER_PAPER",
    "Arm",
    "CarRacing",
    "DreamEnv",
    "DreamVectorEnv",
    "FrameEnv",
    "FrameVectorEnv",
    "LatentEnv",
    "LatentObservation",
    "LatentVectorEnv",
    "ObservationFormat",
    "ObservationKey",
    "PlanarArmEnv",
    "PlanarArmLatentEnv",
    "PlanarArmLatentVectorEnv",
    "PlanarArmVectorEnv",
    "ReachObjective",
    "TakeCover",
    "Task",
    "WorldModel",
    "find_task",
    "register_task",
    "rendered_frame",
    "solve_targets",
    "write_video",
]
