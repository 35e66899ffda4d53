"""Registry of tasks by name."""

from importlib import import_module

from wmrl.envs.tasks.car_racing import CAR_RACING
from wmrl.envs.tasks.task import Task

_TASKS = {CAR_RACING.name: CAR_RACING}


def register_task(task: Task) -> None:
    """Registers a task under its name.

    Saved agents and frame stores refer to their task by name. Register the task before you open
    them. Registering an equal task again has no effect.

    Raises:
        ValueError: a different task is registered under the same name.

    Example:
        >>> from dataclasses import replace
        >>> from wmrl.envs import CAR_RACING, find_task, register_task
        >>> register_task(replace(CAR_RACING, name="car-racing-every-frame", frame_skip=1))
        >>> find_task("car-racing-every-frame").frame_skip
        1
    """
    if _TASKS.setdefault(task.name, task) != task:
        raise ValueError(
            f"task: expected a name that is not taken, got {task.name!r}; choose another name"
        )


def registered_task(name: str) -> Task:
    """Returns the task that is registered under a name.

    Unlike :func:`find_task`, it never imports a module, so it is safe for names from files.

    Raises:
        ValueError: no task is registered under that name.
    """
    if name not in _TASKS:
        raise ValueError(
            f"task: expected one of {sorted(_TASKS)}, got {name!r}; to use a task of your own, "
            "call wmrl.envs.register_task first or pass --task module:ATTRIBUTE"
        )
    return _TASKS[name]


def find_task(task: Task | str) -> Task:
    """Finds a task by its name or location.

    Args:
        task: the name of a registered task; or the location ``"module:ATTRIBUTE"`` of a task, which
            imports the module; or a task, which is returned unchanged.

    Raises:
        ValueError: there is no such task.
        ImportError: the module cannot be imported.

    Example:
        >>> from wmrl.envs import find_task
        >>> find_task("car-racing").action_names
        ('steer', 'pedal')
        >>> find_task("wmrl.envs.tasks:CAR_RACING") is find_task("car-racing")
        True
    """
    if isinstance(task, Task):
        return task
    if task in _TASKS:
        return _TASKS[task]
    module, _, attribute = task.partition(":")
    if attribute:
        found = getattr(import_module(module), attribute, None)
        if isinstance(found, Task):
            return found
    raise ValueError(
        f"task: expected one of {sorted(_TASKS)} or the location of a Task as 'module:ATTRIBUTE', "
        f"got {task!r}"
    )
