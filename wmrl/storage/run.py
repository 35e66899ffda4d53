"""A run: the folder that a training command owns while it works, and resumes from."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as save_safetensors

from wmrl.storage.files import sync_folder

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows has no flock
    fcntl = None  # type: ignore[assignment]

_LOCK, _CONFIG = "lock", "config.json"


class RunError(ValueError):
    """A run's folder belongs to someone or something else, or a checkpoint is damaged."""


@dataclass(frozen=True)
class Checkpoint:
    """What :meth:`Run.save_checkpoint` was given.

    Attributes:
        tensors: weights, optimiser moments, states of torch generators.
        state: everything else, as JSON keeps it (tuples come back as lists).
    """

    tensors: dict[str, torch.Tensor]
    state: dict[str, Any]


class Run:
    """A locked folder with a configuration and checkpoints that are whole or not there.

    The lock is the operating system's (``flock``): it ends with the process, however that ends.
    Use it as a context manager, or :meth:`close` it.

    Args:
        path: the run's folder; made if it isn't there.
        config: JSON-able description of what the run is: everything that its result depends on.
            It is written once, and compared when the run is resumed.

    Raises:
        RunError: another process (or object) owns the folder, or it has another configuration.
    """

    def __init__(self, path: str | Path, *, config: Mapping[str, Any]) -> None:
        self.path = Path(path)
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock: BinaryIO | None = _lock(self.path / _LOCK)
        try:
            self._settle_config(config)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Gives the folder free."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def save_checkpoint(
        self, name: str, tensors: Mapping[str, torch.Tensor], state: Mapping[str, Any]
    ) -> None:
        """Writes tensors and state as one file in place of the last checkpoint of that name.

        Args:
            name: such as ``"last"``; a file name without an ending.
            tensors: any dtypes and devices.
            state: JSON-able; floats are kept exactly.

        Raises:
            ValueError: ``name`` is no file name.
        """
        # Contiguous copies of their own memory: safetensors refuses tensors that share it.
        stored = {key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}
        stored = {key: tensor.clone() for key, tensor in stored.items()}
        text = json.dumps(dict(state), sort_keys=True)
        metadata = {"state": text, "sha256": _digest(stored, text)}
        self._write(self._checkpoint_path(name), save_safetensors(stored, metadata))

    def load_checkpoint(
        self, name: str, *, device: str | torch.device = "cpu"
    ) -> Checkpoint | None:
        """Reads a checkpoint; None where none was saved.

        Raises:
            RunError: it is damaged.
        """
        path = self._checkpoint_path(name)
        if not path.exists():
            return None
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata()
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            text = metadata["state"]
            whole = metadata["sha256"] == _digest(tensors, text)
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            raise RunError(
                f"{path}: not a checkpoint ({error}); delete it to start anew"
            ) from error
        if not whole:
            raise RunError(f"{path}: damaged (its SHA-256 differs); delete it to start anew")
        return Checkpoint({key: t.to(device) for key, t in tensors.items()}, json.loads(text))

    def delete_checkpoint(self, name: str) -> None:
        """Removes a checkpoint, if there is one."""
        self._checkpoint_path(name).unlink(missing_ok=True)

    def _checkpoint_path(self, name: str) -> Path:
        if not name or Path(name).name != name or name.startswith("."):
            raise ValueError(f"name: expected a file name without folders, got {name!r}")
        return self.path / f"{name}.checkpoint"

    def _settle_config(self, config: Mapping[str, Any]) -> None:
        path = self.path / _CONFIG
        text = json.dumps(dict(config), indent=2, sort_keys=True)
        if not path.exists():
            self._write(path, text.encode() + b"\n")
            return
        try:
            found = json.loads(path.read_bytes())
        except ValueError as error:
            raise RunError(f"{path}: not a run's configuration; choose another folder") from error
        difference = _difference(json.loads(text), found)
        if difference:
            raise RunError(
                f"{self.path}: holds a run with another configuration: {difference}; resume it "
                "with its own, or choose another folder"
            )

    def _write(self, path: Path, data: bytes) -> None:
        if self._lock is None:
            raise RunError(f"{self.path}: the run is closed")
        # One writer at a time (the lock), so a fixed name: what a kill leaves is overwritten.
        aside = path.with_name(f".{path.name}.new")
        with aside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
        sync_folder(path.parent)


def numpy_generator_state(generator: np.random.Generator) -> dict[str, Any]:
    """A NumPy generator's state as JSON keeps it."""
    state: dict[str, Any] = json.loads(
        json.dumps(generator.bit_generator.state, default=lambda array: array.tolist())
    )
    return state


def restore_numpy_generator(state: Mapping[str, Any]) -> np.random.Generator:
    """The generator that :func:`numpy_generator_state` was taken from.

    Raises:
        ValueError: ``state`` names no bit generator of NumPy's.
    """
    kind = getattr(np.random, str(state.get("bit_generator")), None)
    if not (isinstance(kind, type) and issubclass(kind, np.random.BitGenerator)):
        raise ValueError(
            f"state: expected the name of a NumPy bit generator, got {state.get('bit_generator')!r}"
        )
    bits = kind()
    bits.state = dict(state)
    return np.random.Generator(bits)


def restore_torch_generator(
    state: torch.Tensor, device: str | torch.device = "cpu"
) -> torch.Generator:
    """The torch generator whose ``get_state()`` was ``state``, ``(…,) uint8``."""
    generator = torch.Generator(device=device)
    generator.set_state(state.cpu())
    return generator


def _lock(path: Path) -> BinaryIO:
    file = path.open("a+b")
    if fcntl is not None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            owner = file.read().decode(errors="replace").strip()
            file.close()
            raise RunError(
                f"{path.parent}: in use by {owner or 'another process'}; wait for it, stop it, "
                "or choose another folder"
            ) from error
    file.truncate(0)
    file.write(f"process {os.getpid()}".encode())
    file.flush()
    return file


def _digest(tensors: Mapping[str, torch.Tensor], text: str) -> str:
    sha = hashlib.sha256(text.encode())
    for key, tensor in sorted(tensors.items()):
        sha.update(f"\n{key} {tensor.dtype} {list(tensor.shape)}\n".encode())
        sha.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return sha.hexdigest()


def _difference(expected: Any, found: Any, name: str = "") -> str:
    """The first field that differs, by its dotted name; empty if none does."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for key in sorted(expected.keys() | found.keys()):
            pair = expected.get(key, "nothing"), found.get(key, "nothing")
            if difference := _difference(*pair, f"{name}.{key}" if name else key):
                return difference
        return ""
    return "" if expected == found else f"{name}: expected {expected!r}, found {found!r}"
