"""The README: short, with recipes that run as they stand."""

import re
from pathlib import Path

import pytest
from pages import ROOT, blocks

README = (ROOT / "README.md").read_text()
RECIPES = re.search(r"^## Three recipes\n(.*?)^## ", README, re.S | re.M)
PYTHON = [block for language, block in blocks(README) if language == "python"]


def test_it_is_short() -> None:
    assert len(README.splitlines()) <= 180


def test_recipes_have_ten_lines() -> None:
    assert RECIPES is not None
    recipes = blocks(RECIPES[1])
    assert [language for language, _ in recipes] == ["python", "python", "bash"]
    for _, code in recipes:
        assert len([line for line in code.splitlines() if line.strip()]) <= 10
        assert max(map(len, code.splitlines())) <= 100


@pytest.mark.parametrize("number", range(len(PYTHON)))
def test_block_runs(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    scope: dict[str, object] = {"__name__": f"readme_{number}"}
    exec(compile(PYTHON[number], f"README.md, block {number}", "exec"), scope)
    assert len(scope) > 3
