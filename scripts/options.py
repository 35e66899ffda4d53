"""Checks of command-line options; the name of an option determines its valid range."""

from dataclasses import fields
from typing import Any

from wmrl.core.config import check_fields
from wmrl.core.validation import check_float, check_int, check_seed

# Rules for the options of all commands, by name. Other integers are counts of at least 1, and
# other numbers are at least 0.
_SEEDS = ("seed", "seeds", "full_seeds")
_ABOVE_ZERO = ("minutes", "hours", "seconds", "fps", "temperature")
_NOT_COUNTS = ("warmup_steps", "burn_in", "rank", "workers", "videos", "video_agent_steps")
_SIGNED = ("log_std", "log_std_final", "qd_score_offset", "min_return")


def check_options(args: Any) -> None:
    """Checks the types of a command's options, and the ranges of the numbers.

    A wrong option is thus reported before a model is loaded or a run is begun. Configurations also
    check their numbers, but some of them are created only later, and some options belong to no
    configuration.

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
            elif isinstance(number, int) and item.name not in _NOT_COUNTS:
                check_int(item.name, number, at_least=1)
            elif item.name not in _SIGNED:
                check_float(item.name, number, at_least=0)
