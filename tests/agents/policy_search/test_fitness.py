import numpy as np
import pytest
import torch

from wmrl.agents.controller import ControllerAgent, batched_actions, batched_outputs
from wmrl.agents.policy_search.fitness import (
    DreamFitness,
    DreamFitnessConfig,
    RealFitness,
    RealFitnessConfig,
)
from wmrl.agents.seeds import training_seed
from wmrl.core.seeding import torch_generator
from wmrl.dream import DreamState, dream_observation, dream_reset, dream_step
from wmrl.envs.latent.env import LatentEnv
from wmrl.envs.world_model import WorldModel


@pytest.fixture(scope="module")
def world_model(tiny) -> WorldModel:
    return WorldModel.open("car-racing", tiny.vision, tiny.memory, device="cpu")


def population(fitness, count: int = 5, scale: float = 0.3) -> np.ndarray:
    size = fitness.controller.parameter_count
    return np.random.default_rng(0).normal(scale=scale, size=(count, size)).astype(np.float32)


def dream_fitness(world_model, **options) -> DreamFitness:
    return DreamFitness(
        world_model, DreamFitnessConfig(**{"num_rollouts": 3, "agent_steps": 6} | options)
    )


def test_equals_a_loop_over_the_dream(world_model):
    """The oracle: one controller in the pure dream, return summed until termination."""
    fitness = dream_fitness(world_model, num_rollouts=4, agent_steps=20)
    parameters, seed = population(fitness, 1), 7
    weights, memory = torch.from_numpy(parameters), world_model.memory
    state = dream_reset(memory, batch_size=4, generator=torch_generator(seed, "starts"))
    generator = torch_generator(seed, "dream", 0)
    returns, over = np.zeros(4), np.zeros(4, bool)
    for _ in range(20):
        seen = dream_observation(memory, state)[None]
        action = batched_actions(weights, seen, config=fitness.controller)[0]
        state, reward, terminated = dream_step(memory, state, action, generator=generator)
        returns += np.where(over, 0.0, reward.numpy())
        over |= terminated.numpy()
    assert over.any()
    np.testing.assert_allclose(fitness(parameters, seed)[0], returns, rtol=1e-5)


def test_actions_are_means_over_the_agent_steps_lived(world_model):
    """The oracle: the same loop, for two controllers whose outputs are noisy."""
    fitness = dream_fitness(world_model, num_rollouts=4, agent_steps=40, action_noise=0.5)
    parameters, seed, config = population(fitness, 2), 7, fitness.controller
    weights, memory = torch.from_numpy(parameters), world_model.memory
    state = dream_reset(memory, batch_size=4, generator=torch_generator(seed, "starts"))
    state = DreamState(
        torch.cat([state.latent] * 2), tuple(torch.cat([part] * 2, 0) for part in state.memory)
    )
    generator = torch_generator(seed, "dream", 0)
    taken, alive = [[] for _ in range(8)], [True] * 8
    for _ in range(40):
        seen = dream_observation(memory, state).view(2, 4, -1)
        outputs = batched_outputs(weights, seen, config=config)
        noise = 0.5 * torch.randn(outputs.shape, generator=generator)
        action = (outputs + noise).clamp(-1.0, 1.0).view(8, 2)
        for row in range(8):
            if alive[row]:
                taken[row].append(action[row].numpy())
        state, _, terminated = dream_step(memory, state, action, generator=generator)
        alive = [old and not bool(end) for old, end in zip(alive, terminated, strict=True)]
    assert len({len(row) for row in taken}) > 2  # dreams end at different times
    found = fitness.rollouts(parameters, seed)
    for row, actions in enumerate(taken):
        place = divmod(row, 4)
        np.testing.assert_allclose(found.actions[place], np.mean(actions, 0), atol=1e-5)
        np.testing.assert_allclose(found.magnitudes[place], np.mean(np.abs(actions), 0), atol=1e-5)
    np.testing.assert_array_equal(found.scores, fitness(parameters, seed))
    assert {part.dtype for part in found} == {np.dtype(np.float64)}


def test_is_a_function_of_parameters_and_seed(world_model):
    fitness = dream_fitness(world_model, action_noise=0.2, dropout=True)
    parameters = population(fitness)
    torch.manual_seed(0)
    first = fitness(parameters, 1)
    torch.manual_seed(1)
    np.testing.assert_array_equal(fitness(parameters, 1), first)
    assert first.shape == (5, 3)
    assert first.dtype == np.float64
    assert not np.array_equal(fitness(parameters, 2), first)
    assert not np.allclose(fitness(parameters + 0.5, 1), first)


def test_chunks_bound_the_batch(world_model):
    seen = []

    class Watched(DreamFitness):
        def _rollouts(self, weights, seed, chunk):
            seen.append(len(weights))
            return super()._rollouts(weights, seed, chunk)

    fitness = Watched(world_model, DreamFitnessConfig(num_rollouts=3, agent_steps=4, max_batch=7))
    parameters = population(fitness)
    scores = fitness(parameters, 1)
    assert seen == [2, 2, 1]
    assert scores.shape == (5, 3)
    whole = dream_fitness(world_model, agent_steps=4)
    np.testing.assert_allclose(whole(parameters[:2], 1), scores[:2], rtol=1e-5)
    chunked, apart = fitness.rollouts(parameters, 1), whole.rollouts(parameters[:2], 1)
    assert chunked.actions.shape == chunked.magnitudes.shape == (5, 3, 2)
    np.testing.assert_allclose(apart.actions, chunked.actions[:2], atol=1e-5)
    np.testing.assert_allclose(apart.magnitudes, chunked.magnitudes[:2], atol=1e-5)


def test_controllers_start_in_the_same_states(world_model):
    fitness = dream_fitness(world_model, num_rollouts=6)
    latent = fitness._start_states(3, seed=0).latent.view(3, 6, -1)
    assert torch.equal(latent[0], latent[1])
    assert torch.equal(latent[0], latent[2])
    assert len(latent[0].unique(dim=0)) > 1  # rollouts differ


def test_saturation_costs(world_model):
    free, taxed = (
        dream_fitness(world_model, agent_steps=1),
        dream_fitness(world_model, agent_steps=1, saturation_penalty=2.0),
    )
    parameters = np.zeros((3, free.controller.parameter_count), np.float32)
    parameters[1, -1] = 9.0  # the second output's bias: one of two is saturated
    parameters[2, -2:] = -9.0
    cost = free(parameters, 0) - taxed(parameters, 0)
    np.testing.assert_allclose(cost, [[0.0] * 3, [1.0] * 3, [2.0] * 3], atol=1e-5)


def test_reward_limit(world_model):
    free, limited = dream_fitness(world_model), dream_fitness(world_model, reward_limit=-1e3)
    parameters = population(free)
    assert (limited(parameters, 0) <= -1e3).all()
    assert (free(parameters, 0) > -1e3).all()


def test_action_noise_changes_what_happens(world_model):
    parameters = population(dream_fitness(world_model))
    quiet, noisy = dream_fitness(world_model), dream_fitness(world_model, action_noise=1.0)
    assert not np.allclose(quiet(parameters, 0), noisy(parameters, 0))


def test_dreams_need_a_memory_and_room(world_model):
    with pytest.raises(ValueError, match="world_model: expected a world model with a memory"):
        DreamFitness(WorldModel.open("car-racing", world_model.vision, None))
    with pytest.raises(ValueError, match=r"max_batch: expected at least num_rollouts \(3\), got 2"):
        dream_fitness(world_model, max_batch=2)


@pytest.mark.parametrize(
    "tiny", ["gaussian", pytest.param("discrete", marks=pytest.mark.slow)], indirect=True
)
def test_real_scores_equal_those_of_single_episodes(world_model):
    """The oracle: every controller and seed alone in the single environment."""
    trials = RealFitnessConfig(num_rollouts=2, agent_steps=5, num_envs=3)
    with RealFitness(world_model, trials, workers=0) as fitness:
        parameters = population(fitness, 2)
        scores, actions, magnitudes = fitness.rollouts(parameters, 4)
        np.testing.assert_array_equal(fitness(parameters, 4), scores)
    expected, taken = np.zeros((2, 2)), np.zeros((2, 2, 5, 2))
    for p in range(2):
        agent = ControllerAgent(fitness.controller, parameters[p])
        for r in range(2):
            env = LatentEnv(vision=world_model.vision, memory=world_model.memory)
            observation, _ = env.reset(seed=training_seed(4, "real", r))
            for t in range(5):
                taken[p, r, t] = agent.predict(observation)[0]
                observation, reward, *_ = env.step(taken[p, r, t])
                expected[p, r] += reward
            env.close()
    np.testing.assert_allclose(scores, expected, atol=1e-6)
    np.testing.assert_allclose(actions, taken.mean(2), atol=1e-5)
    np.testing.assert_allclose(magnitudes, np.abs(taken).mean(2), atol=1e-5)
    assert len(np.unique(scores)) > 1


@pytest.mark.parametrize(
    "tiny", ["gaussian", pytest.param("discrete", marks=pytest.mark.slow)], indirect=True
)
def test_real_scores_are_the_same_for_any_number_of_workers(world_model):
    trials = RealFitnessConfig(num_rollouts=2, agent_steps=6, num_envs=3)
    scores = []
    for workers in (0, 2):
        with RealFitness(world_model, trials, workers=workers) as fitness:
            scores += [fitness(population(fitness, 2), 1) for _ in range(2)]
    for other in scores[1:]:  # a second call, too: nothing is kept between calls
        np.testing.assert_array_equal(other, scores[0])


def test_hidden_layers_and_description(world_model):
    fitness = DreamFitness(world_model, hidden_dims=(3,))
    assert fitness.controller.layer_dims == (24, 3, 2)
    described = fitness.describe()
    assert described["memory"] == world_model.memory.digest
    assert described["controller"]["hidden_dims"] == (3,)
    assert described != dream_fitness(world_model, agent_steps=7).describe()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_rollouts": 0}, "num_rollouts: expected at least 1, got 0"),
        ({"temperature": 0.0}, r"temperature: expected above 0, got 0\.0"),
        ({"action_noise": -1.0}, "action_noise: expected at least 0"),
    ],
)
def test_config_errors(options, message):
    with pytest.raises(ValueError, match=message):
        DreamFitnessConfig(**options)
    with pytest.raises(ValueError, match="num_envs: expected at least 1, got 0"):
        RealFitnessConfig(num_envs=0)
