"""Configuration of Data-Driven Encodings (DDE), and creation of encodings."""

from dataclasses import dataclass, field
from typing import Any, Literal, Self

import torch

from wmrl.agents.quality_diversity.emitters import Mutation
from wmrl.core.config import check_fields
from wmrl.core.validation import check_choice, check_float, check_int
from wmrl.encodings.base import ENCODINGS, Encoding
from wmrl.encodings.trainer import EncodingTrainingConfig
from wmrl.encodings.vector_vae import VectorVAEConfig
from wmrl.encodings.vector_vqvae import VectorVQVAEConfig

EncodingConfig = VectorVAEConfig | VectorVQVAEConfig


@dataclass(frozen=True, kw_only=True)
class DDEConfig:
    """Configuration of :class:`~wmrl.agents.quality_diversity.dde.DDE`.

    The defaults find more and better elites than the published settings of Data-Driven Encodings.
    :meth:`as_published` returns the published settings.

    Attributes:
        generations: number of generations, each of which evaluates one batch.
        batch_size: number of solutions per batch.
        initial_coverage: share of the archive's cells to fill with random solutions before the
            first generation.
        crossovers: choices for the share of reconstructions in a batch, from 0 to 1. The encoding
            reconstructs elites; the rest of a batch consists of mutations of elites. There is one
            emitter for each pair of a share and a mutation operator.
        mutations: mutation operators.
        reward: reward of the bandit, which selects an emitter in each generation: ``"entered"`` or
            ``"qd_score"``, as in
            :class:`~wmrl.agents.quality_diversity.bandit.BanditScheduler`.
        window: number of latest generations whose rewards the bandit takes into account.
        exploration: weight of the bandit's exploration bonus.
        encoding: configuration of the encoding; None for no encoding. With None, ``crossovers``
            must be ``(0.0,)``.
        training: configuration of the encoding's training.
        train_every: number of generations between two trainings of the encoding.
        log_every: number of generations between two rows of metrics.
        checkpoint_every: number of generations between two checkpoints, a multiple of
            ``log_every``. The archive is rebuilt at each checkpoint, so the result of a search
            depends on this number. The result does not depend on interruptions.
        snapshots: approximate number of snapshots of the archive, taken at equal intervals, for a
            video.
    """

    generations: int = 10_000
    batch_size: int = 100
    initial_coverage: float = 0.05
    crossovers: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0)
    mutations: tuple[Mutation, ...] = (
        Mutation(),
        Mutation(iso_sigma=0.03, line_sigma=0.0),
        # Large changes of a few numbers reach cells that small changes of all numbers do not.
        Mutation(iso_sigma=0.3, line_sigma=0.0, density=0.01, frontier=True),
    )
    reward: Literal["entered", "qd_score"] = "qd_score"
    window: int = 200
    exploration: float = 0.5
    encoding: EncodingConfig | None = field(default_factory=VectorVAEConfig)
    training: EncodingTrainingConfig = field(default_factory=EncodingTrainingConfig)
    train_every: int = 10
    log_every: int = 50
    checkpoint_every: int = 100
    snapshots: int = 100

    def __post_init__(self) -> None:
        for name in ("crossovers", "mutations"):
            object.__setattr__(self, name, _distinct(name, getattr(self, name)))
        counts = ("generations", "batch_size", "window", "train_every", "log_every")
        for name in (*counts, "checkpoint_every", "snapshots"):
            check_int(name, getattr(self, name), at_least=1)
        if not all(isinstance(each, Mutation) for each in self.mutations):
            raise TypeError(
                f"mutations: expected Mutation objects, got {self.mutations}; pass for example "
                "(Mutation(),)"
            )
        for share in self.crossovers:
            check_float("crossovers", share, at_least=0, at_most=1)
        check_choice("reward", self.reward, ("entered", "qd_score"))
        check_float("exploration", self.exploration, at_least=0)
        check_float("initial_coverage", self.initial_coverage, above=0, at_most=0.5)
        if self.checkpoint_every % self.log_every:
            raise ValueError(
                f"checkpoint_every: expected a multiple of log_every ({self.log_every}), got "
                f"{self.checkpoint_every}; change one of the two"
            )
        if not isinstance(self.encoding, EncodingConfig | None):
            raise TypeError(
                "encoding: expected None or the configuration of an encoding (for example "
                f"VectorVAEConfig()), got {self.encoding!r}"
            )
        check_fields(self)
        if self.encoding is None and max(self.crossovers) > 0:
            raise ValueError(
                f"crossovers: expected (0.0,) if encoding is None, got {self.crossovers}; set "
                "crossovers to (0.0,), or choose an encoding"
            )

    @property
    def bandit_arms(self) -> tuple[tuple[float, Mutation], ...]:
        """Arms of the bandit: a pair ``(share of reconstructions, mutation)`` for each emitter."""
        return tuple((share, each) for share in self.crossovers for each in self.mutations)

    @classmethod
    def as_published(cls, **changes: Any) -> Self:
        """Returns a configuration with the published settings of Data-Driven Encodings.

        Args:
            changes: values that replace published settings, by field name.
        """
        published: dict[str, Any] = {
            "mutations": (Mutation(), Mutation(line_sigma=0.0)),
            "reward": "entered",
            "window": 1000,
            "exploration": 2**0.5,
            "training": EncodingTrainingConfig(weight_penalty=0.0),
            "train_every": 1,
        }
        return cls(**published | changes)

    @property
    def snapshot_every(self) -> int:
        """Number of generations between two snapshots of the archive."""
        return max(1, self.generations // self.snapshots)


def make_encoding(config: EncodingConfig, *, generator: torch.Generator | None = None) -> Encoding:
    """Creates an encoding from its configuration.

    Args:
        config: configuration of a VAE, a VQ-VAE or a registered encoding.
        generator: random number generator for the initial weights; None for a generator with a
            fixed seed.
    """
    return ENCODINGS.for_config(config)(config, generator=generator)


def _distinct(name: str, values: Any) -> tuple[Any, ...]:
    """Converts the values of the field ``name`` to a tuple.

    Raises:
        ValueError: there are no values, or two values are equal.
    """
    try:
        found = tuple(values)
    except TypeError:  # also of arrays without axes, which claim to be iterable
        found = ()
    if not found:
        raise ValueError(
            f"{name}: expected a tuple of at least one value, got {values!r}; pass a tuple such as "
            "the default of DDEConfig"
        )
    if any(each in found[:place] for place, each in enumerate(found)):
        raise ValueError(
            f"{name}: expected distinct values, got {values!r}; remove the repeated values"
        )
    return found
