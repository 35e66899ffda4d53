"""Training a binary VAE, and what is to be said of it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from wmrl.binary_vae import BinaryVAE, BinaryVAEConfig
from wmrl.seeding import torch_generator


@dataclass(frozen=True, kw_only=True)
class BinaryTrainingConfig:
    """How a binary VAE learns: Adam over shuffled batches.

    Attributes:
        epochs: passes over the data.
        batch_size: vectors in a batch.
        learning_rate: Adam's at the start.
        milestones: epochs from which on it is a tenth of what it was.
    """

    epochs: int = 500
    batch_size: int = 32
    learning_rate: float = 3e-4
    milestones: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "milestones", tuple(self.milestones))
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate: expected above 0, got {self.learning_rate}")


REGIMES = {
    "constant": BinaryTrainingConfig(learning_rate=3e-4),
    "decayed": BinaryTrainingConfig(learning_rate=3e-2, milestones=(10, 100, 450)),
}
"""Two that lead to latents of another shape."""


def train_binary_vae(
    vectors: Tensor,
    *,
    config: BinaryVAEConfig | None = None,
    training: BinaryTrainingConfig | None = None,
    seed: int = 0,
) -> tuple[BinaryVAE, list[float]]:
    """Trains on binary vectors ``(N, X) float32``.

    Args:
        vectors: the data, on the device to train on.
        config: sizes; X is taken from the data.
        training: how.
        seed: root of weights, order and noise.

    Returns:
        The model, and the mean ELBO of each epoch's batches in nats.

    Raises:
        ValueError: there are no vectors.
    """
    if vectors.ndim != 2 or len(vectors) == 0:
        raise ValueError(f"vectors: expected shape (N, X), N > 0, got {tuple(vectors.shape)}")
    training = training or BinaryTrainingConfig()
    config = config or BinaryVAEConfig(size=vectors.shape[1])
    device = vectors.device
    vae = BinaryVAE(config, generator=torch_generator(seed, "binary vae", "weights")).to(device)
    optimizer = torch.optim.Adam(vae.parameters(), training.learning_rate)
    order = torch_generator(seed, "binary vae", "order", device=device)
    noise = torch_generator(seed, "binary vae", "noise", device=device)
    curve = []
    for epoch in range(training.epochs):
        for group in optimizer.param_groups:
            passed = sum(epoch >= milestone for milestone in training.milestones)
            group["lr"] = training.learning_rate * 0.1**passed
        total = torch.zeros((), device=device)
        shuffled = torch.randperm(len(vectors), generator=order, device=device)
        for rows in torch.split(shuffled, training.batch_size):
            optimizer.zero_grad()
            bound = vae.elbo(vectors[rows], noise)
            (-bound.mean()).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total += bound.detach().sum()
        curve.append(total / len(vectors))
    return vae, torch.stack(curve).tolist()


@torch.no_grad()
def bounds(vae: BinaryVAE, vectors: Tensor, *, seed: int, draws: int = 5000) -> dict[str, float]:
    """How well vectors ``(N, X)`` are explained that it was not trained on.

    Returns:
        ``elbo``, over 100 draws each, and ``log_evidence``, importance-sampled over ``draws``;
        means in nats a vector.
    """
    generator = torch_generator(seed, "bounds", device=vectors.device)
    elbo = torch.stack([vae.elbo(vectors, generator) for _ in range(100)]).mean()
    evidence = torch.cat(
        [vae.log_evidence(part, generator, draws=draws) for part in torch.split(vectors, 50)]
    )
    return {"elbo": float(elbo), "log_evidence": float(evidence.mean())}
