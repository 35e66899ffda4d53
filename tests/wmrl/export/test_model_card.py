from pathlib import Path
from typing import Any

import pytest

from wmrl.export.model_card import (
    HELD_OUT,
    model_card,
    origin_text,
    references,
    score_of,
    score_text,
    task_of,
)
from wmrl.storage.artifact import Artifact, load_artifact

SCORE = {"mean": 867.44, "std": 138.07, "episodes": 100, "base": "CarRacing-v3"}


def artifact(kind: str = "agent", **parts: Any) -> Artifact:
    """An artifact that is not on disk."""
    options = {"config": {}, "provenance": {}, "tensors": {}, "digest": "d" * 64, **parts}
    return Artifact(path=Path("x"), kind=kind, class_name="Thing", **options)


def test_tasks() -> None:
    assert task_of(load_artifact("car-racing-vae")) == "car-racing"  # in the provenance
    assert task_of(load_artifact("car-racing-mdnrnn")) == "car-racing"  # of the members
    assert task_of(load_artifact("car-racing-dream")) == "car-racing"  # of the world model
    assert task_of(load_artifact("planar-arm-vae")) is None
    assert task_of(artifact(config={"task": 3, "world_model": None, "member": []})) is None


def test_references() -> None:
    vision, memory = (load_artifact(f"car-racing-{name}").digest for name in ("vae", "mdnrnn"))
    assert references(load_artifact("car-racing-dream")) == {"vision": vision, "memory": memory}
    assert references(load_artifact("car-racing-mdnrnn")) == {"vision": vision}
    assert references(load_artifact("car-racing-vae")) == {}
    assert references(artifact(config={"world_model": None})) == {}
    assert references(artifact(config={"vision_digest": [], "memory_digest": None})) == {}


def test_scores() -> None:
    assert score_of(artifact(provenance={"score": SCORE | {"more": 1}})) == SCORE
    assert score_of(artifact("vision", provenance={"score": SCORE})) is None
    for score in (None, 3, {}, SCORE | {"mean": "high"}, SCORE | {"base": None}):
        assert score_of(artifact(provenance={"score": score})) is None
    assert score_text(SCORE) == "867.4 ± 138.1 (100 episodes of `CarRacing-v3`)"
    assert score_text(SCORE, HELD_OUT) == (
        "867.4 ± 138.1 (100 episodes of `CarRacing-v3` on seeds that were not used for training or "
        "selection)"
    )


@pytest.mark.parametrize(
    ("provenance", "text"),
    [
        ({"command": "wmrl train", "seed": 3}, "Made by `wmrl train` (seed 3)."),
        ({"command": "train", "root_seed": 0}, "Made by `train` (seed 0)."),
        (
            {"command": "train-vision", "training": {"seed": 7}},
            "Made by `train-vision` (seed 7).",
        ),
        ({"command": "train"}, "Made by `train`."),
        ({"command": "a`b\n# c", "seed": "x"}, "Made by `a'b # c`."),
        ({"seed": 3}, ""),
        ({"command": 3}, ""),
    ],
)
def test_origins(provenance: dict[str, Any], text: str) -> None:
    assert origin_text(provenance) == text


def test_the_whole_card() -> None:
    provenance = {
        "command": "train-memory",
        "training": {"seed": 1},
        "data": "abc",
        "versions": {"wmrl": "0.2"},
        "source": "hf://ada/x@1/memory",
    }
    given = artifact(
        "memory", config={"task": "a|b", "vision_digest": "e" * 64}, provenance=provenance
    )
    assert (
        model_card(given, "ada/car", scores=[])
        == f"""# car

A memory model (`Thing`) for the task `a|b`. Made by `train-memory` (seed 1).

## Usage

With wmrl, installed by `pip install "wmrl[hub]"`:

```python
from wmrl.export import from_pretrained

memory = from_pretrained("ada/car")
```

## Details

Long numbers are SHA-256 digests.

| | |
| --- | --- |
| class | `Thing` |
| task | `a\\|b` |
| command | `train-memory` |
| seed | `1` |
| data | `abc` |
| wmrl | `0.2` |
| downloaded from | `hf://ada/x@1/memory` |
| weights | `{"d" * 64}` |
| vision model | `{"e" * 64}` |
"""
    )


def test_an_artifact_keeps_its_own_card() -> None:
    own = artifact(card="# Mine\n\nMy words.\n\n")
    card = model_card(own, "ada/car", scores=[SCORE])
    assert card.startswith("# Mine\n\nMy words.\n\n## Usage\n")
    assert "| score | `867.4 ± 138.1 (100 episodes of CarRacing-v3)` |" in card
    assert "contain the world model that the agent was" in card
