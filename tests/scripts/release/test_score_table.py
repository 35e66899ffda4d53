from pathlib import Path

from wmrl.agents.evaluation.result import EvaluationResult
from wmrl.scripts.release.score_table import describe, write_table


def test_table(tmp_path: Path) -> None:
    for name, returns in {"good": (800.0, 900.0), "bad": (-20.0, 0.0)}.items():
        EvaluationResult(
            agent=name,
            task="t",
            base="b",
            deterministic=True,
            seeds=(1, 2),
            returns=returns,
            lengths=(250, 250),
            terminated=(False, False),
        ).save(tmp_path / f"{name}.json")
    describe("good", "by driving", tmp_path)
    describe("bad", "by dreaming", tmp_path)
    describe("bad", "not at all", tmp_path)
    table = write_table(tmp_path)
    rows = [line for line in table.splitlines() if line.startswith("| [")]
    assert rows == [
        "| [bad](bad.json) | not at all | -10.0 ± 10.0 | 0 | -20 | 2 | -0.04 | – |",
        "| [good](good.json) | by driving | 850.0 ± 50.0 | 900 | 800 | 2 | 3.40 | – |",
    ]
    assert (tmp_path / "README.md").read_text() == table
