"""Vector quantizers, which map vectors to codes, and codes back to vectors.

:class:`GradientQuantizer` learns its codebook by gradients, as in the original VQ-VAE.
:class:`EMAQuantizer` learns its codebook by exponential moving averages of the vectors.
:class:`~wmrl.nn.fsq.FSQuantizer` has the same interface but no codebook to learn.
"""

import itertools
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from wmrl.core.config import check_fields
from wmrl.core.validation import check_choice, check_float, check_int
from wmrl.nn.clustering import cluster_sums, kmeans, nearest


class Quantized(NamedTuple):
    """Result of quantizing N input vectors of D dimensions with K codes.

    Attributes:
        vectors: ``(N, D)``, the vectors of the chosen codes. Gradients with respect to these
            vectors are passed on to the inputs.
        codes: ``(N,) int64``, the chosen codes, in 0 … K − 1.
        commitment: ``(N,)``, commitment loss: squared Euclidean distance of each input to its
            code's vector. The gradient of this loss flows only to the inputs. The loss is 0 if
            there is no codebook to learn.
        codebook: ``(N,)``, codebook loss: the same squared distance, whose gradient flows only to
            the codes' vectors. The loss is 0 if the codebook is not learned by gradients.
    """

    vectors: Tensor
    codes: Tensor
    commitment: Tensor
    codebook: Tensor


class Quantizer(nn.Module, ABC):
    """Interface of quantizers, which map each of N vectors ``(N, D)`` to one of K codes.

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
        """Quantizes vectors.

        In training mode, a quantizer that learns by moving averages also updates its codebook.

        Args:
            vectors: ``(N, D) float32``.
            generator: source of the randomness in updates of the codebook, on any device; PyTorch's
                global generator if None.
        """

    @abstractmethod
    def encode(self, vectors: Tensor) -> Tensor:
        """Returns the codes ``(N,) int64`` of vectors ``(N, D)``."""

    @abstractmethod
    def lookup(self, codes: Tensor) -> Tensor:
        """Returns the vectors ``(..., D) float32`` of codes ``(...) int64`` in 0 … K − 1.

        Unlike :meth:`decode`, this method does not check the range of the codes. It thus never has
        to wait for a GPU.
        """

    def decode(self, codes: Tensor) -> Tensor:
        """Checks codes ``(...) int64`` and returns their vectors ``(..., D) float32``.

        Raises:
            ValueError: a code is outside 0 … K − 1.
        """
        self.check_codes(codes)
        return self.lookup(codes)

    def bound(self, vectors: Tensor) -> Tensor:
        """Maps vectors ``(N, D)`` into the range of the codes' vectors.

        By default, the vectors are returned unchanged.
        """
        return vectors

    def code_of(self, vectors: Tensor) -> Tensor:
        """Inverts :meth:`decode`: maps codes' vectors ``(N, D)`` to the codes ``(N,) int64``."""
        return self.encode(vectors)

    def codebook(self) -> Tensor:
        """Returns the vectors ``(K, D)`` of all codes."""
        device = next(itertools.chain(self.parameters(), self.buffers())).device
        return self.lookup(torch.arange(self.codebook_size, device=device))

    def init_codebook(self, vectors: Tensor, *, generator: torch.Generator) -> None:
        """Initializes the codebook from a sample of vectors.

        If there is no codebook to learn, nothing is done.

        Args:
            vectors: ``(N, D)``, sample of the vectors that will be quantized.
            generator: source of all randomness.

        Raises:
            ValueError: there are fewer vectors than codes.
        """

    def check_codes(self, codes: Tensor) -> None:
        """Raises ``ValueError`` unless all codes are in 0 … K − 1."""
        if codes.numel() and not (int(codes.min()) >= 0 and int(codes.max()) < self.codebook_size):
            raise ValueError(
                f"codes: expected values from 0 to {self.codebook_size - 1}, got values from "
                f"{int(codes.min())} to {int(codes.max())}"
            )


class GradientQuantizer(Quantizer):
    """A quantizer whose codebook is learned by the gradients of a loss.

    Source: Neural Discrete Representation Learning, van den Oord et al. 2017
    (https://arxiv.org/abs/1711.00937), equation 3.

    Args:
        codebook_size: K, number of codes.
        code_dim: D, dimension of a code's vector.
        spread: bound of the components of the codes' initial vectors. The components are drawn
            uniformly from [−spread, spread]. If None, the bound is 1/K.
        generator: source of the codes' initial vectors; a generator with seed 0 if None.
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
        """Maps each vector to the vector of the nearest code; see :meth:`Quantizer.forward`."""
        codes = self.encode(vectors)
        # The gradient of an embedding is summed in the same order for any number of threads.
        chosen = nn.functional.embedding(codes, self.vectors)
        commitment = (vectors - chosen.detach()).square().sum(1)
        codebook = (vectors.detach() - chosen).square().sum(1)
        return Quantized(_pass_through(vectors, chosen.detach()), codes, commitment, codebook)

    @torch.no_grad()
    def encode(self, vectors: Tensor) -> Tensor:
        """Returns the nearest codes ``(N,) int64`` of vectors ``(N, D)``."""
        return nearest(vectors, self.vectors)

    def lookup(self, codes: Tensor) -> Tensor:
        """Returns the vectors ``(..., D) float32`` of codes ``(...) int64`` in 0 … K − 1."""
        return self.vectors.detach()[codes]

    @torch.no_grad()
    def init_codebook(self, vectors: Tensor, *, generator: torch.Generator) -> None:
        """Initializes the codes' vectors with the k-means centers of vectors ``(N, D)``."""
        self.vectors.copy_(kmeans(vectors, self.codebook_size, generator=generator))


@dataclass(frozen=True, kw_only=True)
class EMAConfig:
    """Configuration of an :class:`EMAQuantizer`.

    Attributes:
        decay: decay factor γ of the moving averages, in [0, 1).
        epsilon: constant that Laplace smoothing adds to the moving average of each code's number
            of vectors per batch.
        expiry: minimum use of a code. The use of a code is the number of vectors per batch that are
            mapped to the code, as a moving average. If the use falls below this minimum, the code's
            vector is replaced with a random vector of the batch. If 0, no vector is replaced.
        gradient: estimator of the gradient through the quantizer. ``"straight-through"`` copies
            the gradient. ``"rotation"`` treats the code's vector as a rotation and scaling of the
            input (Fifty et al. 2024, https://arxiv.org/abs/2410.06424).
        kmeans_steps: number of k-means iterations in :meth:`EMAQuantizer.init_codebook`.
    """

    decay: float = 0.99
    epsilon: float = 1e-5
    expiry: float = 0.0
    gradient: Literal["straight-through", "rotation"] = "straight-through"
    kmeans_steps: int = 10

    def __post_init__(self) -> None:
        check_fields(self)
        check_float("decay", self.decay, at_least=0, below=1)
        check_float("epsilon", self.epsilon, at_least=0)
        check_float("expiry", self.expiry, at_least=0)
        check_int("kmeans_steps", self.kmeans_steps, at_least=0)
        check_choice("gradient", self.gradient, ("straight-through", "rotation"))


class EMAQuantizer(Quantizer):
    """A quantizer whose codebook consists of exponential moving averages of its input vectors.

    Source: van den Oord et al. 2017 (https://arxiv.org/abs/1711.00937), appendix A.1. Each batch
    updates N ← γN + (1 − γ)n and m ← γm + (1 − γ)Σz for each code, where n is the number of vectors
    z that are nearest to the code, and Σz is their sum. The code's vector is m / N, with Laplace
    smoothing of N.

    Args:
        codebook_size: K, number of codes.
        code_dim: D, dimension of a code's vector.
        config: options of the moving averages and of the gradient; the defaults if None.

    Attributes:
        sizes: ``(K,)``, moving average N of each code's number of vectors per batch.
        sums: ``(K, D)``, moving average m of the sum of each code's vectors.
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
        """Maps each vector to the vector of the nearest code; see :meth:`Quantizer.forward`.

        In training mode, the moving averages are updated, too.
        """
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
        """Returns the nearest codes ``(N,) int64`` of vectors ``(N, D)``."""
        return nearest(vectors, self.vectors)

    def lookup(self, codes: Tensor) -> Tensor:
        """Returns the vectors ``(..., D) float32`` of codes ``(...) int64`` in 0 … K − 1."""
        return self.vectors[codes]

    @torch.no_grad()
    def init_codebook(self, vectors: Tensor, *, generator: torch.Generator) -> None:
        """Initializes the codes' vectors with the k-means centers of vectors ``(N, D)``."""
        steps = self.config.kmeans_steps
        centers = kmeans(vectors, self.codebook_size, steps=steps, generator=generator)
        sizes, _ = cluster_sums(vectors, nearest(vectors, centers), self.codebook_size)
        self.sizes.copy_(sizes.clamp(min=1.0))
        self.vectors.copy_(centers)
        self.sums.copy_(centers * self.sizes[:, None])

    @torch.no_grad()
    def _update(self, vectors: Tensor, codes: Tensor, generator: torch.Generator | None) -> None:
        """Updates the moving averages and the codes' vectors with one batch."""
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
        """Replaces the vectors of rarely used codes with vectors drawn from the batch.

        The same vector of the batch may be drawn for several codes.
        """
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
    """Returns ``chosen``, and passes gradients on to ``vectors`` (straight-through estimator)."""
    return vectors + (chosen - vectors).detach()


def _rotate(vectors: Tensor, chosen: Tensor) -> Tensor:
    """Returns ``chosen``, computed as a rotation and scaling of ``vectors`` (rotation trick).

    The gradient treats the rotation and the scaling as constants.
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
