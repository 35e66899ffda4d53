"""Lists artifacts: those that come with the package, and those in the given folders."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

if TYPE_CHECKING:
    from wmrl.storage.artifact import Artifact


@dataclass(frozen=True)
class Args:
    """Options of ``wmrl artifacts list``."""

    folders: tyro.conf.Positional[tuple[Path, ...]] = ()
    """Folders to search, at any depth. Rollout stores in them are left out."""


def main(args: Args) -> None:
    """Prints a table of the artifacts, each verified against its checksums."""
    from rich.console import Console
    from rich.table import Table

    from wmrl.scripts.terminal import table_text
    from wmrl.storage.artifact import ArtifactError, load_artifact, shipped_artifacts
    from wmrl.storage.recognition import artifacts_below

    paths = [path for folder in args.folders for path in artifacts_below(folder)]
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("artifact", overflow="fold", min_width=24)
    for column in ("kind", "class", "task", "size", "score"):
        table.add_column(column, overflow="fold")
    damaged = []
    for name in (*shipped_artifacts(), *map(str, paths)):
        try:
            cells = _cells(load_artifact(name))
        except ArtifactError as error:
            cells = ("damaged",)
            damaged.append(str(error))
        table.add_row(*map(table_text, (name, *cells)))
    Console().print(table)
    for message in damaged:
        Console().print(table_text(message), soft_wrap=True)


def _cells(artifact: "Artifact") -> tuple[str, ...]:
    """Returns the kind, class, task, size and score of an artifact."""
    from wmrl.export.hub import scores_of
    from wmrl.export.model_card import task_of

    size = sum(path.stat().st_size for path in artifact.path.iterdir())
    score = next((f"{each['mean']:.1f} ± {each['std']:.1f}" for each in scores_of(artifact)), "")
    return (
        artifact.kind,
        artifact.class_name,
        task_of(artifact) or "",
        f"{size / 2**20:.1f} MiB",
        score,
    )
