from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pygame
import pytest

from wmrl.envs.frames.env import FrameEnv
from wmrl.envs.rendering.panels import PanelDrawer
from wmrl.envs.rendering.window import Window
from wmrl.envs.tasks.registry import find_task
from wmrl.scripts.play import Args, main
from wmrl.vision.base import load_vision

Keys = dict[int, tuple[int, bool]]


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch, tiny: Any):
    """Plays without waiting, pressing keys at given frames; returns the frames shown."""

    show = Window.show

    def play(world: Any, keys: Keys, **options: Any) -> list[np.ndarray]:
        shown: list[np.ndarray] = []

        def show_and_press(self: Window, frame: np.ndarray) -> None:
            self._fps = 0  # as fast as it can
            show(self, frame)
            if len(shown) in keys:
                key, down = keys[len(shown)]
                kind = pygame.KEYDOWN if down else pygame.KEYUP
                pygame.event.post(pygame.event.Event(kind, key=key))
            shown.append(frame)

        monkeypatch.setattr(Window, "show", show_and_press)
        models = {"vision": str(tiny.vision), "memory": str(tiny.memory)}
        main(Args(world, width=100, **models | options))
        return shown

    return play


@pytest.mark.parametrize(
    "tiny", ["gaussian", pytest.param("discrete", marks=pytest.mark.slow)], indirect=True
)
def test_the_real_game_is_driven_by_the_keys(play: Any, capsys: pytest.CaptureFixture) -> None:
    gas = play("real", {2: (pygame.K_UP, True), 30: (pygame.K_ESCAPE, True)}, seed=1)
    assert len(gas) == 31
    assert "return" in capsys.readouterr().out
    idle = play("real", {30: (pygame.K_q, True)}, seed=1)
    np.testing.assert_array_equal(gas[0], idle[0])
    assert (gas[-1] != idle[-1]).mean() > 0.02


def test_the_dream_is_driven_by_the_keys(play: Any) -> None:
    frames = play("dream", {3: (pygame.K_LEFT, True), 8: (pygame.K_ESCAPE, True)}, seed=1)
    assert len(frames) == 9
    again = play("dream", {3: (pygame.K_LEFT, True), 8: (pygame.K_ESCAPE, True)}, seed=1)
    np.testing.assert_array_equal(frames, again)


def test_r_restarts(play: Any, capsys: pytest.CaptureFixture) -> None:
    play("real", {4: (pygame.K_r, True), 9: (pygame.K_ESCAPE, True)}, seed=1)
    assert capsys.readouterr().out.count("return") == 2


def test_what_was_played_is_recorded(
    play: Any, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "videos" / "me.mp4"
    frames = play("real", {12: (pygame.K_ESCAPE, True)}, out=out)
    video = cv2.VideoCapture(str(out))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == len(frames) == 13
    assert video.get(cv2.CAP_PROP_FPS) == 25
    video.release()
    assert f"video: {out}" in capsys.readouterr().out


def test_stacks_are_one_agent_step_apart(
    play: Any, make_tiny: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Any] = []
    draw = PanelDrawer.draw
    monkeypatch.setattr(
        PanelDrawer, "draw", lambda self, panels: (drawn.append(panels), draw(self, panels))[1]
    )
    location = "toy_game:STEERED@64x64x3x3"
    task = find_task(location)
    tiny = make_tiny(task)
    options = {"task": location, "vision": str(tiny.vision), "memory": str(tiny.memory)}
    play("real", {4: (pygame.K_ESCAPE, True)}, seed=1, **options)
    env, vision = FrameEnv(task), load_vision(tiny.vision, device="cpu")
    stack, _ = env.reset(seed=1)
    for _, reconstruction in drawn:
        decoded = vision.decode_numpy(vision.encode_numpy(stack[None]))[0]
        np.testing.assert_array_equal(reconstruction.image, decoded)
        stack, *_ = env.step(np.zeros(2, np.float32))
    assert len(drawn) == 5


def test_errors(play: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"path: expected a name ending in \.mp4"):
        play("real", {}, out=tmp_path / "me.avi")


@pytest.mark.parametrize("world", ["real", "dream"])
def test_gray_frames_are_played_too(world: str, play: Any, make_tiny: Any) -> None:
    location = "toy_game:STEERED@64x64x1"
    tiny = make_tiny(find_task(location))
    options = {"task": location, "vision": str(tiny.vision), "memory": str(tiny.memory)}
    frames = play(world, {3: (pygame.K_ESCAPE, True)}, seed=1, **options)
    assert len(frames) == 4
    assert frames[0].shape[2] == 3
