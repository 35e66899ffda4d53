from collections.abc import Callable

import pytest

from wmrl.data.store import RolloutStore
from wmrl.training.trainer import TrainingConfig
from wmrl.vision.training import train_vision
from wmrl.vision.vae import VAE, VAEConfig
from wmrl.vision.vqvae import VQVAE, VQVAEConfig

MakeRollouts = Callable[..., RolloutStore]


@pytest.fixture(scope="module")
def store(make_rollouts: MakeRollouts) -> RolloutStore:
    return make_rollouts((24, 9, 17, 30))


@pytest.fixture(scope="module")
def vision(tmp_path_factory: pytest.TempPathFactory) -> VAE:
    vision = VAE(VAEConfig(base_channels=4, latent_dim=6)).eval()
    vision.save(tmp_path_factory.mktemp("vision") / "vision")
    return vision


@pytest.fixture(scope="module")
def discrete(store: RolloutStore, tmp_path_factory: pytest.TempPathFactory) -> VQVAE:
    path = tmp_path_factory.mktemp("discrete")
    config = VQVAEConfig(
        base_channels=4,
        residual_channels=2,
        codebook_size=6,
        code_dim=3,
        warmup_steps=4,
        num_downsamplings=5,
    )
    training = TrainingConfig(steps=12, batch_size=8, log_every=2, checkpoint_every=4)
    vision = train_vision(
        [store], path, config=config, training=training, device="cpu", progress=False
    )
    assert isinstance(vision, VQVAE)
    return vision
