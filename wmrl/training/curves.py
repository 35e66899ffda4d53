"""Mean curves of training runs, and the runs that belong together."""

import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from wmrl.storage.options_file import OPTIONS
from wmrl.storage.reading import SMALL_LIMIT, StoredFileError, read_file

# Options that tell the runs of a group apart, and those that change no result.
_SEED, _WITHOUT_EFFECT = "seed", ("out", "device", "workers")


@dataclass(frozen=True)
class RunGroup:
    """Runs that are drawn as one curve.

    Attributes:
        label: label of the curve.
        runs: folders of the runs, each with a ``metrics.csv``.
    """

    label: str
    runs: tuple[Path, ...]


class MeanCurve(NamedTuple):
    """Mean of the curves of several runs.

    Attributes:
        steps: ``(T,) float64``, training steps.
        mean: ``(T,) float64``, mean of the runs at each step.
        error: ``(T,) float64``, standard error of the mean at each step.
    """

    steps: np.ndarray
    mean: np.ndarray
    error: np.ndarray


def mean_curve(curves: Sequence[tuple[np.ndarray, np.ndarray]]) -> MeanCurve | None:
    """Averages the curves of several runs.

    A run logs at steps of its own, so that values between two logged steps are interpolated
    linearly. The mean covers only the steps that all runs have reached: otherwise, it would jump
    where a run ends.

    Args:
        curves: at least two pairs of steps ``(K,)``, ascending, and finite values ``(K,)``.

    Returns:
        The mean at each step that a run has logged, with the standard error s / √n of the mean,
        where s is the standard deviation of the n values with Bessel's correction. None if the runs
        have no steps in common.

    Example:
        >>> import numpy as np
        >>> from wmrl.training import mean_curve
        >>> steps = np.array([0.0, 2.0])
        >>> curve = mean_curve([(steps, np.array([1.0, 5.0])), (steps, np.array([3.0, 7.0]))])
        >>> curve.mean, curve.error
        (array([2., 6.]), array([1., 1.]))
    """
    first = max(steps[0] for steps, _ in curves)
    last = min(steps[-1] for steps, _ in curves)
    every = np.unique(np.concatenate([steps for steps, _ in curves]).astype(np.float64))
    common = every[(every >= first) & (every <= last)]
    if not len(common):
        return None
    values = np.stack([np.interp(common, steps, values) for steps, values in curves])
    error = values.std(0, ddof=1) / np.sqrt(len(values))
    return MeanCurve(common, values.mean(0), error)


def group_by_seed(runs: Iterable[Path]) -> list[RunGroup]:
    """Groups runs of the same command whose options differ only by the seed.

    The options are those in ``run.toml``. The folder, the device and the number of worker processes
    may differ, too. Commands may write several runs into their folder: only runs at the same place
    in their folders are grouped.

    Args:
        runs: folders of runs.

    Returns:
        Groups, in the order of their first runs. A run without a ``run.toml``, or without an equal,
        is a group of its own.
    """
    found: dict[object, dict[Path, object]] = {}
    for run in runs:
        key, seed = _identity(run)
        found.setdefault(key, {})[run] = seed
    groups = []
    for seeds in found.values():
        if len(seeds) > 1 and len(set(map(repr, seeds.values()))) == len(seeds):
            label = f"{next(iter(seeds))}, seeds {', '.join(map(str, seeds.values()))}"
            groups.append(RunGroup(label, tuple(seeds)))
        else:
            groups += [RunGroup(str(run), (run,)) for run in seeds]
    return groups


def group_by_folder(runs: Iterable[Path]) -> list[RunGroup]:
    """Groups runs whose folders are in the same folder.

    Args:
        runs: folders of runs.
    """
    found: dict[Path, list[Path]] = {}
    for run in runs:
        found.setdefault(run.parent, []).append(run)
    return [
        RunGroup(f"{folder}, {len(each)} runs" if len(each) > 1 else str(each[0]), tuple(each))
        for folder, each in found.items()
    ]


def _identity(run: Path) -> tuple[object, object]:
    """Returns a key that runs share if they differ only by the seed, and the seed.

    The key of a run without options is its path.
    """
    for folder in (run, *run.parents):
        try:
            text = read_file(folder / OPTIONS, limit=SMALL_LIMIT).decode()
            options = tomllib.loads(text)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (StoredFileError, ValueError, RecursionError):  # a damaged file
            break
        seed = options.pop(_SEED, None)
        for name in _WITHOUT_EFFECT:
            options.pop(name, None)
        command = text.partition("\n")[0]  # in the comment at the top
        return (command, repr(sorted(options.items())), run.relative_to(folder)), seed
    return run, None
