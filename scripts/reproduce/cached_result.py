"""Cache for results of experiments, in JSON files."""

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wmrl.core.strict_json import jsonable
from wmrl.core.warning import WMRLWarning
from wmrl.storage.files import write_json
from wmrl.storage.reading import StoredFileError, read_json


class CachedResult:
    """Result of an experiment, cached in a JSON file together with a key.

    The key describes everything that the result depends on. A result that was computed with other
    settings is thus never used by mistake.

    Args:
        path: path of the file.
        key: JSON-serializable description of everything on which the result depends.
        name: kind of the result in error messages, such as ``"search"``.

    Attributes:
        value: content of the file, including ``key``; None if the file did not exist or is
            damaged. If the value is None, the result must be computed.

    Raises:
        ValueError: the file exists and contains a different key.

    Warns:
        UserWarning: the file is damaged.
    """

    def __init__(self, path: Path, key: Mapping[str, Any], *, name: str) -> None:
        self._path = path
        self._key = jsonable(key)  # as read from a file, where tuples are lists
        self.value: dict[str, Any] | None = None
        if os.path.lexists(path):
            try:
                found = read_json(path)
            except StoredFileError as error:
                warnings.warn(f"{error}; this {name} is computed again", WMRLWarning, stacklevel=2)
                return
            if found.get("key") != self._key:
                raise ValueError(
                    f"path: expected results with the settings of this {name}, got {path}, which "
                    "has other settings; choose another folder, or delete this file"
                )
            self.value = found

    def store(self, result: Mapping[str, Any]) -> dict[str, Any]:
        """Writes a result to the file.

        Returns:
            The content of the file: the entries of the result, and the cache key under ``"key"``.
        """
        whole = {"key": self._key, **result}
        write_json(self._path, whole)
        return whole
