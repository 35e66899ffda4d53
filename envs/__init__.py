"""Gymnasium environments of wmrl, registered under ``vsg/`` when ``wmrl`` is imported.

- :class:`Task` -- all that is particular to a game; :data:`CAR_RACING`, :func:`find_task`,
  :func:`register_task`.
- :class:`CarRacing` -- ``vsg/CarRacing-v3``, Gymnasium's game with a fast drawing of the state.
- :class:`FrameEnv`, :class:`FrameVectorEnv` -- a task's game as decisions and frames.
- :class:`LatentEnv`, :class:`LatentVectorEnv` -- the same through a learned eye;
  ``vsg/CarRacingLatent-v0``.
- :class:`DreamEnv`, :class:`DreamVectorEnv` -- the game as its memory makes it up;
  ``vsg/CarRacingDream-v0``.
- :class:`PlanarArmEnv`, :class:`PlanarArmVectorEnv` -- a planar arm, one pose an episode;
  ``vsg/PlanarArm-v0``. :class:`Arm` evaluates batches of poses.
- :class:`PlanarArmLatentEnv`, :class:`PlanarArmLatentVectorEnv` -- the same, posed by a learned
  encoding; ``vsg/PlanarArmLatent-v0``.
- :class:`Eye` -- a vision and a memory, opened and checked against a task.

Everything is imported when it is first asked for, so that importing this package needs neither
torch nor Box2D.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if __name__ != "wmrl.envs":  # pragma: no cover
    raise ImportError("this folder is the package 'wmrl.envs': install wmrl and import that")

if TYPE_CHECKING:
    from wmrl.envs.arm import Arm
    from wmrl.envs.car_racing import CarRacing
    from wmrl.envs.dream import DreamEnv
    from wmrl.envs.dream_vector import DreamVectorEnv
    from wmrl.envs.eye import Eye
    from wmrl.envs.frame_vector import FrameVectorEnv
    from wmrl.envs.frames import FrameEnv
    from wmrl.envs.latent import LatentEnv
    from wmrl.envs.latent_vector import LatentVectorEnv
    from wmrl.envs.planar_arm import PlanarArmEnv
    from wmrl.envs.planar_arm_latent import PlanarArmLatentEnv
    from wmrl.envs.planar_arm_latent_vector import PlanarArmLatentVectorEnv
    from wmrl.envs.planar_arm_vector import PlanarArmVectorEnv
    from wmrl.envs.tasks import CAR_RACING, Task, find_task, register_task

__all__ = [
    "CAR_RACING",
    "Arm",
    "CarRacing",
    "DreamEnv",
    "DreamVectorEnv",
    "Eye",
    "FrameEnv",
    "FrameVectorEnv",
    "LatentEnv",
    "LatentVectorEnv",
    "PlanarArmEnv",
    "PlanarArmLatentEnv",
    "PlanarArmLatentVectorEnv",
    "PlanarArmVectorEnv",
    "Task",
    "find_task",
    "register_task",
]

_MODULES = {
    "Arm": "arm",
    "CAR_RACING": "tasks",
    "CarRacing": "car_racing",
    "DreamEnv": "dream",
    "DreamVectorEnv": "dream_vector",
    "Eye": "eye",
    "FrameEnv": "frames",
    "FrameVectorEnv": "frame_vector",
    "LatentEnv": "latent",
    "LatentVectorEnv": "latent_vector",
    "PlanarArmEnv": "planar_arm",
    "PlanarArmLatentEnv": "planar_arm_latent",
    "PlanarArmLatentVectorEnv": "planar_arm_latent_vector",
    "PlanarArmVectorEnv": "planar_arm_vector",
    "Task": "tasks",
    "find_task": "tasks",
    "register_task": "tasks",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
