"""Interface of autoencoders, and a base class of variational autoencoders."""

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

    A subclass defines the inputs ``(B, ...)``, for example frames or vectors, and converts them to
    network inputs in ``_preprocess``. The subclass also sets ``config_class`` to a frozen
    dataclass, and ``config`` to an instance of this dataclass.
    """

    @property
    @abstractmethod
    def latent_dim(self) -> int:
        """Z, the number of latent dimensions."""

    @abstractmethod
    def encode(self, inputs: Tensor) -> Tensor:
        """Maps inputs ``(B, ...)`` to latents ``(B, Z) float32``, without random noise."""

    @abstractmethod
    def decode(self, latents: Tensor) -> Tensor:
        """Maps latents ``(B, Z) float32`` to reconstructed inputs ``(B, ...)``."""

    @abstractmethod
    def loss(self, inputs: Tensor, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Computes the training loss of a batch.

        Args:
            inputs: batch of inputs, ``(B, ...)``.
            generator: source of all randomness.

        Returns:
            The scalar loss, averaged over the batch, and the parts of the loss by name. The parts
            are detached from the autograd graph.
        """

    @abstractmethod
    def metrics(self, batches: Iterable[Tensor]) -> dict[str, float]:
        """Computes metrics of the latents over batches of held-out inputs.

        Returns:
            Metrics by name.
        """

    def prepare(
        self, step: int, draw: Callable[[], Iterator[Tensor]], generator: torch.Generator
    ) -> None:
        """Prepares the model for a training step, for example by ending a warm-up.

        If training starts from random weights, this method is called before every step. By default,
        the method does nothing.

        Args:
            step: index of the step, from 0.
            draw: function that returns an endless iterator over batches of training inputs.
            generator: source of all randomness.
        """

    def resume(self, steps: int) -> None:
        """Restores the state that the weights do not contain.

        An example of this state is a flag for the end of a warm-up. The method is called when
        training resumes. By default, the method does nothing.

        Args:
            steps: number of training steps taken so far.
        """

    def is_usable(self, steps: int) -> bool:
        """Returns True if the model can be used after a training of ``steps`` steps.

        In a warm-up, for example, it can't. By default, the result is True.
        """
        return True

    def check_latents(self, latents: Tensor) -> Tensor:
        """Checks that latents have the shape ``(B, Z)``, and returns them as float32.

        Raises:
            ValueError: the latents have another shape.
        """
        check_shape("latents", latents, ("B", self.latent_dim))
        return latents.to(torch.float32)

    @abstractmethod
    def _preprocess(self, inputs: Tensor) -> Tensor:
        """Checks inputs ``(B, ...)`` and converts them to network inputs, ``(B, ...) float32``."""

    def _target(self, inputs: Tensor) -> Tensor:
        """Returns the part of the network inputs to reconstruct; by default, the entire inputs."""
        return inputs


class GaussianAutoencoder(Autoencoder):
    """A variational autoencoder with a diagonal Gaussian posterior.

    Source: Auto-Encoding Variational Bayes, Kingma and Welling 2014
    (https://arxiv.org/abs/1312.6114). A subclass implements the encoder, the decoder and the loss
    term of the KL divergence. If the encoder returns no variance, the model is trained as a plain
    autoencoder, without noise.
    """

    @property
    def latent_dim(self) -> int:
        """Z, the number of latent dimensions."""
        return int(self.config.latent_dim)

    def encode(self, inputs: Tensor) -> Tensor:
        """Maps inputs ``(B, ...)`` to their posterior means, ``(B, Z) float32``."""
        return self._encode(self._preprocess(inputs))[0]

    def loss(self, inputs: Tensor, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Computes the loss term of the reconstruction plus the loss term of the KL divergence.

        If the encoder returns no variance, the loss is only the squared error.

        Args:
            inputs: batch of inputs, ``(B, ...)``.
            generator: source of the noise in draws from the posterior.

        Returns:
            The scalar loss, averaged over the batch, and its parts. ``squared_error`` is summed
            over the elements of a network output and averaged over the batch. ``kl`` is the KL
            divergence in nats per input, before any floor or weight. If the encoder returns no
            variance, ``kl`` is missing.
        """
        given = self._preprocess(inputs)
        target = self._target(given)
        mean, log_variance = self._encode(given)
        if log_variance is None:
            error = squared_error(self._decode(mean), target).mean()
            return error, {"squared_error": error.detach()}
        noise = torch.randn(mean.shape, generator=generator, device=generator.device)
        latents = self._draw(mean, torch.exp(0.5 * log_variance), noise.to(mean.device))
        error = squared_error(self._decode(latents), target).mean()
        kl = gaussian_kl(mean, log_variance)
        loss = self._error_loss(error, target[0].numel()) + self._kl_loss(kl)
        return loss, {"squared_error": error.detach(), "kl": kl.detach().sum(1).mean()}

    @torch.no_grad()
    def metrics(self, batches: Iterable[Tensor]) -> dict[str, float]:
        """Computes metrics of the latents over batches of held-out inputs.

        Returns:
            ``kl`` and ``active_dimensions``. ``kl`` is the KL divergence in nats per input. If
            the encoder returns no variance, ``kl`` is missing. ``active_dimensions`` is the number
            of latent dimensions whose posterior mean varies over the inputs with a variance above
            0.01, the threshold in Importance Weighted Autoencoders (Burda et al. 2016,
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
        """Maps network inputs to the posterior's mean and log σ², each ``(B, Z)``.

        An encoder without a variance returns None instead of log σ².
        """

    @abstractmethod
    def _decode(self, latents: Tensor) -> Tensor:
        """Maps latents ``(B, Z)`` to network outputs, in the shape of the result of ``_target``."""

    def _error_loss(self, error: Tensor, size: int) -> Tensor:
        """Computes the loss term ``()`` of the reconstruction; by default, the squared error.

        Args:
            error: squared error, summed over the elements of a network output and averaged over
                the batch.
            size: number of elements of a network output.
        """
        return error

    @abstractmethod
    def _kl_loss(self, kl: Tensor) -> Tensor:
        """Computes the loss term ``()`` of the KL divergences ``(B, Z)`` of a batch."""

    def _draw(self, mean: Tensor, std: Tensor, noise: Tensor) -> Tensor:
        """Draws latents ``(B, Z)`` from the posterior, using standard normal noise ``(B, Z)``."""
        return torch.addcmul(mean, std, noise)
