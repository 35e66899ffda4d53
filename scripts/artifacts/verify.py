"""Verifies artifacts: checksums, sizes, that each opens, and the models it was trained with.

The models to which an agent refers are verified as well. The exit status is 1 if there are
problems, else 0.
"""

from dataclasses import dataclass

import tyro

from wmrl.scripts.checks import check_artifacts, print_checks


@dataclass(frozen=True)
class Args:
    """Options of ``wmrl artifacts verify``."""

    artifacts: tyro.conf.Positional[tuple[str, ...]]
    """Artifacts to verify: shipped names, paths, or hf://user/name."""


def main(args: Args) -> int:
    """Runs the checks, prints them, and returns the exit status."""
    from wmrl.storage.artifact import shipped_artifacts

    if not args.artifacts:
        raise ValueError("artifacts: expected at least one artifact, got none; name some")
    names = [name for given in args.artifacts for name in (given, *_models_of(given))]
    checks = list(check_artifacts(names, others=shipped_artifacts()))
    print_checks(checks)
    return int(any(check.state == "problem" for check in checks))


def _models_of(name: str) -> list[str]:
    """Returns the names of the models to which an agent refers; none for other artifacts."""
    from wmrl.agents.world_model_ref import WorldModelRef
    from wmrl.storage.artifact import ArtifactError, load_artifact

    try:
        artifact = load_artifact(name)
        ref = WorldModelRef.from_artifact(artifact) if artifact.kind == "agent" else None
    except ArtifactError:  # the check says it
        return []
    return [] if ref is None else [each for each in (ref.vision, ref.memory) if each is not None]
