import json
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path

import pytest

from wmrl.scripts.cli import COMMANDS
from wmrl.scripts.tables import finish, quick_args


@dataclass(frozen=True)
class Args:
    out: Path = Path("runs/results/x")
    work: Path = Path("runs/x")
    steps: int = 1000
    quick: bool = False


EXPERIMENTS = sorted(
    name for name in COMMANDS if name.startswith("reproduce ") or name == "compare-memories"
)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_each_experiment_has_a_quick_setting(name: str) -> None:
    module = import_module(f"wmrl.scripts.{COMMANDS[name].module}")
    fields = module.Args.__dataclass_fields__
    given = {"stores": ()} if "stores" in fields else {}
    full = module.Args(**given)
    quick = quick_args(replace(full, quick=True), module.QUICK)
    for option, value in module.QUICK.items():
        assert getattr(quick, option) == value != getattr(full, option), option
    assert quick.out == Path(f"{full.out}-quick")
    assert quick_args(full, module.QUICK) is full


def test_options_that_are_given_are_kept(tmp_path: Path) -> None:
    args = quick_args(Args(out=tmp_path, steps=7, quick=True), {"steps": 2})
    assert args == Args(out=tmp_path, work=Path("runs/x-quick"), steps=7, quick=True)


def test_full_results_are_not_overwritten_by_quick_ones(tmp_path: Path) -> None:
    args = Args(out=tmp_path, quick=True)
    (tmp_path / "notes.json").write_text("not JSON")
    (tmp_path / "results.json").write_text(json.dumps({"quick": True, "rows": []}))
    quick_args(args, {})
    for full in ({"quick": False}, {"rows": []}):  # older results have no mark
        (tmp_path / "results.json").write_text(json.dumps(full))
        with pytest.raises(
            FileExistsError, match=r"without results of a full run, got .*results\.json"
        ):
            quick_args(args, {})


def test_the_table_of_a_quick_run_is_marked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for quick in (False, True):
        finish(tmp_path, "# Title\n\ntext\n", command="reproduce kl", quick=quick)
        table = (tmp_path / "table.md").read_text()
        printed = capsys.readouterr().out
        assert table in printed
        last = printed.splitlines()[-1]
        assert last.startswith(f"results: {tmp_path / 'table.md'}")
        assert ("quick run" in table) is ("without --quick" in last) is quick
        assert table.splitlines()[0] == "# Title"
