"""Training runs: locked folders with a configuration and checkpoints."""

import json
import os
import warnings
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from safetensors.torch import save as save_safetensors

from wmrl.core.hashing import tensors_digest
from wmrl.core.strict_json import json_text, jsonable
from wmrl.core.warning import WMRLWarning
from wmrl.storage.files import check_writable, remove_unfinished, write_bytes, write_json
from wmrl.storage.locks import file_lock
from wmrl.storage.options_file import write_options_file
from wmrl.storage.reading import (
    WEIGHTS_LIMIT,
    StoredFileError,
    json_digest,
    read_file,
    read_json,
)
from wmrl.storage.recognition import recognize
from wmrl.storage.tensors import parse_tensors

_LOCK, _CONFIG, _REPORT = "lock", "config.json", "report.json"
_KEPT = (
    "this checkpoint was not written, and any earlier checkpoint is kept; if the run is resumed "
    "with the same settings, it will end in the same error: check the data, or start in another "
    "folder with a lower learning rate"
)


class RunError(ValueError):
    """Error raised if a folder is in use or holds another run, or if a checkpoint is damaged."""


@dataclass(frozen=True)
class Checkpoint:
    """Content of a checkpoint.

    Attributes:
        tensors: tensors by name, such as weights and optimizer moments.
        state: JSON-serializable state, such as the step; tuples are restored as lists.
        path: file of the checkpoint.
    """

    tensors: dict[str, torch.Tensor]
    state: dict[str, Any]
    path: Path


class Run:
    """A training run: a locked folder with a configuration and atomically written checkpoints.

    To extend a finished run, open it with a ``config`` in which a limit is higher than in the
    stored configuration. No limit may be lower, and all entries that are not limits must be
    unchanged. Opening the run then removes ``report.json``, the file that marks a run as finished.

    If the stored configuration is missing, it is written again from ``config``. If it is damaged,
    it is replaced with ``config``, but only if the folder holds a checkpoint of this run. In both
    cases, the folder must not hold a checkpoint of a run with another configuration. Differences
    in the limits are allowed.

    The lock on the folder is a ``flock``, which the operating system releases when the process
    ends, even if the process is killed. To release the lock earlier, use the run as a context
    manager, or call :meth:`close`.

    Args:
        path: folder of the run; created if it does not exist.
        config: JSON-serializable description of everything that the run's result depends on. The
            description is saved with a new run. When the run is resumed, ``config`` must equal the
            saved description, except for limits that are raised.
        limits: dotted names of entries of ``config`` that limit the run, such as
            ``"training.steps"``. These entries may be raised later. An entry that is None stands
            for no limit.

    Attributes:
        path: folder of the run.
        config: the given ``config``, as JSON stores it.
        extended: True if a limit was raised when the run was opened.

    Raises:
        RunError: another process or ``Run`` uses the folder; the folder holds a run with another
            configuration, or something other than a run; a checkpoint belongs to another
            configuration; or the folder can't be written.

    Example:
        >>> import torch
        >>> from wmrl.storage import Run
        >>> with Run("run", config={"seed": 1}) as run:
        ...     path = run.save_checkpoint("last", {"weight": torch.ones(2)}, {"step": 10})
        >>> with Run("run", config={"seed": 1}) as run:
        ...     checkpoint = run.load_checkpoint("last")
        >>> checkpoint.tensors, checkpoint.state
        ({'weight': tensor([1., 1.])}, {'step': 10})
        >>> Run("run", config={"seed": 2})
        Traceback (most recent call last):
        wmrl.storage.run.RunError: run: holds a run with another configuration: seed: ...
    """

    def __init__(
        self, path: str | Path, *, config: Mapping[str, Any], limits: Sequence[str] = ()
    ) -> None:
        self.path = _check_folder(Path(path))
        self.config: dict[str, Any] = jsonable(dict(config))
        self._limits = tuple(limits)
        self.extended = False
        self._identity = json_digest(_without(self.config, self._limits))
        self.path.mkdir(parents=True, exist_ok=True)
        self._folder = self.path.stat()
        self._lock: ExitStack | None = ExitStack()
        try:
            self._lock.enter_context(file_lock(self.path / _LOCK, timeout=0))
        except OSError as error:  # it is in use, or the file system has no locks
            raise RunError(f"{error}, or choose another folder") from error
        try:
            for folder in (self.path, *self.path.glob("*/")):  # the lock excludes other writers
                remove_unfinished(folder)
            self._settle_config()
            write_options_file(self.path)
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
        """Releases the lock on the run's folder."""
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
    ) -> Path:
        """Writes a checkpoint, replaces any earlier one of that name, and returns its path.

        A checkpoint with numbers that are not finite is never written, because a run could not be
        resumed from it. An earlier checkpoint of that name is then kept.

        Args:
            name: name of the checkpoint, such as ``"last"``: a file name without a suffix.
            tensors: tensors by name, of any dtypes and devices.
            state: JSON-serializable state; floats are stored exactly.
            may_hold_nan: names of tensors in which NaN stands for a missing value.

        Raises:
            FloatingPointError: a tensor or ``state`` contains a number that is not finite.
            TypeError: JSON can't store ``state``.
            ValueError: ``name`` is empty, contains a folder, or starts with a dot.
            RunError: the run is closed, or its folder was moved or removed.
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
        metadata = {
            "state": text,
            "sha256": tensors_digest(stored, text),
            "run": self._identity,
        }
        return self._write(self._checkpoint_path(name), save_safetensors(stored, metadata))

    def load_checkpoint(
        self, name: str, *, device: str | torch.device = "cpu"
    ) -> Checkpoint | None:
        """Reads a checkpoint; returns None if it does not exist.

        Args:
            name: name of the checkpoint.
            device: device of the tensors.

        Raises:
            RunError: the checkpoint is damaged, or belongs to a run with another configuration.
        """
        path = self._checkpoint_path(name)
        try:
            tensors, metadata = _read_checkpoint(path)
        except FileNotFoundError:
            return None
        self._check_owner(path, metadata)
        return Checkpoint(
            {key: t.to(device) for key, t in tensors.items()}, json.loads(metadata["state"]), path
        )

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

    def _settle_config(self) -> None:
        """Saves the configuration of a new run, or compares it with that of an existing run."""
        path = self.path / _CONFIG
        try:
            found = read_json(path, mend="it should hold the configuration of a run")
        except StoredFileError as error:
            owned = self._owns_checkpoints()
            if os.path.lexists(path):
                if not owned:
                    raise RunError(
                        f"{error}; delete this file to start a run with the given configuration, "
                        "or choose another folder"
                    ) from error
                warnings.warn(
                    f"{error}; it is written again from the given configuration, which is that of "
                    "the checkpoints in this folder",
                    WMRLWarning,
                    stacklevel=3,
                )
            self._write_config()
            return
        if found == self.config:
            return
        same = _without(self.config, self._limits) == _without(found, self._limits)
        lowered = self._lowered(found)
        if same and not lowered:
            # The report goes first: a run that is killed in between is then no finished one.
            (self.path / _REPORT).unlink(missing_ok=True)
            self._write_config()
            self.extended = True
            return
        if same:
            name, old, new = lowered[0]
            expected = "no limit" if old is None else f"at least {old}"
            mend = "remove the limit" if old is None else "raise or remove the limit"
            raise RunError(
                f"{self.path}: {name}: expected {expected}, as in the run that this folder holds, "
                f"got {new}; {mend}, or choose another folder"
            )
        raise RunError(
            f"{self.path}: holds a run with another configuration: "
            f"{_difference(self.config, found)}; resume that run with its own configuration"
            f"{', or with a higher limit' if self._limits else ''}, or choose another folder"
        )

    def _lowered(self, found: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
        """Lists the limits that are lower than in an earlier configuration.

        Returns:
            A tuple for each lowered limit: its name, the earlier value and the new value. None
            stands for no limit.
        """
        limits = [(name, _entry(found, name), _entry(self.config, name)) for name in self._limits]
        return [
            (name, old, new)
            for name, old, new in limits
            if new is not None and (old is None or new < old)
        ]

    def _write_config(self) -> None:
        self._check_open()
        write_json(self.path / _CONFIG, self.config)

    def _owns_checkpoints(self) -> bool:
        """Returns True if the folder holds a checkpoint of a run with this configuration.

        Raises:
            RunError: a checkpoint belongs to a run with another configuration.
        """
        owned = False
        for path in sorted(self.path.glob("*.checkpoint")):
            try:
                metadata = _read_checkpoint(path)[1]
            except RunError:
                continue  # reported when it is loaded
            self._check_owner(path, metadata)
            owned = owned or "run" in metadata
        return owned

    def _check_owner(self, path: Path, metadata: Mapping[str, str]) -> None:
        # Earlier versions did not record the configuration.
        if metadata.get("run", self._identity) != self._identity:
            raise RunError(
                f"{path}: belongs to a run with another configuration; resume that run with its "
                "own configuration, or choose another folder"
            )

    def _write(self, path: Path, data: bytes) -> Path:
        self._check_open()
        return write_bytes(path, data)

    def _check_open(self) -> None:
        if self._lock is None:
            raise RunError(f"{self.path}: the run is closed; open it again to write")
        try:
            same = os.path.samestat(self.path.stat(), self._folder)
        except OSError:
            same = False
        if not same:
            raise RunError(
                f"{self.path}: expected the folder that the run was opened in, got another one or "
                "none (it was moved or removed, or the current folder has changed); nothing was "
                "written; open the run again, at the path where its folder is now"
            )


def _read_checkpoint(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Reads and verifies the tensors and the metadata of a checkpoint.

    Raises:
        FileNotFoundError: there is no checkpoint at that path.
        RunError: the checkpoint is damaged.
    """
    mend = "delete it to start again"
    try:
        data = read_file(path, limit=WEIGHTS_LIMIT, mend=mend)
    except StoredFileError as error:
        raise RunError(str(error)) from error
    try:
        tensors, metadata = parse_tensors(data)
        whole = metadata["sha256"] == tensors_digest(tensors, metadata["state"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunError(f"{path}: not a checkpoint ({error}); {mend}") from error
    if not whole:
        raise RunError(f"{path}: damaged (its SHA-256 differs from the recorded one); {mend}")
    return tensors, metadata


def _entry(config: Mapping[str, Any], name: str) -> Any:
    """Returns the entry at a dotted name in a configuration; None if there is no such entry."""
    value: Any = config
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _without(config: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Returns a copy of a configuration without the entries at the given dotted names."""
    copy: dict[str, Any] = jsonable(dict(config))
    for name in names:
        *parents, last = name.split(".")
        inner = _entry(copy, ".".join(parents)) if parents else copy
        if isinstance(inner, dict):
            inner.pop(last, None)
    return copy


def _check_folder(path: Path) -> Path:
    """Checks that a path can be the folder of a run, and returns the path.

    Raises:
        RunError: the path holds an artifact, a rollout store or latents, or can't be written.
    """
    found = recognize(path)
    if found.kind in ("artifact", "store", "latents"):
        raise RunError(
            f"{path}: expected the folder of a run, or a new or empty folder, got "
            f"{found.description}; choose another folder"
        )
    try:
        return check_writable(path, kind="folder")
    except ValueError as error:
        raise RunError(str(error)) from error


def _difference(expected: Any, found: Any, name: str = "") -> str:
    """Describes the first difference between two JSON values; returns ``""`` if they are equal."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for key in sorted(expected.keys() | found.keys()):
            pair = expected.get(key, "nothing"), found.get(key, "nothing")
            if difference := _difference(*pair, f"{name}.{key}" if name else key):
                return difference
        return ""
    return "" if expected == found else f"{name}: expected {expected!r}, got {found!r}"
