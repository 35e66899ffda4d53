"""Storage: atomic writing of files, artifacts without pickle, and resumable runs.

- :mod:`~wmrl.storage.artifact`: folders of configuration, weights and checksums (``Artifact``,
  ``ArtifactError``, ``artifact_digest``, ``copy_artifact``, ``find_artifact``,
  ``load_artifact``, ``package_versions``, ``save_artifact``, ``shipped_artifacts``).
- :mod:`~wmrl.storage.hub`: artifacts in repositories of the Hugging Face hub (``HubError``,
  ``HubReference``).
- :mod:`~wmrl.storage.saved_module`: networks that are saved as artifacts and loaded from them
  (``SavedModule``, ``load_saved_module``).
- :mod:`~wmrl.storage.run`: the locked folder of a training run, with its checkpoints
  (``Checkpoint``, ``Run``, ``RunError``).
- :mod:`~wmrl.storage.registry`: classes that artifacts refer to by name, and plugins
  (``Registry``, ``load_plugins``).
- :mod:`~wmrl.storage.files`: atomic writing of files and folders
  (``atomic_path``, ``check_writable``, ``replace_folder``, ``write_bytes``, ``write_image``,
  ``write_json``, ``write_text``).
- :mod:`~wmrl.storage.locks`: locks on files, by which processes take turns (``LockError``,
  ``file_lock``).
- :mod:`~wmrl.storage.reading`: reading of regular files of bounded size, and of JSON files with a
  checksum (``StoredFileError``, ``read_file``, ``read_json``).
- :mod:`~wmrl.storage.recognition`: descriptions of what is at a path, for error messages
  (``did_you_mean``, ``recognize``).
"""

from typing import TYPE_CHECKING

from wmrl.core.lazy import lazy_exports

if TYPE_CHECKING:
    from wmrl.storage.artifact import (
        Artifact,
        ArtifactError,
        artifact_digest,
        copy_artifact,
        find_artifact,
        load_artifact,
        package_versions,
        save_artifact,
        shipped_artifacts,
    )
    from wmrl.storage.files import (
        atomic_path,
        check_writable,
        replace_folder,
        write_bytes,
        write_image,
        write_json,
        write_text,
    )
    from wmrl.storage.hub import HubError, HubReference
    from wmrl.storage.locks import LockError, file_lock
    from wmrl.storage.reading import StoredFileError, read_file, read_json
    from wmrl.storage.recognition import did_you_mean, recognize
    from wmrl.storage.registry import Registry, load_plugins
    from wmrl.storage.run import Checkpoint, Run, RunError
    from wmrl.storage.saved_module import SavedModule, load_saved_module
else:
    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "Artifact",
    "ArtifactError",
    "Checkpoint",
    "HubError",
    "HubReference",
    "LockError",
    "Registry",
    "Run",
    "RunError",
    "SavedModule",
    "StoredFileError",
    "artifact_digest",
    "atomic_path",
    "check_writable",
    "copy_artifact",
    "did_you_mean",
    "file_lock",
    "find_artifact",
    "load_artifact",
    "load_plugins",
    "load_saved_module",
    "package_versions",
    "read_file",
    "read_json",
    "recognize",
    "replace_folder",
    "save_artifact",
    "shipped_artifacts",
    "write_bytes",
    "write_image",
    "write_json",
    "write_text",
]
