"""The VQ-VAE for vectors."""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from wmrl.encodings.vector_vqvae import VectorVQVAE, VectorVQVAEConfig
from wmrl.nn.dense import ReZero

SMALL: dict[str, Any] = {
    "input_dim": 6,
    "num_tokens": 3,
    "hidden_dims": (32,),
    "codebook_size": 16,
    "code_dim": 4,
    "levels": (4, 4),
}


def data(seed: int) -> Tensor:
    """Vectors ``(256, 6)`` that lie on a curve: all six numbers are functions of two."""
    generator = torch.Generator().manual_seed(seed)
    angles = 2 * torch.pi * torch.rand(256, 2, generator=generator)
    return torch.cat((angles.sin(), angles.cos(), 0.5 * angles.sin()), 1)


def train(config: VectorVQVAEConfig, steps: int) -> VectorVQVAE:
    model = VectorVQVAE(config)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for step in range(steps):
        generator = torch.Generator().manual_seed(step)

        def draw(step: int = step) -> Iterator[Tensor]:
            return map(data, itertools.count(step))

        model.prepare(step, draw, generator)
        optimizer.zero_grad()
        loss, _ = model.loss(data(step), generator)
        loss.backward()
        optimizer.step()
    return model.eval()


@pytest.mark.parametrize("quantizer", ["ema", "gradient", "fsq"])
def test_it_learns_a_curve(quantizer: str) -> None:
    config = VectorVQVAEConfig(quantizer=quantizer, warmup_steps=100, **SMALL)  # type: ignore[arg-type]
    model = train(config, 600)
    judged = data(10_000)
    with torch.no_grad():
        error = (model.decode(model.encode(judged)) - judged).square().sum(1).mean()
    assert error < 0.15 * judged.var(0).sum()
    assert model.metrics([judged])["utilization"] > 0.5


@torch.no_grad()
def test_codes_and_latents_are_each_other_s() -> None:
    model = VectorVQVAE(VectorVQVAEConfig(**SMALL))
    model.quantizer.init_codebook(torch.randn(64, 4), generator=torch.Generator().manual_seed(0))
    vectors = data(0)
    codes = model.codes(vectors)
    assert codes.shape == (256, 3)
    latents = model.latents_of(codes)
    assert torch.equal(latents, model.encode(vectors))
    assert torch.equal(model.codes_of(latents), codes)
    assert model.decode(latents).shape == vectors.shape


def test_rezero_layers_begin_as_the_identity() -> None:
    deep: dict[str, Any] = SMALL | {"hidden_dims": (32, 32, 32), "quantizer": "gradient"}
    model = VectorVQVAE(VectorVQVAEConfig(rezero=True, **deep))
    layers = [type(layer).__name__ for layer in model.encoder]
    assert layers == ["Linear", "ReLU", "ReZero", "ReZero", "Linear"]
    assert [type(layer).__name__ for layer in model.decoder] == layers
    hidden = torch.randn(5, 32)
    layer = model.encoder[2]
    assert torch.equal(layer(hidden), hidden)
    with torch.no_grad():
        layer.gate.fill_(0.5)
        expected = hidden + 0.5 * layer.linear(hidden).clamp(min=0.0)
        assert torch.equal(layer(hidden), expected)


@pytest.mark.slow
def test_a_network_of_rezero_layers_learns() -> None:
    deep: dict[str, Any] = SMALL | {"hidden_dims": (32,) * 6}
    model = train(VectorVQVAEConfig(rezero=True, warmup_steps=100, **deep), 500)
    judged = data(10_000)
    with torch.no_grad():
        error = (model.decode(model.encode(judged)) - judged).square().sum(1).mean()
    assert error < 0.15 * judged.var(0).sum()
    gates = [layer.gate for layer in model.encoder if isinstance(layer, ReZero)]
    assert len(gates) == 5
    assert all(abs(float(gate.detach())) > 1e-3 for gate in gates)


def test_same_seed_same_weights() -> None:
    pair = [
        VectorVQVAE(VectorVQVAEConfig(**SMALL), generator=torch.Generator().manual_seed(4))
        for _ in range(2)
    ]
    for first, second in zip(*(model.state_dict().values() for model in pair), strict=True):
        assert torch.equal(first, second)


def test_what_does_not_fit_is_named() -> None:
    model = VectorVQVAE(VectorVQVAEConfig(**SMALL))
    with pytest.raises(ValueError, match=r"vectors: expected shape \(B, 6\), got \(2, 5\)"):
        model.codes(torch.zeros(2, 5))
    with pytest.raises(ValueError, match=r"latents: expected shape \(B, 12\), got \(2, 11\)"):
        model.decode(torch.zeros(2, 11))
    with pytest.raises(ValueError, match="expected values from 0 to 15, got values from 16"):
        model.latents_of(torch.full((1, 3), 16))
    with pytest.raises(ValueError, match="num_tokens: expected at least 1, got 0"):
        VectorVQVAEConfig(**SMALL | {"num_tokens": 0})
    with pytest.raises(ValueError, match="hidden_dims: expected at least 1, got 0"):
        VectorVQVAEConfig(**SMALL | {"hidden_dims": (4, 0)})
