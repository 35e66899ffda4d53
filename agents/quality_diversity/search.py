"""Search for elite poses of a planar arm, which writes all of its results to one folder."""

import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch

from wmrl.agents.quality_diversity.archive import Elites, load_elites
from wmrl.agents.quality_diversity.baselines import RibsMethod, archive_metrics, search_with_ribs
from wmrl.agents.quality_diversity.dde import DDE
from wmrl.agents.quality_diversity.dde_config import DDEConfig
from wmrl.agents.quality_diversity.heatmap import write_map, write_map_video
from wmrl.agents.quality_diversity.presets import (
    EncodingKind,
    SearchPreset,
    default_initial_coverage,
    encoding_config,
)
from wmrl.agents.quality_diversity.problems import ArmProblem
from wmrl.core.config import check_fields
from wmrl.core.strict_json import jsonable
from wmrl.core.validation import check_choice, check_float, check_int, check_seed
from wmrl.storage.artifact import load_artifact, package_versions
from wmrl.storage.run import Run, RunError
from wmrl.training.callbacks import Callback, check_callbacks

Algorithm = Literal["dde", "dde-published", "iso", "line", "cma-me", "cma-mae"]
"""Names of search algorithms.

``"dde"`` is Data-Driven Encodings with the default settings of this library, and
``"dde-published"`` is Data-Driven Encodings with the published settings. The others use the
emitters of ``ribs``: ``"iso"`` is MAP-Elites with isotropic mutation, ``"line"`` is MAP-Elites with
isotropic and line mutation, ``"cma-me"`` is CMA-ME, and ``"cma-mae"`` is CMA-MAE.
"""

_BATCH_SIZE = 100  # batch size of DDE, as published
_CHECKPOINT = "ribs"


@dataclass(frozen=True, kw_only=True)
class EliteSearchConfig:
    """Configuration of :func:`search_elites`.

    Attributes:
        problem: problem to solve; it contains the arm and the configuration of the archive.
        algorithm: name of the search algorithm.
        encoding: kind of encoding that DDE learns, or None for no encoding. ``"auto"`` stands for
            ``"vae"`` with DDE, and for None with other algorithms.
        evaluations: budget of evaluations. The last batch may exceed the budget. With DDE, the
            evaluations of the initialization are not counted; with other algorithms, they are part
            of the budget.
        initial_coverage: share of the archive's cells to fill with random poses at the start; by
            default, the result of
            :func:`~wmrl.agents.quality_diversity.presets.default_initial_coverage`.
        seed: root seed.
    """

    problem: ArmProblem = field(default_factory=ArmProblem)
    algorithm: Algorithm = "dde"
    encoding: EncodingKind | Literal["auto"] | None = "auto"
    evaluations: int = 100_000
    initial_coverage: float = None  # type: ignore[assignment]  # is set in __post_init__
    seed: int = 0

    def __post_init__(self) -> None:
        check_choice("algorithm", self.algorithm, get_args(Algorithm))
        check_choice("encoding", self.encoding, ("auto", *get_args(EncodingKind), None))
        if self.encoding == "auto":
            object.__setattr__(self, "encoding", "vae" if self.is_dde else None)
        if self.encoding is not None and not self.is_dde:
            raise ValueError(
                f"encoding: expected none with {self.algorithm!r}, got {self.encoding!r}; only DDE "
                "learns an encoding, so omit encoding or use the algorithm 'dde'"
            )
        check_int("evaluations", self.evaluations, at_least=1)
        if self.initial_coverage is None:
            coverage = default_initial_coverage(  # type: ignore[unreachable]
                self.problem.solution_dim
            )
            object.__setattr__(self, "initial_coverage", coverage)
        check_float("initial_coverage", self.initial_coverage, above=0, at_most=0.5)
        object.__setattr__(self, "seed", check_seed("seed", self.seed))
        check_fields(self)

    @property
    def is_dde(self) -> bool:
        """True if the algorithm is DDE, with the default or the published settings."""
        return self.algorithm in ("dde", "dde-published")

    def describe(self) -> dict[str, Any]:
        """Returns the problem and the settings of the search as a JSON-serializable dictionary."""
        own = {name: getattr(self, name) for name in vars(self) if name != "problem"}
        described: dict[str, Any] = jsonable(self.problem.describe() | own)
        return described

    def dde(self) -> DDEConfig:
        """Returns the configuration of DDE for this search.

        Raises:
            ValueError: the algorithm is not DDE.
        """
        if not self.is_dde:
            raise ValueError(
                f"algorithm: expected 'dde' or 'dde-published', got {self.algorithm!r}"
            )
        make = DDEConfig if self.algorithm == "dde" else DDEConfig.as_published
        settings: dict[str, Any] = {"encoding": None, "crossovers": (0.0,)}
        if self.encoding is not None and self.encoding != "auto":
            # This gives 10 latents for 20 joints and 32 for 200, as in Data-Driven Encodings.
            latent_dim = min(32, max(1, self.problem.solution_dim // 2))
            preset = SearchPreset(problem=self.problem, latent_dim=latent_dim)
            settings = {"encoding": encoding_config(self.encoding, preset)}
        return make(
            generations=-(-self.evaluations // _BATCH_SIZE),
            batch_size=_BATCH_SIZE,
            initial_coverage=self.initial_coverage,
            **settings,
        )


class EliteSearchResult(NamedTuple):
    """Result of :func:`search_elites`.

    Attributes:
        elites: final elites.
        metrics: final metrics: ``evaluations``, ``coverage``, ``mean_fitness``, ``best_fitness``
            and ``qd_score``.
        snapshots: ``(S, cells) float32``, objective in each cell at S points in time; NaN for
            empty cells.
    """

    elites: Elites
    metrics: dict[str, float]
    snapshots: np.ndarray


def search_elites(
    path: str | Path,
    config: EliteSearchConfig,
    *,
    init: str | Path | None = None,
    device: str | torch.device = "auto",
    callbacks: Iterable[Callback] = (),
    progress: bool = True,
) -> EliteSearchResult:
    """Searches for elites and writes them into a folder.

    The folder contains the elites as an artifact (``elites/``), their heatmap (``map.png``) and a
    video of the heatmap over time (``map.mp4``).

    To resume an interrupted search, call the function again with the same arguments. DDE then
    continues from its last checkpoint, in ``run/``, and gives bit-identical results. Other
    algorithms start again. If the search is already finished, its result is read from the folder.

    To extend a finished search, raise ``config.evaluations``. The elites and the metrics are then
    bit-identical to those of a search that had this budget from the start.

    Args:
        path: path of the folder.
        config: configuration of the search.
        init: name or path of an artifact of elites, whose solutions DDE evaluates first. If None,
            the search starts from random poses only. All algorithms except DDE require None.
        device: device on which DDE trains its encoding.
        callbacks: callbacks of the search, as in
            :meth:`DDE.learn <wmrl.agents.quality_diversity.dde.DDE.learn>` and
            :func:`~wmrl.agents.quality_diversity.baselines.search_with_ribs`.
        progress: True to show a progress bar.

    Raises:
        RunError: the folder is in use, or belongs to a search with a different configuration.
        ArtifactError: ``init`` is not an artifact of elites, or ``elites/`` in the folder contains
            something other than an artifact.
        ValueError: ``path`` is a file; ``init`` does not fit the arm or the algorithm; or random
            poses fill too few cells, or use up the whole budget.

    Example:
        >>> from wmrl.agents.quality_diversity import ArmProblem, EliteSearchConfig, search_elites
        >>> from wmrl.envs import Arm
        >>> config = EliteSearchConfig(
        ...     problem=ArmProblem(arm=Arm(num_joints=6)), algorithm="line", evaluations=500
        ... )
        >>> result = search_elites("runs/arm", config, progress=False)
        >>> result.metrics["evaluations"], len(result.elites) > 50
        (500, True)
    """
    path, callbacks = Path(path), check_callbacks(callbacks)
    solutions, digest = (None, None) if init is None else _load_init(init, config)
    new = not path.exists()
    if not new and not path.is_dir():
        raise ValueError(f"path: expected a folder or a new path, got the file {path}")
    try:
        with Run(
            path,
            config={"search": "elites", **config.describe(), "init": digest},
            limits=("evaluations",),
        ) as run:
            if config.is_dde:
                result = _search_with_dde(
                    path / "run", config, solutions, device, callbacks, progress
                )
            else:
                result = _search_with_ribs(run, config, callbacks, progress)
            _write(path, config, result, digest)
    except RunError:  # the folder may belong to another search
        raise
    except ValueError:
        # If the folder kept invalid options, it would reject the corrected ones.
        if new and not list(path.rglob("*.checkpoint")):
            shutil.rmtree(path, ignore_errors=True)
        raise
    return result


def _load_init(init: str | Path, config: EliteSearchConfig) -> tuple[np.ndarray, str]:
    """Returns the solutions of an artifact of elites, and the digest of the artifact."""
    if not config.is_dde:
        raise ValueError(
            f"init: expected none with {config.algorithm!r}, got {str(init)!r}; this algorithm "
            "always starts from random poses, so omit init or use the algorithm 'dde'"
        )
    solutions, solution_dim = load_elites(init)[0].solutions, config.problem.solution_dim
    if solutions.ndim != 2 or solutions.shape[1] != solution_dim:
        raise ValueError(
            f"init: expected elites of {solution_dim} numbers (one per joint), got solutions of "
            f"shape {solutions.shape} in {str(init)!r}; use elites of an arm with the same number "
            "of joints"
        )
    return solutions, load_artifact(init).digest


def _search_with_dde(
    path: Path,
    config: EliteSearchConfig,
    init: np.ndarray | None,
    device: str | torch.device,
    callbacks: Iterable[Callback],
    progress: bool,
) -> EliteSearchResult:
    """Searches with DDE; resumes from the last checkpoint if there is a checkpoint."""
    settings = config.dde()
    with DDE(
        config.problem, settings, path=path, seed=config.seed, init=init, device=device
    ) as search:
        search.learn(callbacks=callbacks, progress=progress)
        assert search.elites is not None
        archive, snapshots = search.archive(), search.snapshots
        if settings.generations % settings.snapshot_every:  # the video includes the final archive
            last = config.problem.archive.snapshot(archive)
            snapshots = np.concatenate((snapshots, last[None]))
        metrics = archive_metrics(archive, search.evaluations)
        return EliteSearchResult(search.elites, metrics, snapshots)


def _search_with_ribs(
    run: Run, config: EliteSearchConfig, callbacks: Iterable[Callback], progress: bool
) -> EliteSearchResult:
    """Searches with emitters of ``ribs``, or reads the result of a finished search."""
    checkpoint = run.load_checkpoint(_CHECKPOINT)
    if checkpoint is not None and checkpoint.state["evaluations"] >= config.evaluations:
        tensors = dict(checkpoint.tensors)
        snapshots = tensors.pop("snapshots").numpy()
        return EliteSearchResult(Elites.from_tensors(tensors), checkpoint.state, snapshots)
    assert config.algorithm in get_args(RibsMethod)
    found = search_with_ribs(
        config.problem,
        config.algorithm,  # type: ignore[arg-type]
        evaluations=config.evaluations,
        initial_coverage=config.initial_coverage,
        seed=config.seed,
        callbacks=callbacks,
        progress=progress,
    )
    tensors = found.elites.tensors() | {"snapshots": torch.from_numpy(found.snapshots)}
    run.save_checkpoint(_CHECKPOINT, tensors, found.rows[-1], may_hold_nan=("snapshots",))
    return EliteSearchResult(found.elites, found.rows[-1], found.snapshots)


def _write(
    path: Path, config: EliteSearchConfig, result: EliteSearchResult, init: str | None
) -> None:
    """Writes the artifact of the elites, the heatmap and the video of the heatmap."""
    archive = config.problem.archive
    title = f"{config.problem.solution_dim} joints, {config.algorithm}"
    # The elites come first: what only shows them may fail, or be interrupted.
    result.elites.save(path / "elites", archive, provenance=_provenance(config, result, init))
    write_map(path / "map.png", archive, result.elites, title=title)
    write_map_video(path / "map.mp4", archive, result.snapshots)


def _provenance(
    config: EliteSearchConfig, result: EliteSearchResult, init: str | None
) -> dict[str, Any]:
    settings = {**config.describe(), "init": init}
    if config.is_dde:
        settings["dde"] = asdict(config.dde())
    return {
        "command": "search-elites",
        "settings": settings,
        "seed": config.seed,
        "evaluations": int(result.metrics["evaluations"]),
        "metrics": result.metrics,
        "versions": package_versions("ribs"),
    }
