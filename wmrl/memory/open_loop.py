"""Evaluation of memories in open loop: dreams with recorded actions, compared with recordings."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from wmrl.core.frames import newest_frames
from wmrl.core.seeding import numpy_generator, torch_generator
from wmrl.data.split import StoredEpisode
from wmrl.memory.base import Memory, Transition
from wmrl.memory.dataset import LatentEpisode
from wmrl.memory.evaluation import GREEDY
from wmrl.nn.losses import squared_error
from wmrl.vision.base import Vision

HORIZONS = (1, 5, 10, 15, 50)
# Fewer recorded terminations, or a smaller ratio, may be chance.
_LEAST_TERMINATIONS, _LARGEST_RATIO = 30, 2.0


class _Start(NamedTuple):
    episode: int
    time: int


@torch.inference_mode()
def open_loop_report(
    memory: Memory[Any],
    vision: Vision,
    episodes: Sequence[StoredEpisode],
    latents: Sequence[LatentEpisode],
    *,
    burn_in: int = 5,
    num_dreams: int = 128,
    seed: int = 0,
) -> dict[str, Any]:
    """Computes the errors of dreams relative to recordings with the same actions.

    The memory first processes ``burn_in`` recorded steps. From then on, the inputs of the memory
    are its own predicted latents and the recorded actions. An error is the squared difference
    between a predicted and a recorded frame, with pixel values in [0, 1]. The error is summed over
    the pixels and averaged over dreams.

    Even a perfect memory has an error if the future is uncertain, because a dream at temperature 1
    and the recording are then two samples of the future. On average, a perfect memory's
    error is the squared difference between two recordings with the same past and the same actions.

    Args:
        memory: memory to evaluate.
        vision: vision model on which the memory was trained.
        episodes: held-out episodes.
        latents: encodings of the same episodes.
        burn_in: number of recorded steps that the memory processes before a dream.
        num_dreams: maximum number of dreams, each from a different recorded state.
        seed: root seed of the start states and of the noise in the dreams.

    Returns:
        A dictionary whose keys are numbers of dreamed steps: ``"1"``, ``"5"``, ``"10"``, ``"15"``
        and ``"50"``. Numbers that no episode reaches are left out. Each value is a dictionary with
        these entries:

        - ``dream``: error of decoded dreams at temperature 1.
        - ``likeliest``: error of decoded dreams in which the next latent is always the likeliest.
        - ``copy_last``: error if the last recorded frame before the dream is taken as the
          prediction.
        - ``reconstruction``: error of encoding and decoding the recorded frame itself. A
          dream's error can be below this error only by chance.
        - ``dreams``: number of dreams over which the errors are averaged.
    """
    starts = _sample_start_states(latents, burn_in, num_dreams, seed)
    if not starts:
        return {}
    recorded = [_recorded_frames(episodes[start.episode], start.time) for start in starts]
    steps = HORIZONS[max(map(len, recorded)) - 2]  # the longest that an episode reaches
    dreamed = {
        name: torch.stack([drawn.latent for _, drawn in dream], 1)
        for name, dream in (
            ("dream", _dream(memory, latents, starts, burn_in, steps, seed, 1.0)),
            ("likeliest", _dream(memory, latents, starts, burn_in, steps, seed, GREEDY)),
        )
    }
    report = {}
    for place, horizon in enumerate(HORIZONS, start=1):
        rows = [row for row, frames in enumerate(recorded) if place < len(frames)]
        if rows:
            pairs = np.stack([recorded[row][[0, place]] for row in rows])
            guesses = {name: latents[rows, horizon - 1] for name, latents in dreamed.items()}
            report[str(horizon)] = _compare(vision, pairs, guesses)
    return report


@torch.inference_mode()
def hazard_report(
    memory: Memory[Any],
    latents: Sequence[LatentEpisode],
    *,
    burn_in: int = 5,
    num_dreams: int = 1000,
    temperature: float = 1.0,
    seed: int = 0,
) -> dict[str, Any]:
    """Compares how often episodes terminate in dreams and in recordings with the same actions.

    The hazard is the probability that a step terminates an episode that has lasted until then. A
    memory can predict terminations well in its first step, from a recorded frame, and still dream
    of a world without danger, because its dreams lose what is dangerous. Agents exploit such
    dreams.

    The memory first processes ``burn_in`` recorded steps, as in :func:`open_loop_report`. A
    recording and its dreams are compared for as many steps as the recording has.

    Args:
        memory: memory to evaluate.
        latents: encoded held-out episodes.
        burn_in: number of recorded steps that the memory processes before a dream.
        num_dreams: maximum number of dreams, each from a different recorded state.
        temperature: temperature of the dreams.
        seed: root seed of the start states and of the noise in the dreams.

    Returns:
        A dictionary whose keys are ranges of dreamed steps: ``"1"``, ``"2-5"``, ``"6-10"``,
        ``"11-15"`` and ``"16-50"``. Ranges that no episode reaches are left out. Each value is a
        dictionary with these entries:

        - ``recorded``: number of recorded terminations per recorded step.
        - ``dream``: mean predicted probability of termination in the dreams. Each dream counts with
          the probability that it has lasted until then.
        - ``steps``: number of recorded steps.
    """
    starts = _sample_start_states(latents, burn_in, num_dreams, seed)
    if not starts:
        return {}
    left = torch.tensor([len(latents[start.episode]) - start.time for start in starts])
    ended = torch.tensor([latents[start.episode].terminated for start in starts])
    steps = min(int(left.max()), HORIZONS[-1])
    lasting = torch.ones(len(starts), dtype=torch.float64)
    totals = torch.zeros(steps, 4, dtype=torch.float64)
    dream = _dream(memory, latents, starts, burn_in, steps, seed, temperature)
    for step, (prediction, _) in enumerate(dream):
        recorded = left > step
        hazard = prediction.termination.double().sigmoid().cpu()
        totals[step, 0] = (ended & (left == step + 1)).sum()
        totals[step, 1] = recorded.sum()
        totals[step, 2] = (lasting * hazard)[recorded].sum()
        totals[step, 3] = lasting[recorded].sum()
        lasting *= 1 - hazard
    report = {}
    for before, last in pairwise((0, *HORIZONS)):
        terminations, count, hazards, weight = totals[before:last].sum(0).tolist()
        if count:
            name = str(last) if last == before + 1 else f"{before + 1}-{last}"
            report[name] = {
                "recorded": terminations / count,
                "dream": hazards / weight if weight else None,
                "steps": int(count),
            }
    return report


def hazard_warnings(hazards: Mapping[str, Any]) -> list[str]:
    """Returns a warning if terminations are much rarer or more frequent in dreams than recorded.

    The first step of a dream is not considered, because it starts from a recorded frame.

    Args:
        hazards: result of :func:`hazard_report`.

    Returns:
        A list with one warning that includes advice. The list is empty if the hazards differ by a
        factor of at most 2, or if fewer than 30 recorded terminations were compared.
    """
    rows = [row for name, row in hazards.items() if name != "1" and row["dream"] is not None]
    steps = sum(row["steps"] for row in rows)
    terminations = sum(row["recorded"] * row["steps"] for row in rows)
    if terminations < _LEAST_TERMINATIONS:
        return []
    recorded = terminations / steps
    dream = sum(row["dream"] * row["steps"] for row in rows) / steps
    if max(recorded, dream) <= _LARGEST_RATIO * min(recorded, dream):
        return []
    return [
        f"memory: expected as many terminations in dreams as in recordings with the same actions, "
        f"{recorded:.3g} per agent step, got {dream:.3g}: the dreams lose or invent what ends an "
        "episode, and an agent will exploit that; check in reconstructions.png that the vision "
        "model shows it, train the memory for more steps, or use discrete latents"
    ]


def _sample_start_states(
    latents: Sequence[LatentEpisode], burn_in: int, count: int, seed: int
) -> list[_Start]:
    """Draws up to ``count`` recorded states in which dreams start.

    Each state has at least ``burn_in`` steps before it and at least one step after it.
    """
    every = [
        _Start(i, time)
        for i, episode in enumerate(latents)
        for time in range(burn_in, len(episode))
    ]
    chosen = numpy_generator(seed, "open loop").permutation(len(every))[:count]
    return [every[i] for i in sorted(chosen)]


def _dream(
    memory: Memory[Any],
    latents: Sequence[LatentEpisode],
    starts: Sequence[_Start],
    burn_in: int,
    steps: int,
    seed: int,
    temperature: float,
) -> Iterator[tuple[Any, Transition]]:
    """Yields the prediction and the drawn transition of each step of B dreams.

    The dreams have the recorded actions. If a recording ends before the dream, the recording's last
    action is repeated until the dream ends.

    Args:
        memory: memory that dreams.
        latents: encoded episodes.
        starts: B recorded states in which the dreams start.
        burn_in: number of recorded steps that the memory processes before a dream.
        steps: number of steps of each dream.
        seed: root seed of the noise.
        temperature: temperature of the dreams.
    """
    device = memory.device
    generator = torch_generator(seed, "open loop", device=device)
    seen, actions = [], []
    for start in starts:
        episode = latents[start.episode]
        first = start.time - burn_in
        seen.append(episode.mean[first : start.time + 1].float())
        rows = torch.arange(first, start.time + steps).clamp(max=len(episode) - 1)
        actions.append(episode.actions[rows])
    z, a = torch.stack(seen).to(device), torch.stack(actions).to(device)
    state = memory.initial_state(len(starts))
    for t in range(burn_in):
        _, state = memory.step(z[:, t], a[:, t], state)
    latent = z[:, -1].contiguous()
    for t in range(burn_in, burn_in + steps):
        prediction, state = memory.step(latent, a[:, t], state)
        drawn = memory.sample(prediction, temperature=temperature, generator=generator)
        latent = drawn.latent
        yield prediction, drawn


def _recorded_frames(episode: StoredEpisode, time: int) -> np.ndarray:
    """Reads the recorded frames to compare with the dreams from one recorded state.

    Args:
        episode: recorded episode.
        time: agent step at which the dream starts.

    Returns:
        Stacks of frames: one from the start of the dream, and one after each number of steps in
        ``HORIZONS``. Numbers that the episode does not reach are left out.
    """
    store, summary = episode
    reached = [horizon for horizon in HORIZONS if time + horizon <= summary.length]
    return store.stacks(summary.index, time, time + max(reached) + 1)[[0, *reached]]


def _compare(vision: Vision, pairs: np.ndarray, dreamed: Mapping[str, Tensor]) -> dict[str, Any]:
    """Compares dreams with the recordings after the same number of steps.

    Args:
        vision: vision model that decodes latents.
        pairs: ``(B, 2, ...)``, stacks of frames of B recordings: at the start of the dream, and
            after the dreamed steps.
        dreamed: latents ``(B, Z)`` after the dreamed steps, by kind of dream.

    Returns:
        Mean errors by name, and the number of dreams: one of the inner dictionaries that
        :func:`open_loop_report` returns.
    """
    seen = torch.from_numpy(pairs).to(vision.device)
    first, last = newest_frames(seen, vision.frame_stack).unbind(1)
    guesses = {
        **{name: vision.decode(latents) for name, latents in dreamed.items()},
        "copy_last": first,
        "reconstruction": vision.decode(vision.encode(seen[:, 1].contiguous())),
    }
    errors = {
        name: float(squared_error(guess.float() / 255.0, last.float() / 255.0).mean())
        for name, guess in guesses.items()
    }
    return {**errors, "dreams": len(pairs)}
