from pathlib import Path

import pytest

from wmrl.scripts.reproduce.cached_result import CachedResult


def test_a_result_is_read_again(tmp_path: Path) -> None:
    file, key = tmp_path / "work/result.json", {"sizes": (1, 2), "seed": 0}
    cached = CachedResult(file, key, name="search")
    assert cached.value is None
    assert not file.parent.exists()
    whole = cached.store({"rows": [1.5]})
    assert whole == {"key": {"sizes": [1, 2], "seed": 0}, "rows": [1.5]}
    assert CachedResult(file, key, name="search").value == whole
    before = file.read_bytes()
    with pytest.raises(ValueError, match=r"path: expected results .* this search, got .*json"):
        CachedResult(file, {**key, "seed": 1}, name="search")
    assert file.read_bytes() == before


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty"])
def test_a_damaged_result_is_computed_again(tmp_path: Path, damage: str) -> None:
    file = tmp_path / "result.json"
    CachedResult(file, {"seed": 0}, name="search").store({"rows": [1.5]})
    whole = file.read_bytes()
    bad = {"cut": whole[:-5], "flipped": whole.replace(b"1.5", b"1.7"), "empty": b""}[damage]
    file.write_bytes(bad)
    with pytest.warns(UserWarning, match="damaged .*this search is computed again"):
        cached = CachedResult(file, {"seed": 0}, name="search")
    assert cached.value is None
    cached.store({"rows": [1.5]})
    assert file.read_bytes() == whole
