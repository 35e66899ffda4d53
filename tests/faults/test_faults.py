"""The short form of the suites of injected faults (the long form: ``make test-faults``)."""

from pathlib import Path

import pytest
import suites


@pytest.mark.parametrize(
    ("name", "count"),
    [("damage", 3), ("interruptions", 1), ("forgery", 20), ("commands", 8), ("hostile", 21)],
)
@pytest.mark.filterwarnings("ignore")
def test_short_form(name: str, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("command_line.SECONDS", 4)  # those that accept their words take all of it
    outcomes = list(suites.SUITES[name].run(count, 7, tmp_path))
    assert len(outcomes) == count
    assert not [outcome for outcome in outcomes if not outcome.passed]
