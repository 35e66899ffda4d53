"""Training of one memory from rollout stores and a vision model."""

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from wmrl.core.device import resolve_device
from wmrl.core.seeding import torch_generator
from wmrl.core.validation import check_int
from wmrl.data.reward_scale import largest_reward
from wmrl.data.split import DataSplit, split_episodes
from wmrl.data.store import RolloutStore
from wmrl.memory.base import MEMORIES
from wmrl.memory.code_memory import CodeMemory
from wmrl.memory.dataset import LatentDataset, LatentEpisode, encode_store, load_latents
from wmrl.memory.discrete import DiscreteMemory
from wmrl.memory.evaluation import code_report, memory_warnings, prediction_report
from wmrl.memory.mdn_rnn import MDNRNNConfig
from wmrl.memory.open_loop import hazard_report, hazard_warnings, open_loop_report
from wmrl.memory.start_states import StartStatesConfig, choose_start_states
from wmrl.memory.trainable import TrainableMemory, TrainableMemoryConfig
from wmrl.storage.artifact import ArtifactError, load_artifact
from wmrl.storage.files import write_json
from wmrl.storage.finished import finished_artifact
from wmrl.storage.run import Run
from wmrl.training.callbacks import Callback, check_callbacks
from wmrl.training.learning_warning import warn_of_learning
from wmrl.training.trainer import TRAINING_LIMITS, Trainer, TrainingConfig
from wmrl.vision.base import Vision


@dataclass(frozen=True, kw_only=True)
class MemoryTrainingConfig(TrainingConfig):
    """Training options of a memory.

    Options that are not described here are those of
    :class:`~wmrl.training.trainer.TrainingConfig`.

    Attributes:
        batch_size: number of sequences in a batch.
        gradient_clip: maximum norm of the gradient; None for no clipping.
        sequence_length: L, number of transitions in a sequence.
        start_states: options for choosing the recorded states from which dreams start.
    """

    steps: int = 2500
    batch_size: int = 48
    gradient_clip: float | None = 1.0
    sequence_length: int = 48
    start_states: StartStatesConfig = field(default_factory=StartStatesConfig)

    @classmethod
    def discrete(cls, **options: Any) -> Self:
        """Returns the default training options of :class:`~wmrl.memory.code_memory.CodeMemory`.

        Args:
            **options: training options by name, which replace the defaults.
        """
        return cls(**{**CodeMemory.training_defaults, **options})

    def __post_init__(self) -> None:
        super().__post_init__()
        check_int("sequence_length", self.sequence_length, at_least=1)

    @classmethod
    def default_for(cls, config: TrainableMemoryConfig) -> Self:
        """Returns the default training options of a memory with a given configuration."""
        return cls(**trainable_class(config).training_defaults)


def train_memory(
    stores: Sequence[RolloutStore],
    path: str | Path,
    *,
    vision: Vision,
    config: TrainableMemoryConfig | None = None,
    training: MemoryTrainingConfig | None = None,
    init: str | Path | None = None,
    device: str | torch.device = "auto",
    callbacks: Iterable[Callback] = (),
    progress: bool = True,
) -> TrainableMemory[Any]:
    """Trains a memory on the latents of one or several stores.

    Episodes that are not encoded yet are first encoded by
    :func:`~wmrl.memory.dataset.encode_store`. The folder ``path`` holds a run
    (:class:`~wmrl.storage.run.Run`). A call with the same arguments resumes an interrupted run, or
    loads the result of a finished one. The finished run contains ``artifact/``, ``metrics.csv``,
    and ``report.json`` with held-out metrics. The artifact includes the start states of dreams.

    Args:
        stores: rollout stores of one task.
        path: folder of the run.
        vision: vision model that has been saved, or loaded from an artifact.
        config: configuration of the memory. Its class determines the class of the memory. None for
            an MDN-RNN with default options. Fields that the stores and the vision model determine
            are overwritten.
        training: training options; None for those of :meth:`MemoryTrainingConfig.default_for`.
        init: name or path of the artifact of a memory with the same architecture. Its weights are
            the initial weights. None for random initial weights.
        device: device to train on; ``"auto"`` for a GPU if there is one.
        callbacks: callbacks of the training, see :class:`~wmrl.training.callbacks.Callback`; called
            in addition to those that write ``metrics.csv`` and TensorBoard events.
        progress: True to show progress bars.

    Returns:
        The trained memory, as saved in the artifact.

    Raises:
        ValueError: there are no stores or no episodes to train on; the stores have different
            metadata; the vision model was never saved; the vision model does not fit the frames of
            the stores; the memory needs a VQ-VAE, and the vision model is not one; or ``config``
            is not the configuration of a trainable memory.
        StoreError: an episode can't be read.
        RunError: the folder is in use, or belongs to another run.
        ArtifactError: ``init`` cannot be loaded, or its weights do not fit the memory.

    Warns:
        LearningWarning: the memory's predictions are no better than trivial ones. ``report.json``
            contains the text of the warning under the key ``"warnings"``.
    """
    path, resolved = Path(path), resolve_device(device)
    callbacks = check_callbacks(callbacks)
    config = _fit(config or MDNRNNConfig(), stores, vision, init)
    if training is None:
        training = MemoryTrainingConfig.default_for(config)
    training = _with_starts_of(stores[0], training)
    split = split_episodes(stores, held_out=training.held_out)
    provenance = {
        "command": "train-memory",
        "data": [store.content_hash() for store in stores],
        "memory": asdict(config),
        "training": asdict(training),
        "init": None if init is None else load_artifact(init, kind="memory").digest,
    }
    with Run(path, config=provenance, limits=TRAINING_LIMITS) as run:
        if (done := finished_artifact(path, kind="memory")) is not None:
            return trainable_class(config).from_artifact(done).to(resolved)
        for store in stores:
            encode_store(store, vision, progress=progress)
        train, held_out = (load_latents(episodes, vision) for episodes in split)
        starts = choose_start_states(
            train, training.start_states, frame_skip=config.frame_skip, seed=training.seed
        )
        memory = _initial(config, vision, training, init).to(resolved)

        def save(path: Path, *, provenance: Mapping[str, Any]) -> str:
            copy = deepcopy(memory)
            copy.set_start_states(starts.mean, starts.std, starts.actions)
            return copy.save(path, provenance=provenance)

        trainer = Trainer(
            memory,
            run,
            training,
            label="memory",
            progress=progress,
            callbacks=callbacks,
            save=save,
        )
        _train(memory, trainer, train, training)
        memory.set_start_states(starts.mean, starts.std, starts.actions)
        memory.eval()
        digest = memory.save(path / "artifact", provenance={**provenance, "steps": trainer.step})
        metrics = _evaluate(memory, vision, split, train, held_out or train, training)
        report: dict[str, Any] = {
            "digest": digest,
            "steps": trainer.step,
            "episodes": {"train": len(train), "held_out": len(held_out)},
            "start_states": {"count": len(starts.mean), "rule": starts.rule},
            "held_out": metrics,
            "warnings": memory_warnings(metrics) + hazard_warnings(metrics["hazard"]),
        }
        write_json(path / "report.json", report)
        warn_of_learning(report["warnings"])
        return memory


def trainable_class(config: TrainableMemoryConfig) -> type[TrainableMemory[Any]]:
    """Returns the memory class that a configuration belongs to.

    Raises:
        ValueError: the configuration belongs to no memory class, or the class does not derive from
            :class:`~wmrl.memory.trainable.TrainableMemory`.
    """
    cls = MEMORIES.for_config(config)
    if not issubclass(cls, TrainableMemory):
        raise ValueError(
            f"config: expected the configuration of a TrainableMemory, got a "
            f"{type(config).__name__}; to train an ensemble, use train_ensemble"
        )
    return cls


def _fit(
    config: TrainableMemoryConfig,
    stores: Sequence[RolloutStore],
    vision: Vision,
    init: str | Path | None,
) -> TrainableMemoryConfig:
    """Returns a copy of ``config`` that fits the stores, the vision model and ``init``."""
    if vision.digest is None:
        raise ValueError(
            "vision: expected a saved vision model, got one that was never saved; save it first "
            "with vision.save(path)"
        )
    if not stores:
        raise ValueError("stores: expected at least one rollout store, got none")
    vision.check_store(stores[0])
    cls = trainable_class(config)
    metadata = stores[0].metadata
    origin: dict[str, Any] = {
        "action_dim": metadata.action_space.dim,
        "num_options": metadata.action_space.num_options,
        "task": metadata.task,
        "frame_skip": metadata.frame_skip,
        "vision_digest": vision.digest,
    }
    if config.reward_scale is None:
        origin["reward_scale"] = _reward_scale(stores, init)
    fitted: TrainableMemoryConfig = cls.fit_config(config, vision)
    return replace(fitted, **origin)


def _reward_scale(stores: Sequence[RolloutStore], init: str | Path | None) -> float:
    """Returns the reward scale of ``init``, or a scale that suits the data if ``init`` is None."""
    if init is not None:
        scale: float | None = load_artifact(init, kind="memory").config.get("reward_scale")
        return 1.0 if scale is None else scale  # checked with the configuration
    largest = largest_reward(stores)
    return 1.0 / largest if largest > 0 else 1.0


def _with_starts_of(store: RolloutStore, training: MemoryTrainingConfig) -> MemoryTrainingConfig:
    """Replaces each start-state option that is None with its value in the store's metadata."""
    starts, metadata = training.start_states, store.metadata
    if starts.warmup_frames is None:
        starts = replace(starts, warmup_frames=metadata.warmup_frames)
    if starts.window is None:
        starts = replace(starts, window=metadata.start_window)
    return replace(training, start_states=starts)


def _initial(
    config: TrainableMemoryConfig,
    vision: Vision,
    training: MemoryTrainingConfig,
    init: str | Path | None,
) -> TrainableMemory[Any]:
    generator = torch_generator(training.seed, "memory weights")
    memory = trainable_class(config)(config, generator=generator)
    memory.bind_vision(vision)
    if init is None:
        return memory
    artifact = load_artifact(init, kind="memory")
    given = {name: artifact.tensors.get(name) for name, _ in memory.named_parameters()}
    for name, parameter in memory.named_parameters():
        found = given[name]
        if found is None or found.shape != parameter.shape or found.dtype != parameter.dtype:
            raise ArtifactError(
                f"{artifact.path}: weights {name!r} do not fit: expected shape "
                f"{tuple(parameter.shape)} and dtype {parameter.dtype}, got "
                f"{'none' if found is None else (tuple(found.shape), found.dtype)}; for init, "
                "choose a memory with the same architecture"
            )
        parameter.data.copy_(found)
    return memory


def _train(
    memory: TrainableMemory[Any],
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


def _evaluate(
    memory: TrainableMemory[Any],
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
    metrics = prediction_report(memory, data)
    if isinstance(memory, DiscreteMemory):
        metrics |= code_report(memory, train, latents)
    return {
        **metrics,
        "open_loop": open_loop_report(
            memory,
            vision,
            split.held_out or split.train,
            latents,
            burn_in=training.start_states.burn_in,
            seed=training.seed,
        ),
        "hazard": hazard_report(
            memory, latents, burn_in=training.start_states.burn_in, seed=training.seed
        ),
    }
