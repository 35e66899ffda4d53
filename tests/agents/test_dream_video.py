"""Videos of dreams at several temperatures, against dreams that are stepped by hand."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import imageio.v3 as iio
import numpy as np
import pytest
import torch

from wmrl.agents.agent import load_agent
from wmrl.agents.video.config import DreamVideoConfig
from wmrl.agents.video.temperatures import DreamVideo, record_dreams
from wmrl.data.store import RolloutStore
from wmrl.envs.dream.env import DreamEnv
from wmrl.envs.world_model import WorldModel
from wmrl.memory.base import load_memory
from wmrl.scripts.cli import run

TEMPERATURES = (0.2, 1.5)
SMALL: dict[str, Any] = {"temperatures": TEMPERATURES, "width": 80, "height": 60}


def open_model(tiny: Any, *, bias: float) -> WorldModel:
    """A world model whose dreams end if ``bias`` is large, and do not if it is small."""
    memory = load_memory(tiny.memory, device="cpu")
    with torch.no_grad():
        memory.heads.bias[-1] = bias  # type: ignore[operator, union-attr, index]
    return WorldModel.open("car-racing", tiny.vision, memory, device="cpu")


@pytest.fixture(scope="module")
def world_model(tiny: Any) -> WorldModel:
    return open_model(tiny, bias=-50.0)


@pytest.fixture(scope="module")
def store(make_rollouts: Callable[..., RolloutStore]) -> RolloutStore:
    return make_rollouts((24, 9), task="car-racing")


def images(frame: np.ndarray, count: int = 3) -> list[np.ndarray]:
    """The images in the panels of a frame."""
    return [frame[15:75, left : left + 80] for left in range(16, 16 + 96 * count, 96)]


def shrunk(image: np.ndarray) -> np.ndarray:
    return cv2.resize(image, (80, 60), interpolation=cv2.INTER_AREA)


def dreamed(
    world_model: WorldModel,
    temperature: float,
    options: Any,
    choose: Callable[..., Any],
    steps: int,
) -> tuple[list[np.ndarray], float]:
    """Images and return of a dream, in which ``choose(step, observation)`` acts."""
    env = DreamEnv(
        task=world_model.task,
        vision=world_model.vision,
        memory=world_model.memory,  # type: ignore[arg-type]
        temperature=temperature,
    )
    observation, _ = env.reset(seed=5, options=options)
    seen, score = [], 0.0
    for step in range(steps + 1):
        seen.append(shrunk(world_model.vision.decode_numpy(env.state.latent.numpy())[0]))
        if step < steps:
            observation, reward, *_ = env.step(choose(step, observation))
            score += reward
    return seen, score


def check(video: DreamVideo, world_model: WorldModel, options: Any, choose: Any, steps: int) -> Any:
    """Compares a video with dreams by hand; returns the images of its first panel."""
    frames = list(video)
    assert len(frames) == steps + 1
    for place, temperature in enumerate(TEMPERATURES, start=1):
        expected, score = dreamed(world_model, temperature, options, choose, steps)
        np.testing.assert_array_equal([images(frame)[place] for frame in frames], expected)
        dream = video.dreams[place - 1]
        assert (dream.score, dream.length, dream.running) == (score, steps, True)
    return [images(frame)[0] for frame in frames]


def test_dreams_take_the_recorded_actions(world_model: WorldModel, store: RolloutStore) -> None:
    """The episode has 24 agent steps, of which 6 are left at the start."""
    config = DreamVideoConfig(seed=5, start=18, agent_steps=50, **SMALL)
    video = DreamVideo(world_model, config, store=store)
    episode = store.episode(0)
    options = {"frames": episode.frames[:19], "actions": episode.actions[:18]}
    shown = check(video, world_model, options, lambda t, _: episode.actions[18 + t], 6)
    np.testing.assert_array_equal(shown, [shrunk(frame) for frame in episode.frames[18:]])
    assert not np.array_equal(*(dream.image for dream in video.dreams))


def test_an_agent_acts_in_each_dream(
    world_model: WorldModel, store: RolloutStore, agent_path: Path
) -> None:
    """It acts on after the recording ended, whose last frame is dimmed."""
    agent = load_agent(agent_path)
    config = DreamVideoConfig(seed=5, episode=1, start=6, agent_steps=5, **SMALL)
    video = DreamVideo(world_model, config, agent=agent, store=store)
    episode = store.episode(1)
    options = {"frames": episode.frames[:7], "actions": episode.actions[:6]}
    shown = check(
        video,
        world_model,
        options,
        lambda _, observation: agent.predict(observation, deterministic=True)[0],
        5,
    )
    np.testing.assert_array_equal(shown[:4], [shrunk(frame) for frame in episode.frames[6:]])
    assert shown[4].max() < shown[3].max() / 2


def test_without_a_recording_dreams_take_the_same_random_actions(world_model: WorldModel) -> None:
    taken: list[list[np.ndarray]] = [[], []]
    config = DreamVideoConfig(seed=5, start=3, agent_steps=12, **SMALL)
    video = DreamVideo(world_model, config)
    for _ in video:
        for actions, dream in zip(taken, video.dreams, strict=True):
            actions.append(dream._action)
    np.testing.assert_array_equal(*taken)
    repeats = [np.array_equal(a, b) for a, b in zip(taken[0], taken[0][1:], strict=False)]
    assert any(repeats)
    assert not all(repeats)
    shown = check(video, world_model, {"start": 3}, lambda t, _: taken[0][t], 12)
    assert all(np.array_equal(image, shown[0]) for image in shown)
    drawn = DreamVideo(world_model, DreamVideoConfig(seed=5, agent_steps=1, **SMALL))
    start, *_ = drawn
    np.testing.assert_array_equal(images(start)[1], images(start)[2])


def test_an_ended_dream_stays_as_it_is(tiny: Any, store: RolloutStore) -> None:
    config = DreamVideoConfig(agent_steps=3, **SMALL)
    video = DreamVideo(open_model(tiny, bias=50.0), config, store=store)
    first, last, *later = (images(frame)[1] for frame in video)
    assert last.max() < first.max() / 2
    assert all(np.array_equal(image, last) for image in later)
    assert [dream.length for dream in video.dreams] == [1, 1]
    assert video.start == 12  # the burn-in, which is half of the episode


def test_the_sheet_has_a_row_for_each_panel(world_model: WorldModel, store: RolloutStore) -> None:
    config = DreamVideoConfig(agent_steps=4, num_stills=3, **SMALL)
    video = DreamVideo(world_model, config, store=store)
    frames = list(video)
    sheet = video.draw_sheet()
    rows = np.split(sheet, 3)
    for panel, row in enumerate(rows):
        for column, step in enumerate((0, 2, 4)):
            np.testing.assert_array_equal(images(row)[column], images(frames[step])[panel])


def test_bad_requests_are_refused(
    world_model: WorldModel, store: RolloutStore, make_rollouts: Any, tmp_path: Path
) -> None:
    without = WorldModel.open("car-racing", world_model.vision, None)
    for model, config, given, message in (
        (without, {}, None, "world_model: expected one with a memory model"),
        (world_model, {}, make_rollouts((3,)), "store: expected task 'car-racing' as in .* 'bar'"),
        (world_model, {"start": 24}, store, "start: expected an agent step from 0 to 23 of epis"),
        (world_model, {"temperatures": ()}, store, "temperatures: expected at least one"),
        (world_model, {"temperatures": (1.0, 0.0)}, store, "temperatures: expected above 0"),
    ):
        with pytest.raises(ValueError, match=message):
            DreamVideo(model, DreamVideoConfig(**config), store=given)
    with pytest.raises(ValueError, match=r"sheet: expected a name ending in \.png"):
        record_dreams(world_model, tmp_path / "a.mp4", sheet=tmp_path / "a.jpg")
    with pytest.raises(ValueError, match=r"path: expected a name ending in \.mp4"):
        record_dreams(world_model, tmp_path / "a.avi")
    assert not list(tmp_path.iterdir())


def test_the_command(
    tiny: Any, store: RolloutStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "videos" / "dream.gif"
    models = ["--vision", str(tiny.vision), "--memory", str(tiny.memory), "--device", "cpu"]
    sizes = ["--width", "80", "--height", "60", "--temperatures", "0.5", "1.0"]
    words = ["dream", "--store", str(store.path), "--out", str(out), "--agent-steps", "4"]
    assert run([*words, *models, *sizes]) == 0
    assert len(iio.imread(out)) == 5
    assert iio.imread(out.with_suffix(".png")).shape[0] == 3 * iio.imread(out).shape[1]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{out}, {out.with_suffix('.png')}: seed 0, from agent step 12"
    assert [line.split(":")[0] for line in lines[1:3]] == ["temperature 0.5", "temperature 1"]
    with pytest.raises(SystemExit, match="2"):
        run(["dream", "--temperatures", "0"])
    assert "temperatures: expected above 0, got 0" in capsys.readouterr().err


def test_the_command_opens_the_world_model_of_an_agent(agent_path: Path, tmp_path: Path) -> None:
    out = tmp_path / "dream.gif"
    words = ["dream", "--agent", str(agent_path), "--out", str(out), "--agent-steps", "2"]
    assert run([*words, "--sheet", str(tmp_path / "s.png"), "--device", "cpu"]) == 0
    assert {path.name for path in tmp_path.glob("*.*")} == {"dream.gif", "s.png"}
