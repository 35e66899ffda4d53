"""Artifacts: folders of trained weights, safe to load and verified by checksums.

An artifact consists of plain data and never contains a pickle::

    config.json         format version, kind, class, configuration and provenance
    model.safetensors   weights
    README.md           model card (optional)
    SHA256SUMS          one line per file, in the format of ``sha256sum``

An artifact is written atomically, so that its folder is always complete. All files are verified
against their checksums before their content is used.
"""

import glob
import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import save as save_safetensors
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)

from wmrl.core.config import build_config
from wmrl.core.strict_json import json_text
from wmrl.core.validation import check_choice
from wmrl.storage.files import replace_folder
from wmrl.storage.reading import (
    SMALL_LIMIT,
    WEIGHTS_LIMIT,
    StoredFileError,
    parse_json,
    read_file,
)
from wmrl.storage.recognition import did_you_mean, recognize
from wmrl.storage.tensors import parse_tensors

FORMAT_VERSION = 2
# Releases that can read earlier format versions.
_READERS = {1: "wmrl 0.1"}

# Weight files keep the former names of some submodules. New names would change the digests of the
# files, by which memories and agents refer to them.
_KEYS = {"quantizer": "quantiser", "sequence_model": "core"}
_ATTRIBUTES = {key: attribute for attribute, key in _KEYS.items()}

_LARGEST_HALF = torch.finfo(torch.float16).max
KINDS = ("vision", "memory", "prior", "encoding", "elites", "agent")
SHIPPED = Path(__file__).parents[1] / "artifacts"

C = TypeVar("C")
M = TypeVar("M", bound=torch.nn.Module)

_CONFIG, _MODEL, _CARD, _SUMS = "config.json", "model.safetensors", "README.md", "SHA256SUMS"
_LIMITS = {_MODEL: WEIGHTS_LIMIT}  # in bytes; that of all other files is SMALL_LIMIT
_MEND = "download or train the artifact again"
# Layers without weights, and groups of layers, come on top of the tensors.
_LAYERS_PER_TENSOR, _LAYERS = 20, 1000
_PATIENCE = 5.0  # seconds to go on reading an artifact that others replace again and again


class ArtifactError(ValueError):
    """Error raised if an artifact is missing, damaged, of another kind, or incompatible."""


@dataclass(frozen=True)
class Artifact:
    """Verified content of an artifact.

    Attributes:
        path: folder of the artifact.
        kind: ``"vision"``, ``"memory"``, ``"prior"``, ``"encoding"``, ``"elites"`` or ``"agent"``.
        class_name: name of the model's class, for instance ``"VAE"``.
        config: values of the model's configuration, by field name.
        provenance: description of the artifact's origin, such as the command, the seed, the hash of
            the data, package versions and scores.
        tensors: weights by name; float16 weights are converted to float32.
        digest: SHA-256 of ``model.safetensors``; other artifacts refer to this artifact by it.
    """

    path: Path
    kind: str
    class_name: str
    config: dict[str, Any]
    provenance: dict[str, Any]
    tensors: dict[str, torch.Tensor]
    digest: str

    @property
    def name_or_path(self) -> str:
        """Name of a shipped artifact, or absolute path of any other."""
        path = self.path.resolve()
        return path.name if path.parent == SHIPPED.resolve() else str(path)


def shipped_artifacts(*, kind: str | None = None) -> list[str]:
    """Returns the names of the artifacts that come with the package.

    Args:
        kind: kind of the artifacts, such as ``"memory"``; None for all kinds.

    Raises:
        ArtifactError: ``kind`` is given, and a configuration is damaged.
    """
    headers = sorted(SHIPPED.glob(f"*/{_CONFIG}"))
    return [path.parent.name for path in headers if kind is None or _kind(path) == kind]


def find_artifact(name_or_path: str | Path, *, kind: str | None = None) -> Path:
    """Returns the folder of an artifact.

    Args:
        name_or_path: name of a shipped artifact, path of an artifact's folder, or path of the
            folder of a run, which stands for the folder ``artifact`` in it.
        kind: kind of the artifacts that the error message suggests; None for any kind.

    Raises:
        ArtifactError: there is neither such a shipped artifact nor such a folder.
    """
    shipped = shipped_artifacts()
    if str(name_or_path) in shipped:
        return SHIPPED / str(name_or_path)
    try:
        path = Path(name_or_path).expanduser()
        found = recognize(path)
        if found.kind != "run" and (path / _CONFIG).is_file():
            return path
        if recognize(path / "artifact").kind == "artifact":
            return path / "artifact"
        got = found.description + did_you_mean(path, "artifact", detail=kind)
        if got == "the folder of a run":
            got += " without an artifact; repeat the command of the run to finish it"
    except (OSError, ValueError, RuntimeError) as error:  # no such user, name too long, null byte
        got = f"an invalid path ({error})"
    raise ArtifactError(
        f"no artifact {str(name_or_path)!r}: expected a shipped artifact ({', '.join(shipped)}) "
        f"or the path of an artifact's folder, got {got}"
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
    """Writes an artifact atomically, and replaces any artifact at that path.

    An existing artifact with the same content is left untouched.

    Args:
        path: folder to write.
        kind: ``"vision"``, ``"memory"``, ``"prior"``, ``"encoding"``, ``"elites"`` or ``"agent"``.
        class_name: name of the model's class, for instance ``"VAE"``.
        config: JSON-serializable configuration of the model, by field name.
        tensors: weights by name.
        provenance: JSON-serializable description of the artifact's origin.
        card: model card in Markdown.
        half: True to store floating-point tensors as float16. A tensor with values beyond the range
            of float16 keeps its dtype.

    Returns:
        The artifact's digest, the SHA-256 of ``model.safetensors``.

    Raises:
        ValueError: ``kind`` is unknown, or a weight is not finite.
        ArtifactError: the folder contains files that are not part of an artifact.

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
    header = {
        "format_version": FORMAT_VERSION,
        "kind": kind,
        "class": class_name,
        "config": dict(config),
        "provenance": dict(provenance or {}),
    }
    files = {
        _CONFIG: json_text(header, indent=2, sort_keys=True).encode() + b"\n",
        _MODEL: _model_file(tensors, half),
    }
    if card is not None:
        files[_CARD] = card.encode()
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in sorted(files.items())}
    files[_SUMS] = "".join(f"{digest}  {name}\n" for name, digest in sums.items()).encode()
    if not _holds(Path(path), files):
        _write_folder(Path(path), files)
    return sums[_MODEL]


def artifact_digest(tensors: Mapping[str, torch.Tensor], *, half: bool = False) -> str:
    """Computes the digest that :func:`save_artifact` would return for these weights."""
    return hashlib.sha256(_model_file(tensors, half)).hexdigest()


def load_artifact(name_or_path: str | Path, *, kind: str | None = None) -> Artifact:
    """Reads and verifies an artifact.

    Args:
        name_or_path: name of a shipped artifact, path of an artifact's folder, or path of the
            folder of a run, which stands for the folder ``artifact`` in it.
        kind: required kind; None accepts any kind.

    Raises:
        ArtifactError: the artifact is missing, damaged, of another format, or of another kind.
    """
    path, files = _read(name_or_path, kind)
    try:
        header = parse_json(files[_CONFIG])
        version, found = header["format_version"], header["kind"]
        class_name, config = header["class"], header["config"]
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(
            f"{path / _CONFIG}: not an artifact's configuration; {_MEND}"
        ) from error
    for name, value, kinds in (("config", config, dict), ("class", class_name, str)):
        if not isinstance(value, kinds):
            expected = "a JSON object" if kinds is dict else "a string"
            raise ArtifactError(
                f"{path / _CONFIG}: expected {name!r} to be {expected}, got {value!r:.100}"
            )
    if version != FORMAT_VERSION:
        raise ArtifactError(
            f"{path}: expected format version {FORMAT_VERSION}, got {version!r}; load the artifact "
            f"with {_READERS.get(version, 'a newer wmrl')}, or train it again"
        )
    if kind is not None and found != kind:
        raise ArtifactError(f"{path}: expected an artifact of kind {kind!r}, got {found!r}")
    try:
        tensors, _ = parse_tensors(files[_MODEL])
    except ValueError as error:
        raise ArtifactError(
            f"{path / _MODEL}: not a valid safetensors file ({error}); {_MEND}"
        ) from error
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise ArtifactError(
                f"{path / _MODEL}: expected finite weights, got NaN or ∞ in {name!r}; train the "
                "artifact again"
            )
    return Artifact(
        path=path,
        kind=found,
        class_name=class_name,
        config=config,
        provenance=header.get("provenance", {}),
        tensors={
            _renamed(name, _ATTRIBUTES): (
                tensor.float() if tensor.dtype == torch.float16 else tensor
            )
            for name, tensor in tensors.items()
        },
        digest=hashlib.sha256(files[_MODEL]).hexdigest(),
    )


def restore_config(config_class: type[C], artifact: Artifact) -> C:
    """Builds the configuration that an artifact was saved with.

    Raises:
        ArtifactError: a field of the saved configuration is unknown, missing or invalid.
    """
    try:
        return build_config(config_class, artifact.config)
    except (TypeError, ValueError) as error:
        raise ArtifactError(
            f"{artifact.path / _CONFIG}: not a configuration of {artifact.class_name}: {error}"
        ) from error


def restore_module(make: Callable[[], M], artifact: Artifact) -> M:
    """Creates a module and loads an artifact's weights into it.

    The shapes of the weights are first checked on PyTorch's meta device, where tensors take no
    memory, and with a limit on the number of layers. A forged dimension or count thus cannot make
    the process allocate gigabytes, or run for ever.

    Args:
        make: function that creates the module from the artifact's configuration.
        artifact: content of the artifact.

    Raises:
        ArtifactError: the module can't be created, or the names or shapes of its weights differ
            from the artifact's.
    """
    try:
        with torch.device("meta"), limited_layers(artifact):
            skeleton = make()
    except (RuntimeError, TypeError, ValueError, OverflowError, MemoryError) as error:
        raise ArtifactError(
            f"{artifact.path / _CONFIG}: invalid configuration of {artifact.class_name}: {error}"
        ) from error
    _check_shapes(skeleton, artifact)
    module = make()
    module.load_state_dict(artifact.tensors)
    return module


@contextmanager
def limited_layers(artifact: Artifact) -> Iterator[None]:
    """Limits the layers that the ``with`` block can create, given the tensors of an artifact.

    Raises:
        ValueError: the block creates far more layers than the artifact has tensors.
    """
    limit = _LAYERS_PER_TENSOR * len(artifact.tensors) + _LAYERS
    owner, count = threading.get_ident(), 0

    def check(*_: object) -> None:
        nonlocal count
        count += threading.get_ident() == owner
        if count > limit:
            raise ValueError(
                f"expected a number of layers that fits the {len(artifact.tensors)} tensors of "
                f"{_MODEL}, got far more"
            )

    hooks = [
        register_module_module_registration_hook(check),
        register_module_parameter_registration_hook(check),
        register_module_buffer_registration_hook(check),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def load_weights(module: torch.nn.Module, artifact: Artifact) -> None:
    """Copies an artifact's weights into a module.

    Raises:
        ArtifactError: the names or shapes of the weights differ from those of the module.
    """
    _check_shapes(module, artifact)
    module.load_state_dict(artifact.tensors)


def _check_shapes(module: torch.nn.Module, artifact: Artifact) -> None:
    expected = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    got = {name: tuple(tensor.shape) for name, tensor in artifact.tensors.items()}
    if expected != got:
        name = min(set(expected.items()) ^ set(got.items()))[0]
        raise ArtifactError(
            f"{artifact.path}: weights do not fit {artifact.class_name}: {name!r}: expected shape "
            f"{expected.get(name)}, got {got.get(name)} (None if there is no such weight)"
        )
    check_dtypes(artifact, {name: (own.dtype,) for name, own in module.state_dict().items()})


def check_dtypes(artifact: Artifact, dtypes: Mapping[str, tuple[torch.dtype, ...]]) -> None:
    """Checks the dtypes of an artifact's weights; float16 weights count as float32.

    Args:
        artifact: content of the artifact.
        dtypes: allowed dtypes, by name of the weight.

    Raises:
        ArtifactError: a weight has another dtype.
    """
    for name, tensor in artifact.tensors.items():
        if tensor.dtype not in dtypes[name]:
            raise ArtifactError(
                f"{artifact.path}: weights do not fit {artifact.class_name}: {name!r}: expected "
                f"dtype {' or '.join(map(str, dtypes[name]))}, got {tensor.dtype}; train the "
                "artifact again"
            )


def _model_file(tensors: Mapping[str, torch.Tensor], half: bool) -> bytes:
    """Returns the content of ``model.safetensors``."""
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

    If another process replaces the folder meanwhile, reading starts again with the new folder.
    """
    end = time.monotonic() + _PATIENCE
    while True:
        before = _state(name_or_path)
        try:
            path = find_artifact(name_or_path, kind=kind)
            return path, _verified_files(path)
        except ArtifactError:
            if before == _state(name_or_path) and not _being_replaced(name_or_path):
                raise
            if time.monotonic() > end:
                raise
            time.sleep(0.001)


def _state(path: str | Path) -> tuple[int, ...] | None:
    """Returns numbers that change if a folder is replaced; None if there is no such folder."""
    try:
        status = Path(path).stat()
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino, status.st_ctime_ns


def _being_replaced(path: str | Path) -> bool:
    """Returns True while a folder has no name, because a writer can't swap it in one step."""
    path = Path(path)
    try:
        return not path.exists() and any(path.parent.glob(f".{glob.escape(path.name)}.*.old"))
    except (OSError, ValueError):
        return False


def _verified_files(path: Path) -> dict[str, bytes]:
    """Reads an artifact's files and verifies them against its ``SHA256SUMS``.

    All files are those of one folder, even if another folder takes its name meanwhile.
    """
    if os.open not in os.supports_dir_fd:  # Windows
        return _files_of(path, None)
    try:
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be opened ({error.strerror}); {_MEND}") from error
    try:
        return _files_of(path, folder)
    finally:
        os.close(folder)


def _files_of(path: Path, folder: int | None) -> dict[str, bytes]:
    known = {_CONFIG, _MODEL, _CARD, _SUMS}
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
        files[name] = _read_one(path / name, folder)
        if hashlib.sha256(files[name]).hexdigest() != digest:
            raise ArtifactError(
                f"{path / name}: damaged (its SHA-256 differs from the one in {_SUMS}); {_MEND}"
            )
    missing = {_CONFIG, _MODEL} - set(files)
    if missing:
        raise ArtifactError(
            f"{path / _SUMS}: expected a line for each file, got none for "
            f"{', '.join(sorted(missing))}; {_MEND}"
        )
    return files


def _read_one(path: Path, folder: int | None = None) -> bytes:
    try:
        limit = _LIMITS.get(path.name, SMALL_LIMIT)
        return read_file(path, limit=limit, folder=folder, mend=_MEND)
    except FileNotFoundError as error:
        raise ArtifactError(f"{path}: cannot be read ({error.strerror}); {_MEND}") from error
    except StoredFileError as error:
        raise ArtifactError(str(error)) from error


def _kind(path: Path) -> Any:
    """Returns the kind of a shipped artifact, given the path of its configuration."""
    try:
        return parse_json(_read_one(path)).get("kind")
    except ValueError as error:
        raise ArtifactError(f"{path}: damaged ({error}); install wmrl again") from error


def _renamed(name: str, table: Mapping[str, str]) -> str:
    """Renames a tensor: replaces the parts of its dotted name that are keys of a table."""
    return ".".join(table.get(part, part) for part in name.split("."))


def _read_sums(path: Path, folder: int | None) -> dict[str, str]:
    try:
        lines = _read_one(path / _SUMS, folder).decode().splitlines()
    except (ArtifactError, UnicodeDecodeError) as error:
        raise ArtifactError(
            f"{path / _SUMS}: missing or not text, so the artifact cannot be verified ({error}); "
            f"{_MEND}"
        ) from error
    sums = {}
    for line in lines:
        digest, _, name = line.partition("  ")
        # Only known names are allowed, so that no line refers to a file outside the folder.
        if name not in (_CONFIG, _MODEL, _CARD) or name in sums or len(digest) != 64:
            raise ArtifactError(f"{path / _SUMS}: unexpected line {line[:100]!r}; {_MEND}")
        sums[name] = digest
    return sums


def _write_folder(path: Path, files: Mapping[str, bytes]) -> None:
    """Writes an artifact's folder; replaces only an empty folder or another artifact."""
    if path.exists() and any(path.iterdir()):
        shown = {entry.name for entry in path.iterdir() if not entry.name.startswith(".")}
        if _SUMS not in shown or shown - {_CONFIG, _MODEL, _CARD, _SUMS}:
            raise ArtifactError(
                f"{path}: contains files that are not part of an artifact; choose another path"
            )
    replace_folder(path, files)


def _holds(path: Path, files: Mapping[str, bytes]) -> bool:
    """Returns True if a folder contains exactly these files."""
    try:
        return {entry.name for entry in path.iterdir()} == set(files) and all(
            _read_one(path / name) == data for name, data in files.items()
        )
    except (OSError, ArtifactError):
        return False


def package_versions(*more: str) -> dict[str, str]:
    """Returns the versions of wmrl, NumPy, torch and further packages, by name."""
    return {name: version(name) for name in sorted({"wmrl", "numpy", "torch", *more})}
