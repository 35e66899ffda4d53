"""The reconstruction emitter."""

import numpy as np
import pytest
import torch
from ribs.archives import GridArchive
from ribs.schedulers import Scheduler

from wmrl.agents.quality_diversity.archive import ArchiveConfig
from wmrl.agents.quality_diversity.bandit import BanditScheduler
from wmrl.agents.quality_diversity.emitters import Mutation, ReconstructionEmitter
from wmrl.encodings.vector_vae import VectorVAE, VectorVAEConfig

ENCODING = VectorVAE(VectorVAEConfig(input_dim=4, latent_dim=2)).eval()


def archive_of(solutions: np.ndarray, seed: int = 0):
    archive = ArchiveConfig(cells=200).make(4, seed=seed)
    measures = np.random.default_rng(0).uniform(0.2, 0.8, (len(solutions), 2))
    archive.add(solutions, np.zeros(len(solutions)), measures)
    return archive


ELITES = np.random.default_rng(1).uniform(-0.5, 0.5, (40, 4)).astype(np.float32)


def test_reconstructions_are_halfway() -> None:
    solutions = ReconstructionEmitter(archive_of(ELITES), ENCODING, crossover=1.0, seed=0).ask()
    assert solutions.shape == (100, 4)
    with torch.no_grad():
        halfway = 0.5 * (ELITES + ENCODING.reconstruct(torch.from_numpy(ELITES)).numpy())
    gaps = np.abs(solutions[:, None] - halfway[None]).max(2).min(1)
    assert gaps.max() < 1e-6


def test_default_archives_of_ribs_can_be_used() -> None:
    """In float64, the default of ribs, under its scheduler and under the bandit's."""
    for make in (Scheduler, BanditScheduler):
        archive = GridArchive(solution_dim=4, dims=(8, 8), ranges=[(-1, 1)] * 2, qd_score_offset=-9)
        archive.add(ELITES, -np.square(ELITES).sum(1), ELITES[:, :2])
        emitters = [
            ReconstructionEmitter(archive, ENCODING, crossover=share, seed=0)
            for share in (0.5, 1.0)
        ]
        scheduler, filled = make(archive, emitters), archive.stats.num_elites
        for _ in range(5):
            solutions = scheduler.ask()
            assert solutions.dtype == np.float64
            scheduler.tell(-np.square(solutions).sum(1), solutions[:, :2])
        assert archive.stats.num_elites > filled


def test_line_mutation_stays_on_lines_between_elites() -> None:
    emitter = ReconstructionEmitter(
        archive_of(0.2 * ELITES[:2]),
        None,
        crossover=0.0,
        mutation=Mutation(iso_sigma=0.0, line_sigma=0.3),
        seed=0,
    )
    solutions = np.concatenate([emitter.ask() for _ in range(20)])
    start, along = 0.2 * ELITES[0], 0.2 * (ELITES[1] - ELITES[0])
    share = (solutions - start) @ along / (along @ along)
    on_line = start + share[:, None] * along
    np.testing.assert_allclose(solutions, on_line, atol=1e-6)
    # From either end, and half of the pairs are twice the same elite.
    steps = np.minimum(np.abs(share), np.abs(1 - share))
    moved = steps[steps > 1e-6]
    assert len(moved) / len(share) == pytest.approx(0.5, abs=0.05)
    assert moved.std() < 0.3


def test_isotropic_mutation_has_its_spread() -> None:
    emitter = ReconstructionEmitter(
        archive_of(ELITES[:1]),
        None,
        crossover=0.0,
        mutation=Mutation(iso_sigma=0.02, line_sigma=0.0),
        seed=0,
    )
    steps = np.concatenate([emitter.ask() for _ in range(20)]) - ELITES[0]
    assert steps.std() == pytest.approx(0.02, rel=0.05)
    assert abs(steps.mean()) < 0.001


@pytest.mark.parametrize(("crossover", "count"), [(0.0, 0), (0.25, 5), (0.5, 10), (1.0, 20)])
def test_the_share_of_reconstructions(crossover: float, count: int) -> None:
    emitter = ReconstructionEmitter(
        archive_of(ELITES),
        ENCODING,
        crossover=crossover,
        mutation=Mutation(iso_sigma=0.0, line_sigma=0.0),
        batch_size=20,
        seed=0,
    )
    solutions = emitter.ask()
    copies = (np.abs(solutions[:, None] - ELITES[None]).max(2).min(1) < 1e-7).sum()
    assert copies == 20 - count


def test_sparse_noise_reaches_a_share_of_the_numbers() -> None:
    mutation = Mutation(iso_sigma=0.05, line_sigma=0.0, density=0.4)
    emitter = ReconstructionEmitter(
        archive_of(ELITES[:1]), None, crossover=0.0, mutation=mutation, seed=0
    )
    steps = np.concatenate([emitter.ask() for _ in range(20)]) - ELITES[0]
    reached = np.abs(steps) > 0
    assert reached.mean() == pytest.approx(0.4, abs=0.03)
    assert steps[reached].std() == pytest.approx(0.05, rel=0.05)
    assert 0 < reached.any(1).mean() < 1


def test_parents_at_the_frontier_are_next_to_empty_cells() -> None:
    """A row of ten cells, of which the first seven are filled."""
    row = ArchiveConfig(shape="grid", dims=(10, 1))
    archive = row.make(1, seed=0)
    places = (np.arange(7) + 0.5) / 10
    archive.add(places[:, None], np.zeros(7), np.stack((places, np.full(7, 0.5)), 1))
    emitter = ReconstructionEmitter(
        archive,
        None,
        crossover=0.0,
        mutation=Mutation(iso_sigma=0.0, line_sigma=0.0, frontier=True),
        neighbors=row.neighbors(),
        seed=0,
    )
    np.testing.assert_allclose(emitter.ask(), 0.65)
    rest = np.array([0.75, 0.85, 0.95])
    archive.add(rest[:, None], np.zeros(3), np.stack((rest, np.full(3, 0.5)), 1))
    assert (
        len(np.unique(emitter.ask().round(3))) == 10
    )  # no cell is empty: any elite may be a parent


def test_solutions_are_in_bounds_and_the_same_for_a_seed() -> None:
    edges = np.sign(ELITES).astype(np.float32)
    batches = [
        ReconstructionEmitter(
            archive_of(edges, seed=5),
            ENCODING,
            crossover=0.5,
            mutation=Mutation(iso_sigma=0.5),
            seed=5,
        ).ask()
        for _ in range(2)
    ]
    assert np.array_equal(*batches)
    assert np.abs(batches[0]).max() == 1.0


def test_clear_errors() -> None:
    archive = archive_of(ELITES)
    for wrong, message in (
        ({"crossover": 1.5}, "crossover: expected at most 1, got 1.5"),
        ({"crossover": 0.5, "encoding": None}, "encoding: expected an Encoding if crossover"),
        ({"crossover": 0.0, "mutation": Mutation(frontier=True)}, "neighbors: expected"),
        ({"crossover": 0.0, "batch_size": 0}, "batch_size"),
        (
            {"crossover": 0.0, "encoding": VectorVAE(VectorVAEConfig(input_dim=5))},
            "encoding: expected input_dim 4 .the archive's solution_dim., got 5",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            ReconstructionEmitter(archive, **{"encoding": ENCODING, **wrong})
    for wrong in (
        {"iso_sigma": -1.0},
        {"line_sigma": float("nan")},
        {"density": 0.0},
        {"density": 1.5},
    ):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Mutation(**wrong)
    empty = ArchiveConfig(cells=10).make(4, seed=0)
    with pytest.raises(ValueError, match="archive: expected at least one elite, got none"):
        ReconstructionEmitter(empty, ENCODING, crossover=0.5).ask()
