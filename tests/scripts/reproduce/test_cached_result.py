from pathlib import Path

import pytest

from wmrl.scripts.reproduce.cached_result import KeptReport


def test_a_result_is_read_again(tmp_path: Path) -> None:
    file, asked = tmp_path / "work/result.json", {"sizes": (1, 2), "seed": 0}
    report = KeptReport(file, asked, what="search")
    assert report.found is None
    assert not file.parent.exists()
    whole = report.keep({"rows": [1.5]})
    assert whole == {"asked": {"sizes": [1, 2], "seed": 0}, "rows": [1.5]}
    assert KeptReport(file, asked, what="search").found == whole
    before = file.read_bytes()
    with pytest.raises(ValueError, match=r"path: expected a folder of this search, .*json holds"):
        KeptReport(file, {**asked, "seed": 1}, what="search")
    assert file.read_bytes() == before
