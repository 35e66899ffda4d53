"""Tasks derived from environments: what they find, what they say, and what they refuse."""

import pickle
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from choice_game import SPACES
from gymnasium import spaces

from wmrl.envs.frames.env import FrameEnv
from wmrl.envs.frames.vector import FrameVectorEnv
from wmrl.envs.tasks import packages
from wmrl.envs.tasks.car_racing import CAR_RACING
from wmrl.envs.tasks.registry import find_task, registered_task
from wmrl.envs.tasks.task import ObservationKey, Task, observation_frame, rendered_frame

IMAGE = spaces.Box(0, 255, (20, 30, 3), np.uint8)


class Game(gym.Env[Any, Any]):
    """A game whose spaces and settings are arguments."""

    metadata = {"render_modes": ["rgb_array", "human"]}  # noqa: RUF012

    def __init__(
        self,
        observation: Any = IMAGE,
        action: Any = None,
        modes: tuple[str, ...] = ("rgb_array",),
        rate: float | None = 30,
        render_mode: str | None = None,
        **attributes: Any,
    ) -> None:
        self.observation_space = observation
        self.action_space = spaces.Discrete(2) if action is None else action
        self.metadata = {"render_modes": list(modes), "render_fps": rate}
        self.render_mode = render_mode
        for name, value in attributes.items():
            setattr(self, name, value)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.time = 0
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.time += 1
        over = self.time == getattr(self, "limit", None)
        return self.observation_space.sample(), 1.0, over, False, {}

    def render(self) -> Any:
        return np.full((40, 50, 3), 7, np.uint8) if self.render_mode == "rgb_array" else None


gym.register("Any/Game-v0", entry_point=Game)
gym.register("Any/Short-v0", entry_point=Game, max_episode_steps=7, reward_threshold=5)


def notes_of(task: Task) -> str:
    return " ".join(task.notes)


def test_images_are_the_frames() -> None:
    task = Task.from_env("Any/Game-v0")
    assert (task.name, task.env_id, task.env_kwargs) == ("Any/Game-v0", "Any/Game-v0", {})
    assert task.frame is observation_frame
    assert task.frame_size == (64, 64)
    assert task.actions == task.from_env("Any/Game-v0").actions
    assert notes_of(task).startswith("Frames are its observations, 20 × 30 pixels. Actions are")


@pytest.mark.parametrize(
    "observation",
    [
        spaces.Box(-1, 1, (4,)),
        spaces.Box(0, 255, (7, 7, 3), np.uint8),  # MiniGrid's map of symbols
        spaces.Box(0, 255, (4, 84, 84), np.uint8),
        spaces.Box(0.0, 1.0, (20, 30, 3)),
        spaces.Discrete(3),
    ],
)
def test_what_is_no_image_is_rendered(observation: Any) -> None:
    task = Task.from_env("Any/Game-v0", observation=observation)
    assert task.frame is rendered_frame
    assert task.env_kwargs == {"render_mode": "rgb_array", "observation": observation}
    assert "Frames are what it renders, 40 × 50 pixels." in task.notes
    frame, _ = FrameEnv(task).reset(seed=0)
    assert frame.shape == (64, 64, 3)


@pytest.mark.parametrize("shape", [(20, 30), (20, 30, 1)])
def test_gray_images_stay_gray(shape: tuple[int, ...]) -> None:
    gray = spaces.Box(0, 255, shape, np.uint8)
    task = Task.from_env("Any/Game-v0", observation=gray)
    assert task.frame_shape == (64, 64, 1)
    assert task.notes[0] == "Frames are its observations, 20 × 30 pixels, gray."
    assert Task.from_env("Any/Game-v0", observation=gray, grayscale=False).frame_shape[2] == 3
    assert FrameEnv(task).reset(seed=0)[0].shape == (64, 64, 1)


def test_the_image_in_a_dictionary() -> None:
    parts = {"health": spaces.Discrete(5), "screen": IMAGE, "map": spaces.Box(0, 9, (20, 30))}
    task = Task.from_env("Any/Game-v0", observation=spaces.Dict(parts))
    assert task.frame == ObservationKey("screen")
    assert task.notes[0] == "Frames are the images 'screen' of its observations, 20 × 30 pixels."
    several = spaces.Dict({**parts, "depth": spaces.Box(0, 255, (20, 30), np.uint8)})
    with pytest.raises(ValueError, match=r"several: 'depth' .*, 'screen' .*ObservationKey\('dep"):
        Task.from_env("Any/Game-v0", observation=several)
    chosen = Task.from_env("Any/Game-v0", observation=several, frame=ObservationKey("depth"))
    assert chosen.grayscale
    none = Task.from_env("Any/Game-v0", observation=spaces.Dict({"health": spaces.Discrete(5)}))
    assert none.frame is rendered_frame


def test_variants_of_derived_tasks() -> None:
    task = find_task("Any/Game-v0@16x24x1")
    assert (task.name, task.frame_shape) == ("Any/Game-v0@16x24x1", (16, 24, 1))
    assert find_task("Any/Game-v0@16x24x1x3") == task.with_frames(frame_stack=3)
    assert replace(task, name="Any/Game-v0", frame_size=(64, 64), grayscale=False) == find_task(
        "Any/Game-v0"
    )


@pytest.mark.parametrize("options", [{"modes": ()}, {"render_mode": "human"}])
def test_nothing_to_see(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"env_id: expected .* got 'Any/Game-v0' with the obs"):
        Task.from_env("Any/Game-v0", observation=spaces.Discrete(3), **options)


def test_frames_of_ones_own() -> None:
    def striped(env: Any, observation: Any) -> np.ndarray:
        return np.zeros((9, 9, 3), np.uint8)

    task = Task.from_env("Any/Game-v0", frame=striped, observation=spaces.Discrete(3), modes=())
    assert "Frames are those of striped, 9 × 9 pixels." in task.notes


@pytest.mark.parametrize(
    ("options", "skip", "reason"),
    [
        ({}, 4, "its 30 frames per second differ little"),
        ({"rate": 10}, 1, "it shows 10 frames per second"),
        ({"rate": None}, 1, "its frame rate is unknown"),
        ({"frameskip": 4}, 1, r"the environment skips frames itself \(frameskip=4\)"),
        ({"frameskip": (2, 5)}, 1, r"skips frames itself \(frameskip=\(2, 5\)\)"),
        ({"_frame_skip": 3}, 1, r"skips frames itself \(frame_skip=3\)"),
        ({"env_kwargs": {"frame_skip": 2}}, 1, r"skips frames itself \(frame_skip=2\)"),
        ({"frameskip": 1}, 4, "differ little"),
        ({"limit": 159}, 1, "episodes of random actions have at most 159 frames"),
        ({"limit": 160}, 4, "differ little"),
        ({"frame_skip": True}, 1, None),  # of the task: refused, as in any task
    ],
)
def test_frame_skip(options: dict[str, Any], skip: int, reason: str | None) -> None:
    if reason is None:
        with pytest.raises(ValueError, match="frame_skip"):
            Task.from_env("Any/Game-v0", **options)
        return
    task = Task.from_env("Any/Game-v0", **options)
    assert task.frame_skip == skip
    assert any(reason.replace("\\", "") in note for note in task.notes), task.notes
    assert task.max_frames == 1000 * skip


def test_limits_and_thresholds() -> None:
    task = Task.from_env("Any/Short-v0")
    assert (task.max_frames, task.solved_at, task.fps) == (7, 5.0, 30.0)
    assert Task.from_env("Any/Short-v0", max_episode_steps=3).max_frames == 3
    assert Task.from_env("Any/Game-v0", max_steps=50).max_frames == 50
    atari = {"frameskip": (2, 5), "max_num_frames_per_episode": 101}
    assert Task.from_env("Any/Game-v0", **atari).max_frames == 51
    assert "Episodes have at most 7 frames" in notes_of(task)


def test_sticky_actions_are_kept_and_said() -> None:
    task = Task.from_env("Any/Game-v0", repeat_action_probability=0.25)
    assert task.env_kwargs == {"repeat_action_probability": 0.25}
    assert "with probability 0.25, the game repeats its last action" in notes_of(task)
    still = Task.from_env("Any/Game-v0", repeat_action_probability=0.0)
    assert "Sticky" not in notes_of(still)


def test_actions() -> None:
    named = Task.from_env("Any/Game-v0", get_action_meanings=lambda: ["NOOP", "FIRE"])
    assert named.action_names == ("noop", "fire")
    box = Task.from_env("Any/Game-v0", action=spaces.Box(np.float32([-1, 0]), np.float32([1, 2])))
    assert (box.explore_low, box.explore_high) == ((-0.5, 0.5), (0.5, 1.5))
    free = Task.from_env("Any/Game-v0", action=spaces.Box(-np.inf, np.inf, (1,)))
    assert free.explore_low == ()
    with pytest.raises(ValueError, match=r"action space of Any/Game-v0: .* got Tuple.*Transform"):
        Task.from_env("Any/Game-v0", action=spaces.Tuple([spaces.Discrete(2)]))


def test_choices_take_precedence_and_are_not_explained() -> None:
    task = Task.from_env("Any/Game-v0", name="mine", frame_skip=2, max_frames=9, frame_size=(8, 8))
    assert (task.name, task.frame_skip, task.max_frames) == ("mine", 2, 9)
    assert "frame_skip" not in notes_of(task)
    assert "Episodes" not in notes_of(task)
    with pytest.raises(ValueError, match=r"frame_size\[0\]: expected"):
        Task.from_env("Any/Game-v0", frame_size=(0, 4))
    with pytest.raises(ValueError, match=r"^notes: expected no notes"):
        Task.from_env("Any/Game-v0", notes=("mine",))


def test_a_frame_that_cannot_be_used_is_noticed_at_once() -> None:
    with pytest.raises(ValueError, match="crop_rows: expected a range within the 20 rows"):
        Task.from_env("Any/Game-v0", crop_rows=(0, 30))


@pytest.mark.parametrize("kind", list(SPACES))
def test_derived_tasks_play_in_workers(kind: str) -> None:
    task = pickle.loads(pickle.dumps(Task.from_env("choice_game:Choice-v0", kind=kind)))
    assert (task.name, task.env_id) == ("Choice-v0", "choice_game:Choice-v0")
    played = []
    for workers in (0, 2):
        envs = FrameVectorEnv(2, task=task, workers=workers)
        frames, _ = envs.reset(seed=3)
        envs.action_space.seed(0)
        actions = envs.action_space.sample()
        played.append([frames, *envs.step(actions)[:2]])
        envs.close()
    for one, other in zip(*played, strict=True):
        np.testing.assert_array_equal(one, other)


def test_ids_are_tasks_on_the_users_word() -> None:
    assert find_task("Any/Game-v0") == Task.from_env("Any/Game-v0")
    assert find_task("choice_game:Choice-v0").name == "Choice-v0"
    twin = find_task(CAR_RACING.env_id)
    # Other tests of the same process may have registered further tasks of the game.
    assert twin.notes[-1].startswith("This game also has the registered task 'car-racing'")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Any/Gane-v0", r"'module:ATTRIBUTE', or the id of an environment .* mean 'Any/Game-v0'"),
        ("Any/Game", "did you mean 'Any/Game-v0'"),
        ("choice_game:Chioce-v0", "attribute 'Chioce-v0' .* registers no environment of that id"),
        (None, "task: expected a Task, the name of a task, .* id of an environment, got None"),
    ],
)
def test_other_words_are_explained(text: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        find_task(text)


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("Any/Game-v0", "ATTRIBUTE, or --task Any/Game-v0 if it is the id of an environment$"),
        ("choice_game:Choice-v0", "or pass --task module:ATTRIBUTE$"),
        ("x; rm -rf ~", "or pass --task module:ATTRIBUTE$"),
    ],
)
def test_names_from_files_make_nothing(
    name: str, advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("made from a name in a file")

    monkeypatch.setattr(gym, "make", refuse)
    with pytest.raises(ValueError, match=advice):
        registered_task(name)


@pytest.mark.parametrize(
    ("env_id", "module", "extra"),
    [
        ("ALE/Nothing-v5", "ale_py", "atari"),
        ("NothingNoFrameskip-v4", "ale_py", "atari"),
        ("MiniGrid-Nothing-v0", "minigrid", "minigrid"),
        ("BabyAI-Nothing-v0", "minigrid", "minigrid"),
        ("VizdoomNothing-v0", "vizdoom.gymnasium_wrapper", "doom"),
    ],
)
def test_packages_of_known_ids(
    env_id: str, module: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> ModuleType:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(packages, "import_module", missing)
    name = module.partition(".")[0]
    with pytest.raises(
        ImportError, match=rf"needs the package '{name}'.*pip install \"wmrl\[{extra}\]\""
    ):
        find_task(env_id)
    imported: list[str] = []
    monkeypatch.setattr(packages, "import_module", lambda name: imported.append(name) or sys)
    packages.import_package_of(env_id)
    packages.import_package_of("CartPole-v1")
    assert imported == [module]


@pytest.mark.parametrize(
    ("package", "env_id", "frame_skip", "notes"),
    [
        ("ale_py", "ALE/Boxing-v5", 1, ("frameskip=4", "probability 0.25", "210 × 160")),
        ("ale_py", "BoxingNoFrameskip-v4", 4, ("108000",)),
        ("vizdoom", "VizdoomTakeCover-v1", 4, ("'screen'", "final frames are black")),
        ("minigrid", "MiniGrid-Empty-5x5-v0", 1, ("what it renders", "max_steps=100")),
    ],
)
def test_games_of_other_packages(
    package: str,
    env_id: str,
    frame_skip: int,
    notes: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)  # where ViZDoom writes a file
    task = find_task(env_id)
    assert (task.name, task.frame_skip) == (env_id, frame_skip)
    for note in notes:
        assert note in notes_of(task)
    envs = FrameVectorEnv(2, task=task, workers=1)  # which imports the package itself
    assert envs.reset(seed=0)[0].shape == (2, 64, 64, 3)
    envs.close()


def test_modules_with_environments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    game = "import gymnasium as gym\nfrom choice_game import Choice\n"
    (tmp_path / "fresh_game.py").write_text(f"{game}gym.register('My/Fresh-v1', Choice)\n")
    monkeypatch.syspath_prepend(tmp_path)
    task = find_task("fresh_game:My/Fresh-v1")
    assert (task.name, task.env_id) == ("My/Fresh-v1", "fresh_game:My/Fresh-v1")
    assert find_task("My/Fresh-v1").actions == task.actions  # now it is registered
