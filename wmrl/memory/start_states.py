"""Selection of the recorded states from which dreams start."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch

from wmrl.core.config import check_fields
from wmrl.core.seeding import numpy_generator
from wmrl.core.validation import check_int
from wmrl.memory.dataset import LatentEpisode


@dataclass(frozen=True, kw_only=True)
class StartStatesConfig:
    """Options of :func:`choose_start_states`.

    Attributes:
        max_states: maximum number of start states.
        burn_in: number of recorded agent steps that the memory processes before a dream starts.
            After too few steps, the memory's features differ from those in the game. In CarRacing,
            the features differ by 31 % after 5 agent steps. If no episode is longer than
            ``burn_in``, half the length of the longest episode is used instead.
        window: number of agent steps before a start state, of which at least one must have a
            positive reward. With 0, no positive reward is required. In CarRacing, a positive reward
            in the last 6 steps shows that the car is on the road, where an agent can learn to
            drive. An agent that starts from arbitrary recorded states mostly learns to avoid grass.
            If None, :func:`~wmrl.memory.training.train_memory` uses ``start_window`` from the
            store's metadata, and :func:`choose_start_states` uses 0.
        warmup_frames: number of frames of the game (not agent steps) at the start of each episode
            that are excluded as start states. If no episode is longer than this number, no frame is
            excluded. If None, :func:`~wmrl.memory.training.train_memory` uses ``warmup_frames``
            from the store's metadata, and :func:`choose_start_states` uses 0.
    """

    max_states: int = 512
    burn_in: int = 12
    window: int | None = None
    warmup_frames: int | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        check_int("max_states", self.max_states, at_least=1)
        check_int("burn_in", self.burn_in, at_least=0)
        if self.window is not None:
            check_int("window", self.window, at_least=0)
        if self.warmup_frames is not None:
            check_int("warmup_frames", self.warmup_frames, at_least=0)


class StartStates(NamedTuple):
    """S recorded sequences from which dreams start.

    The three tensors are arguments of :meth:`wmrl.memory.base.Memory.set_start_states`. The options
    ``burn_in``, ``warmup_frames`` and ``window`` belong to :class:`StartStatesConfig`.

    Attributes:
        mean: ``(S, burn_in + 1, Z) float32``, posterior means of the latents.
        std: ``(S, burn_in + 1, Z) float32``, standard deviations of these posteriors.
        actions: ``(S, burn_in, A) float32``, actions between the latents.
        rule: criterion by which the start states were chosen. ``"scored"``: states after
            ``warmup_frames`` with a positive reward in the last ``window`` steps. ``"any"``: all
            states after ``warmup_frames``, because no state is ``"scored"``. ``"early"``: all
            states, because no episode is longer than ``warmup_frames``.
    """

    mean: torch.Tensor
    std: torch.Tensor
    actions: torch.Tensor
    rule: str


def choose_start_states(
    episodes: Sequence[LatentEpisode], config: StartStatesConfig, *, frame_skip: int, seed: int
) -> StartStates:
    """Draws start states from recorded episodes, without replacement.

    If no state meets all criteria, the criteria are relaxed; see ``rule`` of :class:`StartStates`.

    Args:
        episodes: encoded episodes.
        config: criteria of the start states, and their maximum number.
        frame_skip: number of frames of the game per agent step.
        seed: root seed of the draw.

    Raises:
        ValueError: there are no agent steps.
    """
    longest = max(map(len, episodes), default=0)
    if longest == 0:
        raise ValueError(
            "episodes: expected at least one agent step, got none; record more episodes"
        )
    if longest <= config.burn_in:
        config = replace(config, burn_in=longest // 2)
    every = _candidates(episodes, config, frame_skip)
    rule, candidates = next(pair for pair in every if len(pair[1]))
    generator = numpy_generator(seed, "dream starts")
    count = min(config.max_states, len(candidates))
    chosen = np.sort(generator.choice(len(candidates), count, replace=False))
    steps = config.burn_in
    picked = [(episodes[i], slice(t - steps, t + 1)) for i, t in candidates[chosen].tolist()]
    return StartStates(
        mean=torch.stack([episode.mean[part] for episode, part in picked]).float(),
        std=torch.stack([episode.std[part] for episode, part in picked]).float(),
        actions=torch.stack(
            [episode.actions[part.start : part.stop - 1] for episode, part in picked]
        ),
        rule=rule,
    )


def _candidates(
    episodes: Sequence[LatentEpisode], config: StartStatesConfig, frame_skip: int
) -> list[tuple[str, np.ndarray]]:
    """Returns the candidates for start states under each rule of :class:`StartStates`.

    Returns:
        Pairs of a rule and its candidates, from the strictest rule to the least strict. The
        candidates of a rule are an array ``(N, 2) int64``. Each row has the index of an episode and
        the index of an agent step.
    """
    after_warmup = max(-(-(config.warmup_frames or 0) // frame_skip), config.burn_in)
    scored, late, early = [], [], []
    for i, episode in enumerate(episodes):
        recent = _scored_within(episode.rewards.numpy(), config.window or 0)
        t = np.arange(len(episode))  # without the final state, which has no successor
        pairs = np.stack([np.full_like(t, i), t], 1)
        scored.append(pairs[(t >= after_warmup) & recent])
        late.append(pairs[t >= after_warmup])
        early.append(pairs[t >= config.burn_in])
    rules = ("scored", scored), ("any", late), ("early", early)
    return [(rule, np.concatenate(found)) for rule, found in rules]


def _scored_within(rewards: np.ndarray, window: int) -> np.ndarray:
    """Marks each step that has a positive reward among the ``window`` steps before it.

    Args:
        rewards: ``(T,)``, rewards of an episode.
        window: number of steps; with 0, no step is marked.

    Returns:
        ``(T,) bool``, True for the marked steps.
    """
    positive = np.concatenate(([0], np.cumsum(rewards > 0)))
    t = np.arange(len(rewards))
    recent: np.ndarray = positive[t] > positive[np.maximum(t - window, 0)]
    return recent
