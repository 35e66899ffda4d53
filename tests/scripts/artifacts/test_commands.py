"""The commands of ``wmrl artifacts``, as from a shell."""

import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from toy_hub import ToyHub

from wmrl.agents.agent import load_agent
from wmrl.scripts.cli import run
from wmrl.storage.artifact import load_artifact, save_artifact, shipped_artifacts


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "1000")


@pytest.fixture
def run_folder(tmp_path: Path, make_tiny: Callable[..., Any], make_agent: Any) -> Path:
    """A folder with an agent, and copies of its models."""
    tiny = make_tiny()
    folder = tmp_path / "runs"
    shutil.move(make_agent(tiny), folder / "agent")
    shutil.copytree(tiny.vision, folder / "vision" / "artifact")
    shutil.copytree(tiny.memory, folder / "memory" / "artifact")
    return folder


def output(words: list[str], capsys: pytest.CaptureFixture[str], *, status: int = 0) -> str:
    """What a command prints, on one line each."""
    capsys.readouterr()
    assert run(["artifacts", *words]) == status
    return capsys.readouterr().out


def row(text: str, name: str) -> list[str]:
    """Cells of the row of a table that begins with a name."""
    (found,) = (line for line in text.splitlines() if line.strip().startswith(name))
    return re.split(r" {2,}", found.strip())


def test_list(run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shipped = output(["list"], capsys)
    assert len(shipped.splitlines()) == 1 + len(shipped_artifacts())
    assert row(shipped, "car-racing-dream") == [
        *("car-racing-dream", "agent", "SB3Agent", "car-racing", "0.2 MiB", "867.4 ± 138.1")
    ]
    assert row(shipped, "planar-arm-vae ") == ["planar-arm-vae", "encoding", "VectorVAE", "0.1 MiB"]
    (run_folder / "vision/artifact/config.json").write_text("{}")
    both = output(["list", str(run_folder)], capsys)
    assert len(both.splitlines()) == 1 + len(shipped_artifacts()) + 3 + 1
    memory = row(both, str(run_folder / "memory"))
    assert memory[1:4] == ["memory", "MDNRNN", "car-racing"]
    assert row(both, f"{run_folder / 'vision/artifact'} ")[1:] == ["damaged"]
    assert both.splitlines()[-1].startswith(
        f"{run_folder / 'vision/artifact/config.json'}: damaged"
    )
    assert run(["artifacts", "list", str(run_folder / "nowhere")]) == 2
    assert "expected a folder, got nothing at that path" in capsys.readouterr().err


def test_show(run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = output(["show", "car-racing-dream"], capsys)
    artifact = load_artifact("car-racing-dream")
    assert row(text, "digest") == ["digest", artifact.digest]
    assert row(text, "score") == ["score", "867.4 ± 138.1 (100 episodes of CarRacing-v3)"]
    assert row(text, "vision model") == ["vision model", load_artifact("car-racing-vae").digest]
    assert row(text, "model.safetensors") == ["model.safetensors", "183,164 bytes"]
    config, _, provenance = text.partition("config = ")[2].partition("provenance = ")
    assert json.loads(config) == artifact.config
    assert json.loads(provenance) == artifact.provenance
    own = output(["show", str(run_folder / "agent")], capsys)
    assert row(own, "artifact") == ["artifact", str(run_folder / "agent")]


def test_a_stranger_s_text_does_not_reach_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = "\x1b]0;evil\x07[bold]"
    save_artifact(
        tmp_path / "a",
        kind="vision",
        class_name=evil,
        config={evil: evil},
        tensors={},
        provenance={"task": evil},
    )
    for words, status in (
        (["list", str(tmp_path)], 0),
        (["show", str(tmp_path / "a")], 0),
        (["verify", str(tmp_path / "a")], 1),
    ):
        text = output(words, capsys, status=status)
        assert "\x1b" not in text
        assert "evil" in text


def test_verify(run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = output(["verify", str(run_folder / "agent")], capsys)
    assert [line.split()[0] for line in text.splitlines()[1:4]] == ["ok"] * 3
    assert "checksums match, opens" in text
    assert "no problems" in text

    memory = str(run_folder / "memory/artifact")
    alone = output(["verify", memory], capsys)
    assert row(alone, "note")[-1] == "name its vision model as well, to check both"
    assert "note" not in output(["verify", memory, str(run_folder / "vision")], capsys)

    agent = load_agent(run_folder / "agent")
    assert agent.world_model is not None
    object.__setattr__(agent.world_model, "vision", "car-racing-vae")
    agent.save(run_folder / "agent")
    text = output(["verify", str(run_folder / "agent")], capsys, status=1)
    assert "trained with another vision model than those that were found" in text
    assert "1 problems" in text
    object.__setattr__(agent.world_model, "vision", "/gone")
    agent.save(run_folder / "agent")
    text = output(["verify", str(run_folder / "agent")], capsys, status=1)
    assert "no artifact '/gone'" in text

    model = run_folder / "memory/artifact/model.safetensors"
    model.write_bytes(model.read_bytes()[:-1])
    text = output(["verify", memory, "car-racing-vae"], capsys, status=1)
    assert "damaged (its SHA-256 differs" in text
    assert row(text, "ok")[1] == "car-racing-vae"


def test_verify_needs_an_artifact(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["artifacts", "verify"]) == 2
    assert "artifacts: expected at least one artifact, got none" in capsys.readouterr().err


def test_verify_opens_what_it_verifies(
    run_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vision = load_artifact(run_folder / "vision")
    save_artifact(
        run_folder / "forged",
        kind="vision",
        class_name=vision.class_name,
        config=vision.config | {"latent_dim": 10**9},
        tensors=vision.tensors,
    )
    text = output(["verify", str(run_folder / "forged")], capsys, status=1)
    assert "weights do not fit VAE" in text


def test_push_and_pull(
    hub: ToyHub, run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["push", str(run_folder / "agent"), "ada/driver"]
    text = output([*words, "--private", "--license", "mit", "--message", "First"], capsys)
    repository = hub.repositories["ada/driver"]
    assert text == f"uploaded: hf://ada/driver@{repository.main}\n"
    assert (repository.private, repository.messages) == (True, ["First"])
    assert b"license: mit" in hub.files("ada/driver")["README.md"]

    for number, name in enumerate(["ada/driver", "hf://ada/driver", text.split()[1]]):
        folder = tmp_path / f"pulled-{number}"
        printed = output(["pull", name, "--out", str(folder)], capsys)
        assert printed.split() == [str(folder / part) for part in ("agent", "memory", "vision")]
        assert load_artifact(folder / "agent").provenance["source"] == (
            f"hf://ada/driver@{repository.main}/agent"
        )
    verified = output(["verify", str(folder / "agent"), "hf://ada/driver"], capsys)
    assert "no problems" in verified
    assert row(output(["show", "hf://ada/driver"], capsys), "artifact")[1] == (
        f"hf://ada/driver@{repository.main}/agent"
    )


def test_a_pull_that_fails_leaves_nothing(
    hub: ToyHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["artifacts", "pull", "ada/none", "-o", str(tmp_path / "out")]) == 2
    assert "wmrl: hf://ada/none: expected a repository, got none" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert run(["artifacts", "pull", "vision", "-o", str(tmp_path / "out")]) == 2
    assert "hf://vision: expected hf://user/name" in capsys.readouterr().err


def test_a_missing_package_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    for words in (
        ["push", "car-racing-vae", "ada/x"],
        ["pull", "ada/x", "-o", str(tmp_path / "x")],
    ):
        assert run(["artifacts", *words]) == 2
        assert 'pip install "wmrl[hub]"' in capsys.readouterr().err
