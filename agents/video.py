"""Recording: an agent's episode as a film of the game, what the eye keeps of it, and the dream."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from wmrl.agents.agent import Agent, State
from wmrl.core.seeding import integer_seed
from wmrl.dream import DreamState
from wmrl.envs.dream.env import DreamEnv
from wmrl.envs.frames.env import FrameEnv
from wmrl.envs.latent.tracker import Gaze
from wmrl.envs.rendering.code_map import draw_code_map
from wmrl.envs.rendering.panels import AMBER, BLUE, GREEN, VIOLET, Panel, PanelDrawer
from wmrl.envs.rendering.video import check_video_path, write_video
from wmrl.envs.tasks.task import observation_frame
from wmrl.envs.world_model import Eye
from wmrl.vision.vqvae import VQVAE


@dataclass(frozen=True, kw_only=True)
class FilmConfig:
    """What is filmed.

    Attributes:
        seed: of the episode; the game gets it as it is.
        base: id of another base environment than the task's.
        decisions: most decisions to film; the whole episode if None.
        dream_decisions: decisions after which the dream starts anew from what is real then.
        same_actions: whether the dream is driven by the actions taken in the game, rather than
            by the same agent looking at the dream.
        temperature: τ of the dream.
        deterministic: whether the agent acts without noise.
        sharp: whether the game is shown as it renders itself, rather than as the eye's small frame.
        code_map: whether the codes are shown as well, where the eye sees in codes.
        width: pixels of a picture from left to right.
        height: pixels of a picture from top to bottom.
        speed: how many times faster than the game's own speed the film plays.
    """

    seed: int = 0
    base: str | None = None
    decisions: int | None = None
    dream_decisions: int = 60
    same_actions: bool = False
    temperature: float = 1.0
    deterministic: bool = True
    sharp: bool = True
    code_map: bool = True
    width: int = 400
    height: int = 300
    speed: float = 1.0

    def __post_init__(self) -> None:
        for name in ("decisions", "dream_decisions"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name}: expected at least 1, got {value}")
        if not self.speed > 0:
            raise ValueError(f"speed: expected a positive number, got {self.speed}")


@dataclass(frozen=True, kw_only=True)
class Recording:
    """A film that was written.

    Attributes:
        path: the file.
        seed: of the episode.
        decisions: how many there were.
        score: the sum of the game's rewards.
        dreams: pairs of returns over the same decisions, the dream's and the game's, one for each
            time that the dream ran to its end.
    """

    path: Path
    seed: int
    decisions: int
    score: float
    dreams: tuple[tuple[float, float], ...]


def record(
    agent: Agent, path: str | Path, *, eye: Eye, config: FilmConfig | None = None
) -> Recording:
    """Films an agent in the real game, beside the reconstruction and the dream.

    The dream starts in the same encoded state as the game, with the memory filled by the episode
    so far, and then goes its own way. Without a memory there is no dream to show.

    Args:
        agent: who drives.
        path: an ``.mp4``, ``.gif`` or ``.webp`` file.
        eye: what it looks through.
        config: what is filmed.

    Raises:
        ValueError: the path's suffix is unknown, or the agent does not fit the eye.
    """
    check_video_path(path)
    film = Film(agent, eye, config or FilmConfig())
    fps = eye.fps * film.config.speed
    return Recording(
        path=write_video(path, film, fps=fps),
        seed=film.config.seed,
        decisions=film.decisions,
        score=film.score,
        dreams=tuple(film.dreams),
    )


class Film:
    """An episode that is played while its frames are asked for; see :func:`record`."""

    def __init__(self, agent: Agent, eye: Eye, config: FilmConfig) -> None:
        for name in ("observation_space", "action_space"):
            expected, got = getattr(eye, name).shape, getattr(agent, name).shape
            if expected != got:
                raise ValueError(
                    f"agent: its {name} has shape {got}, the eye's {expected}; use the vision and "
                    "memory that it was trained with"
                )
        self.config = config
        self.decisions = 0
        self.score = 0.0
        self.dreams: list[tuple[float, float]] = []
        self._agent = agent
        self._eye = eye
        self._codes: np.ndarray | None = None  # of the frame before
        self._drawer = PanelDrawer(
            width=config.width, height=config.height, action_names=_action_names(eye)
        )

    def __iter__(self) -> Iterator[np.ndarray]:
        """Plays the episode: one film frame ``(H, W, 3) uint8`` for each decision."""
        render_mode = "rgb_array" if self.config.sharp else None
        env = FrameEnv(
            self._eye.task,
            base=self.config.base,
            frame_skip=self._eye.frame_skip,
            render_mode=render_mode,
        )
        try:
            yield from self._play(env)
        finally:
            env.close()

    def _play(self, env: FrameEnv) -> Iterator[np.ndarray]:
        self.decisions, self.score, self.dreams, self._codes = 0, 0.0, [], None
        eye, gaze = self._eye, Gaze(self._eye, 1)
        dream = _Dream(self._agent, eye, self.config) if eye.memory else None
        frame, info = env.reset(seed=self.config.seed)
        state: State | None = None
        reward, over = 0.0, False
        while True:
            observation = gaze.see(frame[None])[0]
            over = over or self.decisions == self.config.decisions
            action, state = _act(self._agent, eye, observation, state, self.config)
            if dream is not None and not over and info["frames"] >= eye.task.warmup_frames:
                dream.look(gaze.state, state, action)
            seen = eye.vision.decode_numpy(gaze.latents.cpu().numpy())[0]
            panels = [
                self._real_panel(_picture(env) if self.config.sharp else frame, action, reward),
                self._reconstruction_panel(frame, seen),
                *self._code_panels(seen, gaze.latents),
                *([dream.panel(seen)] if dream else []),
            ]
            yield self._drawer.draw(panels)
            if over:
                return
            frame, reward, terminated, truncated, info = env.step(action)
            over = terminated or truncated
            gaze.act(action[None])
            self._count(reward, dream)

    def _count(self, reward: float, dream: "_Dream | None") -> None:
        self.decisions += 1
        self.score += reward
        if dream is not None and dream.step(reward):
            self.dreams.append((dream.score, dream.real_score))

    def _real_panel(self, picture: np.ndarray, action: np.ndarray, reward: float) -> Panel:
        return Panel(
            label="real",
            picture=picture,
            note=f"decision {self.decisions}",
            action=action,
            figures=[("reward", f"{reward:+.1f}"), ("return", f"{self.score:.1f}")],
            color=BLUE,
        )

    def _reconstruction_panel(self, frame: np.ndarray, seen: np.ndarray) -> Panel:
        kept = self._eye.vision
        error = float(((frame.astype(float) - seen) ** 2).mean() ** 0.5)
        return Panel(
            label="reconstruction",
            picture=seen,
            note=f"{kept.tokens} codes"
            if isinstance(kept, VQVAE)
            else f"{kept.latent_size} numbers",
            figures=[("RMS error", f"{error:.1f} of 255")],
            color=AMBER,
        )

    def _code_panels(self, seen: np.ndarray, latents: Tensor) -> list[Panel]:
        """The map of the frame's codes, where the eye sees in codes and it is asked for."""
        vision, config = self._eye.vision, self.config
        if not (config.code_map and isinstance(vision, VQVAE)):
            return []
        codes = vision.codes_of(latents)[0].view(vision.config.grid).cpu().numpy()
        before, self._codes = self._codes, codes
        picture = draw_code_map(
            seen, codes, width=config.width, height=config.height, previous=before
        )
        changed = codes.size if before is None else int((codes != before).sum())
        return [
            Panel(
                label="codes",
                picture=picture,
                note=f"of {vision.code_count}",
                figures=[("changed", f"{changed} of {codes.size}")],
                color=GREEN,
            )
        ]


class _Dream:
    """The dream's side of a film: it starts where the game is, and then goes its own way."""

    def __init__(self, agent: Agent, eye: Eye, config: FilmConfig) -> None:
        assert eye.memory is not None
        self.score = self.real_score = 0.0
        self._agent, self._eye, self._config = agent, eye, config
        self._env = DreamEnv(
            task=eye.task, vision=eye.vision, memory=eye.memory, temperature=config.temperature
        )
        self._count = self._age = 0  # dreams started; decisions of the game since the last start
        self._length = 0  # decisions that this dream lasted
        self._running = False
        self._observation = np.zeros(0, np.float32)
        self._state: State | None = None
        self._action = np.zeros(eye.task.action_size, np.float32)
        self._reward = 0.0

    def look(self, real: DreamState, agent_state: State | None, action: np.ndarray) -> None:
        """Chooses an action, and starts anew before that, where it is time to.

        Args:
            real: where the game is.
            agent_state: the agent's state after it has acted in the game.
            action: what it did there, ``(A,)``.
        """
        if self._count == 0 or self._age >= self._config.dream_decisions:
            self._start(real)
            # In the same place, the same agent does the same.
            self._action, self._state = action, agent_state
        elif self._config.same_actions:
            self._action = action
        elif self._running:
            self._action, self._state = _act(
                self._agent, self._eye, self._observation, self._state, self._config
            )

    def _start(self, real: DreamState) -> None:
        seed = integer_seed(self._config.seed, "film", self._count)
        self._observation, _ = self._env.reset(seed=seed, options={"state": real})
        self._count += 1
        self._age = self._length = 0
        self.score = self.real_score = self._reward = 0.0
        self._running = True

    def step(self, real_reward: float) -> bool:
        """One decision; returns whether the dream came to its end by it.

        Args:
            real_reward: what the same decision earned in the game.
        """
        if self._count == 0:
            return False
        self._age += 1
        if not self._running:
            return False
        self._observation, self._reward, terminated, _, _ = self._env.step(self._action)
        self._length += 1
        self.score += self._reward
        self.real_score += real_reward
        self._running = not terminated
        return terminated or self._age >= self._config.dream_decisions

    def panel(self, seen: np.ndarray) -> Panel:
        """Draws it; before the first dream, what is seen now in its place."""
        if self._count == 0:
            return Panel(
                label="dream", picture=seen, note="not yet begun", color=VIOLET, dimmed=True
            )
        latent = self._env.state.latent.cpu().numpy()
        lasting = f"{self._length} of {self._config.dream_decisions} decisions dreamed"
        return Panel(
            label="dream",
            picture=self._eye.vision.decode_numpy(latent)[0],
            note=lasting if self._running else f"ended at decision {self._length}",
            action=self._action if self._running else None,
            figures=[
                ("reward", f"{self._reward:+.1f}"),
                ("return", f"{self.score:.1f}"),
                ("really", f"{self.real_score:.1f}"),
            ],
            color=VIOLET,
            dimmed=not self._running,
        )


def _act(
    agent: Agent, eye: Eye, observation: np.ndarray, state: State | None, config: FilmConfig
) -> tuple[np.ndarray, State | None]:
    action, state = agent.predict(observation, state, deterministic=config.deterministic)
    return eye.clip(action, ()), state


def _picture(env: FrameEnv) -> np.ndarray:
    """What the game renders, cut to the rows that the eye sees of it."""
    picture: np.ndarray = env.render()
    rows, shape = env.task.crop_rows, env.base.observation_space.shape
    if rows is None:
        return picture
    if env.task.frame is not observation_frame or not shape:
        return picture[slice(*rows)]
    scale = picture.shape[0] / shape[0]
    return picture[round(rows[0] * scale) : round(rows[1] * scale)]


def _action_names(eye: Eye) -> tuple[str, ...]:
    return eye.task.action_names or tuple(f"a{i}" for i in range(eye.task.action_size))
