"""UCB bandit with a sliding window, and a scheduler that uses it to select emitters."""

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
        """Returns the window as a list of pulls ``(choice, reward, trials)``, JSON-serializable."""
        return list(self._pulls)

    def restore(self, state: Sequence[Sequence[Any]]) -> None:
        """Restores the window from a result of :meth:`state`."""
        self._pulls.clear()
        for choice, reward, trials in state:
            self.update(choice, reward, trials=trials)


class BanditScheduler:
    """Scheduler that uses a bandit to select one emitter for each batch.

    The interface is that of the schedulers of ``ribs``. The ``BanditScheduler`` of ``ribs`` counts
    rewards over the whole search; this one counts them over a sliding window.

    Args:
        archive: archive to which solutions are added.
        emitters: emitters, one for each choice of the bandit.
        bandit: bandit that selects the emitter; if None, a :class:`SlidingWindowUCB` over 1000
            batches.
        reward: reward of the bandit. ``"entered"`` is the number of solutions that entered the
            archive, as in Data-Driven Encodings. ``"qd_score"`` is the increase of the archive's QD
            score, which is larger for a new cell than for a slightly better elite. This increase
            has no fixed scale, so ``bandit`` should have ``relative=True``, as the default bandit
            has. The archive's ``qd_score_offset`` should be a lower bound of the objective;
            otherwise new cells may decrease the QD score.

    Attributes:
        emitter_index: index of the emitter that was asked last.

    Raises:
        ValueError: the reward is unknown, or the numbers of emitters and choices differ.

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
                f"emitters: expected {self.bandit.num_choices} (one for each choice of the "
                f"bandit), got {len(self.emitters)}"
            )
        self.emitter_index = 0
        self._asked: np.ndarray | None = None

    def ask(self) -> np.ndarray:
        """Selects an emitter and returns its next solutions ``(B, X)`` to evaluate.

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

    def tell(self, objective: np.ndarray, measures: np.ndarray) -> dict[str, np.ndarray]:
        """Adds the evaluated solutions to the archive and updates the bandit and the emitter.

        Args:
            objective: ``(B,)``, objectives of the solutions from :meth:`ask`.
            measures: ``(B, M)``, measures of these solutions.

        Returns:
            Result of the archive's ``add``: arrays ``"status"`` and ``"value"`` with one entry per
            solution. The status is 0 (not added), 1 (replaced a worse elite) or 2 (new cell).

        Raises:
            RuntimeError: :meth:`ask` was not called before.
            ValueError: a shape is wrong, or a number is not finite. In this case nothing is added,
                and the method may be called again for the same solutions.
        """
        if self._asked is None:
            raise RuntimeError(
                "tell: expected a previous call of ask(), got none; call ask() first"
            )
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
    if least < offset - 1e-6 * abs(offset):  # ignores rounding errors of single precision
        warnings.warn(
            # The text is always the same, so that Python shows the warning only once.
            f"objective: expected at least the archive's qd_score_offset of {offset:g}, got lower "
            "values, with which new cells decrease the QD score instead of increasing it; create "
            "the archive with a lower qd_score_offset",
            BelowOffsetWarning,
            stacklevel=3,
        )
