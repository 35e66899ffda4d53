"""Notebooks of the documentation: small, without outputs, and their cells run.

They run in this process, without a kernel, with the smaller amounts that they have for that, and
with shorter episodes of CarRacing.
"""

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest
from pages import DOCS, NOTEBOOKS, markdown, notebook_cells

from wmrl.envs.tasks.car_racing import CAR_RACING
from wmrl.envs.tasks.registry import _TASKS

FIGURES = {"codes": 6, "dreaming": 4, "learning": 3, "posterior": 4}


def notebook_name(page: Path) -> str:
    return page.stem


def test_all_notebooks_are_known_and_linked() -> None:
    assert {page.stem for page in NOTEBOOKS} == {*FIGURES}
    (index,) = [page for page in DOCS if page.parent.name == "notebooks"]
    for page in NOTEBOOKS:
        assert f"]({page.name})" in index.read_text()
        assert f"\n{page.stem}\n" in index.read_text()  # in the table of contents


@pytest.mark.parametrize("page", NOTEBOOKS, ids=notebook_name)
def test_they_are_small_and_have_no_outputs(page: Path) -> None:
    assert page.stat().st_size < 20_000
    for cell in json.loads(page.read_text())["cells"]:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
    assert markdown(page).startswith("# ")
    assert "**Try:**" in markdown(page)


@pytest.mark.parametrize("page", NOTEBOOKS, ids=notebook_name)
def test_they_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = []

    def show() -> None:
        for number in plt.get_fignums():
            plt.figure(number).savefig(tmp_path / f"{len(shown)}.png", dpi=20)
            shown.append(number)
        plt.close("all")

    mpl.use("Agg")
    monkeypatch.setattr(plt, "show", show)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("WMRL_SHORT", "1")
    monkeypatch.setitem(_TASKS, "car-racing", replace(CAR_RACING, max_frames=80))
    scope: dict[str, Any] = {"__name__": "notebook"}
    for number, (kind, code) in enumerate(notebook_cells(page)):
        if kind == "code":
            exec(compile(code, f"{page.name}, cell {number}", "exec"), scope)
    assert scope["SHORT"]
    assert len(shown) == FIGURES[page.stem]
