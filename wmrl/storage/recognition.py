"""Functions that recognize what is stored at a path, so that errors can suggest the right path."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

Kind = Literal["nothing", "file", "empty", "artifact", "run", "store", "latents", "result", "other"]

# A search below a folder stops at this depth and after this number of folders.
_DEPTH, _MAX_FOLDERS = 3, 500
# Larger files are not read; the files that are recognized by their content are small.
_MAX_BYTES = 2**24
_SHOWN = 3
_LATENTS = re.compile(r"\d{8}-[0-9a-f]{16}\.safetensors")


@dataclass(frozen=True)
class Recognized:
    """Description of what is at a path.

    Attributes:
        path: the path.
        kind: ``"artifact"``; ``"run"`` (the folder of a training run or a search); ``"store"`` (a
            rollout store); ``"latents"`` (the latents of a rollout store); ``"result"`` (a JSON
            file that a command wrote, or a folder with such files); ``"empty"`` (an empty folder);
            ``"nothing"`` (there is nothing at the path); ``"file"`` (any other file); or
            ``"other"`` (any other folder, or a path that can't be read).
        detail: kind of the artifact, such as ``"agent"``; empty if there is no artifact.
        description: noun phrase for messages, such as ``"the folder of a run"``.
    """

    path: Path
    kind: Kind
    detail: str
    description: str


def recognize(path: str | Path) -> Recognized:
    """Recognizes what is at a path.

    The names and headers of files decide the result. The contents of files are not verified.

    Example:
        >>> from wmrl.storage import find_artifact, recognize
        >>> recognize(find_artifact("car-racing-vae")).description
        "an artifact of kind 'vision'"
        >>> recognize("no-such-folder").kind
        'nothing'
    """
    path = Path(path)
    try:
        if not path.is_dir():
            return _file(path) if path.exists() or path.is_symlink() else _nothing(path)
        names = {entry.name for entry in path.iterdir()}
    except (OSError, ValueError) as error:  # no permission, a name that is too long, a null byte
        return Recognized(path, "other", "", f"a path that can't be read ({error})")
    return _folder(path, names)


def artifacts_below(folder: str | Path) -> Iterator[Path]:
    """Yields the folders of all artifacts in a folder, sorted by path within each folder.

    If the folder itself is an artifact, it is the only one. Rollout stores, hidden folders and
    symbolic links are not searched.

    Raises:
        ValueError: there is no such folder.
    """
    found = recognize(folder)
    if not found.path.is_dir():
        raise ValueError(f"folder: expected a folder, got {found.description} at {str(folder)!r}")
    if found.kind == "artifact":
        yield found.path
    elif found.kind not in ("store", "latents"):
        for child in _folders(found.path, depth=1):
            yield from artifacts_below(child)


def suggestions(path: str | Path, kind: Kind, *, detail: str | None = None) -> list[Path]:
    """Finds folders of a given kind near a wrong path, to suggest in an error message.

    Args:
        path: the wrong path. The folders below it are searched. If none of them is of the given
            kind, the parent and the grandparent of ``path`` are checked instead.
        kind: kind of the folders, such as ``"artifact"`` or ``"run"``; see :class:`Recognized`.
        detail: if ``kind`` is ``"artifact"``, the kind of the artifacts, such as ``"vision"``. None
            for artifacts of any kind.

    Returns:
        The folders that were found. Folders below ``path`` are sorted by depth and then by name,
        but ``path / "artifact"`` comes first within its depth. Otherwise, the parent comes before
        the grandparent.
    """
    path = Path(path)

    def fits(folder: Path) -> bool:
        found = recognize(folder)
        return found.kind == kind and detail in (None, found.detail)

    below = [folder for folder in islice(_folders(path), _MAX_FOLDERS) if fits(folder)]
    if below:
        return sorted(below, key=lambda f: (len(f.parts), f != path / "artifact", f))
    return [folder for folder in list(path.parents)[:2] if fits(folder)]


def did_you_mean(path: str | Path, kind: Kind, *, detail: str | None = None) -> str:
    """Returns the clause "; did you mean …?" for an error message about a wrong path.

    The clause names up to three folders that :func:`suggestions` finds. If no folder is found, an
    empty string is returned.

    Args:
        path: the wrong path.
        kind: required kind of folder, such as ``"run"``; see :class:`Recognized`.
        detail: if ``kind`` is ``"artifact"``, the kind of the artifacts, such as ``"vision"``. None
            for artifacts of any kind.
    """
    found = suggestions(path, kind, detail=detail)
    if not found:
        return ""
    more = f" (of {len(found)})" if len(found) > _SHOWN else ""
    return f"; did you mean {' or '.join(str(folder) for folder in found[:_SHOWN])}{more}?"


def _nothing(path: Path) -> Recognized:
    return Recognized(path, "nothing", "", "nothing at that path")


def _file(path: Path) -> Recognized:
    if not path.is_file():
        return Recognized(path, "file", "", "a broken link or a special file")
    if path.suffix == ".json" and "returns" in _read_json(path):
        return Recognized(path, "result", "", "the result of an evaluation")
    return Recognized(path, "file", "", "a file")


def _folder(path: Path, names: set[str]) -> Recognized:
    def found(kind: Kind, description: str, detail: str = "") -> Recognized:
        return Recognized(path, kind, detail, description)

    if not names:
        return found("empty", "an empty folder")
    run = "lock" in names or any(name.endswith(".checkpoint") for name in names)
    header = _read_json(path / "config.json") if "config.json" in names else {}
    artifact = {"format_version", "kind", "class"} <= header.keys() or "SHA256SUMS" in names
    if artifact:
        kind = header.get("kind", "unknown")
        return found("artifact", f"an artifact of kind {kind!r}", str(kind))
    if "zarr.json" in names:
        attributes = _read_json(path / "zarr.json").get("attributes")
        if isinstance(attributes, dict) and "wmrl_store" in attributes:
            return found("store", "a rollout store")
        if isinstance(attributes, dict) and {"summary", "info"} <= attributes.keys():
            return found("other", "an episode of a rollout store")
        return found("other", "a Zarr dataset that is not a rollout store")
    if {"episodes", "lock"} <= names:
        return found("store", "a rollout store without its metadata")
    if run or "metrics.csv" in names:
        return found("run", "the folder of a run")
    if any(map(_LATENTS.fullmatch, names)) or (
        path.name == "latents" and (path.parent / "zarr.json").is_file()
    ):
        return found("latents", "the latents of a rollout store")
    if any(
        name.startswith(("train-images-idx3-ubyte", "t10k-images-idx3-ubyte")) for name in names
    ):
        return found("other", "a set of labeled images (IDX files)")
    if names & {"results.json", "score.json", "report.json"}:
        return found("result", "a folder of results")
    example = min(names, key=lambda name: (name.startswith("."), name))
    return found("other", f"a folder of other files (such as {example!r})")


def _folders(path: Path, depth: int = _DEPTH) -> Iterator[Path]:
    """Yields the folders at most ``depth`` levels below a path, each after its parent.

    Hidden folders and symbolic links are left out.
    """
    try:
        children = sorted(
            child
            for child in path.iterdir()
            if not child.name.startswith(".") and child.is_dir() and not child.is_symlink()
        )
    except (OSError, ValueError):
        return
    yield from children
    if depth > 1:
        for child in children:
            yield from _folders(child, depth - 1)


def _read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object from a file.

    Returns an empty dictionary if the file is missing, is larger than 16 MiB, can't be read, or is
    not a JSON object.
    """
    try:
        if not path.is_file() or path.stat().st_size > _MAX_BYTES:
            return {}
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
