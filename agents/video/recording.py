"""Recording of an agent's episode as a video."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from wmrl.agents.agent import Agent, State, load_agent
from wmrl.agents.video.config import VideoConfig
from wmrl.agents.video.dream import DreamCompanion, act, bar_names
from wmrl.core.frames import newest_frames
from wmrl.core.validation import check_frame
from wmrl.envs.frames.env import FrameEnv
from wmrl.envs.latent.tracker import LatentTracker
from wmrl.envs.observations import ObservationFormat
from wmrl.envs.rendering.code_map import draw_code_map
from wmrl.envs.rendering.panels import AMBER, BLUE, GREEN, Panel, PanelDrawer
from wmrl.envs.rendering.video import check_video_path, write_video
from wmrl.envs.tasks.task import ObservationKey, Task, observation_frame
from wmrl.envs.world_model import WorldModel
from wmrl.storage.files import check_writable
from wmrl.vision.vqvae import VQVAE


@dataclass(frozen=True, kw_only=True)
class Recording:
    """Summary of a video that was written.

    Attributes:
        path: video file.
        seed: seed of the episode.
        agent_steps: number of agent steps of the episode.
        score: return of the episode.
        dreams: pairs of returns, one for each completed dream: the return of the dream, and that
            of the game over the same agent steps.
    """

    path: Path
    seed: int
    agent_steps: int
    score: float
    dreams: tuple[tuple[float, float], ...]


def record(
    agent: Agent | str | Path,
    path: str | Path,
    *,
    task: Task | str | None = None,
    world_model: WorldModel | None = None,
    config: VideoConfig | None = None,
    device: str | torch.device = "auto",
) -> Recording:
    """Records a video of an agent: the real game, its reconstruction, and a dream.

    The dream starts with the latent and the memory state of the game, and then runs without the
    game. If the world model has no memory model, there is no dream.

    Args:
        agent: agent that plays, or its shipped name or path.
        path: ``.mp4``, ``.gif`` or ``.webp`` file to write.
        task: task that the agent was trained on, or a value that
            :func:`~wmrl.envs.tasks.registry.find_task` accepts. The argument is needed only if the
            task is not registered and ``world_model`` is not given.
        world_model: world model of the agent; if None, the one to which the agent refers.
        config: contents of the video; the defaults of
            :class:`~wmrl.agents.video.config.VideoConfig` if None.
        device: device of the world model; ignored if ``world_model`` is given.

    Raises:
        ArtifactError: the agent or its world model cannot be loaded.
        ValueError: the suffix of the path is unknown, the path can't be written, or the spaces of
            the agent have other shapes than those of the world model.
    """
    check_video_path(path)
    check_writable(path, kind="file")
    if not isinstance(agent, Agent):
        agent = load_agent(agent)
    if world_model is None:
        world_model = agent.open_world_model(task=task, device=device)
    video = EpisodeVideo(agent, world_model, config or VideoConfig())
    fps = world_model.fps * video.config.speed
    return Recording(
        path=write_video(path, video, fps=fps),
        seed=video.config.seed,
        agent_steps=video.agent_steps,
        score=video.score,
        dreams=tuple(video.dreams),
    )


class EpisodeVideo:
    """Iterable over the frames of a video that :func:`record` writes.

    Each iteration over this object plays the episode anew, and yields one frame per agent step.

    Args:
        agent: agent that plays.
        world_model: world model of the agent.
        config: contents of the video.

    Attributes:
        config: contents of the video.
        agent_steps: number of agent steps so far.
        score: return so far.
        dreams: pairs of returns, one for each dream completed so far: the return of the dream, and
            that of the game over the same agent steps.

    Raises:
        ValueError: the spaces of the agent have other shapes than those of the world model.
    """

    def __init__(self, agent: Agent, world_model: WorldModel, config: VideoConfig) -> None:
        self._format = ObservationFormat(world_model, agent.observation)
        for name, space in (
            ("observation_space", self._format.space),
            ("action_space", world_model.action_space),
        ):
            expected, got = _shape(space), _shape(getattr(agent, name))
            if expected != got:
                raise ValueError(
                    f"agent: expected {name} of shape {expected}, as in the world model, got "
                    f"{got}; use the world model that the agent was trained with"
                )
        self.config = config
        self.agent_steps = 0
        self.score = 0.0
        self.dreams: list[tuple[float, float]] = []
        self._agent = agent
        self._world_model = world_model
        self._codes: np.ndarray | None = None  # codes of the previous frame
        self._drawer = PanelDrawer(
            width=config.width, height=config.height, action_names=bar_names(world_model)
        )

    def __iter__(self) -> Iterator[np.ndarray]:
        """Plays the episode and yields a video frame ``(H, W, 3) uint8`` per agent step."""
        render_mode = "rgb_array" if self.config.sharp else None
        env = FrameEnv(
            self._world_model.task,
            base=self.config.base,
            frame_skip=self._world_model.frame_skip,
            render_mode=render_mode,
        )
        try:
            yield from self._play(env)
        finally:
            env.close()

    def _play(self, env: FrameEnv) -> Iterator[np.ndarray]:
        self.agent_steps, self.score, self.dreams, self._codes = 0, 0.0, [], None
        world_model, tracker = self._world_model, LatentTracker(self._world_model, 1)
        dream = (
            DreamCompanion(self._agent, world_model, self.config) if world_model.memory else None
        )
        seen, info = env.reset(seed=self.config.seed)
        state: State | None = None
        reward, over = 0.0, False
        while True:
            frame = newest_frames(seen, world_model.task.frame_stack)
            observation = self._format.format(tracker.observe(seen[None]))
            over = over or self.agent_steps == self.config.agent_steps
            action, state = act(
                self._agent,
                world_model,
                observation,
                state,
                deterministic=self.config.deterministic,
            )
            if dream is not None and not over and info["frames"] >= world_model.task.warmup_frames:
                dream.choose_action(tracker.state, state, action)
            decoded = world_model.vision.decode_numpy(tracker.latents.cpu().numpy())[0]
            panels = [
                self._real_panel(_render(env) if self.config.sharp else frame, action, reward),
                self._reconstruction_panel(frame, decoded),
                *self._code_panels(decoded, tracker.latents),
                *([dream.panel(decoded)] if dream else []),
            ]
            yield self._drawer.draw(panels)
            if over:
                return
            seen, reward, terminated, truncated, info = env.step(action)
            over = terminated or truncated
            tracker.advance(action[None])
            self._count(reward, dream)

    def _count(self, reward: float, dream: DreamCompanion | None) -> None:
        self.agent_steps += 1
        self.score += reward
        if dream is not None and dream.step(reward):
            self.dreams.append((dream.score, dream.real_score))

    def _real_panel(self, image: np.ndarray, action: np.ndarray, reward: float) -> Panel:
        return Panel(
            label="real",
            image=image,
            note=f"agent step {self.agent_steps}",
            action=self._world_model.task.actions.encode(action),
            metrics=[("reward", f"{reward:+.1f}"), ("return", f"{self.score:.1f}")],
            color=BLUE,
        )

    def _reconstruction_panel(self, frame: np.ndarray, decoded: np.ndarray) -> Panel:
        vision = self._world_model.vision
        error = float(((frame.astype(float) - decoded) ** 2).mean() ** 0.5)
        return Panel(
            label="reconstruction",
            image=decoded,
            note=f"{vision.num_tokens} codes"
            if isinstance(vision, VQVAE)
            else f"{vision.latent_dim} numbers",
            metrics=[("RMS error", f"{error:.1f} of 255")],
            color=AMBER,
        )

    def _code_panels(self, decoded: np.ndarray, latents: Tensor) -> list[Panel]:
        """Returns a list with the panel of the code map.

        The list is empty if the code map is disabled or the vision model has no codes.
        """
        vision, config = self._world_model.vision, self.config
        if not (config.code_map and isinstance(vision, VQVAE)):
            return []
        codes = vision.codes_of(latents)[0].view(vision.config.grid).cpu().numpy()
        previous, self._codes = self._codes, codes
        image = draw_code_map(
            decoded, codes, width=config.width, height=config.height, previous=previous
        )
        changed = codes.size if previous is None else int((codes != previous).sum())
        return [
            Panel(
                label="codes",
                image=image,
                note=f"of {vision.codebook_size}",
                metrics=[("changed", f"{changed} of {codes.size}")],
                color=GREEN,
            )
        ]


def _shape(space: spaces.Space[Any]) -> Any:
    """Returns the shape of a space, or the shapes in a dictionary of spaces."""
    if isinstance(space, spaces.Dict):
        return {key: part.shape for key, part in space.items()}
    return space.shape


def _render(env: FrameEnv) -> np.ndarray:
    """Renders the game, cropped to the rows that the vision model observes."""
    image = check_frame("render()", env.render(), where="in the method render of the game")
    rows, height = env.task.crop_rows, _raw_height(env)
    if rows is None:
        return image
    scale = 1.0 if height is None else image.shape[0] / height
    return image[round(rows[0] * scale) : round(rows[1] * scale)]


def _raw_height(env: FrameEnv) -> int | None:
    """Returns the height in pixels of the game's frames before they are cropped.

    If the frames are the game's observations, this is the height of the observation space. If the
    frames are made in another way, such as by ``render``, the result is None. The result is also
    None if the observation space has no axes.
    """
    frame, space = env.task.frame, env.base.observation_space
    if isinstance(frame, ObservationKey) and isinstance(space, spaces.Dict):
        space = space.get(frame.key, space)
    elif frame is not observation_frame:
        return None
    return space.shape[0] if space.shape else None
