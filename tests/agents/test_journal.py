import csv
from pathlib import Path

import pytest

from wmrl.agents.evaluation import EvaluationResult
from wmrl.agents.journal import Journal
from wmrl.run import Run


def result(*returns: float) -> EvaluationResult:
    count = len(returns)
    return EvaluationResult(
        agent="a",
        task="t",
        base="b",
        deterministic=True,
        seeds=tuple(range(count)),
        returns=returns,
        lengths=(10,) * count,
        terminated=(False,) * count,
    )


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_curve_survives_interruptions(tmp_path: Path) -> None:
    with Run(tmp_path, config={}) as run:
        journal = Journal(run)
        journal.add_point("one", result(1.0, 3.0), frames=100, promise=result(40.0))
        journal.add_point("two", result(5.0), frames=200, seconds=120)
    with Run(tmp_path, config={}) as run:
        journal = Journal(run)
        journal.add_point("two", result(7.0), frames=200, seconds=180)
        curve = rows(journal.write_curve())
    assert [row["point"] for row in curve] == ["one", "two"]
    assert curve[0]["mean"] == "2.0"
    assert curve[0]["per_decision"] == "0.2"
    assert curve[0]["promised_per_decision"] == "4.0"
    assert (curve[1]["mean"], curve[1]["minutes"], curve[1]["episodes"]) == ("7.0", "3.0", "1")


def test_a_stage_is_timed_once_and_only_when_it_ends(tmp_path: Path) -> None:
    with Run(tmp_path, config={}) as run:
        journal = Journal(run)
        with pytest.raises(RuntimeError, match="killed"), journal.timed("stage"):
            raise RuntimeError("killed")
        assert journal.seconds("stage") is None
        with journal.timed("stage"):
            pass
        took = journal.seconds("stage")
        with journal.timed("stage"):
            pass
        assert took is not None
        assert Journal(run).seconds("stage") == took
