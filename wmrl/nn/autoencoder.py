"""Autoencoders of any kind of input: the interface, and variational ones."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

from wmrl.core.validation import check_shape
from wmrl.nn.losses import gaussian_kl, squared_error
from wmrl.storage.saved_module import SavedModule

_ACTIVE_VARIANCE = 0.01


class Autoencoder(SavedModule):
    """Interface of networks that map inputs to latents and back.

    Inputs ``(B, ...)`` are of the subclass's kind, for example frames or vectors. A subclass
    converts them to network inputs in ``_preprocess``, and sets ``config`` (a frozen dataclass)
    and ``config_class``.
    """

    @property
    @abstractmethod
    def latent_dim(self) -> int:
        """Z, the number of latent dimensions."""

    @abstractmethod
    def encode(self, inputs: Tensor) -> Tensor:
        """Maps inputs ``(B, ...)`` to latents ``(B, Z) float32``, without noise."""

    @abstractmethod
    def decode(self, latents: Tensor) -> Tensor:
        """Maps latents ``(B, Z) float32`` to inputs ``(B, ...)``."""

    @abstractmethod
    def loss(self, inputs: Tensor, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Computes the training loss of a batch.

        Args:
            inputs: ``(B, ...)``.
            generator: source of randomness.

        Returns:
            The loss ``()``, a mean over the batch, and its parts by name, without gradients.
        """

    @abstractmethod
    def metrics(self, batches: Iterable[Tensor]) -> dict[str, float]:
        """Computes metrics of the latents over batches of held-out inputs."""

    def prepare(
        self, step: int, draw: Callable[[], Iterator[Tensor]], generator: torch.Generator
    ) -> None:
        """Prepares a training step; called before each.

        Args:
            step: number of the step.
            draw: returns an endless iterator over batches of inputs.
            generator: source of the step's randomness.
        """

    def resume(self, steps: int) -> None:
        """Restores what is not in the weights; called when training continues after ``steps``."""

    def check_latents(self, latents: Tensor) -> None:
        """Raises ``ValueError`` unless latents are ``(B, Z)``."""
        check_shape("latents", latents, ("B", self.latent_dim))

    @abstractmethod
    def _preprocess(self, inputs: Tensor) -> Tensor:
        """Checks inputs and returns them as the network reads them, ``(B, ...) float32``."""


class GaussianAutoencoder(Autoencoder):
    """An autoencoder with a diagonal Gaussian posterior, trained as a variational one.

    Auto-Encoding Variational Bayes, Kingma and Welling 2014 (https://arxiv.org/abs/1312.6114).
    A subclass implements the encoder, the decoder and the weight of the divergence. If its
    encoder returns no variance, it is trained as a plain autoencoder, without noise.
    """

    @property
    def latent_dim(self) -> int:
        """Z, the number of latent dimensions."""
        return int(self.config.latent_dim)

    def encode(self, inputs: Tensor) -> Tensor:
        """Maps inputs ``(B, ...)`` to the means of their posteriors, ``(B, Z) float32``."""
        return self._encode(self._preprocess(inputs))[0]

    def loss(self, inputs: Tensor, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Computes the squared error plus the cost of the KL divergence, a mean over the batch.

        Args:
            inputs: ``(B, ...)``.
            generator: source of the posterior's noise.

        Returns:
            The loss ``()``, and its parts: ``squared_error`` (summed over an input's numbers, as
            the network reads them) and ``kl`` (nats per input, before any floor or weight; only
            if there is a variance).
        """
        target = self._preprocess(inputs)
        mean, log_variance = self._encode(target)
        if log_variance is None:
            error = squared_error(self._decode(mean), target).mean()
            return error, {"squared_error": error.detach()}
        noise = torch.randn(mean.shape, generator=generator, device=generator.device)
        latents = self._draw(mean, torch.exp(0.5 * log_variance), noise.to(mean.device))
        error = squared_error(self._decode(latents), target).mean()
        kl = gaussian_kl(mean, log_variance)
        loss = error + self._kl_loss(kl)
        return loss, {"squared_error": error.detach(), "kl": kl.detach().sum(1).mean()}

    @torch.no_grad()
    def metrics(self, batches: Iterable[Tensor]) -> dict[str, float]:
        """Computes metrics of the latents over batches of held-out inputs.

        Returns:
            ``kl`` in nats per input (only if there is a variance), and ``active_dimensions``, the
            number of latent dimensions whose means have a variance above 0.01, the threshold of
            Importance Weighted Autoencoders (Burda et al. 2016,
            https://arxiv.org/abs/1509.00519).
        """
        divergences, means = [], []
        for inputs in batches:
            mean, log_variance = self._encode(self._preprocess(inputs))
            means.append(mean.cpu())
            if log_variance is not None:
                divergences.append(gaussian_kl(mean, log_variance).sum(1).cpu())
        kl = {"kl": float(torch.cat(divergences).mean())} if divergences else {}
        active = torch.cat(means).var(0) > _ACTIVE_VARIANCE
        return {**kl, "active_dimensions": int(active.sum())}

    @abstractmethod
    def _encode(self, inputs: Tensor) -> tuple[Tensor, Tensor | None]:
        """Maps network inputs to mean and log σ², each ``(B, Z)``; None for no variance."""

    @abstractmethod
    def _decode(self, latents: Tensor) -> Tensor:
        """Maps latents ``(B, Z)`` to network outputs, of the shape of network inputs."""

    @abstractmethod
    def _kl_loss(self, kl: Tensor) -> Tensor:
        """Computes the cost ``()`` of divergences ``(B, Z)``."""

    def _draw(self, mean: Tensor, std: Tensor, noise: Tensor) -> Tensor:
        """Draws latents ``(B, Z)`` from the posterior, given standard normal noise."""
        return torch.addcmul(mean, std, noise)
