"""Environment specs whose JSON form refers to models and tasks by name."""

import copy
import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import fields, replace
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from gymnasium.envs.registration import EnvSpec, WrapperSpec

from wmrl.envs.tasks.registry import find_task, is_registered
from wmrl.envs.tasks.task import Task, split_variant


class NamingSpec(EnvSpec):
    """Environment spec whose JSON form refers to models and tasks by name.

    The spec's ``kwargs`` hold the models and tasks themselves, which ``gymnasium.make(spec)`` uses.
    In the JSON form, a model is replaced by the name or path of its artifact. A task is replaced by
    its registered name, by its location ``"module:ATTRIBUTE"``, or by the id of the environment
    from which the task was derived.

    ``gymnasium.make(EnvSpec.from_json(text))`` loads the models and tasks to which the JSON text
    refers.
    """

    @classmethod
    def of(cls, spec: EnvSpec) -> "NamingSpec":
        """Creates a ``NamingSpec`` with the content of another spec."""
        named = cls(**{item.name: getattr(spec, item.name) for item in fields(spec) if item.init})
        named.additional_wrappers = spec.additional_wrappers
        return named

    def __deepcopy__(self, memo: dict[int, Any]) -> "NamingSpec":
        """Copies the spec, but shares its arguments with the copy, because models may be large.

        Gymnasium copies the spec for each wrapper.
        """
        copied = copy.copy(self)
        copied.kwargs = dict(self.kwargs)
        return copied

    def to_json(self) -> str:
        """Returns the spec as JSON.

        Raises:
            ValueError: a model was never saved; or the artifact of a model has changed; or a task
                is neither registered, nor an attribute of a module, nor derived from an
                environment; or an argument has a value that JSON can't hold.
        """
        plain = copy.copy(self)
        plain.kwargs = {name: _plain(name, value) for name, value in self.kwargs.items()}
        plain.additional_wrappers = tuple(_plain_wrapper(each) for each in self.additional_wrappers)
        return super(NamingSpec, plain).to_json()


class SpecNamesModels:
    """Mixin that gives environments and vector environments a :class:`NamingSpec`."""

    _spec: EnvSpec | None = None

    @property
    def spec(self) -> EnvSpec | None:
        """Spec that ``gymnasium.make`` used; None if the environment was created in another way."""
        return self._spec

    @spec.setter
    def spec(self, spec: EnvSpec | None) -> None:
        self._spec = None if spec is None else NamingSpec.of(spec)


def _plain_wrapper(wrapper: WrapperSpec) -> WrapperSpec:
    if wrapper.kwargs is None:
        return wrapper
    return replace(
        wrapper, kwargs={name: _plain(name, value) for name, value in wrapper.kwargs.items()}
    )


def _plain(name: str, value: Any) -> Any:
    """Returns an argument of an environment or a wrapper in a form that JSON can hold.

    Args:
        name: name of the argument, for error messages.
        value: value of the argument.

    Raises:
        ValueError: JSON cannot hold the argument.
    """
    if isinstance(value, Task):
        return _task_name(name, value)
    if hasattr(value, "saved_at") and hasattr(value, "digest"):
        return _artifact_name(name, value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Path) or type(value).__module__ == "torch":  # a device or a dtype
        return str(value)
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Mapping):
        if all(isinstance(key, str) for key in value):
            return {key: _plain(f"{name}[{key!r}]", item) for key, item in value.items()}
        return [[_plain(name, key), _plain(name, item)] for key, item in value.items()]
    if isinstance(value, list | tuple):
        return [_plain(name, item) for item in value]
    try:
        json.dumps(value)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"spec: {name}: expected a task, a saved model or a value that JSON can hold, got "
            f"{value!r:.100}"
        ) from error
    return value


def _artifact_name(name: str, model: Any) -> str:
    """Returns the name or path of a model's artifact.

    Args:
        name: name of the argument that holds the model, for error messages.
        model: the model.

    Raises:
        ValueError: the model was never saved, or the artifact now contains another model.
    """
    if model.saved_at is None:
        raise ValueError(
            f"spec: {name}: expected a saved model, got an unsaved {type(model).__name__}; save it "
            "with its method save(path), because JSON refers to models by name or path"
        )
    from wmrl.storage.artifact import find_artifact  # loads torch

    weights = find_artifact(model.saved_at) / "model.safetensors"
    if hashlib.sha256(weights.read_bytes()).hexdigest() != model.digest:
        raise ValueError(
            f"spec: {name}: expected the artifact {model.saved_at} to contain the environment's "
            "model, got an artifact that now contains another model; save the environment's model "
            "to another path"
        )
    return str(model.saved_at)


def _task_name(name: str, task: Task) -> str:
    """Returns a string for which :func:`~wmrl.envs.tasks.registry.find_task` finds a task.

    The string is the task's registered name; or the id of the environment from which the task was
    derived; or the task's location ``"module:ATTRIBUTE"``.

    Args:
        name: name of the argument that holds the task, for error messages.
        task: the task.

    Raises:
        ValueError: ``find_task`` finds the task for none of these strings.
    """
    if is_registered(task):
        return task.name
    derived = task.env_id + split_variant(task.name)[1]
    if task.notes and find_task(derived) == task:
        return derived
    places = [
        (module, attribute)
        for module, content in list(sys.modules.items())
        if module != "__main__" and isinstance(content, ModuleType)
        for attribute, value in list(vars(content).items())
        # Unlike isinstance, this calls nothing of values that are no tasks.
        if issubclass(type(value), Task) and value == task
    ]
    if places:
        own = getattr(task.to_env_action, "__module__", None)
        # Modules that import the task from elsewhere were entered before the module that has it.
        module, attribute = next((place for place in places if place[0] == own), places[-1])
        return f"{module}:{attribute}"
    raise ValueError(
        f"spec: {name}: expected a registered task or a task that is an attribute of a module, got "
        f"task {task.name!r}, which is neither; register it with wmrl.envs.register_task"
    )
