"""Artifacts: folders of trained weights, safe to load and verified by checksums.

An artifact consists of plain data and never contains a pickle::

    config.json         format version, kind, class, configuration and provenance
    model.safetensors   weights
    README.md           model card (optional)
    SHA256SUMS          one line per file, in the format of ``sha256sum``

An artifact is written atomically, so that its folder is always complete. All files are verified
against their checksums before their content is used.
"""

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as save_safetensors

from wmrl.core.strict_json import json_text
from wmrl.core.validation import check_choice
from wmrl.storage._artifact_files import (
    CARD,
    CONFIG,
    KINDS,
    MEND,
    MODEL,
    ArtifactError,
    being_replaced,
    folder_state,
    holds,
    read_one,
    verified_files,
    with_sums,
    write_folder,
)
from wmrl.storage.hub import HubReference, cached_reference, find_hub_artifact, is_hub_reference
from wmrl.storage.reading import parse_json
from wmrl.storage.recognition import did_you_mean, recognize
from wmrl.storage.tensors import parse_tensors

__all__ = [
    "FORMAT_VERSION",
    "KINDS",
    "SHIPPED",
    "Artifact",
    "ArtifactError",
    "artifact_digest",
    "copy_artifact",
    "find_artifact",
    "lasting_name",
    "load_artifact",
    "package_versions",
    "save_artifact",
    "shipped_artifacts",
]

FORMAT_VERSION = 2
# Releases that can read earlier format versions.
_READERS = {1: "wmrl 0.1"}

# Weight files keep the former names of some submodules. New names would change the digests of the
# files, by which memories and agents refer to them.
_KEYS = {"quantizer": "quantiser", "sequence_model": "core"}
_ATTRIBUTES = {key: attribute for attribute, key in _KEYS.items()}

_LARGEST_HALF = torch.finfo(torch.float16).max
SHIPPED = Path(__file__).parents[1] / "artifacts"

_JSON_TYPES = {dict: "a JSON object", str: "a string", int: "an integer"}

_PATIENCE = 5.0  # seconds to go on reading an artifact that others replace again and again


@dataclass(frozen=True)
class Artifact:
    """Verified content of an artifact.

    Attributes:
        path: folder of the artifact.
        kind: ``"vision"``, ``"memory"``, ``"prior"``, ``"encoding"``, ``"elites"`` or ``"agent"``.
        class_name: name of the model's class, for instance ``"VAE"``.
        config: values of the model's configuration, by field name.
        provenance: description of the artifact's origin, such as the command, the seed, the hash of
            the data, package versions and scores. If the artifact was downloaded from the Hugging
            Face hub, ``"source"`` is its reference with its commit, ``hf://user/name@commit/kind``.
        tensors: weights by name; float16 weights are converted to float32.
        digest: SHA-256 of ``model.safetensors``, by which other artifacts refer to this one.
        card: model card in Markdown; None if the artifact has none.
    """

    path: Path
    kind: str
    class_name: str
    config: dict[str, Any]
    provenance: dict[str, Any]
    tensors: dict[str, torch.Tensor]
    digest: str
    card: str | None = None

    @property
    def name_or_path(self) -> str:
        """Lasting name of the artifact; see :func:`lasting_name`."""
        return lasting_name(self.path)


def lasting_name(path: Path) -> str:
    """Returns the name by which to refer to an artifact from elsewhere.

    Args:
        path: path of the artifact's folder.

    Returns:
        The name of a shipped artifact; the reference of an artifact from the Hugging Face hub, with
        its commit; or the absolute path of any other artifact.
    """
    path = path.resolve()
    if path.parent == SHIPPED.resolve():
        return path.name
    return str(cached_reference(path) or path)


def shipped_artifacts(*, kind: str | None = None) -> list[str]:
    """Returns the names of the artifacts that come with the package.

    Args:
        kind: kind of the artifacts, such as ``"memory"``; None for all kinds.

    Raises:
        ArtifactError: a shipped artifact is damaged. Without ``kind``, this error is never raised,
            because no artifact is read.
    """
    headers = sorted(SHIPPED.glob(f"*/{CONFIG}"))
    return [path.parent.name for path in headers if kind is None or _kind(path) == kind]


def find_artifact(name_or_path: str | Path, *, kind: str | None = None) -> Path:
    """Returns the folder of an artifact.

    Args:
        name_or_path: name of a shipped artifact, path of an artifact's folder, path of a run's
            folder, or reference ``hf://user/name``. A run's folder stands for its subfolder
            ``artifact``. A reference stands for an artifact on the Hugging Face hub, which is
            downloaded (see :class:`~wmrl.storage.hub.HubReference`).
        kind: kind of the artifact to choose from a repository that contains several, and kind of
            the artifacts that the error message suggests; None for artifacts of any kind. The kind
            of the returned artifact is not checked.

    Raises:
        ArtifactError: there is neither a shipped artifact with that name, nor an artifact at that
            path, nor one that can be downloaded.
        ImportError: a reference needs the package ``huggingface_hub``, which is not installed.
    """
    if is_hub_reference(name_or_path):
        return find_hub_artifact(HubReference.parse(name_or_path), kind=kind)
    shipped = shipped_artifacts()
    if str(name_or_path) in shipped:
        return SHIPPED / str(name_or_path)
    try:
        path = Path(name_or_path).expanduser()
        found = recognize(path)
        if found.kind == "artifact" or (found.kind != "run" and (path / CONFIG).is_file()):
            return path
        if recognize(path / "artifact").kind == "artifact":
            return path / "artifact"
        got = found.description + did_you_mean(path, "artifact", detail=kind)
        if got == "the folder of a run":
            got += " without an artifact; repeat the command of the run to finish it"
    except (OSError, ValueError, RuntimeError) as error:  # no such user, name too long, null byte
        got = f"an invalid path ({error})"
    raise ArtifactError(
        f"no artifact {str(name_or_path)!r}: expected a shipped artifact ({', '.join(shipped)}), "
        f"the path of an artifact's folder, or hf://user/name, got {got}"
    )


def save_artifact(
    path: str | Path,
    *,
    kind: str,
    class_name: str,
    config: Mapping[str, Any],
    tensors: Mapping[str, torch.Tensor],
    provenance: Mapping[str, Any] | None = None,
    card: str | None = None,
    half: bool = False,
) -> str:
    """Writes an artifact atomically, and replaces any earlier artifact at that path.

    An existing artifact with the same content is left untouched.

    Args:
        path: folder to write.
        kind: ``"vision"``, ``"memory"``, ``"prior"``, ``"encoding"``, ``"elites"`` or ``"agent"``.
        class_name: name of the model's class, for instance ``"VAE"``.
        config: JSON-serializable configuration of the model, by field name.
        tensors: weights by name.
        provenance: JSON-serializable description of the artifact's origin.
        card: model card in Markdown; None for no card.
        half: True to store floating-point tensors as float16. A tensor with values beyond the range
            of float16 keeps its dtype.

    Returns:
        The artifact's digest, the SHA-256 of ``model.safetensors``.

    Raises:
        ValueError: ``kind`` is unknown, or a weight is not finite.
        ArtifactError: there is a file at ``path``, or a folder with files that are not part of an
            artifact.

    Example:
        >>> import torch
        >>> from wmrl.storage import load_artifact, save_artifact
        >>> digest = save_artifact(
        ...     "linear",
        ...     kind="vision",
        ...     class_name="Linear",
        ...     config={"latent_dim": 2},
        ...     tensors={"weight": torch.eye(2)},
        ...     provenance={"seed": 1},
        ... )
        >>> artifact = load_artifact("linear", kind="vision")
        >>> artifact.class_name, artifact.config, artifact.digest == digest
        ('Linear', {'latent_dim': 2}, True)
        >>> artifact.tensors["weight"]
        tensor([[1., 0.],
                [0., 1.]])
    """
    check_choice("kind", kind, KINDS)
    files = {
        CONFIG: _config_file(kind, class_name, config, provenance or {}),
        MODEL: _model_file(tensors, half),
    }
    if card is not None:
        files[CARD] = card.encode()
    _write(Path(path), files)
    return hashlib.sha256(files[MODEL]).hexdigest()


def copy_artifact(artifact: Artifact, path: str | Path, *, config: Mapping[str, Any]) -> None:
    """Writes an artifact's files to another folder, with another configuration.

    The weights stay the same byte for byte, and with them the digest.

    Args:
        artifact: content of the artifact.
        path: folder to write; see :func:`save_artifact`.
        config: JSON-serializable configuration of the copy.

    Raises:
        ArtifactError: the artifact has changed since it was loaded, or ``path`` can't be written.
    """
    files = verified_files(artifact.path)
    if hashlib.sha256(files[MODEL]).hexdigest() != artifact.digest:
        raise ArtifactError(f"{artifact.path}: has changed since it was loaded; load it again")
    files[CONFIG] = _config_file(artifact.kind, artifact.class_name, config, artifact.provenance)
    _write(Path(path), files)


def _config_file(
    kind: str, class_name: str, config: Mapping[str, Any], provenance: Mapping[str, Any]
) -> bytes:
    """Returns the content of ``config.json``."""
    header = {
        "format_version": FORMAT_VERSION,
        "kind": kind,
        "class": class_name,
        "config": dict(config),
        "provenance": dict(provenance),
    }
    return json_text(header, indent=2, sort_keys=True).encode() + b"\n"


def _write(path: Path, files: Mapping[str, bytes]) -> None:
    """Writes the files of an artifact, if its folder does not already contain just these files."""
    files = with_sums(files)
    if not holds(path, files):
        write_folder(path, files)


def artifact_digest(tensors: Mapping[str, torch.Tensor], *, half: bool = False) -> str:
    """Computes the digest that :func:`save_artifact` would return for the same arguments."""
    return hashlib.sha256(_model_file(tensors, half)).hexdigest()


def load_artifact(name_or_path: str | Path, *, kind: str | None = None) -> Artifact:
    """Reads and verifies an artifact.

    Args:
        name_or_path: name of a shipped artifact, path of an artifact's or a run's folder, or
            reference ``hf://user/name``; see :func:`find_artifact`.
        kind: required kind; None accepts any kind.

    Raises:
        ArtifactError: the artifact is missing or damaged, has another format version than this
            library reads, or is not of the required kind.
    """
    path, files = _read(name_or_path, kind)
    try:
        header = parse_json(files[CONFIG])
        version, found = header["format_version"], header["kind"]
        class_name, config = header["class"], header["config"]
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(
            f"{path / CONFIG}: expected an artifact's configuration, got other content; {MEND}"
        ) from error
    provenance = header.get("provenance", {})
    for name, value, kind_of_value in (
        ("config", config, dict),
        ("class", class_name, str),
        ("provenance", provenance, dict),
        ("format_version", version, int),
    ):
        if not isinstance(value, kind_of_value):
            expected = _JSON_TYPES[kind_of_value]
            raise ArtifactError(
                f"{path / CONFIG}: expected {name!r} to be {expected}, got {value!r:.100}; {MEND}"
            )
    if version != FORMAT_VERSION:
        raise ArtifactError(
            f"{path}: expected format version {FORMAT_VERSION}, got {version!r}; load the artifact "
            f"with {_READERS.get(version, 'a newer wmrl')}, or train it again"
        )
    if found not in ((kind,) if kind else KINDS):
        expected = repr(kind) if kind else f"in {KINDS}"
        raise ArtifactError(
            f"{path}: expected an artifact of kind {expected}, got {found!r:.100}; choose another "
            "artifact"
        )
    try:
        tensors, _ = parse_tensors(files[MODEL])
    except ValueError as error:
        raise ArtifactError(
            f"{path / MODEL}: not a valid safetensors file ({error}); {MEND}"
        ) from error
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise ArtifactError(
                f"{path / MODEL}: expected finite weights, got NaN or ∞ in {name!r}; train the "
                "artifact again"
            )
    source = cached_reference(path.resolve())
    return Artifact(
        path=path,
        kind=found,
        class_name=class_name,
        config=config,
        provenance=provenance if source is None else {**provenance, "source": str(source)},
        tensors={
            _renamed(name, _ATTRIBUTES): (
                tensor.float() if tensor.dtype == torch.float16 else tensor
            )
            for name, tensor in tensors.items()
        },
        digest=hashlib.sha256(files[MODEL]).hexdigest(),
        card=files[CARD].decode(errors="replace") if CARD in files else None,
    )


def _model_file(tensors: Mapping[str, torch.Tensor], half: bool) -> bytes:
    """Returns the content of ``model.safetensors``, the file of an artifact's weights.

    Args:
        tensors: weights by name.
        half: True to store floating-point tensors as float16. A tensor with values beyond the range
            of float16 keeps its dtype.
    """
    return save_safetensors(
        {_renamed(name, _KEYS): _stored(name, tensor, half) for name, tensor in tensors.items()}
    )


def _stored(name: str, tensor: torch.Tensor, half: bool) -> torch.Tensor:
    tensor = tensor.detach().cpu().contiguous()
    if half and tensor.is_floating_point() and not bool((tensor.abs() > _LARGEST_HALF).any()):
        tensor = tensor.half()
    if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
        raise ValueError(
            f"tensors: expected finite values, got NaN or ∞ in {name!r}; no artifact was written"
        )
    return tensor


def _read(name_or_path: str | Path, kind: str | None) -> tuple[Path, dict[str, bytes]]:
    """Finds an artifact, reads its files and verifies them.

    If another process replaces the folder during the reading, the new folder is read instead.
    """
    end = time.monotonic() + _PATIENCE
    while True:
        before = folder_state(name_or_path)
        try:
            path = find_artifact(name_or_path, kind=kind)
            return path, verified_files(path)
        except ArtifactError:
            if before == folder_state(name_or_path) and not being_replaced(name_or_path):
                raise
            if time.monotonic() > end:
                raise
            time.sleep(0.001)


def _kind(path: Path) -> Any:
    """Returns the kind of a shipped artifact, given the path of its configuration."""
    try:
        return parse_json(read_one(path)).get("kind")
    except ValueError as error:
        raise ArtifactError(f"{path}: damaged ({error}); install wmrl again") from error


def _renamed(name: str, table: Mapping[str, str]) -> str:
    """Returns the name of a tensor after renaming the parts of its dotted name.

    Args:
        name: dotted name of the tensor.
        table: new names of parts, by old name. Parts that are not in the table keep their names.
    """
    return ".".join(table.get(part, part) for part in name.split("."))


def package_versions(*more: str) -> dict[str, str]:
    """Returns the versions of wmrl, NumPy, torch and the packages ``more``, by package name."""
    return {name: version(name) for name in sorted({"wmrl", "numpy", "torch", *more})}
