"""The sliding-window bandit and its scheduler."""

import json
import math
import warnings
from typing import Literal

import numpy as np
import pytest
from ribs.archives import GridArchive, ProximityArchive
from ribs.emitters import IsoLineEmitter
from ribs.schedulers import Scheduler

from wmrl.agents.quality_diversity.archive import ArchiveConfig
from wmrl.agents.quality_diversity.bandit import (
    BanditScheduler,
    EmptyArchiveWarning,
    SlidingWindowUCB,
)


def slow_choice(
    pulls: list[tuple[int, float, int]], num_choices: int, c: float, relative: bool
) -> int:
    """The formula, one choice after the other."""
    total = sum(trials for _, _, trials in pulls)
    values = []
    for choice in range(num_choices):
        n = sum(trials for other, _, trials in pulls if other == choice)
        if n == 0:
            return choice
        earned = sum(reward for other, reward, _ in pulls if other == choice)
        values.append((earned / n, n))
    best = max(rate for rate, _ in values)
    scale = best if relative and best > 0 else 1.0
    scores = [rate / scale + c * math.sqrt(math.log(total) / n) for rate, n in values]
    return scores.index(max(scores))


@pytest.mark.parametrize("relative", [False, True])
def test_it_chooses_by_the_formula(relative: bool) -> None:
    rng = np.random.default_rng(0)
    bandit = SlidingWindowUCB(4, window=25, exploration=0.7, relative=relative)
    pulls: list[tuple[int, float, int]] = []
    for _ in range(200):
        choice = bandit.choose()
        assert choice == slow_choice(pulls[-25:], 4, 0.7, relative)
        pull = (choice, float(rng.integers(0, 3 + choice)), int(rng.integers(5, 9)))
        bandit.update(pull[0], pull[1], trials=pull[2])
        pulls.append(pull)
    assert len({choice for choice, _, _ in pulls[:4]}) == 4


def test_it_adapts_to_a_change() -> None:
    """The better choice changes halfway: a short window adapts, an unlimited one does not."""
    shares = []
    for window in (50, 100_000):
        bandit, chosen = SlidingWindowUCB(2, window=window, exploration=0.3), []
        for pull in range(1200):
            chosen.append(choice := bandit.choose())
            bandit.update(choice, float(choice == (pull >= 600)))
        shares.append(np.mean(chosen[600:800]))
    assert shares[0] > 0.7 > 0.3 > shares[1]


def test_its_window_is_kept_as_json() -> None:
    bandit = SlidingWindowUCB(3, window=5)
    for pull in range(9):
        bandit.update(pull % 3, pull / 7, trials=2)
    other = SlidingWindowUCB(3, window=5)
    other.restore(json.loads(json.dumps(bandit.state())))
    assert other.state() == bandit.state()
    assert len(other.state()) == 5
    assert other.choose() == bandit.choose()


def scheduler(reward="entered"):
    archive = ArchiveConfig(cells=100, qd_score_offset=-10.0).make(2, seed=0)
    emitters = [
        IsoLineEmitter(archive, x0=[0.0, 0.0], iso_sigma=sigma, batch_size=10, seed=k)
        for k, sigma in enumerate((0.01, 0.3))
    ]
    bandit = SlidingWindowUCB(2, window=50, relative=reward == "qd_score")
    return BanditScheduler(archive, emitters, bandit, reward=reward)


def with_results() -> BanditScheduler:
    search = scheduler()
    results = ArchiveConfig(cells=100).make(2, seed=0)
    return BanditScheduler(search.archive, search.emitters, search.bandit, result_archive=results)


def evaluate(solutions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return -np.square(solutions).sum(1), np.clip(0.5 + 0.5 * solutions, 0, 1)


@pytest.mark.parametrize("reward", ["entered", "qd_score"])
def test_it_asks_one_emitter_and_rewards_it(reward) -> None:
    search = scheduler(reward)
    for pull in range(30):
        before = float(search.archive.stats.qd_score)
        solutions = search.ask()
        assert solutions.shape == (10, 2)
        info = search.tell(*evaluate(solutions))
        choice, earned, trials = search.bandit.state()[-1]
        assert choice == search.emitter_index
        gained = float(search.archive.stats.qd_score) - before
        entered = np.count_nonzero(info["status"])
        expected = (entered, 10) if reward == "entered" else (gained, 1)
        assert (earned, trials) == pytest.approx(expected)
        assert pull > 1 or search.emitter_index == pull
    # The emitter with the greater sigma finds more.
    assert np.mean([choice for choice, _, _ in search.bandit.state()]) > 0.5


def test_told_evaluations_are_checked_and_may_be_told_again() -> None:
    search = scheduler()
    with pytest.raises(RuntimeError, match=r"ask\(\) first"):
        search.tell(np.zeros(10), np.zeros((10, 2)))
    objective, measures = evaluate(search.ask())
    with pytest.raises(RuntimeError, match=r"tell\(\) first"):
        search.ask()
    wrong = objective.copy()
    wrong[3] = np.nan
    with pytest.raises(ValueError, match=r"objective: expected finite numbers, got nan in row 3"):
        search.tell(wrong, measures)
    for told, message in (
        ((objective, measures[:9]), r"measures: expected shape \(10, 2\) .* got \(9, 2\)"),
        ((objective, measures[:, :1]), r"measures: expected shape \(10, 2\) .* got \(10, 1\)"),
        ((objective[:, None], measures), r"objective: expected shape \(10,\) .* got \(10, 1\)"),
        ((0.5, measures), r"objective: expected shape \(10,\) .* got \(\)"),
    ):
        with pytest.raises(ValueError, match=message):
            search.tell(*told)
    assert search.archive.empty
    assert search.bandit.state() == []
    search.tell(objective, measures)
    assert not search.archive.empty


def test_objectives_below_the_offset_are_warned_of() -> None:
    """With the QD score only, which they decrease: new cells would count against their emitters."""
    for reward, warns in (("qd_score", True), ("entered", False)):
        search = scheduler(reward)  # whose archive has an offset of −10
        objective, measures = evaluate(search.ask())
        told = objective - 20.0
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            search.tell(told, measures)
        messages = [str(each.message) for each in caught]
        assert len(messages) == warns
        beginning = "objective: expected at least the archive's qd_score_offset of -10,"
        assert all(each.startswith(beginning) for each in messages)


class BrokenError(Exception):
    """An error of an archive, a disk or anything else."""


@pytest.mark.parametrize("which", ["archive", "result_archive"])
def test_solutions_are_kept_when_adding_fails(which: str, monkeypatch: pytest.MonkeyPatch) -> None:
    search, plain = with_results(), with_results()
    told = evaluate(search.ask())
    np.testing.assert_array_equal(told[1], evaluate(plain.ask())[1])

    def fail(*args: object, **kwargs: object) -> None:
        raise BrokenError

    with monkeypatch.context() as patch:
        patch.setattr(getattr(search, which), "add", fail)
        with pytest.raises(BrokenError):
            search.tell(*told)
    with pytest.raises(RuntimeError, match=r"tell\(\) first"):
        search.ask()
    search.tell(*told)
    plain.tell(*told)
    for name in ("archive", "result_archive"):
        mine, theirs = (getattr(each, name).data("objective") for each in (search, plain))
        np.testing.assert_array_equal(mine, theirs)
    np.testing.assert_array_equal(search.ask(), plain.ask())


def test_results_are_as_those_of_ribs() -> None:
    """With one emitter, the scheduler does what ``ribs.schedulers.Scheduler`` does."""
    searches = []
    for kind in (BanditScheduler, Scheduler):
        first, second = (
            GridArchive(
                solution_dim=2,
                dims=[8, 8],
                ranges=[(0, 1)] * 2,
                seed=0,
                extra_fields={"note": ((2,), np.float32)},
                **options,
            )
            for options in ({"learning_rate": 0.1, "threshold_min": -5.0}, {})
        )
        emitter = IsoLineEmitter(first, x0=[0.0, 0.0], iso_sigma=0.3, batch_size=20, seed=0)
        searches.append(kind(first, [emitter], result_archive=second))
    for _ in range(10):
        solutions = [search.ask() for search in searches]
        np.testing.assert_array_equal(*solutions)
        objective, measures = evaluate(solutions[0])
        for search in searches:
            search.tell(objective, measures, note=10 * measures)
    mine, theirs = searches
    assert mine.result_archive is not mine.archive
    for name in ("archive", "result_archive"):
        ours, other = getattr(mine, name), getattr(theirs, name)
        for field in ("solution", "objective", "measures", "note", "index"):
            np.testing.assert_array_equal(ours.data(field), other.data(field))
        np.testing.assert_allclose(ours.data("note"), 10 * ours.data("measures"), rtol=1e-6)
    assert mine.result_archive.stats.obj_mean >= mine.archive.stats.obj_mean


@pytest.mark.parametrize("add_mode", ["batch", "single"])
def test_a_search_without_objectives(add_mode: Literal["batch", "single"]) -> None:
    archive = ProximityArchive(
        solution_dim=2, measure_dim=2, k_neighbors=3, novelty_threshold=0.05, seed=0
    )
    emitters = [IsoLineEmitter(archive, x0=[0, 0], iso_sigma=s, batch_size=9) for s in (0.1, 0.3)]
    search = BanditScheduler(archive, emitters, add_mode=add_mode)
    for _ in range(4):
        measures = search.ask().copy()
        info = search.tell(None, measures)
        assert search.bandit.state()[-1][1] == np.count_nonzero(info["status"])
    assert len(archive) > 3
    other = BanditScheduler(archive, emitters, reward="qd_score")
    other.ask()
    with pytest.raises(ValueError, match="objective: expected numbers with reward='qd_score'"):
        other.tell(None, measures)
    other.tell(np.ones(9), measures)  # the solutions were kept


def test_archives_that_stay_empty_are_warned_of() -> None:
    archive = GridArchive(
        solution_dim=2, dims=[5, 5], ranges=[(0, 1)] * 2, threshold_min=5.0, learning_rate=1.0
    )
    emitter = IsoLineEmitter(archive, x0=[0.0, 0.0], iso_sigma=0.1, batch_size=4, seed=0)
    search = BanditScheduler(archive, [emitter], SlidingWindowUCB(1))
    with pytest.warns(EmptyArchiveWarning, match="archive: expected at least one elite"):
        search.tell(*evaluate(search.ask()))


def test_extra_fields_have_one_row_per_solution() -> None:
    search = scheduler()
    told = evaluate(search.ask())
    with pytest.raises(ValueError, match=r"note: expected 10 rows, one per solution, got shape"):
        search.tell(*told, note=np.zeros(3))
    search.tell(*told)


def test_emitters_and_archives_are_checked() -> None:
    archive = scheduler().archive
    emitter = IsoLineEmitter(archive, x0=[0.0, 0.0])
    wide = ArchiveConfig(cells=10).make(3, seed=0)
    for emitters, options, message in (
        ([emitter, emitter], {}, "emitters: expected different objects"),
        ([emitter, IsoLineEmitter(wide, x0=[0.0] * 3)], {}, r"got dimensions \[2, 3\]"),
        ([emitter], {"result_archive": archive}, "result_archive: expected a different archive"),
        ([emitter], {"add_mode": "all"}, "add_mode: expected one of 'batch', 'single'"),
        ([], {}, "num_choices: expected at least 1, got 0"),
    ):
        with pytest.raises(ValueError, match=message):
            BanditScheduler(archive, emitters, **options)
    with pytest.raises(NotImplementedError, match=r"use ribs\.schedulers\.Scheduler"):
        BanditScheduler(archive, [emitter]).tell_dqd(None, None, None)


def test_lists_are_taken() -> None:
    search = scheduler()
    objective, measures = evaluate(search.ask())
    search.tell(objective.tolist(), measures.tolist())
    assert not search.archive.empty


def test_clear_errors() -> None:
    for wrong, message in (
        ({"num_choices": 0}, "num_choices: expected at least 1, got 0"),
        ({"num_choices": 3, "window": 2}, "window: expected at least 3, got 2"),
        ({"num_choices": 2, "exploration": -1.0}, "exploration: expected at least 0"),
    ):
        with pytest.raises(ValueError, match=message):
            SlidingWindowUCB(**wrong)
    bandit = SlidingWindowUCB(2)
    for call, message in (
        ((2, 1.0), "choice: expected at most 1, got 2"),
        ((0, -1.0), "reward: expected at least 0"),
        ((0, math.nan), "reward: expected at least 0, got nan"),
    ):
        with pytest.raises(ValueError, match=message):
            bandit.update(*call)
    with pytest.raises(ValueError, match="trials"):
        bandit.update(0, 1.0, trials=0)
    archive = scheduler().archive
    emitter = IsoLineEmitter(archive, x0=[0.0, 0.0])
    with pytest.raises(
        ValueError, match=r"emitters: expected 2 \(one for each choice of the bandit\), got 1"
    ):
        BanditScheduler(archive, [emitter], bandit)
    with pytest.raises(
        ValueError, match="reward: expected one of 'entered', 'qd_score', got 'luck'"
    ):
        BanditScheduler(archive, [emitter], reward="luck")
