import json

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import PPO, SAC, TD3
from stable_baselines3.common.evaluation import evaluate_policy
from torch import nn

from wmrl.agents.agent import load_agent
from wmrl.agents.controller import ControllerAgent, ControllerConfig
from wmrl.agents.sb3.agent import SB3Agent
from wmrl.agents.sb3.vec_env import SB3VecEnv, dream_vec_env, latent_vec_env
from wmrl.storage.artifact import ArtifactError, load_artifact, save_artifact


class Box(gym.Env):
    observation_space = spaces.Box(-1, 1, (3,), np.float32)
    action_space = spaces.Box(np.float32([-1, 0]), np.float32([1, 3]))


NET = {"net_arch": [8], "activation_fn": nn.ReLU}
MODELS = {
    "PPO": lambda: PPO("MlpPolicy", Box(), policy_kwargs={**NET}, seed=0),
    "PPO-small-noise": lambda: PPO("MlpPolicy", Box(), policy_kwargs={"log_std_init": -1.0}),
    "PPO-squashed": lambda: PPO(
        "MlpPolicy", Box(), use_sde=True, policy_kwargs={"squash_output": True}, seed=0
    ),
    "SAC": lambda: SAC("MlpPolicy", Box(), policy_kwargs={**NET}, seed=0, buffer_size=1),
    "TD3": lambda: TD3("MlpPolicy", Box(), policy_kwargs={**NET}, seed=0, buffer_size=1),
}


@pytest.mark.parametrize("name", MODELS)
def test_saved_policies_act_the_same(name, tmp_path, ref):
    model = MODELS[name]()
    agent = SB3Agent.from_model(model, world_model=ref)
    digest = agent.save(tmp_path / "agent", provenance={"seed": 0})
    loaded = load_agent(tmp_path / "agent")
    assert isinstance(loaded, SB3Agent)
    assert load_artifact(tmp_path / "agent").digest == digest == agent.digest == loaded.digest
    assert loaded.world_model == ref
    assert loaded.action_space == model.action_space
    rows = np.random.default_rng(0).uniform(-1, 1, (6, 3)).astype(np.float32)
    expected, _ = model.predict(rows, deterministic=True)
    np.testing.assert_array_equal(loaded.predict(rows, deterministic=True)[0], expected)
    one = loaded.predict(rows[0], deterministic=True)[0]
    np.testing.assert_allclose(one, expected[0], atol=1e-6)


def test_noise_is_the_agent_s_own():
    policy = PPO("MlpPolicy", Box(), seed=0).policy
    rows = np.zeros((4, 3), np.float32)
    agent, twin = SB3Agent(policy, seed=1), SB3Agent(policy, seed=1)
    torch.manual_seed(0)
    first = [agent.predict(rows)[0] for _ in range(2)]
    untouched = torch.rand(3)
    torch.manual_seed(99)
    np.testing.assert_array_equal([twin.predict(rows)[0] for _ in range(2)], first)
    assert not np.array_equal(*first)
    torch.manual_seed(0)
    assert torch.equal(torch.rand(3), untouched)


def test_unknown_policies_are_refused():
    class Own(type(PPO("MlpPolicy", Box()).policy)):
        pass

    with pytest.raises(ValueError, match=r"policy: expected a policy .*Critic.*, got Own; write"):
        SB3Agent(PPO(Own, Box()).policy)
    with pytest.raises(ValueError, match=r"expected one of .*Tanh.*, got Softsign"):
        SB3Agent(PPO("MlpPolicy", Box(), policy_kwargs={"activation_fn": nn.Softsign}).policy)

    class Square(Box):
        action_space = spaces.Box(-1, 1, (2, 2))

    with pytest.raises(ValueError, match="policy: action space: expected a Box of real numbers"):
        SB3Agent(PPO("MlpPolicy", Square()).policy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"policy": "os.system"}, "policy: expected one of .*, got 'os.system'"),
        ({"policy_kwargs": {"activation_fn": "eval"}}, "activation_fn: expected .*, got 'eval'"),
        ({"policy_kwargs": {"activation_fn": "Tanh", "optimizer_class": "x"}}, "optimizer_class"),
        ({"policy_kwargs": {"activation_fn": "Tanh", "net_arch": [9, 9]}}, "weights do not fit"),
        (
            {"policy_kwargs": {"activation_fn": "Tanh", "net_arch": [5]}},
            "weights do not fit",
        ),
        ({"action_space": ["x"]}, "expected a valid config.json of a policy"),
        ({"action_space": {"kind": "box"}}, "expected a valid config.json of a policy"),
    ],
)
def test_hostile_artifacts_are_refused(tmp_path, change, message):
    SB3Agent(PPO("MlpPolicy", Box()).policy).save(tmp_path / "agent")
    artifact = load_artifact(tmp_path / "agent")
    save_artifact(
        tmp_path / "agent",
        kind="agent",
        class_name="SB3Agent",
        config=artifact.config | change,
        tensors=artifact.tensors,
    )
    with pytest.raises(ArtifactError, match=message):
        load_agent(tmp_path / "agent")


def test_another_agent_s_artifact_is_refused(tmp_path):
    config = ControllerConfig(observation_dim=1, action_space=spaces.Box(-1, 1, (1,)))
    ControllerAgent(config, np.zeros(2)).save(tmp_path / "agent")
    with pytest.raises(ArtifactError, match="expected class SB3Agent, got class ControllerAgent"):
        SB3Agent.load(tmp_path / "agent")


def test_artifact_is_plain_data(tmp_path):
    SB3Agent(PPO("MlpPolicy", Box()).policy).save(tmp_path / "agent")
    names = {path.name for path in (tmp_path / "agent").iterdir()}
    assert names == {"config.json", "model.safetensors", "SHA256SUMS"}
    config = json.loads((tmp_path / "agent" / "config.json").read_text())["config"]
    assert config["policy_kwargs"]["activation_fn"] == "Tanh"


def test_ppo_runs_in_the_dream_by_its_id(tiny):
    env = dream_vec_env(
        "vsg/CarRacingDream-v0", num_envs=4, max_episode_steps=5, temperature=0.5, **tiny.kwargs
    )
    model = PPO("MlpPolicy", env, n_steps=8, batch_size=16, n_epochs=1, seed=0)
    model.learn(64)
    assert model.num_timesteps == 64
    assert max(info["l"] for info in model.ep_info_buffer) <= 5


def test_dream_and_game_have_the_same_spaces(tiny):
    dream = dream_vec_env(num_envs=1, **tiny.kwargs)
    game = latent_vec_env(num_envs=1, workers=0, **tiny.kwargs)
    assert dream.observation_space == game.observation_space
    assert dream.action_space == game.action_space
    game.close()


def test_a_made_environment_takes_no_arguments(match_env):
    assert isinstance(dream_vec_env(match_env()), SB3VecEnv)
    with pytest.raises(ValueError, match=r"kwargs: expected none .* got \['temperature'\]"):
        dream_vec_env(match_env(), temperature=1.0)


def test_evaluate_policy_takes_any_agent(match_env):
    """The toy game's optimum is to say what one sees; tanh(2x) comes near."""
    config = ControllerConfig(observation_dim=2, action_space=spaces.Box(-1, 1, (2,)))
    agent = ControllerAgent(config, np.array([1.2, 0, 0, 1.2, 0, 0]))
    env = SB3VecEnv(match_env(4))
    mean, _ = evaluate_policy(agent, env, n_eval_episodes=8, warn=False)
    assert 9.5 < mean < 10
