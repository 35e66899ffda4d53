"""A sliding-window bandit, and a scheduler that selects emitters with it."""

import math
import warnings
from collections import deque
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from ribs.archives import ArchiveBase
from ribs.emitters import EmitterBase

from wmrl.agents.quality_diversity.initialization import checked_evaluations
from wmrl.core.validation import check_choice, check_float, check_int


class SlidingWindowUCB:
    """UCB1 (Auer et al. 2002) over a sliding window of the last W pulls.

    A pull consists of one or more trials of a choice and the reward that they earned. The bandit
    selects the choice that maximizes the reward per trial within the window + c √(ln N / n), where
    n of the window's N trials are of that choice; choices without trials in the window come first.
    The window lets the bandit adapt as the best choice changes during a search.

    Args:
        num_choices: number of choices, the arms of the bandit.
        window: W, in pulls; at least ``num_choices``.
        exploration: c; √2 in UCB1.
        relative: divide rewards by those of the best choice; for rewards not within [0, 1].

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
        """Returns the choice to try next; the first one of equals."""
        rewards, trials = np.zeros(self.num_choices), np.zeros(self.num_choices)
        # Sums are computed anew: running sums of floats would depend on pulls outside the window.
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
        """Returns the window, JSON-able: choice, reward and trials of each pull."""
        return list(self._pulls)

    def restore(self, state: Sequence[Sequence[Any]]) -> None:
        """Replaces the window by one from :meth:`state`."""
        self._pulls.clear()
        for choice, reward, trials in state:
            self.update(choice, reward, trials=trials)


class BanditScheduler:
    """Schedules emitters by a bandit, one emitter per batch.

    The interface is that of the schedulers of ``ribs``, whose own ``BanditScheduler`` counts
    rewards over the whole search instead of over a window.

    Args:
        archive: the archive that solutions are added to.
        emitters: one for each choice of the bandit.
        bandit: selects the emitter; a :class:`SlidingWindowUCB` over 1000 batches if None.
        reward: ``"entered"``, the number of solutions that entered the archive, as in Data-Driven
            Encodings; or ``"qd_score"``, the increase of the archive's QD score, in which a new
            cell counts more than a slightly better elite. An increase has no fixed scale: use a
            bandit with ``relative=True``, and an archive with a ``qd_score_offset`` that is a
            lower bound of the objective (objectives below it decrease the score).

    Attributes:
        emitter_index: index of the emitter that was asked last.

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
    ) -> None:
        check_choice("reward", reward, ("entered", "qd_score"))
        self.archive, self.emitters, self.reward = archive, list(emitters), reward
        relative = reward == "qd_score"
        self.bandit = bandit or SlidingWindowUCB(len(self.emitters), relative=relative)
        if self.bandit.num_choices != len(self.emitters):
            raise ValueError(
                f"emitters: expected {self.bandit.num_choices}, one for each choice of the "
                f"bandit, got {len(self.emitters)}"
            )
        self.emitter_index = 0
        self._asked: np.ndarray | None = None

    def ask(self) -> np.ndarray:
        """Returns solutions ``(B, X)`` to evaluate.

        Raises:
            RuntimeError: the solutions asked for before were not told yet.
        """
        if self._asked is not None:
            raise RuntimeError("ask: expected tell() first, for the solutions asked for before")
        self.emitter_index = self.bandit.choose()
        self._asked = self.emitters[self.emitter_index].ask()
        return self._asked

    def tell(self, objective: np.ndarray, measures: np.ndarray) -> dict[str, np.ndarray]:
        """Adds the evaluated solutions to the archive and updates the bandit and the emitter.

        Args:
            objective: ``(B,)``, objectives of the solutions asked for.
            measures: ``(B, M)``, their measures.

        Returns:
            The archive's ``status`` (0 not added, 1 improved a cell, 2 new cell) and ``value`` of
            each solution.

        Raises:
            RuntimeError: no solutions were asked for.
            ValueError: a shape differs, or a number is not finite. Nothing is added then, and the
                solutions may be told again.
        """
        if self._asked is None:
            raise RuntimeError("tell: expected ask() first")
        objective, measures = checked_evaluations(
            objective, measures, count=len(self._asked), archive=self.archive
        )
        solutions, self._asked = self._asked, None
        if self.reward == "qd_score":
            _warn_below_offset(objective, self.archive)
        before = float(self.archive.stats.qd_score)
        info: dict[str, Any] = self.archive.add(solutions, objective, measures)
        if self.reward == "entered":
            entered = int(np.count_nonzero(info["status"]))
            self.bandit.update(self.emitter_index, entered, trials=len(solutions))
        else:
            gain = float(self.archive.stats.qd_score) - before
            self.bandit.update(self.emitter_index, max(0.0, gain))
        self.emitters[self.emitter_index].tell(solutions, objective, measures, info)
        return info


class BelowOffsetWarning(UserWarning):
    """Warning about objectives below an archive's ``qd_score_offset``."""


def _warn_below_offset(objective: np.ndarray, archive: ArchiveBase) -> None:
    # Not every archive has an offset.
    least, offset = float(objective.min()), float(getattr(archive, "qd_score_offset", -np.inf))
    if least < offset - 1e-6 * abs(offset):  # by more than the rounding of single precision
        warnings.warn(
            # The text is the same each time, so that Python shows the warning once.
            f"objective: some are below the archive's qd_score_offset of {offset:g}, so that new "
            "cells may decrease the QD score and count against the emitter that found them; make "
            "the archive with a lower qd_score_offset",
            BelowOffsetWarning,
            stacklevel=3,
        )
