"""Tasks: descriptions of games, with all settings that differ from game to game.

- :mod:`~wmrl.envs.tasks.task`: the description of a game, and functions that return its frames
  (``ObservationKey``, ``Task``, ``observation_frame``, ``rendered_frame``).
- :mod:`~wmrl.envs.tasks.derived`: tasks that are derived from environments
  (:meth:`Task.from_env <wmrl.envs.tasks.task.Task.from_env>`).
- :mod:`~wmrl.envs.tasks.packages`: packages that register well-known environments.
- :mod:`~wmrl.envs.tasks.registry`: registration and lookup of tasks (``find_task``,
  ``register_task``, ``registered_task``).
- :mod:`~wmrl.envs.tasks.car_racing`: the task CarRacing, as in World Models (``CAR_RACING``).
- :mod:`~wmrl.envs.tasks.take_cover`: the task Take Cover, with frames of the band in which
  fireballs fly (``TAKE_COVER``), and with the frames of World Models (``TAKE_COVER_PAPER``).
"""

from typing import TYPE_CHECKING

from wmrl.core.lazy import lazy_exports

if TYPE_CHECKING:
    from wmrl.envs.tasks.car_racing import CAR_RACING
    from wmrl.envs.tasks.registry import find_task, register_task, registered_task
    from wmrl.envs.tasks.take_cover import TAKE_COVER, TAKE_COVER_PAPER
    from wmrl.envs.tasks.task import ObservationKey, Task, observation_frame, rendered_frame
else:
    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "CAR_RACING",
    "TAKE_COVER",
    "TAKE_COVER_PAPER",
    "ObservationKey",
    "Task",
    "find_task",
    "observation_frame",
    "register_task",
    "registered_task",
    "rendered_frame",
]
