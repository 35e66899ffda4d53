"""Artifacts: what was learned, as a folder that can be trusted and checked.

An artifact is a folder of plain data, and never holds a pickle::

    config.json         format version, kind, class, its configuration, and how it was made
    model.safetensors   the weights
    README.md           model card (optional)
    SHA256SUMS          one line a file, in the format of ``sha256sum``

It is written aside, synced and put in place as a whole, so that a folder with an artifact's name is
always a whole one. Weights are verified against their sums before a byte of them is used.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors

from wmrl.core.config import build_config
from wmrl.storage.files import replace_folder

FORMAT_VERSION = 1
_LARGEST_HALF = torch.finfo(torch.float16).max
KINDS = ("vision", "memory", "prior", "encoding", "elites", "agent")
SHIPPED = Path(__file__).parents[1] / "artifacts"

C = TypeVar("C")
M = TypeVar("M", bound=torch.nn.Module)

_CONFIG, _MODEL, _CARD, _SUMS = "config.json", "model.safetensors", "README.md", "SHA256SUMS"


class ArtifactError(ValueError):
    """An artifact is missing, damaged, of another kind, or made for something else."""


@dataclass(frozen=True)
class Artifact:
    """An artifact that was read and verified.

    Attributes:
        path: the folder.
        kind: ``"vision"``, ``"memory"``, ``"prior"``, ``"encoding"``, ``"elites"`` or ``"agent"``.
        class_name: the class that it restores, for instance ``"VAE"``.
        config: keyword arguments of that class's config dataclass.
        provenance: how it was made: command, seed, data hash, package versions, scores.
        tensors: the weights, float16 ones widened to float32.
        digest: SHA-256 of ``model.safetensors``: the identity that others refer to.
    """

    path: Path
    kind: str
    class_name: str
    config: dict[str, Any]
    provenance: dict[str, Any]
    tensors: dict[str, torch.Tensor]
    digest: str


def shipped_artifacts(*, kind: str | None = None) -> list[str]:
    """Names of the artifacts that come with the package; of one kind, if given."""
    headers = sorted(SHIPPED.glob(f"*/{_CONFIG}"))
    return [
        path.parent.name
        for path in headers
        if kind is None or json.loads(path.read_text()).get("kind") == kind
    ]


def find_artifact(name_or_path: str | Path) -> Path:
    """The folder of a shipped artifact's name, or of a path.

    Raises:
        ArtifactError: there is neither such a shipped artifact nor such a folder.
    """
    shipped = shipped_artifacts()
    if str(name_or_path) in shipped:
        return SHIPPED / str(name_or_path)
    try:
        path = Path(name_or_path).expanduser()
        if (path / _CONFIG).is_file():
            return path
        found = "a folder without config.json" if path.is_dir() else "nothing there"
    except (OSError, ValueError, RuntimeError) as error:  # no such user, too long, a null byte
        found = f"no path ({error})"
    raise ArtifactError(
        f"no artifact {str(name_or_path)!r}: expected a shipped name ({', '.join(shipped)}) "
        f"or the path of an artifact's folder; found {found}"
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
    """Writes an artifact, whole or not at all, in place of one that is there already.

    An artifact that is the same already is left as it is.

    Args:
        path: the folder to write.
        kind: ``"vision"``, ``"memory"``, ``"prior"``, ``"encoding"``, ``"elites"`` or ``"agent"``.
        class_name: the class that :func:`load_artifact`'s caller will restore.
        config: JSON-able configuration of that class.
        tensors: the weights.
        provenance: how it was made, JSON-able.
        card: the model card in Markdown.
        half: keep floating-point weights as float16, but for tensors with values beyond its range.

    Returns:
        The artifact's digest.

    Raises:
        ValueError: ``kind`` is unknown, or a weight is not finite (in the precision asked for).
    """
    if kind not in KINDS:
        raise ValueError(f"kind: expected one of {KINDS}, got {kind!r}")
    stored = {name: _stored(name, tensor, half) for name, tensor in tensors.items()}
    header = {
        "format_version": FORMAT_VERSION,
        "kind": kind,
        "class": class_name,
        "config": dict(config),
        "provenance": dict(provenance or {}),
    }
    files = {
        _CONFIG: json.dumps(header, indent=2, sort_keys=True, allow_nan=False).encode() + b"\n",
        _MODEL: save_safetensors(stored),
    }
    if card is not None:
        files[_CARD] = card.encode()
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in sorted(files.items())}
    files[_SUMS] = "".join(f"{digest}  {name}\n" for name, digest in sums.items()).encode()
    if not _holds(Path(path), files):
        _write_folder(Path(path), files)
    return sums[_MODEL]


def load_artifact(name_or_path: str | Path, *, kind: str | None = None) -> Artifact:
    """Reads and verifies an artifact.

    Args:
        name_or_path: name of a shipped artifact, or a folder.
        kind: what it must be, if given.

    Raises:
        ArtifactError: it is missing, damaged, of a newer format, or of another kind.
    """
    path = find_artifact(name_or_path)
    files = _verified_files(path)
    try:
        header = json.loads(files[_CONFIG])
        version, found = header["format_version"], header["kind"]
        class_name, config = header["class"], header["config"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ArtifactError(f"{path / _CONFIG}: not an artifact's configuration") from error
    for name, value, kinds in (("config", config, dict), ("class", class_name, str)):
        if not isinstance(value, kinds):
            expected = "an object" if kinds is dict else "text"
            raise ArtifactError(
                f"{path / _CONFIG}: expected {name!r} to be {expected}, got {value!r:.100}"
            )
    if version != FORMAT_VERSION:
        raise ArtifactError(
            f"{path}: format version {version}, this wmrl reads {FORMAT_VERSION}; upgrade wmrl "
            "or train the artifact again"
        )
    if kind is not None and found != kind:
        raise ArtifactError(f"{path}: expected an artifact of kind {kind!r}, got {found!r}")
    try:
        tensors = load_safetensors(files[_MODEL])
    except (SafetensorError, ValueError, KeyError) as error:
        raise ArtifactError(f"{path / _MODEL}: not a valid safetensors file ({error})") from error
    return Artifact(
        path=path,
        kind=found,
        class_name=class_name,
        config=config,
        provenance=header.get("provenance", {}),
        tensors={
            name: tensor.float() if tensor.dtype == torch.float16 else tensor
            for name, tensor in tensors.items()
        },
        digest=hashlib.sha256(files[_MODEL]).hexdigest(),
    )


def restore_config(config_class: type[C], artifact: Artifact) -> C:
    """The config dataclass that an artifact was saved with.

    Raises:
        ArtifactError: its fields are not those of ``config_class``, or have values it refuses.
    """
    try:
        return build_config(config_class, artifact.config)
    except (TypeError, ValueError) as error:
        raise ArtifactError(
            f"{artifact.path / _CONFIG}: not a configuration of {artifact.class_name}: {error}"
        ) from error


def restore_module(make: Callable[[], M], artifact: Artifact) -> M:
    """A module with an artifact's weights.

    It is first made without memory for its weights: a forged size must not end in gigabytes.

    Args:
        make: makes the module that the artifact's configuration describes.
        artifact: what was read.

    Raises:
        ArtifactError: there is no such module, or names or shapes of its weights are others.
    """
    try:
        with torch.device("meta"):
            skeleton = make()
    except (RuntimeError, TypeError, ValueError, OverflowError, MemoryError) as error:
        raise ArtifactError(
            f"{artifact.path / _CONFIG}: no {artifact.class_name} can be made of it: {error}"
        ) from error
    _check_shapes(skeleton, artifact)
    module = make()
    module.load_state_dict(artifact.tensors)
    return module


def load_weights(module: torch.nn.Module, artifact: Artifact) -> None:
    """Copies an artifact's weights into ``module``.

    Raises:
        ArtifactError: names or shapes differ from the module's.
    """
    _check_shapes(module, artifact)
    module.load_state_dict(artifact.tensors)


def _check_shapes(module: torch.nn.Module, artifact: Artifact) -> None:
    expected = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    got = {name: tuple(tensor.shape) for name, tensor in artifact.tensors.items()}
    if expected != got:
        name = min(set(expected.items()) ^ set(got.items()))[0]
        raise ArtifactError(
            f"{artifact.path}: weights do not fit {artifact.class_name}: {name!r} expected shape "
            f"{expected.get(name)}, got {got.get(name)}"
        )


def _stored(name: str, tensor: torch.Tensor, half: bool) -> torch.Tensor:
    tensor = tensor.detach().cpu().contiguous()
    if half and tensor.is_floating_point() and not bool((tensor.abs() > _LARGEST_HALF).any()):
        tensor = tensor.half()  # what does not fit stays as it is
    if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
        raise ValueError(f"tensors: {name!r} has values that are not finite; nothing was written")
    return tensor


def _verified_files(path: Path) -> dict[str, bytes]:
    """The artifact's files, each equal to its line in SHA256SUMS."""
    known = {_CONFIG, _MODEL, _CARD, _SUMS}
    foreign = sorted({entry.name for entry in path.iterdir()} - known)
    foreign = [name for name in foreign if not name.startswith(".")]
    if foreign:
        raise ArtifactError(
            f"{path}: holds {foreign[0]!r}, which is no part of an artifact, so it is refused; "
            "remove it if you know where it comes from"
        )
    files = {}
    for name, digest in _read_sums(path).items():
        try:
            files[name] = (path / name).read_bytes()
        except OSError as error:
            raise ArtifactError(f"{path / name}: cannot be read ({error.strerror})") from error
        if hashlib.sha256(files[name]).hexdigest() != digest:
            raise ArtifactError(
                f"{path / name}: damaged (its SHA-256 is not the one in {_SUMS}); fetch or "
                "train it again"
            )
    missing = {_CONFIG, _MODEL} - set(files)
    if missing:
        raise ArtifactError(f"{path / _SUMS}: lacks {', '.join(sorted(missing))}")
    return files


def _read_sums(path: Path) -> dict[str, str]:
    try:
        lines = (path / _SUMS).read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ArtifactError(
            f"{path / _SUMS}: missing or not text, so it can't be trusted"
        ) from error
    sums = {}
    for line in lines:
        digest, _, name = line.partition("  ")
        # Only the known names: a sums file must not lead the reader out of the folder.
        if name not in (_CONFIG, _MODEL, _CARD) or name in sums or len(digest) != 64:
            raise ArtifactError(f"{path / _SUMS}: unexpected line {line[:100]!r}")
        sums[name] = digest
    return sums


def _write_folder(path: Path, files: Mapping[str, bytes]) -> None:
    """Writes an artifact's files, unless something else has that name."""
    if path.exists() and any(path.iterdir()):
        shown = {entry.name for entry in path.iterdir() if not entry.name.startswith(".")}
        if _SUMS not in shown or shown - {_CONFIG, _MODEL, _CARD, _SUMS}:
            raise ArtifactError(
                f"{path}: holds something that is not an artifact; choose another path"
            )
    replace_folder(path, files)


def _holds(path: Path, files: Mapping[str, bytes]) -> bool:
    """Whether the folder holds these files and no others."""
    try:
        return {entry.name for entry in path.iterdir()} == set(files) and all(
            (path / name).read_bytes() == data for name, data in files.items()
        )
    except OSError:
        return False


def package_versions(*more: str) -> dict[str, str]:
    """Versions of wmrl, NumPy, torch, and ``more`` packages, by name."""
    return {name: version(name) for name in sorted({"wmrl", "numpy", "torch", *more})}
