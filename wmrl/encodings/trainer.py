"""Trains an encoding again and again on what a search has found so far."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from wmrl.core.seeding import torch_generator
from wmrl.encodings.base import Encoding


@dataclass(frozen=True, kw_only=True)
class EncodingTrainingConfig:
    """How an encoding learns; but for the penalty, the defaults are those of Data-Driven Encodings.

    Attributes:
        epochs: passes over the vectors, each time.
        batch_size: vectors in a batch; the last one of a pass may have fewer.
        learning_rate: Adam's.
        decay: what the learning rate is multiplied by after every ``decay_every`` epochs of one
            training; each begins with ``learning_rate``.
        decay_every: 0 for never.
        weight_penalty: of the sum of squares of the decoder's parameters. What all elites share by
            descent alone, such as the noise of a common ancestor, is no part of what makes them
            good; but a decoder learns it, and so keeps it alive. The penalty lets it fade.
    """

    epochs: int = 5
    batch_size: int = 64
    learning_rate: float = 1e-3
    decay: float = 0.3
    decay_every: int = 0
    weight_penalty: float = 0.5

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")
        for name in ("learning_rate", "decay"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: expected above 0, got {getattr(self, name)}")
        for name in ("decay_every", "weight_penalty"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name}: expected at least 0, got {getattr(self, name)}")

    def rate(self, epoch: int) -> float:
        """Learning rate of an epoch of one training, which counts from 0."""
        decays = epoch // self.decay_every if self.decay_every else 0
        return float(self.learning_rate * self.decay**decays)


class EncodingTrainer:
    """Keeps an encoding's optimiser between calls of :meth:`fit`, which go on where they were.

    Args:
        encoding: what learns, on its device.
        config: how.
        seed: root of all that is random.

    Attributes:
        fits: how often it was trained.
        steps: gradient steps so far.
    """

    def __init__(
        self, encoding: Encoding, config: EncodingTrainingConfig | None = None, *, seed: int = 0
    ) -> None:
        self.encoding, self.config = encoding, config or EncodingTrainingConfig()
        self.fits, self.steps = 0, 0
        self._seed = seed
        self._parameters = dict(encoding.named_parameters())
        # One fused kernel in place of several a weight: here most of a step's time.
        self._optimizer = torch.optim.Adam(
            self._parameters.values(), lr=self.config.learning_rate, fused=_can_fuse(encoding)
        )

    def fit(self, vectors: Tensor) -> dict[str, float]:
        """Some passes over vectors ``(N, X) float32``, in an order that is new each time.

        Returns:
            The loss and its parts, of the last pass.

        Raises:
            ValueError: there are no vectors, or of another size.
            FloatingPointError: the loss is not finite.
        """
        encoding, config = self.encoding, self.config
        encoding.check_vectors(vectors)
        if not len(vectors):
            raise ValueError("vectors: expected at least one to learn from, got none")
        device = encoding.device
        generator = torch_generator(self._seed, "encoding", self.fits, device=device)
        vectors = vectors.to(device)
        sums: dict[str, Tensor] = {}
        count = 0
        encoding.train()
        for epoch in range(config.epochs):
            for group in self._optimizer.param_groups:
                group["lr"] = config.rate(epoch)
            order = torch.randperm(len(vectors), generator=generator, device=device)
            for rows in torch.split(order, config.batch_size):
                values = self._step(vectors[rows], vectors, generator)
                if epoch == config.epochs - 1:
                    sums = {name: sums.get(name, 0.0) + value for name, value in values.items()}
                    count += 1
        encoding.eval()
        self.fits += 1
        figures = {name: float(value) / count for name, value in sums.items()}
        if not all(map(_is_finite, figures.values())):
            raise FloatingPointError(
                f"encoding: its loss is {figures['loss']} after {self.steps} steps; lower "
                f"learning_rate, which is {config.learning_rate}"
            )
        return figures

    def state(self) -> tuple[dict[str, Tensor], dict[str, int]]:
        """Tensors and numbers that :meth:`restore` goes on from, to the same bits."""
        tensors = {f"encoding.{k}": v for k, v in self.encoding.state_dict().items()}
        for name, parameter in self._parameters.items():
            for key, value in self._optimizer.state[parameter].items():
                tensors[f"adam.{key}.{name}"] = value
        return tensors, {"fits": self.fits, "steps": self.steps}

    def restore(self, tensors: Mapping[str, Tensor], numbers: Mapping[str, int]) -> None:
        """Takes on a state of :meth:`state`."""
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
        """Batches without end."""
        while True:
            yield vectors[
                torch.randint(
                    len(vectors),
                    (self.config.batch_size,),
                    generator=generator,
                    device=vectors.device,
                )
            ]


def _can_fuse(encoding: Encoding) -> bool:
    return encoding.device.type in ("cpu", "cuda")


def _is_finite(value: float) -> bool:
    return abs(value) < float("inf")
