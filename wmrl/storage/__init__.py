"""What lasts: files written atomically, artifacts without pickle, runs that resume.

- :mod:`~wmrl.storage.artifact`: folders of configuration, weights and checksums (``Artifact``,
  ``ArtifactError``, ``find_artifact``, ``load_artifact``, ``package_versions``,
  ``save_artifact``, ``shipped_artifacts``).
- :mod:`~wmrl.storage.saved_module`: networks that are saved as artifacts and restored from them
  (``Learned``, ``load_learned``).
- :mod:`~wmrl.storage.run`: the locked folder of a training run, with its checkpoints
  (``Checkpoint``, ``Run``, ``RunError``).
- :mod:`~wmrl.storage.files`: files and folders that are replaced as a whole or not at all
  (``replace_folder``, ``write_picture``, ``write_report``, ``write_text``).
"""

from typing import TYPE_CHECKING

from wmrl.core.lazy import lazy_exports

if TYPE_CHECKING:
    from wmrl.storage.artifact import (
        Artifact,
        ArtifactError,
        find_artifact,
        load_artifact,
        package_versions,
        save_artifact,
        shipped_artifacts,
    )
    from wmrl.storage.files import replace_folder, write_picture, write_report, write_text
    from wmrl.storage.run import Checkpoint, Run, RunError
    from wmrl.storage.saved_module import Learned, load_learned
else:
    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "Artifact",
    "ArtifactError",
    "Checkpoint",
    "Learned",
    "Run",
    "RunError",
    "find_artifact",
    "load_artifact",
    "load_learned",
    "package_versions",
    "replace_folder",
    "save_artifact",
    "shipped_artifacts",
    "write_picture",
    "write_report",
    "write_text",
]
