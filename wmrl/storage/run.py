"""Training runs: locked folders with a configuration and checkpoints."""

import json
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as save_safetensors

from wmrl.core.hashing import tensors_digest
from wmrl.core.strict_json import json_text
from wmrl.storage.files import write_bytes

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows has no flock
    fcntl = None  # type: ignore[assignment]

_LOCK, _CONFIG = "lock", "config.json"
_KEPT = (
    "this checkpoint was not written, and an earlier one is kept; resuming from it with the same "
    "settings would lead here again: check the data, or start in another folder with a lower "
    "learning rate"
)


class RunError(ValueError):
    """Error raised if a run's folder is in use or holds another run, or a checkpoint is damaged."""


@dataclass(frozen=True)
class Checkpoint:
    """Content of a checkpoint.

    Attributes:
        tensors: tensors by name, such as weights and optimizer moments.
        state: JSON-serializable state, such as the step; tuples are restored as lists.
    """

    tensors: dict[str, torch.Tensor]
    state: dict[str, Any]


class Run:
    """A training run: a locked folder with a configuration and atomically written checkpoints.

    The operating system holds the lock (``flock``) and releases it when the process ends, even if
    the process is killed. Use the run as a context manager, or call :meth:`close`.

    Args:
        path: folder of the run; created if it does not exist.
        config: JSON-serializable description of everything that the run's result depends on. It is
            saved with a new run, and must be equal when the run is resumed.

    Attributes:
        path: folder of the run.

    Raises:
        RunError: another process or ``Run`` uses the folder, or the folder holds a run with another
            configuration.

    Example:
        >>> import torch
        >>> from wmrl.storage import Run
        >>> with Run("run", config={"seed": 1}) as run:
        ...     run.save_checkpoint("last", {"weight": torch.ones(2)}, {"step": 10})
        >>> with Run("run", config={"seed": 1}) as run:
        ...     checkpoint = run.load_checkpoint("last")
        >>> checkpoint.tensors, checkpoint.state
        ({'weight': tensor([1., 1.])}, {'step': 10})
        >>> Run("run", config={"seed": 2})
        Traceback (most recent call last):
        wmrl.storage.run.RunError: run: holds a run with another configuration: seed: ...
    """

    def __init__(self, path: str | Path, *, config: Mapping[str, Any]) -> None:
        self.path = Path(path)
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock: BinaryIO | None = _lock(self.path / _LOCK)
        try:
            self._remove_leftovers()
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
        """Releases the lock."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def save_checkpoint(
        self,
        name: str,
        tensors: Mapping[str, torch.Tensor],
        state: Mapping[str, Any],
        *,
        may_hold_nan: Collection[str] = (),
    ) -> None:
        """Writes a checkpoint, and replaces any earlier one of that name.

        A checkpoint with numbers that are not finite is never written, because a run could not be
        resumed from it. The earlier checkpoint then stays the last one.

        Args:
            name: name of the checkpoint, such as ``"last"``: a file name without a suffix.
            tensors: tensors by name, of any dtypes and devices.
            state: JSON-serializable state; floats are stored exactly.
            may_hold_nan: names of tensors in which NaN stands for a missing value.

        Raises:
            FloatingPointError: a tensor or ``state`` contains a number that is not finite.
            TypeError: JSON can't store ``state``.
            ValueError: ``name`` is not a file name.
            RunError: the run is closed.
        """
        # Copies, because safetensors rejects tensors that share memory.
        stored = {key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}
        stored = {key: tensor.clone() for key, tensor in stored.items()}
        for key, tensor in stored.items():
            self._check_finite(name, key, tensor, nan=key in may_hold_nan)
        try:
            text = json_text(state, sort_keys=True)
        except ValueError as error:
            raise FloatingPointError(f"{self.path}: {error}; {_KEPT}") from error
        metadata = {"state": text, "sha256": tensors_digest(stored, text)}
        self._write(self._checkpoint_path(name), save_safetensors(stored, metadata))

    def load_checkpoint(
        self, name: str, *, device: str | torch.device = "cpu"
    ) -> Checkpoint | None:
        """Reads a checkpoint; returns None if it does not exist.

        Args:
            name: name of the checkpoint.
            device: device of the tensors.

        Raises:
            RunError: the checkpoint is damaged.
        """
        path = self._checkpoint_path(name)
        if not path.exists():
            return None
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata()
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            text = metadata["state"]
            whole = metadata["sha256"] == tensors_digest(tensors, text)
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            raise RunError(
                f"{path}: not a checkpoint ({error}); delete it to start again"
            ) from error
        if not whole:
            raise RunError(
                f"{path}: damaged (its SHA-256 differs from the recorded one); delete it to start "
                "again"
            )
        return Checkpoint({key: t.to(device) for key, t in tensors.items()}, json.loads(text))

    def delete_checkpoint(self, name: str) -> None:
        """Deletes a checkpoint if it exists."""
        self._checkpoint_path(name).unlink(missing_ok=True)

    def _checkpoint_path(self, name: str) -> Path:
        if not name or Path(name).name != name or name.startswith("."):
            raise ValueError(
                f"name: expected a file name without folders or a leading dot, got {name!r}"
            )
        return self.path / f"{name}.checkpoint"

    def _check_finite(self, name: str, key: str, tensor: torch.Tensor, *, nan: bool) -> None:
        finite = torch.isfinite(tensor) if tensor.is_floating_point() else None
        if finite is not None and nan:
            finite |= tensor.isnan()
        if finite is not None and not bool(finite.all()):
            raise FloatingPointError(
                f"{self.path}: expected finite numbers in checkpoint {name!r}, got NaN or infinity "
                f"{int((~finite).sum())} times in {key!r}; {_KEPT}"
            )

    def _remove_leftovers(self) -> None:
        """Removes unfinished checkpoints that killed processes have left behind.

        The lock ensures that no other process is writing them.
        """
        for left in self.path.glob(".*.new.checkpoint"):
            left.unlink(missing_ok=True)

    def _settle_config(self, config: Mapping[str, Any]) -> None:
        """Saves the configuration of a new run, or compares it with that of an existing run."""
        path = self.path / _CONFIG
        text = json_text(config, indent=2, sort_keys=True)
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
                "with its own configuration, or choose another folder"
            )

    def _write(self, path: Path, data: bytes) -> None:
        if self._lock is None:
            raise RunError(f"{self.path}: the run is closed; open it again to write")
        write_bytes(path, data)


def _lock(path: Path) -> BinaryIO:
    """Locks a file and writes the ID of this process into it."""
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


def _difference(expected: Any, found: Any, name: str = "") -> str:
    """Describes the first difference between two JSON values; returns ``""`` if they are equal."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for key in sorted(expected.keys() | found.keys()):
            pair = expected.get(key, "nothing"), found.get(key, "nothing")
            if difference := _difference(*pair, f"{name}.{key}" if name else key):
                return difference
        return ""
    return "" if expected == found else f"{name}: expected {expected!r}, got {found!r}"
