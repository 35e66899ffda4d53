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
