"""The short form of the suites of injected faults (the long form: ``make test-faults``)."""

from dataclasses import replace
from pathlib import Path

import pytest
import small_run
import suites


@pytest.mark.parametrize(
    ("name", "count", "plan"),
    [
        ("damage", 3, "ppo"),
        ("interruptions", 1, "cma-es"),
        ("forgery", 20, None),
        ("commands", 8, None),
        ("hostile", 21, None),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_short_form(
    name: str, count: int, plan: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one small run of one round for each suite; the long form crosses runs and suites."""
    if plan is not None:
        short = replace(small_run.PLANS[plan], rounds=1)
        monkeypatch.setattr(small_run, "PLANS", {plan: short})
    monkeypatch.setattr("command_line.SECONDS", 4)  # those that accept their words take all of it
    outcomes = list(suites.SUITES[name].run(count, 7, tmp_path))
    assert len(outcomes) == count
    assert not [outcome for outcome in outcomes if not outcome.passed]
