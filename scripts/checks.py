"""Checks with results in a table, and the check of artifacts."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from wmrl.storage.artifact import Artifact


@dataclass(frozen=True)
class Check:
    """Result of a check.

    Attributes:
        subject: package, device or other thing that was checked.
        state: ``"ok"``, ``"problem"``, or ``"note"`` for a finding with which the library still
            works, such as an optional package that is missing.
        found: version or other finding.
        fix: instructions to fix the problem; empty if there is nothing to fix.
    """

    subject: str
    state: Literal["ok", "note", "problem"]
    found: str
    fix: str = ""


def check_artifacts(names: Iterable[str], *, others: Iterable[str] = ()) -> Iterator[Check]:
    """Checks that artifacts are intact, that they can be opened, and that they match each other.

    Args:
        names: names, paths or references ``hf://user/name`` of the artifacts.
        others: names of further artifacts, which may be the models that the artifacts were trained
            with. They are not checked themselves.

    Yields:
        One check for each artifact, in the order of ``names``.
    """
    from wmrl.storage.artifact import Artifact, ArtifactError, load_artifact

    loaded: dict[str, Artifact | ArtifactError] = {}
    names = list(names)
    for name in dict.fromkeys((*names, *others)):
        try:
            loaded[name] = load_artifact(name)
        except ArtifactError as error:
            loaded[name] = error
    digests = {each.digest for each in loaded.values() if isinstance(each, Artifact)}
    for name in dict.fromkeys(names):
        artifact = loaded[name]
        if isinstance(artifact, Artifact):
            yield _check_loaded(name, artifact, digests)
        else:
            yield Check(name, "problem", str(artifact), "download or train the artifact again")


def _check_loaded(name: str, artifact: "Artifact", digests: set[str]) -> Check:
    """Checks that an artifact can be opened, and that the models it was trained with are known.

    Args:
        name: name of the artifact.
        artifact: content of the artifact.
        digests: digests of the artifacts that are known.
    """
    from wmrl.export.hub import from_pretrained
    from wmrl.export.model_card import references
    from wmrl.storage.artifact import ArtifactError

    try:
        from_pretrained(artifact.path, device="cpu")
    except ArtifactError as error:
        return Check(name, "problem", str(error), "download or train the artifact again")
    missing = [kind for kind, digest in references(artifact).items() if digest not in digests]
    if not missing:
        found = f"{artifact.class_name} {artifact.digest[:12]}, checksums match, opens"
        return Check(name, "ok", found)
    models = f"{' and '.join(missing)} model"
    found = f"trained with another {models} than those that were found"
    if artifact.kind == "agent":  # which names its models, and opens no others
        return Check(name, "problem", found, f"put the {models} back that it was trained with")
    return Check(name, "note", found, f"name its {models} as well, to check both")


def print_checks(checks: list[Check]) -> None:
    """Prints checks as a table, and the number of problems."""
    from rich.console import Console
    from rich.table import Table

    from wmrl.scripts.terminal import table_text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("", "subject", "found", "fix"):
        table.add_column(column, overflow="fold")
    signs = {"ok": "[green]ok[/]", "note": "[yellow]note[/]", "problem": "[bold red]problem[/]"}
    for check in checks:
        words = map(table_text, (check.subject, check.found, check.fix))
        table.add_row(signs[check.state], *words)
    console = Console()
    console.print(table)
    problems = sum(check.state == "problem" for check in checks)
    console.print(
        f"\n[bold red]{problems} problems[/]" if problems else "\n[bold green]no problems[/]"
    )
