"""Configuration of videos."""

from dataclasses import dataclass

from wmrl.core.config import check_fields
from wmrl.core.validation import check_float, check_int


@dataclass(frozen=True, kw_only=True)
class VideoConfig:
    """Contents of a video of an agent.

    Attributes:
        seed: seed of the episode.
        base: id of the base environment; the task's own if None.
        agent_steps: maximal number of agent steps; None for the whole episode.
        dream_agent_steps: number of agent steps after which the dream restarts from the current
            state of the game.
        same_actions: True if the dream takes the same actions as the game; False if the agent
            observes the dream and acts in it.
        temperature: temperature τ of the dream.
        deterministic: True if the agent acts without exploration noise.
        sharp: True to show the image that the game renders; False to show the small frame that the
            vision model encodes.
        code_map: True to add a map of the discrete codes to the video. The flag has no effect if
            the latents of the vision model are continuous.
        width: width of each panel's image in pixels.
        height: height of each panel's image in pixels.
        speed: playback speed, as a multiple of the game's own speed.

    Raises:
        ValueError: a number is out of range.
    """

    seed: int = 0
    base: str | None = None
    agent_steps: int | None = None
    dream_agent_steps: int = 60
    same_actions: bool = False
    temperature: float = 1.0
    deterministic: bool = True
    sharp: bool = True
    code_map: bool = True
    width: int = 400
    height: int = 300
    speed: float = 1.0

    def __post_init__(self) -> None:
        check_fields(self)
        if self.agent_steps is not None:
            check_int("agent_steps", self.agent_steps, at_least=1)
        check_int("dream_agent_steps", self.dream_agent_steps, at_least=1)
        for name in ("width", "height"):
            check_int(name, getattr(self, name), at_least=1)
        check_float("temperature", self.temperature, above=0)
        check_float("speed", self.speed, above=0)


@dataclass(frozen=True, kw_only=True)
class DreamVideoConfig:
    """Contents of a video of dreams.

    Attributes:
        temperatures: temperature τ of each dream; a higher temperature makes a dream more random.
        agent_steps: number of agent steps. If the dreams take recorded actions, the video ends
            with the recording.
        seed: seed of the dreams and of random actions. All dreams draw the same random numbers, so
            that only the temperature makes them different.
        episode: index of the recorded episode; no effect without a rollout store.
        start: with a rollout store, the agent step of the episode at which the dreams start;
            without one, the index of a start state of the memory. If None, the first agent step
            after the warm-up of the task, or a start state that is drawn at random.
        deterministic: True if the agent acts without exploration noise.
        num_stills: number of agent steps that the sheet of stills shows.
        width: width of each panel's image in pixels.
        height: height of each panel's image in pixels.
        speed: playback speed, as a multiple of the game's own speed.

    Raises:
        ValueError: a number is out of range, or there are no temperatures.
    """

    temperatures: tuple[float, ...] = (0.1, 0.5, 1.0, 1.3)
    agent_steps: int = 60
    seed: int = 0
    episode: int = 0
    start: int | None = None
    deterministic: bool = True
    num_stills: int = 6
    width: int = 240
    height: int = 240
    speed: float = 1.0

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.temperatures:
            raise ValueError("temperatures: expected at least one temperature, got none")
        for temperature in self.temperatures:
            check_float("temperatures", temperature, above=0)
        for name in ("agent_steps", "num_stills", "width", "height"):
            check_int(name, getattr(self, name), at_least=1)
        check_int("episode", self.episode, at_least=0)
        if self.start is not None:
            check_int("start", self.start, at_least=0)
        check_float("speed", self.speed, above=0)
