import numpy as np
import pytest
import torch

from wmrl.encodings.trainer import EncodingTrainingConfig
from wmrl.encodings.vector_vae import VectorVAE, VectorVAEConfig
from wmrl.encodings.vector_vqvae import VectorVQVAEConfig
from wmrl.scripts.reproduce.reuse.encodings import (
    TRAINING,
    evaluate_encoding,
    reuse_config,
    train_encoding,
)

CONFIGS = {
    "vae": VectorVAEConfig(input_dim=8, latent_dim=4, hidden_dims=(32,), kl_weight=1e-4),
    "vqvae": VectorVQVAEConfig(
        input_dim=8, num_tokens=4, codebook_size=16, code_dim=3, hidden_dims=(32,), commitment=0.01
    ),
}
SHORT = EncodingTrainingConfig(epochs=60, weight_penalty=0.0, learning_rate=3e-3)


def even_arms(count=600):
    """Poses of two curvatures, as small as those of elites."""
    curves = np.random.default_rng(0).uniform(-0.2, 0.2, (2, count, 1))
    return np.concatenate([np.tile(curve, 4) for curve in curves], axis=1).astype(np.float32)


@pytest.mark.parametrize("kind", CONFIGS)
def test_it_learns_the_differences_of_elites(kind, tmp_path) -> None:
    encoding, metrics = train_encoding(CONFIGS[kind], even_arms(), tmp_path, seed=0, training=SHORT)
    assert metrics["explained"] > 0.8
    assert metrics["moved"] < 0.1
    assert metrics["std_reconstructed"] == pytest.approx(metrics["std"], rel=0.2)
    if kind == "vae":
        assert 2 <= metrics["active"] <= 4
    else:
        assert metrics["utilization"] > 0.3
    again, same = train_encoding(CONFIGS[kind], even_arms(), tmp_path, seed=0, training=SHORT)
    assert same == metrics
    assert again.digest == encoding.digest
    with pytest.raises(ValueError, match="which has other settings"):
        train_encoding(CONFIGS[kind], even_arms(), tmp_path, seed=1, training=SHORT)


def test_a_large_kl_weight_leaves_no_active_latents(tmp_path) -> None:
    config = VectorVAEConfig(input_dim=8, latent_dim=4, hidden_dims=(32,), kl_weight=0.5)
    _, metrics = train_encoding(config, even_arms(), tmp_path, seed=0, training=SHORT)
    assert metrics["active"] == 0
    assert metrics["explained"] < 0.1


def test_the_metrics_by_hand() -> None:
    """The decoder returns zeros, so that all poses become the straight one."""
    vae = VectorVAE(VectorVAEConfig(input_dim=2, latent_dim=1))
    with torch.no_grad():
        for weights in vae.decoder.parameters():
            weights.zero_()
    metrics = evaluate_encoding(vae, torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
    assert metrics["squared_error"] == 1.0
    assert metrics["explained"] == 0.0
    assert metrics["moved"] == pytest.approx(2**0.5)
    assert metrics["std"] == pytest.approx(np.pi / 4)
    assert metrics["std_reconstructed"] == 0.0


def test_configurations_and_errors(tmp_path) -> None:
    for kind in ("vae", "vqvae"):
        assert reuse_config(kind, 200).input_dim == 200
    assert TRAINING.weight_penalty == 0
    with pytest.raises(ValueError, match="kind: expected 'vae' or 'vqvae', got 'pca'"):
        reuse_config("pca", 200)
    with pytest.raises(ValueError, match="vectors: expected at least 20 poses, got 19"):
        train_encoding(CONFIGS["vae"], even_arms(19), tmp_path, seed=0)
