"""Dreams that continue recorded frames: against the game, stepping by hand, and start states."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from choice_game import CHOICES
from toy_game import STEERED

from wmrl.data.split import StoredEpisode
from wmrl.data.store import RolloutStore
from wmrl.envs.dream.env import DreamEnv
from wmrl.envs.dream.vector import DreamVectorEnv
from wmrl.envs.latent.env import LatentEnv
from wmrl.envs.tasks.task import Task
from wmrl.memory.base import load_memory
from wmrl.memory.dataset import load_latents
from wmrl.memory.start_states import StartStatesConfig, choose_start_states
from wmrl.vision.base import load_vision

T = 4
TASKS = [STEERED, replace(STEERED, frame_stack=3), CHOICES["discrete"], CHOICES["multi_binary"]]


def played(env: LatentEnv, seed: int) -> dict[str, np.ndarray]:
    """Frames and actions of a game's first T agent steps."""
    env.action_space.seed(seed)
    env.reset(seed=seed)
    frames, actions = [env.frame.copy()], []
    for _ in range(T):
        actions.append(env.action_space.sample())
        env.step(actions[-1])
        frames.append(env.frame.copy())
    return {"frames": np.stack(frames), "actions": np.stack(actions)}


def recorded(seed: int = 0, steps: int = T) -> dict[str, np.ndarray]:
    """Random frames and actions of CarRacing."""
    source = np.random.default_rng(seed)
    found = {
        "frames": source.integers(0, 256, (steps + 1, 64, 64, 3), dtype=np.uint8),
        "actions": source.uniform(-1, 1, (steps, 2)).astype(np.float32),
    }
    for array in found.values():
        array.setflags(write=False)  # as arrays of files that are mapped into memory
    return found


@pytest.fixture
def make(tiny: Any) -> Callable[..., DreamVectorEnv]:
    return lambda num_envs=2, **kwargs: DreamVectorEnv(num_envs, **(tiny.kwargs | kwargs))


@pytest.mark.parametrize("task", TASKS, ids=lambda task: f"{task.name}, {task.frame_stack}")
@pytest.mark.parametrize("discrete", [False, True])
def test_the_state_is_that_of_the_game(task: Task, discrete: bool, make_tiny: Any) -> None:
    tiny = make_tiny(task, discrete=discrete)
    game, dream = LatentEnv(task=task, **tiny.kwargs), DreamEnv(task=task, **tiny.kwargs)
    options = played(game, seed=1)
    observation, _ = dream.reset(seed=0, options=options)
    state = game.state
    np.testing.assert_array_equal(dream.state.latent, state.latent)
    for ours, theirs in zip(dream.state.memory, state.memory, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    expected, _ = dream.reset(seed=0, options={"state": state})
    np.testing.assert_array_equal(observation, expected)
    action = dream.action_space.sample()
    later = [dream.step(action)[:3]]
    dream.reset(seed=0, options=options)
    later.append(dream.step(action)[:3])  # the same seed dreams the same
    np.testing.assert_array_equal(later[0][0], later[1][0])
    assert later[0][1:] == later[1][1:]


@torch.inference_mode()
def test_a_batch_is_stepped_by_hand(make: Callable[..., DreamVectorEnv]) -> None:
    env = make(3)
    parts = [recorded(seed) for seed in range(3)]
    options = {name: np.stack([part[name] for part in parts]) for name in parts[0]}
    observations, _ = env.reset(seed=0, options=options)
    vision, memory = env.world_model.vision, env.world_model.memory
    assert memory is not None
    frames, actions = (torch.from_numpy(options[name]) for name in ("frames", "actions"))
    state = memory.initial_state(3)
    for t in range(T):
        _, state = memory.step(vision.encode(frames[:, t]), actions[:, t], state)
    expected = torch.cat((vision.encode(frames[:, -1]), memory.features(state)), 1)
    np.testing.assert_array_equal(observations, expected.numpy())
    each, _ = env.reset(seed=0, options=parts)
    np.testing.assert_allclose(each, observations, atol=1e-5)


def test_recorded_start_states_are_met_again(make_rollouts: Any, make_tiny: Any) -> None:
    """A store of one episode, with as many steps as leave one start state, without its noise."""
    tiny = make_tiny()
    store: RolloutStore = make_rollouts((7,), task="car-racing")
    vision = load_vision(tiny.vision, device="cpu")
    latents = load_latents([StoredEpisode(store, store.summary(0))], vision)
    starts = choose_start_states(latents, StartStatesConfig(burn_in=6), frame_skip=4, seed=0)
    assert len(starts.mean) == 1
    memory = load_memory(tiny.memory, device="cpu")
    memory.set_start_states(starts.mean, torch.zeros_like(starts.std), starts.actions)
    env = DreamEnv(vision=vision, memory=memory)
    expected, _ = env.reset(seed=0, options={"start": 0})
    episode = store.episode(0)
    options = {"frames": episode.frames[:7], "actions": episode.actions[:6]}
    observation, _ = env.reset(seed=0, options=options)
    np.testing.assert_allclose(observation, expected, atol=1e-4)  # stored latents are float16
    assert np.abs(observation[8:]).max() > 0.01


def test_dreams_of_a_batch_may_start_each_in_its_own_way(
    make: Callable[..., DreamVectorEnv],
) -> None:
    env, single = make(4), make(1)
    one_frame = {"frames": recorded(7)["frames"][:1]}
    long = recorded(8, steps=6)
    mixed, _ = env.reset(seed=0, options=[one_frame, {"start": 2}, long, None])
    for index, options in ((0, one_frame), (2, long)):
        alone, _ = single.reset(options=[options])
        np.testing.assert_array_equal(mixed[index], alone[0])
    assert not mixed[0, 8:].any()  # the memory has seen no step
    assert mixed[2, 8:].any()
    with_empty = one_frame | {"actions": np.zeros((0, 2), np.float32)}
    np.testing.assert_array_equal(single.reset(options=[with_empty])[0][0], mixed[0])


def test_options_hold_for_one_reset_and_some_dreams(make: Callable[..., DreamVectorEnv]) -> None:
    env = make(3, autoreset_mode="SameStep", max_episode_steps=1)
    before, _ = env.reset(seed=0)
    mask = np.array([True, False, True])
    options = {name: np.stack([value] * 2) for name, value in recorded().items()}
    observations, _ = env.reset(options=options | {"reset_mask": mask})
    np.testing.assert_array_equal(observations[1], before[1])
    np.testing.assert_allclose(observations[0], observations[2], atol=1e-6)
    starts, *_, infos = env.step(np.zeros((3, 2), np.float32))
    assert infos["_final_obs"].all()
    assert not np.isclose(starts[:, :8], observations[:, :8]).all(1).any()  # drawn start states
    assert not np.isclose(starts[0], starts[2]).all()


FRAMES, ACTIONS = recorded()["frames"], recorded()["actions"]
BAD: list[tuple[dict[str, Any], str]] = [
    ({"frames": FRAMES}, r"options\['actions'\]: expected the 4 actions between the 5 frames, got"),
    ({"actions": ACTIONS}, r"options\['actions'\]: .* got actions without frames; give options\["),
    ({"frames": FRAMES[0], "actions": ACTIONS}, r"\(T \+ 1, 64, 64, 3\) uint8, got \(64, 64, 3\)"),
    (
        {"frames": FRAMES[:, :32], "actions": ACTIONS},
        r"\['frames'\]: .*, got \(5, 32, 64, 3\) uint8; give frames of the task 'car-racing'",
    ),
    ({"frames": FRAMES[..., :1], "actions": ACTIONS}, r"got \(5, 64, 64, 1\) uint8"),
    ({"frames": FRAMES[:0]}, r"got \(0, 64, 64, 3\) uint8"),
    ({"frames": FRAMES / 255, "actions": ACTIONS}, r"got \(5, 64, 64, 3\) float64"),
    ({"frames": "car.png"}, r"got \(\) <U7"),
    ({"frames": FRAMES, "actions": ACTIONS[:3]}, r"\['actions'\]: expected shape \(4, 2\), got"),
    (
        {"frames": FRAMES, "actions": 2 * ACTIONS},
        r"expected actions in Box.* at index \(\d, \d\); ",
    ),
    ({"frames": FRAMES, "actions": ACTIONS * np.nan}, r"\['actions'\]: expected finite numbers"),
    (
        {"frames": FRAMES[:1], "actions": ACTIONS[:1]},
        r"\['actions'\]: expected shape \(0, 2\), got",
    ),
    (
        {"frames": FRAMES, "actions": ACTIONS, "start": 0},
        "options: expected one of 'start', 'state', 'frames', got 'start' and 'frames'; leave",
    ),
]


@pytest.mark.parametrize(("options", "message"), BAD)
def test_bad_options_are_refused(
    options: dict[str, Any], message: str, tiny: Any, make: Callable[..., DreamVectorEnv]
) -> None:
    env = DreamEnv(**tiny.kwargs)
    env.reset(seed=0)
    before = env.state
    with pytest.raises(ValueError, match=message):
        env.reset(options=options)
    assert env.state is before
    with pytest.raises(ValueError, match=message):
        make(2).reset(options=[options, None])


def test_a_batch_needs_frames_for_each_dream(make: Callable[..., DreamVectorEnv]) -> None:
    with pytest.raises(ValueError, match=r"frames for each dream .*, \(2, T \+ 1, 64, .*\(5, 64,"):
        make(2).reset(options=recorded())


def test_discrete_actions_are_those_of_the_game(make_tiny: Any) -> None:
    task = CHOICES["discrete"]
    env = DreamEnv(task=task, **make_tiny(task).kwargs)
    frames = np.zeros((2, 64, 64, 3), np.uint8)
    env.reset(options={"frames": frames, "actions": [4]})
    with pytest.raises(ValueError, match=r"\['actions'\]: expected an integer from 2 to 4 at ind"):
        env.reset(options={"frames": frames, "actions": [1]})
