"""vsg/TakeCover-v0: episodes, rewards, ends, and what an episode depends on."""

import contextlib
import hashlib
import inspect
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as check_env_sb3

import wmrl  # noqa: F401 - registers the environment
from wmrl.envs.take_cover.env import TakeCover

LEFT, STAY, RIGHT = range(3)


@pytest.fixture
def env() -> Iterator[TakeCover]:
    env = TakeCover()
    yield env
    env.close()


def digest(env: TakeCover, seed: int, steps: int = 100) -> str:
    """Digest of all observations, rewards and ends of the first steps of an episode."""
    found = hashlib.sha256()
    observation, _ = env.reset(seed=seed)
    found.update(observation.tobytes())
    actions = np.random.default_rng(seed).integers(3, size=steps)
    for action in actions:
        observation, *rest = env.step(action)
        found.update(observation.tobytes() + repr(rest).encode())
        if rest[1] or rest[2]:
            break
    return found.hexdigest()


def play(env: TakeCover, seed: int, frames: int) -> tuple[float, dict[str, Any], int]:
    """Return, last info and number of agent steps of an episode in which nobody moves."""
    env.reset(seed=seed)
    total, steps = 0.0, 0
    while True:
        reward, terminated, truncated, info = env.advance(STAY, frames)
        total, steps = total + reward, steps + 1
        if terminated or truncated:
            return total, info, steps


def engine_of(env: TakeCover) -> int:
    """Id of the process of the game engine."""
    name = env._game.get_instance_id().encode()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if name in path.read_bytes().split(b"\0"):
                return int(path.parent.name)
    raise AssertionError("no engine")


def test_passes_both_environment_checks() -> None:
    env = gym.make("vsg/TakeCover-v0")
    check_env(env.unwrapped, skip_render_check=True)
    check_env_sb3(env)
    env.close()


def test_a_seed_starts_the_same_episode_in_fresh_and_used_environments(env: TakeCover) -> None:
    fresh = {}
    for seed in (5, 6, 2**40):
        new = TakeCover()
        fresh[seed] = digest(new, seed)
        new.close()
    assert len(set(fresh.values())) == 3
    for seed in (6, 5, 5, 2**40, 6):
        assert digest(env, seed) == fresh[seed]
    env.close()
    assert digest(env, 5) == fresh[5]  # close ended the engine; reset started another


def test_a_seed_starts_the_same_episode_in_another_process(env: TakeCover, tmp_path: Path) -> None:
    code = (
        "import hashlib\nimport numpy as np\nfrom wmrl.envs.take_cover.env import TakeCover\n"
        f"{inspect.getsource(digest)}\n"
        "env = TakeCover()\nprint(digest(env, 11))\nenv.close()"
    )
    output = subprocess.check_output([sys.executable, "-c", code], cwd=tmp_path, text=True)
    assert output.split() == [digest(env, 11)]


def test_episodes_without_a_seed_differ_and_follow_from_the_last_seed(env: TakeCover) -> None:
    def episodes() -> list[float]:
        scores = [play(env, 3, 4)[0]]
        for _ in range(3):
            env.reset()
            total, ended = 0.0, False
            while not ended:
                reward, ended, *_ = env.advance(STAY, 4)
                total += reward
            scores.append(total)
        return scores

    first = episodes()
    assert len(set(first)) > 1
    assert episodes() == first


@pytest.mark.parametrize("seed", range(3))
def test_the_return_is_the_number_of_survived_tics(env: TakeCover, seed: int) -> None:
    for frames in (1, 4, 7):
        total, info, steps = play(env, seed, frames)
        assert total == info["tics"] - 1
        assert steps == -(-info["tics"] // frames)
        assert env._game.get_total_reward() == info["tics"]  # ViZDoom counts the tic of the death
        assert env._game.is_player_dead()
        assert not info["survived"]


@pytest.mark.parametrize("frames", [2, pytest.param(4, marks=pytest.mark.slow), 5])
def test_advance_equals_repeated_steps(frames: int) -> None:
    single, skipping = TakeCover(max_tics=333), TakeCover(max_tics=333)
    for seed in range(3):
        rng = np.random.default_rng(seed)
        observation, info = single.reset(seed=seed)
        skipped, skipping_info = skipping.reset(seed=seed)
        ended = False
        while not ended:
            np.testing.assert_array_equal(observation, skipped)
            assert info == skipping_info
            action = rng.integers(3)
            total = 0.0
            for _ in range(frames):
                observation, reward, terminated, truncated, info = single.step(action)
                total += reward
                ended = terminated or truncated
                if ended:
                    break
            *result, skipping_info = skipping.advance(action, frames)
            assert result == [total, terminated, truncated]
            skipped = skipping.observe()
        np.testing.assert_array_equal(observation, skipped)
        assert info == skipping_info
    single.close()
    skipping.close()


def test_an_episode_is_truncated_at_the_time_limit() -> None:
    env = TakeCover(max_tics=10)
    env.reset(seed=0)
    assert env.advance(STAY, 7) == (7.0, False, False, {"tics": 7, "survived": False})
    assert env.advance(STAY, 7) == (3.0, False, True, {"tics": 10, "survived": True})
    assert env.observe().std() > 10  # a picture like any other
    with pytest.raises(ResetNeeded, match="no episode is running; call reset"):
        env.step(STAY)
    env.close()


def test_the_default_time_limit_is_that_of_the_paper(env: TakeCover) -> None:
    env.reset(seed=0)
    env._game.send_game_command("god")
    total, tics = 0.0, 0
    truncated = False
    while not truncated:
        reward, terminated, truncated, info = env.advance(STAY, 100)
        assert not terminated
        total, tics = total + reward, tics + 100
    assert total == tics == info["tics"] == 2100


def test_the_observation_is_black_after_death(env: TakeCover) -> None:
    play(env, 0, 4)
    assert not env.observe().any()
    observation, _ = env.reset()
    assert observation.std() > 10


def test_reset_replaces_an_engine_that_has_ended(env: TakeCover) -> None:
    from vizdoom import ViZDoomErrorException

    expected = digest(env, 5)
    os.kill(engine_of(env), signal.SIGKILL)
    with pytest.raises(ViZDoomErrorException):
        env.step(STAY)
    assert digest(env, 5) == expected


def test_actions_move_to_the_left_and_to_the_right(env: TakeCover) -> None:
    from vizdoom import GameVariable

    def moved(action: int) -> float:
        """How far the agent has moved along the y axis, which points to its left."""
        env.reset(seed=0)
        assert env._game.get_game_variable(GameVariable.ANGLE) == 0
        start = float(env._game.get_game_variable(GameVariable.POSITION_Y))
        env.advance(action, 30)
        return float(env._game.get_game_variable(GameVariable.POSITION_Y)) - start

    assert moved(LEFT) > 50
    assert moved(STAY) == 0
    assert moved(RIGHT) < -50


def test_more_skill_is_harder() -> None:
    def score(skill: int) -> float:
        env = TakeCover(skill=skill)
        scores = [play(env, seed, 4)[0] for seed in range(10)]
        env.close()
        return float(np.mean(scores))

    assert score(5) < score(4) < score(1)


def test_observe_returns_a_new_array(env: TakeCover) -> None:
    observation, _ = env.reset(seed=0)
    again = env.observe()
    np.testing.assert_array_equal(observation, again)
    assert not np.shares_memory(observation, again)
    kept = observation.copy()
    env.advance(RIGHT, 20)
    np.testing.assert_array_equal(observation, kept)
    assert again.flags.c_contiguous
    assert again.flags.writeable


def test_renders_enlarged_observations() -> None:
    env = TakeCover(render_mode="rgb_array")
    observation, _ = env.reset(seed=0)
    picture = env.render()
    assert picture is not None
    assert (picture.shape, picture.dtype) == ((480, 640, 3), np.uint8)
    assert abs(picture[2::4, 2::4].astype(int) - observation).mean() < 10
    env.close()


def test_shows_a_window() -> None:
    import pygame

    env = gym.make("vsg/TakeCover-v0", render_mode="human")
    env.reset(seed=0)
    env.step(LEFT)
    assert pygame.display.get_surface().get_size() == (640, 480)
    assert env.render() is None
    env.close()
    assert not pygame.display.get_init()


def test_records_video(tmp_path: Path) -> None:
    env: gym.Env[Any, Any] = gym.make("vsg/TakeCover-v0", render_mode="rgb_array", max_tics=3)
    env = gym.wrappers.RecordVideo(env, str(tmp_path / "videos"), disable_logger=True)
    env.reset(seed=0)
    for _ in range(3):
        env.step(STAY)
    env.close()
    assert list(tmp_path.glob("videos/*.mp4"))


@pytest.mark.parametrize(
    "context", ["fork", "spawn", pytest.param("forkserver", marks=pytest.mark.slow)]
)
def test_runs_in_worker_processes(env: TakeCover, context: str) -> None:
    envs = gym.make_vec(
        "vsg/TakeCover-v0",
        num_envs=2,
        vectorization_mode="async",
        vector_kwargs={"context": context},
    )
    try:
        envs.reset(seed=[1, 2])
        for _ in range(5):
            observations, *_ = envs.step(np.array([LEFT, RIGHT]))
        env.reset(seed=2)
        env.advance(RIGHT, 5)
        np.testing.assert_array_equal(observations[1], env.observe())
    finally:
        envs.close()


def test_pickles_as_its_arguments() -> None:
    env = TakeCover(skill=2, max_tics=50, render_mode="rgb_array")
    copy = pickle.loads(pickle.dumps(env))
    assert (copy.skill, copy.max_tics, copy.render_mode) == (2, 50, "rgb_array")


def test_rejects_bad_arguments(env: TakeCover) -> None:
    with pytest.raises(ValueError, match="skill: expected at most 5, got 6"):
        TakeCover(skill=6)
    with pytest.raises(ValueError, match="max_tics: expected at least 1, got 0"):
        TakeCover(max_tics=0)
    with pytest.raises(ValueError, match="render_mode: expected one of 'human', 'rgb_array'"):
        TakeCover(render_mode="depth")
    with pytest.raises(ResetNeeded, match="call reset"):
        env.observe()
    with pytest.raises(ResetNeeded, match="call reset"):
        env.step(STAY)
    with pytest.raises(ValueError, match="seed: expected at least 0, got -1"):
        env.reset(seed=-1)
    env.reset(seed=0)
    for action in (3, -1, 1.0, None, np.array([1]), True):
        with pytest.raises(ValueError, match="action: expected"):
            env.step(action)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="frames: expected at least 1, got 0"):
        env.advance(STAY, frames=0)
    for action in (np.int64(1), np.array(1, np.int32), np.uint8(1)):
        env.step(action)


def test_names_the_extra_if_vizdoom_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vizdoom", None)
    with pytest.raises(ImportError, match=r'run pip install "wmrl\[doom\]"'):
        gym.make("vsg/TakeCover-v0")
