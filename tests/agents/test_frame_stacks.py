"""Stacks of frames from the first rollout to the score of an agent, with both kinds of latents."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy_game import SCREEN, STEERED, TOY, ScreenToy

from wmrl.agents.controller import ControllerAgent, ControllerConfig
from wmrl.agents.evaluation.scoring import evaluate, evaluate_dream
from wmrl.agents.rollouts.collection import collect
from wmrl.agents.rollouts.wrapper import RecordRollouts
from wmrl.agents.video.config import VideoConfig
from wmrl.agents.video.recording import EpisodeVideo
from wmrl.agents.world_model_ref import WorldModelRef
from wmrl.core.frames import newest_frames
from wmrl.data.split import StoredEpisode
from wmrl.data.store import RolloutStore, StoreError
from wmrl.envs.frames.env import FrameEnv
from wmrl.envs.latent.env import LatentEnv
from wmrl.envs.rendering.panels import Panel, PanelDrawer
from wmrl.envs.tasks.task import Task
from wmrl.envs.world_model import WorldModel
from wmrl.memory.code_memory import CodeMemoryConfig
from wmrl.memory.dataset import load_latents
from wmrl.memory.mdn_rnn import MDNRNNConfig
from wmrl.memory.start_states import StartStatesConfig
from wmrl.memory.training import MemoryTrainingConfig, train_memory
from wmrl.training.trainer import TrainingConfig
from wmrl.vision.base import Vision
from wmrl.vision.training import train_vision
from wmrl.vision.vae import VAEConfig
from wmrl.vision.vqvae import VQVAEConfig

K = 4
STACKED = STEERED.with_frames(frame_stack=K)
VISIONS: dict[str, Any] = {
    "VAE": VAEConfig(base_channels=4, latent_dim=6),
    "VQVAE": VQVAEConfig(
        base_channels=4,
        residual_channels=2,
        codebook_size=6,
        code_dim=2,
        num_downsamplings=5,
        warmup_steps=1,
    ),
}
MEMORIES: dict[str, Any] = {
    "VAE": MDNRNNConfig(hidden_dim=8, num_mixtures=2),
    "VQVAE": CodeMemoryConfig(hidden_dim=8, token_dim=4),
}


@dataclass(frozen=True)
class Trained:
    """Rollouts, and a world model and an agent that were trained on them."""

    store: RolloutStore
    vision: Vision
    world_model: WorldModel
    agent: ControllerAgent


@pytest.fixture(scope="module", params=VISIONS)
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    path = tmp_path_factory.mktemp("trained")
    store = collect(STACKED, path / "data", episodes=8, num_envs=3, workers=2, progress=False)
    options: dict[str, Any] = {"device": "cpu", "progress": False}
    vision = train_vision(
        [store],
        path / "vision",
        config=VISIONS[request.param],
        training=TrainingConfig(steps=6, batch_size=8),
        **options,
    )
    memory = train_memory(
        [store],
        path / "memory",
        vision=vision,
        config=MEMORIES[request.param],
        training=MemoryTrainingConfig(
            steps=3, batch_size=4, sequence_length=5, start_states=StartStatesConfig(burn_in=2)
        ),
        **options,
    )
    world_model = WorldModel.open(STACKED, vision, memory)
    config = ControllerConfig.for_spaces(world_model.observation_space, world_model.action_space)
    weights = np.random.default_rng(0).normal(size=config.parameter_count)
    ref = WorldModelRef.of(
        world_model, vision=path / "vision" / "artifact", memory=path / "memory" / "artifact"
    )
    return Trained(store, vision, world_model, ControllerAgent(config, weights, world_model=ref))


def test_stores_hold_single_frames(trained: Trained, tmp_path: Path) -> None:
    store = trained.store
    assert (store.metadata.task, store.metadata.frame_stack) == ("steered-toy@64x64x3x4", K)
    plain = collect(STEERED, tmp_path, episodes=8, num_envs=3, workers=0, progress=False)
    assert plain.metadata.frame_stack == 1
    assert store.content_hash() == plain.content_hash()


def test_the_vision_model_follows_the_store(trained: Trained) -> None:
    assert trained.vision.frame_shape == (64, 64, 3)
    assert (trained.vision.frame_stack, trained.vision.input_shape) == (K, (64, 64, 3 * K))


def test_live_stacks_and_latents_are_those_of_the_store(trained: Trained) -> None:
    store, vision = trained.store, trained.vision
    env = LatentEnv(task=STACKED, vision=vision, memory=trained.world_model.memory)
    frames = FrameEnv(STACKED)
    for index in store.indices[:3]:
        seed = store.info(index)["seed"]
        seen, stacks, shown = [env.reset(seed=seed)[0]], [frames.reset(seed=seed)[0]], [env.frame]
        for action in store.actions(index):
            seen.append(env.step(action)[0])
            stacks.append(frames.step(action)[0])
            shown.append(env.frame)
        recorded = store.stacks(index)
        np.testing.assert_array_equal(stacks, recorded)
        np.testing.assert_array_equal(shown, store.frames(index))
        live = np.stack(seen)[:, : vision.latent_dim]
        np.testing.assert_array_equal(live, [vision.encode_numpy(s[None])[0] for s in recorded])
        (latents,) = load_latents([StoredEpisode(store, store.summary(index))], vision)
        np.testing.assert_allclose(live, latents.mean, rtol=2e-3, atol=2e-3)


def test_agents_are_scored_in_the_game_and_in_dreams(trained: Trained) -> None:
    with pytest.raises(ValueError, match="task: expected one of"):
        trained.agent.open_world_model(device="cpu")  # the toy is not registered
    given = {"task": "toy_game:STEERED@64x64x3x4", "device": "cpu"}
    score = evaluate(trained.agent, episodes=3, workers=0, **given)  # type: ignore[arg-type]
    assert score.task == STACKED.name
    dream = evaluate_dream(trained.agent, episodes=3, agent_steps=4, **given)  # type: ignore[arg-type]
    assert max(dream.lengths) <= 4


def test_agents_collect_with_stacks(trained: Trained, tmp_path: Path) -> None:
    options: dict[str, Any] = {"episodes": 2, "num_envs": 2, "workers": 0, "progress": False}
    world_model = trained.world_model
    store = collect(
        STACKED, tmp_path / "a", policy=trained.agent, world_model=world_model, **options
    )
    assert store.metadata.frame_stack == K
    assert store.frames(0).shape[1:] == (64, 64, 3)
    with pytest.raises(ValueError, match=r"a frame_stack of 4, .* got 1 in the task 'steered-toy'"):
        collect(STEERED, tmp_path / "b", policy=trained.agent, world_model=world_model, **options)
    assert not (tmp_path / "b").exists()


def test_functions_see_stacks(tmp_path: Path) -> None:
    seen = []

    def act(stack: np.ndarray) -> np.ndarray:
        seen.append(stack)
        return np.array([0.5, 0.0], np.float32)

    store = collect(
        STACKED, tmp_path, policy=act, episodes=1, num_envs=1, workers=0, progress=False
    )
    np.testing.assert_array_equal(seen, store.stacks(0)[:-1])


def test_videos_show_the_newest_frame(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[list[Panel]] = []
    draw = PanelDrawer.draw

    def keep(self: PanelDrawer, panels: Any) -> np.ndarray:
        drawn.append(list(panels))
        return draw(self, drawn[-1])

    monkeypatch.setattr(PanelDrawer, "draw", keep)
    config = VideoConfig(seed=2, agent_steps=3, width=80, height=80, sharp=False)
    list(EpisodeVideo(trained.agent, trained.world_model, config))
    env = LatentEnv(task=STACKED, vision=trained.vision, memory=trained.world_model.memory)
    observation, _ = env.reset(seed=2)
    assert len(drawn) > 2
    for step, (real, reconstruction, *_) in enumerate(drawn):
        np.testing.assert_array_equal(real.image, env.frame)
        decoded = trained.vision.decode_numpy(env.state.latent.numpy())[0]
        np.testing.assert_array_equal(reconstruction.image, decoded)
        error = np.square(env.frame.astype(float) - decoded).mean() ** 0.5
        assert reconstruction.metrics == [("RMS error", f"{error:.1f} of 255")]
        if step + 1 < len(drawn):
            action, _ = trained.agent.predict(observation, deterministic=True)
            observation, *_ = env.step(action)


def play(env: Any, *, seed: int) -> list[np.ndarray]:
    """Plays an episode to the right; returns the observations."""
    seen, over = [env.reset(seed=seed)[0]], False
    while not over:
        observation, _, terminated, truncated, _ = env.step(np.array([0.9, 0.0], np.float32))
        seen.append(observation)
        over = terminated or truncated
    return seen


@pytest.mark.parametrize("task", [TOY, replace(SCREEN, blank_final_frame=True)])
def test_recorded_loops_keep_single_frames(task: Task, tmp_path: Path) -> None:
    stacked = replace(task, frame_stack=K)
    env = RecordRollouts(FrameEnv(stacked), tmp_path)
    seen = play(env, seed=3)
    env.close()
    store = RolloutStore(tmp_path)
    assert (store.metadata.frame_shape, store.metadata.frame_stack) == ((16, 16, 3), K)
    np.testing.assert_array_equal(seen, store.stacks(0))
    np.testing.assert_array_equal(newest_frames(np.stack(seen), K), store.frames(0))
    RecordRollouts(FrameEnv(stacked), store)
    with pytest.raises(StoreError, match="expected a store with frame_stack 1, got 4"):
        RecordRollouts(FrameEnv(task), store)


def test_loops_of_other_environments_are_recorded_for_stacks(tmp_path: Path) -> None:
    task = replace(SCREEN, frame_stack=K, frame_skip=1)
    env = RecordRollouts(ScreenToy(), tmp_path, task=task)
    play(env, seed=3)
    store, expected = RolloutStore(tmp_path), play(FrameEnv(task, max_frames=1000), seed=3)
    assert store.metadata.frame_stack == K
    np.testing.assert_array_equal(store.stacks(0), expected)
