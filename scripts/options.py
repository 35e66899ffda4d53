"""Checks of command-line options, and lookup of the task that ``--task`` names.

The name of an option determines the check.
"""

import sys
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from wmrl.core.config import check_fields
from wmrl.core.validation import check_float, check_int, check_seed

if TYPE_CHECKING:
    from wmrl.envs.tasks.task import Task

# Rules for the options of all commands, by name. Other integers are counts of at least 1, and
# other numbers are at least 0.
_SEEDS = ("seed", "seeds", "full_seeds")
_ABOVE_ZERO = (
    *("minutes", "seconds", "fps", "temperature", "temperatures"),
    *("pixel_variance", "reward_scale"),
)
_NOT_COUNTS = ("warmup_steps", "burn_in", "rank", "workers", "videos", "video_agent_steps")
_SIGNED = ("log_std", "log_std_final", "qd_score_offset", "min_return")


def check_options(args: Any) -> None:
    """Checks the types of a command's options, and the ranges of those that are numbers.

    The checks report a wrong option before a model is loaded or a run is begun. Configurations also
    check their numbers, but some configurations are created only later, and some options belong to
    no configuration.

    Args:
        args: options of a command, an instance of its ``Args``.

    Raises:
        ValueError: an option has the wrong type or is out of range.
    """
    check_fields(args)
    for item in fields(args):
        value = getattr(args, item.name)
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, bool) or not isinstance(number, int | float):
                continue
            if item.name in _SEEDS:
                check_seed(item.name, number)  # type: ignore[arg-type]
            elif item.name in _ABOVE_ZERO:
                check_float(item.name, number, above=0)
            elif item.name in _SIGNED:
                continue
            elif isinstance(number, int):
                check_int(item.name, number, at_least=0 if item.name in _NOT_COUNTS else 1)
            else:
                check_float(item.name, number, at_least=0)


def find_task_aloud(text: str) -> "Task":
    """Finds the task that the option ``--task`` names, and shows its notes (:func:`show_notes`).

    Args:
        text: value of the option.

    Raises:
        ValueError: there is no such task, or no task can be derived from the environment.
        ImportError: a module cannot be imported, or a package is not installed.
    """
    from wmrl.envs.tasks.registry import find_task

    task = find_task(text)
    show_notes(task)
    return task


def show_notes(task: "Task") -> None:
    """Prints the notes of a task to the standard error.

    Only a task that is derived from an environment has notes.
    """
    for note in task.notes:
        print(f"{task.name}: {note}", file=sys.stderr)


def task_with_frames(
    text: str,
    *,
    frame_size: tuple[int, ...] | None,
    grayscale: bool,
    frame_stack: int | None,
) -> "Task":
    """Returns a variant, with the given frames, of the task that ``--task`` names.

    The notes of the task are printed, as by :func:`find_task_aloud`. If the given frames do not
    differ from those of the task, the task itself is returned.

    Args:
        text: value of the option ``--task``.
        frame_size: height and width of the frames, or one number for both; the task's if None.
        grayscale: True for gray frames; False for frames as in the task.
        frame_stack: number of frames in a stack, 1 for single frames; the task's if None.

    Raises:
        ValueError: there is no such task, or ``frame_size`` has more than two numbers.
        ImportError: a module cannot be imported, or a package is not installed.
    """
    task = find_task_aloud(text)
    if frame_size is not None and len(frame_size) not in (1, 2):
        raise ValueError(
            f"frame_size: expected a height and a width, or one number for both, got {frame_size}"
        )
    size = None if frame_size is None else (frame_size[0], frame_size[-1])
    return task.with_frames(
        frame_size=size, grayscale=True if grayscale else None, frame_stack=frame_stack
    )


def task_option(text: str, task: "Task") -> str:
    """Returns the option ``--task`` to append to a suggested command that opens an agent.

    An agent stores the name of its task. If a task is registered under this name, the command finds
    the task without the option, and the result is empty. Otherwise, the result begins with a space,
    as in ``" --task module:ATTRIBUTE"``.

    Args:
        text: value of the option ``--task`` with which the agent was trained.
        task: task that the agent was trained on: the task that ``text`` names, or a variant of it
            with other frames.
    """
    from wmrl.envs.tasks.registry import is_registered
    from wmrl.envs.tasks.task import split_variant

    if is_registered(task):
        return ""
    return f" --task {split_variant(text)[0]}{split_variant(task.name)[1]}"
