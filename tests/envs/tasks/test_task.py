import pickle
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from wmrl.envs.tasks.car_racing import CAR_RACING, steer_and_pedal_to_action
from wmrl.envs.tasks.registry import find_task, register_task, registered_task
from wmrl.envs.tasks.task import Task


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
            r"no module 'no_such_game', which the location 'no_such_game:TASK' needs",
        ),
        ("wmrl.envs.no_such_game:TASK", "there is no module 'wmrl.envs.no_such_game'"),
        ("own_game:DOOM", r"'DOOM' of module 'own_game' \(.*own_game.py\), got none; its tasks"),
        ("own_game:np", r"to be a Task, got an object of type module; its tasks are: TASK"),
        ("own_game:Task", "to be a Task, got an object of type type"),
        ("own_game.py:TASK", "write 'own_game:TASK'"),
        ("./games/own_game.py:TASK", "write 'games.own_game:TASK'"),
        ("needs_doom:TASK", r"import failed \(ModuleNotFoundError: No module named 'no_doom'\)"),
        ("half_written:TASK", r"import failed \(SyntaxError: "),
        ("a_script:TASK", r"import failed \(SystemExit: 3\)"),
        ("wmrl.envs.tasks.task:x", "the module has no tasks"),
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
