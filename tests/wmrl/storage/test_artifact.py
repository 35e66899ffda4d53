import hashlib
import itertools
import json
import multiprocessing
import os
import pickle
import re
import shutil
import signal
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from safetensors.torch import load_file, save_file

from wmrl.agents.agent import load_agent
from wmrl.agents.controller import ControllerAgent, ControllerConfig
from wmrl.memory.base import load_memory
from wmrl.storage import files
from wmrl.storage.artifact import (
    ArtifactError,
    copy_artifact,
    find_artifact,
    load_artifact,
    save_artifact,
    shipped_artifacts,
)
from wmrl.storage.restoring import load_weights, restore_config, restore_module
from wmrl.storage.run import Run
from wmrl.vision.base import load_vision
from wmrl.vision.vae import VAEConfig


@pytest.fixture
def tensors() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {"weight": torch.randn(3, 2, generator=generator), "bias": torch.arange(3)}


@pytest.fixture
def saved(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> Path:
    path = tmp_path / "world_model"
    save_artifact(
        path,
        kind="vision",
        class_name="VAE",
        config={"width": 4},
        tensors=tensors,
        card="# WorldModel\n",
    )
    return path


def resum(path: Path) -> None:
    """Makes the sums right again, as an attacker would."""
    names = ["README.md", "config.json", "model.safetensors"]
    lines = [f"{hashlib.sha256((path / n).read_bytes()).hexdigest()}  {n}\n" for n in names]
    (path / "SHA256SUMS").write_text("".join(lines))


def test_round_trip(saved: Path, tensors: dict[str, torch.Tensor]) -> None:
    artifact = load_artifact(saved, kind="vision")
    assert (artifact.kind, artifact.class_name, artifact.config) == ("vision", "VAE", {"width": 4})
    assert artifact.tensors.keys() == tensors.keys()
    assert all(torch.equal(artifact.tensors[name], tensors[name]) for name in tensors)
    assert artifact.digest == hashlib.sha256((saved / "model.safetensors").read_bytes()).hexdigest()


def test_half_is_widened_again(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> None:
    options = {"kind": "vision", "class_name": "VAE", "config": {}, "half": True}
    digest = save_artifact(tmp_path / "a", tensors=tensors, **options)
    artifact = load_artifact(tmp_path / "a")
    assert artifact.tensors["weight"].dtype == torch.float32
    assert torch.equal(artifact.tensors["weight"], tensors["weight"].half().float())
    assert artifact.tensors["bias"].dtype == torch.int64
    assert save_artifact(tmp_path / "b", tensors=artifact.tensors, **options) == digest


def test_saving_replaces_the_old_one(saved: Path) -> None:
    save_artifact(saved, kind="agent", class_name="B", config={}, tensors={"x": torch.ones(1)})
    assert load_artifact(saved).class_name == "B"
    assert [path.name for path in saved.parent.iterdir()] == ["world_model"]


def test_the_same_is_not_written_again(saved: Path, tensors: dict[str, torch.Tensor]) -> None:
    options = {
        "kind": "vision",
        "class_name": "VAE",
        "config": {"width": 4},
        "card": "# WorldModel\n",
    }
    before = {path.name: path.stat().st_mtime_ns for path in saved.iterdir()}
    save_artifact(saved, tensors=tensors, **options)
    assert {path.name: path.stat().st_mtime_ns for path in saved.iterdir()} == before
    (saved / "model.safetensors").write_bytes(b"damaged")
    save_artifact(saved, tensors=tensors, **options)
    load_artifact(saved)


def test_a_run_is_not_replaced(tmp_path: Path) -> None:
    with Run(tmp_path / "run", config={"seed": 0}) as run:
        run.save_checkpoint("last", {"w": torch.ones(2)}, {})
        with pytest.raises(ArtifactError, match="contains files that are not part of an artifact"):
            save_artifact(run.path, kind="vision", class_name="VAE", config={}, tensors={})
        assert run.load_checkpoint("last") is not None


def test_saving_never_replaces_something_else(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ArtifactError, match="contains files that are not part of an artifact"):
        save_artifact(tmp_path, kind="agent", class_name="B", config={}, tensors={})
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_infinite_weights_are_not_saved(saved: Path) -> None:
    before = load_artifact(saved).digest
    with pytest.raises(ValueError, match="expected finite values, got NaN or ∞ in 'x'"):
        save_artifact(
            saved,
            kind="agent",
            class_name="B",
            config={},
            tensors={"x": torch.tensor([torch.inf])},
            half=True,
        )
    assert load_artifact(saved).digest == before


def test_what_half_precision_cannot_hold_stays_whole(tmp_path: Path) -> None:
    tensors = {"large": torch.tensor([1e6, 1.0001]), "small": torch.tensor([1.0001])}
    save_artifact(
        tmp_path / "a", kind="agent", class_name="B", config={}, tensors=tensors, half=True
    )
    found = load_artifact(tmp_path / "a").tensors
    assert torch.equal(found["large"], tensors["large"])
    assert found["small"].item() == 1.0


def test_unknown_name_lists_the_shipped_ones(tmp_path: Path) -> None:
    with pytest.raises(
        ArtifactError, match=r"no artifact 'car-racing-nothing': expected a shipped"
    ):
        find_artifact("car-racing-nothing")
    with pytest.raises(ArtifactError, match="got an empty folder"):
        find_artifact(tmp_path)


@pytest.mark.parametrize("name", ["~nobody/vision", "x" * 5000, "a\0b"])
def test_what_is_no_path(name: str) -> None:
    with pytest.raises(ArtifactError, match="no artifact"):
        find_artifact(name)


def test_wrong_kind(saved: Path) -> None:
    with pytest.raises(ArtifactError, match="expected an artifact of kind 'memory', got 'vision'"):
        load_artifact(saved, kind="memory")


def test_every_flipped_bit_is_noticed(saved: Path) -> None:
    for name in ("config.json", "model.safetensors", "README.md"):
        good = (saved / name).read_bytes()
        for position in range(0, len(good), max(1, len(good) // 7)):
            bad = bytearray(good)
            bad[position] ^= 1 << (position % 8)
            (saved / name).write_bytes(bad)
            with pytest.raises(ArtifactError, match="damaged"):
                load_artifact(saved)
        (saved / name).write_bytes(good)
    load_artifact(saved)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "SHA256SUMS"])
def test_truncated(saved: Path, name: str) -> None:
    whole = (saved / name).read_bytes()
    (saved / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ArtifactError):
        load_artifact(saved)


@pytest.mark.parametrize("name", ["model.safetensors", "SHA256SUMS"])
def test_missing_file(saved: Path, name: str) -> None:
    (saved / name).unlink()
    with pytest.raises(ArtifactError, match=name):
        load_artifact(saved)


class Bomb:
    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("/tmp/wmrl-bomb",)


def test_pickle_as_weights_is_refused_and_not_run(saved: Path) -> None:
    (saved / "model.safetensors").write_bytes(pickle.dumps(Bomb()))
    resum(saved)
    with pytest.raises(ArtifactError, match="not a valid safetensors file"):
        load_artifact(saved)
    assert not Path("/tmp/wmrl-bomb").exists()


def test_pickle_beside_the_weights_is_refused(saved: Path) -> None:
    (saved / "data.pkl").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ArtifactError, match=r"contains 'data\.pkl', which is not part"):
        load_artifact(saved)


def test_sums_cannot_lead_out_of_the_folder(saved: Path) -> None:
    with (saved / "SHA256SUMS").open("a") as sums:
        sums.write("0" * 64 + "  ../../etc/passwd\n")
    with pytest.raises(ArtifactError, match="expected one line per file"):
        load_artifact(saved)


def test_header_larger_than_the_file(saved: Path) -> None:
    model = (saved / "model.safetensors").read_bytes()
    (saved / "model.safetensors").write_bytes(struct.pack("<Q", 2**40) + model[8:])
    resum(saved)
    with pytest.raises(ArtifactError, match="not a valid safetensors file"):
        load_artifact(saved)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 99}, "expected format version 2, got 99"),
        ({"config": [1]}, "expected 'config' to be a JSON object"),
        ({"class": ["VAE"]}, "expected 'class' to be a string"),
        ({"provenance": [1]}, "expected 'provenance' to be a JSON object"),
        ({"format_version": [2]}, "expected 'format_version' to be an integer"),
    ],
)
def test_odd_headers(saved: Path, change: dict[str, object], message: str) -> None:
    header = json.loads((saved / "config.json").read_text()) | change
    (saved / "config.json").write_text(json.dumps(header))
    resum(saved)
    with pytest.raises(ArtifactError, match=message):
        load_artifact(saved)


def test_config_that_the_class_refuses(tmp_path: Path) -> None:
    save_artifact(tmp_path / "a", kind="vision", class_name="VAE", config={"depth": 3}, tensors={})
    with pytest.raises(ArtifactError, match="not a configuration of VAE"):
        restore_config(VAEConfig, load_artifact(tmp_path / "a"))


def test_weights_of_another_shape(saved: Path) -> None:
    module = torch.nn.Linear(2, 4)
    with pytest.raises(ArtifactError, match=r"'bias': expected shape \(4,\), got \(3,\)"):
        load_weights(module, load_artifact(saved))


def test_a_forged_size_costs_nothing(saved: Path) -> None:
    artifact = load_artifact(saved)
    with pytest.raises(ArtifactError, match="weights do not fit VAE"):
        restore_module(lambda: torch.nn.Linear(10**9, 10**9, bias=False), artifact)
    with pytest.raises(ArtifactError, match="invalid configuration of VAE"):
        restore_module(lambda: torch.nn.Linear(10**30, 2), artifact)


@pytest.mark.parametrize("name", shipped_artifacts())
def test_shipped_artifacts_are_whole_and_small(name: str) -> None:
    artifact = load_artifact(name)
    assert artifact.provenance
    assert sum(path.stat().st_size for path in artifact.path.iterdir()) < 6e6


def write_for_ever(path: Path, swap: bool) -> None:
    if not swap:
        files.exchange = lambda *_: False  # type: ignore[assignment]
    for number in itertools.count():
        save_artifact(
            path,
            kind="vision",
            class_name="VAE",
            config={"number": number},
            tensors={"weight": torch.full((20,), float(number % 1000))},
            card=f"# {number}",
        )


@pytest.mark.filterwarnings("ignore:.*fork")
@pytest.mark.parametrize("swap", [True, False])
def test_reading_while_others_write(saved: Path, tmp_path: Path, swap: bool) -> None:
    """Real processes replace the artifact; each reading sees one of their states as a whole."""
    fork = multiprocessing.get_context("fork")  # has imported torch already
    writer = fork.Process(target=write_for_ever, args=(saved, swap), daemon=True)
    writer.start()
    try:
        end, numbers = time.monotonic() + 2.0, set()
        while time.monotonic() < end and len(numbers) < 100:
            artifact = load_artifact(saved)
            number = artifact.config.get("number")
            if number is not None:
                assert artifact.tensors["weight"].tolist() == [number % 1000] * 20
                numbers.add(number)
    finally:
        writer.kill()
        writer.join()
    assert writer.exitcode == -signal.SIGKILL
    assert len(numbers) > 3


SPECIAL: dict[str, Callable[[Path], object]] = {
    "pipe": os.mkfifo,
    "folder": Path.mkdir,
    "endless": lambda path: path.symlink_to("/dev/zero"),
    "large": lambda path: (path.touch(), os.truncate(path, 2**42)),
    "missing": lambda path: None,
}


@pytest.mark.parametrize("kind", SPECIAL)
@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "README.md", "SHA256SUMS"])
def test_special_files_are_refused_at_once(saved: Path, name: str, kind: str) -> None:
    (saved / name).unlink()
    SPECIAL[kind](saved / name)
    with pytest.raises(ArtifactError, match=name.replace(".", r"\.")):
        load_artifact(saved)


@pytest.mark.parametrize("size", [2**63 - 1, 2**64 - 1, 10**7, 2])
def test_headers_of_wrong_sizes(saved: Path, size: int) -> None:
    model = (saved / "model.safetensors").read_bytes()
    (saved / "model.safetensors").write_bytes(struct.pack("<Q", size) + model[8:])
    resum(saved)
    with pytest.raises(ArtifactError, match="not a valid safetensors file"):
        load_artifact(saved)


@pytest.mark.parametrize("layer", [torch.nn.ReLU, lambda: torch.nn.Linear(2, 2)])
def test_a_forged_count_costs_nothing(saved: Path, layer: Callable[[], torch.nn.Module]) -> None:
    artifact = load_artifact(saved)

    def deep() -> torch.nn.Module:
        return torch.nn.ModuleList(torch.nn.Sequential(layer()) for _ in range(10**12))

    with pytest.raises(ArtifactError, match="a number of layers that fits the 2 tensors"):
        restore_module(deep, artifact)
    torch.nn.Sequential(*[torch.nn.Linear(2, 2) for _ in range(2000)])  # not limited afterwards


def rewrite(path: Path, name: str, change: Any) -> None:
    """Changes a tensor of an artifact, with the right checksums, as a stranger's program would."""
    tensors = load_file(path / "model.safetensors")
    tensors[name] = change(tensors[name])
    save_file(tensors, path / "model.safetensors")
    sums = [
        f"{hashlib.sha256((path / line.split()[1]).read_bytes()).hexdigest()}  {line.split()[1]}"
        for line in (path / "SHA256SUMS").read_text().splitlines()
    ]
    (path / "SHA256SUMS").write_text("\n".join(sums) + "\n")


WRONG_DTYPES = [
    (lambda t: t.to(torch.int64), "torch.int64"),
    (lambda t: t.to(torch.complex64), "torch.complex64"),
    (lambda t: t.double(), "torch.float64"),
    (lambda t: t.to(torch.bfloat16), "torch.bfloat16"),
    (lambda t: t > 0, "torch.bool"),
]


@pytest.mark.parametrize(("change", "dtype"), WRONG_DTYPES)
def test_weights_of_another_dtype_are_refused(
    tiny: Any, tmp_path: Path, change: Any, dtype: str
) -> None:
    for number, (source, load) in enumerate(
        [(tiny.vision, load_vision), (tiny.memory, load_memory)]
    ):
        path = shutil.copytree(source, tmp_path / str(number))
        name = next(n for n, t in load_file(path / "model.safetensors").items() if t.ndim == 2)
        rewrite(path, name, change)
        with pytest.raises(ArtifactError, match=rf"expected .*got {re.escape(dtype)}"):
            load(path, device="cpu")


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(saved: Path, bad: float) -> None:
    rewrite(saved, "weight", lambda tensor: torch.full_like(tensor, bad))
    with pytest.raises(ArtifactError, match="expected finite weights, got NaN or ∞ in 'weight'"):
        load_artifact(saved)


@pytest.mark.parametrize(("change", "dtype"), WRONG_DTYPES)
def test_parameters_of_controllers_are_float32(tmp_path: Path, change: Any, dtype: str) -> None:
    config = ControllerConfig(observation_dim=2, action_space=Box(-1, 1, (1,)))
    ControllerAgent(config, np.ones(3)).save(tmp_path / "agent")
    rewrite(tmp_path / "agent", "parameters", change)
    with pytest.raises(
        ArtifactError, match=f"'parameters': expected dtype torch.float32, got {dtype}"
    ):
        load_agent(tmp_path / "agent")


def test_controllers_have_finite_parameters() -> None:
    config = ControllerConfig(observation_dim=2, action_space=Box(-1, 1, (1,)))
    with pytest.raises(ValueError, match="parameters: expected finite numbers, got nan at index 2"):
        ControllerAgent(config, np.array([0.0, 1.0, np.nan]))


def test_provenance_takes_numbers_of_numpy(tmp_path: Path) -> None:
    weights = {"w": torch.ones(2)}
    about = {"kind": "vision", "class_name": "X", "config": {"n": np.int64(3)}, "tensors": weights}
    save_artifact(tmp_path / "a", provenance={"score": np.float32(0.5)}, **about)
    found = load_artifact(tmp_path / "a")
    assert (found.config, found.provenance) == ({"n": 3}, {"score": 0.5})
    with pytest.raises(ValueError, match=r"^provenance\.score: expected a finite number"):
        save_artifact(tmp_path / "b", provenance={"score": np.nan}, **about)
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("kind", ["file", "pipe", "loop"])
def test_saving_replaces_nothing_but_folders(
    tmp_path: Path, tensors: dict[str, torch.Tensor], kind: str
) -> None:
    path = tmp_path / "artifact"
    if kind == "file":
        path.write_text("mine")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(path)
    error = "expected a folder, or nothing" if kind != "loop" else "leads to itself"
    with pytest.raises((ArtifactError, OSError), match=error):
        save_artifact(path, kind="vision", class_name="Tiny", config={}, tensors=tensors)
    assert [entry.name for entry in tmp_path.iterdir()] == ["artifact"]


def test_a_copy_has_another_configuration_and_the_same_weights(saved: Path, tmp_path: Path) -> None:
    artifact = load_artifact(saved)
    copy_artifact(artifact, tmp_path / "copy", config={"width": 5})
    copy = load_artifact(tmp_path / "copy")
    assert (copy.config, copy.digest, copy.card) == ({"width": 5}, artifact.digest, artifact.card)
    assert (copy.kind, copy.class_name) == (artifact.kind, artifact.class_name)
    assert copy.provenance == artifact.provenance
    weights = (saved / "model.safetensors").read_bytes()
    assert (tmp_path / "copy" / "model.safetensors").read_bytes() == weights
    assert load_artifact(saved).config == artifact.config
    save_artifact(saved, kind="agent", class_name="B", config={}, tensors={"x": torch.ones(1)})
    with pytest.raises(ArtifactError, match="has changed since it was loaded"):
        copy_artifact(artifact, tmp_path / "other", config={})
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("kind", ["../agent", "", 3, ["vision"]])
def test_only_known_kinds_are_read(saved: Path, kind: object) -> None:
    header = json.loads((saved / "config.json").read_text()) | {"kind": kind}
    (saved / "config.json").write_text(json.dumps(header))
    resum(saved)
    with pytest.raises(ArtifactError, match=r"expected an artifact of kind in .* got"):
        load_artifact(saved)
