import pickle
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from wmrl.envs.tasks.car_racing import CAR_RACING, steer_and_pedal_to_action
from wmrl.envs.tasks.registry import find_task, is_registered, register_task, registered_task
from wmrl.envs.tasks.task import ObservationKey, Task, rendered_frame


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        ((0.5, 0.25), (0.5, 0.25, 0.0)),
        ((-1.0, -0.75), (-1.0, 0.0, 0.75)),
        ((7.0, -7.0), (1.0, 0.0, 1.0)),
        ((0.0, 0.0), (0.0, 0.0, 0.0)),
    ],
)
def test_steer_and_pedal_become_steer_gas_and_brake(
    action: tuple[float, float], expected: tuple[float, float, float]
) -> None:
    result = steer_and_pedal_to_action(np.array(action, np.float32))
    assert result.dtype == np.float32
    assert tuple(result) == expected


def test_actions_fit_the_base_environment() -> None:
    base = gym.make("CarRacing-v3").action_space
    CAR_RACING.action_space.seed(0)
    assert all(
        base.contains(steer_and_pedal_to_action(CAR_RACING.action_space.sample()))
        for _ in range(100)
    )


def test_frames_are_cropped_and_resized() -> None:
    raw = np.zeros((96, 96, 3), np.uint8)
    raw[84:] = 255  # the status bar
    frame = CAR_RACING.observe(None, raw)  # type: ignore[arg-type]
    assert frame.shape == (64, 64, 3)
    assert frame.dtype == np.uint8
    assert frame.max() == 0


def test_tasks_travel_to_processes() -> None:
    assert pickle.loads(pickle.dumps(CAR_RACING)) == CAR_RACING


def test_find_task() -> None:
    assert find_task("car-racing") is CAR_RACING
    assert find_task(CAR_RACING) is CAR_RACING
    assert find_task("wmrl.envs.tasks.car_racing:CAR_RACING") is CAR_RACING
    for name in ("car", ":CAR_RACING", "wmrl.envs.tasks.car_racing:"):
        with pytest.raises(ValueError, match="task: expected one of"):
            find_task(name)


@pytest.mark.parametrize(
    ("location", "message"),
    [
        (
            "no_such_game:TASK",
            r"existing module in 'no_such_game:TASK', but there is no module 'no_such_game'",
        ),
        ("wmrl.envs.no_such_game:TASK", "there is no module 'wmrl.envs.no_such_game'"),
        ("own_game:DOOM", r"'DOOM' of module 'own_game' \(.*own_game.py\), got none; the module's"),
        ("own_game:np", r"a Task, got an object of type module; the module's tasks are: TASK"),
        ("own_game:Task", "to be a Task, got an object of type type"),
        ("own_game.py:TASK", "write 'own_game:TASK'"),
        ("./games/own_game.py:TASK", "write 'games.own_game:TASK'"),
        ("needs_doom:TASK", r"import failed \(ModuleNotFoundError: No module named 'no_doom'\)"),
        ("half_written:TASK", r"import failed \(SyntaxError: "),
        ("a_script:TASK", r"import failed \(SystemExit: 3\)"),
        ("wmrl.envs.tasks.task:x", "the module has no tasks"),
        ("..own_game:TASK", "expected the name of a module before the colon, .* got '..own_game'"),
        ("own game:TASK", "expected the name of a module before the colon, .* got 'own game'"),
    ],
)
def test_the_missing_part_of_a_location_is_named(
    location: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = "import numpy as np\nfrom wmrl.envs import CAR_RACING as TASK, Task\n"
    (tmp_path / "own_game.py").write_text(own)
    (tmp_path / "needs_doom.py").write_text("import no_doom\n")
    (tmp_path / "half_written.py").write_text("TASK = (\n")
    (tmp_path / "a_script.py").write_text("raise SystemExit(3)\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises((ValueError, ImportError), match=message):
        find_task(location)
    sys.modules.pop("own_game", None)


def task(**kwargs: object) -> Task:
    options = {"name": "x", "env_id": "x", "to_env_action": steer_and_pedal_to_action} | kwargs
    return Task(**({"action_space": CAR_RACING.action_space} | options))  # type: ignore[arg-type]


def test_bad_tasks() -> None:
    with pytest.raises(ValueError, match=r"action_space: expected a Box .* got Tuple\(.*Transform"):
        task(action_space=spaces.Tuple([spaces.Discrete(3)]))
    with pytest.raises(ValueError, match="frame_skip: expected at least 1, got 0"):
        task(frame_skip=0)
    with pytest.raises(ValueError, match="frame_stack: expected at least 1, got 0"):
        task(frame_stack=0)
    with pytest.raises(ValueError, match="explore_low: expected 2 items"):
        task(explore_low=(0.0,))


def test_registered_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wmrl.envs.tasks.registry._TASKS", {CAR_RACING.name: CAR_RACING})
    mine = task(name="mine")
    register_task(mine)
    register_task(mine)
    assert registered_task("mine") is find_task("mine") is mine
    with pytest.raises(ValueError, match="task: expected a name that is not taken, got 'mine'"):
        register_task(task(name="mine", frame_skip=2))


def test_names_from_files_import_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wmrl.envs.tasks.registry._TASKS", {CAR_RACING.name: CAR_RACING})
    (tmp_path / "evil_task.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match=r"task: expected one of \['car-racing'\], got 'evil_task"):
        registered_task("evil_task:x")


RGB = np.random.default_rng(0).integers(0, 256, (12, 10, 3), dtype=np.uint8)


def test_color_frames_become_gray() -> None:
    gray = task(frame_size=(12, 10), grayscale=True)
    assert gray.frame_shape == (12, 10, 1)
    frame = gray.observe(None, RGB)  # type: ignore[arg-type]
    np.testing.assert_array_equal(frame[..., 0], cv2.cvtColor(RGB, cv2.COLOR_RGB2GRAY))
    weighted = RGB @ np.array([0.299, 0.587, 0.114])
    assert np.abs(frame[..., 0] - weighted).max() <= 1


@pytest.mark.parametrize("grayscale", [False, True])
@pytest.mark.parametrize("raw", [RGB[..., 0], RGB[..., :1]], ids=["two axes", "three axes"])
def test_gray_frames_of_games_are_taken(raw: np.ndarray, grayscale: bool) -> None:
    mine = task(frame_size=(12, 10), grayscale=grayscale)
    frame = mine.observe(None, raw)  # type: ignore[arg-type]
    assert frame.shape == mine.frame_shape
    for channel in range(frame.shape[2]):
        np.testing.assert_array_equal(frame[..., channel], RGB[..., 0])


@pytest.mark.parametrize("grayscale", [False, True])
@pytest.mark.parametrize("raw", [RGB, RGB[..., 0]], ids=["color", "gray"])
def test_all_frames_are_cropped_and_resized(raw: np.ndarray, grayscale: bool) -> None:
    mine = task(frame_size=(5, 7), crop_rows=(2, 9), grayscale=grayscale)
    frame = mine.observe(None, raw)  # type: ignore[arg-type]
    assert frame.shape == mine.frame_shape == (5, 7, 1 if grayscale else 3)
    assert frame.dtype == np.uint8
    cropped = raw[2:9]
    if grayscale and raw.ndim == 3:
        cropped = cv2.cvtColor(cropped, cv2.COLOR_RGB2GRAY)
    expected = cv2.resize(cropped, (7, 5), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(frame, np.broadcast_to(expected.reshape(5, 7, -1), frame.shape))


def test_a_key_chooses_the_image_of_a_dictionary() -> None:
    frame_of = ObservationKey("screen")
    assert pickle.loads(pickle.dumps(frame_of)) == frame_of
    mine = task(frame_size=(12, 10), frame=frame_of)
    assert pickle.loads(pickle.dumps(mine)) == mine
    np.testing.assert_array_equal(mine.observe(None, {"x": 1, "screen": RGB}), RGB)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"expected the key 'screen', got the keys 'x', 'y'; chan"):
        frame_of(None, {"x": 1, "y": RGB})
    with pytest.raises(ValueError, match=r"a dictionary with the key 'screen', got a ndarray; use"):
        frame_of(None, RGB)
    with pytest.raises(ValueError, match=r"an image, got a dictionary with the keys 'x'; choose"):
        task().observe(None, {"x": RGB})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="key: expected a non-empty name"):
        ObservationKey("")


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (
            RGB.transpose(2, 0, 1),
            r"got \(3, 12, 10\) uint8; move the channels last with image\.tra",
        ),
        (RGB[None, ..., 0], r"got \(1, 12, 10\) uint8; move the channels last"),
        (RGB / 255.0, r"float64; convert numbers in \[0, 1\] .* in the function 'frame' of the ta"),
        ([RGB], "got a list"),
    ],
)
@pytest.mark.parametrize("grayscale", [False, True])
def test_other_raw_frames_are_refused(raw: Any, message: str, grayscale: bool) -> None:
    with pytest.raises(ValueError, match=rf"^frame: expected .*{message}"):
        task(grayscale=grayscale).observe(None, raw)  # type: ignore[arg-type]


@pytest.mark.parametrize(("rendered", "got"), [(None, "None"), ([RGB], "a list")])
def test_games_must_render_an_image(rendered: Any, got: str) -> None:
    class Game(gym.Env[Any, Any]):
        render_mode = "human"

        def render(self) -> Any:
            return rendered

    with pytest.raises(
        ValueError, match=rf"^render\(\): .*got {got} with render_mode 'human'; set"
    ):
        task(frame=rendered_frame).observe(Game(), None)


def test_flags_are_flags() -> None:
    for name in ("grayscale", "blank_final_frame"):
        with pytest.raises(ValueError, match=f"{name}: expected True or False, got 1"):
            task(**{name: 1})


def test_variants_name_their_shape() -> None:
    assert CAR_RACING.with_frames() is CAR_RACING
    assert CAR_RACING.with_frames(frame_size=(64, 64), grayscale=False) is CAR_RACING
    gray = CAR_RACING.with_frames(grayscale=True)
    assert (gray.name, gray.frame_shape) == ("car-racing@64x64x1", (64, 64, 1))
    small = gray.with_frames(frame_size=(40, 48))
    assert (small.name, small.frame_shape) == ("car-racing@40x48x1", (40, 48, 1))
    assert replace(gray, name=CAR_RACING.name, grayscale=False) == CAR_RACING


def test_variants_name_their_stacks() -> None:
    stacked = CAR_RACING.with_frames(frame_stack=4)
    assert (stacked.name, stacked.frame_shape) == ("car-racing@64x64x3x4", (64, 64, 3))
    assert stacked.frame_stack == 4
    assert stacked.with_frames(frame_size=(84, 84)).name == "car-racing@84x84x3x4"
    single = stacked.with_frames(frame_stack=1)
    assert (single.name, single.frame_stack) == ("car-racing@64x64x3", 1)
    assert stacked.with_frames(frame_stack=4) is stacked
    with pytest.raises(ValueError, match="frame_stack: expected at least 1, got 0"):
        CAR_RACING.with_frames(frame_stack=0)


def test_stacks_are_found_by_their_names() -> None:
    stacked = CAR_RACING.with_frames(grayscale=True, frame_stack=12)
    assert find_task("car-racing@64x64x1x12") == registered_task("car-racing@64x64x1x12") == stacked
    assert find_task("wmrl.envs.tasks.car_racing:CAR_RACING@64x64x1x12") == stacked
    assert is_registered(stacked)
    for name in ("car-racing@64x64x1x1", "car-racing@64x64x1x0", "car-racing@64x64x1x04"):
        with pytest.raises(ValueError, match="task: expected one of"):
            find_task(name)


def test_a_name_without_a_stack_means_single_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = task(name="mine", frame_stack=3)
    monkeypatch.setattr("wmrl.envs.tasks.registry._TASKS", {"mine": mine})
    assert find_task("mine").frame_stack == find_task("mine@64x64x3x3").frame_stack == 3
    assert find_task("mine@64x64x3x3") is mine
    single = find_task("mine@64x64x3")
    assert (single.name, single.frame_stack) == ("mine@64x64x3", 1)
    assert is_registered(single)


def test_variants_are_found_by_their_names() -> None:
    gray = CAR_RACING.with_frames(grayscale=True)
    assert find_task("car-racing@64x64x1") == registered_task("car-racing@64x64x1") == gray
    assert find_task("wmrl.envs.tasks.car_racing:CAR_RACING@64x64x1") == gray
    assert find_task("car-racing@64x64x3") is CAR_RACING
    assert is_registered(gray)
    assert not is_registered(replace(gray, frame_skip=2))
    for name in ("car@64x64x1", "car-racing@64x64", "car-racing@64x64x2", "car-racing@0x64x1"):
        with pytest.raises(ValueError, match="task: expected one of"):
            find_task(name)
        with pytest.raises(ValueError, match="task: expected one of"):
            registered_task(name)
