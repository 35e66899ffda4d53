"""Files of a run that are there whole or not at all."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np


def write_report(path: Path, report: Mapping[str, Any]) -> None:
    """Writes JSON; figures that are not finite are refused with ``ValueError``."""
    text = json.dumps(dict(report), indent=2, sort_keys=True, allow_nan=False)
    _replace(path, text.encode() + b"\n")


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8."""
    _replace(path, text.encode())


def write_picture(path: Path, picture: np.ndarray) -> None:
    """Writes a PNG of ``(H, W, 3) uint8``."""
    _replace(path, iio.imwrite("<bytes>", picture, extension=".png"))


def _replace(path: Path, data: bytes) -> None:
    aside = path.with_name(f".{path.name}.new")
    aside.write_bytes(data)
    aside.replace(path)
