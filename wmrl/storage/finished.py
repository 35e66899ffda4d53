"""Reading of the artifact of a finished run."""

import os
import warnings
from pathlib import Path

from wmrl.core.warning import WMRLWarning
from wmrl.storage.artifact import Artifact, ArtifactError, load_artifact
from wmrl.storage.reading import StoredFileError, read_json


def finished_artifact(path: str | Path, *, kind: str) -> Artifact | None:
    """Reads the artifact of a finished run.

    A run is finished if its folder contains a ``report.json`` and the artifact that belongs to the
    report. If there is a report, but the report or the artifact can't be used, the run counts as
    unfinished. When such a run is resumed, the report and the artifact are written again from the
    last checkpoint, without further training.

    Args:
        path: folder of the run, with ``artifact/`` and ``report.json``.
        kind: required kind of the artifact, such as ``"vision"``.

    Returns:
        The artifact; None if the run is unfinished.

    Warns:
        UserWarning: there is a report, but the report or the artifact is damaged, the artifact is
            missing, or report and artifact do not belong together.
    """
    path = Path(path)
    if not os.path.lexists(path / "report.json"):
        return None
    try:
        report = read_json(path / "report.json")
        artifact = load_artifact(path / "artifact", kind=kind)
    except (ArtifactError, StoredFileError) as error:
        found = str(error)
    else:
        if report.get("digest", artifact.digest) == artifact.digest:
            return artifact
        found = f"{path / 'report.json'}: does not belong to the artifact beside it"
    warnings.warn(
        f"{found}; report and artifact are written again from the last checkpoint",
        WMRLWarning,
        stacklevel=3,
    )
    return None
