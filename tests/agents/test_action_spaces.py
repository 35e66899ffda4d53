"""Every learner, agent and recorder in every kind of action space."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import choice_game
import imageio.v3 as iio
import numpy as np
import pytest
import torch
from choice_game import CHOICES, SPACES, SignalVectorEnv

from wmrl.agents.agent import Agent, load_agent
from wmrl.agents.controller import ControllerAgent, ControllerConfig, decode_outputs
from wmrl.agents.evaluation.scoring import evaluate, evaluate_dream
from wmrl.agents.policy_search.cma_es import CMAES, CMAESConfig
from wmrl.agents.policy_search.fitness import (
    DreamFitness,
    DreamFitnessConfig,
    RealFitness,
    RealFitnessConfig,
)
from wmrl.agents.policy_search.variational import VariationalSearch, VariationalSearchConfig
from wmrl.agents.ppo.config import PPOConfig
from wmrl.agents.ppo.learner import PPOLearner
from wmrl.agents.rollouts.collection import collect
from wmrl.agents.rollouts.exploration import AutoregressiveNoise, NoisyAgent, RepeatedRandom
from wmrl.agents.video.config import VideoConfig
from wmrl.agents.video.recording import record
from wmrl.agents.world_model_ref import WorldModelRef
from wmrl.core.action_spec import ActionSpec
from wmrl.data.split import StoredEpisode
from wmrl.envs.world_model import WorldModel
from wmrl.memory.dataset import load_latents
from wmrl.memory.mdn_rnn import MDNRNNConfig
from wmrl.memory.training import MemoryTrainingConfig, train_memory
from wmrl.vision.base import load_vision

KINDS = list(SPACES)
READOUTS = [*((kind, "argmax") for kind in KINDS), ("discrete", "thresholds")]
READOUTS += [("multi_discrete", "thresholds")]


class Signals:
    """Fitness: mean reward of controllers that see the encoding of the action that pays."""

    def __init__(self, kind: str, readout: Any = "argmax") -> None:
        spec, generator = ActionSpec.of(SPACES[kind]), np.random.default_rng(0)
        self.targets = np.stack([spec.sample(generator) for _ in range(64)])
        self.signals = spec.encode(self.targets)
        self.controller = ControllerConfig(
            observation_dim=spec.dim, action_space=spec, readout=readout
        )

    def describe(self) -> dict[str, Any]:
        return {"game": "signals"}

    def __call__(self, parameters: np.ndarray, seed: int) -> np.ndarray:
        return np.stack([self.score(ControllerAgent(self.controller, row)) for row in parameters])

    def score(self, agent: Agent) -> np.ndarray:
        actions, _ = agent.predict(self.signals, deterministic=True)
        if self.controller.action_space.is_continuous:
            return 1.0 - np.abs(actions - self.targets).mean(1)
        return np.reshape(actions == self.targets, (64, -1)).mean(1)


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=pytest.mark.slow if kind == "multi_discrete" else ())
        for kind in KINDS
    ],
)
def test_ppo_finds_the_optimum(kind: str, tmp_path: Path) -> None:
    config = PPOConfig(
        steps=4_096,
        rollout_steps=32,
        batch_size=128,
        n_epochs=4,
        learning_rate=1e-2,
        learning_rate_final=1e-3,
        log_std=-0.5,
        log_std_final=-2.0,
        reward_scale=1.0,
        gamma=0.0,
        hidden_dims=(16,),
    )
    with PPOLearner(SignalVectorEnv(kind, 16), config, path=tmp_path / "run") as learner:
        before = Signals(kind).score(learner.agent).mean()
        learner.learn(progress=False)
        learner.save(tmp_path / "agent")
        assert Signals(kind).score(learner.agent).mean() > max(0.9, before)
    agent = load_agent(tmp_path / "agent")
    assert agent.action_space == SPACES[kind]
    observations, _ = SignalVectorEnv(kind).reset(seed=1)
    expected, _ = learner.agent.predict(observations, deterministic=True)
    np.testing.assert_array_equal(agent.predict(observations, deterministic=True)[0], expected)
    assert agent.predict(observations[0])[0] in SPACES[kind]


@pytest.mark.parametrize(("kind", "readout"), READOUTS)
def test_cma_es_finds_the_optimum(kind: str, readout: str, tmp_path: Path) -> None:
    config = CMAESConfig(generations=40, population_size=16, sigma=0.5)
    fitness = Signals(kind, readout)
    with CMAES(fitness, config, path=tmp_path / "run") as search:
        search.learn(progress=False)
        search.save(tmp_path / "agent")
        assert fitness.score(search.agent).mean() > (0.9 if kind == "box" else 0.95)
    agent = load_agent(tmp_path / "agent")
    observations, _ = SignalVectorEnv(kind).reset(seed=1)
    np.testing.assert_array_equal(agent.predict(observations)[0], search.predict(observations)[0])
    assert agent.predict(observations[0])[0] in SPACES[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_variational_search_finds_the_optimum(kind: str, tmp_path: Path) -> None:
    config = VariationalSearchConfig(
        generations=25, population_size=24, std=0.5, alpha=0.01, prior_std=3.0
    )
    fitness = Signals(kind)
    with VariationalSearch(fitness, config, path=tmp_path) as search:
        search.learn(progress=False)
        assert fitness.score(search.agent).mean() > 0.9


@pytest.mark.parametrize(("kind", "readout"), READOUTS)
def test_dream_and_real_fitness_take_the_same_actions(
    kind: str, readout: Any, make_tiny: Callable[..., Any]
) -> None:
    task = CHOICES[kind]
    world_model = WorldModel.open(task, **make_tiny(task).kwargs)
    dream = DreamFitness(
        world_model,
        DreamFitnessConfig(num_rollouts=3, agent_steps=4, action_noise=0.1),
        readout=readout,
    )
    parameters = np.random.default_rng(0).normal(size=(2, dream.controller.parameter_count))
    found = dream.rollouts(parameters.astype(np.float32), 0)
    assert found.actions.shape == (2, 3, task.action_dim)
    with RealFitness(
        world_model, RealFitnessConfig(num_rollouts=2, num_envs=2), readout=readout, workers=0
    ) as real:
        assert real.controller == dream.controller
        played = real.rollouts(parameters.astype(np.float32), 0)
    assert played.scores.shape == (2, 2)
    if kind in ("discrete", "multi_discrete"):  # the share of each option
        for each in (found.actions, played.actions):
            np.testing.assert_allclose(each.sum(-1), len(task.actions.num_options), rtol=1e-6)


def test_thresholds_are_those_of_the_paper() -> None:
    config = ControllerConfig(
        observation_dim=1, action_space=SPACES["discrete"], readout="thresholds"
    )
    outputs = torch.tensor([-1.0, -0.34, -0.33, 0.0, 0.33, 0.34, 1.0])[:, None]
    chosen = decode_outputs(outputs, config=config)
    assert chosen.tolist() == [2, 2, 3, 3, 3, 4, 4]  # the options are 2, 3 and 4
    assert (config.num_outputs, config.parameter_count) == (1, 2)


def test_argmax_tells_large_outputs_apart() -> None:
    config = ControllerConfig(observation_dim=1, action_space=SPACES["discrete"])
    agent = ControllerAgent(config, np.float32([30, 31, 29, 0, 0, 0]))  # tanh of all is 1
    assert agent.predict(np.ones(1, np.float32))[0] == 3


@pytest.mark.parametrize("kind", KINDS)
def test_stores_keep_actions_in_their_own_type(
    kind: str, tmp_path: Path, make_tiny: Callable[..., Any]
) -> None:
    task, tiny = CHOICES[kind], make_tiny(CHOICES[kind])
    store = collect(task, tmp_path / "store", episodes=6, num_envs=3, workers=1, progress=False)
    assert store.metadata.action_space == ActionSpec.of(SPACES[kind])
    assert store.metadata.policy["name"] == ("autoregressive" if kind == "box" else "repeated")
    again = collect(task, tmp_path / "again", episodes=6, num_envs=2, workers=0, progress=False)
    assert store.content_hash() == again.content_hash()
    actions = store.actions(0)
    assert actions.dtype == SPACES[kind].dtype
    assert all(action in SPACES[kind] for action in actions)
    vision = load_vision(tiny.kwargs["vision"], device="cpu")
    episodes = load_latents([StoredEpisode(store, store.summary(0))], vision)
    np.testing.assert_array_equal(episodes[0].actions.numpy(), task.actions.encode(actions))


@pytest.mark.parametrize("kind", KINDS)
def test_from_data_to_an_agent_in_a_video(
    kind: str, tmp_path: Path, make_tiny: Callable[..., Any]
) -> None:
    task, tiny = CHOICES[kind], make_tiny(CHOICES[kind])
    store = collect(task, tmp_path / "store", episodes=8, num_envs=4, workers=0, progress=False)
    vision = load_vision(tiny.kwargs["vision"], device="cpu")
    train_memory(
        [store],
        tmp_path / "memory",
        vision=vision,
        config=MDNRNNConfig(hidden_dim=16, num_mixtures=2),
        training=MemoryTrainingConfig(steps=4, batch_size=4, sequence_length=6),
        progress=False,
    )
    world_model = WorldModel.open(task, vision, tmp_path / "memory" / "artifact", device="cpu")
    assert world_model.memory is not None
    assert world_model.memory.num_options == task.actions.num_options
    ref = WorldModelRef.of(
        world_model, vision=tiny.kwargs["vision"], memory=tmp_path / "memory" / "artifact"
    )
    config = ControllerConfig.for_spaces(
        world_model.observation_space, world_model.action_space, hidden_dims=(4,)
    )
    weights = np.random.default_rng(0).normal(size=config.parameter_count)
    agent = ControllerAgent(config, weights, world_model=ref)
    score = evaluate(agent, episodes=3, world_model=world_model, workers=0)
    assert score.lengths == (choice_game.HORIZON,) * 3
    dream = evaluate_dream(agent, episodes=3, world_model=world_model, agent_steps=5)
    assert max(dream.lengths) <= 5
    more = collect(
        task,
        tmp_path / "more",
        policy=agent,
        episodes=2,
        world_model=world_model,
        num_envs=2,
        workers=0,
        progress=False,
    )
    assert all(action in SPACES[kind] for action in more.actions(0))
    video = record(
        agent,
        tmp_path / "video.gif",
        world_model=world_model,
        config=VideoConfig(agent_steps=4, dream_agent_steps=2),
    )
    assert len(iio.imread(video.path if hasattr(video, "path") else tmp_path / "video.gif")) == 5


@pytest.mark.parametrize("kind", KINDS)
def test_random_scores(kind: str) -> None:
    result = evaluate("random", task=CHOICES[kind], episodes=20, workers=0)
    again = evaluate("random", task=CHOICES[kind], episodes=20, workers=1)
    assert result.returns == again.returns
    assert 0.2 * choice_game.HORIZON < result.mean < 0.8 * choice_game.HORIZON


def test_repeated_random_actions_are_held() -> None:
    act = RepeatedRandom().start(CHOICES["discrete"], np.random.default_rng(0))
    actions = np.array([int(act(None)) for _ in range(4000)])
    assert set(actions.tolist()) == {2, 3, 4}
    runs = np.diff(np.flatnonzero(np.diff(actions)))
    # A hold lasts 5.5 steps on average, and goes on with probability 1/3.
    assert runs.mean() == pytest.approx(5.5 / (2 / 3), rel=0.1)


def test_an_agent_is_replaced_with_the_probability_of_the_noise() -> None:
    task = CHOICES["discrete"]
    shares, switches = [], []
    for seed in range(300):
        noise = NoisyAgent(max_scale=0.6, smoothing=0.8)
        act = noise.start(task, np.random.default_rng(seed))
        own = np.array([int(act(np.int64(9))) == 9 for _ in range(200)])
        shares.append(1 - own.mean())
        switches.append(np.mean(own[1:] != own[:-1]))
    assert np.mean(shares) == pytest.approx(0.3, abs=0.06)  # ε is uniform up to 0.6
    assert min(shares) < 0.05
    assert max(shares) > 0.5
    # A switch needs a new decision, and one that differs: 0.2 · 2 E[ε(1 − ε)].
    assert np.mean(switches) == pytest.approx(0.2 * 2 * (0.3 - 0.12), abs=0.015)
    silent = NoisyAgent(max_scale=0.0).start(task, np.random.default_rng(0))
    assert all(silent(np.int64(3)) == 3 for _ in range(50))


def test_continuous_noise_for_discrete_actions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="policy: expected 'repeated' random actions"):
        collect(
            CHOICES["multi_binary"],
            tmp_path / "store",
            policy=AutoregressiveNoise(),
            episodes=1,
            workers=0,
            progress=False,
        )
