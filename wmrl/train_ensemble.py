"""Training several memories that dream as one."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from wmrl.artifact import load_artifact
from wmrl.code_memory import CodeMemoryConfig
from wmrl.code_memory_ensemble import CodeMemoryEnsemble
from wmrl.device import resolve_device
from wmrl.mdn_rnn import MDNRNNConfig
from wmrl.memory_ensemble import MemoryEnsemble
from wmrl.report_files import write_report
from wmrl.run import Run
from wmrl.seeding import integer_seed
from wmrl.store import RolloutStore
from wmrl.train_memory import MemoryTrainingConfig, train_memory
from wmrl.vision import Vision


def train_ensemble(
    stores: Sequence[RolloutStore],
    path: str | Path,
    *,
    vision: Vision,
    members: int = 2,
    pessimism: float = 1.0,
    noise_floor: float = 0.0,
    config: MDNRNNConfig | CodeMemoryConfig | None = None,
    training: MemoryTrainingConfig | None = None,
    init: Sequence[str | Path] | None = None,
    device: str | torch.device = "auto",
    progress: bool = True,
) -> MemoryEnsemble:
    """Trains members one after another, each from seeds of its own, and joins them.

    The folder ``path`` is a run; it ends up with ``member-0/`` and so on, each the run of a
    :func:`~wmrl.train_memory.train_memory`, and the ensemble's ``artifact/`` and ``report.json``.

    Args:
        stores: rollouts of one task.
        path: folder of the run.
        vision: the eye, saved or loaded.
        members: M, how many.
        pessimism: standard deviations over members that are taken off the mean reward.
        noise_floor: floor under every Gaussian's σ in the dream.
        config: sizes and loss of a member.
        training: how long and how fast each member learns.
        init: one artifact a member to start from.
        device: where to train.
        progress: show progress bars.

    Returns:
        The ensemble as its artifact holds it.

    Raises:
        ValueError: ``init`` does not name one artifact a member; and whatever
            :func:`~wmrl.train_memory.train_memory` raises.
    """
    path, symbols = Path(path), isinstance(config, CodeMemoryConfig)
    if training is None:
        training = MemoryTrainingConfig.symbols() if symbols else MemoryTrainingConfig()
    kind = CodeMemoryEnsemble if symbols else MemoryEnsemble
    kind.config_class(members=members, pessimism=pessimism, noise_floor=noise_floor)  # complains
    if init is not None and len(init) != members:
        raise ValueError(f"init: expected {members} artifacts, one a member, got {len(init)}")
    provenance = {
        "command": "train-memory",
        "members": members,
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
            for number in range(members)
        ]
        if (path / "report.json").exists():
            artifact = load_artifact(path / "artifact", kind="memory")
            return kind.from_artifact(artifact).to(resolve_device(device))
        ensemble = kind.of(trained, pessimism=pessimism, noise_floor=noise_floor)
        digests = [member.digest for member in trained]
        digest = ensemble.save(path / "artifact", provenance={**provenance, "digests": digests})
        write_report(path / "report.json", {"digest": digest, "members": digests})
        return ensemble
