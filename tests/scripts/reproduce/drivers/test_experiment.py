"""Elite drivers: the search in the dream, and the evaluation in the real game."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box
from toy_game import STEERED

from wmrl.agents.controller import ControllerAgent, ControllerConfig
from wmrl.agents.policy_search.fitness import (
    DreamFitness,
    DreamFitnessConfig,
    RealFitness,
    RealFitnessConfig,
)
from wmrl.agents.quality_diversity.archive import ArchiveConfig, Elites, load_elites
from wmrl.agents.quality_diversity.dde_config import DDEConfig
from wmrl.agents.quality_diversity.emitters import Mutation
from wmrl.agents.quality_diversity.problems import ControllerProblem, ControllerProblemConfig
from wmrl.agents.world_model_ref import WorldModelRef
from wmrl.core.seeding import integer_seed
from wmrl.envs.latent.env import LatentEnv
from wmrl.envs.world_model import WorldModel
from wmrl.scripts.reproduce.drivers import experiment as experiment_module
from wmrl.scripts.reproduce.drivers.experiment import (
    SNAPSHOTS,
    DriverSearchConfig,
    EliteDrivers,
    evaluate_elites,
    find_drivers,
)
from wmrl.storage.reading import read_json
from wmrl.storage.run import RunError

CELLS = ArchiveConfig(
    shape="grid", dims=(4, 4), low=(0.0, -0.5), high=(1.0, 0.5), qd_score_offset=-10.0
)
CONFIG = DriverSearchConfig(
    problem=ControllerProblemConfig(archive=CELLS),
    dream=DreamFitnessConfig(num_rollouts=2, agent_steps=5),
    search=DDEConfig(
        generations=8,
        batch_size=8,
        crossovers=(0.0,),
        encoding=None,
        mutations=(Mutation(iso_sigma=0.1),),
        log_every=1,
        checkpoint_every=2,
        snapshots=4,
    ),
    real=RealFitnessConfig(num_rollouts=2, num_envs=4),
    shrinkings=3,
    seed=5,
)


@pytest.fixture(scope="module")
def world_model(make_tiny: Any) -> WorldModel:
    tiny = make_tiny(STEERED)
    return WorldModel.open(STEERED, tiny.vision, tiny.memory, device="cpu")


@pytest.fixture(scope="module")
def init(world_model: WorldModel) -> ControllerAgent:
    config = ControllerConfig.for_spaces(world_model.observation_space, world_model.action_space)
    weights = np.random.default_rng(1).normal(0, 0.5, config.parameter_count)
    return ControllerAgent(config, weights)


def find(path: Path, world_model: WorldModel, **options: Any) -> EliteDrivers:
    given = {"config": CONFIG, "workers": 0, "progress": False, **options}
    return find_drivers(path, world_model=world_model, **given)


@pytest.fixture(scope="module")
def found(
    world_model: WorldModel, init: ControllerAgent, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, EliteDrivers]:
    path = tmp_path_factory.mktemp("drivers")
    return path, find(path, world_model, init=init)


def assert_same(one: Elites, other: Elites) -> None:
    for name, value in vars(one).items():
        np.testing.assert_array_equal(value, getattr(other, name), err_msg=name)


def test_elites_of_the_dream(found: tuple[Path, EliteDrivers]) -> None:
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
    found: tuple[Path, EliteDrivers], world_model: WorldModel
) -> None:
    """The oracle: all of them evaluated again, and a dictionary of the best."""
    path, drivers = found
    own = replace(CONFIG.problem, seed=integer_seed(CONFIG.seed, "confirm"))
    with RealFitness(world_model, CONFIG.real, workers=0) as fitness:
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


def test_a_driver_has_the_parameters_of_its_row(
    found: tuple[Path, EliteDrivers], ref: WorldModelRef
) -> None:
    _, drivers = found
    agent = drivers.agent(1, world_model=ref)
    scaled = np.float32(CONFIG.problem.scale) * drivers.real.solutions[1]
    np.testing.assert_array_equal(agent.parameters, scaled)
    assert agent.world_model == ref
    assert drivers.agent(0).world_model is None


def test_the_search_begins_with_weakened_copies_of_a_driver(
    world_model: WorldModel, init: ControllerAgent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class StopError(Exception):
        pass

    def stop(fitness: DreamFitness, parameters: np.ndarray, seed: int) -> None:
        raise StopError(parameters)

    monkeypatch.setattr(DreamFitness, "rollouts", stop)
    with pytest.raises(StopError) as stopped:
        find(tmp_path, world_model, init=init)
    (tried,) = stopped.value.args
    expected = np.outer([1 / 3, 2 / 3, 1.0], init.parameters)
    assert np.abs(expected).max() < CONFIG.problem.scale  # none is clipped
    np.testing.assert_allclose(tried, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("kind", "call"), [(DreamFitness, 1), (DreamFitness, 7), (RealFitness, 0)])
def test_a_killed_search_goes_on_to_the_same_elites(
    kind: type[DreamFitness | RealFitness],
    call: int,
    found: tuple[Path, EliteDrivers],
    world_model: WorldModel,
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
        find(tmp_path, world_model, init=init)
    monkeypatch.setattr(kind, "rollouts", plain)
    resumed, (_, whole) = find(tmp_path, world_model, init=init), found
    assert_same(resumed.dreamed, whole.dreamed)
    assert_same(resumed.real, whole.real)


def test_finished_searches_are_read(
    found: tuple[Path, EliteDrivers],
    world_model: WorldModel,
    init: ControllerAgent,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path, drivers = found
    for kind in (DreamFitness, RealFitness):
        monkeypatch.setattr(kind, "rollouts", None)  # would fail if it were called
    again = find(path, world_model, init=init)
    assert_same(again.dreamed, drivers.dreamed)
    assert_same(again.real, drivers.real)


@pytest.mark.parametrize(
    "changes",
    [
        {"config": replace(CONFIG, seed=6)},
        {"config": replace(CONFIG, problem=replace(CONFIG.problem, scale=2.0))},
        {"config": replace(CONFIG, dream=replace(CONFIG.dream, num_rollouts=3))},
        {"config": replace(CONFIG, shrinkings=4)},
        {"init": None},
    ],
    ids=["seed", "problem", "dream", "shrinkings", "init"],
)
def test_a_folder_of_another_search_is_refused(
    changes: dict[str, Any],
    found: tuple[Path, EliteDrivers],
    world_model: WorldModel,
    init: ControllerAgent,
) -> None:
    path, drivers = found
    with pytest.raises(RunError, match="holds a run with another configuration"):
        find(path, world_model, **{"init": init, **changes})
    assert_same(load_elites(path / "dreamed")[0], drivers.dreamed)


def test_other_real_rollouts_evaluate_again(
    found: tuple[Path, EliteDrivers], world_model: WorldModel, init: ControllerAgent
) -> None:
    path, drivers = found
    other = replace(CONFIG, real=replace(CONFIG.real, num_rollouts=3))
    changed = find(path, world_model, init=init, config=other)
    assert_same(changed.dreamed, drivers.dreamed)
    assert read_json(path / "real.json")["fitness"]["config"]["num_rollouts"] == 3
    assert set(changed.real.objectives.tolist()) != set(drivers.real.objectives.tolist())
    assert_same(find(path, world_model, init=init).real, drivers.real)


def test_an_interrupted_evaluation_is_not_mistaken_for_another(
    found: tuple[Path, EliteDrivers],
    world_model: WorldModel,
    init: ControllerAgent,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Elites of other rollouts were written, but not their description."""
    path, drivers = found
    plain = experiment_module.write_json

    def kill(*args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(experiment_module, "write_json", kill)
    with pytest.raises(KeyboardInterrupt):
        find(
            path,
            world_model,
            init=init,
            config=replace(CONFIG, real=replace(CONFIG.real, num_rollouts=3)),
        )
    monkeypatch.setattr(experiment_module, "write_json", plain)
    assert_same(find(path, world_model, init=init).real, drivers.real)


def test_episodes_of_elites_are_those_of_their_agents(
    found: tuple[Path, EliteDrivers], world_model: WorldModel, tmp_path: Path
) -> None:
    """The oracle: each in the single environment, without noise."""
    _, drivers = found
    min_return = float(np.sort(drivers.real.objectives)[-2])
    options: dict[str, Any] = {
        "episodes": 2,
        "min_return": min_return,
        "workers": 0,
        "progress": False,
    }
    stores = evaluate_elites(drivers, tmp_path, **options)
    rows = [row for row, score in enumerate(drivers.real.objectives) if score >= min_return]
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
            env = LatentEnv(
                task=world_model.task, vision=world_model.vision, memory=world_model.memory
            )
            observation, _ = env.reset(seed=episode.info["seed"])
            for action, reward in zip(episode.actions, episode.rewards, strict=True):
                own = agent.predict(observation)[0]
                np.testing.assert_allclose(action, own, atol=1e-4)
                observation, earned, *_ = env.step(action)
                assert reward == pytest.approx(earned, abs=1e-4)
            env.close()
    assert len(seeds) == 4
    hashes = [store.content_hash() for store in stores]
    again = evaluate_elites(drivers, tmp_path, **options)
    assert [store.content_hash() for store in again] == hashes
    anew = evaluate_elites(drivers, tmp_path / "anew", **options, seed=1)
    assert not set(hashes) & {store.content_hash() for store in anew}


def test_complete_stores_are_read(
    found: tuple[Path, EliteDrivers], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, drivers = found
    options: dict[str, Any] = {"episodes": 1, "workers": 0, "progress": False}
    assert len(evaluate_elites(drivers, tmp_path, **options)) == len(drivers.real)
    monkeypatch.setattr("wmrl.agents.rollouts.collection.FrameVectorEnv", None)
    assert len(evaluate_elites(drivers, tmp_path, **options)) == len(drivers.real)


def test_errors(
    found: tuple[Path, EliteDrivers], world_model: WorldModel, init: ControllerAgent, tmp_path: Path
) -> None:
    _, drivers = found
    best = f"{drivers.real.objectives.max():.1f}"
    with pytest.raises(ValueError, match=rf"min_return: expected at most {best} .*got 1000\.0"):
        evaluate_elites(drivers, tmp_path, episodes=1, min_return=1000.0)
    small = ControllerAgent(
        ControllerConfig(observation_dim=3, action_space=Box(-1, 1, (2,))), np.zeros(8)
    )
    with pytest.raises(ValueError, match="init: expected a controller with ControllerConfig"):
        find(tmp_path / "init", world_model, init=small)
    blind = WorldModel.open(STEERED, world_model.vision, None)
    with pytest.raises(ValueError, match="world_model: expected a world model with a memory"):
        find(tmp_path / "blind", blind)
    with pytest.raises(ValueError, match="shrinkings: expected at least 1, got 0"):
        DriverSearchConfig(shrinkings=0)
    assert list(tmp_path.iterdir()) == []
