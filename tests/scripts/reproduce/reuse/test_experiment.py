import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from wmrl.agents.quality_diversity.archive import Elites
from wmrl.encodings.vector_vae import VectorVAE, VectorVAEConfig
from wmrl.encodings.vector_vqvae import VectorVQVAE, VectorVQVAEConfig
from wmrl.envs.planar_arm.arm import Arm
from wmrl.scripts.reproduce.reuse.experiment import (
    METHODS,
    POSES,
    nearest_elites,
    oracle_stds_of_targets,
    problems,
    search_targets,
    summary,
    targets_for,
)


@pytest.fixture(scope="module")
def encodings():
    """Untrained encodings for arms of six joints."""
    generator = torch.Generator().manual_seed(0)
    vae = VectorVAE(VectorVAEConfig(input_dim=6, latent_dim=3), generator=generator)
    config = VectorVQVAEConfig(
        input_dim=6, num_tokens=3, codebook_size=5, code_dim=2, hidden_dims=(8,)
    )
    vqvae = VectorVQVAE(config, generator=generator)
    vqvae.quantizer.init_codebook(torch.randn(60, 2, generator=generator), generator=generator)
    return {"angles": None, "vae": vae.eval(), "vqvae": vqvae.eval()}


@pytest.mark.parametrize("name", METHODS)
def test_each_search_is_correct_and_reused(name, encodings, tmp_path) -> None:
    method, arm = METHODS[name], problems(6)["obstacles"]
    targets = targets_for(arm, 5)
    starts = np.random.default_rng(1).uniform(-0.3, 0.3, (5, 6))

    def search(seed):
        return search_targets(
            method,
            arm,
            targets,
            tmp_path,
            encoding=encodings[method.space],
            starts=starts if name == "elite" else None,
            evaluations=203,
            seed=seed,
        )

    rows = search(0)
    assert [row["target"] for row in rows] == targets.tolist()
    assert {row["evaluations"] for row in rows} == {203}
    found = arm.evaluate(np.load(tmp_path / POSES))
    gaps = np.linalg.norm(found.end_points - targets, axis=1)
    np.testing.assert_allclose([row["distance"] for row in rows], gaps, atol=1e-5)
    np.testing.assert_allclose([row["std"] for row in rows], -found.fitness, atol=1e-5)
    assert [row["collides"] for row in rows] == (~found.feasible).tolist()
    assert search(0) == rows
    with pytest.raises(ValueError, match="which has other settings"):
        search(1)


def test_searches_start_from_given_poses(tmp_path) -> None:
    """If an elite is at the target, the first few poses are all near the target."""
    arm = problems(6)["plain"]
    solutions = np.random.default_rng(1).uniform(-0.5, 0.5, (40, 6)).astype(np.float32)
    found = arm.evaluate(solutions)
    elites = Elites(solutions, found.fitness, found.descriptors, np.arange(40))
    targets = found.end_points[[7, 3]] + 0.001
    starts = nearest_elites(elites, arm, targets)
    np.testing.assert_array_equal(starts, solutions[[7, 3]])
    rows = search_targets(
        METHODS["elite"], arm, targets, tmp_path, encoding=None, starts=starts, evaluations=10
    )
    assert all(row["distance"] < 0.03 for row in rows)
    with pytest.raises(ValueError, match=r"starts: expected poses for the method .*, got None"):
        search_targets(METHODS["elite"], arm, targets, tmp_path, encoding=None)
    with pytest.raises(ValueError, match="which has other settings"):
        search_targets(
            METHODS["elite"],
            arm,
            targets,
            tmp_path,
            encoding=None,
            starts=starts[::-1],
            evaluations=10,
        )


def test_the_same_seed_is_the_same_and_another_differs(encodings, tmp_path) -> None:
    method, arm = METHODS["vae"], problems(6)["plain"]
    found = []
    for number, seed in enumerate((3, 3, 4)):
        path = tmp_path / str(number)
        search_targets(
            method,
            arm,
            targets_for(arm, 3),
            path,
            encoding=encodings["vae"],
            evaluations=100,
            seed=seed,
        )
        found.append(np.load(path / POSES))
    np.testing.assert_array_equal(found[0], found[1])
    assert (found[0] != found[2]).any()


def test_problems_are_as_documented() -> None:
    arms = problems(200)
    assert all(arm.reach == pytest.approx(1.0) for arm in arms.values())
    assert arms["plain"] == Arm(num_joints=200)
    assert arms["locked"].locks == ((100, 0.5),)
    lengths = arms["lengths"].link_lengths
    assert lengths[0] == pytest.approx(3 * lengths[-1])
    assert [math.hypot(x, y) for x, y, _ in arms["obstacles"].obstacles] == pytest.approx(
        [0.45] * 3
    )
    for name, arm in arms.items():
        targets = targets_for(arm)
        assert arm.within_reach(targets).all()
        assert len(targets) == 18 if name != "obstacles" else 12 <= len(targets) < 18
    radii = np.linalg.norm(targets_for(arms["plain"]), axis=1)
    assert radii.min() < 0.3 < 0.75 < radii.max() < 1


def test_the_oracle_is_a_lower_bound() -> None:
    arm = problems(8)["obstacles"]
    targets = np.array([[0.3, 0.5], [-0.2, -0.6]])
    stds = oracle_stds_of_targets(arm, targets)
    assert np.isfinite(stds).all()
    free = Arm(num_joints=8)
    poses = np.random.default_rng(0).uniform(-0.6, 0.6, (200_000, 8))
    found = free.evaluate(poses)
    for target, std in zip(targets, stds, strict=True):
        near = np.linalg.norm(found.end_points - target, axis=1) < 0.02
        assert near.any()
        assert -found.fitness[near].max() > std - 0.02


def test_the_summary_counts_what_was_not_reached() -> None:
    near = {"std": 0.2, "distance": 0.001, "std_at_target": 0.1, "evaluations_to_target": 40}
    late = {"std": 0.4, "distance": 0.003, "std_at_target": 0.3, "evaluations_to_target": 60}
    missed = {"std": 0.6, "distance": 0.5, "std_at_target": None, "evaluations_to_target": None}
    assert summary([near, late]) == pytest.approx(
        {
            "std": 0.3,
            "distance": 0.002,
            "reached": 1,
            "evaluations_to_target": 50,
            "std_at_target": 0.2,
        }
    )
    found = summary([missed, late, near])
    assert found["reached"] == pytest.approx(2 / 3)
    assert (found["std_at_target"], found["evaluations_to_target"]) == (0.3, 60)
    for rows in ([near, missed], [missed, missed, near]):
        assert summary(rows)["std_at_target"] is None


def test_a_method_needs_its_encoding(encodings, tmp_path) -> None:
    arm = problems(6)["plain"]
    for name, encoding in (("direct", encodings["vae"]), ("vae", None)):
        with pytest.raises(ValueError, match=r"encoding: expected .* for the method"):
            search_targets(METHODS[name], arm, targets_for(arm), tmp_path, encoding=encoding)
    assert replace(METHODS["vae"], data="random") != METHODS["vae"]
