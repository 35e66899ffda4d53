"""Collection: each episode is a function of its number, whoever plays it and whenever."""

import os
import re
import shutil
import signal
import threading
import time
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from children import in_child
from gymnasium import spaces
from gymnasium.spaces import Box
from toy_game import TOY, break_at_once

from wmrl.agents.agent import Agent
from wmrl.agents.controller import ControllerAgent, ControllerConfig
from wmrl.agents.rollouts.collection import collect
from wmrl.agents.rollouts.exploration import AutoregressiveNoise, NoisyAgent, RepeatedRandom
from wmrl.agents.seeds import EVALUATION_SEEDS
from wmrl.core.seeding import numpy_generator
from wmrl.data.store import RolloutStore, StoreError
from wmrl.envs.frames.env import FrameEnv
from wmrl.envs.tasks.car_racing import CAR_RACING
from wmrl.envs.tasks.task import Task
from wmrl.envs.world_model import WorldModel
from wmrl.storage.artifact import ArtifactError

SHORT = replace(CAR_RACING, max_frames=24)


def gather(path: Path, **options: Any) -> RolloutStore:
    options = {"episodes": 9, "num_envs": 3, "workers": 0, "progress": False, **options}
    return collect(options.pop("task", TOY), path, **options)


@pytest.fixture(scope="module")
def gathered(tmp_path_factory: pytest.TempPathFactory) -> RolloutStore:
    """A whole store; who changes it takes a copy."""
    return gather(tmp_path_factory.mktemp("gathered") / "store")


def copy_of(store: RolloutStore, path: Path) -> RolloutStore:
    shutil.copytree(store.path, path)
    return RolloutStore(path)


def remove(store: RolloutStore, indices: tuple[int, ...]) -> None:
    """Leaves a store as a kill could have: some episodes were never written."""
    for index in indices:
        shutil.rmtree(store.path / "episodes" / f"{index:08d}")


@pytest.mark.parametrize(
    "policy", ["autoregressive", pytest.param("repeated", marks=pytest.mark.slow)]
)
def test_same_hash_for_any_number_of_workers_and_slots(tmp_path: Path, policy: str) -> None:
    expected = gather(tmp_path / "0", policy=policy)
    lengths = [summary.length for summary in expected.summaries]
    assert len(set(lengths)) > 3  # slots come free at different times
    for workers, slots in ((1, 3), (2, 5), (0, 1)):
        store = gather(
            tmp_path / f"{workers}-{slots}", policy=policy, workers=workers, num_envs=slots
        )
        assert store.content_hash() == expected.content_hash()
    store.verify()
    assert gather(tmp_path / "seed", policy=policy, seed=1).content_hash() != store.content_hash()


def test_episodes_are_those_of_the_game_and_the_policy(tmp_path: Path) -> None:
    store = gather(tmp_path, seed=4, policy=AutoregressiveNoise(max_scale=0.9))
    env = FrameEnv(TOY, patience=TOY.patience)
    for index in store.indices:
        episode = store.episode(index)
        act = AutoregressiveNoise(max_scale=0.9).start(TOY, numpy_generator(4, "behaviour", index))
        frame, _ = env.reset(seed=episode.info["seed"])
        frames, rewards = [frame], []
        over = False
        while not over:
            frame, reward, terminated, truncated, info = env.step(act(None))
            frames.append(frame)
            rewards.append(reward)
            over = terminated or truncated
        np.testing.assert_array_equal(episode.frames, frames)
        np.testing.assert_array_equal(episode.rewards, np.float32(rewards))
        assert (episode.terminated, episode.truncated) == (terminated, truncated)
        assert episode.info == {"seed": episode.info["seed"], "frames": info["frames"]}
    seeds = {store.info(index)["seed"] for index in store.indices}
    assert len(seeds) == len(store)
    assert not seeds & set(EVALUATION_SEEDS)


def test_patience_of_the_task_is_heeded(tmp_path: Path) -> None:
    still = AutoregressiveNoise(min_scale=0, max_scale=0)
    rest = replace(TOY, explore_low=(-0.2, 0.0), explore_high=(-0.2, 0.0), patience=6)
    store = gather(tmp_path, task=rest, policy=still)
    assert {summary.truncated for summary in store.summaries} == {True}
    assert max(summary.length for summary in store.summaries) < 50 // 3


def test_a_reached_goal_is_recorded_as_no_death(tmp_path: Path) -> None:
    lively = AutoregressiveNoise(min_scale=0.8, max_scale=0.9)
    dying = gather(tmp_path / "dying", policy=lively)
    task = replace(TOY, completed_key="x")  # which is true wherever the dot left the line
    reaching = gather(tmp_path / "reaching", task=task, policy=lively)
    ends = [[(s.terminated, s.truncated) for s in store.summaries] for store in (dying, reaching)]
    assert (True, False) in ends[0]
    assert ends[1] == [(False, True)] * len(ends[0])


def test_more_goes_on_from_less_and_enough_is_left_alone(tmp_path: Path) -> None:
    expected = gather(tmp_path / "once").content_hash()
    gather(tmp_path / "twice", episodes=4)
    assert len(RolloutStore(tmp_path / "twice")) == 4
    assert gather(tmp_path / "twice").content_hash() == expected
    # Nothing is left to do, so no game is made (this base doesn't exist).
    store = gather(tmp_path / "none", episodes=2)
    changed = {**store.metadata.policy, "base": "NoSuchGame-v0"}
    object.__setattr__(store.metadata, "policy", changed)
    moved = RolloutStore(tmp_path / "moved", "a", metadata=store.metadata)
    for index in store.indices:
        moved.write(index, store.episode(index))
    assert len(gather(tmp_path / "moved", episodes=2, base="NoSuchGame-v0")) == 2


def test_frames_are_a_budget(tmp_path: Path) -> None:
    store = gather(tmp_path / "small", episodes=None, frames=200)
    taken = 3 * sum(summary.length for summary in store.summaries)
    assert 200 <= taken < 200 + 3 * 50
    assert store.indices == list(range(len(store)))
    larger = gather(tmp_path / "small", episodes=None, frames=400, workers=2)
    assert len(larger) > len(store)
    again = gather(tmp_path / "large", episodes=None, frames=400)
    assert larger.content_hash() == again.content_hash()


@pytest.mark.parametrize("missing", [(0,), (2, 3, 8), (1, 4, 5, 6, 7, 8)])
def test_what_is_missing_is_made_again(
    tmp_path: Path, gathered: RolloutStore, missing: tuple[int, ...]
) -> None:
    remove(copy_of(gathered, tmp_path / "copy"), missing)
    assert gather(tmp_path / "copy").content_hash() == gathered.content_hash()


def test_killed_collections_end_with_the_same_hash(tmp_path: Path) -> None:
    expected = gather(tmp_path / "whole", episodes=24, seed=2).content_hash()
    folder = tmp_path / "killed" / "episodes"

    def collect_and_die(workers: int, had: int, delay: float) -> None:
        """Dies a moment after it has got further than the one before."""

        def die() -> None:
            while len(list(folder.glob("0*"))) <= had:
                time.sleep(0.005)
            time.sleep(delay)
            os.kill(os.getpid(), signal.SIGKILL)

        threading.Thread(target=die, daemon=True).start()
        gather(tmp_path / "killed", episodes=24, seed=2, workers=workers)

    had = 0
    for workers, delay in zip((2, 0), np.random.default_rng(0).uniform(0, 0.05, 2), strict=True):
        status, _ = in_child(partial(collect_and_die, workers, had, delay))
        assert status in (-signal.SIGKILL, 0)  # the latter if it was faster than that
        had = len(list(folder.glob("0*")))
        assert had > 0
        RolloutStore(tmp_path / "killed").verify()
    store = gather(tmp_path / "killed", episodes=24, seed=2)
    store.verify()
    assert len(store) == 24
    assert store.content_hash() == expected
    assert list(folder.glob(".*")) == []


@pytest.fixture
def agent(tiny: Any) -> Agent:
    """A random linear controller with the tiny world model."""
    config = ControllerConfig(observation_dim=8 + 16, action_space=Box(-1, 1, (2,)))
    weights = np.random.default_rng(0).normal(size=config.parameter_count)
    return ControllerAgent(config, weights.astype(np.float32), world_model=tiny.ref())


def drive_cars(path: Path, agent: Agent | str, **options: Any) -> RolloutStore:
    return gather(path, task=SHORT, policy=agent, episodes=5, num_envs=2, **options)


@pytest.mark.parametrize(
    "tiny", ["gaussian", pytest.param("discrete", marks=pytest.mark.slow)], indirect=True
)
def test_an_agent_drives_the_same_for_any_workers_and_when_resumed(
    tmp_path: Path, agent: Agent
) -> None:
    expected = drive_cars(tmp_path / "0", agent)
    assert {summary.length for summary in expected.summaries} == {6}
    split = drive_cars(tmp_path / "2", agent, workers=2)
    assert split.content_hash() == expected.content_hash()
    remove(split, (0, 3))
    assert drive_cars(tmp_path / "2", agent).content_hash() == expected.content_hash()
    agent.save(tmp_path / "agent")
    loaded = drive_cars(tmp_path / "loaded", str(tmp_path / "agent"))
    assert loaded.content_hash() == expected.content_hash()
    assert loaded.metadata == expected.metadata


def test_an_agents_actions_are_those_it_takes_in_its_environment(
    tmp_path: Path, agent: Agent, tiny: Any
) -> None:
    from wmrl.envs.latent.env import LatentEnv

    store = drive_cars(tmp_path, agent, noise=NoisyAgent(max_scale=0.0))
    env = LatentEnv(task=SHORT, **tiny.kwargs)
    episode = store.episode(1)
    seen, _ = env.reset(seed=episode.info["seed"])
    for action, reward in zip(episode.actions, episode.rewards, strict=True):
        own, _ = agent.predict(seen)
        # Batches of two and of one differ by rounding.
        np.testing.assert_allclose(own, action, atol=1e-4)
        seen, got, *_ = env.step(action)
        assert got == pytest.approx(float(reward), abs=1e-5)
    env.close()


@pytest.mark.parametrize(
    "tiny", ["gaussian", pytest.param("discrete", marks=pytest.mark.slow)], indirect=True
)
def test_noise_and_world_model_of_an_agent_can_be_chosen(
    tmp_path: Path, agent: Agent, tiny: Any
) -> None:
    quiet = drive_cars(tmp_path / "quiet", agent, noise=NoisyAgent(max_scale=0.0))
    loud = drive_cars(tmp_path / "loud", agent, noise=NoisyAgent(max_scale=0.5))
    assert quiet.content_hash() != loud.content_hash()
    world_model = WorldModel.open("car-racing", tiny.vision, tiny.memory, device="cpu")
    agent.world_model = None
    given = drive_cars(
        tmp_path / "given", agent, noise=NoisyAgent(max_scale=0.0), world_model=world_model
    )
    assert given.content_hash() == quiet.content_hash()
    with pytest.raises(ArtifactError, match="expected a reference to its world model"):
        drive_cars(tmp_path / "blind", agent)


def test_a_store_of_another_seed_policy_or_task_is_refused(tmp_path: Path) -> None:
    gather(tmp_path, episodes=1)
    for change in (
        {"seed": 1},
        {"policy": RepeatedRandom()},
        {"frame_skip": 2},
        {"task": replace(TOY, name="other")},
    ):
        with pytest.raises(StoreError, match="use another store"):
            gather(tmp_path, episodes=2, **change)


def test_a_failing_game_is_an_error_and_keeps_what_is_whole(tmp_path: Path) -> None:
    gather(tmp_path, episodes=2)
    with pytest.raises(ValueError, match="the toy broke"):
        gather(tmp_path, task=replace(TOY, to_env_action=break_at_once))
    store = RolloutStore(tmp_path)
    store.verify()
    assert len(store) == 2


def test_errors(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected one of the two, got None and None"):
        collect(TOY, tmp_path)
    with pytest.raises(ValueError, match="expected one of the two, got 1 and 2"):
        collect(TOY, tmp_path, episodes=1, frames=2)
    with pytest.raises(ValueError, match="frames: expected at least 1, got 0"):
        collect(TOY, tmp_path, frames=0)
    with pytest.raises(ArtifactError, match="no artifact 'nobody'"):
        collect(TOY, tmp_path, episodes=1, policy="nobody")
    with pytest.raises(ValueError, match="frame_skip: expected at least 1, got 0"):
        collect(TOY, tmp_path, episodes=1, frame_skip=0)
    assert not any(tmp_path.iterdir())
    with pytest.raises(ValueError, match="num_envs: expected at least 1, got 0"):
        collect(TOY, tmp_path, episodes=1, num_envs=0)


def test_a_collection_that_fails_at_once_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "new/store"
    for change, message in (
        ({"task": replace(TOY, to_env_action=break_at_once)}, "the toy broke"),
        ({"base": "NoSuchGame-v0"}, "NoSuchGame"),
        ({"num_envs": 0}, "num_envs: expected at least 1"),
    ):
        with pytest.raises((ValueError, gym.error.Error), match=message):
            gather(path, **change)
        assert list(tmp_path.iterdir()) == []
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="the toy broke"):
        gather(tmp_path / "empty", task=replace(TOY, to_env_action=break_at_once))
    assert list((tmp_path / "empty").iterdir()) == []
    # A kill leaves an empty store behind, which stands in no one's way.
    RolloutStore(tmp_path / "store", "a", metadata=gather(tmp_path / "other").metadata)
    assert len(gather(tmp_path / "store", episodes=2, seed=1, frame_skip=2)) == 2


@pytest.mark.parametrize("name", ["frames", "actions", "zarr.json"])
def test_damaged_episodes_are_collected_again_as_the_error_says(
    tmp_path: Path, gathered: RolloutStore, name: str
) -> None:
    store = copy_of(gathered, tmp_path / "copy")
    for index in (2, 5):
        path = store.path / f"episodes/{index:08d}" / name
        file = path if path.is_file() else next(p for p in path.rglob("0") if p.is_file())
        file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(
        StoreError, match=r"00000002.* repeat the same wmrl collect.*also damaged: 5"
    ):
        store.verify()
    missing = pytest.warns(match=r"1 of 9 episodes in the index are missing, \[2\]")
    for warned in (nullcontext(), missing):
        with warned, pytest.raises(StoreError, match=r"delete (\S+) and repeat") as caught:
            RolloutStore(store.path).verify()
        shutil.rmtree(re.findall(r"delete (\S+) and repeat", str(caught.value))[0])
    assert gather(store.path).content_hash() == gathered.content_hash()
    RolloutStore(store.path).verify()


def test_lost_metadata_are_written_again_by_the_same_collection(tmp_path: Path) -> None:
    expected = gather(tmp_path, episodes=2).metadata
    (tmp_path / "zarr.json").unlink()
    with pytest.raises(StoreError, match="differ from those of the recorded"):
        gather(tmp_path, episodes=2, seed=9)
    assert gather(tmp_path, episodes=2).metadata == expected
    RolloutStore(tmp_path).verify()


class HugeReward(gym.Env[np.ndarray, np.ndarray]):
    """A game whose rewards are finite, but beyond the range of float32."""

    action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
    observation_space = spaces.Box(0, 255, (8, 8, 3), np.uint8)
    reward = 1e300

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros((8, 8, 3), np.uint8), {}

    def step(self, action):
        return np.zeros((8, 8, 3), np.uint8), self.reward, False, True, {}


class NanReward(HugeReward):
    reward = float("nan")


gym.register("HugeReward-v0", entry_point=HugeReward)
gym.register("NanReward-v0", entry_point=NanReward)


@pytest.mark.parametrize(
    ("game", "message"),
    [
        (
            "HugeReward-v0",
            r"^rewards: expected finite numbers, got inf at index 0.*\(episode 0, seed",
        ),
        ("NanReward-v0", r"reward: expected a finite number, got nan \(task 'odd', episode 1 of"),
    ],
)
def test_rewards_that_are_not_finite_are_not_stored(tmp_path, game: str, message: str) -> None:
    task = Task(
        name="odd",
        env_id=game,
        action_space=HugeReward.action_space,
        to_env_action=np.copy,
        frame_size=(8, 8),
    )
    with pytest.raises(ValueError, match=message):
        collect(task, tmp_path, episodes=1, num_envs=1, workers=0, progress=False)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("limit", "workers"), [(9, 1), (333, 2)])
def test_a_limit_is_never_exceeded(tmp_path: Path, limit: int, workers: int) -> None:
    options = {"episodes": None, "frames": limit, "frame_limit": limit}
    store = gather(tmp_path / "a", **options)
    taken = [summary.length for summary in store.summaries]
    assert limit - 9 < 3 * sum(taken) <= limit  # 3 games with 3 frames per agent step
    assert all(summary.terminated != summary.truncated for summary in store.summaries)
    assert store.info(len(store) - 1)["frames"] == 3 * taken[-1]
    other = gather(tmp_path / "b", workers=workers, **options)
    assert other.content_hash() == store.content_hash()
    for missing in ((0,), (len(store) - 1,), tuple(store.indices)[::2]):
        remove(other, missing)
        assert gather(tmp_path / "b", **options).content_hash() == store.content_hash()
    more = gather(tmp_path / "b", **options | {"frames": 1000, "frame_limit": 1000})
    assert 3 * sum(summary.length for summary in more.summaries) <= 1000


def test_a_limit_above_the_goal_lets_episodes_end(tmp_path: Path) -> None:
    free = gather(tmp_path / "a", episodes=None, frames=200)
    limited = gather(tmp_path / "b", episodes=None, frames=200, frame_limit=5000)
    assert limited.content_hash() == free.content_hash()
    with pytest.raises(ValueError, match="frame_limit: expected at least 9, got 8"):
        gather(tmp_path / "c", frame_limit=8)
