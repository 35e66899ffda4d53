"""Interface of memories over discrete latents."""

from abc import abstractmethod
from typing import Self

import torch
from torch import Tensor

from wmrl.core.validation import check_shape
from wmrl.memory.base import Memory, P
from wmrl.storage.artifact import Artifact


class DiscreteMemory(Memory[P]):
    """Interface of memories over discrete latents: each latent stands for T codes.

    The codes come from a codebook of K codes. A latent is the concatenation of its codes' vectors.

    Start states are stored as codes instead of latents.

    Attributes:
        start_codes: buffer ``(S, T', T)``, codes of S start states, each a recorded sequence of T'
            latents; int16 if K is at most 2¹⁵, otherwise int32.
    """

    start_codes: Tensor

    @property
    @abstractmethod
    def codebook_size(self) -> int:
        """K, the number of codes in the codebook."""

    @abstractmethod
    def codes_of(self, latents: Tensor) -> Tensor:
        """Finds the nearest code of each vector in latents ``(..., Z)``.

        A latent consists of T vectors, so that the result has the shape ``(..., T) int64``.
        """

    @abstractmethod
    def latents_of(self, codes: Tensor) -> Tensor:
        """Converts codes ``(..., T)`` to latents ``(..., Z) float32``, with T codes per latent."""

    @property
    def num_start_states(self) -> int:
        """S, the number of start states."""
        return len(self.start_codes)

    def start_latents(self, indices: Tensor, generator: torch.Generator) -> Tensor:
        """Returns the latents ``(B, T', Z)`` of B start states, each a sequence of T' latents.

        The codes determine the latents exactly, so ``generator`` is not used.
        """
        return self.latents_of(self.start_codes[indices])

    def with_start_states_of(self, artifact: Artifact) -> Self:
        """Copies an artifact's start states, if there are any, into this memory.

        Returns:
            This memory.

        Raises:
            ValueError: the shapes or codes of the start states do not fit this memory.
        """
        codes, actions = (artifact.tensors.get(f"start_{name}") for name in ("codes", "actions"))
        if codes is not None and actions is not None:
            if codes.is_floating_point() or codes.is_complex() or codes.dtype == torch.bool:
                raise ValueError(f"start_codes: expected integers, got {codes.dtype}")
            if actions.dtype != torch.float32:
                raise ValueError(f"start_actions: expected torch.float32, got {actions.dtype}")
            num_states, steps = codes.shape[:2]
            check_shape("start_codes", codes, ("S", "T'", self.start_codes.shape[2]))
            check_shape("start_actions", actions, (num_states, steps - 1, self.action_dim))
            if codes.numel() and not 0 <= int(codes.min()) <= int(codes.max()) < self.codebook_size:
                raise ValueError(
                    f"start_codes: expected codes from 0 to {self.codebook_size - 1}, got codes "
                    f"from {int(codes.min())} to {int(codes.max())}"
                )
            self.register_buffer("start_codes", codes)
            self.register_buffer("start_actions", actions)
        return self

    def _register_start_states(self, mean: Tensor, std: Tensor, actions: Tensor) -> None:
        dtype = torch.int16 if self.codebook_size <= 2**15 else torch.int32
        self.register_buffer("start_codes", self.codes_of(mean).to(dtype))
        self.register_buffer("start_actions", actions)
