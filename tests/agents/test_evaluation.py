import json

import numpy as np
import pytest

from wmrl.agents.controller import ControllerAgent, ControllerConfig
from wmrl.agents.evaluation import EvaluationResult, evaluate, evaluate_dream, original_id
from wmrl.agents.world_model_ref import eye_entry
from wmrl.envs.dream.vector import DreamVectorEnv
from wmrl.envs.latent.env import LatentEnv
from wmrl.envs.tasks.car_racing import CAR_RACING
from wmrl.envs.world_model import Eye
from wmrl.storage.artifact import ArtifactError

FAST = "vsg/CarRacing-v3"


@pytest.fixture(scope="module")
def eye(tiny) -> Eye:
    return Eye.open("car-racing", tiny.vision, tiny.memory, device="cpu")


@pytest.fixture(scope="module")
def agent(tiny, eye) -> ControllerAgent:
    """Goes off the track soon, at full throttle in a bend."""
    config = ControllerConfig.for_spaces(eye.observation_space, eye.action_space)
    parameters = np.random.default_rng(0).normal(scale=0.05, size=config.parameter_count)
    parameters[-2:] = 0.3, 2.0
    entry = eye_entry(eye, vision=tiny.vision, memory=tiny.memory)
    return ControllerAgent(config, parameters, eye=entry)


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
    assert result().per_decision == 0.5
    assert str(result()) == "2.5 ± 1.5 (2 episodes of CarRacing-v3)"


def test_result_lasts(tmp_path):
    result(versions={"wmrl": "1"}).save(tmp_path / "deep" / "score.json")
    content = json.loads((tmp_path / "deep" / "score.json").read_text())
    assert content["mean"] == 2.5
    assert content["returns"] == [1.0, 4.0]
    assert EvaluationResult.load(tmp_path / "deep" / "score.json") == result(versions={"wmrl": "1"})
    assert len(list((tmp_path / "deep").iterdir())) == 1


def test_broken_results_are_refused(tmp_path):
    with pytest.raises(ValueError, match="seeds: expected 2 values, one a return, got 1"):
        result(seeds=(1,))
    with pytest.raises(ValueError, match="returns: expected at least one"):
        result(seeds=(), returns=(), lengths=(), terminated=())
    for text in ("{}", "[", '{"mean": 1, "std": 1, "episodes": 1, "surprise": 2}'):
        (tmp_path / "x.json").write_text(text)
        with pytest.raises(ValueError, match=r"x\.json: not the JSON of an evaluation"):
            EvaluationResult.load(tmp_path / "x.json")


def test_scores_equal_those_of_single_episodes(agent, tiny, tmp_path):
    """The oracle: each seed in a fresh environment of its own; the agent opened by its path."""
    agent.save(tmp_path / "driver")
    scores = evaluate(tmp_path / "driver", episodes=3, base=FAST, num_envs=2, workers=2)
    for seed, expected, length in zip(scores.seeds, scores.returns, scores.lengths, strict=True):
        env = LatentEnv(vision=tiny.vision, memory=tiny.memory, base=FAST, device="cpu")
        observation, _ = env.reset(seed=seed)
        total, decisions, over = 0.0, 0, False
        while not over:
            action, _ = agent.predict(observation, deterministic=True)
            observation, reward, terminated, truncated, _ = env.step(action)
            total, decisions = total + reward, decisions + 1
            over = terminated or truncated
        env.close()
        assert total == pytest.approx(expected, abs=1e-6)
        assert decisions == length
    assert scores.agent == "driver"
    assert scores.seeds == (1_000_000, 1_000_001, 1_000_002)
    assert scores.base == FAST
    assert set(scores.versions) == {"wmrl", "gymnasium", "numpy", "torch"}


def test_workers_change_nothing(agent, eye):
    options = {"episodes": 3, "base": FAST, "num_envs": 2, "eye": eye, "seed": 1_500_000}
    assert evaluate(agent, workers=0, **options) == evaluate(agent, workers=2, **options)


def test_random_actions():
    options = {"episodes": 2, "base": FAST, "workers": 0}
    first = evaluate("random", num_envs=2, **options)
    assert first.agent == "random"
    assert not first.deterministic
    assert len(set(first.returns)) == 2
    assert first.mean < 60
    assert evaluate("random", num_envs=1, **options).returns == first.returns


def test_the_original_is_gymnasium_s_own():
    assert original_id(CAR_RACING) == "CarRacing-v3"


def test_seeds_of_training_are_refused(agent):
    with pytest.raises(ValueError, match="other seeds belong to training"):
        evaluate(agent, seed=0)
    with pytest.raises(ValueError, match="other seeds belong to training"):
        evaluate_dream(agent, seed=0)


def test_another_eye_than_the_agent_s_is_refused(agent, eye):
    agent = ControllerAgent(
        agent.config, agent.parameters, eye={**agent.eye, "vision_digest": "0" * 64}
    )
    with pytest.raises(ArtifactError, match=r"vision: .*trained with 000000000000"):
        evaluate(agent, episodes=1)
    with pytest.raises(ArtifactError, match=r"vision: .*trained with 000000000000"):
        evaluate(agent, episodes=1, eye=eye)


def test_dream_scores_are_first_episodes(agent, eye):
    scores = evaluate_dream(agent, episodes=6, decisions=15, eye=eye, name="driver")
    assert scores == evaluate_dream(agent, episodes=6, decisions=15, name="driver")
    env = DreamVectorEnv(
        6, vision=eye.vision, memory=eye.memory, max_episode_steps=15, autoreset_mode="SameStep"
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
    assert scores.agent == "driver"
    assert any(scores.terminated)
    assert max(scores.lengths) <= 15


def test_no_dream_without_a_memory(tiny):
    blind = Eye.open("car-racing", tiny.vision, None, device="cpu")
    config = ControllerConfig.for_spaces(blind.observation_space, blind.action_space)
    agent = ControllerAgent(config, np.zeros(config.parameter_count))
    with pytest.raises(ValueError, match="memory: expected a memory to dream with"):
        evaluate_dream(agent, episodes=1, eye=blind)
    scores = evaluate(agent, episodes=1, eye=blind, base=FAST, workers=0)  # z alone drives, though
    assert scores.lengths == (250,)


def test_original_environment_gives_the_same_rewards(agent, eye):
    """Physics are the same; pixels, and with them what a policy does, may differ a little."""
    blind = np.where(np.arange(agent.config.parameter_count) < 48, 0.0, agent.parameters)
    blind = ControllerAgent(agent.config, blind)  # acts by its biases alone
    options = {"episodes": 1, "eye": eye, "workers": 0}
    original = evaluate(blind, **options)
    assert original.base == "CarRacing-v3"
    assert original.returns == evaluate(blind, base=FAST, **options).returns
