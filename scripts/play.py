"""Drive yourself, in the real game or in the dream.

Arrow keys (or W, A, S, D) steer, accelerate and brake; R starts anew; Escape or Q quits. The real
game is shown beside what the eye keeps of it.
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

# Real games are shown at least this often a second, whatever a decision of the agents lasts.
_FPS = 25.0


@dataclass(frozen=True)
class Args:
    """Options of ``wmrl play``."""

    world: tyro.conf.Positional[Literal["real", "dream"]] = "real"
    """Where to drive."""
    vision: str = "car-racing-vae"
    """The eye: a shipped name or a path."""
    memory: str = "auto"
    """What dreams: a shipped name or a path, or "auto" for the shipped one of that eye."""
    task: str = "car-racing"
    """The game: a task's name, or "module:ATTRIBUTE"."""
    temperature: float = 1.0
    """How uncertain the dream is."""
    seed: int | None = None
    """Seed of the first episode; another one each time if not given."""
    out: Path | None = None
    """Also keep what was played as a film, .mp4, .gif or .webp."""
    width: int = 560
    """Pixels of a picture's width."""
    device: str = "auto"
    """Where the models run: auto, cpu, cuda …"""


def main(args: Args) -> None:
    """Plays until the player quits."""
    import torch

    from wmrl.envs.rendering.video import check_video_path, write_video

    torch.set_num_threads(1)  # frames come one by one: threads would only wait for each other
    if args.out is not None:
        check_video_path(args.out)
    game = _open_real(args) if args.world == "real" else _open_dream(args)
    with closing(game.env):
        frames = _play(game, args)
        if args.out is None:
            for _ in frames:
                pass
        else:
            print(f"film: {write_video(args.out, frames, fps=game.fps)}")


@dataclass(frozen=True)
class _Game:
    """A game to play.

    Attributes:
        env: it; one step is one frame on the screen.
        look: from what it returned last to labels, notes and pictures of panels.
        fps: steps a second.
        action_names: what the action's numbers are.
    """

    env: gym.Env[np.ndarray, np.ndarray]
    look: Callable[[np.ndarray], list[dict[str, Any]]]
    fps: float
    action_names: tuple[str, ...]


def _open_real(args: Args) -> _Game:
    from wmrl.envs.frames.env import FrameEnv
    from wmrl.envs.rendering.panels import AMBER, BLUE
    from wmrl.envs.tasks.registry import find_task
    from wmrl.vision.base import load_vision

    task = find_task(args.task)
    vision = load_vision(args.vision, device=args.device)
    skip = max(1, int(task.fps // _FPS))
    env = FrameEnv(task, frame_skip=skip, render_mode="rgb_array")

    def look(frame: np.ndarray) -> list[dict[str, Any]]:
        seen = vision.decode_numpy(vision.encode_numpy(frame[None]))[0]
        return [
            {"label": "real", "picture": env.render(), "color": BLUE},
            {"label": "reconstruction", "picture": seen, "color": AMBER},
        ]

    return _Game(env, look, task.fps / skip, task.action_names)


def _open_dream(args: Args) -> _Game:
    from wmrl.envs.dream.env import DreamEnv
    from wmrl.envs.rendering.panels import VIOLET

    env = DreamEnv(
        task=args.task,
        vision=args.vision,
        memory=args.memory,
        temperature=args.temperature,
        device=args.device,
    )

    def look(observation: np.ndarray) -> list[dict[str, Any]]:
        latent = env.state.latent.cpu().numpy()
        picture = env.eye.vision.decode_numpy(latent)[0]
        return [{"label": "dream", "picture": picture, "color": VIOLET}]

    return _Game(env, look, env.eye.fps, env.eye.task.action_names)


def _play(game: _Game, args: Args) -> Iterator[np.ndarray]:
    """Shows frames in a window and yields them, until the player quits."""
    from wmrl.envs.rendering.panels import PanelDrawer
    from wmrl.envs.rendering.window import Window
    from wmrl.scripts.keyboard import Keyboard

    size = game.env.action_space.sample().size
    names = game.action_names or tuple(f"a{i}" for i in range(size))
    drawer = PanelDrawer(
        width=args.width, height=round(0.75 * args.width), action_names=names, text_size=24
    )
    keyboard, seed = Keyboard(size), args.seed
    with closing(Window(f"wmrl play {args.world}", fps=game.fps)) as window:
        while not keyboard.quits:
            for panels in _episode(game, keyboard, seed):
                frame = drawer.draw(panels)
                window.show(frame)
                yield frame
                keyboard.read()
            seed = None  # the next episodes are new ones


def _episode(game: _Game, keyboard: "Keyboard", seed: int | None) -> "Iterator[list[Panel]]":
    """Drives one episode, and shows its end until the player wants another."""
    from wmrl.envs.rendering.panels import Panel

    observation, _ = game.env.reset(seed=seed)
    score, steps, reward, over = 0.0, 0, 0.0, False
    action = keyboard.act(0.0)
    while not (keyboard.quits or keyboard.take_restart()):
        figures = [("reward", f"{reward:+.1f}"), ("return", f"{score:.1f}")]
        note = "over: press R" if over else f"{steps / game.fps:.1f} s"
        first, *others = game.look(observation)
        yield [
            Panel(**first, note=note, action=action, figures=figures, dimmed=over),
            *(Panel(**other) for other in others),
        ]
        if not over:
            action = keyboard.act(1 / game.fps)
            observation, gain, terminated, truncated, _ = game.env.step(action)
            reward = float(gain)
            over = terminated or truncated
            score, steps = score + reward, steps + 1
    print(f"return {score:.1f} after {steps / game.fps:.1f} s")
