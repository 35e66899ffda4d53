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
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import numpy as np

import wmrl
from wmrl.scripts.checks import Check, check_artifacts, print_checks

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
_MODULES = {
    **{name: name for name in ("gymnasium", "imageio", "imageio_ffmpeg", "numba", "numpy")},
    **{name: name for name in ("packaging", "ribs", "rich", "safetensors", "scipy")},
    **{name: name for name in ("stable_baselines3", "tensorboard")},
    **{name: name for name in ("arviz_stats", "cloudpickle", "torch", "tyro", "zarr")},
    "Box2D": "box2d",
    "PIL": "pillow",
    "cv2": "opencv-python",
    "pygame": "pygame",
}
"""Names of the packages that provide the modules that the commands import, keyed by module."""

_LIBRARY_FIXES = {
    "cv2": "replace opencv-python with opencv-python-headless, which needs no system libraries, "
    "or apt-get install libgl1 libglib2.0-0",
}
"""Fixes for modules whose import fails if system libraries are missing, keyed by module."""


@dataclass(frozen=True)
class Args:
    """Options of ``wmrl doctor``."""

    json: bool = False
    """Print the checks as JSON, for bug reports and scripts."""


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
        print_checks(checks)
    return int(any(check.state == "problem" for check in checks))


def check_machine() -> Iterator[Check]:
    """Checks the version of Python, and reports the machine."""
    from packaging.specifiers import SpecifierSet

    version = platform.python_version()
    required = SpecifierSet(metadata.metadata("wmrl")["Requires-Python"])
    if required.contains(version, prereleases=True):
        yield Check("Python", "ok", version)
    else:
        yield Check("Python", "problem", version, f"install Python {required}")
    yield Check("machine", "ok", f"{platform.platform()}, {os.cpu_count()} cores")


def check_workers() -> Iterator[Check]:
    """Checks that a game runs in a worker process, and that its frames arrive in this process."""
    from contextlib import closing

    from wmrl.envs.frames.vector import FrameVectorEnv

    try:
        with closing(FrameVectorEnv(1, workers=1)) as env:
            frames, _ = env.reset(seed=0)
    except (OSError, RuntimeError) as error:
        fix = "use workers=0 (--workers 0), which runs the games in the process itself"
        yield Check("workers", "problem", str(error), fix)
    else:
        yield Check("workers", "ok", f"a worker process passes frames {frames.shape[1:]}")


def check_locks() -> Iterator[Check]:
    """Checks that files in the current folder can be locked; runs and stores need file locks."""
    try:
        import fcntl
    except ImportError:
        found = "none on this system"
        yield Check("locks", "note", found, "write to a folder from one process at a time")
        return
    here = Path.cwd()
    try:
        with tempfile.TemporaryFile(dir=here) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except PermissionError:
        fix = "change to a folder that you may write to, or write to another one with --out"
        yield Check("locks", "note", f"{here} is read-only", fix)
    except OSError as error:
        fix = "write runs and stores to another file system; this one has no locks"
        yield Check("locks", "problem", f"{here}: {error.strerror}", fix)
    else:
        yield Check("locks", "ok", f"files in {here} can be locked")


def check_imports() -> Iterator[Check]:
    """Checks that the required packages, and the libraries that they load, can be imported."""
    failed = False
    for module, package in _MODULES.items():
        try:
            import_module(module)
        except Exception as error:  # a library of the system may be missing
            failed = True
            fix = _LIBRARY_FIXES.get(module, f"pip install --force-reinstall {package}")
            yield Check(f"import {module}", "problem", f"{type(error).__name__}: {error}", fix)
    if not failed:
        yield Check("imports", "ok", f"{len(_MODULES)} required modules")


def check_packages() -> Iterator[Check]:
    """Checks that required packages are installed, and that no installed packages conflict."""
    from packaging.requirements import Requirement

    yield Check("wmrl", "ok", f"{wmrl.__version__} in {Path(wmrl.__file__).parent}")
    for line in metadata.requires("wmrl") or ():
        requirement = Requirement(line)
        extra = _extra(requirement)
        if extra in ("docs", "lint", "release", "test"):  # for those who change wmrl itself
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


def check_shipped() -> Iterator[Check]:
    """Checks that the shipped artifacts exist, can be opened, and match each other."""
    from wmrl.storage.artifact import shipped_artifacts

    for check in check_artifacts((*SHIPPED_NAMES, *shipped_artifacts())):
        lost = check.state != "ok"
        fix = "reinstall wmrl, or train this artifact again" if lost else ""
        yield dataclasses.replace(check, state="problem" if lost else "ok", fix=fix)


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
    check_imports,
    check_devices,
    check_compiled,
    check_locks,
    check_game,
    check_workers,
    check_videos,
    check_shipped,
)


def _extra(requirement: Any) -> str:
    """Returns the name of the extra of ``wmrl`` to which a requirement belongs.

    The result is empty if the requirement is needed even without extras.
    """
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
