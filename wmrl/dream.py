"""Batched functions for dreams: rollouts in which a memory runs on its own predictions.

A memory is a model that predicts the next latent, reward and termination. The functions keep no
state and never synchronize with a GPU. All randomness comes from the ``generator`` argument.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from wmrl.memory.base import Memory, MemoryState


class DreamState(NamedTuple):
    """State of a batch of B dreams.

    Attributes:
        latent: ``(B, Z) float32``, current latents z_t.
        memory: recurrent state of the memory after it has processed the latents z_s and actions a_s
            of all previous steps s < t.
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
    """Starts a batch of dreams from start states of a memory.

    A start state is a short sequence of a real episode: posteriors (μ, σ) of latents, and the
    actions between them. The latents are drawn from their posteriors. The memory then runs over the
    sequence, so that its recurrent state reflects what happened before the dream starts.

    Args:
        memory: memory that simulates the game.
        batch_size: B, the number of dreams; their start states are chosen uniformly at random. None
            if ``indices`` are given.
        indices: ``(B,) int64``, indices of the start states; None if ``batch_size`` is given.
        generator: source of all randomness, on the memory's device.

    Returns:
        The state of B dreams.

    Raises:
        ValueError: both or neither of ``batch_size`` and ``indices`` are given, or the memory has
            no start states.

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
        raise ValueError(
            "indices: expected either batch_size or indices, got both or neither; give one of them"
        )
    available = memory.num_start_states
    if available == 0:
        raise ValueError(
            "memory: expected start states, got none; train the memory with train_memory, or call "
            "memory.set_start_states first"
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
    """Advances dreams by one step.

    :func:`dream_reset` has an example.

    Args:
        memory: memory that simulates the game.
        state: current state of B dreams.
        action: ``(B, A) float32``, actions a_t, encoded by
            :class:`~wmrl.core.action_spec.ActionSpec`.
        temperature: τ > 0; the higher the temperature, the more random the transitions.
        dropout: True to apply the memory's dropout, with a new mask in each step.
        generator: source of all randomness, on the memory's device.

    Returns:
        The next state, the rewards ``(B,) float32`` in the task's units, and the terminations
        ``(B,) bool``, True where a dream ends.
    """
    masks = generator if dropout else None
    prediction, after = memory.step(state.latent, action, state.memory, dropout=masks)
    drawn = memory.sample(prediction, temperature=temperature, generator=generator)
    return DreamState(drawn.latent, after), drawn.reward, drawn.terminated


def dream_observation(memory: Memory[Any], state: DreamState) -> Tensor:
    """Returns the observations of agents in dreams: latents, followed by features of the memory.

    The observations are ``(B, Z + H) float32``, for Z latent dimensions and H features.
    """
    return torch.cat((state.latent, memory.features(state.memory)), 1)
