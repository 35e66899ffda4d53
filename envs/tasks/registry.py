"""Tasks by name."""

from importlib import import_module

from wmrl.envs.tasks.car_racing import CAR_RACING
from wmrl.envs.tasks.task import Task

_TASKS = {CAR_RACING.name: CAR_RACING}


def register_task(task: Task) -> None:
    """Makes a task known by its name, so that agents and stores that name it can be opened.

    Raises:
        ValueError: another task has that name.
    """
    if _TASKS.setdefault(task.name, task) != task:
        raise ValueError(f"task: another one is called {task.name!r}; choose another name")


def registered_task(name: str) -> Task:
    """A registered task. Names that come from files are looked up here: nothing is imported.

    Raises:
        ValueError: there is no such task.
    """
    if name not in _TASKS:
        raise ValueError(
            f"task: expected one of {sorted(_TASKS)}, got {name!r}; if it is yours, call "
            "wmrl.envs.register_task first, or give the command its --task module:ATTRIBUTE"
        )
    return _TASKS[name]


def find_task(task: Task | str) -> Task:
    """A task by itself, by name, or by ``"module:ATTRIBUTE"``, which imports that module.

    Raises:
        ValueError: there is no such task.
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
        f"task: expected one of {sorted(_TASKS)}, or 'module:ATTRIBUTE' of a Task, got {task!r}"
    )
