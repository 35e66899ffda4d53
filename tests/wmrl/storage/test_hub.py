"""Downloading from a stand-in for the Hugging Face hub: what is taken, what is refused, and how."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from toy_hub import Repository, ToyHub

from wmrl.agents.agent import load_agent
from wmrl.envs.world_model import WorldModel
from wmrl.storage.artifact import ArtifactError, find_artifact, load_artifact, save_artifact
from wmrl.storage.hub import (
    HubError,
    HubReference,
    HubWarning,
    cached_reference,
    is_repo_id,
    kinds_in,
    repository_artifact,
)
from wmrl.vision.base import load_vision


def artifact_files(**folders: Path) -> dict[str, bytes]:
    """Files of a repository with the given artifacts, by kind."""
    return {
        f"{kind}/{path.name}": path.read_bytes()
        for kind, folder in folders.items()
        for path in folder.iterdir()
    }


@pytest.fixture
def tiny_vae(make_tiny: Callable[..., Any]) -> Any:
    return make_tiny()


@pytest.fixture
def published(hub: ToyHub, tiny_vae: Any) -> Repository:
    """The repository ``ada/world`` with a vision model, a memory model and files of other kinds."""
    files = artifact_files(vision=tiny_vae.vision, memory=tiny_vae.memory)
    repository = Repository()
    repository.commit(
        files
        | {
            "README.md": b"# World\n",
            "evil.py": b"raise SystemExit",
            "vision/evil.pkl": b"cos\nsystem\n",
            "vision/deep/config.json": b"{}",
            ".gitattributes": b"",
        }
    )
    hub.repositories["ada/world"] = repository
    return repository


def downloads(hub: ToyHub) -> list[str]:
    """Paths of the files that were requested from a hub, and forgets the requests."""
    found = [request for request in hub.requests if request.startswith("GET /ada/")]
    hub.requests.clear()
    return found


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("hf://ada/car-racing", ("ada/car-racing", None, None)),
        ("hf://ada/car_racing.v2@v1.0", ("ada/car_racing.v2", "v1.0", None)),
        ("hf://ada/car@main/vision", ("ada/car", "main", "vision")),
        ("hf://ada/car/memory", ("ada/car", None, "memory")),
    ],
)
def test_references(text: str, parts: tuple[str | None, ...]) -> None:
    reference = HubReference.parse(text)
    assert (reference.repo_id, reference.revision, reference.kind) == parts
    assert str(reference) == text
    assert HubReference.parse(Path(text)) == reference


@pytest.mark.parametrize(
    "text",
    [
        *("hf://ada", "hf://", "hf://ada/", "hf:///car", "hf://ada/car/", "hf://ada/car/pixels"),
        *(
            "hf://ada/car@",
            "hf://ada/car@a/b",
            "hf://ada/..",
            "hf://ada/car@..",
            "hf://a/b/vision/c",
        ),
        *("hf://ada/c--r", "hf://-ada/car", "hf://ada/car\n", "hf://ada/cär", "hf://ada/car@a@b"),
    ],
)
def test_what_is_no_reference(text: str) -> None:
    with pytest.raises(HubError, match="expected hf://user/name, hf://user/name@revision"):
        HubReference.parse(text)
    with pytest.raises(ArtifactError, match="expected hf://user/name"):
        find_artifact(text)


def test_names_of_repositories() -> None:
    assert is_repo_id("ada/car-racing")
    assert not any(map(is_repo_id, ("ada", "runs/a/b", "hf://ada/car", "./runs", "/ada/car")))


def test_a_reference_stands_for_an_artifact(
    hub: ToyHub, published: Repository, tiny_vae: Any
) -> None:
    vision = load_vision("hf://ada/world", device="cpu")
    assert vision.digest == tiny_vae.vision_digest
    assert vision.saved_at == f"hf://ada/world@{published.main}/vision"
    artifact = load_artifact("hf://ada/world/memory")
    assert (artifact.kind, artifact.digest) == ("memory", tiny_vae.memory_digest)
    assert artifact.provenance == {"source": f"hf://ada/world@{published.main}/memory"}
    world_model = WorldModel.open("car-racing", "hf://ada/world", Path("hf://ada/world"))
    assert world_model.memory is not None
    assert world_model.memory.digest == tiny_vae.memory_digest


def test_nothing_but_artifacts_is_downloaded_and_only_once(
    hub: ToyHub, published: Repository, tmp_path: Path
) -> None:
    load_vision("hf://ada/world", device="cpu")
    commit = f"/ada/world/resolve/{published.main}"
    names = ("SHA256SUMS", "config.json", "model.safetensors")
    expected = [f"GET {commit}/{kind}/{name}" for kind in ("memory", "vision") for name in names]
    assert sorted(downloads(hub)) == sorted(expected)
    cached = {path.name for path in (tmp_path / "hub-cache").rglob("*")}
    assert not {"evil.py", "evil.pkl", "deep", "README.md"} & cached
    load_vision("hf://ada/world", device="cpu")
    assert downloads(hub) == []


def test_a_commit_lasts_while_a_branch_moves(
    hub: ToyHub, published: Repository, make_tiny: Callable[..., Any], tiny_vae: Any
) -> None:
    first, other = published.main, make_tiny(seed=1)
    load_vision("hf://ada/world", device="cpu")
    published.commit(artifact_files(vision=other.vision))
    assert load_vision("hf://ada/world", device="cpu").digest == other.vision_digest
    pinned = f"hf://ada/world@{first}/vision"
    assert load_vision(pinned, device="cpu").digest == tiny_vae.vision_digest
    with pytest.raises(ArtifactError, match="expected a repository with an artifact of kind 'mem"):
        load_artifact("hf://ada/world", kind="memory")


def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")


def test_without_a_network_the_cache_is_used_and_says_so(
    published: Repository, tiny_vae: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved_at = load_vision("hf://ada/world", device="cpu").saved_at
    no_network(monkeypatch)
    with pytest.warns(HubWarning, match=f"check the network .* of the commit {published.main}"):
        vision = load_vision("hf://ada/world", device="cpu")
    assert vision.digest == tiny_vae.vision_digest
    assert load_vision(str(saved_at), device="cpu").digest == vision.digest  # without a warning
    with pytest.raises(HubError, match=r"expected an answer of the hub, got none; check the netw"):
        load_vision("hf://ada/world@v2", device="cpu")


def test_a_repository_that_is_gone_remains_in_the_cache(
    hub: ToyHub, published: Repository, tiny_vae: Any
) -> None:
    load_vision("hf://ada/world", device="cpu")
    del hub.repositories["ada/world"]
    message = r"ada/world: expected a repository, got none .*; the copy in the cache is used"
    with pytest.warns(HubWarning, match=message):
        vision = load_vision("hf://ada/world", device="cpu")
    assert vision.digest == tiny_vae.vision_digest


def test_an_interrupted_download_is_completed(
    hub: ToyHub, published: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = find_artifact("hf://ada/world", kind="vision")
    (folder / "SHA256SUMS").unlink()
    with monkeypatch.context() as context:
        no_network(context)
        with pytest.raises(HubError, match="check the network connection"):
            load_vision("hf://ada/world", device="cpu")
    load_vision("hf://ada/world", device="cpu")


ANSWERS: dict[str, tuple[Callable[[ToyHub], None], str, str]] = {
    "no repository": (
        lambda hub: hub.repositories.clear(),
        "hf://ada/world",
        "hf://ada/world: expected a repository, got none of that name, or a private one; correct "
        "the name, or log in with hf auth login, to an account that may read it",
    ),
    "gated": (
        lambda hub: setattr(hub.repositories["ada/world"], "gated", True),
        "hf://ada/world",
        "hf://ada/world: expected a repository that you may read, got one whose owner grants "
        "access on request; request it on the repository's page, and log in with hf auth login",
    ),
    "private": (
        lambda hub: setattr(hub.repositories["ada/world"], "private", True),
        "hf://ada/world",
        "hf://ada/world: expected a repository, got none of that name, or a private one; correct "
        "the name, or log in with hf auth login, to an account that may read it",
    ),
    "no revision": (
        lambda hub: None,
        "hf://ada/world@v7/vision",
        "hf://ada/world@v7: expected a branch, a tag or a commit of the repository, got none of "
        "that name",
    ),
    "no artifact": (
        lambda hub: hub.repositories["ada/world"].commit({"pytorch_model.bin": b"pickle"}) and None,
        "hf://ada/world",
        "hf://ada/world: expected a repository with artifacts, such as vision/config.json, got one "
        "without; choose a repository that wmrl artifacts push wrote",
    ),
    "two artifacts": (
        lambda hub: None,
        "hf://ada/world",
        "hf://ada/world: expected a repository with an artifact of kind 'agent', or a single "
        "artifact, got one with 'vision' and 'memory'; choose another repository or kind, as in "
        "hf://user/name/vision",
    ),
    "too large": (
        lambda hub: hub.sizes.update({"vision/model.safetensors": 2**33}),
        "hf://ada/world",
        "hf://ada/world: expected at most 4,294,967,296 bytes in vision/model.safetensors, got "
        "8,589,934,592; choose another repository",
    ),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_refusals_are_one_sentence_and_download_nothing(
    hub: ToyHub, published: Repository, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    change, text, message = ANSWERS[case]
    change(hub)
    monkeypatch.setenv("HF_TOKEN", "hf_of_someone_else")
    with pytest.raises(HubError) as refusal:
        find_artifact(text)
    assert str(refusal.value) == message
    if case != "two artifacts":
        assert downloads(hub) == []


def test_errors_of_the_hub_and_offline_mode(
    hub: ToyHub, published: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    hub.broken = True
    with pytest.raises(HubError, match=r"expected the hub to do this, got an error; try again lat"):
        find_artifact("hf://ada/world/vision")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match=r"in the cache, got none; unset HF_HUB_OFFLINE"):
        find_artifact("hf://ada/world/vision")


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r'install it with pip install "wmrl\[hub\]"'):
        find_artifact("hf://ada/world")


def test_what_is_downloaded_is_verified(
    hub: ToyHub, published: Repository, tmp_path: Path, tiny_vae: Any
) -> None:
    good = artifact_files(vision=tiny_vae.vision)
    weights = bytearray(good["vision/model.safetensors"])
    weights[-1] ^= 1
    published.commit(good | {"vision/model.safetensors": bytes(weights)})
    with pytest.raises(ArtifactError, match=r"model\.safetensors: damaged"):
        load_vision("hf://ada/world", device="cpu")
    published.commit({name: data for name, data in good.items() if "SUMS" not in name})
    with pytest.raises(ArtifactError, match="SHA256SUMS: missing or not text"):
        load_vision("hf://ada/world", device="cpu")
    save_artifact(
        tmp_path / "huge",
        kind="vision",
        class_name="VAE",
        config={"latent_dim": 10**12},
        tensors={},
    )
    published.commit(artifact_files(vision=tmp_path / "huge"))
    with pytest.raises(ArtifactError, match=r"latent_dim|weights do not fit"):
        load_vision("hf://ada/world", device="cpu")


def test_kinds_are_those_of_the_folders(published: Repository, tiny_vae: Any) -> None:
    published.commit(artifact_files(memory=tiny_vae.vision))
    with pytest.raises(ArtifactError, match="expected an artifact of kind 'memory', got 'vision'"):
        load_artifact("hf://ada/world", kind="memory")


def test_a_cached_path_has_a_reference(tmp_path: Path) -> None:
    commit = "0123456789abcdef" * 2 + "01234567"
    snapshot = tmp_path / "models--ada-b--car.racing" / "snapshots"
    reference = cached_reference(snapshot / commit / "vision")
    assert reference == HubReference("ada-b/car.racing", commit, "vision")
    assert cached_reference(snapshot / commit / "pixels") is None
    assert cached_reference(snapshot / "main" / "vision") is None
    assert cached_reference(Path("/")) is None


def test_the_artifact_of_a_repository(tmp_path: Path, tiny_vae: Any) -> None:
    shutil.copytree(tiny_vae.vision, tmp_path / "vision")
    assert repository_artifact(tmp_path, kind=None, name="it") == tmp_path / "vision"
    shutil.copytree(tiny_vae.memory, tmp_path / "memory")
    with pytest.raises(HubError, match=r"it: expected .* got one with 'vision' and 'memory'"):
        repository_artifact(tmp_path, kind=None, name="it")
    assert repository_artifact(tmp_path, kind="memory", name="it") == tmp_path / "memory"
    (tmp_path / "agent").mkdir()
    (tmp_path / "agent" / "config.json").write_text("{}")  # as of a run
    assert kinds_in(tmp_path) == ["vision", "memory"]
    (tmp_path / "agent" / "SHA256SUMS").touch()
    assert repository_artifact(tmp_path, kind=None, name="it") == tmp_path / "agent"


def test_an_agent_refers_to_its_repository(
    hub: ToyHub, published: Repository, tmp_path: Path, agent_path: Path, tiny: Any
) -> None:
    config = json.loads((agent_path / "config.json").read_text())
    config["config"]["world_model"] |= {"vision": "../vision", "memory": "../memory"}
    artifact = load_artifact(agent_path)
    save_artifact(
        tmp_path / "moved",
        kind="agent",
        class_name=artifact.class_name,
        config=config["config"],
        tensors=artifact.tensors,
    )
    files = artifact_files(agent=tmp_path / "moved", vision=tiny.vision, memory=tiny.memory)
    commit = published.commit(files)
    ref = load_agent("hf://ada/world").world_model
    assert ref is not None
    assert ref.vision == f"hf://ada/world@{commit}/vision"
    assert ref.memory == f"hf://ada/world@{commit}/memory"
    assert ref.open(device="cpu").vision.digest == tiny.vision_digest


def test_the_address_of_the_hub_comes_from_the_environment(
    hub: ToyHub, published: Repository, tmp_path: Path
) -> None:
    code = (
        "from wmrl.storage.hub import HubReference, find_hub_artifact\n"
        "print(find_hub_artifact(HubReference.parse('hf://ada/world'), kind='vision'))"
    )
    given = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **given},
        capture_output=True,
        text=True,
        check=True,
    )
    assert (Path(done.stdout.strip()) / "config.json").is_file()
    assert Path(done.stdout.strip()).is_relative_to(tmp_path / "home")
    assert done.stderr == ""  # progress bars are for terminals
