"""Files of an artifact: reading with verification, and writing."""

import glob
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from wmrl.storage.files import replace_folder
from wmrl.storage.reading import SMALL_LIMIT, WEIGHTS_LIMIT, StoredFileError, read_file

KINDS = ("vision", "memory", "prior", "encoding", "elites", "agent")
CONFIG, MODEL, CARD, SUMS = "config.json", "model.safetensors", "README.md", "SHA256SUMS"
_LIMITS = {MODEL: WEIGHTS_LIMIT}  # in bytes; that of all other files is SMALL_LIMIT
MEND = "download or train the artifact again"


class ArtifactError(ValueError):
    """Error raised if an artifact is missing, damaged, incompatible or of the wrong kind."""


def size_limit(name: str) -> int:
    """Returns the maximum size in bytes of an artifact's file, given the name of the file."""
    return _LIMITS.get(name, SMALL_LIMIT)


def folder_state(path: str | Path) -> tuple[int, ...] | None:
    """Returns a tuple that changes if a folder is replaced; None if there is no such folder."""
    try:
        status = Path(path).stat()
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino, status.st_ctime_ns


def being_replaced(path: str | Path) -> bool:
    """Returns True if a folder is missing because another process is replacing it."""
    path = Path(path)
    try:
        return not path.exists() and any(path.parent.glob(f".{glob.escape(path.name)}.*.old"))
    except (OSError, ValueError):
        return False


def verified_files(path: Path) -> dict[str, bytes]:
    """Reads an artifact's files and verifies them against its ``SHA256SUMS``.

    Except on Windows, all files come from the same folder, even if another process replaces that
    folder during the reading.

    Raises:
        ArtifactError: a file is missing, damaged, or not part of an artifact.
    """
    if os.open not in os.supports_dir_fd:  # Windows
        return _files_of(path, None)
    try:
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be opened ({error.strerror}); {MEND}") from error
    try:
        return _files_of(path, folder)
    finally:
        os.close(folder)


def _files_of(path: Path, folder: int | None) -> dict[str, bytes]:
    known = {CONFIG, MODEL, CARD, SUMS}
    # pathlib can't list an open folder.
    foreign = sorted(set(os.listdir(path if folder is None else folder)) - known)  # noqa: PTH208
    foreign = [name for name in foreign if not name.startswith(".")]
    if foreign:
        raise ArtifactError(
            f"{path}: contains {foreign[0]!r}, which is not part of an artifact; remove that "
            "file, or use another folder"
        )
    files = {}
    for name, digest in _read_sums(path, folder).items():
        files[name] = read_one(path / name, folder)
        if hashlib.sha256(files[name]).hexdigest() != digest:
            raise ArtifactError(
                f"{path / name}: damaged (its SHA-256 differs from the one in {SUMS}); {MEND}"
            )
    missing = {CONFIG, MODEL} - set(files)
    if missing:
        raise ArtifactError(
            f"{path / SUMS}: expected a line for each file, got none for "
            f"{', '.join(sorted(missing))}; {MEND}"
        )
    return files


def read_one(path: Path, folder: int | None = None) -> bytes:
    try:
        return read_file(path, limit=size_limit(path.name), folder=folder, mend=MEND)
    except FileNotFoundError as error:
        raise ArtifactError(f"{path}: cannot be read ({error.strerror}); {MEND}") from error
    except StoredFileError as error:
        raise ArtifactError(str(error)) from error


def _read_sums(path: Path, folder: int | None) -> dict[str, str]:
    try:
        lines = read_one(path / SUMS, folder).decode().splitlines()
    except (ArtifactError, UnicodeDecodeError) as error:
        raise ArtifactError(
            f"{path / SUMS}: missing or not text, so the artifact cannot be verified ({error}); "
            f"{MEND}"
        ) from error
    sums = {}
    for line in lines:
        digest, _, name = line.partition("  ")
        # Only known names are allowed, so that no line refers to a file outside the folder.
        if name not in (CONFIG, MODEL, CARD) or name in sums or len(digest) != 64:
            raise ArtifactError(
                f"{path / SUMS}: expected one line per file, with its SHA-256 and its name, got "
                f"{line[:100]!r}; {MEND}"
            )
        sums[name] = digest
    return sums


def with_sums(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Returns the contents of an artifact's files, with its ``SHA256SUMS``, by name."""
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in sorted(files.items())}
    text = "".join(f"{digest}  {name}\n" for name, digest in sums.items())
    return {**files, SUMS: text.encode()}


def write_folder(path: Path, files: Mapping[str, bytes]) -> None:
    """Writes an artifact's folder, and replaces any empty folder or artifact at that path.

    Args:
        path: path of the folder.
        files: contents of the files by name.

    Raises:
        ArtifactError: there is a file at that path, or a folder with files that are not part of an
            artifact.
    """
    if path.exists() and not path.is_dir():
        raise ArtifactError(
            f"{path}: expected a folder, or nothing, got a file or a special file; remove it, or "
            "choose another path"
        )
    if path.exists() and any(path.iterdir()):
        shown = {entry.name for entry in path.iterdir() if not entry.name.startswith(".")}
        if SUMS not in shown or shown - {CONFIG, MODEL, CARD, SUMS}:
            raise ArtifactError(
                f"{path}: contains files that are not part of an artifact; choose another path"
            )
    replace_folder(path, files)


def holds(path: Path, files: Mapping[str, bytes]) -> bool:
    """Returns True if a folder contains exactly the given files, with the given contents."""
    try:
        return {entry.name for entry in path.iterdir()} == set(files) and all(
            read_one(path / name) == data for name, data in files.items()
        )
    except (OSError, ArtifactError):
        return False
