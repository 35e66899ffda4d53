"""vsg/CarRacing-v3 against Gymnasium's CarRacing-v3."""

import pickle
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pygame
import pytest
from gymnasium.envs.box2d import car_racing as gymnasium_car_racing
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as check_env_sb3

import wmrl  # noqa: F401 - registers the environment
from wmrl.envs.car_racing import rasterizer, renderer
from wmrl.envs.car_racing.env import CarRacing

SCENE_ROWS = 84
FLAGS: list[dict[str, bool]] = [{}, {"domain_randomize": True}, {"continuous": False}]
STEPS = 240
DRAWN_STEPS = {1, 12, 30, 49, 100, 160, 239}


class Original(gymnasium_car_racing.CarRacing):
    """Gymnasium's environment, which renders only when asked, because rendering is slow."""

    drawing = True

    def _render(self, mode: str) -> Any:
        return super()._render(mode) if self.drawing else None


def hold_actions(env: Any, rng: np.random.Generator, step: int) -> np.ndarray:
    if step % 20 == 0:
        env.held_action = rng.uniform([-0.5, 0.0, -0.5], [0.5, 1.0, 0.3]).clip([-1, 0, 0], 1)
    return np.asarray(env.held_action, np.float32)


def full_gas(env: Any, rng: np.random.Generator, step: int) -> np.ndarray:
    return np.array([rng.choice([-1.0, 0.0, 1.0]), 1.0, 0.0], np.float32)


def stop_and_go(env: Any, rng: np.random.Generator, step: int) -> np.ndarray:
    braking = step // 40 % 2
    return np.array([np.sin(step / 25), 0.5 * (1 - braking), 0.9 * braking], np.float32)


def follow_road(env: Any, rng: np.random.Generator, step: int) -> np.ndarray:
    hull = env.car.hull
    centers = np.array([(x, y) for _, _, x, y in env.track])
    nearest = int(np.square(centers - hull.position).sum(axis=1).argmin())
    dx, dy = centers[(nearest + 4) % len(centers)] - hull.position
    sideways = dx * np.cos(hull.angle) + dy * np.sin(hull.angle)
    ahead = dy * np.cos(hull.angle) - dx * np.sin(hull.angle)
    slow = np.hypot(*hull.linearVelocity) < 45
    return np.array([np.clip(1.5 * np.arctan2(sideways, ahead), -1, 1), 0.6 * slow, 0], np.float32)


STYLES: list[Callable[[Any, np.random.Generator, int], np.ndarray]] = [
    hold_actions,
    full_gas,
    stop_and_go,
    follow_road,
]


def as_discrete(action: np.ndarray) -> int:
    steer, gas, brake = action
    return int(np.argmax([0.2, steer, -steer, gas, brake]))


def physics(env: Any) -> list[float]:
    hull = env.car.hull
    bodies = [hull, *env.car.wheels]
    spins = [value for wheel in env.car.wheels for value in (wheel.omega, wheel.phase)]
    state = [value for body in bodies for value in (*body.position, body.angle)]
    return [*state, *spins, *hull.linearVelocity, hull.angularVelocity, env.reward]


def drive_side_by_side(
    original: Original, fast: CarRacing, seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Compare physics at every step of an episode; yields some steps' states."""
    rng = np.random.default_rng(seed)
    style = STYLES[seed % len(STYLES)]
    original.drawing = True
    yield original.reset(seed=seed)[0], fast.reset(seed=seed)[0]
    for step in range(STEPS):
        action: Any = style(original, rng, step)
        action = action if original.continuous else as_discrete(action)
        original.drawing = step in DRAWN_STEPS
        state, *rest = original.step(action)
        if original.drawing:
            fast_state, *fast_rest = fast.step(action)
            yield state, fast_state
        else:
            fast_rest = list(fast.advance(action))
        assert fast_rest == rest
        assert physics(fast) == physics(original)
        if rest[1]:
            return


@pytest.mark.parametrize("tracks", [8, pytest.param(20, marks=pytest.mark.slow)])
@pytest.mark.parametrize("flags", FLAGS, ids=str)
def test_equals_gymnasium_in_physics_exactly_and_in_pixels_closely(
    flags: dict[str, bool], tracks: int
) -> None:
    original, fast = Original(**flags), CarRacing(**flags)
    pairs = [p for seed in range(tracks) for p in drive_side_by_side(original, fast, seed)]
    states, fast_states = (np.array(side, np.int16) for side in zip(*pairs, strict=True))
    difference = abs(states - fast_states)
    scene, bar = difference[:, :SCENE_ROWS], difference[:, SCENE_ROWS:]

    assert len(pairs) > 5 * tracks
    assert scene.mean() <= 0.1
    assert scene.mean(axis=(1, 2, 3)).max() <= 0.5
    assert (scene <= 4).mean() >= 0.99
    assert (scene <= 24).mean() >= 0.9995
    assert bar.mean() <= 0.1
    assert bar.max() <= 8


def test_a_touched_tile_changes_its_color() -> None:
    original, fast = Original(), CarRacing()
    original.drawing = False
    original.reset(seed=3)
    fast.reset(seed=3)
    for step in range(150):
        action = follow_road(original, np.random.default_rng(0), step)
        original.step(action)
        fast.advance(action)
    touched = [tile.road_visited for tile in fast.road]
    assert 5 < sum(touched) < len(touched)
    for tile, original_tile in zip(fast.road, original.road, strict=True):
        assert tile.color.tolist() == original_tile.color.tolist()
    colors = [np.asarray(color).tolist() for _, color in fast.road_poly]
    assert colors == [np.asarray(color).tolist() for _, color in original.road_poly]


@pytest.mark.parametrize("flags", FLAGS, ids=str)
def test_reset_replays_an_episode_whatever_came_before(flags: dict[str, bool]) -> None:
    def episode(env: CarRacing, seed: int) -> list[list[float]]:
        rng = np.random.default_rng(seed)
        env.reset(seed=seed)
        trace = []
        for step in range(200):
            action: Any = STYLES[seed % len(STYLES)](env, rng, step)
            result = env.advance(action if env.continuous else as_discrete(action))
            trace.append([*physics(env), *result[:3]])
            if result[1]:
                break
        return trace

    used = CarRacing(**flags)
    for seed in (5, 7, 6, 5):
        fresh = CarRacing(**flags)
        assert episode(used, seed) == episode(fresh, seed)
        np.testing.assert_array_equal(used.observe(), fresh.observe())


def test_frame_skip_sums_rewards_and_draws_the_last_frame() -> None:
    single, skipping = CarRacing(), CarRacing(frame_skip=4)
    state, _ = single.reset(seed=11)
    skipping_state, _ = skipping.reset(seed=11)
    np.testing.assert_array_equal(state, skipping_state)
    action = np.array([0.1, 1.0, 0.0], np.float32)
    for _ in range(20):
        reward = 0.0
        for _ in range(4):
            state, frame_reward, *_ = single.step(action)
            reward += frame_reward
        skipping_state, skipping_reward, *_ = skipping.step(action)
        assert skipping_reward == reward
        np.testing.assert_array_equal(state, skipping_state)


def test_advance_stops_where_the_episode_ends() -> None:
    env = CarRacing()
    env.reset(seed=0)
    env.car.hull.position = (gymnasium_car_racing.PLAYFIELD + 10, 0)
    reward, terminated, truncated, info = env.advance(np.zeros(3, np.float32), frames=50)
    assert (reward, terminated, truncated, info) == (-100, True, False, {"lap_finished": False})
    assert env.t == pytest.approx(2 / gymnasium_car_racing.FPS)


def test_observe_repeats_the_last_state_in_a_new_array() -> None:
    env = CarRacing()
    env.reset(seed=0)
    state, *_ = env.step(np.array([0.0, 1.0, 0.0], np.float32))
    again = env.observe()
    np.testing.assert_array_equal(state, again)
    assert not np.shares_memory(state, again)
    assert again.flags.c_contiguous


def test_rendering_is_gymnasiums() -> None:
    original, fast = (
        make(render_mode="rgb_array") for make in (gymnasium_car_racing.CarRacing, CarRacing)
    )
    for env in (original, fast):
        env.reset(seed=2)
        for _ in range(20):
            env.step(np.array([0.0, 1.0, 0.0], np.float32))
    np.testing.assert_array_equal(original.render(), fast.render())


def test_survives_the_end_of_pygame() -> None:
    env = CarRacing()
    state, _ = env.reset(seed=0)
    pygame.quit()
    renderer._score_pixels.cache_clear()
    np.testing.assert_array_equal(env.observe(), state)


def test_renders_state_pixels_with_the_score_of_now() -> None:
    original, fast = (
        make(render_mode="state_pixels") for make in (gymnasium_car_racing.CarRacing, CarRacing)
    )
    for env in (original, fast):
        env.reset(seed=2)
        for _ in range(7):
            env.step(np.array([0.0, 1.0, 0.0], np.float32))
    difference = abs(original.render().astype(int) - fast.render())
    assert difference.mean() < 0.1


# Both checkers advise against Gymnasium's asymmetric actions.
@pytest.mark.filterwarnings("ignore:.*(symmetric|normalized):UserWarning")
@pytest.mark.parametrize("flags", FLAGS, ids=str)
def test_passes_both_environment_checks(flags: dict[str, bool]) -> None:
    check_env(gym.make("vsg/CarRacing-v3", **flags).unwrapped, skip_render_check=True)
    check_env_sb3(gym.make("vsg/CarRacing-v3", **flags))


def test_runs_in_worker_processes() -> None:
    envs = gym.make_vec("vsg/CarRacing-v3", num_envs=2, vectorization_mode="async")
    try:
        states, _ = envs.reset(seed=[1, 2])
        assert states.shape == (2, 96, 96, 3)
        alone, _ = gym.make("vsg/CarRacing-v3").reset(seed=2)
        np.testing.assert_array_equal(states[1], alone)
        assert envs.step(envs.action_space.sample())[1].shape == (2,)
    finally:
        envs.close()


def test_pickles_as_its_arguments() -> None:
    env = CarRacing(None, domain_randomize=True, continuous=False, frame_skip=3)
    copy = pickle.loads(pickle.dumps(env))
    assert (copy.domain_randomize, copy.continuous, copy.frame_skip) == (True, False, 3)


def test_records_video(tmp_path: Any) -> None:
    env: gym.Env[Any, Any] = gym.make("vsg/CarRacing-v3", render_mode="rgb_array")
    env = gym.wrappers.RecordVideo(env, str(tmp_path / "videos"), disable_logger=True)
    env.reset(seed=0)
    for _ in range(3):
        env.step(env.action_space.sample())
    env.close()
    assert list(tmp_path.glob("videos/*.mp4"))


def test_rejects_bad_arguments() -> None:
    with pytest.raises(ValueError, match="frame_skip: expected at least 1, got 0"):
        CarRacing(frame_skip=0)
    env = CarRacing()
    with pytest.raises(ResetNeeded, match="call reset"):
        env.observe()
    env.reset(seed=0)
    with pytest.raises(ValueError, match="frames: expected at least 1, got 0"):
        env.advance(np.zeros(3, np.float32), frames=0)


def test_compiles_without_a_writable_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    def njit(*, cache: bool = False, **options: object) -> Callable[[object], object]:
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return lambda function: function

    monkeypatch.setattr(rasterizer, "numba", SimpleNamespace(njit=njit))
    assert rasterizer._compiled(len) is len
