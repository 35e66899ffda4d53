"""Checks this installation: versions, devices, extras, the game, videos and shipped artifacts.

Each problem is reported with a fix. The exit status is 1 if there are problems, else 0.
"""

import dataclasses
import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import numpy as np

import wmrl

SHIPPED_NAMES = (
    *("car-racing-vae", "car-racing-mdnrnn", "car-racing-real", "car-racing-dream"),
    *("car-racing-vqvae", "car-racing-symbols"),
    *("car-racing-symbols-real", "car-racing-symbols-dream"),
)
_RIVALS = (
    ("box2d", "box2d-py"),
    ("pygame", "pygame-ce"),
    ("opencv-python", "opencv-python-headless", "opencv-contrib-python"),
)
_CACHE_FIX = "set NUMBA_CACHE_DIR to a folder that you can write to, for a faster start"
_SHARED_MEMORY = Path("/dev/shm")


@dataclass(frozen=True)
class Args:
    """Options of ``wmrl doctor``."""

    json: bool = False
    """Print the checks as JSON, for bug reports and scripts."""


@dataclass(frozen=True)
class Check:
    """Result of a check.

    Attributes:
        subject: package, device or other thing that was checked.
        state: ``"ok"``, ``"problem"``, or ``"note"`` if something optional is missing.
        found: version or other finding.
        fix: instructions to fix the problem; empty if there is no problem.
    """

    subject: str
    state: Literal["ok", "note", "problem"]
    found: str
    fix: str = ""


def main(args: Args) -> int:
    """Runs the checks, prints them, and returns the exit status."""
    checks: list[Check] = []
    for run_check in CHECKS:
        try:
            checks.extend(run_check())
        except Exception as error:  # the other checks still run
            found = f"{type(error).__name__}: {error}"
            fix = 'reinstall: pip install --force-reinstall "wmrl"'
            checks.append(Check(run_check.__name__.removeprefix("check_"), "problem", found, fix))
    if args.json:
        print(json.dumps([dataclasses.asdict(check) for check in checks], indent=2))
    else:
        _print(checks)
    return int(any(check.state == "problem" for check in checks))


def check_machine() -> Iterator[Check]:
    """Checks Python, the machine, and the shared memory that workers use to pass frames."""
    version = platform.python_version()
    old = sys.version_info < (3, 11)
    fix = "install Python 3.11 or newer" if old else ""
    yield Check("Python", "problem" if old else "ok", version, fix)
    yield Check("machine", "ok", f"{platform.platform()}, {os.cpu_count()} cores")
    if _SHARED_MEMORY.is_dir():
        free = shutil.disk_usage(_SHARED_MEMORY).free / 2**20
        found = f"{free:,.0f} MiB free in {_SHARED_MEMORY}"
        fix = "run the container with --shm-size=1g, or use workers=1" if free < 64 else ""
        yield Check("shared memory", "problem" if fix else "ok", found, fix)


def check_packages() -> Iterator[Check]:
    """Checks that required packages are installed, and that no installed packages conflict."""
    from packaging.requirements import Requirement

    yield Check("wmrl", "ok", f"{wmrl.__version__} in {Path(wmrl.__file__).parent}")
    for line in metadata.requires("wmrl") or ():
        requirement = Requirement(line)
        extra = _extra(requirement)
        if extra in ("test", "lint"):
            continue
        if extra or requirement.marker is None or requirement.marker.evaluate():
            yield _check_package(requirement, extra)
    for rivals in _RIVALS:
        there = [name for name in rivals if _version(name)]
        if len(there) > 1:
            fix = f"pip uninstall {' '.join(there)}, then pip install {there[0]}"
            yield Check(
                " and ".join(there), "problem", "these packages provide the same module", fix
            )


def check_devices() -> Iterator[Check]:
    """Reports the devices that torch can use."""
    import torch

    from wmrl.core.device import resolve_device

    chosen = resolve_device("auto")
    yield Check("device", "ok", f"device='auto' is {str(chosen)!r}")
    threads = torch.get_num_threads()
    yield Check("CPU", "ok", f"{threads} torch threads, {torch.backends.cpu.get_cpu_capability()}")
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    if names:
        yield Check("CUDA", "ok", f"{torch.version.cuda}: {', '.join(names)}")
    elif torch.backends.mps.is_available():
        yield Check("MPS", "ok", "available")
    elif shutil.which("nvidia-smi"):
        fix = "install a CUDA build of torch that fits the driver: https://pytorch.org"
        yield Check(
            "CUDA", "note", f"NVIDIA driver found, but torch {torch.__version__} finds no GPU", fix
        )
    else:
        yield Check("CUDA", "note", "none; models run on the CPU")


def check_game() -> Iterator[Check]:
    """Checks that the game runs and renders."""
    import gymnasium as gym

    env = gym.make("vsg/CarRacing-v3")
    try:
        frame, _ = env.reset(seed=0)
        frame, *_ = env.step(np.array([0.0, 0.5, 0.0], np.float32))
    finally:
        env.close()
    shape, blank = np.shape(frame), bool(np.ptp(frame) == 0)
    fix = 'reinstall it: pip install --force-reinstall "gymnasium[box2d]"' if blank else ""
    yield Check("vsg/CarRacing-v3", "problem" if blank else "ok", f"renders frames {shape}", fix)
    if sys.platform == "linux" and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    ):
        fix = "connect a display for wmrl play or render_mode='human'; other commands need none"
        yield Check("display", "note", "none", fix)


def check_videos() -> Iterator[Check]:
    """Checks that videos can be written."""
    import imageio_ffmpeg

    from wmrl.envs.rendering.video import write_video

    frames = [np.full((64, 64, 3), value, np.uint8) for value in (0, 255)]
    with tempfile.TemporaryDirectory() as folder:
        size = write_video(Path(folder) / "check.mp4", frames).stat().st_size
    yield Check("MP4", "ok", f"ffmpeg {imageio_ffmpeg.get_ffmpeg_version()}, {size} bytes written")


def check_artifacts() -> Iterator[Check]:
    """Checks that the shipped artifacts exist, are intact, and match each other."""
    from wmrl.storage.artifact import Artifact, ArtifactError, load_artifact, shipped_artifacts

    loaded: dict[str, Artifact] = {}
    for name in dict.fromkeys((*SHIPPED_NAMES, *shipped_artifacts())):
        try:
            loaded[name] = load_artifact(name)
        except ArtifactError as error:
            yield Check(name, "problem", str(error), "reinstall wmrl, or train this artifact again")
    digests = {artifact.digest: name for name, artifact in loaded.items()}
    for name, artifact in loaded.items():
        missing = [key for key, digest in _references(artifact) if digest not in digests]
        found = f"{artifact.class_name} {artifact.digest[:12]}, checksums match"
        if missing:
            found = f"trained with a different {' and '.join(missing)} model than the shipped one"
        fix = "reinstall wmrl: its artifacts come from different versions" if missing else ""
        yield Check(name, "problem" if missing else "ok", found, fix)


def check_compiled() -> Iterator[Check]:
    """Checks numba's cache of the compiled rasterizer, and removes damaged files from it."""
    from wmrl.core.numba_cache import damaged_cache_files
    from wmrl.envs.car_racing.rasterizer import cache_folder

    folder = cache_folder()
    if folder is None:
        yield Check("compiled code", "note", "numba has no folder for its cache", _CACHE_FIX)
        return
    damaged = damaged_cache_files(folder)
    for path in damaged:
        path.unlink()
    found = f"numba's cache in {folder}"
    if damaged:
        found += f": {len(damaged)} damaged files removed; they are compiled again when needed"
    yield Check("compiled code", "note" if damaged else "ok", found)


CHECKS: tuple[Callable[[], Iterator[Check]], ...] = (
    check_machine,
    check_packages,
    check_devices,
    check_compiled,
    check_game,
    check_videos,
    check_artifacts,
)


def _references(artifact: Any) -> Iterator[tuple[str, str]]:
    """Yields the kind and the digest of each model with which an artifact was trained."""
    config = {
        **artifact.config,
        **artifact.config.get("world_model", {}),
        **artifact.config.get("member", {}),
    }
    for kind in ("vision", "memory"):
        if config.get(f"{kind}_digest"):
            yield kind, config[f"{kind}_digest"]


def _extra(requirement: Any) -> str:
    """Returns the extra to which a requirement belongs; empty if it belongs to no extra."""
    for extra in metadata.metadata("wmrl").get_all("Provides-Extra") or ():
        marker = requirement.marker
        if marker and marker.evaluate({"extra": extra}) and not marker.evaluate({"extra": ""}):
            return str(extra)
    return ""


def _check_package(requirement: Any, extra: str) -> Check:
    version = _version(requirement.name)
    subject = f"{requirement.name} [{extra}]" if extra else requirement.name
    if version and requirement.specifier.contains(version, prereleases=True):
        return Check(subject, "ok", version)
    found = version or "not installed"
    target = f"wmrl[{extra}]" if extra else f"{requirement.name}{requirement.specifier}"
    return Check(subject, "note" if extra else "problem", found, f'pip install "{target}"')


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _print(checks: list[Check]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("", "subject", "found", "fix"):
        table.add_column(column, overflow="fold")
    signs = {"ok": "[green]ok[/]", "note": "[yellow]note[/]", "problem": "[bold red]problem[/]"}
    for check in checks:
        words = map(escape, (check.subject, check.found, check.fix))
        table.add_row(signs[check.state], *words)
    console = Console()
    console.print(table)
    problems = sum(check.state == "problem" for check in checks)
    console.print(
        f"\n[bold red]{problems} problems[/]" if problems else "\n[bold green]no problems[/]"
    )
