"""Training a memory from rollout stores and a vision."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from wmrl.core.device import resolve_device
from wmrl.core.seeding import integer_seed, torch_generator
from wmrl.data.split import DataSplit, split_episodes
from wmrl.data.store import RolloutStore
from wmrl.memory.code_memory import CodeMemory, CodeMemoryConfig
from wmrl.memory.dataset import LatentDataset, LatentEpisode, encode_store, load_latents
from wmrl.memory.ensemble import CodeMemoryEnsemble, MemoryEnsemble
from wmrl.memory.evaluation import code_report, open_loop_report, prediction_report
from wmrl.memory.mdn_rnn import MDNRNN, MDNRNNConfig
from wmrl.memory.start_states import DreamStartsConfig, choose_starts
from wmrl.storage.artifact import ArtifactError, load_artifact
from wmrl.storage.files import write_report
from wmrl.storage.run import Run
from wmrl.training.trainer import Trainer, TrainingConfig
from wmrl.vision.base import Vision
from wmrl.vision.vqvae import VQVAE


@dataclass(frozen=True, kw_only=True)
class MemoryTrainingConfig(TrainingConfig):
    """How a memory learns; see :class:`~wmrl.training.trainer.TrainingConfig`.

    Attributes:
        batch_size: sequences in a batch.
        gradient_clip: bound on the gradient's norm.
        sequence_length: L, transitions in a sequence.
        starts: which recorded states the memory keeps for dreams to start in.
    """

    steps: int = 2500
    batch_size: int = 48
    gradient_clip: float | None = 1.0
    sequence_length: int = 48
    starts: DreamStartsConfig = field(default_factory=DreamStartsConfig)

    @classmethod
    def symbols(cls, **options: Any) -> Self:
        """What suits a memory in symbols, whose loss has many small parts; with other options."""
        return cls(**{"batch_size": 16, "learning_rate": 3e-3} | options)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sequence_length < 1:
            raise ValueError(f"sequence_length: expected at least 1, got {self.sequence_length}")


def train_memory(
    stores: Sequence[RolloutStore],
    path: str | Path,
    *,
    vision: Vision,
    config: MDNRNNConfig | CodeMemoryConfig | None = None,
    training: MemoryTrainingConfig | None = None,
    init: str | Path | None = None,
    device: str | torch.device = "auto",
    progress: bool = True,
) -> MDNRNN | CodeMemory:
    """Trains a memory on what a vision sees in one or several stores.

    The stores are encoded once, beside their episodes. The folder ``path`` is a run, as that of
    :func:`~wmrl.vision.training.train_vision`; it ends up with ``artifact/`` (with the states in
    which dreams start), ``report.json`` of held-out figures and ``metrics.csv``.

    Args:
        stores: rollouts of one task.
        path: folder of the run.
        vision: the eye, saved or loaded.
        config: sizes and loss of an MDN-RNN (the default's if None) or of a memory in symbols;
            what the stores and the vision know better is taken from them.
        training: how long and how fast; what suits the memory's kind if None.
        init: artifact (name or path) of a memory of the same kind whose weights to start from.
        device: where to train.
        progress: show progress bars.

    Returns:
        The memory as its artifact holds it.

    Raises:
        ValueError: the stores are empty or of different tasks, the vision was never saved, or
            it sees no codes where the memory is to foretell them.
        RunError: the folder is in use, or belongs to another run.
        ArtifactError: ``init`` can't be opened, or is of another configuration's shapes.
    """
    path, resolved = Path(path), resolve_device(device)
    config = _fit(config or MDNRNNConfig(), stores, vision)
    if training is None:
        symbols = isinstance(config, CodeMemoryConfig)
        training = MemoryTrainingConfig.symbols() if symbols else MemoryTrainingConfig()
    training = _with_warmup(training, stores[0])
    split = split_episodes(stores, held_out=training.held_out)
    provenance = {
        "command": "train-memory",
        "data": [store.content_hash() for store in stores],
        "memory": asdict(config),
        "training": asdict(training),
        "init": None if init is None else load_artifact(init, kind="memory").digest,
    }
    with Run(path, config=provenance) as run:
        if (path / "report.json").exists():
            done = load_artifact(path / "artifact")
            kind = MDNRNN if isinstance(config, MDNRNNConfig) else CodeMemory
            return kind.from_artifact(done).to(resolved)
        for store in stores:
            encode_store(store, vision, progress=progress)
        train, held_out = (load_latents(episodes, vision) for episodes in split)
        starts = choose_starts(
            train, training.starts, frame_skip=config.frame_skip, seed=training.seed
        )
        memory = _initial(config, vision, training, init).to(resolved)
        trainer = Trainer(memory, run, training, label="memory", progress=progress)
        _train(memory, trainer, train, training)
        memory.set_starts(starts.mean, starts.std, starts.actions)
        memory.eval()
        digest = memory.save(path / "artifact", provenance={**provenance, "steps": trainer.step})
        report = {
            "digest": digest,
            "steps": trainer.step,
            "episodes": {"train": len(train), "held_out": len(held_out)},
            "starts": {"count": len(starts.mean), "rule": starts.rule},
            "held_out": _judge(memory, vision, split, train, held_out or train, training),
        }
        write_report(path / "report.json", report)
        return memory


def _fit(
    config: MDNRNNConfig | CodeMemoryConfig, stores: Sequence[RolloutStore], vision: Vision
) -> MDNRNNConfig | CodeMemoryConfig:
    """The configuration with what the stores and the vision know."""
    if vision.digest is None:
        raise ValueError("vision: it has no digest; save it first, so that a memory can name it")
    if not stores:
        raise ValueError("stores: expected at least one, got none")
    metadata = stores[0].metadata
    origin: dict[str, Any] = {
        "action_size": metadata.action_size,
        "task": metadata.task,
        "frame_skip": metadata.frame_skip,
        "vision_digest": vision.digest,
    }
    if isinstance(config, MDNRNNConfig):
        return replace(config, latent_size=vision.latent_size, **origin)
    if not isinstance(vision, VQVAE):
        raise ValueError(
            f"vision: a memory in symbols needs a VQ-VAE, got a {type(vision).__name__}; train one "
            "with 'wmrl train-vision --kind vqvae', or choose an MDN-RNN"
        )
    origin |= {"codes": vision.code_count, "code_size": vision.quantiser.size}
    return replace(config, grid=vision.config.grid, **origin)


def _with_warmup(training: MemoryTrainingConfig, store: RolloutStore) -> MemoryTrainingConfig:
    if training.starts.warmup_frames is not None:
        return training
    starts = replace(training.starts, warmup_frames=store.metadata.warmup_frames)
    return replace(training, starts=starts)


def _initial(
    config: MDNRNNConfig | CodeMemoryConfig,
    vision: Vision,
    training: MemoryTrainingConfig,
    init: str | Path | None,
) -> MDNRNN | CodeMemory:
    generator = torch_generator(training.seed, "memory weights")
    memory: MDNRNN | CodeMemory
    if isinstance(config, MDNRNNConfig):
        memory = MDNRNN(config, generator=generator)
    else:
        assert isinstance(vision, VQVAE), "checked with the configuration"
        memory = CodeMemory(config, generator=generator)
        memory.set_codebook(vision.quantiser.codebook().detach().cpu())
    if init is None:
        return memory
    artifact = load_artifact(init, kind="memory")
    given = {name: artifact.tensors.get(name) for name, _ in memory.named_parameters()}
    for name, parameter in memory.named_parameters():
        found = given[name]
        if found is None or found.shape != parameter.shape:
            raise ArtifactError(
                f"{artifact.path}: weights do not fit: {name!r} expected shape "
                f"{tuple(parameter.shape)}, got {None if found is None else tuple(found.shape)}"
            )
        parameter.data.copy_(found)
    return memory


def _train(
    memory: MDNRNN | CodeMemory,
    trainer: Trainer,
    episodes: Sequence[LatentEpisode],
    training: MemoryTrainingConfig,
) -> None:
    data = LatentDataset(
        episodes,
        length=training.sequence_length,
        batch_size=training.batch_size,
        seed=training.seed,
        device=memory.device,
    )

    def loss_at(step: int) -> tuple[Tensor, dict[str, Tensor]]:
        masks = torch_generator(training.seed, "memory dropout", step, device=memory.device)
        return memory.loss(data.batch(step), masks)

    trainer.train(loss_at)


def _judge(
    memory: MDNRNN | CodeMemory,
    vision: Vision,
    split: DataSplit,
    train: Sequence[LatentEpisode],
    latents: Sequence[LatentEpisode],
    training: MemoryTrainingConfig,
) -> dict[str, Any]:
    data = LatentDataset(
        latents,
        length=training.sequence_length,
        batch_size=training.batch_size,
        seed=training.seed,
        device=memory.device,
    )
    figures = prediction_report(memory, data)
    if isinstance(memory, CodeMemory):
        figures |= code_report(memory, train, latents)
    return {
        **figures,
        "open_loop": open_loop_report(
            memory,
            vision,
            split.held_out or split.train,
            latents,
            burn_in=training.starts.burn_in,
            seed=training.seed,
        ),
    }


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
    :func:`~wmrl.memory.training.train_memory`, and the ensemble's ``artifact/`` and
    ``report.json``.

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
            :func:`~wmrl.memory.training.train_memory` raises.
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
