"""Export of vision models and memories as ONNX."""

import copy
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from wmrl.core.strict_json import json_text
from wmrl.export._onnx_conversion import compare, convert
from wmrl.export._onnx_graphs import Graph, model_graphs
from wmrl.export._packages import import_packages
from wmrl.memory.base import Memory, load_memory
from wmrl.storage.artifact import ArtifactError, load_artifact, package_versions
from wmrl.storage.files import replace_folder
from wmrl.storage.recognition import recognize
from wmrl.vision.base import Vision, load_vision

if TYPE_CHECKING:
    from onnx import ModelProto

DESCRIPTION = "model.json"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class OnnxExport:
    """Description of a model that was exported as ONNX.

    Attributes:
        path: folder of the files.
        largest_difference: largest difference of any float32 output.
        differences: largest difference between ONNX Runtime and PyTorch that was found, by graph
            and output: of float32 numbers, in levels of a pixel (uint8), or the share of codes
            that differ (int64).
    """

    path: Path
    largest_difference: float
    differences: Mapping[str, Mapping[str, float]]


def export_onnx(model: Vision | Memory[Any] | str | Path, path: str | Path) -> OnnxExport:
    """Exports a vision model or a memory as ONNX files, and checks them.

    Each graph is a file ``NAME.onnx``. The first axis of all tensors is the batch, of any length.

    ========== ============================ =======================================================
    graph      inputs                       outputs
    ========== ============================ =======================================================
    ``encode`` ``frames`` (uint8)           ``latents`` (their posterior means); of a VQ-VAE,
                                            ``codes`` (int64)
    ``decode`` ``latents``                  ``frames`` (uint8)
    ``lookup`` ``codes``                    ``latents``; only for discrete latents
    ``step``   ``latents``, ``action``,     the parameters of the prediction, ``features`` for a
               ``state_0`` …                controller, ``next_state_0`` …
    ========== ============================ =======================================================

    ``encode`` and ``decode`` are those of vision models, ``step`` that of memories. Frames are as
    the game gives them, ``(B, H, W, C · K)``; the graph converts them. Actions are encoded as by
    :class:`~wmrl.core.action_spec.ActionSpec`. The prediction of an MDN-RNN has ``logits``,
    ``means`` and ``log_stds``, ``(B, K, Z)``; that of a memory with discrete latents has ``logits``
    ``(B, T, K)``. Both have ``reward`` and ``termination`` (log-odds). For an ensemble of M
    members, the parameters have an axis of length M after the batch, while reward and termination
    are those of the ensemble. There is no dropout.

    ``model.json`` lists shapes and dtypes of all tensors, the state and the features before the
    first step, the artifact's digest, the task, opset and versions. Each graph is run by ONNX
    Runtime on random inputs and compared with PyTorch; the largest differences are in
    ``model.json``, too. The files appear together: if the export fails, nothing is written.

    The extra ``onnx`` is required: ``pip install "wmrl[onnx]"``.

    Args:
        model: vision model or memory; or the shipped name or path of its artifact.
        path: folder to write. It must be new, empty, or hold an earlier export, which is replaced.

    Raises:
        ArtifactError: the artifact can't be loaded, or is neither a vision model nor a memory.
        ImportError: a package of the extra is not installed.
        OnnxExportError: ONNX lacks an operator, or an output differs from PyTorch by more than
            1e-4, or more than 1e-4 of itself if it is above 1.
        ValueError: there is something else at ``path``, or the memory predicts codes sequentially.

    Example:
        >>> import numpy as np
        >>> import onnxruntime
        >>> from wmrl.export import export_onnx
        >>> from wmrl.vision import VAE, VAEConfig
        >>> vae = VAE(VAEConfig(base_channels=2, latent_dim=4))
        >>> export = export_onnx(vae, "onnx")
        >>> export.largest_difference < 1e-4
        True
        >>> encode = onnxruntime.InferenceSession("onnx/encode.onnx")
        >>> encode.run(["latents"], {"frames": np.zeros((5, 64, 64, 3), np.uint8)})[0].shape
        (5, 4)
    """
    import_packages("onnx", "onnx", "onnxruntime", "onnxscript")
    path = Path(path)
    _check_folder(path)
    given = _load(model)
    module = copy.deepcopy(given).cpu().eval()
    files: dict[str, bytes] = {}
    graphs: dict[str, Any] = {}
    differences: dict[str, dict[str, float]] = {}
    for graph in model_graphs(module):
        proto = convert(module, graph)
        file = proto.SerializeToString(deterministic=True)
        found = compare(module, graph, file)
        name = f"{graph.name}.onnx"
        files[name], differences[graph.name] = file, found
        graphs[name] = {
            "sha256": hashlib.sha256(file).hexdigest(),
            "opset": _opset(proto),
            **_describe_tensors(module, graph, found),
        }
    largest = max(
        output["difference"]
        for graph in graphs.values()
        for output in graph["outputs"]
        if output["dtype"] == "float32"
    )
    description = {
        "version": FORMAT_VERSION,
        "kind": module.kind,
        "class": type(module).__name__,
        "digest": given.digest,
        "task": _task_of(given),
        "versions": package_versions("onnx", "onnxruntime", "onnxscript"),
        "largest_difference": largest,
        "graphs": graphs,
        **_describe_memory(module),
    }
    files[DESCRIPTION] = json_text(description, indent=2).encode() + b"\n"
    replace_folder(path, files)
    return OnnxExport(path, largest, differences)


def _check_folder(path: Path) -> None:
    """Raises ``ValueError`` unless an export may be written at a path."""
    found = recognize(path)
    if found.kind in ("nothing", "empty"):
        return
    names = (
        {each.name for each in path.iterdir() if each.name[0] != "."} if path.is_dir() else set()
    )
    ours = {name for name in names if name == DESCRIPTION or name.endswith(".onnx")}
    if DESCRIPTION not in ours or names != ours:
        raise ValueError(
            f"path: expected a new or empty folder, or an earlier export, got {found.description} "
            f"at {path}; choose another path"
        )


def _load(model: Vision | Memory[Any] | str | Path) -> Vision | Memory[Any]:
    """Returns the model that the argument ``model`` of :func:`export_onnx` stands for."""
    if isinstance(model, Vision | Memory):
        return model
    if not isinstance(model, str | Path):
        raise ValueError(
            "model: expected a vision model, a memory, or the name or path of an artifact, got a "
            f"{type(model).__name__}"
        )
    kind = load_artifact(model).kind
    if kind == "vision":
        return load_vision(model, device="cpu")
    if kind == "memory":
        return load_memory(model, device="cpu")
    mend = "choose another one"
    if kind == "agent":
        mend = "export the vision model and the memory of its world model"
    raise ArtifactError(
        f"model: expected a vision model or a memory, got {str(model)!r}, an artifact of kind "
        f"{kind!r}; {mend}"
    )


def _task_of(model: Vision | Memory[Any]) -> str | None:
    """Returns the name of the task on which a model was trained; None if that is unknown.

    That of a vision model is in the provenance of its artifact.
    """
    if isinstance(model, Memory):
        return str(model.config.task)
    if model.saved_at is None:
        return None
    try:
        artifact = load_artifact(model.saved_at)
    except ArtifactError:  # it was moved since the model was loaded
        return None
    return artifact.provenance.get("task") if artifact.digest == model.digest else None


def _opset(proto: "ModelProto") -> int:
    return int(next(each.version for each in proto.opset_import if each.domain in ("", "ai.onnx")))


@torch.no_grad()
def _describe_tensors(
    module: nn.Module, graph: Graph, differences: Mapping[str, float]
) -> dict[str, Any]:
    """Describes the inputs and outputs of a graph."""
    inputs = graph.inputs(1, torch.Generator().manual_seed(0))
    outputs = graph.function(module, *inputs.values())
    before = {**graph.initial_state, **graph.initial_outputs}
    return {
        "inputs": [_describe_tensor(name, part, before.get(name)) for name, part in inputs.items()],
        "outputs": [
            {**_describe_tensor(name, part, before.get(name)), "difference": differences[name]}
            for name, part in outputs.items()
        ],
    }


def _describe_tensor(name: str, tensor: Tensor, initial: Tensor | None) -> dict[str, Any]:
    """Describes an input or output of a graph.

    Args:
        name: name of the tensor.
        tensor: example, with a batch axis.
        initial: value before the first step, with a batch axis of length 1; None if there is none.
            The description has 0 if all numbers are 0.
    """
    described: dict[str, Any] = {
        "name": name,
        "dtype": str(tensor.dtype).removeprefix("torch."),
        "shape": ["batch", *tensor.shape[1:]],
    }
    if initial is not None:
        described["initial"] = initial[0].tolist() if bool(initial.any()) else 0
    return described


def _describe_memory(module: nn.Module) -> dict[str, Any]:
    """Describes what users of a memory need besides its graphs; empty for a vision model."""
    if not isinstance(module, Memory):
        return {}
    return {
        "frame_skip": module.config.frame_skip,
        "vision_digest": module.config.vision_digest,
        "num_options": module.num_options,
    }
