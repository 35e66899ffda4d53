"""Stacks of frames in environments, against Gymnasium's wrapper and single frames."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers import FrameStackObservation
from stable_baselines3.common.env_checker import check_env as check_env_for_sb3
from toy_game import SCREEN, STEERED, TOY

from wmrl.envs.dream.env import DreamEnv
from wmrl.envs.dream.vector import DreamVectorEnv
from wmrl.envs.frames.env import FrameEnv
from wmrl.envs.latent.env import LatentEnv
from wmrl.envs.latent.vector import LatentVectorEnv
from wmrl.envs.latent.wrapper import LatentObservation
from wmrl.envs.tasks.task import Task
from wmrl.envs.world_model import WorldModel
from wmrl.storage.artifact import ArtifactError

K = 3
STACKED = replace(STEERED, frame_stack=K)
GRAY = replace(STEERED, frame_stack=K, grayscale=True)
RIGHT = np.array([1.0, 0.0], np.float32)


@pytest.mark.parametrize("base", ["toy_game:Toy-v0", "toy_game:FastToy-v0"])
def test_frame_env_passes_gymnasiums_check(base: str) -> None:
    calm = replace(STACKED, action_space=spaces.Box(-0.5, 0.5, (2,), np.float32))
    with pytest.warns(UserWarning, match=r"spec|symmetric|normalized"):
        check_env(FrameEnv(calm, base=base))


@pytest.mark.parametrize(
    "task", [TOY, replace(TOY, grayscale=True), replace(SCREEN, blank_final_frame=True)]
)
@pytest.mark.parametrize("frame_stack", [2, 4])
def test_stacks_are_those_of_gymnasium(task: Task, frame_stack: int) -> None:
    env = FrameEnv(replace(task, frame_stack=frame_stack))
    oracle = FrameStackObservation(FrameEnv(task), frame_stack, padding_type="reset")
    height, width, channels = task.frame_shape
    shape = (height, width, channels * frame_stack)
    assert env.observation_space == spaces.Box(0, 255, shape, np.uint8)
    for seed in (3, 4):
        ours, theirs = env.reset(seed=seed), oracle.reset(seed=seed)
        over = False
        while True:
            assert ours[0] in env.observation_space
            np.testing.assert_array_equal(ours[0], np.concatenate(list(theirs[0]), axis=-1))
            assert ours[1:] == theirs[1:]
            if over:
                break
            ours, theirs = env.step(RIGHT), oracle.step(RIGHT)
            over = ours[2] or ours[3]


@pytest.fixture(scope="module", params=["VAE", "VQVAE"])
def tiny(request: pytest.FixtureRequest, make_tiny: Callable[..., Any]) -> Any:
    return make_tiny(STACKED, discrete=request.param == "VQVAE")


@pytest.fixture(scope="module")
def world_model(tiny: Any) -> WorldModel:
    return WorldModel.open(STACKED, **tiny.kwargs)


@pytest.mark.parametrize("kind", [LatentEnv, DreamEnv])
def test_latents_and_dreams_pass_both_checks(kind: Any, tiny: Any) -> None:
    space = spaces.Box(-1.0, 1.0, (2,), np.float32)
    calm = replace(STACKED, action_space=space, to_env_action=lambda action: 0.5 * action)
    env = kind(task=calm, **tiny.kwargs)
    check_env(env, skip_render_check=True)
    check_env_for_sb3(env)


def test_a_world_model_observes_the_stacks(world_model: WorldModel) -> None:
    vision, memory = world_model.vision, world_model.memory
    env = LatentEnv(task=STACKED, vision=vision, memory=memory)
    wrapper = LatentObservation(gym.make("toy_game:Toy-v0", max_episode_steps=-1), world_model)
    stacks, frames = FrameEnv(STACKED), FrameEnv(STEERED)
    for seed in (0, 1):
        for each in (env, wrapper):
            seen = each.reset(seed=seed)[0]
            expected = [vision.encode_numpy(stacks.reset(seed=seed)[0][None])[0]]
            shown = [frames.reset(seed=seed)[0]]
            found, over = [seen[: vision.latent_dim]], False
            while not over:
                np.testing.assert_array_equal(each.frame, shown[-1])
                seen, _, terminated, truncated, _ = each.step(RIGHT)
                over = terminated or truncated
                found.append(seen[: vision.latent_dim])
                expected.append(vision.encode_numpy(stacks.step(RIGHT)[0][None])[0])
                shown.append(frames.step(RIGHT)[0])
            np.testing.assert_array_equal(each.frame, shown[-1])
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize("workers", [0, 2])
def test_no_stack_reaches_into_another_episode(
    world_model: WorldModel, mode: AutoresetMode, workers: int
) -> None:
    """Vector environments against single environments, over the ends of episodes."""
    vision = world_model.vision
    env = LatentVectorEnv.from_world_model(world_model, 3, workers=workers, autoreset_mode=mode)
    games = [FrameEnv(STACKED) for _ in range(3)]
    stacks = [game.reset(seed=slot)[0] for slot, game in enumerate(games)]
    latents = env.reset(seed=0)[0][:, : vision.latent_dim]
    over, ends = [False] * 3, 0
    generator = np.random.default_rng(0)
    for _ in range(30):
        expected = vision.encode_numpy(np.stack(stacks))
        np.testing.assert_allclose(latents, expected, rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(env.frames, np.stack(stacks)[..., -3:])
        actions = generator.uniform([-0.2, -0.5], [1, 0.5], (3, 2)).astype(np.float32)
        if mode is AutoresetMode.DISABLED and any(over):
            seen, _ = env.reset(options={"reset_mask": np.array(over)})
            latents = seen[:, : vision.latent_dim]
            stacks = [
                game.reset()[0] if done else stack
                for game, stack, done in zip(games, stacks, over, strict=True)
            ]
            over = [False] * 3
            continue
        seen, *_, infos = env.step(actions)
        latents = seen[:, : vision.latent_dim]
        for slot, game in enumerate(games):
            if over[slot] and mode is AutoresetMode.NEXT_STEP:
                stacks[slot], over[slot] = game.reset()[0], False
                continue
            stacks[slot], _, terminated, truncated, _ = game.step(actions[slot])
            over[slot] = terminated or truncated
            ends += over[slot]
            if over[slot] and mode is AutoresetMode.SAME_STEP:
                final = infos["final_obs"][slot][: vision.latent_dim]
                expected = vision.encode_numpy(stacks[slot][None])[0]
                np.testing.assert_allclose(final, expected, rtol=1e-5, atol=1e-5)
                stacks[slot], over[slot] = game.reset()[0], False
    assert ends >= 3
    env.close()


def test_dreams_show_the_newest_frame(world_model: WorldModel) -> None:
    env = DreamVectorEnv.from_world_model(world_model, 2, render_mode="rgb_array")
    env.reset(seed=0)
    images = env.render()
    assert images is not None
    assert {image.shape[2] for image in images} == {3}


@torch.no_grad()
def test_models_of_other_stacks_are_refused(
    world_model: WorldModel, make_tiny: Callable[..., Any]
) -> None:
    name = r"vision: expected a frame_stack of 1 as in the task 'steered-toy', got a \w+ for a "
    with pytest.raises(ArtifactError, match=rf"{name}frame_stack of 3; .* in '@64x64x3x3'"):
        WorldModel.open(STEERED, world_model.vision, None)
    single = make_tiny(STEERED)
    with pytest.raises(ArtifactError, match=r"frame_stack of 3 .* of 1; .* ends in '@64x64x3'"):
        WorldModel.open(STACKED, single.vision, None)
    # The inputs of both have three channels.
    with pytest.raises(ArtifactError, match=r"frames of shape \(64, 64, 1\) .* in '@64x64x3'"):
        WorldModel.open(GRAY, single.vision, None)
