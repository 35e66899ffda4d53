from pathlib import Path
from typing import Any

import pytest
import torch

from wmrl.data.store import RolloutStore
from wmrl.memory.base import load_memory
from wmrl.memory.code_memory import CodeMemoryConfig
from wmrl.memory.ensemble import CodeMemoryEnsemble, MemoryEnsemble
from wmrl.memory.ensemble_training import train_ensemble
from wmrl.memory.mdn_rnn import MDNRNNConfig
from wmrl.memory.start_states import StartStatesConfig
from wmrl.memory.trainable import TrainableMemory
from wmrl.memory.training import MemoryTrainingConfig
from wmrl.vision.vae import VAE
from wmrl.vision.vqvae import VQVAE

_SMALL = MDNRNNConfig(hidden_dim=12, num_mixtures=2)
_SHORT = MemoryTrainingConfig(
    steps=12,
    batch_size=4,
    sequence_length=8,
    log_every=2,
    checkpoint_every=4,
    start_states=StartStatesConfig(burn_in=3, max_states=10),
)


def test_an_ensemble_is_made_of_members_that_differ(
    store: RolloutStore, vision: VAE, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train() -> MemoryEnsemble:
        return train_ensemble(
            [store],
            tmp_path / "ensemble",
            vision=vision,
            num_members=2,
            pessimism=0.5,
            config=_SMALL,
            training=_SHORT,
            device="cpu",
            progress=False,
        )

    ensemble = train()
    members = [
        load_memory(tmp_path / "ensemble" / f"member-{number}" / "artifact", device="cpu")
        for number in range(2)
    ]
    for number, member in enumerate(members):
        for name, value in member.named_parameters():
            assert torch.equal(value, ensemble.state_dict()[f"members.{number}.{name}"])
    assert members[0].digest != members[1].digest
    assert torch.equal(ensemble.start_mean, members[0].start_mean)
    loaded = load_memory(tmp_path / "ensemble" / "artifact", device="cpu")
    assert loaded.digest == ensemble.digest
    assert loaded.config.pessimism == 0.5
    monkeypatch.delattr(TrainableMemory, "loss")
    assert train().digest == ensemble.digest  # opened


def test_wrong_ensembles_are_named(store: RolloutStore, vision: VAE, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="num_members: expected at least 1, got 0"):
        train_ensemble([store], tmp_path, vision=vision, num_members=0)
    with pytest.raises(ValueError, match="init: expected 2 artifacts, one per member, got 1"):
        train_ensemble([store], tmp_path, vision=vision, num_members=2, init=["one"])


def test_an_ensemble_in_discrete_latents(
    store: RolloutStore, discrete: VQVAE, tmp_path: Path
) -> None:
    config = CodeMemoryConfig(hidden_dim=8, token_dim=4)
    options: dict[str, Any] = {"vision": discrete, "config": config, "training": _SHORT}
    ensemble = train_ensemble([store], tmp_path, **options, device="cpu", progress=False)
    assert isinstance(ensemble, CodeMemoryEnsemble)
    loaded = load_memory(tmp_path / "artifact", device="cpu")
    assert (loaded.num_start_states, loaded.config.num_members) == (10, 2)
    first, second = (member.state_dict()["heads.weight"] for member in loaded.members)
    assert not torch.equal(first, second)
    assert torch.equal(loaded.members[1].codebook, discrete.quantizer.codebook())
    with pytest.raises(
        ValueError, match="noise_floor: expected 0 for a memory with discrete latents"
    ):
        train_ensemble([store], tmp_path / "other", **options, noise_floor=0.1)
