"""UCB bandit with a sliding window, and a scheduler that uses it to select emitters."""

import math
import warnings
from collections import deque
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from ribs.archives import ArchiveBase
from ribs.emitters import EmitterBase

from wmrl.agents.quality_diversity.initialization import checked_evaluations
from wmrl.core.validation import check_choice, check_float, check_int
from wmrl.core.warning import WMRLWarning


class SlidingWindowUCB:
    """UCB1 bandit (Auer et al. 2002) with a sliding window of the last W pulls.

    A pull is one or more trials of the same choice, with their total reward. The bandit selects the
    choice with the highest r / n + c √(ln N / n). Within the window, r is the total reward of the
    choice, n is its number of trials, and N is the number of trials of all choices. Choices without
    trials in the window are selected first. The window lets the bandit adapt when the best choice
    changes during a search.

    Args:
        num_choices: number of choices (arms of the bandit).
        window: W, maximum number of pulls in the window, at least ``num_choices``.
        exploration: c, weight of the exploration bonus; √2 in UCB1.
        relative: True to divide all mean rewards r / n by the highest of them. This is for rewards
            that are not within [0, 1].

    Example:
        >>> from wmrl.agents.quality_diversity import SlidingWindowUCB
        >>> bandit = SlidingWindowUCB(2, window=20, exploration=0.3)
        >>> choices = []
        >>> for _ in range(10):
        ...     choices.append(bandit.choose())
        ...     bandit.update(choices[-1], reward=float(choices[-1] == 1))
        >>> choices
        [0, 1, 1, 1, 1, 1, 1, 1, 1, 1]
    """

    def __init__(
        self,
        num_choices: int,
        *,
        window: int = 1000,
        exploration: float = math.sqrt(2),
        relative: bool = False,
    ) -> None:
        check_int("num_choices", num_choices, at_least=1)
        check_int("window", window, at_least=num_choices)
        check_float("exploration", exploration, at_least=0)
        self.num_choices, self.window, self.exploration = num_choices, window, exploration
        self.relative = relative
        self._pulls: deque[tuple[int, float, int]] = deque(maxlen=window)

    def choose(self) -> int:
        """Returns the index of the choice to try next; in a tie, the lowest index."""
        rewards, trials = np.zeros(self.num_choices), np.zeros(self.num_choices)
        # Rounding errors of running sums would depend on pulls that have left the window.
        if self._pulls:
            choices, earned, tried = zip(*self._pulls, strict=True)
            np.add.at(rewards, list(choices), earned)
            np.add.at(trials, list(choices), tried)
        if not trials.all():
            return int(np.argmin(trials))
        rate = rewards / trials
        if self.relative and rate.max() > 0:
            rate /= rate.max()
        bonus = np.sqrt(math.log(trials.sum()) / trials)
        return int(np.argmax(rate + self.exploration * bonus))

    def update(self, choice: int, reward: float, *, trials: int = 1) -> None:
        """Adds a pull to the window.

        Args:
            choice: index of the choice, as returned by :meth:`choose`.
            reward: total reward of the trials, finite and at least 0.
            trials: number of trials.

        Raises:
            ValueError: an argument is out of range.
        """
        check_int("choice", choice, at_least=0, at_most=self.num_choices - 1)
        check_float("reward", reward, at_least=0)
        check_int("trials", trials, at_least=1)
        self._pulls.append((choice, float(reward), trials))

    def state(self) -> list[tuple[int, float, int]]:
        """Returns the pulls in the window as a list of tuples ``(choice, reward, trials)``.

        The list can be written as JSON.
        """
        return list(self._pulls)

    def restore(self, state: Sequence[Sequence[Any]]) -> None:
        """Restores the window from a result of :meth:`state`."""
        self._pulls.clear()
        for choice, reward, trials in state:
            self.update(choice, reward, trials=trials)


class BanditScheduler:
    """Scheduler that uses a bandit to select one emitter for each batch.

    The interface is that of the schedulers of ``ribs``, except that ``bandit`` is the third
    argument, and that :meth:`tell` returns the result of ``archive.add``. The ``BanditScheduler``
    of ``ribs`` counts rewards over the whole search. With the default bandit, this class counts
    rewards over a sliding window.

    Args:
        archive: archive to which solutions are added.
        emitters: emitters, one for each choice of the bandit.
        bandit: bandit that selects the emitter; if None, a :class:`SlidingWindowUCB` with a window
            of 1000 batches.
        reward: reward of the bandit for a batch. ``"entered"`` is the number of solutions that
            entered the archive, as in Data-Driven Encodings. ``"qd_score"`` is the increase of the
            archive's QD score, which is larger for a new cell than for a slightly better elite.
            This increase has no fixed scale, so the bandit for ``"qd_score"`` should have
            ``relative=True``, as the default bandit has. The archive's ``qd_score_offset`` should
            be a lower bound of the objective; with a higher offset, new cells may decrease the QD
            score.
        result_archive: second archive to which all solutions are added; None for no second archive.
        add_mode: ``"batch"`` to add all solutions of a batch in one call, or ``"single"`` to add
            them one by one, for archives that can only add single solutions.

    Attributes:
        archive: archive to which solutions are added.
        emitters: emitters, one for each choice of the bandit.
        emitter_index: index of the emitter that was asked last.

    Raises:
        ValueError: the reward or ``add_mode`` is unknown; or the numbers of emitters and choices
            differ; or an emitter is given twice; or the emitters have different dimensions; or
            ``result_archive`` is the same object as ``archive``.

    Example:
        >>> from ribs.emitters import IsoLineEmitter
        >>> from wmrl.agents.quality_diversity import ArmProblem, BanditScheduler
        >>> from wmrl.envs import Arm
        >>> problem = ArmProblem(arm=Arm(num_joints=4))
        >>> archive = problem.archive.make(4, seed=0)
        >>> emitters = [
        ...     IsoLineEmitter(archive, x0=[0.0] * 4, iso_sigma=sigma, batch_size=20, seed=0)
        ...     for sigma in (0.01, 0.1)
        ... ]
        >>> scheduler = BanditScheduler(archive, emitters, reward="qd_score")
        >>> for _ in range(5):
        ...     solutions = scheduler.ask()
        ...     info = scheduler.tell(*problem.evaluate(solutions.clip(-1, 1)))
        >>> len(archive) > 30
        True
    """

    def __init__(
        self,
        archive: ArchiveBase,
        emitters: Sequence[EmitterBase],
        bandit: SlidingWindowUCB | None = None,
        *,
        reward: Literal["entered", "qd_score"] = "entered",
        result_archive: ArchiveBase | None = None,
        add_mode: Literal["batch", "single"] = "batch",
    ) -> None:
        check_choice("reward", reward, ("entered", "qd_score"))
        check_choice("add_mode", add_mode, ("batch", "single"))
        _check_emitters(emitters)
        if result_archive is archive:
            raise ValueError(
                "result_archive: expected a different archive than 'archive', got the same object; "
                "leave result_archive out, or create a second archive"
            )
        self.archive, self.emitters, self.reward = archive, list(emitters), reward
        relative = reward == "qd_score"
        self.bandit = bandit or SlidingWindowUCB(len(self.emitters), relative=relative)
        if self.bandit.num_choices != len(self.emitters):
            raise ValueError(
                f"emitters: expected {self.bandit.num_choices} (one for each choice of the "
                f"bandit), got {len(self.emitters)}; create the bandit with one choice for each "
                "emitter"
            )
        self.emitter_index = 0
        self._result_archive, self._add_mode = result_archive, add_mode
        self._asked: np.ndarray | None = None

    @property
    def result_archive(self) -> ArchiveBase:
        """Archive that was passed as ``result_archive``; :attr:`archive` if none was passed."""
        return self.archive if self._result_archive is None else self._result_archive

    def ask(self) -> np.ndarray:
        """Selects an emitter and returns new solutions ``(B, X)`` of this emitter to evaluate.

        Raises:
            RuntimeError: :meth:`tell` was not called for the previous solutions.
        """
        if self._asked is not None:
            raise RuntimeError(
                "ask: expected results for the previous solutions, got none; call tell() first"
            )
        self.emitter_index = self.bandit.choose()
        self._asked = self.emitters[self.emitter_index].ask()
        return self._asked

    def tell(
        self, objective: ArrayLike | None, measures: ArrayLike, **fields: ArrayLike | None
    ) -> dict[str, np.ndarray]:
        """Adds the evaluated solutions to the archives and updates the bandit and the emitter.

        If an archive raises an error, :meth:`tell` may be called again for the same solutions.

        Args:
            objective: ``(B,)``, objectives of the solutions from :meth:`ask`. None if the solutions
                have no objectives; only some archives accept None.
            measures: ``(B, M)``, measures of the solutions from :meth:`ask`.
            fields: arrays ``(B, …)`` for the extra fields of the archives; None for a field without
                data.

        Returns:
            Result of ``archive.add``: arrays ``"status"`` and ``"value"`` with one entry per
            solution. The status is 0 (not added), 1 (replaced a worse elite) or 2 (first elite of
            its cell).

        Raises:
            RuntimeError: :meth:`ask` was not called since the last successful call of :meth:`tell`.
            ValueError: a shape is wrong, an objective or measure is not finite, or ``objective`` is
                None while ``reward`` is ``"qd_score"``. No solution is added in these cases, and
                :meth:`tell` may be called again for the same solutions.
        """
        if self._asked is None:
            raise RuntimeError(
                "tell: expected a previous call of ask(), got none; call ask() first"
            )
        scores, measures = checked_evaluations(
            objective, measures, count=len(self._asked), archive=self.archive
        )
        if self.reward == "qd_score":
            if scores is None:
                raise ValueError(
                    "objective: expected numbers with reward='qd_score', got None; use "
                    "reward='entered' in a search without objectives"
                )
            _warn_below_offset(scores, self.archive)
        solutions = self._asked
        data = {"solution": solutions, "objective": scores, "measures": measures}
        data |= {name: _checked_field(name, v, len(solutions)) for name, v in fields.items()}
        before = float(self.archive.stats.qd_score) if self.reward == "qd_score" else 0.0
        info = self._add(data)
        self._asked = None  # only now, so that nothing is lost if an archive raises an error
        if self.reward == "entered":
            entered = int(np.count_nonzero(info["status"]))
            self.bandit.update(self.emitter_index, entered, trials=len(solutions))
        else:
            gain = float(self.archive.stats.qd_score) - before
            self.bandit.update(self.emitter_index, max(0.0, gain))
        self.emitters[self.emitter_index].tell(**data, add_info=info)
        return info

    def ask_dqd(self) -> np.ndarray:
        """Raises an error, because this scheduler does not support emitters that use gradients.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(
            "ask_dqd: expected a scheduler for emitters that use gradients, got a BanditScheduler; "
            "use ribs.schedulers.Scheduler"
        )

    def tell_dqd(self, *args: Any, **kwargs: Any) -> None:
        """Raises an error, because this scheduler does not support emitters that use gradients.

        Raises:
            NotImplementedError: always.
        """
        self.ask_dqd()

    def _add(self, data: dict[str, Any]) -> dict[str, np.ndarray]:
        """Adds evaluated solutions to the archive, and to the second archive if there is one.

        Args:
            data: one array per field of the archives, by name, with one row per solution; None for
                a field without data.

        Returns:
            The result of ``archive.add`` for the first archive.
        """
        archives = {"archive": self.archive}
        if self._result_archive is not None:
            archives["result_archive"] = self._result_archive
        were_empty = [name for name, archive in archives.items() if archive.empty]
        infos = {name: self._add_to(archive, data) for name, archive in archives.items()}
        for name in were_empty:
            if archives[name].empty:
                warnings.warn(
                    f"{name}: expected at least one elite after adding solutions, got none; if the "
                    "archive's threshold_min is above all objectives, lower it",
                    EmptyArchiveWarning,
                    stacklevel=3,
                )
        return infos["archive"]

    def _add_to(self, archive: ArchiveBase, data: dict[str, Any]) -> dict[str, np.ndarray]:
        if self._add_mode == "batch":
            info: dict[str, np.ndarray] = archive.add(**data)
            return info
        infos = []
        for row in range(len(data["solution"])):
            single: dict[str, Any] = {k: None if v is None else v[row] for k, v in data.items()}
            infos.append(archive.add_single(**single))
        return {name: np.asarray([each[name] for each in infos]) for name in infos[0]}


def _check_emitters(emitters: Sequence[EmitterBase]) -> None:
    if len({id(emitter) for emitter in emitters}) != len(emitters):
        raise ValueError(
            "emitters: expected different objects, got the same emitter twice; create a separate "
            "emitter for each entry of the list"
        )
    dims: set[Any] = {emitter.solution_dim for emitter in emitters}
    if len(dims) > 1:
        raise ValueError(
            "emitters: expected solutions of the same dimension from all emitters, got dimensions "
            f"{sorted(dims, key=str)}; create all emitters for the same archive"
        )


def _checked_field(name: str, value: Any, count: int) -> np.ndarray | None:
    """Checks the values of an extra field of an archive, and returns them as an array.

    Args:
        name: name of the field.
        value: one row of values per solution; None for a field without data.
        count: number of solutions.

    Returns:
        The values ``(count, …)``; None if ``value`` is None.

    Raises:
        ValueError: the number of rows is not ``count``.
    """
    if value is None:
        return None
    array = np.asarray(value)
    if array.shape[:1] != (count,):
        raise ValueError(
            f"{name}: expected {count} rows, one per solution, got shape {array.shape}; pass one "
            "row for each solution from ask()"
        )
    return array


class EmptyArchiveWarning(WMRLWarning):
    """Warning that an archive is still empty, because it accepted none of the added solutions."""


class BelowOffsetWarning(WMRLWarning):
    """Warning that objectives are below an archive's ``qd_score_offset``.

    Such objectives decrease the QD score.
    """


def _warn_below_offset(objective: np.ndarray, archive: ArchiveBase) -> None:
    # Not every archive has an offset.
    least, offset = float(objective.min()), float(getattr(archive, "qd_score_offset", -np.inf))
    if least < offset - 1e-6 * abs(offset):  # ignores rounding errors of single precision
        warnings.warn(
            # The text is always the same, so that Python shows the warning only once.
            f"objective: expected at least the archive's qd_score_offset of {offset:g}, got lower "
            "values, which decrease the QD score; create the archive with a lower qd_score_offset",
            BelowOffsetWarning,
            stacklevel=3,
        )
