"""Each environment of a vector environment gets its own options."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from stable_baselines3.common.vec_env import VecNormalize
from toy_game import STEERED, TOY, Toy

from wmrl.agents.sb3.vec_env import SB3VecEnv, dream_vec_env
from wmrl.envs.dream.vector import DreamVectorEnv
from wmrl.envs.frames.vector import FrameVectorEnv
from wmrl.envs.latent.vector import LatentVectorEnv
from wmrl.envs.planar_arm.vector import PlanarArmVectorEnv

SAME = AutoresetMode.SAME_STEP


@pytest.mark.parametrize("workers", [0, 2])
def test_frames(workers: int) -> None:
    env = FrameVectorEnv(3, task=TOY, workers=workers)
    _, plain = env.reset(seed=4)
    _, infos = env.reset(seed=4, options=[{"start": 0.2}, {}, {"start": -0.5}])
    np.testing.assert_allclose(infos["x"] - plain["x"], [0.2, 0.0, -0.5], atol=1e-6)
    _, infos = env.reset(seed=4, options={"start": 0.1})
    np.testing.assert_allclose(infos["x"] - plain["x"], 0.1, atol=1e-6)
    env.close()


def test_latents(make_tiny: Any) -> None:
    env = LatentVectorEnv(2, task=STEERED, workers=0, **make_tiny(STEERED).kwargs)
    _, plain = env.reset(seed=4)
    _, infos = env.reset(seed=4, options=[None, {"start": 0.4}])
    np.testing.assert_allclose(infos["x"] - plain["x"], [0.0, 0.4], atol=1e-6)
    env.close()


def test_dreams(make_tiny: Any) -> None:
    tiny = make_tiny()
    env = DreamVectorEnv(3, **tiny.kwargs)
    single = DreamVectorEnv(1, **tiny.kwargs)
    mine, _ = env.reset(seed=1, options=[{"start": 5}, {"start": 0}, {"start": 5}])
    same, _ = env.reset(seed=1, options={"start": [5, 0, 5]})
    np.testing.assert_array_equal(mine, same)
    single.reset(seed=9)
    state = single.state
    mixed, _ = env.reset(seed=1, options=[{"state": state}, {}, {"start": 2}])
    np.testing.assert_array_equal(
        mixed[0], np.concatenate((state.latent[0], state.memory[0][0]))[:24]
    )
    after = env.step(np.zeros((3, 2), np.float32))
    assert np.isfinite(after[0]).all()


def test_arms() -> None:
    env = PlanarArmVectorEnv(3, num_joints=4, target="random")
    drawn, _ = env.reset(seed=2)
    targets, _ = env.reset(seed=2, options=[{"target": (0.1, 0.2)}, {}, {"target": (0.5, 0.0)}])
    np.testing.assert_allclose(targets[[0, 2]], [(0.1, 0.2), (0.5, 0.0)], rtol=1e-6)
    np.testing.assert_array_equal(targets[1], drawn[1])
    *_, infos = env.step(np.zeros((3, 4), np.float32))
    np.testing.assert_allclose(infos["distance"], np.hypot(targets[:, 0] - 1, targets[:, 1]))


@pytest.mark.parametrize("normalized", [False, True])
def test_set_options(normalized: bool) -> None:
    env: Any = SB3VecEnv(PlanarArmVectorEnv(2, num_joints=4, target="random", autoreset_mode=SAME))
    if normalized:
        env = VecNormalize(env, norm_obs=False)
    env.set_options([{"target": (0.1, 0.2)}, {"target": (0.3, 0.4)}])
    np.testing.assert_allclose(env.reset(), [(0.1, 0.2), (0.3, 0.4)], rtol=1e-6)
    assert (env.reset() != np.float32([(0.1, 0.2), (0.3, 0.4)])).all()  # for one reset only
    env.set_options({"target": (0.5, 0.0)})
    np.testing.assert_allclose(env.reset(), [(0.5, 0.0)] * 2)
    env.set_options([{}, {"target": (0.3, 0.4)}])
    np.testing.assert_allclose(env.reset()[1], (0.3, 0.4), rtol=1e-6)
    env.set_options([{"target": (0.5, 0.0)}])
    with pytest.raises(ValueError, match="options: expected 2 dictionaries, one for each"):
        env.reset()


def test_dreams_of_stable_baselines3(make_tiny: Any) -> None:
    tiny = make_tiny()
    env = dream_vec_env(num_envs=2, **tiny.kwargs)
    env.seed(3)
    env.set_options([{"start": 4}, {"start": 1}])
    found = env.reset()
    expected, _ = DreamVectorEnv(2, **tiny.kwargs).reset(seed=3, options={"start": [4, 1]})
    np.testing.assert_array_equal(found, expected)


def test_vector_environments_of_gymnasium() -> None:
    """They share options, so that they are reset one by one."""
    env = SB3VecEnv(SyncVectorEnv([Toy, Toy, Toy], autoreset_mode=SAME))
    env.seed(4)
    env.set_options([{"start": 0.3}, {}, {"start": 0.6}])
    frames = env.reset()
    for slot, start in enumerate((0.3, 0.0, 0.6)):
        toy = Toy()
        toy.reset(seed=4 + slot, options={"start": start})
        np.testing.assert_array_equal(frames[slot], toy.observe())


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ([{}], ValueError, "options: expected 2 dictionaries, one for each environment, got 1"),
        ([{}, 3], TypeError, "options: expected a dictionary for each environment, got 3"),
        ("ab", TypeError, "options: expected a dictionary or a list of 2 dictionaries, got 'ab'"),
        ([{}, {"reset_mask": 1}], ValueError, "without the key 'reset_mask', got"),
    ],
)
def test_bad_options(options: Any, error: type[Exception], message: str, make_tiny: Any) -> None:
    tiny = make_tiny(STEERED)
    for env in (
        FrameVectorEnv(2, task=TOY, workers=0),
        LatentVectorEnv(2, task=STEERED, workers=0, **tiny.kwargs),
        DreamVectorEnv(2, task=STEERED, **tiny.kwargs),
        PlanarArmVectorEnv(2),
    ):
        with pytest.raises(error, match=message):
            env.reset(options=options)
        env.close()


def test_wrappers_pass_them_on() -> None:
    env = PlanarArmVectorEnv(2, num_joints=4, target="random", autoreset_mode=SAME)
    wrapped = SB3VecEnv(gym.wrappers.vector.RecordEpisodeStatistics(env))
    wrapped.set_options([{"target": (0.1, 0.2)}, {"target": (0.3, 0.4)}])
    np.testing.assert_allclose(wrapped.reset(), [(0.1, 0.2), (0.3, 0.4)], rtol=1e-6)
