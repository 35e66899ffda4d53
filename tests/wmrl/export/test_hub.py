"""Sharing on a stand-in for the Hugging Face hub: every kind of artifact comes back the same."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from toy_hub import TOKEN, Repository, ToyHub

from wmrl.agents.agent import load_agent
from wmrl.agents.controller import ControllerAgent, ControllerConfig
from wmrl.agents.evaluation.result import EvaluationResult
from wmrl.agents.quality_diversity.archive import ArchiveConfig, Elites
from wmrl.encodings.vector_vae import VectorVAE, VectorVAEConfig
from wmrl.envs.world_model import WorldModel
from wmrl.export.hub import from_pretrained, push_to_hub, save_pretrained, scores_of
from wmrl.memory.base import load_memory
from wmrl.memory.ensemble import ensemble_class
from wmrl.priors.code_prior import CodePrior, CodePriorConfig
from wmrl.storage.artifact import ArtifactError, find_artifact, load_artifact
from wmrl.storage.hub import HubError

NO_REPOSITORY = "expected a repository, got none of that name, or a private one"


@pytest.fixture
def tiny(make_tiny: Callable[..., Any]) -> Any:
    return make_tiny()


@pytest.fixture
def saved(tmp_path: Path, tiny: Any, agent_path: Path) -> dict[str, Path]:
    """An artifact of every kind, and an ensemble."""
    paths = {kind: tmp_path / "saved" / kind for kind in ("prior", "encoding", "elites", "several")}
    prior = CodePriorConfig(num_tokens=4, codebook_size=8, hidden_dim=16, num_layers=1)
    CodePrior(prior).save(paths["prior"], provenance={"seed": 1})
    VectorVAE(VectorVAEConfig(input_dim=5, latent_dim=2, hidden_dims=(4,))).save(paths["encoding"])
    elites = Elites(np.eye(3, dtype=np.float32), np.zeros(3), np.zeros((3, 2)), np.arange(3))
    elites.save(paths["elites"], ArchiveConfig(cells=4))
    memory = load_memory(tiny.memory, device="cpu")
    ensemble_class(memory.config).of([memory, memory]).save(paths["several"])
    return paths | {"vision": tiny.vision, "memory": tiny.memory, "agent": agent_path}


def tensors(model: Any) -> dict[str, torch.Tensor]:
    """The numbers of a model, an agent or elites."""
    if isinstance(model, tuple):
        return model[0].tensors()
    return model.artifact_tensors() if hasattr(model, "artifact_tensors") else model.state_dict()


@pytest.mark.parametrize(
    "kind", ["vision", "memory", "several", "prior", "encoding", "elites", "agent"]
)
def test_every_kind_comes_back_the_same(
    hub: ToyHub, saved: dict[str, Path], tmp_path: Path, kind: str
) -> None:
    original = from_pretrained(saved[kind], device="cpu")
    folder = save_pretrained(saved[kind], tmp_path / "shared")
    reference = push_to_hub(saved[kind], "ada/shared")
    assert reference == f"hf://ada/shared@{hub.repositories['ada/shared'].main}"
    for found in (
        from_pretrained(folder, device="cpu"),
        from_pretrained("ada/shared", device="cpu"),
        from_pretrained(reference, device="cpu"),
    ):
        assert type(found) is type(original)
        assert tensors(found).keys() == tensors(original).keys()
        for name, tensor in tensors(original).items():
            assert torch.equal(tensors(found)[name], tensor), name
    pushed, local = load_artifact(reference), load_artifact(saved[kind])
    assert (pushed.digest, pushed.class_name) == (local.digest, local.class_name)
    assert pushed.provenance == local.provenance | {"source": f"{reference}/{local.kind}"}
    written = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "README.md"
    }
    files = {n: d for n, d in hub.files("ada/shared").items() if n != "README.md"}
    assert files == written


def test_an_agent_comes_with_its_world_model(
    hub: ToyHub, make_tiny: Callable[..., Any], tmp_path: Path
) -> None:
    """As on another machine, on which nothing of the agent's origin exists."""
    tiny = make_tiny(seed=3)
    config = ControllerConfig(observation_dim=24, action_space=Box(-1, 1, (2,)))
    weights = np.random.default_rng(0).normal(size=config.parameter_count)
    for part in ("vision", "memory"):
        shutil.copytree(getattr(tiny, part), tmp_path / "home" / part)
    world_model = WorldModel.open("car-racing", tmp_path / "home/vision", tmp_path / "home/memory")
    ref = replace(
        tiny.ref(), vision=str(tmp_path / "home/vision"), memory=str(tmp_path / "home/memory")
    )
    agent = ControllerAgent(config, weights, world_model=ref)
    agent.save(tmp_path / "home/agent")
    observation = np.linspace(-1, 1, 24, dtype=np.float32)
    expected, _ = agent.predict(observation, deterministic=True)
    reference = push_to_hub(tmp_path / "home/agent", "ada/driver")
    shutil.rmtree(tmp_path / "home")

    found = load_agent("hf://ada/driver")
    np.testing.assert_array_equal(found.predict(observation, deterministic=True)[0], expected)
    opened = found.open_world_model(device="cpu")
    assert opened.memory is not None
    assert (opened.vision.digest, opened.memory.digest) == (tiny.vision_digest, tiny.memory_digest)
    assert opened.observation_space == world_model.observation_space
    assert opened.vision.saved_at == f"{reference}/vision"
    assert b"home" not in hub.files("ada/driver")["agent/config.json"]
    assert from_pretrained("ada/driver", kind="memory", device="cpu").digest == tiny.memory_digest

    found.save(tmp_path / "again")  # an agent that is trained on still refers to the commit
    again = load_artifact(tmp_path / "again").config["world_model"]
    assert again["vision"] == f"{reference}/vision"
    push_to_hub(tmp_path / "again", "ada/again")
    assert hub.files("ada/again").keys() == hub.files("ada/driver").keys()


def test_a_shared_folder_can_be_moved_and_pushed(
    hub: ToyHub, saved: dict[str, Path], tmp_path: Path, tiny: Any
) -> None:
    save_pretrained(saved["agent"], tmp_path / "shared")
    moved = (tmp_path / "shared").rename(tmp_path / "moved")
    assert from_pretrained(moved).open_world_model().vision.digest == tiny.vision_digest
    push_to_hub(moved, "ada/moved")
    assert hub.files("ada/moved")["agent/config.json"] == (moved / "agent/config.json").read_bytes()
    save_pretrained("hf://ada/moved", tmp_path / "pulled")
    for part in ("agent", "vision", "memory"):
        assert (
            load_artifact(tmp_path / "pulled" / part).digest == load_artifact(moved / part).digest
        )


def test_revisions(hub: ToyHub, saved: dict[str, Path]) -> None:
    first = push_to_hub(saved["prior"], "ada/any").partition("@")[2]
    push_to_hub(saved["encoding"], "ada/any")
    assert hub.files("ada/any").keys() == {
        *("README.md", "encoding/SHA256SUMS", "encoding/config.json", "encoding/model.safetensors")
    }
    assert isinstance(from_pretrained("ada/any"), VectorVAE)
    assert isinstance(from_pretrained("ada/any", revision=first), CodePrior)
    assert isinstance(from_pretrained(f"hf://ada/any@{first}", revision=first), CodePrior)
    with pytest.raises(ArtifactError, match="revision: expected 'main' as in hf://ada/any@main"):
        from_pretrained("hf://ada/any@main", revision=first)
    with pytest.raises(ArtifactError, match=r"revision: expected None for .* not on the hub"):
        from_pretrained("car-racing-vae", revision=first)
    with pytest.raises(ArtifactError, match="expected hf://user/name"):
        from_pretrained("ada/any", revision="../main")


def test_pushing_again_changes_only_what_is_new(hub: ToyHub, saved: dict[str, Path]) -> None:
    push_to_hub(saved["vision"], "ada/vision", private=True)
    repository = hub.repositories["ada/vision"]
    assert repository.private
    repository.commit(hub.files("ada/vision") | {"LICENSE": b"MIT", "videos/a.mp4": b""})
    push_to_hub(saved["vision"], "ada/vision", message="Once more")
    assert repository.private
    assert repository.messages[-1] == "Once more"
    assert {"LICENSE", "videos/a.mp4", "vision/config.json"} <= hub.files("ada/vision").keys()


def test_a_folder_takes_precedence(
    hub: ToyHub, saved: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    push_to_hub(saved["prior"], "ada/any")
    assert isinstance(from_pretrained("ada/any"), CodePrior)
    save_pretrained(saved["encoding"], "ada/any")
    assert isinstance(from_pretrained("ada/any"), VectorVAE)
    assert isinstance(from_pretrained("hf://ada/any"), CodePrior)
    with pytest.raises(ArtifactError, match="no artifact 'ada/other'"):  # a path, elsewhere
        find_artifact("ada/other")


def metadata(card: bytes) -> Any:
    """The metadata of a model card, as the hub reads it."""
    from huggingface_hub import ModelCard

    return ModelCard(card.decode()).data


def test_the_card_of_a_shipped_agent(hub: ToyHub) -> None:
    push_to_hub("car-racing-dream", "ada/car", license_id="mit")
    card = hub.files("ada/car")["README.md"]
    data = metadata(card)
    assert (data.library_name, data.license, data.pipeline_tag) == (
        *("wmrl", "mit", "reinforcement-learning"),
    )
    assert {"reinforcement-learning", "world-models", "car-racing", "agent"} <= set(data.tags)
    (result,) = data.eval_results
    assert data.model_name == "car"
    assert (result.task_type, result.dataset_name) == ("reinforcement-learning", "CarRacing-v3")
    assert (result.metric_type, result.metric_value) == ("mean_reward", "867.44 +/- 138.07")
    artifact = load_artifact("car-racing-dream")
    assert artifact.card is not None
    text = card.decode().partition("\n---\n")[2]
    assert text.startswith(f"\n{artifact.card}\n## Usage\n")
    assert 'agent = from_pretrained("ada/car")' in text
    for row in (
        "| command | `wmrl train --hours 1 --seed 0` |",
        "| seed | `0` |",
        f"| data | `{artifact.provenance['data'][0]}` |",
        "| torch | `2.13.0+cpu` |",
        f"| weights | `{artifact.digest}` |",
        f"| vision model | `{artifact.config['world_model']['vision_digest']}` |",
        "| score | `867.4 ± 138.1 (100 episodes of CarRacing-v3)` |",
    ):
        assert row in text.splitlines()


def test_the_score_of_an_evaluation_is_on_the_card(
    hub: ToyHub, saved: dict[str, Path], tmp_path: Path
) -> None:
    artifact = load_artifact(saved["agent"])
    assert scores_of(artifact) == []
    result = EvaluationResult(
        agent="a",
        task="car-racing",
        base="CarRacing-v3",
        deterministic=True,
        seeds=(1, 2),
        returns=(10.0, 20.0),
        lengths=(5, 5),
        terminated=(True, False),
        digest=artifact.digest,
    )
    folder = saved["agent"].parent
    result.save(folder / "agent-CarRacing-v3.json")
    replace(result, base="dream").save(folder / "agent-dream.json")
    replace(result, digest="0" * 64, returns=(0.0, 0.0)).save(folder / "another.json")
    (folder / "broken.json").write_text('{"returns": [')
    (folder / "forged.json").write_text(json.dumps({"returns": [1], "digest": artifact.digest}))
    score = {"mean": 15.0, "std": 5.0, "episodes": 2, "base": "CarRacing-v3"}
    assert scores_of(artifact) == [score]
    assert scores_of(load_artifact(saved["vision"])) == []
    push_to_hub(saved["agent"], "ada/car")
    card = hub.files("ada/car")["README.md"]
    assert metadata(card).eval_results[0].metric_value == "15.00 +/- 5.00"
    assert "# car\n\nAn agent (`ControllerAgent`) for the task `car-racing`." in card.decode()


def test_only_saved_artifacts_are_shared(hub: ToyHub, saved: dict[str, Path]) -> None:
    model: Any = from_pretrained(saved["vision"], device="cpu")
    for act in (lambda: push_to_hub(model, "ada/x"), lambda: save_pretrained(model, "x")):
        with pytest.raises(TypeError, match="got a VAE; save it first, with its method save"):
            act()
    assert not hub.repositories


@pytest.mark.parametrize(
    "name", ["ada", "ada/car@v1", "ada/car/vision", "hf://ada/car@v1", "a/b/c"]
)
def test_names_of_repositories_are_checked_first(hub: ToyHub, name: str) -> None:
    with pytest.raises(ArtifactError, match=r"expected (hf://)?user/name"):
        push_to_hub("car-racing-vae", name)
    assert not hub.requests


def test_nothing_is_uploaded_if_anything_is_wrong(
    hub: ToyHub, saved: dict[str, Path], tmp_path: Path, make_tiny: Callable[..., Any]
) -> None:
    agent, other = shutil.copytree(saved["agent"], tmp_path / "copy"), make_tiny(seed=9)
    for change, message in (
        ({"vision": "/gone"}, "no artifact '/gone'"),
        ({"vision": str(other.vision)}, r"expected its vision model with digest .* put back the m"),
        ({"memory_digest": None}, r"expected its memory model with digest None… at .*, got digest"),
    ):
        loaded = load_agent(saved["agent"])
        assert loaded.world_model is not None
        loaded.world_model = replace(loaded.world_model, **change)
        loaded.save(agent)
        with pytest.raises(ArtifactError, match=message):
            push_to_hub(agent, "ada/car")
        with pytest.raises(ArtifactError, match=message):
            save_pretrained(agent, tmp_path / "shared")
    model = saved["agent"] / "model.safetensors"
    model.write_bytes(model.read_bytes()[:-1])
    with pytest.raises(ArtifactError, match="damaged"):
        push_to_hub(saved["agent"], "ada/car")
    assert not hub.requests
    assert {path.name for path in tmp_path.iterdir() if "hub" not in path.name} == {
        *("saved", "agent", "copy")
    }


def test_refusals_of_the_hub_are_one_sentence(
    hub: ToyHub, saved: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    for repo_id, token, message in (
        ("bob/car", TOKEN, r"expected an account that may do this, got none; log in with hf "),
        ("ada/car", "hf_wrong", r"expected an account that may do this, got none; log in with hf "),
    ):
        monkeypatch.setenv("HF_TOKEN", token)
        with pytest.raises(HubError, match=f"^hf://{repo_id}: {message}") as refusal:
            push_to_hub(saved["prior"], repo_id)
        assert "\n" not in str(refusal.value)
    theirs = hub.repositories["bob/car"] = Repository()
    commit = theirs.commit({"README.md": b"theirs"})
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with pytest.raises(HubError, match=r"log in with hf auth login, with a token that may write"):
        push_to_hub(saved["prior"], "bob/car")
    assert theirs.main == commit
    del hub.repositories["bob/car"]
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(HubError, match=r"log in with hf auth login"):
        push_to_hub(saved["prior"], "ada/car")
    assert not hub.repositories
    with pytest.raises(HubError, match=NO_REPOSITORY):
        from_pretrained("ada/car")
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(HubError, match=r"expected an answer of the hub, got none; check the net"):
        push_to_hub(saved["prior"], "ada/car")


def test_an_upload_that_fails_changes_nothing(hub: ToyHub, saved: dict[str, Path]) -> None:
    hub.repositories["ada/car"] = Repository()
    before = hub.repositories["ada/car"].commit({"vision/config.json": b"{}"})
    hub.refused = "/lfs/"
    with pytest.raises(HubError, match=r"^hf://ada/car: "):
        push_to_hub(saved["prior"], "ada/car")
    assert hub.repositories["ada/car"].main == before


def test_folders_are_written_as_a_whole_or_not_at_all(
    saved: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("years of work")
    with pytest.raises(ArtifactError, match=r"folder: expected an empty folder, .* 'thesis\.txt'"):
        save_pretrained(saved["vision"], tmp_path / "full")
    (tmp_path / "file").touch()
    with pytest.raises(ArtifactError, match=r"folder: expected an empty folder, .* got a file at"):
        save_pretrained(saved["vision"], tmp_path / "file")
    (tmp_path / "empty").mkdir()
    save_pretrained(saved["vision"], tmp_path / "empty")
    monkeypatch.setattr("wmrl.export.hub.model_card", None)  # calling it fails
    with pytest.raises(TypeError):
        save_pretrained(saved["agent"], tmp_path / "half")
    assert not [path for path in tmp_path.iterdir() if re.search("half", path.name)]
