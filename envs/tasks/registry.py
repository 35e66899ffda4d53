"""Registry of tasks by name."""

import difflib
import re
from dataclasses import replace
from importlib import import_module
from types import ModuleType
from typing import Any

import gymnasium as gym

from wmrl.envs.tasks.car_racing import CAR_RACING
from wmrl.envs.tasks.packages import import_package_of
from wmrl.envs.tasks.take_cover import TAKE_COVER
from wmrl.envs.tasks.task import Task, split_variant, variant_of

_TASKS = {task.name: task for task in (CAR_RACING, TAKE_COVER)}


def register_task(task: Task) -> None:
    """Registers a task under its name, and two environments for the world models of the task.

    Saved agents and frame stores refer to their task by name. Register the task before you open
    these agents or stores. Registering an equal task again has no effect.

    The environments have the ids ``vsg/…Latent-v0`` and ``vsg/…Dream-v0``, where the dots stand for
    the name of the task in camel case. For example, the id is ``vsg/MountainCarLatent-v0`` for the
    task ``"mountain-car"``. Both environments need the argument ``vision``. They also need the
    argument ``memory``, unless a memory for the vision model comes with this library.

    Raises:
        ValueError: a different task is registered under the same name, or one of the two ids
            belongs to another environment.

    Example:
        >>> from dataclasses import replace
        >>> from wmrl.envs import CAR_RACING, find_task, register_task
        >>> register_task(replace(CAR_RACING, name="car-racing-every-frame", frame_skip=1))
        >>> find_task("car-racing-every-frame").frame_skip
        1
        >>> import gymnasium as gym
        >>> gym.spec("vsg/CarRacingEveryFrameDream-v0").max_episode_steps
        1000
    """
    if _TASKS.get(task.name) == task:
        return
    if task.name in _TASKS:
        raise ValueError(
            f"task: expected a name that is not taken, got {task.name!r}; choose another name"
        )
    for kind in ("Latent", "Dream"):
        taken = gym.registry.get(_env_id(task, kind))
        if taken is not None and taken.kwargs.get("task") != task.name:
            raise ValueError(
                f"task: expected a name that gives new environment ids, got {task.name!r}, which "
                f"gives the id {taken.id!r} of an existing environment; choose another name"
            )
    _TASKS[task.name] = task
    _register_environment(task, "Latent", reward_threshold=task.solved_at)
    steps = -(-task.max_frames // task.frame_skip)
    _register_environment(task, "Dream", max_episode_steps=steps)


def _register_environment(task: Task, kind: str, **limits: Any) -> None:
    """Registers ``vsg/…Latent-v0`` or ``vsg/…Dream-v0`` for a task.

    The environment is registered like ``vsg/Latent-v0`` or ``vsg/Dream-v0``, but with the task as
    an argument.

    Args:
        task: the task.
        kind: ``"Latent"`` or ``"Dream"``.
        limits: further arguments of ``gymnasium.register``.
    """
    spec = gym.spec(f"vsg/{kind}-v0")
    env_id = _env_id(task, kind)
    gym.registry.pop(env_id, None)  # Gymnasium would warn
    gym.register(
        env_id,
        entry_point=spec.entry_point,
        vector_entry_point=spec.vector_entry_point,
        kwargs={**spec.kwargs, "task": task.name},
        **limits,
    )


def _env_id(task: Task, kind: str) -> str:
    """Returns the id of an environment of a task.

    The id contains the name of the task in camel case, without symbols. For example, the id is
    ``vsg/MountainCarDream-v0`` for the task ``"mountain-car"`` and the kind ``"Dream"``.

    Args:
        task: the task.
        kind: ``"Latent"`` or ``"Dream"``.
    """
    parts = re.findall(r"[^\W_]+", task.name)
    name = "".join(part[0].upper() + part[1:] for part in parts)
    return f"vsg/{name or 'Unnamed'}{kind}-v0"


def is_registered(task: Task) -> bool:
    """Returns True if an equal task is registered under the task's name.

    Variants of registered tasks count as registered.
    """
    return _registered(task.name) == task


def registered_task(name: str) -> Task:
    """Returns the task that is registered under a name.

    Unlike :func:`find_task`, this function never imports a module or creates an environment. It is
    therefore safe for names that were read from files.

    Args:
        name: name of a registered task, or of a variant of a registered task (see
            :meth:`~wmrl.envs.tasks.task.Task.with_frames`).

    Raises:
        ValueError: no task is registered under that name.
    """
    task = _registered(name)
    if task is None:
        own = "pass --task module:ATTRIBUTE"
        if re.fullmatch(r"[\w./@-]+", name):  # what else a file holds is not to be pasted
            own += f", or --task {name} if it is the id of an environment"
        raise ValueError(
            f"task: expected one of {sorted(_TASKS)}, got {name!r}; to use a task of your own, "
            f"call wmrl.envs.register_task first or {own}"
        )
    return task


def _registered(name: str) -> Task | None:
    """Returns the task with a given name; None if there is no such task.

    The task is either registered itself or a variant of a registered task.
    """
    if name in _TASKS:
        return _TASKS[name]
    base, suffix = split_variant(name)
    if not suffix or base not in _TASKS:
        return None
    return variant_of(_TASKS[base], suffix)


def find_task(task: Task | str) -> Task:
    """Finds a task by its name or location, or derives it from an environment.

    Args:
        task: one of

            - a task, which is returned unchanged;
            - the name of a registered task;
            - the location of a task, ``"module:ATTRIBUTE"``;
            - the id of an environment, such as ``"ALE/Boxing-v5"``, from which the task is derived
              (see :meth:`~wmrl.envs.tasks.task.Task.from_env`); or ``"module:id"``, where
              importing the module registers the environment.

            If a module is given, it is imported. A name, location or id may end in the shape of the
            frames, such as ``"car-racing@84x84x1"``, for a variant of the task (see
            :meth:`~wmrl.envs.tasks.task.Task.with_frames`). A fourth number, as in
            ``"car-racing@84x84x1x4"``, is the number of frames in a stack; without it, frames are
            not stacked.

    Raises:
        ValueError: there is no such task, the object at the location is not a task, or no task can
            be derived from the environment.
        ImportError: the module does not exist or cannot be imported, or the environment needs a
            package that is not installed.

    Example:
        >>> from wmrl.envs import find_task
        >>> find_task("car-racing").action_names
        ('steer', 'pedal')
        >>> find_task("wmrl.envs.tasks:CAR_RACING") is find_task("car-racing")
        True
        >>> find_task("Acrobot-v1").action_space
        Discrete(3)
    """
    if isinstance(task, Task):
        return task
    if not isinstance(task, str):
        raise ValueError(
            "task: expected a Task, the name of a task, 'module:ATTRIBUTE' or the id of an "
            f"environment, got {task!r:.100}"
        )
    if (registered := _registered(task)) is not None:
        return registered
    base, suffix = split_variant(task)
    if suffix:
        return variant_of(find_task(base), suffix)
    module, colon, name = task.partition(":")
    if colon and module and name:
        return _task_in(module, name, task)
    import_package_of(task)
    if task not in gym.registry:
        close = difflib.get_close_matches(task, [*_TASKS, *gym.registry], n=1)
        raise ValueError(
            f"task: expected one of {sorted(_TASKS)}, the location of a Task as "
            f"'module:ATTRIBUTE', or the id of an environment ('module:id' if a module registers "
            f"it), got {task!r}{f'; did you mean {close[0]!r}?' if close else ''}"
        )
    return _derived(task)


def _task_in(module: str, name: str, location: str) -> Task:
    """Imports a module, and returns a task that the module provides.

    Args:
        module: name of the module.
        name: name of a task, which is an attribute of the module; or id of an environment that the
            module registers. In the second case, a task is derived from the environment.
        location: ``"module:name"``, for error messages.

    Raises:
        ImportError: the module does not exist or cannot be imported.
        ValueError: the module has neither a task nor an environment of that name.
    """
    found = _import(module, location)
    value = getattr(found, name, None)
    if isinstance(value, Task):
        return value
    if name in gym.registry:
        return _derived(location)
    if not hasattr(found, name):
        raise ValueError(
            f"task: expected an attribute {name!r} of module {module!r} ({_origin(found)}), got "
            f"none; {_tasks_of(found)}; the module registers no environment of that id either"
        )
    raise ValueError(
        f"task: expected {location!r} to be a Task, got an object of type {type(value).__name__}; "
        f"{_tasks_of(found)}"
    )


def _derived(env_id: str) -> Task:
    """Derives a task from an environment.

    If other tasks with the same environment are registered, a note of the derived task names them.
    """
    task = Task.from_env(env_id)
    others = [repr(other.name) for other in _TASKS.values() if other.env_id == task.env_id]
    if not others:
        return task
    note = f"This game also has the registered task {' and '.join(others)}."
    return replace(task, notes=(*task.notes, note))


def _import(module: str, location: str) -> ModuleType:
    """Imports the module in which a task is located.

    Args:
        module: name of the module.
        location: location of the task, ``"module:ATTRIBUTE"``, for error messages.

    Raises:
        ImportError: the module does not exist, or an error occurred while it was imported.
    """
    if "/" in module or module.endswith(".py"):
        stem = module.removesuffix(".py").strip("./").replace("/", ".")
        raise ImportError(
            f"task: expected the name of a module before the colon, got the path {module!r}; write "
            f"'{stem}:{location.partition(':')[2]}', and run the command in the folder in "
            "which the path starts"
        )
    if not all(map(str.isidentifier, module.split("."))):
        raise ImportError(
            f"task: expected the name of a module before the colon, such as 'games.maze', got "
            f"{module!r}"
        )
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        # The missing module may also be one that the task's module imports.
        missing = error.name is not None and f"{module}.".startswith(f"{error.name}.")
        if not missing:
            raise _import_error(module, error) from error
        raise ImportError(
            f"task: expected an existing module in {location!r}, but there is no module "
            f"{error.name!r}; run the command in the folder of the module, or add that folder to "
            "PYTHONPATH"
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
    """Lists the tasks that are attributes of a module, as a clause of an error message."""
    names = [name for name, value in vars(module).items() if isinstance(value, Task)]
    return f"the module's tasks are: {', '.join(names)}" if names else "the module has no tasks"
