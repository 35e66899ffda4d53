"""Results of experiments, cached in JSON files together with all that they depend on."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wmrl.storage.files import write_json


class CachedResult:
    """JSON file with a result and its key, a description of all that the result depends on.

    Args:
        path: path of the file.
        key: JSON-able description of all that the result depends on.
        name: kind of the result, such as ``"search"``, for error messages.

    Attributes:
        value: content of the file, including ``key``; None if there is no file yet.

    Raises:
        ValueError: the file has a different key.
    """

    def __init__(self, path: Path, key: Mapping[str, Any], *, name: str) -> None:
        self._path = path
        self._key = json.loads(json.dumps(key))  # as read from a file, where tuples are lists
        self.value: dict[str, Any] | None = None
        if path.exists():
            found: dict[str, Any] = json.loads(path.read_text())
            if found["key"] != self._key:
                raise ValueError(
                    f"path: expected a folder of this {name}, got {path}, which has other "
                    "settings; choose another folder, or delete that file"
                )
            self.value = found

    def store(self, result: Mapping[str, Any]) -> dict[str, Any]:
        """Writes a result to the file.

        Returns:
            The result with ``key`` added, which is the :attr:`value` after the file is read.
        """
        whole = {"key": self._key, **result}
        write_json(self._path, whole)
        return whole
