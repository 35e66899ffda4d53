"""Results that are made once: kept beside what they are the results of, and read again."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wmrl.storage.files import write_report


class KeptReport:
    """A JSON file with a result and with all that it depends on.

    Args:
        path: the file, in the folder of the work.
        asked: JSON-able description of what the result is of.
        what: the work, in words, for errors.

    Raises:
        ValueError: the file holds a result of other settings.
    """

    def __init__(self, path: Path, asked: Mapping[str, Any], *, what: str) -> None:
        self._path = path
        self._asked = json.loads(json.dumps(asked))  # as it will be read: tuples are lists there
        self.found: dict[str, Any] | None = None
        if path.exists():
            found: dict[str, Any] = json.loads(path.read_text())
            if found["asked"] != self._asked:
                raise ValueError(
                    f"path: expected a folder of this {what}, {path} holds one of other "
                    "settings; choose another folder, or delete that file"
                )
            self.found = found

    def keep(self, result: Mapping[str, Any]) -> dict[str, Any]:
        """Writes a result, and returns it with ``asked``, as :attr:`found` will be."""
        whole = {"asked": self._asked, **result}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_report(self._path, whole)
        return whole
