from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from wmrl.scripts.reproduce.kl.experiment import (
    CONVERGED,
    RUNS,
    KLRun,
    KLTrace,
    descend,
    gradient_spread,
    select_steps,
)
from wmrl.scripts.reproduce.kl.gaussian import Gaussian, kl_divergence, kl_divergence_gradient


def norm(gradient: tuple[float, float]) -> float:
    return float(np.linalg.norm(gradient))


def test_the_first_steps_by_hand() -> None:
    run = replace(RUNS["span-both"], width=None, learning_rate=0.01, steps=2)
    first = np.array(kl_divergence_gradient(run.start, run.target))
    middle = run.start - 0.01 * first
    second = 0.9 * first + kl_divergence_gradient(Gaussian(*middle), run.target)
    trace = descend(run)
    found = np.stack([trace.means, trace.stds], 1)
    # The interval ends four standard deviations from q's mean, where a little of it is missing.
    expected = [run.start, middle, middle - 0.01 * second]
    np.testing.assert_allclose(found, expected, rtol=0.01)
    assert len(trace.gradients) == trace.steps == 2
    assert trace.kl.tolist() == [kl_divergence(trace[k], run.target) for k in range(3)]


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        ("q", (1.8, 8.2)),
        ("moving-q", (-2.0, 6.0)),
        ("p", (-0.2, 2.2)),
        ("both", (-0.2, 8.2)),
    ],
)
def test_intervals(span: Any, expected: tuple[float, float]) -> None:
    run = KLRun(title="", gradient="riemann", span=span)
    assert run.interval(Gaussian(2.0, 1.0)) == pytest.approx(expected)


def test_over_q_as_it_was_it_runs_to_the_border_and_knows_no_more() -> None:
    run = RUNS["span-q"]
    trace = descend(run)
    interval = run.interval(run.start)
    assert interval is not None
    assert run.start.mass(*interval) > 0.9999
    assert norm(trace.gradients[0]) == pytest.approx(45.0, abs=0.2)
    assert np.argmax(trace.means < interval[0]) < 150  # of 500 steps
    assert trace.end.mass(*interval) < 0.001
    assert norm(trace.gradients[-1]) < 0.01
    assert trace.end == pytest.approx((1.453, 0.110), abs=0.002)
    assert trace.kl[-1] == pytest.approx(1.713, abs=0.005)
    objective = run.objective(trace.end)
    assert objective is not None
    assert objective < 0  # so it is no KL
    assert trace.verdict == "did not converge"


def test_over_q_as_it_is_it_converges() -> None:
    trace = descend(RUNS["span-q-moving"])
    assert trace.verdict == "converged"
    assert trace.kl[-1] < 0.001


def test_over_p_the_gradient_is_tiny_and_the_std_grows() -> None:
    trace = descend(replace(RUNS["span-p"], steps=10_000))
    exact = norm(kl_divergence_gradient(trace.run.start, trace.run.target))
    assert norm(trace.gradients[0]) < exact / 5000
    assert abs(trace.means[1000] - 5.0) < 0.03
    assert (np.diff(trace.stds) > 0).all()
    assert trace.end.std > 2.5
    assert trace.end.mean > 5.5  # away from p
    assert trace.kl[-1] > 1.5 * trace.kl[0]
    assert trace.verdict == "did not converge"


def test_over_both_it_converges() -> None:
    trace = descend(RUNS["span-both"])
    assert trace.verdict == "converged"
    assert trace.end == pytest.approx((1.0, 0.3), abs=1e-3)
    # 6/500 stands for 8.4/499: all gradients are smaller by that.
    ratio = norm(trace.gradients[0]) / norm(
        kl_divergence_gradient(trace.run.start, trace.run.target)
    )
    assert ratio == pytest.approx((6 / 500) / (8.4 / 499), abs=0.01)


def test_reparameterized_gradients_converge() -> None:
    ends = [descend(RUNS["reparameterized"], seed=seed) for seed in range(5)]
    assert [trace.verdict for trace in ends] == ["converged"] * 5
    assert np.mean([trace.kl[-1] for trace in ends]) < 0.02
    # Samples never agree on the optimum: q wanders around it.
    assert all(trace.kl[-100:].max() > 0.001 for trace in ends)


def test_score_function_gradients_converge_at_a_low_rate() -> None:
    trace = descend(replace(RUNS["score-slow"], steps=400))
    assert trace.verdict == "converged"
    assert trace.end == pytest.approx((1.0, 0.3), abs=0.06)


def test_by_the_score_function_a_step_can_take_the_std_below_zero() -> None:
    trace = descend(RUNS["score"], seed=0)
    assert trace.verdict == "stopped"
    assert trace.steps < 50
    assert trace.rejected is not None
    assert trace.rejected.std <= 0 < trace.end.std
    assert len(trace.gradients) == trace.steps + 1
    assert len(trace.kl) == trace.steps + 1
    assert np.isfinite(trace.kl).all()


def test_what_is_not_finite_stops_a_run() -> None:
    trace = descend(replace(RUNS["span-both"], learning_rate=1e308))
    assert trace.rejected is not None
    assert trace.end == trace.run.start


def test_control_variates_lower_the_noise_and_reparameterized_ones_have_the_least() -> None:
    spread = {
        name: gradient_spread(replace(RUNS[name], samples=20), count=300)[1]
        for name in ("reparameterized", "score", "score-plain")
    }
    assert (spread["reparameterized"] < 0.5 * spread["score"]).all()
    assert (spread["score"] < 0.8 * spread["score-plain"]).all()


def test_estimates_are_unbiased() -> None:
    for name in ("reparameterized", "score", "score-plain"):
        run = replace(RUNS[name], samples=200, start=Gaussian(1.2, 0.4))
        mean, spread = gradient_spread(run, count=400)
        exact = kl_divergence_gradient(run.start, run.target)
        error = spread / 20
        assert (np.abs(mean - exact) < 4 * error).all()
        assert (error < 0.1 * np.abs(exact)).all()


@pytest.mark.parametrize("name", ["span-q", "reparameterized", "score"])
def test_same_seed_same_run(name: str) -> None:
    run = replace(RUNS[name], steps=20, learning_rate=1e-4)
    one, two, other = (descend(run, seed=seed) for seed in (3, 3, 4))
    for field in ("means", "stds", "gradients"):
        np.testing.assert_array_equal(getattr(one, field), getattr(two, field))
    assert (one.end != other.end) == run.random


def test_verdicts() -> None:
    def trace(end: Gaussian, rejected: Gaussian | None = None) -> KLTrace:
        means, stds = np.array([(5.0, 0.8), end]).T
        return KLTrace(RUNS["span-p"], means, stds, np.zeros((1, 2)), rejected)

    near, far = Gaussian(1.09, 0.3), Gaussian(1.1, 0.3)  # KL 0.045 and 0.0556
    assert kl_divergence(near, RUNS["span-p"].target) < CONVERGED
    assert trace(near).verdict == "converged"
    assert trace(far).verdict == "did not converge"
    assert trace(near, Gaussian(1.0, -0.1)).verdict == "stopped"


def test_steps_to_show() -> None:
    assert select_steps(100, 5) == [0, 6, 25, 56, 100]
    assert select_steps(3, 100) == [0, 1, 2, 3]
    assert select_steps(0, 2) == [0]
    with pytest.raises(ValueError, match="limit: expected at least 2, got 1"):
        select_steps(10, 1)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"span": None}, "span: expected a value for gradient='riemann', and None"),
        ({"gradient": "score"}, "span: expected .*, got 'p' for gradient='score'"),
        ({"steps": 0}, "steps: expected at least 1, got 0"),
        ({"num_points": 1}, "num_points: expected at least 2, got 1"),
        ({"samples": 0}, "samples: expected at least 1, got 0"),
        ({"learning_rate": 0.0}, "learning_rate: expected above 0"),
        ({"width": -1.0}, "width: expected above 0, got -1"),
        ({"start": Gaussian(0.0, 0.0)}, "start: expected above 0, got 0"),
        ({"target": Gaussian(0.0, -1.0)}, "target: expected above 0, got -1"),
        ({"momentum": 1.0}, "momentum: expected below 1, got 1.0"),
    ],
)
def test_impossible_runs_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(RUNS["span-p"], **wrong)
