"""Vector quantizers, which map vectors to codes and back by a learned codebook.

:class:`GradientQuantizer` learns its codebook by gradients, as in the original VQ-VAE, and
:class:`EMAQuantizer` by exponential moving averages of the vectors.
:class:`~wmrl.nn.fsq.FSQuantizer` has the same interface but no codebook to learn.
"""

import itertools
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from wmrl.core.validation import check_choice, check_float, check_int
from wmrl.nn.clustering import cluster_sums, kmeans, nearest


class Quantized(NamedTuple):
    """Result of quantizing N vectors.

    Attributes:
        vectors: ``(N, D)``, the codes' vectors; their gradients are passed on to the inputs.
        codes: ``(N,) int64`` in 0 … K − 1.
        commitment: ``(N,)``, squared Euclidean distance of each input to its code; its gradient
            flows to the inputs only.
        codebook: ``(N,)``, the same distance with a gradient that flows to the codes only; 0 if
            the codebook is not learned by gradients.
    """

    vectors: Tensor
    codes: Tensor
    commitment: Tensor
    codebook: Tensor


class Quantizer(nn.Module, ABC):
    """Interface of quantizers, which map vectors ``(N, D)`` to the nearest of K codes.

    Attributes:
        codebook_size: K, number of codes.
        code_dim: D, dimension of a code's vector.
        learned: True if there is a codebook to learn, which :meth:`init_codebook` initializes.
    """

    codebook_size: int
    code_dim: int
    learned: bool = True

    @abstractmethod
    def forward(self, vectors: Tensor, *, generator: torch.Generator | None = None) -> Quantized:
        """Quantizes vectors, and in training mode also updates a codebook of moving averages.

        Args:
            vectors: ``(N, D) float32``.
            generator: source of the randomness of the update, on any device; PyTorch's global
                generator if None.
        """

    @abstractmethod
    def encode(self, vectors: Tensor) -> Tensor:
        """Returns the codes ``(N,) int64`` of vectors ``(N, D)``."""

    @abstractmethod
    def lookup(self, codes: Tensor) -> Tensor:
        """Returns the vectors ``(..., D) float32`` of valid codes ``(...) int64``.

        It does not check the codes, because a check would have to wait for a GPU.
        """

    def decode(self, codes: Tensor) -> Tensor:
        """Returns the vectors ``(..., D) float32`` of codes ``(...) int64``.

        Raises:
            ValueError: a code is outside 0 … K − 1.
        """
        self.check_codes(codes)
        return self.lookup(codes)

    def bound(self, vectors: Tensor) -> Tensor:
        """Maps vectors ``(N, D)`` to the range of the codes' vectors; the identity by default."""
        return vectors

    def code_of(self, vectors: Tensor) -> Tensor:
        """Maps vectors ``(N, D)``, as returned by :meth:`decode`, to codes ``(N,) int64``."""
        return self.encode(vectors)

    def codebook(self) -> Tensor:
        """Returns the vectors ``(K, D)`` of all codes."""
        device = next(itertools.chain(self.parameters(), self.buffers())).device
        return self.lookup(torch.arange(self.codebook_size, device=device))

    def init_codebook(self, vectors: Tensor, *, generator: torch.Generator) -> None:
        """Initializes the codebook, if there is one, from vectors ``(N, D)``.

        Args:
            vectors: sample of the distribution that will be quantized.
            generator: source of all randomness.

        Raises:
            ValueError: there are fewer vectors than codes.
        """

    def check_codes(self, codes: Tensor) -> None:
        """Raises ``ValueError`` unless all codes are in 0 … K − 1."""
        if codes.numel() and not (int(codes.min()) >= 0 and int(codes.max()) < self.codebook_size):
            raise ValueError(
                f"codes: expected 0 to {self.codebook_size - 1}, got {int(codes.min())} to "
                f"{int(codes.max())}"
            )


class GradientQuantizer(Quantizer):
    """A codebook learned by the gradients of a loss.

    Source: Neural Discrete Representation Learning, van den Oord et al. 2017
    (https://arxiv.org/abs/1711.00937), equation 3.

    Args:
        codebook_size: K, number of codes.
        code_dim: D, dimension of a code's vector.
        spread: half-width of the uniform distribution around 0 of the initial codes; 1/K if None.
        generator: source of the initial codes; a generator with seed 0 if None.
    """

    def __init__(
        self,
        codebook_size: int,
        code_dim: int,
        *,
        spread: float | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_int("codebook_size", codebook_size, at_least=1)
        check_int("code_dim", code_dim, at_least=1)
        self.codebook_size, self.code_dim = codebook_size, code_dim
        generator = generator or torch.Generator().manual_seed(0)
        uniform = 2.0 * torch.rand(codebook_size, code_dim, generator=generator) - 1.0
        self.vectors = nn.Parameter(uniform * (1.0 / codebook_size if spread is None else spread))

    def forward(self, vectors: Tensor, *, generator: torch.Generator | None = None) -> Quantized:
        """Implements :meth:`Quantizer.forward`."""
        codes = self.encode(vectors)
        # The gradient of an embedding is summed in the same order for any number of threads.
        chosen = nn.functional.embedding(codes, self.vectors)
        commitment = (vectors - chosen.detach()).square().sum(1)
        codebook = (vectors.detach() - chosen).square().sum(1)
        return Quantized(_pass_through(vectors, chosen.detach()), codes, commitment, codebook)

    @torch.no_grad()
    def encode(self, vectors: Tensor) -> Tensor:
        """Implements :meth:`Quantizer.encode`."""
        return nearest(vectors, self.vectors)

    def lookup(self, codes: Tensor) -> Tensor:
        """Implements :meth:`Quantizer.lookup`."""
        return self.vectors.detach()[codes]

    @torch.no_grad()
    def init_codebook(self, vectors: Tensor, *, generator: torch.Generator) -> None:
        """Initializes the codes by k-means of vectors ``(N, D)``."""
        self.vectors.copy_(kmeans(vectors, self.codebook_size, generator=generator))


@dataclass(frozen=True, kw_only=True)
class EMAConfig:
    """Configuration of an :class:`EMAQuantizer`.

    Attributes:
        decay: decay factor γ of the moving averages, in [0, 1).
        epsilon: constant of the Laplace smoothing of the codes' counts.
        expiry: average number of vectors per batch below which a code is replaced by a random
            vector of the batch; 0 to keep unused codes.
        gradient: ``"straight-through"``, or ``"rotation"`` (Fifty et al. 2024,
            https://arxiv.org/abs/2410.06424), which rotates and scales the gradient like the
            rotation and scaling that take the vector to its code.
        kmeans_steps: number of k-means iterations in :meth:`EMAQuantizer.init_codebook`.
    """

    decay: float = 0.99
    epsilon: float = 1e-5
    expiry: float = 0.0
    gradient: Literal["straight-through", "rotation"] = "straight-through"
    kmeans_steps: int = 10

    def __post_init__(self) -> None:
        check_float("decay", self.decay, at_least=0, below=1)
        check_float("epsilon", self.epsilon, at_least=0)
        check_float("expiry", self.expiry, at_least=0)
        check_int("kmeans_steps", self.kmeans_steps, at_least=0)
        check_choice("gradient", self.gradient, ("straight-through", "rotation"))


class EMAQuantizer(Quantizer):
    """A codebook of exponential moving averages of the vectors that it quantizes.

    Source: van den Oord et al. 2017 (https://arxiv.org/abs/1711.00937), appendix A.1. Each batch
    updates N ← γN + (1 − γ)n and m ← γm + (1 − γ)Σz for each code, where z are the n vectors that
    are nearest to it. The code's vector is m / N, with a smoothed N.

    Args:
        codebook_size: K, number of codes.
        code_dim: D, dimension of a code's vector.
        config: decay, smoothing, expiry and gradient; the defaults if None.

    Attributes:
        sizes: ``(K,)``, moving averages N of the number of vectors per code and batch.
        sums: ``(K, D)``, moving averages m of the sums of these vectors.
        vectors: ``(K, D)``, the codes' vectors.

    Example:
        >>> import torch
        >>> from wmrl.nn import EMAQuantizer
        >>> quantizer = EMAQuantizer(codebook_size=2, code_dim=1)
        >>> vectors = torch.tensor([[0.0], [1.0], [9.0], [10.0]])
        >>> quantizer.init_codebook(vectors, generator=torch.Generator().manual_seed(0))
        >>> quantizer.eval()(vectors).vectors.flatten()
        tensor([0.5000, 0.5000, 9.5000, 9.5000])
        >>> quantizer(vectors).commitment
        tensor([0.2500, 0.2500, 0.2500, 0.2500])
    """

    sizes: Tensor
    sums: Tensor
    vectors: Tensor

    def __init__(self, codebook_size: int, code_dim: int, config: EMAConfig | None = None) -> None:
        super().__init__()
        check_int("codebook_size", codebook_size, at_least=1)
        check_int("code_dim", code_dim, at_least=1)
        self.codebook_size, self.code_dim = codebook_size, code_dim
        self.config = config or EMAConfig()
        self.register_buffer("sizes", torch.zeros(codebook_size))
        self.register_buffer("sums", torch.zeros(codebook_size, code_dim))
        self.register_buffer("vectors", torch.zeros(codebook_size, code_dim))

    def forward(self, vectors: Tensor, *, generator: torch.Generator | None = None) -> Quantized:
        """Implements :meth:`Quantizer.forward`."""
        codes = self.encode(vectors)
        chosen = self.vectors[codes]
        commitment = (vectors - chosen).square().sum(1)
        through = _rotate if self.config.gradient == "rotation" else _pass_through
        none = torch.zeros_like(commitment)
        quantized = Quantized(through(vectors, chosen), codes, commitment, none)
        if self.training:
            self._update(vectors.detach(), codes, generator)
        return quantized

    @torch.no_grad()
    def encode(self, vectors: Tensor) -> Tensor:
        """Implements :meth:`Quantizer.encode`."""
        return nearest(vectors, self.vectors)

    def lookup(self, codes: Tensor) -> Tensor:
        """Implements :meth:`Quantizer.lookup`."""
        return self.vectors[codes]

    @torch.no_grad()
    def init_codebook(self, vectors: Tensor, *, generator: torch.Generator) -> None:
        """Initializes the codes by k-means of vectors ``(N, D)``."""
        steps = self.config.kmeans_steps
        centers = kmeans(vectors, self.codebook_size, steps=steps, generator=generator)
        sizes, _ = cluster_sums(vectors, nearest(vectors, centers), self.codebook_size)
        self.sizes.copy_(sizes.clamp(min=1.0))
        self.vectors.copy_(centers)
        self.sums.copy_(centers * self.sizes[:, None])

    @torch.no_grad()
    def _update(self, vectors: Tensor, codes: Tensor, generator: torch.Generator | None) -> None:
        """Updates the moving averages with one batch."""
        decay = self.config.decay
        sizes, sums = cluster_sums(vectors, codes, self.codebook_size)
        self.sizes.lerp_(sizes, 1.0 - decay)
        self.sums.lerp_(sums, 1.0 - decay)
        total, epsilon = self.sizes.sum(), self.config.epsilon
        smoothed = (self.sizes + epsilon) / (total + self.codebook_size * epsilon) * total
        self.vectors.copy_(self.sums / smoothed[:, None])
        if self.config.expiry > 0:
            self._expire(vectors, generator)

    def _expire(self, vectors: Tensor, generator: torch.Generator | None) -> None:
        """Replaces rarely used codes by vectors of the batch, drawn with replacement."""
        device = vectors.device if generator is None else generator.device
        rows = torch.randint(
            len(vectors), (self.codebook_size,), generator=generator, device=device
        )
        drawn = vectors[rows.to(vectors.device)]
        dead = (self.sizes < self.config.expiry)[:, None]
        self.vectors.copy_(torch.where(dead, drawn, self.vectors))
        fresh = torch.full_like(self.sizes, self.config.expiry)
        self.sums.copy_(torch.where(dead, drawn * self.config.expiry, self.sums))
        self.sizes.copy_(torch.where(dead[:, 0], fresh, self.sizes))


def _pass_through(vectors: Tensor, chosen: Tensor) -> Tensor:
    """Returns ``chosen`` and passes gradients on to ``vectors`` (straight-through estimator)."""
    return vectors + (chosen - vectors).detach()


def _rotate(vectors: Tensor, chosen: Tensor) -> Tensor:
    """Returns ``chosen`` as a rotation and scaling of ``vectors`` (rotation trick).

    The rotation and the scaling are constants for the gradient.
    """
    e = nn.functional.normalize(vectors.detach(), dim=1)
    q = nn.functional.normalize(chosen, dim=1)
    r = nn.functional.normalize(e + q, dim=1)
    scale = chosen.norm(dim=1, keepdim=True) / vectors.detach().norm(dim=1, keepdim=True).clamp(
        min=1e-6
    )

    def along(direction: Tensor) -> Tensor:
        return (vectors * direction).sum(1, keepdim=True)

    rotated: Tensor = scale * (vectors - 2 * along(r) * r + 2 * along(e) * q)
    return rotated
