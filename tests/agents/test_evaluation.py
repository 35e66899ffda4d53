import json
from dataclasses import replace

import numpy as np
import pytest

from wmrl.agents.controller import ControllerAgent, ControllerConfig
from wmrl.agents.evaluation.result import EvaluationResult
from wmrl.agents.evaluation.scoring import evaluate, evaluate_dream, original_id
from wmrl.envs.dream.vector import DreamVectorEnv
from wmrl.envs.latent.env import LatentEnv
from wmrl.envs.tasks.car_racing import CAR_RACING
from wmrl.envs.world_model import WorldModel
from wmrl.storage.artifact import ArtifactError
from wmrl.storage.files import write_json

FAST = "vsg/CarRacing-v3"


SHORT = replace(CAR_RACING, max_frames=240)

# What plays whole games is the same for both kinds of latents.
with_discrete_if_slow = pytest.mark.parametrize(
    "tiny", ["gaussian", pytest.param("discrete", marks=pytest.mark.slow)], indirect=True
)


@pytest.fixture(scope="module")
def world_model(tiny) -> WorldModel:
    return WorldModel.open(SHORT, tiny.vision, tiny.memory, device="cpu")


@pytest.fixture(scope="module")
def agent(tiny, world_model) -> ControllerAgent:
    """Goes off the track soon, at full throttle in a bend."""
    config = ControllerConfig.for_spaces(world_model.observation_space, world_model.action_space)
    parameters = np.random.default_rng(0).normal(scale=0.05, size=config.parameter_count)
    parameters[-2:] = 0.3, 2.0
    return ControllerAgent(config, parameters, world_model=tiny.ref())


def result(**options) -> EvaluationResult:
    content = {
        "agent": "a",
        "task": "car-racing",
        "base": "CarRacing-v3",
        "deterministic": True,
        "seeds": (1_000_000, 1_000_001),
        "returns": (1.0, 4.0),
        "lengths": (2, 8),
        "terminated": (False, True),
    }
    return EvaluationResult(**content | options)


def test_statistics():
    assert result().mean == 2.5
    assert result().std == 1.5
    assert result().standard_error == pytest.approx(1.5)
    assert result().per_agent_step == 0.5
    assert str(result()) == "2.5 ± 1.5 (2 episodes of CarRacing-v3)"


def test_result_lasts(tmp_path):
    result(versions={"wmrl": "1"}).save(tmp_path / "deep" / "score.json")
    content = json.loads((tmp_path / "deep" / "score.json").read_text())
    assert content["mean"] == 2.5
    assert content["returns"] == [1.0, 4.0]
    assert EvaluationResult.load(tmp_path / "deep" / "score.json") == result(versions={"wmrl": "1"})
    assert len(list((tmp_path / "deep").iterdir())) == 1


def test_broken_results_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"seeds: expected 2 values \(as many as returns\), got 1"):
        result(seeds=(1,))
    with pytest.raises(ValueError, match="returns: expected at least one"):
        result(seeds=(), returns=(), lengths=(), terminated=())
    for content in ({}, {"mean": 1, "std": 1, "episodes": 1, "surprise": 2}):
        write_json(tmp_path / "x.json", content)
        with pytest.raises(ValueError, match=r"x\.json: expected the JSON of an evaluation"):
            EvaluationResult.load(tmp_path / "x.json")


def test_damaged_results_are_refused(tmp_path):
    path = tmp_path / "x.json"
    result().save(path)
    whole = path.read_bytes()
    for bad in (whole[:-9], b"", whole.replace(b"4.0", b"5.0"), b"{}"):
        path.write_bytes(bad)
        with pytest.raises(ValueError, match=r"x\.json: damaged .*; score the agent again"):
            EvaluationResult.load(path)
    path.unlink()
    with pytest.raises(ValueError, match=r"x\.json: expected a JSON file, got nothing"):
        EvaluationResult.load(path)


@with_discrete_if_slow
def test_scores_equal_those_of_single_episodes(agent, tiny, world_model, tmp_path):
    """The oracle: each seed in a fresh environment of its own; the agent opened by its path."""
    agent.save(tmp_path / "agent")
    options = {"episodes": 2, "base": FAST, "num_envs": 2, "workers": 0}
    scores = evaluate(tmp_path / "agent", world_model=world_model, **options)
    for seed, expected, length in zip(scores.seeds, scores.returns, scores.lengths, strict=True):
        env = LatentEnv(task=SHORT, base=FAST, **tiny.kwargs)
        observation, _ = env.reset(seed=seed)
        total, agent_steps, over = 0.0, 0, False
        while not over:
            action, _ = agent.predict(observation, deterministic=True)
            observation, reward, terminated, truncated, _ = env.step(action)
            total, agent_steps = total + reward, agent_steps + 1
            over = terminated or truncated
        env.close()
        assert total == pytest.approx(expected, abs=1e-6)
        assert agent_steps == length
    assert scores.agent == "agent"
    assert scores.seeds == (1_000_000, 1_000_001)
    assert scores.base == FAST
    assert scores.digest == agent.digest
    assert set(scores.versions) == {"wmrl", "gymnasium", "numpy", "torch"}


@with_discrete_if_slow
def test_workers_change_nothing(agent, world_model):
    options = {
        "episodes": 3,
        "base": FAST,
        "num_envs": 2,
        "world_model": world_model,
        "seed": 1_500_000,
    }
    assert evaluate(agent, workers=0, **options) == evaluate(agent, workers=2, **options)


def test_random_actions():
    options = {"episodes": 2, "task": SHORT, "base": FAST, "workers": 0}
    first = evaluate("random", num_envs=2, **options)
    assert first.agent == "random"
    assert first.digest == ""
    assert not first.deterministic
    assert len(set(first.returns)) == 2
    assert first.mean < 60
    assert evaluate("random", num_envs=1, **options).returns == first.returns


def test_the_original_is_gymnasium_s_own():
    assert original_id(CAR_RACING) == "CarRacing-v3"
    assert original_id(replace(CAR_RACING, env_id="vsg/NoSuchGame-v0")) == "vsg/NoSuchGame-v0"


def test_seeds_of_training_are_refused(agent):
    with pytest.raises(ValueError, match="other seeds are for training"):
        evaluate(agent, seed=0)
    with pytest.raises(ValueError, match="other seeds are for training"):
        evaluate_dream(agent, seed=0)


def test_another_world_model_than_the_agent_s_is_refused(agent, world_model):
    agent = ControllerAgent(
        agent.config,
        agent.parameters,
        world_model=replace(agent.world_model, vision_digest="0" * 64),
    )
    with pytest.raises(ArtifactError, match=r"vision: .*trained with \(digest 000000000000"):
        evaluate(agent, episodes=1)
    with pytest.raises(ArtifactError, match=r"vision: .*trained with \(digest 000000000000"):
        evaluate(agent, episodes=1, world_model=world_model)


def test_dream_scores_are_first_episodes(agent, world_model):
    scores = evaluate_dream(
        agent, episodes=6, agent_steps=15, world_model=world_model, name="agent"
    )
    assert scores == evaluate_dream(agent, episodes=6, agent_steps=15, name="agent")
    env = DreamVectorEnv(
        6,
        vision=world_model.vision,
        memory=world_model.memory,
        max_episode_steps=15,
        autoreset_mode="SameStep",
    )
    observations, _ = env.reset(seed=1_000_000)
    returns, lengths, over = np.zeros(6), np.zeros(6, int), np.zeros(6, bool)
    for _ in range(15):
        actions, _ = agent.predict(observations)
        observations, rewards, terminated, truncated, _ = env.step(actions)
        returns += np.where(over, 0.0, rewards)
        lengths += ~over
        over |= terminated | truncated
    np.testing.assert_allclose(scores.returns, returns)
    np.testing.assert_array_equal(scores.lengths, lengths)
    assert scores.base == "dream"
    assert scores.seeds == (1_000_000,) * 6
    assert scores.digest == agent.digest
    assert scores.agent == "agent"
    assert any(scores.terminated)
    assert max(scores.lengths) <= 15


@with_discrete_if_slow
def test_no_dream_without_a_memory(tiny):
    blind = WorldModel.open("car-racing", tiny.vision, None, device="cpu")
    config = ControllerConfig.for_spaces(blind.observation_space, blind.action_space)
    agent = ControllerAgent(config, np.zeros(config.parameter_count))
    with pytest.raises(ValueError, match="memory: expected a memory to dream with"):
        evaluate_dream(agent, episodes=1, world_model=blind)
    scores = evaluate(
        agent, episodes=1, world_model=blind, base=FAST, workers=0
    )  # z alone is enough to act
    assert scores.lengths == (250,)


@with_discrete_if_slow
def test_original_environment_gives_the_same_rewards(agent, world_model):
    """Physics are the same; pixels, and with them what a policy does, may differ a little."""
    blind = np.where(np.arange(agent.config.parameter_count) < 48, 0.0, agent.parameters)
    blind = ControllerAgent(agent.config, blind)  # acts by its biases alone
    options = {"episodes": 1, "world_model": world_model, "workers": 0}
    original = evaluate(blind, **options)
    assert original.base == "CarRacing-v3"
    assert original.returns == evaluate(blind, base=FAST, **options).returns


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_returns_are_finite(bad) -> None:
    message = rf"returns: expected finite numbers, got {bad} in episode 1 \(seed 1000001\)"
    with pytest.raises(ValueError, match=message):
        result(returns=(1.0, bad))


def test_results_take_numbers_of_numpy(tmp_path) -> None:
    found = result(
        returns=(np.float64(1.0), np.float32(4.0)), seeds=np.array([1_000_000, 1_000_001])
    )
    found.save(tmp_path / "score.json")
    assert EvaluationResult.load(tmp_path / "score.json") == result()
