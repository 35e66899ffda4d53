"""Controllers as a problem."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from toy_game import STEERED, TOY

from wmrl.agents.controller import ControllerAgent
from wmrl.agents.policy_search.fitness import (
    DreamFitness,
    DreamFitnessConfig,
    RealFitness,
    RealFitnessConfig,
    Rollouts,
)
from wmrl.agents.quality_diversity.archive import ArchiveConfig
from wmrl.agents.quality_diversity.problems import ControllerProblem, ControllerProblemConfig
from wmrl.agents.seeds import training_seed
from wmrl.envs.latent.env import LatentEnv
from wmrl.envs.world_model import WorldModel

TRIALS = RealFitnessConfig(num_rollouts=2, agent_steps=7, num_envs=3)


@pytest.fixture(scope="module")
def world_model(make_tiny: Any) -> WorldModel:
    tiny = make_tiny(STEERED)
    return WorldModel.open(STEERED, tiny.vision, tiny.memory, device="cpu")


@pytest.fixture(scope="module")
def dream(world_model: WorldModel) -> DreamFitness:
    return DreamFitness(world_model, DreamFitnessConfig(num_rollouts=3, agent_steps=6))


def random_solutions(problem: ControllerProblem, count: int = 3, *, seed: int = 0) -> np.ndarray:
    drawn = np.random.default_rng(seed).uniform(-1.0, 1.0, (count, problem.solution_dim))
    return drawn.astype(np.float32)


def played(world_model: WorldModel, agent: ControllerAgent, seed: int) -> tuple[float, np.ndarray]:
    """The oracle: score and actions ``(T, A)`` of one episode, alone in the single environment."""
    env = LatentEnv(task=world_model.task, vision=world_model.vision, memory=world_model.memory)
    observation, _ = env.reset(seed=seed)
    score, actions, over = 0.0, [], False
    while not over and len(actions) < TRIALS.agent_steps:
        actions.append(agent.predict(observation)[0])
        observation, reward, terminated, truncated, _ = env.step(actions[-1])
        score, over = score + float(reward), terminated or truncated
    env.close()
    return score, np.array(actions, np.float64)


@pytest.mark.parametrize(
    "measures", [("|steer|", "pedal"), ("pedal", "steer"), ("steer", "|pedal|")]
)
def test_measures_are_means_of_actions(world_model: WorldModel, measures: tuple[str, str]) -> None:
    config = ControllerProblemConfig(measures=measures, scale=0.7, seed=5)
    with RealFitness(world_model, TRIALS, workers=0) as fitness:
        problem = ControllerProblem(fitness, config)
        given = random_solutions(problem)
        scores, measured = problem.evaluate(given)
    assert (scores.shape, measured.shape) == ((3,), (3, 2))
    assert scores.dtype == measured.dtype == np.float64
    for row, solution in enumerate(given):
        agent = ControllerAgent(fitness.controller, np.float32(0.7) * solution)
        runs = [played(world_model, agent, training_seed(5, "real", number)) for number in range(2)]
        assert scores[row] == pytest.approx(np.mean([score for score, _ in runs]), abs=1e-6)
        means = {
            "steer": np.mean([actions[:, 0].mean() for _, actions in runs]),
            "pedal": np.mean([actions[:, 1].mean() for _, actions in runs]),
            "|steer|": np.mean([np.abs(actions[:, 0]).mean() for _, actions in runs]),
            "|pedal|": np.mean([np.abs(actions[:, 1]).mean() for _, actions in runs]),
        }
        np.testing.assert_allclose(measured[row], [means[name] for name in measures], atol=1e-5)


def test_magnitudes_are_means_of_absolute_values(dream: DreamFitness) -> None:
    """Turning left as often as right has a mean of zero, but a large mean magnitude."""

    class Scripted(DreamFitness):
        def rollouts(self, parameters: np.ndarray, seed: int) -> Rollouts:
            assert (len(parameters), seed) == (1, 9)
            return Rollouts(
                np.array([[1.0, 5.0]]),
                np.array([[[0.0, 0.25], [0.5, -0.75]]]),
                np.array([[[0.75, 0.5], [0.5, 1.0]]]),
            )

    fitness = Scripted(dream.world_model, dream.config)
    for measures, expected in (
        (("|steer|", "pedal"), (0.625, -0.25)),
        (("|pedal|", "steer"), (0.75, 0.25)),
    ):
        problem = ControllerProblem(fitness, ControllerProblemConfig(measures=measures, seed=9))
        scores, measured = problem.evaluate(random_solutions(problem, 1))
        assert (scores.tolist(), measured.tolist()) == ([3.0], [list(expected)])


def test_it_is_a_function_of_solutions_and_seed(dream: DreamFitness) -> None:
    first, same, other = (
        ControllerProblem(dream, ControllerProblemConfig(seed=seed)) for seed in (1, 1, 2)
    )
    given = random_solutions(first)
    for one, two in zip(first.evaluate(given), same.evaluate(given), strict=True):
        np.testing.assert_array_equal(one, two)
    assert not np.allclose(first.evaluate(given)[0], other.evaluate(given)[0])
    assert not np.allclose(first.evaluate(given)[0], first.evaluate(-given)[0])


def test_solutions_are_parameters_on_another_scale(dream: DreamFitness) -> None:
    problem = ControllerProblem(dream, ControllerProblemConfig(scale=4.0))
    assert problem.solution_dim == dream.controller.parameter_count == 24 * 2 + 2
    given = random_solutions(problem)
    parameters = problem.parameters(given)
    assert parameters.dtype == np.float32
    np.testing.assert_allclose(parameters, 4.0 * given)
    np.testing.assert_allclose(problem.solutions(parameters), given)
    clipped = problem.solutions(np.array([[8.0, -4.4, 1.0]]))
    np.testing.assert_array_equal(clipped, np.float32([[1.0, -1.0, 0.25]]))
    assert clipped.dtype == np.float32


def test_the_description_has_all_that_evaluations_depend_on(
    world_model: WorldModel, dream: DreamFitness
) -> None:
    cells = ArchiveConfig(shape="grid", dims=(2, 3))
    plain = ControllerProblem(dream)
    described = [
        ControllerProblem(dream, ControllerProblemConfig(**changes)).describe()
        for changes in ({"seed": 1}, {"scale": 2.0}, {"archive": cells})
    ]
    described += [
        ControllerProblem(dream, ControllerProblemConfig(measures=("steer", "pedal"))).describe(),
        ControllerProblem(DreamFitness(world_model)).describe(),
        plain.describe(),
    ]
    texts = [json.dumps(each, sort_keys=True) for each in described]
    assert len(set(texts)) == len(texts)
    assert ControllerProblem(dream).describe() == plain.describe()
    assert ControllerProblem(dream, ControllerProblemConfig(archive=cells)).archive == cells


@pytest.mark.parametrize("measure", ["brake", "|brake|", "|steer", "steer|", "||steer||"])
def test_measures_that_are_no_actions_are_refused(dream: DreamFitness, measure: str) -> None:
    config = ControllerProblemConfig(measures=("pedal", measure))
    with pytest.raises(
        ValueError, match=r"measures: expected names of the task's action dimensions \('ste"
    ):
        ControllerProblem(dream, config)


def test_a_task_without_names_has_no_measures(make_tiny: Any) -> None:
    task = replace(TOY, frame_size=(64, 64))
    tiny = make_tiny(task)
    nameless = DreamFitness(WorldModel.open(task, tiny.vision, tiny.memory, device="cpu"))
    with pytest.raises(ValueError, match=r"measures: .*action dimensions \(\), .*got '\|steer\|'"):
        ControllerProblem(nameless)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"measures": ("steer",)}, r"measures: expected 2 items, got \('steer',\)"),
        ({"scale": 0.0}, r"scale: expected above 0, got 0\.0"),
        ({"scale": float("nan")}, "scale: expected above 0, got nan"),
    ],
)
def test_config_errors(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ControllerProblemConfig(**options)
