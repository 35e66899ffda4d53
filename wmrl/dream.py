"""Pure batched functions for dreams, in which a memory runs on its own predictions.

The functions keep no state and do not wait for a GPU. All randomness comes from the given
generator.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from wmrl.memory.base import Memory, MemoryState


class DreamState(NamedTuple):
    """State of a batch of B dreams.

    Attributes:
        latent: ``(B, Z) float32``, current latents z_t.
        memory: state of the memory, which depends on all (z_s, a_s) with s < t.
    """

    latent: Tensor
    memory: MemoryState


@torch.inference_mode()
def dream_reset(
    memory: Memory[Any],
    *,
    batch_size: int | None = None,
    indices: Tensor | None = None,
    generator: torch.Generator,
) -> DreamState:
    """Starts dreams in start states of a memory, which are encoded sequences of real episodes.

    The latents of a sequence are drawn from their posteriors (μ, σ). The memory then runs over
    them and the recorded actions, so that its recurrent state reflects what happened before the
    dream starts.

    Args:
        memory: memory that simulates the game.
        batch_size: B, number of dreams, if start states are to be chosen uniformly at random.
        indices: ``(B,) int64``, indices of the start states, if ``batch_size`` is not given.
        generator: source of the choice of start states and of the posteriors' noise, on the
            memory's device.

    Returns:
        The state of B dreams.

    Raises:
        ValueError: not exactly one of ``batch_size`` and ``indices`` is given, or the memory has no
            start states.

    Example:
        >>> import torch
        >>> from wmrl.dream import dream_reset, dream_step
        >>> from wmrl.memory import load_memory
        >>> memory = load_memory("car-racing-mdnrnn", device="cpu")
        >>> generator = torch.Generator().manual_seed(0)
        >>> state = dream_reset(memory, batch_size=3, generator=generator)
        >>> full_throttle = torch.tensor([[0.0, 1.0]]).expand(3, 2)
        >>> state, reward, terminated = dream_step(
        ...     memory, state, full_throttle, temperature=1.15, generator=generator
        ... )
        >>> state.latent.shape, reward.shape
        (torch.Size([3, 32]), torch.Size([3]))
    """
    if (batch_size is None) == (indices is None):
        raise ValueError("batch_size: expected either batch_size or indices, got both or neither")
    available = memory.num_start_states
    if available == 0:
        raise ValueError(
            "memory: expected start states, got none; train the memory with train_memory, or call "
            "memory.set_start_states"
        )
    if indices is None:
        shape = (batch_size or 0,)
        indices = torch.randint(available, shape, generator=generator, device=memory.device)
    latents = memory.start_latents(indices, generator)
    state = memory.initial_state(len(indices))
    for t, action in enumerate(memory.start_actions[indices].unbind(1)):
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
    """Advances dreams by one step (see :func:`dream_reset` for an example).

    Args:
        memory: memory that simulates the game.
        state: current state of B dreams.
        action: ``(B, A) float32``.
        temperature: τ > 0, which controls how random the predictions are.
        dropout: True to apply the memory's dropout, with a new mask in each step.
        generator: source of all randomness, on the memory's device.

    Returns:
        The next state, the rewards ``(B,) float32`` in the task's units, and the terminations
        ``(B,) bool``.
    """
    masks = generator if dropout else None
    prediction, after = memory.step(state.latent, action, state.memory, dropout=masks)
    drawn = memory.sample(prediction, temperature=temperature, generator=generator)
    return DreamState(drawn.latent, after), drawn.reward, drawn.terminated


def dream_observation(memory: Memory[Any], state: DreamState) -> Tensor:
    """Returns the observations [z, h] of a controller in dreams, ``(B, Z + H) float32``."""
    return torch.cat((state.latent, memory.features(state.memory)), 1)
