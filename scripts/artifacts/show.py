"""Shows an artifact: its class, digest, score, references, configuration and provenance."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import tyro

if TYPE_CHECKING:
    from wmrl.storage.artifact import Artifact


@dataclass(frozen=True)
class Args:
    """Options of ``wmrl artifacts show``."""

    artifact: tyro.conf.Positional[str]
    """Artifact to show: a shipped name, a path, or hf://user/name."""


def main(args: Args) -> None:
    """Prints a table of what the artifact is, then its configuration and provenance as JSON."""
    from rich.console import Console
    from rich.table import Table

    from wmrl.core.strict_json import json_text
    from wmrl.scripts.terminal import table_text
    from wmrl.storage.artifact import load_artifact

    artifact = load_artifact(args.artifact)
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(overflow="fold")
    table.add_column(overflow="fold")
    for name, value in _rows(artifact):
        table.add_row(name, table_text(value))
    Console().print(table)
    for name, content in (("config", artifact.config), ("provenance", artifact.provenance)):
        print(f"\n{name} = {json_text(content, indent=2, sort_keys=True)}")


def _rows(artifact: "Artifact") -> Iterator[tuple[str, str]]:
    from wmrl.export.hub import scores_of
    from wmrl.export.model_card import references, score_text, task_of

    yield "artifact", artifact.name_or_path
    yield "kind", artifact.kind
    yield "class", artifact.class_name
    yield "task", task_of(artifact) or "none"
    for path in sorted(artifact.path.iterdir()):
        yield path.name, f"{path.stat().st_size:,} bytes"
    parameters = sum(tensor.numel() for tensor in artifact.tensors.values())
    yield "weights", f"{parameters:,} numbers in {len(artifact.tensors)} arrays"
    yield "digest", artifact.digest
    for score in scores_of(artifact):
        yield "score", score_text(score).replace("`", "")
    for kind, digest in references(artifact).items():
        yield f"{kind} model", digest
