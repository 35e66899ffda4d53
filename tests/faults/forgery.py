"""Artifacts with valid checksums and forged contents, and files that are not what they seem."""

import hashlib
import json
import os
import random
import resource
import shutil
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from children import in_child

from wmrl.agents.agent import load_agent
from wmrl.agents.quality_diversity.archive import load_elites
from wmrl.encodings.base import load_encoding
from wmrl.memory.base import load_memory
from wmrl.storage.artifact import SHIPPED, ArtifactError, load_artifact
from wmrl.vision.base import load_vision

READERS: dict[str, Callable[[Path], Any]] = {
    "vision": load_vision,
    "memory": load_memory,
    "encoding": load_encoding,
    "elites": load_elites,
    "agent": load_agent,
}
SECONDS, BYTES = 20, 2 * 2**30
"""Limits of the time and the additional memory that opening an artifact may take."""

_NUMBERS = (0, -1, 1, 2, 7, 10**6, 10**9, 10**12, 10**30, -(10**18), 1e308, 0.5, 1e-300)
_OTHERS = (
    None,
    True,
    "",
    "x" * 10_000,
    [],
    {},
    [[[]]],
    {"a": {"b": []}},
    "\0",
    "../../etc",
    [10**9],
)


def forge(artifact: Path, folder: Path, seed: int) -> str:
    """Copies an artifact, and changes one value of its configuration.

    Returns:
        A description of the change.
    """
    choice = random.Random(seed)
    shutil.copytree(artifact, folder)
    header = json.loads((folder / "config.json").read_text())
    places = list(_places(header["config"]))
    parent, key = choice.choice(places) if places else (header, "config")
    kind = choice.random()
    if kind < 0.1:
        change = f"without {key!r}"
        del parent[key]
    elif kind < 0.2:
        change = f"a stranger beside {key!r}"
        (parent if isinstance(parent, dict) else header)["surprise"] = choice.choice(_NUMBERS)
    else:
        parent[key] = choice.choice(_NUMBERS if kind < 0.7 else _OTHERS)
        change = f"{key!r} = {str(parent[key])[:40]!r}"
    (folder / "config.json").write_text(json.dumps(header))
    _sign(folder)
    return change


def hostile(name: str, artifact: Path, folder: Path) -> None:
    """Copies an artifact, and makes one of its files hostile; see :data:`HOSTILE`."""
    shutil.copytree(artifact, folder)
    target, make = HOSTILE[name]
    file = folder / target
    file.unlink()
    make(file)
    if file.is_file() and not file.is_symlink() and target != "SHA256SUMS":
        _sign(folder)


def try_to_open(artifact: Path, kind: str) -> str:
    """Opens an artifact in a child with little time and memory.

    Returns:
        ``"refused"``, ``"opened"``, or a failure.
    """

    def work() -> str:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + BYTES, used + BYTES))
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(SECONDS)
        try:
            READERS[kind](artifact)
        except ArtifactError as error:
            return "refused" if str(artifact.name) in str(error) else f"unclear: {error}"
        return "opened"

    status, result = in_child(work)
    if status == -signal.SIGALRM:
        return f"failed: no answer within {SECONDS} s"
    return str(result) if status == 0 else f"failed: {result or f'signal {-status}'}"


def shipped() -> list[tuple[Path, str]]:
    """Returns the folders and kinds of the shipped artifacts."""
    folders = sorted(path.parent for path in SHIPPED.glob("*/config.json"))
    return [(folder, load_artifact(folder).kind) for folder in folders]


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yields the container and the key of every value inside a JSON value."""
    keys = value.keys() if isinstance(value, dict) else range(len(value))
    for key in keys:
        yield value, key
        if isinstance(value[key], dict | list):
            yield from _places(value[key])


def _sign(folder: Path) -> None:
    """Writes SHA256SUMS anew, so that the checksums agree with the forged contents."""
    names = sorted(entry.name for entry in folder.iterdir() if entry.name != "SHA256SUMS")
    names = [name for name in names if _size(folder / name) < 2**30]
    sums = [f"{hashlib.sha256((folder / n).read_bytes()).hexdigest()}  {n}\n" for n in names]
    (folder / "SHA256SUMS").write_text("".join(sums))


def _bind(file: Path) -> None:
    here = Path.cwd()
    os.chdir(file.parent)  # socket paths are short
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(file.name)
    finally:
        os.chdir(here)


def _sparse(file: Path) -> None:
    with file.open("wb") as stream:
        stream.truncate(2**40)


_PICKLE = b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x0etouch /tmp/pwnd\x85R."

HOSTILE: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "endless weights": ("model.safetensors", lambda file: file.symlink_to("/dev/zero")),
    "endless configuration": ("config.json", lambda file: file.symlink_to("/dev/zero")),
    "endless sums": ("SHA256SUMS", lambda file: file.symlink_to("/dev/zero")),
    "endless card": ("README.md", lambda file: file.symlink_to("/dev/urandom")),
    "a pipe as weights": ("model.safetensors", os.mkfifo),
    "a pipe as configuration": ("config.json", os.mkfifo),
    "a pipe as sums": ("SHA256SUMS", os.mkfifo),
    "a socket as weights": ("model.safetensors", _bind),
    "a folder as weights": ("model.safetensors", Path.mkdir),
    "a folder as configuration": ("config.json", Path.mkdir),
    "a terabyte of weights": ("model.safetensors", _sparse),
    "a terabyte of configuration": ("config.json", _sparse),
    "a loop of links": ("config.json", lambda file: file.symlink_to(file.name)),
    "a pickle as weights": ("model.safetensors", lambda file: file.write_bytes(_PICKLE)),
    "a header of 2^63 bytes": (
        "model.safetensors",
        lambda file: file.write_bytes((2**63 - 1).to_bytes(8, "little") + b"{}"),
    ),
    "a tensor of 2^60 numbers": (
        "model.safetensors",
        lambda file: file.write_bytes(_tensor_header([2**30, 2**30])),
    ),
    "a million levels of JSON": ("config.json", lambda file: file.write_text("[" * 10**6)),
    "a number of a million digits": (
        "config.json",
        lambda file: file.write_text('{"format_version": ' + "9" * 10**6 + "}"),
    ),
    "NaN as configuration": ("config.json", lambda file: file.write_text("NaN")),
    "text in another encoding": ("config.json", lambda file: file.write_bytes(b"\xff\xfe{\0}\0")),
    "no weights": ("model.safetensors", lambda file: file.write_bytes(b"")),
}
"""Name of each hostile file, the file that it replaces, and a function that makes it."""


def _tensor_header(shape: list[int]) -> bytes:
    header = json.dumps({"w": {"dtype": "F32", "shape": shape, "data_offsets": [0, 4]}}).encode()
    return len(header).to_bytes(8, "little") + header + b"\0" * 4


def _size(file: Path) -> int:
    return file.stat().st_size if file.is_file() else 2**40
