"""Choosing the recorded states in which dreams start."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from wmrl.core.seeding import numpy_generator
from wmrl.memory.dataset import LatentEpisode


@dataclass(frozen=True, kw_only=True)
class DreamStartsConfig:
    """Which recorded states are kept as starts.

    Attributes:
        count: at most so many.
        burn_in: recorded decisions before the start, which fill the memory's state. Too few
            leave h other than what the game would show there: on CarRacing 5 are 31 % off.
        window: decisions within which the state must have scored a positive reward. A driver that
            starts on the road learns to drive; from any recorded state, it mostly learns that
            grass is bad.
        warmup_frames: base frames at an episode's beginning in which no dream starts; None for
            what the store says of its task.
    """

    count: int = 512
    burn_in: int = 12
    window: int = 6
    warmup_frames: int | None = None

    def __post_init__(self) -> None:
        for name, least in (("count", 1), ("burn_in", 0), ("window", 1), ("warmup_frames", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"{name}: expected at least {least}, got {value}")


class DreamStarts(NamedTuple):
    """Encoded sequences, as :meth:`wmrl.memory.base.Memory.set_starts` takes them.

    Attributes:
        mean: ``(S, burn_in + 1, Z) float32``.
        std: ``(S, burn_in + 1, Z) float32``.
        actions: ``(S, burn_in, A) float32``.
        rule: what the states have in common: ``"scored"``, ``"any"`` where none had scored after
            the warmup, or ``"early"`` where no episode outlasts it.
    """

    mean: torch.Tensor
    std: torch.Tensor
    actions: torch.Tensor
    rule: str


def choose_starts(
    episodes: Sequence[LatentEpisode], config: DreamStartsConfig, *, frame_skip: int, seed: int
) -> DreamStarts:
    """Draws starts from all states that qualify, without replacement.

    Args:
        episodes: encoded episodes.
        config: which states qualify, and how many are kept.
        frame_skip: base frames that a decision lasts.
        seed: root of the draw.

    Raises:
        ValueError: no episode is longer than the burn-in.
    """
    usable = [pair for pair in _candidates(episodes, config, frame_skip) if len(pair[1])]
    if not usable:
        raise ValueError(
            f"burn_in: no episode is longer than {config.burn_in} decisions; choose a smaller "
            "burn_in or collect longer episodes"
        )
    rule, candidates = usable[0]
    generator = numpy_generator(seed, "dream starts")
    count = min(config.count, len(candidates))
    chosen = np.sort(generator.choice(len(candidates), count, replace=False))
    steps = config.burn_in
    picked = [(episodes[i], slice(t - steps, t + 1)) for i, t in candidates[chosen].tolist()]
    return DreamStarts(
        mean=torch.stack([episode.mean[part] for episode, part in picked]).float(),
        std=torch.stack([episode.std[part] for episode, part in picked]).float(),
        actions=torch.stack(
            [episode.actions[part.start : part.stop - 1] for episode, part in picked]
        ),
        rule=rule,
    )


def _candidates(
    episodes: Sequence[LatentEpisode], config: DreamStartsConfig, frame_skip: int
) -> list[tuple[str, np.ndarray]]:
    """States ``(N, 2)``, pairs of episode and decision, by ever weaker rules."""
    after_warmup = max(-(-(config.warmup_frames or 0) // frame_skip), config.burn_in)
    scored, late, early = [], [], []
    for i, episode in enumerate(episodes):
        recent = _scored_within(episode.rewards.numpy(), config.window)
        t = np.arange(len(episode))  # the final state is left out: nothing is known to follow
        pairs = np.stack([np.full_like(t, i), t], 1)
        scored.append(pairs[(t >= after_warmup) & recent])
        late.append(pairs[t >= after_warmup])
        early.append(pairs[t >= config.burn_in])
    rules = ("scored", scored), ("any", late), ("early", early)
    return [(rule, np.concatenate(found)) for rule, found in rules]


def _scored_within(rewards: np.ndarray, window: int) -> np.ndarray:
    """Whether one of the ``window`` rewards before each of the states 0 … T − 1 is positive."""
    positive = np.concatenate(([0], np.cumsum(rewards > 0)))
    t = np.arange(len(rewards))
    recent: np.ndarray = positive[t] > positive[np.maximum(t - window, 0)]
    return recent
