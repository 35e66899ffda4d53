"""What enters an environment is checked: actions, seeds, options, and what a game returns."""

import re
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from toy_game import TOY

from wmrl.dream import DreamState
from wmrl.envs.car_racing import StatePainter
from wmrl.envs.frames.env import FrameEnv
from wmrl.envs.frames.vector import FrameVectorEnv
from wmrl.envs.tasks.task import Task

Make = Callable[[], Any]

SINGLE = ("car-racing", "gymnasium", "frames", "latent", "dream", "arm", "arm-latent")
VECTOR = ("frames-vector", "workers", "latent-vector", "dream-vector", "arm-vector")

NOT_FINITE = (np.nan, np.inf, -np.inf)


@pytest.fixture(scope="module")
def environments(make_tiny: Any) -> Iterator[dict[str, Any]]:
    """One environment of each public kind, reset; they are shared, as making them takes time."""
    tiny = make_tiny().kwargs
    arm = {"num_joints": 3, "target": "random"}
    made: dict[str, Any] = {
        "car-racing": gym.make("vsg/CarRacing-v3", disable_env_checker=True),
        "gymnasium": FrameEnv("car-racing", base="CarRacing-v3"),
        "frames": FrameEnv("car-racing"),
        "latent": gym.make("vsg/CarRacingLatent-v0", disable_env_checker=True, **tiny),
        "dream": gym.make("vsg/CarRacingDream-v0", disable_env_checker=True, **tiny),
        "arm": gym.make("vsg/PlanarArm-v0", disable_env_checker=True, **arm),
        "arm-latent": gym.make("vsg/PlanarArmLatent-v0", disable_env_checker=True, device="cpu"),
        "frames-vector": FrameVectorEnv(2, workers=0),
        "workers": FrameVectorEnv(2, workers=1),
        "latent-vector": gym.make_vec("vsg/CarRacingLatent-v0", 2, workers=0, **tiny),
        "dream-vector": gym.make_vec("vsg/CarRacingDream-v0", 2, **tiny),
        "arm-vector": gym.make_vec("vsg/PlanarArm-v0", 2, **arm),
    }
    for env in made.values():
        env.reset(seed=0)
    yield made
    for env in made.values():
        env.close()


def step_or_reset(env: Any, action: Any) -> None:
    """Takes a step; begins a new episode if the last one is over."""
    over = env.step(action)
    if np.ndim(over[2]) == 0 and (over[2] or over[3]):
        env.reset()


@pytest.mark.parametrize("bad", NOT_FINITE)
@pytest.mark.parametrize("name", [*SINGLE, *VECTOR])
def test_actions_that_are_not_finite_are_refused(
    environments: dict[str, Any], name: str, bad: float
) -> None:
    env = environments[name]
    action = np.zeros_like(env.action_space.sample())
    for place in (0, -1):
        wrong = action.copy()
        wrong.flat[place] = bad
        with pytest.raises(ValueError, match=f"^actions?: expected finite numbers, got {bad} at"):
            env.step(wrong)
    step_or_reset(env, action)  # the episode goes on


@pytest.mark.parametrize(
    "wrong",
    [
        lambda action: action[..., :-1],
        lambda action: action[None],
        lambda action: None if action.ndim == 2 else "left",
        lambda action: action.astype(complex),
        lambda action: [[0.0], [0.0, 1.0]],
        lambda action: action > 0,
    ],
)
@pytest.mark.parametrize("name", [*SINGLE, *VECTOR])
def test_what_is_no_action_is_refused(
    environments: dict[str, Any], name: str, wrong: Callable[[Any], Any]
) -> None:
    env = environments[name]
    with pytest.raises(ValueError, match=r"^actions?: expected "):
        env.step(wrong(np.zeros_like(env.action_space.sample())))


@pytest.mark.parametrize("name", ["car-racing", "latent", "dream", "arm", "dream-vector"])
def test_huge_actions_count_as_the_bounds(environments: dict[str, Any], name: str) -> None:
    env = environments[name]
    found = []
    for size in (1.0, 1e30, 1e300):
        env.reset(seed=3)
        action = np.full(env.action_space.shape, size)
        action.flat[-1] = 0.0
        observation, reward, *_ = env.step(action)
        found.append((np.asarray(observation), np.asarray(reward)))
    for observation, reward in found[1:]:
        np.testing.assert_array_equal(observation, found[0][0])
        np.testing.assert_array_equal(reward, found[0][1])


@pytest.mark.parametrize("seed", [-1, 2**63, True, 1.5, "1"])
@pytest.mark.parametrize("name", [*SINGLE, *VECTOR])
def test_what_is_no_seed_is_refused(environments: dict[str, Any], name: str, seed: Any) -> None:
    with pytest.raises(ValueError, match=r"^seed: expected "):
        environments[name].reset(seed=seed)


@pytest.mark.parametrize("name", [*SINGLE, *VECTOR])
def test_seeds_of_numpy_are_seeds(environments: dict[str, Any], name: str) -> None:
    env = environments[name]
    first, second = (env.reset(seed=seed)[0] for seed in (5, np.int64(5)))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("name", [*SINGLE, *VECTOR])
def test_the_seed_of_the_random_numbers_is_that_of_the_reset(
    environments: dict[str, Any], name: str
) -> None:
    env = environments[name].unwrapped
    env.reset(seed=17)
    assert env.np_random_seed == 17
    env.reset()
    assert env.np_random_seed == 17


@pytest.mark.parametrize("name", VECTOR)
def test_a_wrong_number_of_seeds_is_refused(environments: dict[str, Any], name: str) -> None:
    with pytest.raises(ValueError, match=r"^seed: expected 2 seeds, got 3$"):
        environments[name].reset(seed=[1, 2, 3])
    with pytest.raises(ValueError, match=r"^seed: expected at least 0, got -2$"):
        environments[name].reset(seed=[None, -2])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"road": np.zeros((2, 3, 2))}, r"^road: expected shape \(P, 4, 2\)"),
        ({"road_rgb": np.zeros((1, 3))}, r"^road_rgb: expected shape \(2, 3\)"),
        ({"ground_rgb": np.zeros(4)}, r"^ground_rgb: expected shape \(3,\)"),
        ({"grass_rgb": np.full(3, np.nan)}, r"^grass_rgb: expected finite numbers"),
    ],
)
def test_wrong_colors_are_refused(change: dict[str, np.ndarray], message: str) -> None:
    colors = {"road_rgb": np.zeros((2, 3)), "ground_rgb": np.zeros(3), "grass_rgb": np.zeros(3)}
    with pytest.raises(ValueError, match=message):
        StatePainter(**{"road": np.zeros((2, 4, 2)), **colors, **change})


def test_positions_that_are_not_finite_are_not_drawn() -> None:
    env: Any = gym.make("vsg/CarRacing-v3").unwrapped
    env.reset(seed=0)
    whole = env.observe()
    for bad in (np.nan, np.inf, 1e15):
        env.car.wheels[0].omega = bad
        with pytest.raises(
            ValueError, match=r"^gauges: expected finite numbers up to ±1e\+09, got"
        ):
            env.observe()
        env.car.wheels[0].omega = 0.0
    np.testing.assert_array_equal(env.observe(), whole)
    env.car.hull.position = (np.nan, 0.0)
    with pytest.raises(ValueError, match=r"^camera: expected finite numbers .* reset the env"):
        env.observe()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"start": 1.5}, r"options\['start'\]: expected one .* the 2 dreams .* got 1\.5"),
        ({"start": np.nan}, r"options\['start'\]: expected one index, .* got nan"),
        ({"start": [0, 1, 2]}, r"options\['start'\]: expected one index, .* got \[0, 1, 2\]"),
        ({"start": 10**6}, r"options\['start'\]: expected indices from 0 to 5"),
        ({"state": 3}, r"options\['state'\]: expected a DreamState, got 3"),
        ({"reset_mask": np.zeros(2, bool)}, r"options\['reset_mask'\]: expected shape \(2,\)"),
    ],
)
def test_options_of_dreams(
    environments: dict[str, Any], change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        environments["dream-vector"].reset(options=change)


def test_states_of_dreams_are_finite_and_fit(environments: dict[str, Any]) -> None:
    env = environments["dream-vector"].unwrapped
    state = env.state
    bad = DreamState(state.latent.clone(), state.memory)
    bad.latent[1, 2] = float("nan")
    with pytest.raises(ValueError, match=r"options\['state'\]: expected finite numbers, got NaN"):
        env.reset(options={"state": bad})
    with pytest.raises(ValueError, match=r"options\['state'\]: expected memory tensors of the"):
        env.reset(options={"state": DreamState(state.latent, state.memory[:-1])})
    env.reset(options={"state": state})


class BadGame(gym.Env[Any, Any]):
    """A game that returns a given frame or reward from its third step on."""

    action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
    observation_space = spaces.Box(0, 255, (8, 8, 3), np.uint8)

    def __init__(
        self, frame: Any = None, reward: Any = 1.0, first: Any = None, render_mode: Any = None
    ) -> None:
        self.bad_frame, self.bad_reward, self.first = frame, reward, first

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps = 0
        return self.good() if self.first is None else self.first(), {}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        self.steps += 1
        bad = self.steps >= 3 and self.bad_frame is not None
        frame = self.bad_frame() if bad else self.good()
        reward = 1.0 if self.steps < 3 else self.bad_reward
        return frame, reward, False, False, {}

    def good(self) -> np.ndarray:
        return np.full((8, 8, 3), self.steps, np.uint8)


gym.register("BadGame-v0", entry_point=BadGame)

BAD_TASK = Task(
    name="bad-game",
    env_id="BadGame-v0",
    action_space=spaces.Box(-1.0, 1.0, (1,), np.float32),
    to_env_action=np.copy,
    frame_size=(8, 8),
    frame_skip=2,
)

FRAMES: list[tuple[Any, str]] = [
    (np.ones((8, 8, 3)), r"got \(8, 8, 3\) float64"),
    (np.full((8, 8, 3), np.nan), r"got \(8, 8, 3\) float64"),
    (np.ones((8, 8, 3), np.int64), r"got \(8, 8, 3\) int64"),
    (np.ones((8, 8, 2), np.uint8), r"got \(8, 8, 2\) uint8"),
    (np.ones((8, 8), np.float32), r"got \(8, 8\) float32; convert numbers in \[0, 1\]"),
    (np.ones((8, 8, 4), np.uint8), r"got \(8, 8, 4\) uint8; drop the alpha"),
    (np.ones((3, 8, 8), np.uint8), r"got \(3, 8, 8\) uint8; move the channels last"),
    ("text", "got a str"),
]
MOMENT = r"\(task 'bad-game', episode 2 of this environment, seed 4, base frame 4\)$"


@pytest.mark.parametrize(("frame", "message"), FRAMES)
def test_frames_of_a_game_are_refused_with_the_moment(frame: Any, message: str) -> None:
    task = replace(BAD_TASK, env_kwargs={"frame": lambda: frame})
    env = FrameEnv(task)
    env.reset(seed=3)
    env.reset(seed=4)
    env.step(np.zeros(1))
    with pytest.raises(ValueError, match=rf"^frame: expected .*{message}.* {MOMENT}"):
        env.step(np.zeros(1))


def test_the_first_frame_is_checked_too() -> None:
    task = replace(BAD_TASK, env_kwargs={"first": lambda: np.zeros((8, 8, 4), np.uint8)})
    with pytest.raises(ValueError, match=r"drop the alpha .*episode 1 of .*, base frame 0\)$"):
        FrameEnv(task).reset()


def test_mirrored_frames_are_taken_as_they_look() -> None:
    picture = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)
    env = FrameEnv(replace(BAD_TASK, env_kwargs={"frame": lambda: picture[::-1, ::-1]}))
    env.reset(seed=0)
    env.step(np.zeros(1))
    frame, *_ = env.step(np.zeros(1))
    np.testing.assert_array_equal(frame, picture[::-1, ::-1])
    assert frame.flags.c_contiguous


@pytest.mark.parametrize(
    ("reward", "message"),
    [
        (np.nan, "expected a finite number, got nan"),
        (np.inf, "expected a finite number, got inf"),
        (np.float32("-inf"), "expected a finite number, got -inf"),
        (None, "expected a number, got None"),
        ("1", "expected a number, got '1'"),
        ([1.0, 2.0], r"expected a number, got \[1\.0, 2\.0\]"),
    ],
)
def test_rewards_of_a_game_are_finite_numbers(reward: Any, message: str) -> None:
    env = FrameEnv(replace(BAD_TASK, env_kwargs={"reward": reward}))
    env.reset(seed=1)
    env.step(np.zeros(1))
    with pytest.raises(ValueError, match=f"^reward.*{message}") as error:
        env.step(np.zeros(1))
    assert "task 'bad-game', episode 1 of this environment, seed 1, base frame" in str(error.value)


def test_a_vector_environment_says_the_same() -> None:
    task = replace(BAD_TASK, env_kwargs={"reward": float("nan")})
    with closing(FrameVectorEnv(2, task=task, workers=0)) as envs:
        envs.reset(seed=5)
        envs.step(np.zeros((2, 1)))
        with pytest.raises(ValueError, match=r"reward: expected a finite .*, seed 5, base frame 4"):
            envs.step(np.zeros((2, 1)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": ""}, "name: expected a non-empty name, got ''"),
        ({"env_id": " "}, "env_id: expected a non-empty name"),
        ({"crop_rows": (-1, 4)}, "crop_rows: expected at least 0, got -1"),
        ({"crop_rows": (4, 4)}, "crop_rows: expected at least 5, got 4"),
        ({"frame_size": (64, 0)}, r"frame_size\[1\]: expected at least 1, got 0"),
        ({"frame_size": (64,)}, r"frame_size: expected 2 items, got \(64,\)"),
        ({"warmup_frames": -1}, "warmup_frames: expected at least 0, got -1"),
        ({"fps": 0.0}, "fps: expected above 0, got 0.0"),
        ({"fps": float("nan")}, "fps: expected a finite number, got nan"),
        ({"frame_skip": True}, "frame_skip: expected an integer, got True"),
        ({"patience": 0}, "patience: expected at least 1, got 0"),
        ({"solved_at": float("inf")}, "solved_at: expected a finite number, got inf"),
        ({"explore_low": (float("nan"), 0.0)}, "explore_low: expected a finite number"),
        ({"explore_low": (9.0, 9.0)}, "explore_low: expected at most explore_high"),
    ],
)
def test_tasks_that_mean_nothing_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        replace(TOY, **change)


def test_a_crop_outside_of_the_frame_is_refused() -> None:
    env = FrameEnv(replace(BAD_TASK, crop_rows=(2, 9)))
    with pytest.raises(ValueError, match=r"^crop_rows: expected a range within .*got \(2, 9\)"):
        env.reset(seed=0)


def test_random_actions_need_bounds() -> None:
    free = replace(BAD_TASK, action_space=spaces.Box(-np.inf, np.inf, (1,), np.float32))
    with pytest.raises(ValueError, match=r"^action_space: expected finite bounds for random"):
        free.actions.sample(np.random.default_rng(0))
    low, high = BAD_TASK.actions.bounds
    assert (low.tolist(), high.tolist()) == ([-1.0], [1.0])


@pytest.mark.parametrize(
    "options",
    [
        {"frame_skip": 0},
        {"frame_skip": 1.5},
        {"max_frames": -1},
        {"patience": True},
        {"num_envs": 0},
        {"num_envs": True},
        {"workers": -1},
    ],
)
def test_numbers_of_frame_environments(options: dict[str, Any]) -> None:
    (name,) = options
    with pytest.raises(ValueError, match=f"^{name}: expected "):
        FrameVectorEnv(**{"num_envs": 2, "task": TOY, "workers": 0} | options)


ANY_NUMBER = st.floats(allow_nan=True, allow_infinity=True)
ANY_ACTION = st.one_of(
    st.lists(ANY_NUMBER, max_size=6),
    st.lists(st.lists(ANY_NUMBER, max_size=4), max_size=4),
    st.lists(st.integers(-(2**70), 2**70), max_size=5),
    ANY_NUMBER,
    st.none(),
    st.text(max_size=3),
    st.booleans(),
)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*SINGLE, *VECTOR])
def test_no_action_ends_the_process_or_leaves_nan(environments: dict[str, Any], name: str) -> None:
    env = environments[name]
    shape = env.action_space.shape
    fitting = st.lists(ANY_NUMBER, min_size=int(np.prod(shape)), max_size=int(np.prod(shape)))
    drawn = st.one_of(fitting.map(lambda numbers: np.reshape(numbers, shape)), ANY_ACTION)
    checks = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]

    @settings(max_examples=2000, deadline=None, suppress_health_check=checks, database=None)
    @given(action=drawn, seed=st.one_of(*[st.none()] * 19, st.integers(-3, 2**64)))
    def attempt(action: Any, seed: int | None) -> None:
        refused = ""
        try:
            if seed is not None:
                env.reset(seed=seed)
            observation, reward, terminated, truncated, _ = env.step(action)
        except ValueError as error:
            refused = str(error)
        if refused:
            assert re.match("(actions?|seed): expected ", refused)
            return
        assert np.isfinite(reward).all()
        assert np.isfinite(np.asarray(observation, np.float64)).all()
        if np.ndim(terminated) == 0 and (terminated or truncated):
            env.reset()

    env.reset(seed=0)
    attempt()
