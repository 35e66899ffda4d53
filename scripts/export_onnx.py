"""Exports a vision model or a memory as ONNX files, and compares them with PyTorch.

A vision model becomes encode.onnx (frames to latents or codes) and decode.onnx (latents to frames),
a memory step.onnx (one step, with the recurrent state as inputs and outputs). With discrete
latents, there is also lookup.onnx (codes to latents). model.json describes all tensors.

The command needs ONNX, which is not installed by default: pip install "wmrl[onnx]".
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass(frozen=True)
class Args:
    """Options of ``wmrl export onnx``."""

    model: Annotated[str, tyro.conf.Positional]
    """Vision model or memory: a shipped name or a path."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Folder to write: new, empty, or with an earlier export, which is replaced."""


def main(args: Args) -> None:
    """Writes the files and prints the largest differences from PyTorch."""
    from wmrl.export.onnx_export import export_onnx

    export = export_onnx(args.model, args.out)
    for graph, outputs in export.differences.items():
        found = ", ".join(f"{name} {difference:.2g}" for name, difference in outputs.items())
        print(f"{export.path / graph}.onnx: largest difference from PyTorch: {found}")
    print(f"{export.path / 'model.json'}: description of all tensors")
