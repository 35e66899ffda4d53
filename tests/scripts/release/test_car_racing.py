"""Making the shipped artifacts out of a run."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wmrl.agents.agent import load_agent
from wmrl.scripts.release.car_racing import CONTINUOUS, DISCRETE, Args, main
from wmrl.storage.artifact import load_artifact
from wmrl.storage.files import write_json
from wmrl.storage.reading import StoredFileError

ERRORS = {"dream": 4.0, "likeliest": 3.0, "copy_last": 9.0, "reconstruction": 2.0}
OPEN_LOOP = {"1": {**ERRORS, "dreams": 7}}


def finished_run(folder: Path, tiny: Any, driver: Path, *, discrete: bool) -> Path:
    """A folder as ``wmrl train`` leaves it, after one round and the real game."""
    run = folder / "run"
    judged: dict[str, Any] = {"open_loop": OPEN_LOOP, "reward_r2": 0.5}
    if discrete:
        metrics = {
            "perplexity": 4.0,
            "utilization": 0.5,
            "codebook_rank": 1.5,
            "encoder_rank": 1.25,
        }
        judged |= {
            "nats_per_frame": {"memory": 3.0, "copy_last": 5.0, "bigram": 4.0},
            "accuracy": {"memory": 0.75, "copy_last": 0.5},
        }
    else:
        metrics = {"kl": 3.0, "active_dimensions": 5, "latent_dim": 8}
        judged |= {"log_likelihood_per_dimension": -1.5}
    plan = {
        "rounds": 1,
        "vision_rounds": 1,
        "num_members": 1,
        "memory": {"codebook_size": 6} if discrete else {},
    }
    files = {
        "config.json": {"plan": plan, "seed": 3},
        "round-0/vision/report.json": {"held_out": {"squared_error": 7.0, **metrics}},
        "round-0/memory/member-0/report.json": {"held_out": judged},
    }
    for name, content in files.items():
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        write_json(run / name, content)
    shutil.copytree(tiny.vision, run / "round-0/vision/artifact")
    shutil.copytree(tiny.memory, run / "round-0/memory/artifact")
    for place in ("round-0/agent", "real/agent"):
        shutil.copytree(driver, run / place)
    return run


@pytest.mark.parametrize("discrete", [False, True])
def test_a_run_becomes_artifacts_with_cards(
    make_tiny: Callable[..., Any],
    make_agent: Callable[..., Path],
    tmp_path: Path,
    discrete: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tiny = make_tiny(discrete=discrete)
    run = finished_run(tmp_path, tiny, make_agent(tiny), discrete=discrete)
    names = DISCRETE if discrete else CONTINUOUS
    results, out = tmp_path / "results", tmp_path / "shipped"
    results.mkdir()
    for name in (names.dream, names.real):
        score = {"mean": 800.0, "std": 12.0, "episodes": 100, "base": "CarRacing-v3"}
        write_json(results / f"{name}.json", score)
    (results / f"{names.real}.json").rename(results / "away.json")
    with pytest.raises(StoredFileError, match="expected a JSON file, got nothing"):
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
    assert ("75.0%" in memory_card) == discrete
    # Under their names, they open each other.
    monkeypatch.setattr("wmrl.storage.artifact.SHIPPED", out)
    assert load_agent(names.dream).world_model.vision == names.vision
    world_model = load_agent(names.dream).open_world_model()
    assert world_model.memory is not None
    assert world_model.memory.digest == tiny.memory_digest
