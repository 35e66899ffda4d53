"""Lets you drive with the keyboard, in the real game or in the dream.

The arrow keys (or W, A, S, D) steer, accelerate and brake. In a game with discrete actions, digits
choose an option. The arrow keys and the space bar also choose an option if one is named after the
key. R or Return restarts; Escape or Q quits. The real game is shown beside its reconstruction by
the vision model. The command needs a display. Without a display, make a video with wmrl record.
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import gymnasium as gym
import numpy as np
import tyro

if TYPE_CHECKING:
    from wmrl.envs.rendering.panels import Panel
    from wmrl.scripts.keyboard import Keyboard

# Minimum frame rate of real games, regardless of the length of an agent step.
_FPS = 25.0


@dataclass(frozen=True)
class Args:
    """Options of ``wmrl play``."""

    world: tyro.conf.Positional[Literal["real", "dream"]] = "real"
    """World to drive in: the real game or the dream."""
    vision: str = "car-racing-vae"
    """Vision model: a shipped name, a path, or hf://user/name."""
    memory: str = "auto"
    """Memory model: a shipped name, a path, or hf://user/name; "auto" for the one shipped with the
    vision model."""
    task: str = "car-racing"
    """Task: a registered name, the id of an environment such as ALE/Boxing-v5, or module:ATTRIBUTE
    for a task of your own."""
    temperature: float = 1.0
    """Temperature τ of the dream."""
    seed: int | None = None
    """Seed of the first episode; random if not given."""
    out: Path | None = None
    """Video file of the session: .mp4, .gif or .webp; if not given, no video is recorded."""
    width: int = 560
    """Width of each image in pixels."""
    device: str = "auto"
    """Device of the models: auto, cpu, cuda …"""


def main(args: Args) -> None:
    """Plays until the player quits."""
    import torch

    from wmrl.core.display import check_display
    from wmrl.envs.rendering.video import check_video_path, write_video

    torch.set_num_threads(1)  # more threads do not speed up single frames
    check_display()
    if args.out is not None:
        check_video_path(args.out)
    game = _open_real(args) if args.world == "real" else _open_dream(args)
    with closing(game.env):
        frames = _play(game, args)
        if args.out is None:
            for _ in frames:
                pass
        else:
            print(f"video: {write_video(args.out, frames, fps=game.fps)}")


@dataclass(frozen=True)
class _Game:
    """Environment to play, and the panels that show it.

    Attributes:
        env: environment, each step of which is one frame on the screen.
        panels_of: function that maps the latest observation to a list of panels. Each panel is a
            dictionary of keyword arguments of :class:`~wmrl.envs.rendering.panels.Panel`.
        fps: number of environment steps, and of frames on the screen, per second.
        action_names: names of the dimensions of an encoded action; empty if they have no names.
    """

    env: gym.Env[np.ndarray, np.ndarray]
    panels_of: Callable[[np.ndarray], list[dict[str, Any]]]
    fps: float
    action_names: tuple[str, ...]


def _open_real(args: Args) -> _Game:
    from wmrl.core.validation import check_frame
    from wmrl.envs.frames.env import FrameEnv
    from wmrl.envs.rendering.panels import AMBER, BLUE
    from wmrl.scripts.options import find_task_aloud
    from wmrl.vision.base import load_vision

    task = find_task_aloud(args.task)
    vision = load_vision(args.vision, device=args.device)
    skip = max(1, int(task.fps // _FPS))
    if task.frame_stack > 1:
        skip = task.frame_skip  # the frames of a stack are one agent step apart
    env = FrameEnv(task, frame_skip=skip, render_mode="rgb_array")

    def panels_of(frame: np.ndarray) -> list[dict[str, Any]]:
        reconstruction = vision.decode_numpy(vision.encode_numpy(frame[None]))[0]
        image = check_frame("render()", env.render(), where="in the method render of the game")
        return [
            {"label": "real", "image": image, "color": BLUE},
            {"label": "reconstruction", "image": reconstruction, "color": AMBER},
        ]

    return _Game(env, panels_of, task.fps / skip, task.action_names)


def _open_dream(args: Args) -> _Game:
    from wmrl.envs.dream.env import DreamEnv
    from wmrl.envs.rendering.panels import VIOLET
    from wmrl.scripts.options import find_task_aloud

    env = DreamEnv(
        task=find_task_aloud(args.task),
        vision=args.vision,
        memory=args.memory,
        temperature=args.temperature,
        device=args.device,
    )

    def panels_of(observation: np.ndarray) -> list[dict[str, Any]]:
        latent = env.state.latent.cpu().numpy()
        image = env.world_model.vision.decode_numpy(latent)[0]
        return [{"label": "dream", "image": image, "color": VIOLET}]

    return _Game(env, panels_of, env.world_model.fps, env.world_model.task.action_names)


def _play(game: _Game, args: Args) -> Iterator[np.ndarray]:
    """Shows frames in a window and yields them, until the player quits."""
    from wmrl.core.action_spec import ActionSpec
    from wmrl.envs.rendering.panels import PanelDrawer
    from wmrl.envs.rendering.window import Window
    from wmrl.scripts.keyboard import keyboard_for

    spec = ActionSpec.of(game.env.action_space)
    names = game.action_names or tuple(f"a{i}" for i in range(spec.dim))
    drawer = PanelDrawer(
        width=args.width, height=round(0.75 * args.width), action_names=names, text_size=24
    )
    keyboard, seed = keyboard_for(spec, game.action_names), args.seed
    with closing(Window(f"wmrl play {args.world}", fps=game.fps)) as window:
        while not keyboard.quits:
            for panels in _episode(game, keyboard, seed):
                frame = drawer.draw(panels)
                window.show(frame)
                yield frame
                keyboard.read()
            seed = None  # later episodes have random seeds


def _episode(game: _Game, keyboard: "Keyboard", seed: int | None) -> "Iterator[list[Panel]]":
    """Plays one episode and yields the panels of each step.

    After the episode, the last panels are repeated until the player restarts or quits.
    """
    from wmrl.core.action_spec import ActionSpec
    from wmrl.envs.rendering.panels import Panel

    spec = ActionSpec.of(game.env.action_space)
    observation, _ = game.env.reset(seed=seed)
    score, steps, reward, over = 0.0, 0, 0.0, False
    action = keyboard.act(0.0)
    while not (keyboard.quits or keyboard.take_restart()):
        metrics = [("reward", f"{reward:+.1f}"), ("return", f"{score:.1f}")]
        note = "over: press R" if over else f"{steps / game.fps:.1f} s"
        first, *others = game.panels_of(observation)
        yield [
            Panel(**first, note=note, action=spec.encode(action), metrics=metrics, dimmed=over),
            *(Panel(**other) for other in others),
        ]
        if not over:
            action = keyboard.act(1 / game.fps)
            observation, gain, terminated, truncated, _ = game.env.step(action)
            reward = float(gain)
            over = terminated or truncated
            score, steps = score + reward, steps + 1
    print(f"return {score:.1f} after {steps / game.fps:.1f} s")
