"""Reports of benchmarks: their measurements, and the machine that they ran on."""

import json
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

_PACKAGES = ("wmrl", "gymnasium", "numba", "numpy", "pygame-ce", "stable-baselines3", "torch")


def write_report(name: str, results: Mapping[str, Any]) -> None:
    """Prints results, and writes them and :func:`machine` to ``benchmarks/<name>.json``."""
    for key, value in results.items():
        print(f"  {key:36} {value:14,.4g}" if isinstance(value, float) else f"  {key:36} {value}")
    path = Path(__file__).parent / f"{name}.json"
    path.write_text(json.dumps({"machine": machine(), **results}, indent=2) + "\n")


def machine() -> dict[str, Any]:
    """Returns a description of the machine: processor, threads, system and package versions."""
    return {
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {package: version(package) for package in _PACKAGES},
    }


def _processor() -> str:
    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.exists() else []
    names = {line.split(":")[1].strip() for line in lines if line.startswith("model name")}
    return ", ".join(sorted(names)) or platform.processor()
