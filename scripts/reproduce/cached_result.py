"""Results that are made once: kept beside what they are the results of, and read again."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wmrl.storage.files import write_report


class CachedResult:
    """A JSON file with a result and with all that it depends on.

    Args:
        path: the file, in the folder of the work.
        key: JSON-able description of what the result is of.
        what: the work, in words, for errors.

    Raises:
        ValueError: the file holds a result of other settings.
    """

    def __init__(self, path: Path, key: Mapping[str, Any], *, what: str) -> None:
        self._path = path
        self._key = json.loads(json.dumps(key))  # as it will be read: tuples are lists there
        self.value: dict[str, Any] | None = None
        if path.exists():
            found: dict[str, Any] = json.loads(path.read_text())
            if found["key"] != self._key:
                raise ValueError(
                    f"path: expected a folder of this {what}, {path} holds one of other "
                    "settings; choose another folder, or delete that file"
                )
            self.value = found

    def store(self, result: Mapping[str, Any]) -> dict[str, Any]:
        """Writes a result, and returns it with ``key``, as :attr:`value` will be."""
        whole = {"key": self._key, **result}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_report(self._path, whole)
        return whole
