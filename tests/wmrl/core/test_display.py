"""Windows need a display, or SDL_VIDEODRIVER set to a driver without one."""

import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium as gym
import pygame
import pytest

import wmrl  # noqa: F401 - registers the environments
from wmrl.core.display import DisplayError, check_display
from wmrl.envs.frames.env import FrameEnv
from wmrl.scripts.cli import run

_NO_DISPLAY = ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER", "SDL_VIDEO_DRIVER")


@pytest.fixture
def offscreen(monkeypatch: pytest.MonkeyPatch) -> None:
    """SDL without a display, as if the user had not asked for any driver."""
    monkeypatch.setattr(pygame.display, "get_driver", lambda: "offscreen")


def test_a_driver_that_the_user_asks_for_is_accepted() -> None:
    check_display()  # conftest.py sets SDL_VIDEODRIVER
    assert not pygame.display.get_init()


def test_no_driver_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise pygame.error("No available video device")

    monkeypatch.setattr(pygame.display, "init", fail)
    with pytest.raises(DisplayError, match=r"got No available video device; .*rgb_array"):
        check_display()


@pytest.mark.parametrize(
    "make",
    [
        partial(gym.make, "vsg/CarRacing-v3"),
        partial(gym.make, "vsg/PlanarArm-v0"),
        partial(gym.make, "vsg/CarRacingDream-v0", device="cpu"),
        FrameEnv,
    ],
)
@pytest.mark.usefixtures("offscreen")
def test_environments_say_that_there_is_no_display(make: Callable[..., Any]) -> None:
    with pytest.raises(DisplayError, match=r"display: .*'offscreen', which shows nothing"):
        make(render_mode="human")
    make(render_mode="rgb_array").close()


@pytest.mark.usefixtures("offscreen")
def test_play_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["play"]) == 2
    assert "set DISPLAY" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform != "linux", reason="other systems always have a display")
def test_sdl_itself_without_a_display() -> None:
    environment = {k: v for k, v in os.environ.items() if k not in _NO_DISPLAY}
    code = "from wmrl.core.display import check_display; check_display()"
    found = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
    assert found.returncode == 1
    assert b"DisplayError: display: expected one" in found.stderr
