import json
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest

from wmrl.storage.files import write_picture, write_report


def test_a_report_replaces_the_last_one(tmp_path: Path) -> None:
    write_report(tmp_path / "report.json", {"b": 1, "a": None})
    write_report(tmp_path / "report.json", {"b": 2.5})
    assert json.loads((tmp_path / "report.json").read_text()) == {"b": 2.5}
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


def test_figures_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_report(tmp_path / "report.json", {"a": float("nan")})
    assert not list(tmp_path.iterdir())


def test_a_picture_keeps_its_pixels(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    write_picture(tmp_path / "picture.png", picture)
    assert np.array_equal(iio.imread(tmp_path / "picture.png"), picture)
