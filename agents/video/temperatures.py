"""Videos of dreams at several temperatures, side by side, from one start."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from wmrl.agents.agent import Agent, State
from wmrl.agents.rollouts.exploration import RepeatedRandom
from wmrl.agents.video.config import DreamVideoConfig
from wmrl.agents.video.dream import act, bar_names
from wmrl.core.seeding import numpy_generator
from wmrl.data.episode import Episode
from wmrl.data.store import RolloutStore
from wmrl.envs.dream.env import DreamEnv
from wmrl.envs.rendering.panels import BLUE, VIOLET, Panel, PanelDrawer
from wmrl.envs.rendering.video import check_video_path, write_video
from wmrl.envs.world_model import WorldModel
from wmrl.memory.start_states import StartStatesConfig
from wmrl.storage.files import check_writable, write_image


@dataclass(frozen=True, kw_only=True)
class DreamRecording:
    """Summary of a video of dreams that was written.

    Attributes:
        path: video file.
        sheet: image file with the stills.
        start: agent step of the episode at which the dreams start; None without an episode.
        temperatures: temperature of each dream.
        returns: return of each dream.
        lengths: number of agent steps of each dream.
        terminated: for each dream, True if it ended.
    """

    path: Path
    sheet: Path
    start: int | None
    temperatures: tuple[float, ...]
    returns: tuple[float, ...]
    lengths: tuple[int, ...]
    terminated: tuple[bool, ...]


def record_dreams(
    world_model: WorldModel,
    path: str | Path,
    *,
    sheet: str | Path | None = None,
    agent: Agent | None = None,
    store: RolloutStore | None = None,
    config: DreamVideoConfig | None = None,
) -> DreamRecording:
    """Records a video of dreams at several temperatures, side by side, and a sheet of stills.

    :class:`DreamVideo` describes what the video shows.

    Args:
        world_model: world model with a memory.
        path: ``.mp4``, ``.gif`` or ``.webp`` file to write.
        sheet: ``.png`` file to write, with a row for each panel of the video and a column for each
            of some agent steps. If None, the path of the video with the suffix ``.png``.
        agent: agent that acts in each dream; None for recorded or random actions.
        store: rollout store with the episode from which the dreams start; None for a start state of
            the memory.
        config: contents of the video; the defaults of
            :class:`~wmrl.agents.video.config.DreamVideoConfig` if None.

    Raises:
        StoreError: the episode is missing or can't be read.
        ValueError: the suffix of a path is unknown, a path can't be written, the store or the agent
            belongs to another task, or the start does not exist.

    Example:
        >>> from wmrl.agents.video import DreamVideoConfig, record_dreams
        >>> from wmrl.envs import WorldModel
        >>> world_model = WorldModel.open("car-racing", "car-racing-vae", "auto", device="cpu")
        >>> config = DreamVideoConfig(temperatures=(0.5, 1.5), agent_steps=4)
        >>> recording = record_dreams(world_model, "dreams.gif", config=config)
        >>> print(recording.sheet, recording.lengths)
        dreams.png (4, 4)
    """
    path = Path(path)
    sheet = path.with_suffix(".png") if sheet is None else Path(sheet)
    check_video_path(path)
    if sheet.suffix.lower() != ".png":
        raise ValueError(f"sheet: expected a name ending in .png, got {sheet}")
    for file in (path, sheet):
        check_writable(file, kind="file")
    video = DreamVideo(world_model, config or DreamVideoConfig(), agent=agent, store=store)
    write_video(path, video, fps=world_model.fps * video.config.speed)
    return DreamRecording(
        path=path,
        sheet=write_image(sheet, video.draw_sheet()),
        start=video.start,
        temperatures=video.config.temperatures,
        returns=tuple(dream.score for dream in video.dreams),
        lengths=tuple(dream.length for dream in video.dreams),
        terminated=tuple(not dream.running for dream in video.dreams),
    )


class DreamVideo:
    """Iterable over the frames of a video that :func:`record_dreams` writes.

    The first panel shows the recorded frames; each of the others shows a dream that starts from the
    same recorded frame, after the memory has run over the frames before it. Without an agent, all
    dreams take the recorded actions. Without a rollout store, the dreams start in a start state of
    the memory, which the first panel shows, and all take the same random actions, each of which is
    repeated for some agent steps.

    Each iteration over this object dreams anew, and yields one frame per agent step.

    Args:
        world_model: world model with a memory.
        config: contents of the video.
        agent: agent that acts in each dream; None for recorded or random actions.
        store: rollout store with the episode from which the dreams start; None for a start state of
            the memory.

    Attributes:
        config: contents of the video.
        start: agent step of the episode at which the dreams start; None without a store.
        dreams: the dreams of the latest iteration.

    Raises:
        StoreError: the episode is missing or can't be read.
        ValueError: the world model has no memory, the store belongs to another task, or the start
            does not exist.
    """

    def __init__(
        self,
        world_model: WorldModel,
        config: DreamVideoConfig,
        *,
        agent: Agent | None = None,
        store: RolloutStore | None = None,
    ) -> None:
        if world_model.memory is None:
            raise ValueError(
                "world_model: expected one with a memory model to dream with, got one without; "
                "give the name or path of a memory model"
            )
        self.config = config
        self.start: int | None = None
        self.dreams: list[RunningDream] = []
        self._world_model = world_model
        self._agent = agent
        self._episode: Episode | None = None
        self._num_steps = config.agent_steps
        if store is not None:
            _check_store(store, world_model)
            self._episode = store.episode(config.episode)
            self.start = _first_step(len(self._episode), world_model, config)
            if agent is None:
                self._num_steps = min(config.agent_steps, len(self._episode) - self.start)
        self._still_steps = {
            round(step) for step in np.linspace(0, self._num_steps, config.num_stills)
        }
        self._stills: list[list[Panel]] = []
        self._drawer = PanelDrawer(
            width=config.width,
            height=config.height,
            action_names=bar_names(world_model),
        )

    def __iter__(self) -> Iterator[np.ndarray]:
        """Dreams, and yields a video frame ``(H, W, 3) uint8`` per agent step."""
        config, task = self.config, self._world_model.task
        held = RepeatedRandom().start(task, numpy_generator(config.seed, "dream video"))
        self._stills = []
        self.dreams = [
            RunningDream(self._world_model, temperature, config, agent=self._agent)
            for temperature in config.temperatures
        ]
        for dream in self.dreams:
            dream.reset(self._start_options())
        first = self.dreams[0].image
        for step in range(self._num_steps + 1):
            given = self._recorded_action(step)
            if given is None and self._episode is None and self._agent is None:
                given = held(None)
            for dream in self.dreams:
                dream.choose_action(given)
            panels = [
                self._recorded_panel(step, first),
                *(dream.panel(step) for dream in self.dreams),
            ]
            if step in self._still_steps:
                self._stills.append(panels)
            yield self._drawer.draw(panels)
            if step < self._num_steps:
                for dream in self.dreams:
                    dream.step()

    def draw_sheet(self) -> np.ndarray:
        """Draws stills of the latest iteration: a row per panel, a column per agent step.

        Returns:
            ``(H, W, 3) uint8``.
        """
        rows = zip(*self._stills, strict=True)
        return np.concatenate([self._drawer.draw(row) for row in rows])

    def _start_options(self) -> dict[str, Any]:
        """Returns the options of ``reset`` with which the dreams start."""
        if self._episode is None or self.start is None:
            return {"start": self.config.start}
        return {
            "frames": self._episode.frames[: self.start + 1],
            "actions": self._episode.actions[: self.start],
        }

    def _recorded_action(self, step: int) -> np.ndarray | None:
        """Returns the action that was recorded; None if there is none."""
        if self._episode is None or self.start is None:
            return None
        place = self.start + step
        # The last frame of an episode was followed by no action: the actions have one fewer.
        action: np.ndarray = self._episode.actions[min(place, len(self._episode) - 1)]
        return action

    def _recorded_panel(self, step: int, first: np.ndarray) -> Panel:
        if self._episode is None or self.start is None:
            return Panel(label="start state", image=first, note="dreams only", color=BLUE)
        place, last = self.start + step, len(self._episode)
        over = place > last
        action = None if place >= last else self._recorded_action(step)
        return Panel(
            label="recorded",
            image=self._episode.frames[min(place, last)],
            note=f"ended at agent step {last - self.start}" if over else f"agent step {step}",
            action=None if action is None else self._world_model.task.actions.encode(action),
            metrics=[("return", f"{self._episode.rewards[self.start : place].sum():.1f}")],
            color=BLUE,
            dimmed=over,
        )


@dataclass
class RunningDream:
    """One of the dreams in a video.

    Attributes:
        world_model: world model with a memory.
        temperature: temperature τ of the dream.
        config: contents of the video.
        agent: agent that acts in the dream; None to take given actions.
        score: return so far.
        length: number of agent steps so far.
        running: False if the dream has ended.
    """

    world_model: WorldModel
    temperature: float
    config: DreamVideoConfig
    agent: Agent | None = None
    score: float = field(default=0.0, init=False)
    length: int = field(default=0, init=False)
    running: bool = field(default=True, init=False)

    def __post_init__(self) -> None:
        assert self.world_model.memory is not None
        self._env = DreamEnv(
            task=self.world_model.task,
            vision=self.world_model.vision,
            memory=self.world_model.memory,
            temperature=self.temperature,
            observation="embeddings" if self.agent is None else self.agent.observation,
        )
        self._observation: Any = None
        self._state: State | None = None
        self._action: np.ndarray = self.world_model.task.actions.neutral()

    def reset(self, options: dict[str, Any]) -> None:
        """Starts the dream with options of :class:`~wmrl.envs.dream.env.DreamEnv`."""
        self._observation, _ = self._env.reset(seed=self.config.seed, options=options)

    def choose_action(self, given: np.ndarray | None) -> None:
        """Chooses the next action: the agent's or, without an agent, the given one."""
        if self.agent is not None and self.running:
            self._action, self._state = act(
                self.agent,
                self.world_model,
                self._observation,
                self._state,
                deterministic=self.config.deterministic,
            )
        elif self.agent is None and given is not None:
            self._action = given

    def step(self) -> None:
        """Advances the dream by one agent step, unless it has ended."""
        if not self.running:
            return
        self._observation, reward, terminated, _, _ = self._env.step(self._action)
        self.score += reward
        self.length += 1
        self.running = not terminated

    @property
    def image(self) -> np.ndarray:
        """Image ``(H, W, C) uint8`` that the vision model decodes from the current latent."""
        latent = self._env.state.latent.cpu().numpy()
        image: np.ndarray = self.world_model.vision.decode_numpy(latent)[0]
        return image

    def panel(self, step: int) -> Panel:
        """Returns the panel that shows the dream after ``step`` agent steps."""
        ended = f"ended at agent step {self.length}"
        return Panel(
            label=f"temperature {self.temperature:g}",
            image=self.image,
            note=f"agent step {step}" if self.running else ended,
            action=self.world_model.task.actions.encode(self._action) if self.running else None,
            metrics=[("return", f"{self.score:.1f}")],
            color=VIOLET,
            dimmed=not self.running,
        )


def _check_store(store: RolloutStore, world_model: WorldModel) -> None:
    metadata, task = store.metadata, world_model.task
    for name, expected, got in (
        ("task", task.name, metadata.task),
        ("frame_skip", world_model.frame_skip, metadata.frame_skip),
    ):
        if expected != got:
            raise ValueError(
                f"store: expected {name} {expected!r} as in the world model, got {got!r} in "
                f"{store.path}; give a store of this task, or the world model that was trained on "
                "the store"
            )


def _first_step(num_steps: int, world_model: WorldModel, config: DreamVideoConfig) -> int:
    """Returns the agent step of an episode at which the dreams start."""
    if config.start is None:
        warmup = -(-world_model.task.warmup_frames // world_model.frame_skip)
        return min(max(warmup, StartStatesConfig().burn_in), num_steps // 2)
    if config.start >= num_steps:
        raise ValueError(
            f"start: expected an agent step from 0 to {num_steps - 1} of episode {config.episode}, "
            f"got {config.start}"
        )
    return config.start
