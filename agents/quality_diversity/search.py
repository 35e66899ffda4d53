"""One search for elites of a planar arm, in a folder of its own: what ``search-elites`` does."""

import json
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch

from wmrl.agents.quality_diversity.archive import Elites, load_elites
from wmrl.agents.quality_diversity.baselines import RibsMethod, archive_row, search_with_ribs
from wmrl.agents.quality_diversity.dde import DDE, DDEConfig, EncodingConfig
from wmrl.agents.quality_diversity.heatmap import film_map, write_map
from wmrl.agents.quality_diversity.presets import EliteTask, encoding_config, usual_fill
from wmrl.agents.quality_diversity.problems import ArmProblem
from wmrl.storage.artifact import load_artifact, package_versions
from wmrl.storage.run import Run, RunError

Algorithm = Literal["dde", "dde-published", "iso", "line", "cma-me", "cma-mae"]
"""DDE with wmrl's settings or with those of its paper, and the searches of ``ribs``."""

EncodingName = Literal["auto", "vae", "vqvae", "fsq", "none"]
"""What DDE learns of its elites; "auto" is a VAE with DDE and nothing with others."""

_BATCH = 100  # DDE's, as in its paper
_CHECKPOINT = "ribs"


@dataclass(frozen=True, kw_only=True)
class EliteSearchConfig:
    """What is searched, and how.

    Attributes:
        problem: an arm and the cells of its archive.
        algorithm: how it is searched.
        encoding: what DDE learns.
        evaluations: the budget. Whole batches are evaluated, so that the last one may go beyond
            it; what DDE begins with comes on top of it.
        fill: share of the cells that random arms fill at the start; if None as
            :func:`~wmrl.agents.quality_diversity.presets.usual_fill` has it.
        seed: root of all that is random.
    """

    problem: ArmProblem = field(default_factory=ArmProblem)
    algorithm: Algorithm = "dde"
    encoding: EncodingName = "auto"
    evaluations: int = 100_000
    fill: float = None  # type: ignore[assignment]  # is set at once
    seed: int = 0

    def __post_init__(self) -> None:
        for name, known in (("algorithm", Algorithm), ("encoding", EncodingName)):
            if getattr(self, name) not in get_args(known):
                raise ValueError(
                    f"{name}: expected one of {', '.join(get_args(known))}, got "
                    f"{getattr(self, name)!r}"
                )
        if self.encoding == "auto":
            object.__setattr__(self, "encoding", "vae" if self.learns else "none")
        if self.encoding != "none" and not self.learns:
            raise ValueError(
                f"encoding: expected 'none' with {self.algorithm!r}, which learns none, got "
                f"{self.encoding!r}; leave it out, or search with 'dde'"
            )
        if self.evaluations < 1:
            raise ValueError(f"evaluations: expected at least 1, got {self.evaluations}")
        if self.fill is None:
            share = usual_fill(self.problem.size)  # type: ignore[unreachable]
            object.__setattr__(self, "fill", share)
        if not 0.0 < self.fill <= 0.5:
            raise ValueError(f"fill: expected a share in (0, 0.5], got {self.fill}")
        if self.seed < 0:
            raise ValueError(f"seed: expected a non-negative integer, got {self.seed}")

    @property
    def learns(self) -> bool:
        """Whether the algorithm is DDE, which may learn an encoding."""
        return self.algorithm in ("dde", "dde-published")

    def describe(self) -> dict[str, Any]:
        """What a run of it depends on, JSON-able."""
        own = {name: getattr(self, name) for name in vars(self) if name != "problem"}
        described: dict[str, Any] = json.loads(json.dumps(self.problem.describe() | own))
        return described

    def dde(self) -> DDEConfig:
        """The settings of DDE.

        Raises:
            ValueError: another algorithm searches.
        """
        if not self.learns:
            raise ValueError(f"algorithm: expected one of DDE's, got {self.algorithm!r}")
        make = DDEConfig if self.algorithm == "dde" else DDEConfig.as_published
        settings: dict[str, Any] = {"encoding": self._encoding()}
        if self.encoding == "none":
            settings["crossovers"] = (0.0,)
        generations = -(-self.evaluations // _BATCH)
        return make(generations=generations, batch_size=_BATCH, fill=self.fill, **settings)

    def _encoding(self) -> EncodingConfig | None:
        kind = self.encoding
        if kind == "none" or kind == "auto":
            return None
        # Data-Driven Encodings' 10 latents at 20 joints and 32 at 200 are on this line.
        latents = min(32, max(1, self.problem.size // 2))
        task = EliteTask(problem=self.problem, latent_size=latents)
        return encoding_config(kind, task)


class EliteSearchResult(NamedTuple):
    """What a search found.

    Attributes:
        elites: at its end.
        figures: ``evaluations``, ``coverage``, ``mean_fitness``, ``best_fitness``, ``qd_score``.
        snapshots: ``(S, cells) float32``, objectives over time, NaN where a cell was empty.
    """

    elites: Elites
    figures: dict[str, float]
    snapshots: np.ndarray


def search_elites(
    path: str | Path,
    config: EliteSearchConfig,
    *,
    init: str | Path | None = None,
    device: str | torch.device = "auto",
    progress: bool = True,
) -> EliteSearchResult:
    """Searches for elites in a run's folder, and writes what it found there.

    That is the artifact ``elites/``, the map ``map.png``, and its film ``map.mp4``. DDE's search,
    in ``run/``, goes on to the same bits after it was killed; the others begin anew. A search that
    is done is not made again.

    Args:
        path: the folder.
        config: what is searched, and how.
        init: an artifact of elites whose solutions are evaluated first, for DDE.
        device: where an encoding learns.
        progress: show a progress bar.

    Raises:
        RunError: the folder is in use, or belongs to a search of another configuration.
        ArtifactError: ``init`` is no artifact of elites, or something else has the artifact's name.
        ValueError: ``path`` is a file, ``init`` does not fit the arm or the algorithm, or random
            arms fill too few cells or take the whole budget.
    """
    path = Path(path)
    solutions, digest = (None, None) if init is None else _opened(init, config)
    new = not path.exists()
    if not new and not path.is_dir():
        raise ValueError(f"path: expected a folder, or nothing yet, got the file {path}")
    try:
        with Run(path, config={"search": "elites", **config.describe(), "init": digest}) as run:
            if config.learns:
                found = _learn(path / "run", config, solutions, device, progress)
            else:
                found = _search(run, config, progress)
            _write(path, config, found, digest)
    except RunError:  # the folder may be another's
        raise
    except ValueError:
        # Options that nothing can be begun with must not be in the way of those that mend them.
        if new and not list(path.rglob("*.checkpoint")):
            shutil.rmtree(path, ignore_errors=True)
        raise
    return found


def _opened(init: str | Path, config: EliteSearchConfig) -> tuple[np.ndarray, str]:
    """Solutions to begin with, and the digest of their artifact."""
    if not config.learns:
        raise ValueError(
            f"init: expected none with {config.algorithm!r}, which begins with random arms, got "
            f"{str(init)!r}; leave it out, or search with 'dde'"
        )
    solutions, size = load_elites(init)[0].solutions, config.problem.size
    if solutions.ndim != 2 or solutions.shape[1] != size:
        raise ValueError(
            f"init: expected elites of {size} numbers, one a joint, got an array of shape "
            f"{solutions.shape} in {str(init)!r}; give others, or an arm of as many joints"
        )
    return solutions, load_artifact(init).digest


def _learn(
    path: Path,
    config: EliteSearchConfig,
    init: np.ndarray | None,
    device: str | torch.device,
    progress: bool,
) -> EliteSearchResult:
    """DDE, from its last checkpoint on."""
    settings = config.dde()
    with DDE(
        config.problem, settings, path=path, seed=config.seed, init=init, device=device
    ) as search:
        search.learn(progress=progress)
        assert search.elites is not None
        archive, snapshots = search.archive(), search.snapshots
        if settings.generations % settings.snapshot_every:  # a film ends with the end
            last = config.problem.archive.snapshot(archive)
            snapshots = np.concatenate((snapshots, last[None]))
        return EliteSearchResult(search.elites, archive_row(archive, search.evaluations), snapshots)


def _search(run: Run, config: EliteSearchConfig, progress: bool) -> EliteSearchResult:
    """A search of ``ribs``, unless it is there already."""
    checkpoint = run.load_checkpoint(_CHECKPOINT)
    if checkpoint is not None:
        tensors = dict(checkpoint.tensors)
        snapshots = tensors.pop("snapshots").numpy()
        return EliteSearchResult(Elites.from_tensors(tensors), checkpoint.state, snapshots)
    assert config.algorithm in get_args(RibsMethod)
    found = search_with_ribs(
        config.problem,
        config.algorithm,  # type: ignore[arg-type]
        evaluations=config.evaluations,
        fill=config.fill,
        seed=config.seed,
        progress=progress,
    )
    tensors = found.elites.tensors() | {"snapshots": torch.from_numpy(found.snapshots)}
    run.save_checkpoint(_CHECKPOINT, tensors, found.rows[-1])
    return EliteSearchResult(found.elites, found.rows[-1], found.snapshots)


def _write(
    path: Path, config: EliteSearchConfig, found: EliteSearchResult, init: str | None
) -> None:
    """The map, its film, and the artifact."""
    archive = config.problem.archive
    title = f"{config.problem.size} joints, {config.algorithm}"
    write_map(path / "map.png", archive, found.elites, title=title)
    film_map(path / "map.mp4", archive, found.snapshots)
    found.elites.save(path / "elites", archive, provenance=_provenance(config, found, init))


def _provenance(
    config: EliteSearchConfig, found: EliteSearchResult, init: str | None
) -> dict[str, Any]:
    settings = {**config.describe(), "init": init}
    if config.learns:
        settings["dde"] = asdict(config.dde())
    return {
        "command": "search-elites",
        "settings": settings,
        "seed": config.seed,
        "evaluations": int(found.figures["evaluations"]),
        "figures": found.figures,
        "versions": package_versions("ribs"),
    }
