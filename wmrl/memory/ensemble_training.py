"""Training of ensembles of memories."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from wmrl.core.device import resolve_device
from wmrl.core.seeding import integer_seed
from wmrl.data.store import RolloutStore
from wmrl.memory.ensemble import MemoryEnsemble, ensemble_class
from wmrl.memory.mdn_rnn import MDNRNNConfig
from wmrl.memory.trainable import TrainableMemoryConfig
from wmrl.memory.training import MemoryTrainingConfig, train_memory
from wmrl.storage.artifact import load_artifact
from wmrl.storage.files import write_json
from wmrl.storage.run import Run
from wmrl.vision.base import Vision


def train_ensemble(
    stores: Sequence[RolloutStore],
    path: str | Path,
    *,
    vision: Vision,
    num_members: int = 2,
    pessimism: float = 1.0,
    noise_floor: float = 0.0,
    config: TrainableMemoryConfig | None = None,
    training: MemoryTrainingConfig | None = None,
    init: Sequence[str | Path] | None = None,
    device: str | torch.device = "auto",
    progress: bool = True,
) -> MemoryEnsemble:
    """Trains members one after another, each from its own seed, and joins them.

    The folder ``path`` is a run; it ends up with ``member-0/`` and so on, each the run of a
    :func:`~wmrl.memory.training.train_memory`, and with ``artifact/`` and ``report.json`` of the
    ensemble.

    Args:
        stores: rollouts of one task.
        path: folder of the run.
        vision: vision model that was saved or loaded.
        num_members: M, the number of members.
        pessimism: standard deviations over the members that are subtracted from the mean reward.
        noise_floor: lower bound on every Gaussian's σ in the dream.
        config: architecture and loss of a member.
        training: training options of each member.
        init: one artifact per member (name or path), for the initial weights.
        device: device to train on.
        progress: show progress bars.

    Returns:
        The ensemble with the weights of its artifact.

    Raises:
        ValueError: ``init`` has not one artifact per member, or what
            :func:`~wmrl.memory.training.train_memory` raises, as all its errors.
    """
    path, config = Path(path), config or MDNRNNConfig()
    training = training or MemoryTrainingConfig.default_for(config)
    kind = ensemble_class(config)
    kind.config_class(  # raises before anything is trained
        num_members=num_members, pessimism=pessimism, noise_floor=noise_floor
    )
    if init is not None and len(init) != num_members:
        raise ValueError(f"init: expected {num_members} artifacts, one per member, got {len(init)}")
    provenance = {
        "command": "train-memory",
        "num_members": num_members,
        "pessimism": pessimism,
        "noise_floor": noise_floor,
    }
    with Run(path, config=provenance):
        trained = [
            train_memory(
                stores,
                path / f"member-{number}",
                vision=vision,
                config=config,
                training=replace(training, seed=integer_seed(training.seed, "member", number)),
                init=None if init is None else init[number],
                device=device,
                progress=progress,
            )
            for number in range(num_members)
        ]
        if (path / "report.json").exists():
            artifact = load_artifact(path / "artifact", kind="memory")
            return kind.from_artifact(artifact).to(resolve_device(device))
        ensemble = kind.of(trained, pessimism=pessimism, noise_floor=noise_floor)
        digests = [member.digest for member in trained]
        digest = ensemble.save(path / "artifact", provenance={**provenance, "digests": digests})
        write_json(path / "report.json", {"digest": digest, "members": digests})
        return ensemble
