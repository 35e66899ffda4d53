"""Every algorithm of Stable-Baselines3 in every space that it supports, saved and loaded."""

import shutil
from collections import OrderedDict
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from choice_game import CHOICES
from gymnasium import spaces
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from torch import nn

from wmrl.agents.agent import load_agent
from wmrl.agents.evaluation.scoring import evaluate, evaluate_dream
from wmrl.agents.rollouts.collection import collect
from wmrl.agents.sb3.agent import SB3Agent
from wmrl.agents.sb3.features import FEATURES_EXTRACTORS, register_features_extractor
from wmrl.agents.sb3.vec_env import SB3VecEnv, dream_vec_env
from wmrl.agents.video.config import VideoConfig
from wmrl.agents.video.recording import record
from wmrl.agents.world_model_ref import WorldModelRef
from wmrl.envs.latent.env import LatentEnv
from wmrl.storage.artifact import ArtifactError, load_artifact, save_artifact

ACTIONS: dict[str, spaces.Space[Any]] = {
    "box": spaces.Box(np.float32([-1, 0]), np.float32([1, 3])),
    "discrete": spaces.Discrete(3),
    "multi_discrete": spaces.MultiDiscrete([3, 2]),
    "multi_binary": spaces.MultiBinary(3),
}
OBSERVATIONS: dict[str, spaces.Space[Any]] = {
    "vector": spaces.Box(-1, 1, (3,), np.float32),
    "codes": spaces.MultiDiscrete([4, 3]),
    "dict": spaces.Dict(  # the order is not that of the alphabet
        OrderedDict(
            memory=spaces.Box(-1, 1, (3,), np.float32),
            codes=spaces.MultiDiscrete([4, 3]),
            bits=spaces.MultiBinary(2),
            one=spaces.Discrete(3),
        )
    ),
}
ON_POLICY: list[Any] = [PPO, A2C]
CASES = [
    *((algorithm, kind) for algorithm in ON_POLICY for kind in ACTIONS),
    (DQN, "discrete"),
    *((algorithm, "box") for algorithm in (SAC, TD3, DDPG)),
]


class Blank(gym.Env[Any, Any]):
    """An environment that only has spaces."""

    def __init__(self, observations: str = "vector", actions: str = "box") -> None:
        self.observation_space = OBSERVATIONS[observations]
        self.action_space = ACTIONS[actions]


class Wide(BaseFeaturesExtractor):
    """A features extractor with weights and with a buffer that counts."""

    def __init__(self, observation_space: Any, features_dim: int = 5, leak: float = 0.0) -> None:
        super().__init__(observation_space, features_dim)
        self.norm = nn.BatchNorm1d(observation_space.shape[0])
        self.linear = nn.Linear(observation_space.shape[0], features_dim)
        self.leak = leak

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        return nn.functional.leaky_relu(self.linear(self.norm(observations)), self.leak)


@pytest.fixture(autouse=True)
def _fresh_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FEATURES_EXTRACTORS, "_registered", {})


def make(algorithm: Any, observations: str = "vector", actions: str = "box", **options: Any) -> Any:
    policy = "MultiInputPolicy" if observations == "dict" else "MlpPolicy"
    options = {"net_arch": [6], **options.pop("policy_kwargs", {})}, options
    off_policy = {} if algorithm in ON_POLICY else {"buffer_size": 1}
    env = Blank(observations, actions)
    return algorithm(policy, env, policy_kwargs=options[0], seed=0, **off_policy, **options[1])


def drawn(space: spaces.Space[Any], count: int) -> Any:
    """A batch of random observations."""
    space.seed(0)
    rows = [space.sample() for _ in range(count)]
    if isinstance(space, spaces.Dict):
        return {key: np.stack([row[key] for row in rows]) for key in space}
    return np.stack(rows)


def check_round_trip(model: Any, path: Path) -> SB3Agent:
    """Saves and loads, compares all actions with the model's, and returns the loaded agent."""
    shutil.rmtree(path, ignore_errors=True)
    agent = SB3Agent(model.policy, seed=3)
    digest = agent.save(path)
    loaded = load_agent(path)
    assert isinstance(loaded, SB3Agent)
    assert loaded.digest == digest == agent.digest
    assert loaded.action_space == model.action_space
    loaded = SB3Agent(loaded.policy, seed=3)
    batch = drawn(model.observation_space, 7)
    expected, _ = model.policy.predict(batch, deterministic=True)
    np.testing.assert_array_equal(loaded.predict(batch, deterministic=True)[0], expected)
    for _ in range(2):
        np.testing.assert_array_equal(loaded.predict(batch)[0], agent.predict(batch)[0])
    model.observation_space.seed(5)
    one = model.observation_space.sample()
    action, _ = loaded.predict(one)
    assert action in model.action_space
    np.testing.assert_array_equal(action, agent.predict(one)[0])
    return loaded


@pytest.mark.parametrize("observations", OBSERVATIONS)
@pytest.mark.parametrize(
    ("algorithm", "actions"), CASES, ids=lambda value: getattr(value, "__name__", value)
)
def test_saved_agents_act_the_same(
    algorithm: Any, actions: str, observations: str, tmp_path: Path
) -> None:
    agent = check_round_trip(make(algorithm, observations, actions), tmp_path / "agent")
    assert agent.observation == ("embeddings" if observations == "vector" else "codes")


@pytest.mark.parametrize("algorithm", [PPO, A2C, SAC], ids=lambda value: value.__name__)
def test_state_dependent_noise_is_drawn_from_the_saved_weights(
    algorithm: Any, tmp_path: Path
) -> None:
    model = make(algorithm, use_sde=True)
    log_std = getattr(model.policy, "actor", model.policy).log_std
    with torch.no_grad():
        log_std += torch.linspace(0, 2, log_std.numel()).view_as(log_std)
    noise = getattr(model.policy, "actor", model.policy).action_dist
    before = noise.exploration_mat
    check_round_trip(model, tmp_path / "agent")
    assert noise.exploration_mat is before  # training goes on as if nothing had been asked
    agent, rows = SB3Agent(model.policy), np.ones((4, 3), np.float32)
    assert not np.array_equal(*(agent.predict(rows)[0] for _ in range(2)))


@pytest.mark.parametrize(
    ("algorithm", "actions"),
    [(PPO, "box"), (A2C, "multi_discrete"), (DQN, "discrete"), (SAC, "box"), (TD3, "box")],
    ids=lambda value: getattr(value, "__name__", value),
)
@pytest.mark.parametrize("shared", [False, True])
def test_own_features_extractors(
    algorithm: Any, actions: str, shared: bool, tmp_path: Path
) -> None:
    register_features_extractor(Wide)
    options: dict[str, Any] = {
        "features_extractor_class": Wide,
        "features_extractor_kwargs": {"features_dim": 4, "leak": 0.3},
    }
    if algorithm is not DQN:
        options["share_features_extractor"] = shared
    model = make(algorithm, "vector", actions, policy_kwargs=options)
    with torch.no_grad():
        for number, weight in enumerate(model.policy.parameters()):
            weight += 0.1 * torch.sin(torch.arange(weight.numel()) + number).view_as(weight)
    check_round_trip(model, tmp_path / "agent")
    FEATURES_EXTRACTORS._registered.clear()
    with pytest.raises(ArtifactError, match=r"unknown features extractor class 'Wide'.*import the"):
        load_agent(tmp_path / "agent")


def wide(**options: Any) -> dict[str, Any]:
    register_features_extractor(Wide)
    return {"features_extractor_class": Wide, "features_extractor_kwargs": options}


class Counting(Wide):
    """A features extractor that needs real numbers when it is created."""

    def __init__(self, observation_space: Any) -> None:
        super().__init__(observation_space)
        self.total = float(self.linear.weight.detach().sum())


def test_what_an_artifact_cannot_hold_is_refused() -> None:
    for options, message in (
        ({"features_extractor_class": Wide}, r"features_extractor_class: .*got <class .*Wide'>;"),
        ({"features_extractor_class": lambda space: Wide(space)}, r"got <function .*<lambda>"),
        (
            {"activation_fn": lambda: nn.Tanh()},
            r"one of .* as activation_fn, got <lambda>, which an",
        ),
        ({"activation_fn": type("Tanh", (nn.ReLU,), {})}, "as activation_fn, got Tanh, which an"),
    ):
        with pytest.raises(ValueError, match=message):
            SB3Agent(make(PPO, policy_kwargs=options).policy)
    with pytest.raises(ValueError, match=r"kwargs\.leak: expected a number.* got tensor"):
        SB3Agent(make(PPO, policy_kwargs=wide(leak=torch.tensor(0.1))).policy)
    register_features_extractor(Counting)
    with pytest.raises(ValueError, match=r"can be created on PyTorch's meta device .*Counting"):
        SB3Agent(make(PPO, policy_kwargs={"features_extractor_class": Counting}).policy)
    model = make(PPO)
    model.policy.observation_space = spaces.Box(0, 255, (8, 8, 3), np.uint8)
    with pytest.raises(ValueError, match=r"observation space a Box .*got Box\(0, 255.*world model"):
        SB3Agent(model.policy)


def test_normalized_observations_are_refused() -> None:
    for normalized in (True, False):
        env = VecNormalize(DummyVecEnv([Blank]), norm_obs=normalized)
        model = PPO("MlpPolicy", env, policy_kwargs={"net_arch": [4]})
        if normalized:
            with pytest.raises(ValueError, match=r"model: expected .*VecNormalize\(…, norm_obs="):
                SB3Agent.from_model(model)
        else:
            SB3Agent.from_model(model)


def test_wrapped_environments_keep_the_numbers_of_options(make_tiny: Any) -> None:
    task = CHOICES["discrete"]  # options from 2
    env = dream_vec_env(num_envs=2, task=task, max_episode_steps=3, **make_tiny(task).kwargs)
    assert isinstance(env, SB3VecEnv)
    model = DQN("MlpPolicy", VecNormalize(env, norm_obs=False), buffer_size=8)
    assert SB3Agent.from_model(model).action_space == spaces.Discrete(3, start=2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"observation_space": {"kind": "box", "dim": 10**12}}, "observation_dim: expected at mo"),
        (
            {
                "observation_space": {
                    "kind": "dict",
                    "spaces": [["a", {"kind": "box", "dim": 6**7}]] * 9,
                }
            },
            "observation_dim: expected at most",
        ),
        ({"observation_space": {"kind": "graph"}}, "invalid one"),
        ({"observation_space": {"kind": "dict", "spaces": "ab"}}, "invalid one"),
        ({"features_extractor_class": "os:system"}, "unknown features extractor class 'os:system'"),
        ({"features_extractor_class": ["Wide"]}, "invalid one"),
        ({"features_extractor_kwargs": {"features_dim": 10**9}}, "expected layers that fit the"),
        ({"features_extractor_kwargs": {"features_dim": "9"}}, "PyTorch's meta device"),
        ({"features_extractor_kwargs": {"surprise": 1}}, "unexpected keyword argument"),
        ({"features_extractor_kwargs": 3}, "invalid one"),
    ],
)
def test_forged_policies_are_refused(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    SB3Agent(make(A2C, policy_kwargs=wide(features_dim=3)).policy).save(tmp_path / "agent")
    artifact = load_artifact(tmp_path / "agent")
    kwargs = {key: value for key, value in change.items() if key.startswith("features")}
    config = artifact.config | ({} if kwargs else change)
    save_artifact(
        tmp_path / "agent",
        kind="agent",
        class_name="SB3Agent",
        config=config | {"policy_kwargs": config["policy_kwargs"] | kwargs},
        tensors=artifact.tensors,
    )
    with pytest.raises(ArtifactError, match=message):
        load_agent(tmp_path / "agent")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (None, r"observation: expected a dictionary with the keys \['bits', "),
        ({"more": 1}, r"got \['bits', 'codes', 'memory', 'more', 'one'\]; use the world model"),
        ({"codes": [3, 3]}, r"observation\['codes'\]: expected an integer from 0 to 2 at index 1"),
        ({"memory": np.zeros(2)}, r"observation\['memory'\]: expected shape \(3,\) or \(N, 3\)"),
        ({"memory": np.full(3, np.nan)}, r"observation\['memory'\]: expected finite numbers"),
        ({"memory": np.zeros((2, 3))}, "the same number of observations for each key, got"),
    ],
)
def test_bad_observations_are_refused(change: dict[str, Any] | None, message: str) -> None:
    agent = SB3Agent(make(PPO, "dict").policy)
    good = OBSERVATIONS["dict"].sample()
    observation = np.zeros(3) if change is None else good | change
    with pytest.raises(ValueError, match=message):
        agent.predict(observation)


@pytest.mark.parametrize("algorithm", [SAC, DQN], ids=lambda value: value.__name__)
def test_an_agent_that_learned_in_a_dream_plays_the_game(
    algorithm: Any, make_tiny: Any, tmp_path: Path
) -> None:
    """From codes of a dream, and back from a folder into the game, its dream and a video."""
    task = CHOICES["discrete" if algorithm is DQN else "box"]
    tiny = make_tiny(task, discrete=True)
    dreams = dream_vec_env(
        num_envs=2, task=task, observation="codes", max_episode_steps=4, **tiny.kwargs
    )
    model = algorithm(
        "MultiInputPolicy",
        dreams,
        learning_starts=8,
        batch_size=4,
        buffer_size=64,
        policy_kwargs={"net_arch": [8]},
        seed=0,
    )
    before = {name: weight.clone() for name, weight in model.policy.state_dict().items()}
    model.learn(24)
    after = model.policy.state_dict()
    assert not all(torch.equal(before[name], after[name]) for name in before)
    ref = WorldModelRef.of(dreams.env.world_model, vision=tiny.vision, memory=tiny.memory)
    SB3Agent.from_model(model, world_model=ref).save(tmp_path / "agent")
    agent = load_agent(tmp_path / "agent")
    env = LatentEnv(task=task, observation="codes", **tiny.kwargs)
    observation, _ = env.reset(seed=0)
    for _ in range(5):
        action, _ = agent.predict(observation, deterministic=True)
        expected, _ = model.predict(observation, deterministic=True)
        np.testing.assert_array_equal(action, task.actions.shift(expected))
        observation, *_ = env.step(action)
    assert evaluate(agent, task=task, episodes=2, workers=0).lengths == (12, 12)
    assert len(evaluate_dream(agent, task=task, episodes=2, agent_steps=3).lengths) == 2
    store = collect(
        task, tmp_path / "data", policy=agent, episodes=1, workers=0, device="cpu", progress=False
    )
    assert len(store.episode(0)) == 12
    shown = record(
        agent, tmp_path / "a.gif", task=task, config=VideoConfig(agent_steps=3, width=80, height=60)
    )
    assert shown.agent_steps == 3
