"""Quantisers: from vectors to codes and back, behind one interface.

A codebook that is learned by gradients, as in the first VQ-VAE (:class:`GradientQuantiser`), one
that follows its vectors by moving averages (:class:`EMAQuantiser`), and finite scalar quantisation,
which has none to learn (:class:`FSQuantiser`).
"""

import itertools
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

# Distances of so many pairs of vector and code are held in memory at once.
_PAIRS = 2**24


class Quantised(NamedTuple):
    """What became of N vectors.

    Attributes:
        vectors: ``(N, D)``, each vector's code as a vector; gradients reach the input.
        codes: ``(N,) int64`` in 0 … K − 1.
        commitment: ``(N,)``, squared distance of inputs to their codes, summed over D; its gradient
            moves the inputs only.
        codebook: ``(N,)``, the same numbers where their gradient is to move the codes, else 0.
    """

    vectors: Tensor
    codes: Tensor
    commitment: Tensor
    codebook: Tensor


class Quantiser(nn.Module, ABC):
    """Maps vectors ``(N, D)`` to the nearest of K codes.

    Attributes:
        count: K, number of codes.
        size: D, size of a vector.
        starts: whether there is a codebook that :meth:`start` puts in place.
    """

    count: int
    size: int
    starts: bool = True

    @abstractmethod
    def forward(self, vectors: Tensor, *, generator: torch.Generator | None = None) -> Quantised:
        """Quantises vectors ``(N, D) float32``; in training mode, learns from them.

        Args:
            vectors: what to quantise.
            generator: source of what is random in learning, on any device.
        """

    @abstractmethod
    def encode(self, vectors: Tensor) -> Tensor:
        """Codes ``(N,) int64`` of vectors ``(N, D)``."""

    @abstractmethod
    def lookup(self, codes: Tensor) -> Tensor:
        """Vectors ``(..., D) float32`` of codes ``(...) int64`` that are known to be in range.

        Nothing is checked, which on a GPU would wait for it.
        """

    def decode(self, codes: Tensor) -> Tensor:
        """Vectors ``(..., D) float32`` of codes ``(...) int64``.

        Raises:
            ValueError: a code is outside 0 … K − 1.
        """
        self.check_codes(codes)
        return self.lookup(codes)

    def bound(self, vectors: Tensor) -> Tensor:
        """Vectors ``(N, D)`` as they are compared with the codes."""
        return vectors

    def code_of(self, vectors: Tensor) -> Tensor:
        """Codes ``(N,) int64`` of vectors ``(N, D)`` that :meth:`decode` gave, up to rounding."""
        return self.encode(vectors)

    def codebook(self) -> Tensor:
        """All codes' vectors, ``(K, D)``."""
        device = next(itertools.chain(self.parameters(), self.buffers())).device
        return self.lookup(torch.arange(self.count, device=device))

    def start(self, vectors: Tensor, *, generator: torch.Generator) -> None:
        """Sets the codebook, where there is one, to suit vectors ``(N, D)``.

        Raises:
            ValueError: there are fewer vectors than codes.
        """

    def check_codes(self, codes: Tensor) -> None:
        """Raises :class:`ValueError` unless all codes are in 0 … K − 1."""
        if codes.numel() and not (int(codes.min()) >= 0 and int(codes.max()) < self.count):
            raise ValueError(
                f"codes: expected 0 to {self.count - 1}, got {int(codes.min())} to "
                f"{int(codes.max())}"
            )


class GradientQuantiser(Quantiser):
    """A codebook that a loss moves (van den Oord et al. 2017, https://arxiv.org/abs/1711.00937).

    Args:
        count: K.
        size: D.
        spread: codes start uniform in ±spread; ±1/K if None.
        generator: source of the start; seed 0 if None.
    """

    def __init__(
        self,
        count: int,
        size: int,
        *,
        spread: float | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        _check_sizes(count, size)
        self.count, self.size = count, size
        generator = generator or torch.Generator().manual_seed(0)
        uniform = 2.0 * torch.rand(count, size, generator=generator) - 1.0
        self.vectors = nn.Parameter(uniform * (1.0 / count if spread is None else spread))

    def forward(self, vectors: Tensor, *, generator: torch.Generator | None = None) -> Quantised:
        """See :meth:`Quantiser.forward`."""
        codes = self.encode(vectors)
        # An embedding's gradient is summed in one order, whatever the number of threads.
        chosen = nn.functional.embedding(codes, self.vectors)
        commitment = (vectors - chosen.detach()).square().sum(1)
        codebook = (vectors.detach() - chosen).square().sum(1)
        return Quantised(_pass_through(vectors, chosen.detach()), codes, commitment, codebook)

    @torch.no_grad()
    def encode(self, vectors: Tensor) -> Tensor:
        """See :meth:`Quantiser.encode`."""
        return nearest(vectors, self.vectors)

    def lookup(self, codes: Tensor) -> Tensor:
        """See :meth:`Quantiser.lookup`."""
        return self.vectors.detach()[codes]

    @torch.no_grad()
    def start(self, vectors: Tensor, *, generator: torch.Generator) -> None:
        """Puts the codes at the centres that k-means finds among vectors ``(N, D)``."""
        self.vectors.copy_(kmeans(vectors, self.count, generator=generator))


@dataclass(frozen=True, kw_only=True)
class EMAConfig:
    """How a codebook follows its vectors.

    Attributes:
        decay: γ of the moving averages.
        epsilon: Laplace smoothing of the codes' sizes.
        expiry: a code whose average number of vectors a batch falls below it is moved to a vector
            of the batch; 0 to keep dead codes.
        gradient: ``"straight-through"``, or ``"rotation"`` (Fifty et al. 2024,
            https://arxiv.org/abs/2410.06424): gradients turned and scaled as the vector was.
        kmeans_steps: iterations of k-means at the start.
    """

    decay: float = 0.99
    epsilon: float = 1e-5
    expiry: float = 0.0
    gradient: Literal["straight-through", "rotation"] = "straight-through"
    kmeans_steps: int = 10

    def __post_init__(self) -> None:
        if not 0 <= self.decay < 1:
            raise ValueError(f"decay: expected in [0, 1), got {self.decay}")
        for name in ("epsilon", "expiry", "kmeans_steps"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name}: expected at least 0, got {getattr(self, name)}")
        if self.gradient not in ("straight-through", "rotation"):
            raise ValueError(
                f"gradient: expected 'straight-through' or 'rotation', got {self.gradient!r}"
            )


class EMAQuantiser(Quantiser):
    """A codebook of moving averages.

    Van den Oord et al. 2017 (https://arxiv.org/abs/1711.00937), appendix A.1. For each code,
    N ← γN + (1 − γ)n and m ← γm + (1 − γ)Σz over the n vectors z that it was nearest to; the code
    is m / N, with N smoothed.

    Args:
        count: K.
        size: D.
        config: how it follows.
    """

    sizes: Tensor
    sums: Tensor
    vectors: Tensor

    def __init__(self, count: int, size: int, config: EMAConfig | None = None) -> None:
        super().__init__()
        _check_sizes(count, size)
        self.count, self.size, self.config = count, size, config or EMAConfig()
        self.register_buffer("sizes", torch.zeros(count))  # N
        self.register_buffer("sums", torch.zeros(count, size))  # m
        self.register_buffer("vectors", torch.zeros(count, size))

    def forward(self, vectors: Tensor, *, generator: torch.Generator | None = None) -> Quantised:
        """See :meth:`Quantiser.forward`."""
        codes = self.encode(vectors)
        chosen = self.vectors[codes]
        commitment = (vectors - chosen).square().sum(1)
        turn = _rotate if self.config.gradient == "rotation" else _pass_through
        none = torch.zeros_like(commitment)
        quantised = Quantised(turn(vectors, chosen), codes, commitment, none)
        if self.training:
            self._follow(vectors.detach(), codes, generator)
        return quantised

    @torch.no_grad()
    def encode(self, vectors: Tensor) -> Tensor:
        """See :meth:`Quantiser.encode`."""
        return nearest(vectors, self.vectors)

    def lookup(self, codes: Tensor) -> Tensor:
        """See :meth:`Quantiser.lookup`."""
        return self.vectors[codes]

    @torch.no_grad()
    def start(self, vectors: Tensor, *, generator: torch.Generator) -> None:
        """Puts the codes at the centres that k-means finds among vectors ``(N, D)``."""
        steps = self.config.kmeans_steps
        centres = kmeans(vectors, self.count, steps=steps, generator=generator)
        sizes, _ = _gather(vectors, nearest(vectors, centres), self.count)
        self.sizes.copy_(sizes.clamp(min=1.0))
        self.vectors.copy_(centres)
        self.sums.copy_(centres * self.sizes[:, None])

    @torch.no_grad()
    def _follow(self, vectors: Tensor, codes: Tensor, generator: torch.Generator | None) -> None:
        decay = self.config.decay
        sizes, sums = _gather(vectors, codes, self.count)
        self.sizes.lerp_(sizes, 1.0 - decay)
        self.sums.lerp_(sums, 1.0 - decay)
        total, epsilon = self.sizes.sum(), self.config.epsilon
        smoothed = (self.sizes + epsilon) / (total + self.count * epsilon) * total
        self.vectors.copy_(self.sums / smoothed[:, None])
        if self.config.expiry > 0:
            self._expire(vectors, generator)

    def _expire(self, vectors: Tensor, generator: torch.Generator | None) -> None:
        """Moves codes that are hardly used to vectors of the batch, drawn with replacement."""
        device = vectors.device if generator is None else generator.device
        rows = torch.randint(len(vectors), (self.count,), generator=generator, device=device)
        drawn = vectors[rows.to(vectors.device)]
        dead = (self.sizes < self.config.expiry)[:, None]
        self.vectors.copy_(torch.where(dead, drawn, self.vectors))
        fresh = torch.full_like(self.sizes, self.config.expiry)
        self.sums.copy_(torch.where(dead, drawn * self.config.expiry, self.sums))
        self.sizes.copy_(torch.where(dead[:, 0], fresh, self.sizes))


class FSQuantiser(Quantiser):
    """Finite scalar quantisation (Mentzer et al. 2023, https://arxiv.org/abs/2309.15505).

    Each of the D numbers is bounded and rounded to one of L_d values; a code is their mixed-radix
    number, and its vector the values, scaled to [−1, 1]. There is no codebook to learn or to die.

    Args:
        levels: L_d ≥ 3 for each of the D numbers; K is their product.
    """

    starts = False
    bases: Tensor
    strides: Tensor
    halves: Tensor

    def __init__(self, levels: tuple[int, ...]) -> None:
        super().__init__()
        if not levels or min(levels) < 3:
            raise ValueError(f"levels: expected numbers of at least 3, got {levels}")
        self.levels = tuple(levels)
        self.count, self.size = math.prod(levels), len(levels)
        strides = [math.prod(levels[:d]) for d in range(len(levels))]
        self.register_buffer("strides", torch.tensor(strides), persistent=False)
        self.register_buffer("bases", torch.tensor(self.levels), persistent=False)
        half = torch.tensor([level // 2 for level in levels], dtype=torch.float32)
        self.register_buffer("halves", half, persistent=False)

    def forward(self, vectors: Tensor, *, generator: torch.Generator | None = None) -> Quantised:
        """See :meth:`Quantiser.forward`; nothing is learned and the commitment is 0."""
        bounded = self._bound(vectors)
        rounded = bounded + (bounded.round() - bounded).detach()
        codes = self._number(rounded.detach())
        none = vectors.new_zeros(len(vectors))
        return Quantised(rounded / self.halves, codes, none, none)

    @torch.no_grad()
    def encode(self, vectors: Tensor) -> Tensor:
        """See :meth:`Quantiser.encode`."""
        return self._number(self._bound(vectors).round())

    def lookup(self, codes: Tensor) -> Tensor:
        """See :meth:`Quantiser.lookup`."""
        digits = codes[..., None] // self.strides % self.bases
        return (digits - self.halves) / self.halves

    @torch.no_grad()
    def code_of(self, vectors: Tensor) -> Tensor:
        """See :meth:`Quantiser.code_of`; vectors are bounded already."""
        return self._number((vectors * self.halves).round())

    def bound(self, vectors: Tensor) -> Tensor:
        """See :meth:`Quantiser.bound`."""
        return self._bound(vectors) / self.halves

    def _bound(self, vectors: Tensor) -> Tensor:
        """Into the middle of the levels' range, so that rounding gives each of them."""
        levels = self.bases.to(vectors.dtype)
        half = (levels - 1) * (1 + 1e-3) / 2
        offset = torch.where(levels % 2 == 0, 0.5, 0.0)
        return torch.tanh(vectors + torch.atanh(offset / half)) * half - offset

    def _number(self, rounded: Tensor) -> Tensor:
        return ((rounded + self.halves).round().long() * self.strides).sum(-1)


def kmeans(vectors: Tensor, count: int, *, steps: int = 10, generator: torch.Generator) -> Tensor:
    """Centres ``(K, D)`` of K clusters of vectors ``(N, D)``, by Lloyd's iterations.

    Args:
        vectors: what to cluster.
        count: K.
        steps: iterations.
        generator: draws the vectors that it begins with.

    Raises:
        ValueError: there are fewer vectors than clusters.
    """
    if len(vectors) < count:
        raise ValueError(
            f"vectors: expected at least as many as the {count} codes, got {len(vectors)}; give "
            "more data or a smaller codebook"
        )
    order = torch.randperm(len(vectors), generator=generator, device=generator.device)
    centres = vectors[order[:count].to(vectors.device)].clone()
    for _ in range(steps):
        sizes, sums = _gather(vectors, nearest(vectors, centres), count)
        centres = torch.where(sizes[:, None] > 0, sums / sizes.clamp(min=1.0)[:, None], centres)
    return centres


def nearest(vectors: Tensor, codebook: Tensor) -> Tensor:
    """Index ``(N,) int64`` of the code ``(K, D)`` that is nearest to each vector ``(N, D)``."""
    offsets = 0.5 * codebook.square().sum(1)
    rows = max(1, _PAIRS // len(codebook))
    parts = [(offsets - part @ codebook.T).argmin(1) for part in torch.split(vectors, rows)]
    return torch.cat(parts)


def _check_sizes(count: int, size: int) -> None:
    for name, value in (("count", count), ("size", size)):
        if value < 1:
            raise ValueError(f"{name}: expected at least 1, got {value}")


def _gather(vectors: Tensor, codes: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Number and sum of the vectors of each code: ``(K,)`` and ``(K, D)``, both float32."""
    # Not bincount, which looks at the codes and so waits for the device.
    sizes = vectors.new_zeros(count).index_add_(0, codes, vectors.new_ones(len(codes)))
    sums = vectors.new_zeros(count, vectors.shape[1]).index_add_(0, codes, vectors)
    return sizes, sums


def _pass_through(vectors: Tensor, chosen: Tensor) -> Tensor:
    return vectors + (chosen - vectors).detach()


def _rotate(vectors: Tensor, chosen: Tensor) -> Tensor:
    """``chosen``, as ``vectors`` rotated and rescaled by constants, so gradients turn likewise."""
    e = nn.functional.normalize(vectors.detach(), dim=1)
    q = nn.functional.normalize(chosen, dim=1)
    r = nn.functional.normalize(e + q, dim=1)
    scale = chosen.norm(dim=1, keepdim=True) / vectors.detach().norm(dim=1, keepdim=True).clamp(
        min=1e-6
    )

    def along(direction: Tensor) -> Tensor:
        return (vectors * direction).sum(1, keepdim=True)

    turned: Tensor = scale * (vectors - 2 * along(r) * r + 2 * along(e) * q)
    return turned
