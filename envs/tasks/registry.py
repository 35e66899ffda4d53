"""Registry of tasks by name."""

from importlib import import_module
from types import ModuleType

from wmrl.envs.tasks.car_racing import CAR_RACING
from wmrl.envs.tasks.take_cover import TAKE_COVER
from wmrl.envs.tasks.task import Task, split_variant

_TASKS = {task.name: task for task in (CAR_RACING, TAKE_COVER)}


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


def is_registered(task: Task) -> bool:
    """Returns True if an equal task is registered under the task's name."""
    return _registered(task.name) == task


def registered_task(name: str) -> Task:
    """Returns the task that is registered under a name.

    Unlike :func:`find_task`, this function never imports a module. It is therefore safe for names
    that were read from files.

    Args:
        name: name of a registered task, or of a variant of one
            (:meth:`~wmrl.envs.tasks.task.Task.with_frames`).

    Raises:
        ValueError: no task is registered under that name.
    """
    task = _registered(name)
    if task is None:
        raise ValueError(
            f"task: expected one of {sorted(_TASKS)}, got {name!r}; to use a task of your own, "
            "call wmrl.envs.register_task first or pass --task module:ATTRIBUTE"
        )
    return task


def _registered(name: str) -> Task | None:
    """Returns the task with a given name; None if there is no such task.

    The task is either registered itself or a variant of a registered task.
    """
    if name in _TASKS:
        return _TASKS[name]
    base, shape = split_variant(name)
    if shape is None or base not in _TASKS:
        return None
    return _variant(_TASKS[base], shape)


def _variant(task: Task, shape: tuple[int, int, int]) -> Task:
    return task.with_frames(frame_size=shape[:2], grayscale=shape[2] == 1)


def find_task(task: Task | str) -> Task:
    """Finds a task by its name or location.

    Args:
        task: the name of a registered task; or the location of a task, ``"module:ATTRIBUTE"``; or a
            task, which is returned unchanged. For a location, the module is imported. A name or
            location may end in a shape of frames, such as ``"car-racing@84x84x1"``, for a variant
            of the task (:meth:`~wmrl.envs.tasks.task.Task.with_frames`).

    Raises:
        ValueError: there is no such task, or the object at the location is not a task.
        ImportError: the module does not exist or cannot be imported.

    Example:
        >>> from wmrl.envs import find_task
        >>> find_task("car-racing").action_names
        ('steer', 'pedal')
        >>> find_task("wmrl.envs.tasks:CAR_RACING") is find_task("car-racing")
        True
    """
    if isinstance(task, Task):
        return task
    if (registered := _registered(task)) is not None:
        return registered
    base, shape = split_variant(task)
    if shape is not None:
        return _variant(find_task(base), shape)
    module, _, attribute = task.partition(":")
    if not module or not attribute:
        raise ValueError(
            f"task: expected one of {sorted(_TASKS)} or the location of a Task as "
            f"'module:ATTRIBUTE', got {task!r}"
        )
    found = _import(module, task)
    if not hasattr(found, attribute):
        raise ValueError(
            f"task: expected an attribute {attribute!r} of module {module!r} "
            f"({_origin(found)}), got none; {_tasks_of(found)}"
        )
    value = getattr(found, attribute)
    if not isinstance(value, Task):
        raise ValueError(
            f"task: expected {task!r} to be a Task, got an object of type {type(value).__name__}; "
            f"{_tasks_of(found)}"
        )
    return value


def _import(module: str, location: str) -> ModuleType:
    """Imports the module of a task's location.

    Raises:
        ImportError: the module does not exist, or an error occurred while it was imported.
    """
    if "/" in module or module.endswith(".py"):
        stem = module.removesuffix(".py").strip("./").replace("/", ".")
        raise ImportError(
            f"task: expected the name of a module before the colon, got the path {module!r}; write "
            f"'{stem}:{location.partition(':')[2]}' and run in the folder that contains the module"
        )
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        # The missing module may also be one that the task's module imports.
        missing = error.name is not None and f"{module}.".startswith(f"{error.name}.")
        if not missing:
            raise _import_error(module, error) from error
        raise ImportError(
            f"task: there is no module {error.name!r}, which the location {location!r} needs; run "
            "the command in the folder of the module, or add that folder to PYTHONPATH"
        ) from error
    except (Exception, SystemExit) as error:
        raise _import_error(module, error) from error


def _import_error(module: str, error: BaseException) -> ImportError:
    return ImportError(
        f"task: module {module!r} exists but its import failed ({type(error).__name__}: {error}); "
        f"python -c 'import {module}' shows the traceback"
    )


def _origin(module: ModuleType) -> str:
    return getattr(module, "__file__", None) or "built-in or a folder without __init__.py"


def _tasks_of(module: ModuleType) -> str:
    """Returns a sentence that names the tasks that a module defines."""
    names = [name for name, value in vars(module).items() if isinstance(value, Task)]
    return f"its tasks are: {', '.join(names)}" if names else "the module has no tasks"
