"""The README's Python runs as it stands."""

import re
from pathlib import Path

import pytest

BLOCKS = re.findall(
    r"^```python\n(.*?)^```", (Path(__file__).parents[1] / "README.md").read_text(), re.S | re.M
)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_block_runs(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    scope: dict[str, object] = {"__name__": f"readme_{number}"}
    exec(compile(BLOCKS[number], f"README.md, block {number}", "exec"), scope)
    assert len(scope) > 3


def test_there_are_blocks() -> None:
    assert len(BLOCKS) >= 5
