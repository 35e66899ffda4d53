"""Artifacts with valid sums and false contents end in an ArtifactError, and cost no memory."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wmrl.agents.driver import open_driver
from wmrl.artifact import SHIPPED, ArtifactError
from wmrl.memory import load_memory
from wmrl.vision import load_vision

OPENERS: dict[str, Callable[[Path], Any]] = {
    "car-racing-vae": load_vision,
    "car-racing-mdnrnn": load_memory,
    "car-racing-dream": open_driver,
}


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("car-racing-vae", {"width": 10**6}),
        ("car-racing-vae", {"width": 10**30}),
        ("car-racing-vae", {"width": 32.0}),
        ("car-racing-vae", {"latent_size": "32"}),
        ("car-racing-mdnrnn", {"members": 10**9}),
        ("car-racing-mdnrnn", {"member": {"hidden_size": 10**9}}),
        ("car-racing-mdnrnn", {"member": {"hidden_size": 256.0}}),
        ("car-racing-mdnrnn", {"member": {"mixtures": 10**12}}),
        ("car-racing-mdnrnn", {"member": []}),
        ("car-racing-dream", {"observation_size": 10**12}),
        ("car-racing-dream", {"observation_size": 288.0}),
        ("car-racing-dream", {"observation_size": [288]}),
        ("car-racing-dream", {"policy_kwargs": {"net_arch": [10**9]}}),
        ("car-racing-dream", {"policy_kwargs": {"net_arch": "wide"}}),
        ("car-racing-dream", {"policy_kwargs": []}),
        ("car-racing-dream", {"eye": {"task": "car-racing"}}),
        ("car-racing-dream", {"eye": {"vision": 3}}),
        ("car-racing-dream", {"eye": {"frame_skip": 0}}),
        ("car-racing-dream", {"eye": {"frame_skip": "4"}}),
        ("car-racing-dream", {"eye": []}),
    ],
)
def test_refused(tmp_path: Path, name: str, change: dict[str, Any]) -> None:
    path = shutil.copytree(SHIPPED / name, tmp_path / "forged")
    header = json.loads((path / "config.json").read_text())
    for key, value in change.items():
        old = header["config"].get(key)
        keep = isinstance(old, dict) and isinstance(value, dict) and key != "eye"
        header["config"][key] = old | value if keep else value
    if isinstance(change.get("eye"), dict) and "task" not in change["eye"]:
        header["config"]["eye"] = {"task": "car-racing", "vision": "v"} | change["eye"]
    (path / "config.json").write_text(json.dumps(header))
    names = sorted(entry.name for entry in path.iterdir() if entry.name != "SHA256SUMS")
    sums = [f"{hashlib.sha256((path / n).read_bytes()).hexdigest()}  {n}\n" for n in names]
    (path / "SHA256SUMS").write_text("".join(sums))
    with pytest.raises(ArtifactError):
        OPENERS[name](path)
