"""Elites that drive: dreamed of, confirmed in the real game, and let drive."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy_game import STEERED

from wmrl.agents.controller import ControllerAgent, ControllerConfig
from wmrl.agents.policy_search.fitness import (
    DreamFitness,
    DreamFitnessConfig,
    RealFitness,
    RealFitnessConfig,
)
from wmrl.agents.quality_diversity.archive import ArchiveConfig, Elites, load_elites
from wmrl.agents.quality_diversity.dde import DDEConfig
from wmrl.agents.quality_diversity.emitters import Mutation
from wmrl.agents.quality_diversity.problems import ControllerProblem, ControllerProblemConfig
from wmrl.core.seeding import integer_seed
from wmrl.envs.latent.env import LatentEnv
from wmrl.envs.world_model import Eye
from wmrl.scripts.reproduce.drivers import experiment as experiment_module
from wmrl.scripts.reproduce.drivers.experiment import (
    SNAPSHOTS,
    DriverSearchConfig,
    EliteDrivers,
    drive,
    find_drivers,
)
from wmrl.storage.run import RunError

CELLS = ArchiveConfig(shape="grid", dims=(4, 4), low=(0.0, -0.5), high=(1.0, 0.5), worst=-10.0)
CONFIG = DriverSearchConfig(
    problem=ControllerProblemConfig(archive=CELLS),
    dream=DreamFitnessConfig(rollouts=2, decisions=5),
    search=DDEConfig(
        generations=8,
        batch_size=8,
        crossovers=(0.0,),
        encoding=None,
        mutations=(Mutation(iso=0.1),),
        log_every=1,
        checkpoint_every=2,
        snapshots=4,
    ),
    real=RealFitnessConfig(rollouts=2, num_envs=4),
    shrinkings=3,
    seed=5,
)


@pytest.fixture(scope="module")
def eye(make_tiny: Any) -> Eye:
    tiny = make_tiny(STEERED)
    return Eye.open(STEERED, tiny.vision, tiny.memory, device="cpu")


@pytest.fixture(scope="module")
def init(eye: Eye) -> ControllerAgent:
    config = ControllerConfig.for_spaces(eye.observation_space, eye.action_space)
    weights = np.random.default_rng(1).normal(0, 0.5, config.parameter_count)
    return ControllerAgent(config, weights)


def find(path: Path, eye: Eye, **options: Any) -> EliteDrivers:
    given = {"config": CONFIG, "workers": 0, "progress": False, **options}
    return find_drivers(path, eye=eye, **given)


@pytest.fixture(scope="module")
def found(
    eye: Eye, init: ControllerAgent, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, EliteDrivers]:
    path = tmp_path_factory.mktemp("drivers")
    return path, find(path, eye, init=init)


def assert_same(one: Elites, other: Elites) -> None:
    for name, value in vars(one).items():
        np.testing.assert_array_equal(value, getattr(other, name), err_msg=name)


def test_what_the_dream_says_of_them(found: tuple[Path, EliteDrivers]) -> None:
    path, drivers = found
    assert len(drivers.dreamed) >= 4
    assert (drivers.dreamed.cells == CELLS.make(1, seed=0).index_of(drivers.dreamed.measures)).all()
    kept, cells = load_elites(path / "dreamed")
    assert_same(kept, drivers.dreamed)
    assert cells == CELLS
    snapshots = np.load(path / SNAPSHOTS)
    assert snapshots.shape == (4, 16)
    np.testing.assert_allclose(snapshots[-1][kept.cells], kept.objectives, rtol=1e-5)


def test_real_elites_are_the_best_of_the_dreamed_in_each_cell(
    found: tuple[Path, EliteDrivers], eye: Eye
) -> None:
    """The oracle: all of them tried again, and a dictionary of the best."""
    path, drivers = found
    own = replace(CONFIG.problem, seed=integer_seed(CONFIG.seed, "confirm"))
    with RealFitness(eye, CONFIG.real, workers=0) as fitness:
        problem = ControllerProblem(fitness, own)
        scores, measures = problem.evaluate(drivers.dreamed.solutions)
    best: dict[int, int] = {}
    for row, cell in enumerate(CELLS.make(1, seed=0).index_of(measures).tolist()):
        if cell not in best or scores[row] > scores[best[cell]]:
            best[cell] = row
    rows = [best[cell] for cell in sorted(best)]
    assert 1 < len(rows) < len(drivers.dreamed)
    assert drivers.real.cells.tolist() == sorted(best)
    np.testing.assert_array_equal(drivers.real.solutions, drivers.dreamed.solutions[rows])
    np.testing.assert_allclose(drivers.real.objectives, scores[rows])
    np.testing.assert_allclose(drivers.real.measures, measures[rows])
    assert_same(load_elites(path / "real")[0], drivers.real)


def test_a_driver_is_what_its_row_says(found: tuple[Path, EliteDrivers]) -> None:
    _, drivers = found
    agent = drivers.agent(1, eye={"task": "t"})
    scaled = np.float32(CONFIG.problem.scale) * drivers.real.solutions[1]
    np.testing.assert_array_equal(agent.parameters, scaled)
    assert agent.eye == {"task": "t"}
    assert drivers.agent(0).eye == {}


def test_the_search_begins_with_weakened_copies_of_a_driver(
    eye: Eye, init: ControllerAgent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class StopError(Exception):
        pass

    def stop(fitness: DreamFitness, parameters: np.ndarray, seed: int) -> None:
        raise StopError(parameters)

    monkeypatch.setattr(DreamFitness, "rollouts", stop)
    with pytest.raises(StopError) as stopped:
        find(tmp_path, eye, init=init)
    (tried,) = stopped.value.args
    expected = np.outer([1 / 3, 2 / 3, 1.0], init.parameters)
    assert np.abs(expected).max() < CONFIG.problem.scale  # none is clipped
    np.testing.assert_allclose(tried, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("kind", "call"), [(DreamFitness, 1), (DreamFitness, 7), (RealFitness, 0)])
def test_a_killed_search_goes_on_to_the_same_elites(
    kind: type[DreamFitness | RealFitness],
    call: int,
    found: tuple[Path, EliteDrivers],
    eye: Eye,
    init: ControllerAgent,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls, plain = 0, kind.rollouts

    def killing(fitness: Any, parameters: np.ndarray, seed: int) -> Any:
        nonlocal calls
        calls += 1
        if calls > call:
            raise KeyboardInterrupt
        return plain(fitness, parameters, seed)

    monkeypatch.setattr(kind, "rollouts", killing)
    with pytest.raises(KeyboardInterrupt):
        find(tmp_path, eye, init=init)
    monkeypatch.setattr(kind, "rollouts", plain)
    resumed, (_, whole) = find(tmp_path, eye, init=init), found
    assert_same(resumed.dreamed, whole.dreamed)
    assert_same(resumed.real, whole.real)


def test_what_is_found_is_not_searched_for_again(
    found: tuple[Path, EliteDrivers],
    eye: Eye,
    init: ControllerAgent,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path, drivers = found
    for kind in (DreamFitness, RealFitness):
        monkeypatch.setattr(kind, "rollouts", None)  # would fail if it were called
    again = find(path, eye, init=init)
    assert_same(again.dreamed, drivers.dreamed)
    assert_same(again.real, drivers.real)


@pytest.mark.parametrize(
    "changes",
    [
        {"config": replace(CONFIG, seed=6)},
        {"config": replace(CONFIG, problem=replace(CONFIG.problem, scale=2.0))},
        {"config": replace(CONFIG, dream=replace(CONFIG.dream, rollouts=3))},
        {"config": replace(CONFIG, shrinkings=4)},
        {"init": None},
    ],
    ids=["seed", "problem", "dream", "shrinkings", "init"],
)
def test_a_folder_of_another_search_is_refused(
    changes: dict[str, Any], found: tuple[Path, EliteDrivers], eye: Eye, init: ControllerAgent
) -> None:
    path, drivers = found
    with pytest.raises(RunError, match="holds a run with another configuration"):
        find(path, eye, **{"init": init, **changes})
    assert_same(load_elites(path / "dreamed")[0], drivers.dreamed)


def test_other_trials_in_the_real_game_confirm_anew(
    found: tuple[Path, EliteDrivers], eye: Eye, init: ControllerAgent
) -> None:
    path, drivers = found
    other = replace(CONFIG, real=replace(CONFIG.real, rollouts=3))
    changed = find(path, eye, init=init, config=other)
    assert_same(changed.dreamed, drivers.dreamed)
    assert json.loads((path / "real.json").read_text())["fitness"]["config"]["rollouts"] == 3
    assert set(changed.real.objectives.tolist()) != set(drivers.real.objectives.tolist())
    assert_same(find(path, eye, init=init).real, drivers.real)


def test_what_was_half_confirmed_is_not_taken_for_another(
    found: tuple[Path, EliteDrivers],
    eye: Eye,
    init: ControllerAgent,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Elites of other trials are there, but what says so was not written any more."""
    path, drivers = found
    plain = experiment_module.write_report

    def kill(*args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(experiment_module, "write_report", kill)
    with pytest.raises(KeyboardInterrupt):
        find(path, eye, init=init, config=replace(CONFIG, real=replace(CONFIG.real, rollouts=3)))
    monkeypatch.setattr(experiment_module, "write_report", plain)
    assert_same(find(path, eye, init=init).real, drivers.real)


def test_elites_that_are_good_enough_drive_as_they_do(
    found: tuple[Path, EliteDrivers], eye: Eye, tmp_path: Path
) -> None:
    """The oracle: each in the single environment, without noise."""
    _, drivers = found
    least = float(np.sort(drivers.real.objectives)[-2])
    options: dict[str, Any] = {"episodes": 2, "least": least, "workers": 0, "progress": False}
    stores = drive(drivers, tmp_path, **options)
    rows = [row for row, score in enumerate(drivers.real.objectives) if score >= least]
    assert len(rows) == 2
    names = [f"cell-{drivers.real.cells[row]}" for row in rows]
    assert [store.path.name for store in stores] == names
    assert {path.name for path in tmp_path.iterdir()} == set(names)
    seeds = set()
    for row, store in zip(rows, stores, strict=True):
        agent = drivers.agent(row)
        assert len(store) == 2
        for index in store.indices:
            episode = store.episode(index)
            seeds.add(episode.info["seed"])
            env = LatentEnv(task=eye.task, vision=eye.vision, memory=eye.memory)
            observation, _ = env.reset(seed=episode.info["seed"])
            for action, reward in zip(episode.actions, episode.rewards, strict=True):
                own = agent.predict(observation)[0]
                np.testing.assert_allclose(action, own, atol=1e-4)
                observation, earned, *_ = env.step(action)
                assert reward == pytest.approx(earned, abs=1e-4)
            env.close()
    assert len(seeds) == 4
    hashes = [store.content_hash() for store in stores]
    again = drive(drivers, tmp_path, **options)
    assert [store.content_hash() for store in again] == hashes
    anew = drive(drivers, tmp_path / "anew", **options, seed=1)
    assert not set(hashes) & {store.content_hash() for store in anew}


def test_what_was_driven_is_not_driven_again(
    found: tuple[Path, EliteDrivers], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, drivers = found
    options: dict[str, Any] = {"episodes": 1, "workers": 0, "progress": False}
    assert len(drive(drivers, tmp_path, **options)) == len(drivers.real)
    monkeypatch.setattr("wmrl.agents.rollouts.collection.FrameVectorEnv", None)
    assert len(drive(drivers, tmp_path, **options)) == len(drivers.real)


def test_errors(
    found: tuple[Path, EliteDrivers], eye: Eye, init: ControllerAgent, tmp_path: Path
) -> None:
    _, drivers = found
    best = f"{drivers.real.objectives.max():.1f}"
    with pytest.raises(ValueError, match=rf"least: expected at most {best}, .*got 1000\.0"):
        drive(drivers, tmp_path, episodes=1, least=1000.0)
    small = ControllerAgent(ControllerConfig(observation_size=3, action_size=2), np.zeros(8))
    with pytest.raises(ValueError, match="init: expected a controller of ControllerConfig"):
        find(tmp_path / "init", eye, init=small)
    blind = Eye.open(STEERED, eye.vision, None)
    with pytest.raises(ValueError, match="eye: expected one with a memory"):
        find(tmp_path / "blind", blind)
    with pytest.raises(ValueError, match="shrinkings: expected at least 1, got 0"):
        DriverSearchConfig(shrinkings=0)
    assert list(tmp_path.iterdir()) == []
