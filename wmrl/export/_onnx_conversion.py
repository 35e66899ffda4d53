"""Conversion of graphs to ONNX, and their comparison with PyTorch in ONNX Runtime."""

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from wmrl.export._onnx_graphs import Graph

if TYPE_CHECKING:
    from onnx import ModelProto

# Some layers treat large batches in another way, with the same results. A graph is traced for a few
# rows, which is the plain way. In ONNX, it then holds for any number of rows.
_TRACED_ROWS, _MOST_ROWS = 3, 31
_BATCH = "batch"

_TOLERANCE = 1e-4  # of float32 outputs; relative to outputs above 1
_MOST_LEVELS = 1  # by which a pixel may differ, since rounding may go either way
_MOST_CODES = 0.01  # share of codes that may differ, where two are equally near
_CHECKED_ROWS, _CHECKED_STEPS = (1, 3, 40), 20


class OnnxExportError(ValueError):
    """Error raised if a model can't be exported as ONNX, or differs from PyTorch there."""


class _Traced(nn.Module):
    """Module whose forward pass is a function of a model, with outputs as a tuple."""

    def __init__(self, model: nn.Module, function: Callable[..., Mapping[str, Tensor]]) -> None:
        super().__init__()
        self.model = model
        self._function = function

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        # A tensor that is two outputs at once would be one output in ONNX.
        return tuple(each.clone() for each in self._function(self.model, *inputs).values())


@torch.no_grad()
def convert(model: nn.Module, graph: Graph) -> "ModelProto":
    """Converts a graph to ONNX.

    Args:
        model: model of the graph, on the CPU and in evaluation mode.
        graph: function of the model.

    Raises:
        OnnxExportError: PyTorch can't trace the function, ONNX lacks an operator, or the result is
            no valid ONNX model.
    """
    import onnx

    inputs = graph.inputs(_TRACED_ROWS, torch.Generator().manual_seed(0))
    outputs = list(graph.function(model, *inputs.values()))
    rows = torch.export.Dim(_BATCH, min=2, max=_MOST_ROWS)
    try:
        with _quiet():
            program = torch.export.export(
                _Traced(model, graph.function).eval(),
                tuple(inputs.values()),
                dynamic_shapes=(tuple({0: rows} for _ in inputs),),
            )
            exported = torch.onnx.export(
                program,
                dynamo=True,
                input_names=list(inputs),
                output_names=outputs,
                verbose=False,
            )
        assert exported is not None
        proto: ModelProto = exported.model_proto
        _clean(proto)
        onnx.checker.check_model(proto, full_check=True)
    except Exception as error:  # of PyTorch, ONNX Script or ONNX, of many classes
        raise OnnxExportError(
            f"model: expected operators that ONNX has, got a {type(model).__name__} whose graph "
            f"{graph.name!r} can't be converted ({_reason(error)}); nothing was written"
        ) from error
    return proto


@torch.inference_mode()
def compare(model: nn.Module, graph: Graph, file: bytes) -> dict[str, float]:
    """Compares an ONNX model in ONNX Runtime with PyTorch, on random inputs.

    Batches of several sizes are tried. A graph with a state takes 20 steps, and each of the two
    keeps its own state.

    Args:
        model: model of the graph, on the CPU and in evaluation mode.
        graph: function of the model.
        file: content of the ONNX file.

    Returns:
        The largest difference of each output, by name: of float32 numbers, in levels of a pixel,
        or the share of integers that differ.

    Raises:
        OnnxExportError: an output differs too much.
    """
    session = open_session(file)
    generator = torch.Generator().manual_seed(1)
    largest: dict[str, float] = {}
    for rows in _CHECKED_ROWS:
        given = graph.inputs(rows, generator)
        ours = theirs = {name: given[name].numpy() for name in graph.initial_state}
        for _ in range(_CHECKED_STEPS if graph.initial_state else 1):
            drawn = {name: part.numpy() for name, part in graph.draw(rows, generator).items()}
            expected = run_in_torch(model, graph, {**drawn, **ours})
            got = dict(zip(expected, session.run(list(expected), {**drawn, **theirs}), strict=True))
            for name, values in expected.items():
                difference = _difference(graph.name, name, values, got[name])
                largest[name] = max(largest.get(name, 0.0), difference)
            ours, theirs = (
                {name: outputs[f"next_{name}"] for name in graph.initial_state}
                for outputs in (expected, got)
            )
    return largest


def open_session(file: bytes) -> Any:
    """Opens an ONNX model in ONNX Runtime, on one thread of the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def run_in_torch(
    model: nn.Module, graph: Graph, inputs: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Returns the outputs of a graph in PyTorch, by name."""
    tensors = [torch.from_numpy(part) for part in inputs.values()]
    return {name: part.numpy() for name, part in graph.function(model, *tensors).items()}


def _difference(graph: str, name: str, expected: np.ndarray, got: np.ndarray) -> float:
    """Returns the largest difference of an output.

    Raises:
        OnnxExportError: shapes or dtypes differ, or the difference is too large.
    """
    if (expected.shape, expected.dtype) != (got.shape, got.dtype):
        raise OnnxExportError(
            f"model: expected {expected.shape} {expected.dtype} as the output {name!r} of the "
            f"graph {graph!r}, got {got.shape} {got.dtype} from ONNX Runtime; nothing was written"
        )
    if expected.dtype == np.float32:
        gap = np.abs(expected - got)
        most, excess = float(gap.max(initial=0)), gap / np.maximum(np.abs(expected), 1) / _TOLERANCE
    elif expected.dtype == np.uint8:
        gap = np.abs(expected.astype(np.int16) - got)
        most, excess = float(gap.max(initial=0)), gap / _MOST_LEVELS
    else:
        most = float((expected != got).mean())
        excess = np.array(most / _MOST_CODES)
    if not excess.max(initial=0) <= 1:  # also where a number is NaN
        raise OnnxExportError(
            f"model: expected the same outputs as in PyTorch, got a difference of {most:.3g} in "
            f"the output {name!r} of the graph {graph!r}; nothing was written"
        )
    return most


def _clean(proto: "ModelProto") -> None:
    """Removes paths and traces of this machine from a model, and names its batch axes."""
    for value in (*proto.graph.input, *proto.graph.output):
        axis = value.type.tensor_type.shape.dim[0]
        if not axis.dim_param:
            raise ValueError(f"the batch axis of {value.name!r} is fixed")
        axis.dim_param = _BATCH
    del proto.graph.value_info[:]
    functions = proto.functions
    for owner in (proto, proto.graph, *functions):
        del owner.metadata_props[:]
        owner.doc_string = ""
    graph = proto.graph
    nodes = [*graph.node, *(node for function in functions for node in function.node)]
    for part in (*graph.input, *graph.output, *graph.initializer, *nodes):
        del part.metadata_props[:]
        part.doc_string = ""


def _reason(error: BaseException) -> str:
    """Returns the first line of the error with which a chain of errors began."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


@contextmanager
def _quiet() -> Iterator[None]:
    """Hides warnings and log messages of the exporter, which concern PyTorch's own code."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
