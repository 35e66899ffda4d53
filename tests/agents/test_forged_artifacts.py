"""Artifacts with valid sums and false contents end in an ArtifactError, and cost no memory."""

import hashlib
import json
import resource
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box

from wmrl.agents.agent import load_agent
from wmrl.agents.controller import ControllerAgent, ControllerConfig
from wmrl.agents.quality_diversity.archive import load_elites
from wmrl.encodings.base import load_encoding
from wmrl.memory.base import load_memory
from wmrl.storage.artifact import (
    SHIPPED,
    ArtifactError,
    load_artifact,
    save_artifact,
    shipped_artifacts,
)
from wmrl.vision.base import load_vision

OPENERS: dict[str, Callable[[Path], Any]] = {
    "car-racing-vae": load_vision,
    "car-racing-mdnrnn": load_memory,
    "car-racing-dream": load_agent,
    "car-racing-vqvae": load_vision,
    "car-racing-symbols": load_memory,
}


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("car-racing-vae", {"base_channels": 10**6}),
        ("car-racing-vae", {"base_channels": 10**30}),
        ("car-racing-vae", {"base_channels": 32.0}),
        ("car-racing-vae", {"latent_dim": "32"}),
        ("car-racing-mdnrnn", {"num_members": 10**9}),
        ("car-racing-mdnrnn", {"member": {"hidden_dim": 10**9}}),
        ("car-racing-mdnrnn", {"member": {"hidden_dim": 256.0}}),
        ("car-racing-mdnrnn", {"member": {"num_mixtures": 10**12}}),
        ("car-racing-mdnrnn", {"member": []}),
        ("car-racing-vae", {"kl_floor": 10**400}),
        ("car-racing-vqvae", {"codebook_size": 10**14}),
        ("car-racing-vqvae", {"codebook_size": 10**9, "quantizer": "gradient"}),
        ("car-racing-vqvae", {"quantizer": "fsq", "levels": [10**9] * 3}),
        ("car-racing-vqvae", {"code_dim": 16.0}),
        ("car-racing-symbols", {"member": {"codebook_size": 10**12}}),
        ("car-racing-symbols", {"member": {"token_dim": 10**9}}),
        ("car-racing-symbols", {"member": {"grid": [4, 5]}}),
        ("car-racing-symbols", {"noise_floor": 0.2}),
        ("car-racing-dream", {"observation_dim": 10**12}),
        ("car-racing-dream", {"policy_kwargs": {"net_arch": [10**5, 10**5]}}),
        ("car-racing-dream", {"policy_kwargs": {"net_arch": [-64, 64]}}),
        ("car-racing-dream", {"action_low": [[-1.0, -1.0]]}),
        ("car-racing-dream", {"world_model": {"vision": ".\0"}}),
        ("car-racing-dream", {"observation_dim": 288.0}),
        ("car-racing-dream", {"observation_dim": [288]}),
        ("car-racing-dream", {"policy_kwargs": {"net_arch": [10**9]}}),
        ("car-racing-dream", {"policy_kwargs": {"net_arch": "wide"}}),
        ("car-racing-dream", {"policy_kwargs": []}),
        ("car-racing-dream", {"world_model": {"surprise": 1}}),
        ("car-racing-dream", {"world_model": {"memory": 3}}),
        ("car-racing-dream", {"world_model": {"vision": 3}}),
        ("car-racing-dream", {"world_model": {"frame_skip": 0}}),
        ("car-racing-dream", {"world_model": {"frame_skip": "4"}}),
        ("car-racing-dream", {"world_model": []}),
    ],
)
def test_refused(tmp_path: Path, name: str, change: dict[str, Any]) -> None:
    path = shutil.copytree(SHIPPED / name, tmp_path / "forged")
    header = json.loads((path / "config.json").read_text())
    for key, value in change.items():
        old = header["config"].get(key)
        keep = isinstance(old, dict) and isinstance(value, dict)
        header["config"][key] = old | value if keep else value
    (path / "config.json").write_text(json.dumps(header))
    names = sorted(entry.name for entry in path.iterdir() if entry.name != "SHA256SUMS")
    sums = [f"{hashlib.sha256((path / n).read_bytes()).hexdigest()}  {n}\n" for n in names]
    (path / "SHA256SUMS").write_text("".join(sums))
    with pytest.raises(ArtifactError):
        OPENERS[name](path)


@pytest.mark.parametrize("size", [10**8, 10**30, 2.0, 0])
def test_controllers_of_forged_sizes_are_refused(tmp_path: Path, size: Any) -> None:
    config = ControllerConfig(observation_dim=3, action_space=Box(-1, 1, (2,)))
    ControllerAgent(config, np.zeros(config.parameter_count)).save(tmp_path / "agent")
    artifact = load_artifact(tmp_path / "agent")
    options = {"kind": "discrete", "num_options": [size]}
    for name, forged in (("observation_dim", size), ("action_space", options)):
        controller = artifact.config["controller"] | {name: forged}
        save_artifact(
            tmp_path / "forged",
            kind="agent",
            class_name="ControllerAgent",
            config={**artifact.config, "controller": controller},
            tensors=artifact.tensors,
        )
        with pytest.raises(ArtifactError, match=f"(_dim|options): expected .*, got .*{size}"):
            load_agent(tmp_path / "forged")


@pytest.mark.parametrize("shape", [(10**12, 0), (10**5,)])
def test_spare_tensors_admit_no_sizes(tmp_path: Path, shape: tuple[int, ...]) -> None:
    artifact = load_artifact("car-racing-dream")
    kwargs = artifact.config["policy_kwargs"] | {"net_arch": [shape[0]] * 2}
    save_artifact(
        tmp_path / "forged",
        kind="agent",
        class_name="SB3Agent",
        config=artifact.config | {"policy_kwargs": kwargs},
        tensors=artifact.tensors | {"spare": torch.zeros(shape)},
    )
    with pytest.raises(ArtifactError, match="expected layers that fit"):
        load_agent(tmp_path / "forged")


def forged(name: str, change: dict[str, Any], path: Path) -> Path:
    """Copies a shipped artifact, and changes its configuration together with its sums."""
    shutil.copytree(SHIPPED / name, path)
    header = json.loads((path / "config.json").read_text())
    for key, value in change.items():
        inner = header["config"]
        *parents, last = key.split(".")
        for parent in parents:
            inner = inner[parent]
        inner[last] = value
    (path / "config.json").write_text(json.dumps(header))
    names = sorted(entry.name for entry in path.iterdir() if entry.name != "SHA256SUMS")
    sums = [f"{hashlib.sha256((path / n).read_bytes()).hexdigest()}  {n}\n" for n in names]
    (path / "SHA256SUMS").write_text("".join(sums))
    return path


def numbers(config: dict[str, Any], prefix: str = "") -> list[str]:
    """Dotted names of all integers of a configuration, and of the lists of integers in it."""
    found = []
    for key, value in config.items():
        if isinstance(value, dict):
            found += numbers(value, f"{prefix}{key}.")
        elif type(value) is int or (isinstance(value, list) and value and type(value[0]) is int):
            found.append(f"{prefix}{key}")
    return found


KINDS: dict[str, Callable[[Path], Any]] = {
    "vision": load_vision,
    "memory": load_memory,
    "agent": load_agent,
    "encoding": load_encoding,
    "elites": load_elites,
}
COUNTS = [
    (name, number)
    for name in shipped_artifacts()
    for number in numbers(json.loads((SHIPPED / name / "config.json").read_text())["config"])
]
# Training and dreams have limits of their own for these; opening does not use them.
HARMLESS = ("warmup_steps", "codebook_size", "code_dim", "context", "cells", "dims", "levels")


def opened_within_bounds(name: str, number: str, value: Any, path: Path) -> None:
    """Opens a forged artifact in a process of little memory and time."""
    kind = json.loads((SHIPPED / name / "config.json").read_text())["kind"]
    given = json.loads((SHIPPED / name / "config.json").read_text())["config"]
    for part in number.split("."):
        given = given[part]
    forged(name, {number: [value] * len(given) if isinstance(given, list) else value}, path)
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with suppress(ArtifactError):
        KINDS[kind](path)
        assert number.rpartition(".")[2] in HARMLESS, number
    shutil.rmtree(path)
    assert time.monotonic() - began < 20.0
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**20  # KiB


@pytest.mark.parametrize(("name", "number"), COUNTS)
def test_forged_counts_are_refused_quickly(tmp_path: Path, name: str, number: str) -> None:
    for value in (10**12, -(10**12)):
        opened_within_bounds(name, number, value, tmp_path / "forged")


@pytest.mark.slow
@pytest.mark.parametrize("value", [0, -1, 2**31, 2**63, 2**64, 10**30, 10**300, 65_537])
@pytest.mark.parametrize(("name", "number"), COUNTS)
def test_forged_counts_of_many_sizes(tmp_path: Path, name: str, number: str, value: int) -> None:
    opened_within_bounds(name, number, value, tmp_path / "forged")
