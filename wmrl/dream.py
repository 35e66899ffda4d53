"""The dream: a memory run on its own guesses, as a pure batched step.

Nothing here keeps state or waits for the device; all randomness comes from the given generator.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from wmrl.memory.base import Memory, MemoryState


class DreamState(NamedTuple):
    """Where B dreams are.

    Attributes:
        latent: ``(B, Z) float32`` z_t.
        memory: the memory's state, which knows all (z_s, a_s) with s < t.
    """

    latent: Tensor
    memory: MemoryState


@torch.inference_mode()
def dream_start(
    memory: Memory[Any],
    *,
    count: int | None = None,
    rows: Tensor | None = None,
    generator: torch.Generator,
) -> DreamState:
    """Starts dreams in real, encoded states that the memory keeps.

    Latents are drawn anew from their posteriors (μ, σ), and the recorded actions between them
    fill the recurrent state, so that the dream begins with a memory of how it got there.

    Args:
        memory: what dreams.
        count: B, for starts chosen uniformly at random.
        rows: ``(B,) int64``, which of the kept starts; instead of ``count``.
        generator: source of the choice and of the posterior's noise, on the memory's device.

    Returns:
        The state of B dreams.

    Raises:
        ValueError: not exactly one of ``count`` and ``rows`` was given, or the memory keeps no
            starts.
    """
    if (count is None) == (rows is None):
        raise ValueError("expected either count or rows")
    available = memory.start_count
    if available == 0:
        raise ValueError(
            "memory: it keeps no starts; train it by train_memory, or call memory.set_starts"
        )
    if rows is None:
        rows = torch.randint(available, (count or 0,), generator=generator, device=memory.device)
    latents = memory.start_latents(rows, generator)
    state = memory.initial_state(len(rows))
    for t, action in enumerate(memory.start_actions[rows].unbind(1)):
        _, state = memory.step(latents[:, t], action, state)
    return DreamState(latents[:, -1].contiguous(), state)


@torch.inference_mode()
def dream_step(
    memory: Memory[Any],
    state: DreamState,
    action: Tensor,
    *,
    temperature: float = 1.0,
    dropout: bool = False,
    generator: torch.Generator,
) -> tuple[DreamState, Tensor, Tensor]:
    """Dreams one step on.

    Args:
        memory: what dreams.
        state: where the dreams are.
        action: ``(B, A) float32``.
        temperature: τ > 0, how uncertain the dream is made.
        dropout: keep the memory's dropout on, so that no two steps ask the same network.
        generator: source of all randomness, on the memory's device.

    Returns:
        The next state, rewards ``(B,) float32`` in the task's units, and terminations
        ``(B,) bool``.
    """
    masks = generator if dropout else None
    prediction, after = memory.step(state.latent, action, state.memory, dropout=masks)
    drawn = memory.sample(prediction, temperature=temperature, generator=generator)
    return DreamState(drawn.latent, after), drawn.reward, drawn.terminated


def dream_observation(memory: Memory[Any], state: DreamState) -> Tensor:
    """What a controller sees of the dreams: [z, h], ``(B, Z + H) float32``."""
    return torch.cat((state.latent, memory.features(state.memory)), 1)
