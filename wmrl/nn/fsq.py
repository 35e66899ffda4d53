"""Finite scalar quantization."""

import math

import torch
from torch import Tensor

from wmrl.nn.quantizers import Quantized, Quantizer


class FSQuantizer(Quantizer):
    """Finite scalar quantization (Mentzer et al. 2023, https://arxiv.org/abs/2309.15505).

    Component d of a vector is bounded and rounded to one of L_d levels. The indices of the D levels
    are the digits of the code, in a mixed-radix system with radices L_d. The code's vector consists
    of the D levels, scaled to [−1, 1]. There is no codebook to learn.

    Args:
        levels: numbers of levels L_d of the D components, each at least 3. The number of codes K is
            the product of these numbers.

    Raises:
        ValueError: ``levels`` is empty or has an element below 3.

    Example:
        >>> import torch
        >>> from wmrl.nn import FSQuantizer
        >>> quantizer = FSQuantizer((5, 3))
        >>> quantizer.codebook_size, quantizer.code_dim
        (15, 2)
        >>> codes = quantizer.encode(torch.tensor([[0.0, 0.0], [9.0, -9.0]]))
        >>> codes
        tensor([7, 4])
        >>> quantizer.decode(codes)
        tensor([[ 0.,  0.],
                [ 1., -1.]])
    """

    learned = False
    bases: Tensor
    strides: Tensor
    halves: Tensor

    def __init__(self, levels: tuple[int, ...]) -> None:
        super().__init__()
        if not levels or min(levels) < 3:
            raise ValueError(f"levels: expected one or more numbers, each at least 3, got {levels}")
        self.levels = tuple(levels)
        self.codebook_size, self.code_dim = math.prod(levels), len(levels)
        strides = [math.prod(levels[:d]) for d in range(len(levels))]
        self.register_buffer("strides", torch.tensor(strides), persistent=False)
        self.register_buffer("bases", torch.tensor(self.levels), persistent=False)
        half = torch.tensor([level // 2 for level in levels], dtype=torch.float32)
        self.register_buffer("halves", half, persistent=False)

    def forward(self, vectors: Tensor, *, generator: torch.Generator | None = None) -> Quantized:
        """Bounds and rounds each vector; see :meth:`Quantizer.forward`.

        The commitment loss and the codebook loss are 0.
        """
        bounded = self._bound(vectors)
        rounded = bounded + (bounded.round() - bounded).detach()
        codes = self._code(rounded.detach())
        none = vectors.new_zeros(len(vectors))
        return Quantized(rounded / self.halves, codes, none, none)

    @torch.no_grad()
    def encode(self, vectors: Tensor) -> Tensor:
        """Returns the codes ``(N,) int64`` of vectors ``(N, D)`` after bounding and rounding."""
        return self._code(self._bound(vectors).round())

    def lookup(self, codes: Tensor) -> Tensor:
        """Returns the vectors ``(..., D)`` of codes ``(...) int64``, all in 0 … K − 1."""
        digits = codes[..., None] // self.strides % self.bases
        return (digits - self.halves) / self.halves

    @torch.no_grad()
    def code_of(self, vectors: Tensor) -> Tensor:
        """Maps the vectors of codes, ``(N, D)`` in [−1, 1], back to the codes, ``(N,) int64``."""
        return self._code((vectors * self.halves).round())

    def bound(self, vectors: Tensor) -> Tensor:
        """Maps vectors ``(N, D)`` into the range of the codes' vectors, about [−1, 1]."""
        return self._bound(vectors) / self.halves

    def _bound(self, vectors: Tensor) -> Tensor:
        """Bounds vectors ``(..., D)`` such that rounding maps component d to one of L_d levels."""
        levels = self.bases.to(vectors.dtype)
        half = (levels - 1) * (1 + 1e-3) / 2
        offset = torch.where(levels % 2 == 0, 0.5, 0.0)
        return torch.tanh(vectors + torch.atanh(offset / half)) * half - offset

    def _code(self, rounded: Tensor) -> Tensor:
        return ((rounded + self.halves).round().long() * self.strides).sum(-1)
