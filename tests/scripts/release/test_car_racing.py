"""Making the shipped artifacts out of a run."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wmrl.agents.agent import load_agent
from wmrl.agents.world_model_ref import open_driver
from wmrl.scripts.release.car_racing import GAUSSIAN, SYMBOLS, Args, main
from wmrl.storage.artifact import load_artifact

ERRORS = {"dream": 4.0, "likeliest": 3.0, "copy_last": 9.0, "reconstruction": 2.0}
OPEN_LOOP = {"1": {**ERRORS, "dreams": 7}}


def finished_run(folder: Path, tiny: Any, driver: Path, *, symbols: bool) -> Path:
    """A folder as ``wmrl train`` leaves it, after one round and the real game."""
    run = folder / "run"
    judged: dict[str, Any] = {"open_loop": OPEN_LOOP, "reward_r2": 0.5}
    if symbols:
        seen = {"perplexity": 4.0, "utilisation": 0.5, "codebook_rank": 1.5, "encoder_rank": 1.25}
        judged |= {
            "nats_per_frame": {"memory": 3.0, "copy_last": 5.0, "bigram": 4.0},
            "accuracy": {"memory": 0.75, "copy_last": 0.5},
        }
    else:
        seen = {"kl": 3.0, "active_dimensions": 5, "latent_size": 8}
        judged |= {"log_likelihood_per_dimension": -1.5}
    plan = {
        "rounds": 1,
        "vision_rounds": 1,
        "members": 1,
        "memory": {"codes": 6} if symbols else {},
    }
    files = {
        "config.json": {"plan": plan, "seed": 3},
        "round-0/vision/report.json": {"held_out": {"squared_error": 7.0, **seen}},
        "round-0/memory/member-0/report.json": {"held_out": judged},
    }
    for name, content in files.items():
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text(json.dumps(content))
    shutil.copytree(tiny.vision, run / "round-0/vision/artifact")
    shutil.copytree(tiny.memory, run / "round-0/memory/artifact")
    for place in ("round-0/driver", "real/driver"):
        shutil.copytree(driver, run / place)
    return run


@pytest.mark.parametrize("symbols", [False, True])
def test_a_run_becomes_artifacts_with_cards(
    make_tiny: Callable[..., Any],
    make_driver: Callable[..., Path],
    tmp_path: Path,
    symbols: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tiny = make_tiny(symbols=symbols)
    run = finished_run(tmp_path, tiny, make_driver(tiny), symbols=symbols)
    names = SYMBOLS if symbols else GAUSSIAN
    results, out = tmp_path / "results", tmp_path / "shipped"
    results.mkdir()
    for name in (names.dream, names.real):
        score = {"mean": 800.0, "std": 12.0, "episodes": 100, "base": "CarRacing-v3"}
        (results / f"{name}.json").write_text(json.dumps(score))
    (results / f"{names.real}.json").rename(results / "away.json")
    with pytest.raises(FileNotFoundError):
        main(Args(run=run, results=results, out=out))
    assert not out.exists()
    (results / "away.json").rename(results / f"{names.real}.json")
    main(Args(run=run, command="wmrl train", results=results, out=out))
    for name in (names.vision, names.memory, names.dream, names.real):
        artifact = load_artifact(out / name)
        assert artifact.provenance["command"] == "wmrl train"
        assert artifact.provenance["versions"]["torch"]
        card = (out / name / "README.md").read_text()
        assert card.startswith(f"# {name}\n")
        assert "(seed 3)" in card
        assert max(map(len, card.splitlines())) <= 100
    assert load_artifact(out / names.vision).digest == tiny.vision_digest
    assert "800.0 ± 12.0 (100 episodes" in (out / names.real / "README.md").read_text()
    memory_card = (out / names.memory / "README.md").read_text()
    assert "| 1 | 4.0 | 3.0 | 9.0 | 2.0 | 7 |" in memory_card
    assert ("75.0%" in memory_card) == symbols
    # Under their names, they open each other.
    monkeypatch.setattr("wmrl.storage.artifact.SHIPPED", out)
    assert load_agent(names.dream).eye["vision"] == names.vision
    _, eye = open_driver(names.dream)
    assert eye.memory is not None
    assert eye.memory.digest == tiny.memory_digest
