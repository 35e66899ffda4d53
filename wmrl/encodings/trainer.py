"""Repeated training of an encoding on the solutions that a search has found so far."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from wmrl.core.config import check_fields
from wmrl.core.seeding import torch_generator
from wmrl.core.validation import check_float, check_int
from wmrl.encodings.base import Encoding
from wmrl.training.callback_list import CallbackList
from wmrl.training.callbacks import Callback, RunContext, check_callbacks
from wmrl.training.progress import progress_bar


@dataclass(frozen=True, kw_only=True)
class EncodingTrainingConfig:
    """Configuration of an :class:`EncodingTrainer`.

    All defaults except ``weight_penalty`` are those of Data-Driven Encodings (Gaier, Asteroth and
    Mouret 2020, https://arxiv.org/abs/2003.04389).

    Attributes:
        epochs: number of epochs in each call of :meth:`EncodingTrainer.fit`.
        batch_size: number of vectors per batch; the last batch of an epoch may have fewer.
        learning_rate: learning rate of Adam at the start of each call of
            :meth:`EncodingTrainer.fit`.
        decay: factor by which the learning rate is multiplied at each decay.
        decay_every: number of epochs between decays of the learning rate; 0 for no decay.
        weight_penalty: weight, in the loss, of an L2 penalty: the sum of squares of the decoder's
            parameters. Elites inherit useless properties, such as noise, from common ancestors. The
            penalty discourages the decoder from learning these properties.
    """

    epochs: int = 5
    batch_size: int = 64
    learning_rate: float = 1e-3
    decay: float = 0.3
    decay_every: int = 0
    weight_penalty: float = 0.5

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("epochs", "batch_size"):
            check_int(name, getattr(self, name), at_least=1)
        for name in ("learning_rate", "decay"):
            check_float(name, getattr(self, name), above=0)
        check_int("decay_every", self.decay_every, at_least=0)
        check_float("weight_penalty", self.weight_penalty, at_least=0)

    def rate(self, epoch: int) -> float:
        """Returns the learning rate of an epoch.

        Args:
            epoch: index of the epoch within a call of :meth:`EncodingTrainer.fit`, from 0.
        """
        decays = epoch // self.decay_every if self.decay_every else 0
        return float(self.learning_rate * self.decay**decays)


class EncodingTrainer:
    """Trainer of an encoding, with one optimizer for all calls of :meth:`fit`.

    Args:
        encoding: encoding to train, on any device; the encoding stays on that device.
        config: epochs, batch size, learning rate and penalty; the default configuration if None.
        seed: root seed of all randomness.

    Attributes:
        fits: number of calls of :meth:`fit` so far.
        steps: number of gradient steps so far.
    """

    def __init__(
        self, encoding: Encoding, config: EncodingTrainingConfig | None = None, *, seed: int = 0
    ) -> None:
        self.encoding, self.config = encoding, config or EncodingTrainingConfig()
        self.fits, self.steps = 0, 0
        self._seed = seed
        self._parameters = dict(encoding.named_parameters())
        # Without the fused kernel, the optimizer would take most of a step's time.
        self._optimizer = torch.optim.Adam(
            self._parameters.values(), lr=self.config.learning_rate, fused=_can_fuse(encoding)
        )

    def fit(
        self,
        vectors: Tensor,
        *,
        callbacks: Iterable[Callback] = (),
        progress: bool = False,
    ) -> dict[str, float]:
        """Trains for ``config.epochs`` epochs; each epoch has a new random order of the vectors.

        Args:
            vectors: ``(N, X)``, solutions to train on; converted to float32.
            callbacks: callbacks of this call, see :class:`~wmrl.training.callbacks.Callback`. The
                means over an epoch are logged after each epoch, at the number of gradient steps
                so far. There is no folder, and there are no checkpoints.
            progress: True to show a progress bar.

        Returns:
            The loss (under ``"loss"``) and its parts by name, averaged over the batches of the last
            epoch.

        Raises:
            ValueError: there are no vectors, their length is not the encoding's ``input_dim``, or
                their numbers are not floating-point numbers.
            FloatingPointError: the loss in the last epoch is not finite.
        """
        encoding, config = self.encoding, self.config
        callbacks = check_callbacks(callbacks)
        encoding.check_vectors(vectors)
        if not len(vectors):
            raise ValueError("vectors: expected at least one to learn from, got none")
        device = encoding.device
        generator = torch_generator(self._seed, "encoding", self.fits, device=device)
        vectors = vectors.to(device, torch.float32)
        encoding.train()
        context = RunContext(name="encoding", step=self.steps)
        with (
            CallbackList(callbacks, context, progress=progress) as running,
            progress_bar("encoding", total=config.epochs, show=progress, unit="epochs") as advance,
        ):
            for epoch in range(config.epochs):
                measured = bool(callbacks) or epoch == config.epochs - 1
                sums: dict[str, Tensor] = {}
                count = 0
                for group in self._optimizer.param_groups:
                    group["lr"] = config.rate(epoch)
                order = torch.randperm(len(vectors), generator=generator, device=device)
                for rows in torch.split(order, config.batch_size):
                    values = self._step(vectors[rows], vectors, generator)
                    if measured:
                        sums = {name: sums.get(name, 0.0) + value for name, value in values.items()}
                        count += 1
                # A number is read from the device only where it is shown.
                advance(epoch + 1, f"loss {float(values['loss']):.4g}" if progress else "")
                if callbacks:
                    running.log(self.steps, {k: float(v) / count for k, v in sums.items()})
                if running.stopped:
                    break
        encoding.eval()
        self.fits += 1
        metrics = {name: float(value) / count for name, value in sums.items()}
        if not all(map(math.isfinite, metrics.values())):
            raise FloatingPointError(
                f"encoding: expected a finite loss in the latest epoch, got {_nonfinite(metrics)} "
                f"after {self.steps} steps; train with a learning_rate below "
                f"{config.learning_rate}, or check the solutions"
            )
        return metrics

    def state(self) -> tuple[dict[str, Tensor], dict[str, int]]:
        """Returns the state of the training, for an exact resumption with :meth:`restore`.

        Returns:
            A dictionary with the tensors of the encoding and the optimizer, and a dictionary with
            the numbers ``fits`` and ``steps``.
        """
        tensors = {f"encoding.{k}": v for k, v in self.encoding.state_dict().items()}
        for name, parameter in self._parameters.items():
            for key, value in self._optimizer.state[parameter].items():
                tensors[f"adam.{key}.{name}"] = value
        return tensors, {"fits": self.fits, "steps": self.steps}

    def restore(self, tensors: Mapping[str, Tensor], numbers: Mapping[str, int]) -> None:
        """Restores the state of the training.

        Args:
            tensors: first dictionary that :meth:`state` returned.
            numbers: second dictionary that :meth:`state` returned.
        """
        own = {k.removeprefix("encoding."): v for k, v in tensors.items() if k[:5] != "adam."}
        self.encoding.load_state_dict(own)
        self.fits, self.steps = numbers["fits"], numbers["steps"]
        self.encoding.resume(self.steps)
        for name, parameter in self._parameters.items():
            if f"adam.step.{name}" in tensors:
                self._optimizer.state[parameter] = {
                    key: tensors[f"adam.{key}.{name}"].clone().to(parameter.device)
                    for key in ("step", "exp_avg", "exp_avg_sq")
                }
        self.encoding.eval()

    def _step(
        self, batch: Tensor, vectors: Tensor, generator: torch.Generator
    ) -> dict[str, Tensor]:
        self.encoding.prepare(self.steps, lambda: self._batches(vectors, generator), generator)
        self._optimizer.zero_grad(set_to_none=True)
        loss, parts = self.encoding.loss(batch, generator)
        if penalty := self.config.weight_penalty:
            squares = [weights.square().sum() for weights in self.encoding.decoder.parameters()]
            loss = loss + penalty * torch.stack(squares).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        self.steps += 1
        return {"loss": loss.detach(), **parts}

    def _batches(self, vectors: Tensor, generator: torch.Generator) -> Iterator[Tensor]:
        """Yields random batches without end, for :meth:`Encoding.prepare`.

        The vectors are drawn with replacement.
        """
        while True:
            yield vectors[
                torch.randint(
                    len(vectors),
                    (self.config.batch_size,),
                    generator=generator,
                    device=vectors.device,
                )
            ]


def _nonfinite(metrics: Mapping[str, float]) -> str:
    bad = {name: value for name, value in metrics.items() if not math.isfinite(value)}
    return ", ".join(f"{name} {value}" for name, value in bad.items())


def _can_fuse(encoding: Encoding) -> bool:
    return encoding.device.type in ("cpu", "cuda")
