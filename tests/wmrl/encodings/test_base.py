"""Encodings of vectors, and their repeated training."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from wmrl.encodings.base import Encoding, load_encoding
from wmrl.encodings.trainer import EncodingTrainer, EncodingTrainingConfig
from wmrl.encodings.vector_vae import VectorVAE, VectorVAEConfig
from wmrl.encodings.vector_vqvae import VectorVQVAE, VectorVQVAEConfig
from wmrl.storage.artifact import ArtifactError, save_artifact

CODES: dict[str, Any] = {
    "input_dim": 6,
    "num_tokens": 3,
    "hidden_dims": (32,),
    "codebook_size": 16,
    "code_dim": 4,
}
CONFIGS = {
    "vae": VectorVAEConfig(input_dim=6, latent_dim=3, kl_weight=0.01, hidden_dims=(32,)),
    "autoencoder": VectorVAEConfig(input_dim=6, latent_dim=3, kl_weight=0, hidden_dims=(32,)),
    "vqvae": VectorVQVAEConfig(warmup_steps=20, **CODES),
    "fsq": VectorVQVAEConfig(quantizer="fsq", warmup_steps=0, levels=(4, 4), **CODES),
}


def make(kind: str, seed: int = 0) -> Encoding:
    config = CONFIGS[kind]
    generator = torch.Generator().manual_seed(seed)
    if isinstance(config, VectorVQVAEConfig):
        return VectorVQVAE(config, generator=generator)
    return VectorVAE(config, generator=generator)


def vectors(seed: int, count: int = 256) -> Tensor:
    """Vectors whose six numbers are functions of two."""
    angles = 2 * torch.pi * torch.rand(count, 2, generator=torch.Generator().manual_seed(seed))
    return 0.9 * torch.cat((angles.sin(), angles.cos(), 0.5 * angles.sin()), 1)


@pytest.mark.parametrize("kind", CONFIGS)
def test_it_learns_a_curve(kind: str) -> None:
    config = EncodingTrainingConfig(weight_penalty=0, learning_rate=3e-3)
    trainer = EncodingTrainer(make(kind), config)
    first = trainer.fit(vectors(0))
    for _ in range(20):
        last = trainer.fit(vectors(0))
    assert trainer.steps == 21 * 5 * 4
    assert last["squared_error"] < 0.2 * first["squared_error"]
    judged = vectors(1)
    with torch.no_grad():
        error = (trainer.encoding.reconstruct(judged) - judged).square().sum(1).mean()
    assert error < 0.2 * judged.var(0).sum()
    assert not trainer.encoding.training


@pytest.mark.parametrize("kind", CONFIGS)
def test_it_goes_on_to_the_same_bits(kind: str) -> None:
    whole = EncodingTrainer(make(kind), seed=3)
    for _ in range(4):
        metrics = whole.fit(vectors(0, 100))
    begun = EncodingTrainer(make(kind), seed=3)
    for _ in range(2):
        begun.fit(vectors(0, 100))
    resumed = EncodingTrainer(make(kind, seed=9), seed=3)
    resumed.restore(*begun.state())
    for _ in range(2):
        again = resumed.fit(vectors(0, 100))
    assert again == metrics
    for name, value in whole.encoding.state_dict().items():
        assert torch.equal(value, resumed.encoding.state_dict()[name]), name


@pytest.mark.parametrize("kind", CONFIGS)
def test_an_artifact_gives_the_same_encoding(kind: str, tmp_path) -> None:
    encoding = make(kind).eval()
    with torch.no_grad():
        encoding.save(tmp_path / "a")
        loaded = load_encoding(tmp_path / "a", device="cpu")
        assert loaded.config == encoding.config
        assert loaded.digest == encoding.digest
        assert torch.equal(loaded.reconstruct(vectors(0)), encoding.reconstruct(vectors(0)))


def test_the_loss_of_a_vae_is_what_its_paper_says() -> None:
    """By hand: μ = 0.5, log σ² = 0, so KL = 0.125; the decoder gives zeros."""
    vae = VectorVAE(VectorVAEConfig(input_dim=2, latent_dim=1, kl_weight=0.1, hidden_dims=(1,)))
    with torch.no_grad():
        for weights in vae.parameters():
            weights.zero_()
        vae.encoder[-1].bias[0] = 0.5
    loss, parts = vae.loss(torch.tensor([[0.5, -1.0]]), torch.Generator())
    assert parts["squared_error"] == pytest.approx(1.25)
    assert parts["kl"] == pytest.approx(0.125)
    assert loss.item() == pytest.approx(1.2625)


def test_metrics_are_of_the_means_and_the_divergence() -> None:
    """By hand: means ±1 and 0, with log σ² = 0, so KL = 0.5, and one of two dimensions varies."""
    vae = VectorVAE(VectorVAEConfig(input_dim=2, latent_dim=2, hidden_dims=(4,)))
    with torch.no_grad():
        for weights in vae.parameters():
            weights.zero_()
        vae.encoder[0].weight[:2, 0] = torch.tensor([1.0, -1.0])
        vae.encoder[2].weight[0, :2] = torch.tensor([1.0, -1.0])
    batches = [torch.tensor([[1.0, 0.3]]), torch.tensor([[-1.0, 0.3]])]
    assert vae.metrics(batches) == {"kl": 0.5, "active_dimensions": 1}
    assert set(make("autoencoder").metrics([vectors(0)])) == {"active_dimensions"}


def test_an_autoencoder_has_no_noise() -> None:
    encoding = make("autoencoder")
    seeds = [torch.Generator().manual_seed(seed) for seed in (0, 1)]
    losses = {encoding.loss(vectors(0), seed)[0].item() for seed in seeds}
    assert len(losses) == 1


def test_the_penalty_lets_fade_what_all_vectors_share() -> None:
    """Vectors that are all the same teach nothing but an offset."""
    same = torch.full((64, 6), 0.5)
    found = []
    for penalty in (0.0, 0.5):
        config = EncodingTrainingConfig(weight_penalty=penalty, learning_rate=6e-3)
        trainer = EncodingTrainer(make("vae"), config)
        for _ in range(40):
            trainer.fit(same)
        with torch.no_grad():
            found.append(float(trainer.encoding.reconstruct(same).mean()))
    assert found[0] == pytest.approx(0.5, abs=0.05)
    assert found[1] < 0.45 < found[0]


def test_a_warm_up_reconstructs_without_codes() -> None:
    """Before there is a codebook, all codes would be one."""
    trainer = EncodingTrainer(make("vqvae"), seed=3)
    trainer.fit(vectors(0, 100))  # 10 of 20 steps of the warm-up
    encoding, judged = trainer.encoding, vectors(1)
    assert isinstance(encoding, VectorVQVAE)
    assert not encoding.quantizing
    with torch.no_grad():
        assert torch.equal(encoding.encode(judged), encoding.encoder(judged))
        assert len(encoding.reconstruct(judged).unique(dim=0)) == len(judged)
    resumed = EncodingTrainer(make("vqvae", seed=9), seed=3)
    resumed.restore(*trainer.state())
    assert not resumed.encoding.quantizing
    for _ in range(2):
        trainer.fit(vectors(0, 100))
    assert encoding.quantizing
    with torch.no_grad():
        assert torch.equal(encoding.encode(judged), encoding.latents_of(encoding.codes(judged)))
    resumed.restore(*trainer.state())
    assert resumed.encoding.quantizing


def test_the_learning_rate_drops_within_a_training() -> None:
    config = EncodingTrainingConfig(learning_rate=1e-2, decay=0.5, decay_every=2)
    assert [config.rate(epoch) for epoch in range(5)] == [1e-2, 1e-2, 5e-3, 5e-3, 2.5e-3]
    assert EncodingTrainingConfig(learning_rate=1e-2).rate(999) == 1e-2
    # One pass at a vanishing rate after one that learns is the same as that one alone.
    ends = []
    for options in ({"epochs": 1}, {"epochs": 2, "decay": 1e-30, "decay_every": 1}):
        trainer = EncodingTrainer(make("vae"), EncodingTrainingConfig(**options))
        trainer.fit(vectors(0))
        ends.append(trainer.encoding.state_dict())
    for name, value in ends[0].items():
        assert torch.equal(value, ends[1][name]), name


def test_clear_errors(tmp_path) -> None:
    trainer = EncodingTrainer(make("vae"))
    with pytest.raises(ValueError, match=r"vectors: expected shape \(B, 6\), got \(3, 5\)"):
        trainer.fit(torch.zeros(3, 5))
    with pytest.raises(ValueError, match="expected at least one to learn from"):
        trainer.fit(torch.zeros(0, 6))
    with pytest.raises(FloatingPointError, match="with a learning_rate below"):
        trainer.fit(torch.full((3, 6), math.inf))
    with pytest.raises(ValueError, match="latents: expected shape"):
        trainer.encoding.decode(torch.zeros(2, 4))
    for wrong in ({"epochs": 0}, {"learning_rate": 0.0}, {"weight_penalty": -1.0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            EncodingTrainingConfig(**wrong)
    for wrong in ({"input_dim": 0}, {"hidden_dims": (0,)}, {"kl_weight": -1}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            VectorVAEConfig(**wrong)
    save_artifact(
        tmp_path / "x",
        kind="encoding",
        class_name="Mystery",
        config={},
        tensors={"a": torch.ones(1)},
    )
    with pytest.raises(ArtifactError, match="unknown encoding class 'Mystery'"):
        load_encoding(tmp_path / "x")


@pytest.mark.parametrize("kind", CONFIGS)
def test_vectors_of_double_precision_are_taken(kind: str) -> None:
    """Archives of ``ribs`` hold them by default."""
    trainers = [EncodingTrainer(make(kind), seed=3) for _ in range(2)]
    single = vectors(0, 100)
    assert trainers[0].fit(single) == trainers[1].fit(single.double())
    encoding = trainers[0].encoding
    with torch.no_grad():
        latents = encoding.encode(single.double())
        assert torch.equal(latents, encoding.encode(single))
        assert torch.equal(encoding.decode(latents.double()), encoding.decode(latents))
        assert torch.equal(encoding.reconstruct(single.double()), encoding.reconstruct(single))
