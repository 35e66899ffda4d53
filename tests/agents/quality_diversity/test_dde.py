"""DDE-Elites."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from ribs.archives import ArchiveBase

from wmrl.agents.quality_diversity.archive import ArchiveConfig, load_elites
from wmrl.agents.quality_diversity.dde import DDE
from wmrl.agents.quality_diversity.dde_config import DDEConfig
from wmrl.agents.quality_diversity.emitters import Mutation
from wmrl.agents.quality_diversity.problems import ArmProblem
from wmrl.encodings.vector_vae import VectorVAEConfig
from wmrl.encodings.vector_vqvae import VectorVQVAEConfig
from wmrl.envs.planar_arm.arm import Arm
from wmrl.storage.run import RunError
from wmrl.training.callbacks import StopWhen
from wmrl.training.metrics import read_metrics

CELLS = ArchiveConfig(cells=100, qd_score_offset=-np.pi / 2)
PROBLEM = ArmProblem(arm=Arm(num_joints=8), archive=CELLS)
ENCODINGS = {
    "none": None,
    "vae": VectorVAEConfig(input_dim=8, latent_dim=4),
    "autoencoder": VectorVAEConfig(input_dim=8, latent_dim=4, kl_weight=0.0),
    # At the first checkpoint it has no codebook yet.
    "vqvae": VectorVQVAEConfig(
        input_dim=8, num_tokens=2, codebook_size=16, code_dim=4, hidden_dims=(16,), warmup_steps=15
    ),
    "fsq": VectorVQVAEConfig(
        input_dim=8, num_tokens=2, quantizer="fsq", warmup_steps=0, levels=(4, 4)
    ),
}


def config(kind: str, **changes) -> DDEConfig:
    encoding = ENCODINGS[kind]
    plain = {} if encoding else {"crossovers": (0.0,)}
    small = {"generations": 60, "log_every": 10, "checkpoint_every": 20, "snapshots": 6}
    return DDEConfig(**{"encoding": encoding} | small | plain | changes)


@pytest.mark.parametrize(
    "kind",
    [
        *("none", "vae", "vqvae"),
        *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("autoencoder", "fsq")),
    ],
)
def test_an_interrupted_run_continues_bit_by_bit(kind: str, tmp_path) -> None:
    with DDE(PROBLEM, config(kind), path=tmp_path / "whole", seed=4) as whole:
        whole.learn(progress=False)
    calls = 0

    @dataclass(frozen=True, kw_only=True)
    class Killing(ArmProblem):
        def evaluate(self, solutions):
            nonlocal calls
            calls += 1
            if calls == 40:
                raise KeyboardInterrupt
            return super().evaluate(solutions)

    killed = DDE(Killing(arm=PROBLEM.arm, archive=CELLS), config(kind), path=tmp_path / "k", seed=4)
    with killed:
        with pytest.raises(KeyboardInterrupt):
            killed.learn(progress=False)
        # Archive and bandit are of different generations now.
        with pytest.raises(RunError, match="expected a search that was not interrupted"):
            killed.learn(progress=False)
    with DDE(PROBLEM, config(kind), path=tmp_path / "k", seed=4) as resumed:
        assert resumed.generation == 20
        resumed.learn(progress=False)
        for name, value in vars(whole.elites).items():
            assert np.array_equal(value, getattr(resumed.elites, name)), name
        assert np.array_equal(whole.snapshots, resumed.snapshots, equal_nan=True)
        assert whole.evaluations == resumed.evaluations
    rows = [(tmp_path / name / "metrics.csv").read_text() for name in ("whole", "k")]
    assert rows[0] == rows[1]


def test_elites_are_solutions_that_were_evaluated(tmp_path) -> None:
    with DDE(PROBLEM, config("vae"), path=tmp_path) as search:
        search.learn(progress=False)
        elites = search.elites
    assert elites.solutions.dtype == np.float32
    objectives, measures = PROBLEM.evaluate(elites.solutions)
    np.testing.assert_allclose(elites.objectives, objectives, atol=1e-6)
    np.testing.assert_allclose(elites.measures, measures, atol=1e-6)
    archive: ArchiveBase = CELLS.make(8, seed=0)
    assert np.array_equal(archive.index_of(elites.measures), elites.cells)


def test_it_finds_even_arms(tmp_path) -> None:
    """The encoding helps with long arms."""
    problem = ArmProblem(arm=Arm(num_joints=60), archive=CELLS)
    scores = []
    for kind in ("none", "vae"):
        encoding = VectorVAEConfig(input_dim=60) if kind == "vae" else None
        own = config(kind, generations=160, encoding=encoding)
        if kind == "none":
            own = replace(own, mutations=(Mutation(line_sigma=0.0),))
        with DDE(problem, own, path=tmp_path / kind) as search:
            search.learn(progress=False)
            scores.append(read_metrics(search.path / "metrics.csv")[-1])
    plain, learned = scores
    assert plain["evaluations"] == pytest.approx(learned["evaluations"], rel=0.1)
    assert learned["archive/coverage"] > max(0.7, plain["archive/coverage"] + 0.1)
    assert learned["archive/mean_fitness"] > 0.5 * plain["archive/mean_fitness"]


def test_metrics_and_snapshots(tmp_path) -> None:
    with DDE(PROBLEM, config("vae"), path=tmp_path / "run") as search:
        search.learn(progress=False)
        archive, evaluations = search.archive(), search.evaluations
        assert search.done
        assert search.snapshots.shape == (6, 100)
        last = search.snapshots[-1]
        assert np.isfinite(last).sum() == len(archive) == len(search.elites)
        np.testing.assert_allclose(last[search.elites.cells], search.elites.objectives, atol=1e-6)
        search.save(tmp_path / "elites")
    rows = read_metrics(tmp_path / "run" / "metrics.csv")
    assert [row["step"] for row in rows] == [10, 20, 30, 40, 50, 60]
    row = rows[-1]
    assert row["evaluations"] == evaluations
    assert row["archive/coverage"] == pytest.approx(len(archive) / 100)
    assert row["archive/qd_score"] == pytest.approx(float(archive.stats.qd_score))
    assert row["archive/best_fitness"] == pytest.approx(float(archive.stats.obj_max))
    assert sum(value for name, value in row.items() if name.startswith("bandit/")) == pytest.approx(
        1
    )
    assert "encoding/loss" in row
    elites, cells = load_elites(tmp_path / "elites")
    assert cells == CELLS
    assert np.array_equal(elites.solutions, search.elites.solutions)
    assert list((tmp_path / "run" / "tensorboard").iterdir())


def test_a_stopped_run_stays_stopped(tmp_path) -> None:
    enough = StopWhen(lambda metrics: metrics["evaluations"] > 1500)
    for _ in range(2):
        with DDE(PROBLEM, config("none"), path=tmp_path) as search:
            search.learn(callbacks=[enough], progress=False)
            assert search.generation == 20
            assert search.metrics["evaluations"] > 1500
    with DDE(PROBLEM, config("none"), path=tmp_path) as search:
        assert search.learn(progress=False).done


def test_a_run_stops_at_the_next_checkpoint(tmp_path) -> None:
    enough = StopWhen(lambda metrics: metrics["archive/coverage"] > 0.01)
    with DDE(PROBLEM, config("none"), path=tmp_path) as search:
        search.learn(callbacks=[enough], progress=False)  # at generation 10, which is none
        assert search.generation == 20


@dataclass(frozen=True, kw_only=True)
class Watched(ArmProblem):
    """Records the solutions to evaluate, and interrupts the search at a given call."""

    evaluated: list[np.ndarray] = field(default_factory=list, compare=False)
    stop: int = -1

    def evaluate(self, solutions):
        if len(self.evaluated) == self.stop:
            raise KeyboardInterrupt
        self.evaluated.append(solutions.copy())
        return super().evaluate(solutions)


def bent(count: int = 3) -> np.ndarray:
    """Arms of even angles, each by another angle: optimal poses."""
    return np.repeat(np.linspace(-0.3, 0.3, count, dtype=np.float32)[:, None], 8, axis=1)


def test_initial_solutions_are_evaluated_first(tmp_path) -> None:
    problem, init = Watched(arm=PROBLEM.arm, archive=CELLS), bent()
    own = config("none", generations=1)
    with DDE(problem, own, path=tmp_path, init=init.tolist()) as search:
        search.learn(progress=False)
        assert search.evaluations == sum(map(len, problem.evaluated))
        objectives, measures = PROBLEM.evaluate(init)
        cells = CELLS.make(8, seed=0).index_of(measures)
        assert len(set(cells.tolist())) == 3
        rows = {int(cell): row for row, cell in enumerate(search.elites.cells)}
        for cell, objective, solution in zip(cells, objectives, init, strict=True):
            assert search.elites.objectives[rows[cell]] >= objective
            assert np.array_equal(search.elites.solutions[rows[cell]], solution)
    np.testing.assert_array_equal(problem.evaluated[0], init)
    assert [len(batch) for batch in problem.evaluated[1:]] == [100] * (len(problem.evaluated) - 1)
    plain = Watched(arm=PROBLEM.arm, archive=CELLS)
    with DDE(plain, own, path=tmp_path / "plain") as search:
        search.learn(progress=False)
    # Random ones come next, the same as without initial solutions.
    np.testing.assert_array_equal(problem.evaluated[1], plain.evaluated[0])


@pytest.mark.parametrize(("stop", "generation"), [(1, 0), (35, 20)])
def test_a_run_with_initial_solutions_continues_with_the_same_only(
    stop: int, generation: int, tmp_path
) -> None:
    problem = {"arm": PROBLEM.arm, "archive": CELLS}
    with DDE(PROBLEM, config("none"), path=tmp_path / "whole", init=bent()) as whole:
        whole.learn(progress=False)
    killed = DDE(Watched(**problem, stop=stop), config("none"), path=tmp_path / "k", init=bent())
    with killed, pytest.raises(KeyboardInterrupt):
        killed.learn(progress=False)
    for other in (None, bent(4), -0.5 * bent(), bent()[:0]):
        with pytest.raises(RunError, match="another configuration: init: expected"):
            DDE(PROBLEM, config("none"), path=tmp_path / "k", init=other)
    with DDE(PROBLEM, config("none"), path=tmp_path / "k", init=bent()) as resumed:
        assert resumed.generation == generation
        resumed.learn(progress=False)
        for name, value in vars(whole.elites).items():
            assert np.array_equal(value, getattr(resumed.elites, name)), name
        assert resumed.evaluations == whole.evaluations


@pytest.mark.parametrize(
    ("init", "message"),
    [
        (np.zeros(8), r"init: expected shape \(N, 8\), got \(8,\)"),
        (np.zeros((2, 7)), r"init: expected shape \(N, 8\), got \(2, 7\)"),
        (np.full((1, 8), 1.01), r"init: expected numbers in \[-1, 1\]"),
        (np.full((1, 8), -np.inf), r"init: expected numbers in \[-1, 1\]"),
        (np.full((1, 8), np.nan), r"init: expected numbers in \[-1, 1\]"),
    ],
)
def test_initial_solutions_that_do_not_fit_are_refused(init, message: str, tmp_path) -> None:
    with pytest.raises(ValueError, match=message):
        DDE(PROBLEM, config("none"), path=tmp_path / "run", init=init)
    assert not (tmp_path / "run").exists()
    limits = np.array([[-1.0] * 8, [1.0] * 8])
    DDE(PROBLEM, config("none"), path=tmp_path / "run", init=limits).close()


def test_the_published_settings() -> None:
    arms = DDEConfig.as_published().bandit_arms
    assert len(arms) == 10
    assert {share for share, _ in arms} == {0.0, 0.25, 0.5, 0.75, 1.0}
    assert {(mutation.iso_sigma, mutation.line_sigma) for _, mutation in arms} == {
        (0.006, 0.2),
        (0.006, 0.0),
    }


def test_variance_is_the_other_objective() -> None:
    solutions = np.random.default_rng(0).uniform(-1, 1, (5, 8)).astype(np.float32)
    fitness, _ = ArmProblem(arm=Arm(num_joints=8), objective="variance").evaluate(solutions)
    angles = solutions.astype(np.float64) * np.pi / 2
    np.testing.assert_allclose(fitness, 100 * (1 - angles.var(1)), rtol=1e-5)


def test_colliding_arms_have_the_lowest_objectives() -> None:
    blocked = ArmProblem(arm=Arm(num_joints=8, obstacles=[(0.5, 0.0, 0.2)]))
    straight, bent = np.zeros((1, 8), np.float32), np.full((1, 8), 0.3, np.float32)
    bent[0, ::2] = 1.0
    (stopped,), _ = blocked.evaluate(straight)
    assert stopped < -np.pi / 2
    assert blocked.evaluate(bent)[0] > -np.pi / 2


def test_evaluations_may_be_lists(tmp_path) -> None:
    class Lists(ArmProblem):
        def evaluate(self, solutions):
            objective, measures = super().evaluate(solutions)
            return objective.tolist(), measures.tolist()

    ends = []
    for kind in (ArmProblem, Lists):
        problem = kind(arm=PROBLEM.arm, archive=PROBLEM.archive)
        with DDE(problem, config("none"), path=tmp_path / kind.__name__) as search:
            search.learn(progress=False)
            ends.append(search.elites.solutions)
    np.testing.assert_array_equal(*ends)


@pytest.mark.parametrize("wrong", ["objective", "measures"])
def test_evaluations_that_are_not_finite_stop_the_initialization(tmp_path, wrong: str) -> None:
    """Both of initial solutions and of random ones."""

    class Broken(ArmProblem):
        def evaluate(self, solutions):
            objective, measures = super().evaluate(solutions)
            (objective if wrong == "objective" else measures)[2] = np.nan
            return objective, measures

    problem = Broken(arm=PROBLEM.arm, archive=PROBLEM.archive)
    poses = np.zeros((4, PROBLEM.solution_dim), np.float32)
    for name, init in (("random", None), ("given", poses)):
        with (
            DDE(problem, config("none"), path=tmp_path / name, init=init) as search,
            pytest.raises(ValueError, match=f"{wrong}: expected finite .* row 2"),
        ):
            search.learn(progress=False)


def test_clear_errors(tmp_path) -> None:
    for wrong in (
        {"initial_coverage": 0.0},
        {"generations": 0},
        {"generations": 1.5},
        {"window": 0},
        {"crossovers": ()},
        {"crossovers": 0.5},
        {"crossovers": (0.5, 0.5)},
        {"crossovers": (1.5,)},
        {"crossovers": (float("nan"),)},
        {"reward": "luck"},
        {"exploration": -1.0},
        {"checkpoint_every": 30, "log_every": 20},
        {"encoding": None},
        {"mutations": ()},
    ):
        name = "crossovers" if "encoding" in wrong else next(iter(wrong))
        with pytest.raises(ValueError, match=name):
            DDEConfig(**wrong)
    with pytest.raises(TypeError, match="mutations: expected Mutation objects"):
        DDEConfig(mutations=({},))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"encoding: expected None or the config.* got 'vae'"):
        DDEConfig(encoding="vae")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"encoding: expected input_dim 9 \(the problem's"):
        DDE(ArmProblem(arm=Arm(num_joints=9)), config("vae"), path=tmp_path / "size")
    with pytest.raises(
        ValueError, match="objective: expected one of 'std', 'variance', got 'beauty'"
    ):
        ArmProblem(objective="beauty")  # type: ignore[arg-type]
    slow = config("none", initial_coverage=0.5, batch_size=1)
    with DDE(PROBLEM, slow, path=tmp_path / "slow") as search:
        with pytest.raises(RunError, match="in use"):
            DDE(PROBLEM, config("none"), path=tmp_path / "slow")
        with pytest.raises(ValueError, match="elites: expected at least one, got none yet"):
            search.save(tmp_path / "none")
    with pytest.raises(RunError, match="another configuration"):
        DDE(PROBLEM, config("none"), path=tmp_path / "slow", seed=1)


def test_a_fitness_that_is_not_finite_stops_it(tmp_path) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Broken(ArmProblem):
        def evaluate(self, solutions):
            fitness, measures = super().evaluate(solutions)
            if len(solutions) == 7:
                fitness[2] = np.nan
            return fitness, measures

    problem = Broken(arm=PROBLEM.arm, archive=CELLS)
    search = DDE(problem, config("none", batch_size=7), path=tmp_path)
    with search, pytest.raises(ValueError, match=r"finite"):
        search.learn(progress=False)
    assert search.elites is None


@pytest.mark.parametrize("kind", ["none", "vae"])
def test_a_finished_run_can_be_extended(kind: str, tmp_path) -> None:
    """Also if its end was between checkpoints, from which on it is then repeated."""
    with DDE(PROBLEM, config(kind), path=tmp_path / "whole", seed=4) as whole:
        whole.learn(progress=False)
    for generations in (7, 45, 60):
        own = config(kind, generations=generations)
        with DDE(PROBLEM, own, path=tmp_path / "parts", seed=4) as parts:
            parts.learn(progress=False)
    for name, value in vars(whole.elites).items():
        assert np.array_equal(value, getattr(parts.elites, name)), name
    assert whole.evaluations == parts.evaluations
    rows = [(tmp_path / name / "metrics.csv").read_text() for name in ("whole", "parts")]
    assert rows[0] == rows[1]
