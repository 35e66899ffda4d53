"""Results of experiments, cached in JSON files together with all that they depend on."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wmrl.storage.files import write_json


class CachedResult:
    """A JSON file with a result and its key, a description of all that the result depends on.

    Args:
        path: the file.
        key: JSON-able description of all that the result depends on.
        name: what is cached, for error messages.

    Attributes:
        value: the content of the file, including ``key``; None if there is no file yet.

    Raises:
        ValueError: the file has another key.
    """

    def __init__(self, path: Path, key: Mapping[str, Any], *, name: str) -> None:
        self._path = path
        self._key = json.loads(json.dumps(key))  # as it is read from a file: tuples become lists
        self.value: dict[str, Any] | None = None
        if path.exists():
            found: dict[str, Any] = json.loads(path.read_text())
            if found["key"] != self._key:
                raise ValueError(
                    f"path: expected a folder of this {name}, {path} holds one of other settings; "
                    "choose another folder, or delete that file"
                )
            self.value = found

    def store(self, result: Mapping[str, Any]) -> dict[str, Any]:
        """Writes a result.

        Returns:
            The result and ``key``, as :attr:`value` will be when the file is read.
        """
        whole = {"key": self._key, **result}
        write_json(self._path, whole)
        return whole
