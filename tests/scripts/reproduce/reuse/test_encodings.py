import numpy as np
import pytest
import torch

from wmrl.encodings.trainer import EncodingTrainingConfig
from wmrl.encodings.vector_vae import VectorVAE, VectorVAEConfig
from wmrl.encodings.vector_vqvae import VectorVQVAEConfig
from wmrl.scripts.reproduce.reuse.encodings import (
    TRAINING,
    judge_encoding,
    learn_encoding,
    reuse_config,
)

CONFIGS = {
    "vae": VectorVAEConfig(size=8, latent_size=4, hidden_sizes=(32,), kl_weight=1e-4),
    "vqvae": VectorVQVAEConfig(
        size=8, tokens=4, codes=16, code_size=3, hidden_sizes=(32,), commitment=0.01
    ),
}
SHORT = EncodingTrainingConfig(epochs=60, weight_penalty=0.0, learning_rate=3e-3)


def even_arms(count=600):
    """Arms of two curvatures, as small as those of elites."""
    curves = np.random.default_rng(0).uniform(-0.2, 0.2, (2, count, 1))
    return np.concatenate([np.tile(curve, 4) for curve in curves], axis=1).astype(np.float32)


@pytest.mark.parametrize("kind", CONFIGS)
def test_it_learns_what_elites_differ_by(kind, tmp_path) -> None:
    encoding, figures = learn_encoding(CONFIGS[kind], even_arms(), tmp_path, seed=0, training=SHORT)
    assert figures["explained"] > 0.8
    assert figures["moved"] < 0.1
    assert figures["std_reconstructed"] == pytest.approx(figures["std"], rel=0.2)
    if kind == "vae":
        assert 2 <= figures["active"] <= 4
    else:
        assert figures["utilisation"] > 0.3
    again, same = learn_encoding(CONFIGS[kind], even_arms(), tmp_path, seed=0, training=SHORT)
    assert same == figures
    assert again.digest == encoding.digest
    with pytest.raises(ValueError, match="holds one of other settings"):
        learn_encoding(CONFIGS[kind], even_arms(), tmp_path, seed=1, training=SHORT)


def test_the_weight_of_the_papers_divergence_leaves_no_latents(tmp_path) -> None:
    config = VectorVAEConfig(size=8, latent_size=4, hidden_sizes=(32,), kl_weight=0.5)
    _, figures = learn_encoding(config, even_arms(), tmp_path, seed=0, training=SHORT)
    assert figures["active"] == 0
    assert figures["explained"] < 0.1


def test_the_figures_by_hand() -> None:
    """A decoder that gives zeros: all arms become the straight one."""
    vae = VectorVAE(VectorVAEConfig(size=2, latent_size=1))
    with torch.no_grad():
        for weights in vae.decoder.parameters():
            weights.zero_()
    figures = judge_encoding(vae, torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
    assert figures["squared_error"] == 1.0
    assert figures["explained"] == 0.0
    assert figures["moved"] == pytest.approx(2**0.5)
    assert figures["std"] == pytest.approx(np.pi / 4)
    assert figures["std_reconstructed"] == 0.0


def test_configurations_and_errors(tmp_path) -> None:
    for kind in ("vae", "vqvae"):
        assert reuse_config(kind, 200).size == 200
    assert TRAINING.weight_penalty == 0
    with pytest.raises(ValueError, match="kind: expected 'vae' or 'vqvae', got 'pca'"):
        reuse_config("pca", 200)
    with pytest.raises(ValueError, match="vectors: expected at least 20 to learn from, got 19"):
        learn_encoding(CONFIGS["vae"], even_arms(19), tmp_path, seed=0)
