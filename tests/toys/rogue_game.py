"""Tiny games that misbehave in worker processes."""

import multiprocessing
import os
import signal
import subprocess
import threading
import time
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from wmrl.envs.tasks.task import Task


class Sleepy(gym.Env[np.ndarray, np.ndarray]):
    """A game that takes its time.

    A negative action takes as many seconds as frames; an action up to 0.5 sleeps for ever, and a
    greater one computes for ever without releasing Python's lock.
    """

    action_space = spaces.Box(-1, 1, (1,))
    observation_space = spaces.Box(0, 255, (8, 8, 3), np.uint8)

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        return self._frame(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        if action[0] < 0:
            time.sleep(1.0)
        elif 0 < action[0] <= 0.5:
            time.sleep(1e6)
        elif action[0] > 0.5:
            pow(3, 10**10)  # hours
        return self._frame(), 0.0, False, False, {}

    def _frame(self) -> np.ndarray:
        return self.np_random.integers(0, 256, (8, 8, 3)).astype(np.uint8)


class Picky(Sleepy):
    """A game whose infos hold a lock, which can't be pickled."""

    def reset(self, **arguments: Any) -> tuple[np.ndarray, dict[str, Any]]:
        frame, info = super().reset(**arguments)
        return frame, {"lock": threading.Lock()} if arguments.get("options") else info

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        return self._frame(), 0.0, False, False, {"fine": 1, "lock": threading.Lock()}

    def render(self) -> Any:
        return threading.Lock()


class Foreign(Sleepy):
    """A game whose infos hold an object that only its own process can unpickle."""

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        return self._frame(), 0.0, False, False, {"own": Own(os.getpid())}


class Own:
    """An object of one process."""

    def __init__(self, owner: int) -> None:
        if owner != os.getpid():
            raise LookupError("the class is unknown here")
        self.owner = owner

    def __reduce__(self) -> Any:
        return Own, (self.owner,)


class Hanging(Sleepy):
    """A game that sleeps for ever in its third step."""

    steps = 0

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        return super().step(np.array([0.5 * (self.steps > 2)]))


class Dying(Sleepy):
    """A game that kills its process in the second step."""

    steps = 0

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        if self.steps == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().step(np.zeros(1))


class Rude(Sleepy):
    """A game that ends with what ``options["error"]`` names, which is no ordinary exception."""

    class WordlessError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("there are no words")

    def reset(self, **arguments: Any) -> tuple[np.ndarray, dict[str, Any]]:
        match (arguments.get("options") or {}).get("error"):
            case "exit":
                raise SystemExit(0)
            case "interrupt":
                raise KeyboardInterrupt
            case "base":
                raise BaseException("no exception")
            case "wordless":
                raise self.WordlessError
        return super().reset(**arguments)


class Leaving(Sleepy):
    """A game that ends the program as it starts."""

    def __init__(self, render_mode: str | None = None) -> None:
        raise SystemExit(0)


class Helped(Sleepy):
    """A game with a forked process and a program that help it; it dies in its second step."""

    steps = 0

    def reset(self, **arguments: Any) -> tuple[np.ndarray, dict[str, Any]]:
        fork = multiprocessing.get_context("fork")
        helper = fork.Process(target=time.sleep, args=(60,), daemon=True)
        helper.start()
        program = subprocess.Popen(["sleep", "60"], stderr=subprocess.DEVNULL)
        frame, info = super().reset(**arguments)
        return frame, info | {"helpers": [helper.pid, program.pid]}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        if self.steps == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().step(action)


class Forking(Sleepy):
    """A game that forks its process in each step, and lets the child go on."""

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        if os.fork() == 0:
            time.sleep(0.02)
        return super().step(action)


gym.register("Rude-v0", entry_point=Rude)
gym.register("Leaving-v0", entry_point=Leaving)
gym.register("Helped-v0", entry_point=Helped)
gym.register("Forking-v0", entry_point=Forking)
gym.register("Hanging-v0", entry_point=Hanging)
gym.register("Dying-v0", entry_point=Dying)
gym.register("Sleepy-v0", entry_point=Sleepy)
gym.register("Picky-v0", entry_point=Picky)
gym.register("Foreign-v0", entry_point=Foreign)


def _task(env_id: str) -> Task:
    return Task(
        name=env_id.lower(),
        env_id=f"rogue_game:{env_id}-v0",
        action_space=Sleepy.action_space,
        to_env_action=np.copy,
        frame_size=(8, 8),
        frame_skip=1,
        max_frames=50,
    )


SLEEPY, PICKY, HANGING, DYING = map(_task, ("Sleepy", "Picky", "Hanging", "Dying"))
FOREIGN = _task("Foreign")
RUDE, LEAVING, HELPED, FORKING = map(_task, ("Rude", "Leaving", "Helped", "Forking"))
