"""The page on own games: all of its blocks run, in order, and its errors are those that come.

Amounts are lowered by the rule of ``pages``. Two further amounts that the page leaves to their
defaults are lowered in the fixture ``quick``. There, games are also played without worker
processes, which changes no result.
"""

import re
import sys
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from pages import ROOT, blocks, commands, shortened, shortened_python

from wmrl.agents.pipeline.presets import TaskPreset
from wmrl.agents.ppo.config import PPOConfig
from wmrl.agents.rollouts.collection import collect
from wmrl.envs.tasks.task import Task
from wmrl.memory.evaluation import prediction_report
from wmrl.scripts.cli import run
from wmrl.vision.training import train_vision

PAGE = (ROOT / "docs" / "your-own-game.md").read_text()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    preset, ppo = PPOConfig.dream, PPOConfig.dream(rollout_steps=4)
    short = partial(prediction_report, num_batches=2)
    monkeypatch.setattr(PPOConfig, "dream", lambda **given: preset(rollout_steps=4, **given))
    untuned = TaskPreset(dream=ppo, dream_again=ppo)
    monkeypatch.setattr("wmrl.agents.pipeline.plan.preset_of", lambda task: untuned)
    monkeypatch.setattr("wmrl.memory.training.prediction_report", short)
    monkeypatch.setattr("wmrl.envs.frames.vector._worker_count", lambda workers, num_envs: 0)


def test_the_rule_changes_amounts_only() -> None:
    words = shortened(["collect", "runs/data", "--task", "CartPole-v1", "--frames", "20000"])
    assert words == ["collect", "runs/data", "--task", "CartPole-v1", "--frames", "120"]
    assert shortened_python("f(steps=5_000, max_episode_steps=60, n_steps=16)") == (
        "f(steps=2, max_episode_steps=60, n_steps=16)"
    )
    assert shortened_python("episodes = 50") == "episodes = 2"


@pytest.mark.usefixtures("quick")
def test_every_block_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "game").mkdir()
    (tmp_path / "stand-ins").mkdir()
    monkeypatch.chdir(tmp_path / "game")
    monkeypatch.delitem(sys.modules, "my_games", raising=False)
    scope: dict[str, Any] = {
        "__name__": "own_game"
    }  # of a reader who types one block after another
    printed = ""
    for number, (language, block) in enumerate(blocks(PAGE)):
        named = re.match(r"# (\w+\.py)\n", block)
        if language == "text":  # what the block before it prints
            assert printed == block
        elif named:
            Path(named[1]).write_text(block)
        elif language == "python":
            capsys.readouterr()
            name = f"your-own-game.md, block {number}"
            exec(compile(shortened_python(block), name, "exec"), scope)
            printed = capsys.readouterr().out
        else:
            assert language == "bash"
            for program, *words in commands(block, tmp_path / "stand-ins"):
                assert program == "wmrl"
                assert run(shortened(words)) == 0, words
            (tmp_path / "stand-ins" / "log").unlink()
    sys.modules.pop("my_games", None)
    for path in set(re.findall(r"`(runs/[\w./-]+\.\w+)`", PAGE)):
        assert Path(path).stat().st_size > 0
    videos = {str(path) for path in Path().rglob("cart-pole.mp4")}
    assert videos == {"cart-pole.mp4", "runs/cart-pole.mp4", "runs/py/cart-pole.mp4"}


def test_the_page_keeps_its_promises() -> None:
    chapters = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", PAGE, re.S | re.M))
    (_, script), *_ = blocks(chapters["Ten commands"])
    assert len(re.findall(r"^wmrl ", script, re.M)) == 10
    ((_, code),) = blocks(chapters["Twenty lines of Python"])
    lines = [line for line in code.splitlines() if line]
    assert len(lines) <= 20
    assert max(map(len, code.splitlines())) <= 100
    assert len(re.findall(r"^\d+\. \*\*", chapters["Ten commands"], re.M)) == 10


class Odd(gym.Env[Any, Any]):
    """A game with any spaces."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        rendered: bool = True,
        render_mode: str | None = None,
    ) -> None:
        self.observation_space, self.action_space = observation_space, action_space
        self.render_mode = render_mode
        if not rendered:
            self.metadata = {"render_modes": []}

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.time = 0
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action), action
        self.time += 1
        return self.observation_space.sample(), 1.0, self.time >= 5, False, {}

    def render(self) -> np.ndarray:
        return np.zeros((40, 50, 3), np.uint8)


TWO = spaces.Discrete(2)
IMAGE = spaces.Box(0, 255, (40, 50, 3), np.uint8)
NUMBERS = spaces.Box(-1.0, 1.0, (3,), np.float32)


@pytest.fixture
def odd() -> Any:
    gym.register("Odd-v0", entry_point=Odd)
    yield lambda **kwargs: Task.from_env(
        "Odd-v0", **{"observation_space": IMAGE, "env_kwargs": {"action_space": TWO}} | kwargs
    )
    gym.registry.pop("Odd-v0")


def assert_on_the_page(error: Exception) -> None:
    """Checks that the page has a row for an error, which begins like the error."""
    rows = re.findall(r"^\| .* \| `([^`]+: expected [^`]+)` \| .* \|$", PAGE, re.M)
    assert len(rows) == 7
    assert any(re.match(re.escape(row).replace("…", ".*"), str(error)) for row in rows), error


@pytest.mark.parametrize(
    "space",
    [
        spaces.Tuple([TWO, TWO]),
        spaces.Dict({"a": TWO}),
        spaces.Sequence(TWO),
        spaces.Text(4),
        spaces.Graph(NUMBERS, None),
        spaces.Box(0.0, 1.0, (2, 2)),
        spaces.Box(0, 5, (2,), np.int32),
        spaces.MultiDiscrete([[2, 3], [2, 2]]),
        spaces.MultiBinary((2, 2)),
    ],
)
def test_actions_that_are_refused(odd: Any, space: spaces.Space[Any]) -> None:
    with pytest.raises(ValueError, match="TransformAction") as error:
        odd(env_kwargs={"action_space": space})
    assert_on_the_page(error.value)


def test_actions_can_be_converted(odd: Any, tmp_path: Path) -> None:
    def as_tuple(action: np.ndarray) -> tuple[int, ...]:
        return tuple(map(int, action))

    task = odd(
        env_kwargs={"action_space": spaces.Tuple([TWO, TWO])},
        action_space=spaces.MultiDiscrete([2, 2]),
        to_env_action=as_tuple,
    )
    assert len(collect(task, tmp_path / "store", episodes=2, workers=0, progress=False)) == 2


def test_random_actions_need_bounds(odd: Any, tmp_path: Path) -> None:
    task = odd(env_kwargs={"action_space": spaces.Box(-np.inf, np.inf, (2,))})
    with pytest.raises(ValueError, match="finite bounds") as error:
        collect(task, tmp_path / "store", episodes=2, workers=0, progress=False)
    assert_on_the_page(error.value)


@pytest.mark.parametrize(
    "options",
    [
        {"observation_space": NUMBERS, "rendered": False},
        {"observation_space": spaces.Dict({"left": IMAGE, "right": IMAGE})},
        {"frame": lambda env, observation: observation / 255},
        {"frame": lambda env, observation: observation.transpose(2, 0, 1)},
        {"frame": lambda env, observation: np.zeros((40, 50, 4), np.uint8)},
        {"frame": lambda env, observation: np.zeros((4, 40, 50), np.uint8)},
    ],
)
def test_frames_that_are_refused(odd: Any, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected") as error:
        odd(**options)
    assert_on_the_page(error.value)


def test_frames_that_are_too_large_for_a_vae(odd: Any, tmp_path: Path) -> None:
    task = odd(frame_size=(160, 160))
    store = collect(task, tmp_path / "store", episodes=2, workers=0, progress=False)
    with pytest.raises(ValueError, match="let the task resize") as error:
        train_vision([store], tmp_path / "run", progress=False)
    assert_on_the_page(error.value)


@pytest.mark.parametrize(
    "space",
    [
        NUMBERS,
        spaces.Text(4),
        spaces.Tuple([IMAGE, TWO]),
        spaces.Dict({"inner": spaces.Dict({"screen": IMAGE})}),
        spaces.Box(0.0, 1.0, (40, 50, 3), np.float32),
    ],
)
def test_observations_that_are_no_images_are_rendered(odd: Any, space: spaces.Space[Any]) -> None:
    task = odd(observation_space=space)
    assert task.notes[0] == "Frames are what it renders, 40 × 50 pixels."
