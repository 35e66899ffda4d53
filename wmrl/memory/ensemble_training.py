"""Training of ensembles of memories."""

from collections.abc import Iterable, Sequence
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
from wmrl.storage.files import write_json
from wmrl.storage.finished import finished_artifact
from wmrl.storage.run import Run
from wmrl.training.callbacks import Callback, check_callbacks
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
    callbacks: Iterable[Callback] = (),
    progress: bool = True,
) -> MemoryEnsemble:
    """Trains memories with different seeds, and combines them in an ensemble.

    The folder ``path`` holds a run (:class:`~wmrl.storage.run.Run`). A call with the same arguments
    resumes an interrupted run, or loads the result of a finished one. The finished run contains
    ``artifact/`` and ``report.json`` of the ensemble. The folders ``member-0/``, ``member-1/`` and
    so on contain the members' own runs, written by
    :func:`~wmrl.memory.training.train_memory`.

    Args:
        stores: rollout stores of one task.
        path: folder of the run.
        vision: vision model that has been saved, or loaded from an artifact.
        num_members: M, the number of members.
        pessimism: penalty for disagreement between the members. The predicted reward is the mean of
            the members' rewards minus ``pessimism`` times the standard deviation of these rewards.
        noise_floor: lower bound on the σ of each predicted Gaussian; 0 for no additional bound.
        config: configuration of each member; None for an MDN-RNN with default options.
        training: training options of each member; None for the defaults of the members' class. The
            members' seeds are derived from ``training.seed``.
        init: names or paths of artifacts with the members' initial weights, one per member; None
            for random initial weights.
        device: device to train on; ``"auto"`` for a GPU if there is one.
        callbacks: callbacks of the trainings of all members, one after another; see
            :func:`~wmrl.memory.training.train_memory`. A callback that ends a training ends that of
            one member.
        progress: True to show progress bars.

    Returns:
        The trained ensemble, as saved in the artifact.

    Raises:
        ValueError: ``init`` does not have ``num_members`` entries, an option is out of range, there
            is no ensemble class for members with this ``config``, or
            :func:`~wmrl.memory.training.train_memory` rejects an argument.
        StoreError: an episode can't be read.
        RunError: the folder is in use, or belongs to another run.
        ArtifactError: an artifact in ``init`` cannot be loaded, or its weights do not fit the
            member.
    """
    path, config = Path(path), config or MDNRNNConfig()
    callbacks = check_callbacks(callbacks)
    training = training or MemoryTrainingConfig.default_for(config)
    kind = ensemble_class(config)
    kind.config_class(  # checks the options before anything is trained
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
                callbacks=callbacks,
                progress=progress,
            )
            for number in range(num_members)
        ]
        digests = [member.digest for member in trained]
        done = finished_artifact(path, kind="memory")
        # The members of a finished ensemble may have been trained further.
        if done is not None and done.provenance.get("digests") == digests:
            return kind.from_artifact(done).to(resolve_device(device))
        ensemble = kind.of(trained, pessimism=pessimism, noise_floor=noise_floor)
        digest = ensemble.save(path / "artifact", provenance={**provenance, "digests": digests})
        write_json(path / "report.json", {"digest": digest, "members": digests})
        return ensemble
