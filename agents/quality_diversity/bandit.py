"""A bandit with a short memory, and a scheduler of emitters that follows it."""

import math
import warnings
from collections import deque
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from ribs.archives import ArchiveBase
from ribs.emitters import EmitterBase

from wmrl.agents.quality_diversity.initial_fill import checked_evaluations


class SlidingWindowUCB:
    """UCB1 (Auer et al. 2002) over the last W pulls: what worked once need not work now.

    A pull of an arm is a number of trials that earn a reward. The arm is chosen that maximises its
    reward a trial in the window + c √(ln N / n), where n of the window's N trials were its own; one
    without trials there comes first.

    Args:
        arms: how many there are.
        window: W, pulls.
        exploration: c; √2 in UCB1.
        relative: measure rewards by the best arm's, for those that are not between 0 and 1.
    """

    def __init__(
        self,
        arms: int,
        *,
        window: int = 1000,
        exploration: float = math.sqrt(2),
        relative: bool = False,
    ) -> None:
        if arms < 1 or window < arms:
            raise ValueError(
                f"window: expected arms ≥ 1 and a window of at least as many pulls, got {arms} "
                f"arms and {window}"
            )
        if not exploration >= 0:
            raise ValueError(f"exploration: expected at least 0, got {exploration}")
        self.arms, self.window, self.exploration = arms, window, exploration
        self.relative = relative
        self._pulls: deque[tuple[int, float, int]] = deque(maxlen=window)

    def choose(self) -> int:
        """The arm to pull; the first of equals."""
        rewards, trials = np.zeros(self.arms), np.zeros(self.arms)
        # Summed anew, for running sums of floats would depend on what has left the window.
        if self._pulls:
            arms, earned, tried = zip(*self._pulls, strict=True)
            np.add.at(rewards, list(arms), earned)
            np.add.at(trials, list(arms), tried)
        if not trials.all():
            return int(np.argmin(trials))
        rate = rewards / trials
        if self.relative and rate.max() > 0:
            rate /= rate.max()
        bonus = np.sqrt(math.log(trials.sum()) / trials)
        return int(np.argmax(rate + self.exploration * bonus))

    def update(self, arm: int, reward: float, *, trials: int = 1) -> None:
        """Takes in a pull of an arm.

        Raises:
            ValueError: there is no such arm, no trial, or the reward is negative or not finite.
        """
        if not 0 <= arm < self.arms:
            raise ValueError(f"arm: expected 0 to {self.arms - 1}, got {arm}")
        if not 0 <= reward < math.inf:
            raise ValueError(f"reward: expected a finite number of at least 0, got {reward}")
        if trials < 1:
            raise ValueError(f"trials: expected at least 1, got {trials}")
        self._pulls.append((arm, float(reward), trials))

    def state(self) -> list[tuple[int, float, int]]:
        """The window, JSON-able: arm, reward and trials of each pull."""
        return list(self._pulls)

    def restore(self, state: Sequence[Sequence[Any]]) -> None:
        """Takes on a window of :meth:`state`."""
        self._pulls.clear()
        for arm, reward, trials in state:
            self.update(arm, reward, trials=trials)


class BanditScheduler:
    """Lets one emitter a batch speak, the one that a bandit chooses.

    The interface is that of ribs' schedulers, whose own bandit counts over a whole life.

    Args:
        archive: where children compete.
        emitters: one for each arm.
        bandit: chooses; a :class:`SlidingWindowUCB` of 1000 batches that suits the reward if None.
        reward: ``"entered"``, one for each child that enters the archive, as in Data-Driven
            Encodings; or ``"qd_score"``, what the batch adds to the archive's QD score, by which a
            new cell is worth more than a slightly better elite. It has no fixed scale: give it a
            bandit whose rewards are ``relative``, and the archive a ``qd_score_offset`` that no
            objective is below: what is below it takes from the score.

    Attributes:
        arm: index of the emitter that was asked last.
    """

    def __init__(
        self,
        archive: ArchiveBase,
        emitters: Sequence[EmitterBase],
        bandit: SlidingWindowUCB | None = None,
        *,
        reward: Literal["entered", "qd_score"] = "entered",
    ) -> None:
        if reward not in ("entered", "qd_score"):
            raise ValueError(f"reward: expected 'entered' or 'qd_score', got {reward!r}")
        self.archive, self.emitters, self.reward = archive, list(emitters), reward
        relative = reward == "qd_score"
        self.bandit = bandit or SlidingWindowUCB(len(self.emitters), relative=relative)
        if self.bandit.arms != len(self.emitters):
            raise ValueError(
                f"emitters: expected {self.bandit.arms}, one for each arm, got {len(self.emitters)}"
            )
        self.arm = 0
        self._asked: np.ndarray | None = None

    def ask(self) -> np.ndarray:
        """Solutions ``(B, X)`` to evaluate."""
        if self._asked is not None:
            raise RuntimeError("ask: expected tell() first, for the solutions asked for before")
        self.arm = self.bandit.choose()
        self._asked = self.emitters[self.arm].ask()
        return self._asked

    def tell(self, objective: np.ndarray, measures: np.ndarray) -> dict[str, np.ndarray]:
        """Takes in what the solutions asked for are worth.

        Args:
            objective: ``(B,)``.
            measures: ``(B, M)``.

        Returns:
            The archive's ``status`` (0 not added, 1 better than an elite, 2 of a new cell) and
            ``value`` of each solution.

        Raises:
            ValueError: another shape, or a number that is not finite; nothing is added then, and
                they may be told again.
        """
        if self._asked is None:
            raise RuntimeError("tell: expected ask() first")
        objective, measures = checked_evaluations(
            objective, measures, count=len(self._asked), archive=self.archive
        )
        solutions, self._asked = self._asked, None
        if self.reward == "qd_score":
            _warn_below(objective, self.archive)
        before = float(self.archive.stats.qd_score)
        info: dict[str, Any] = self.archive.add(solutions, objective, measures)
        if self.reward == "entered":
            entered = int(np.count_nonzero(info["status"]))
            self.bandit.update(self.arm, entered, trials=len(solutions))
        else:
            gain = float(self.archive.stats.qd_score) - before
            self.bandit.update(self.arm, max(0.0, gain))
        self.emitters[self.arm].tell(solutions, objective, measures, info)
        return info


class BelowWorstWarning(UserWarning):
    """Objectives are below what an archive's QD score counts from."""


def _warn_below(objective: np.ndarray, archive: ArchiveBase) -> None:
    # Not every archive has one.
    least, offset = float(objective.min()), float(getattr(archive, "qd_score_offset", -np.inf))
    if least < offset - 1e-6 * abs(offset):  # more than the rounding of single precision
        warnings.warn(
            # The same each time, so that it is said once.
            f"objective: some are below {offset:g}, from which the archive's QD score counts, so "
            "that new cells may count against those who find them; make it with a lower worst "
            "(ArchiveConfig) or qd_score_offset (ribs)",
            BelowWorstWarning,
            stacklevel=3,
        )
