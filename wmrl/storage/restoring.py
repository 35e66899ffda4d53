"""Restoring of models from artifacts, whose configurations and weights may be forged."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)

from wmrl.core.config import build_config
from wmrl.storage._artifact_files import CONFIG, MODEL, ArtifactError
from wmrl.storage.artifact import Artifact

C = TypeVar("C")
M = TypeVar("M", bound=torch.nn.Module)

# The limit on layers allows for layers without weights and groups of layers, which have no tensors.
_LAYERS_PER_TENSOR, _LAYERS = 20, 1000


def restore_config(config_class: type[C], artifact: Artifact) -> C:
    """Builds the configuration that an artifact was saved with.

    Raises:
        ArtifactError: a field of the saved configuration is unknown, missing or invalid.
    """
    try:
        return build_config(config_class, artifact.config)
    except (TypeError, ValueError) as error:
        raise ArtifactError(
            f"{artifact.path / CONFIG}: not a configuration of {artifact.class_name}: {error}"
        ) from error


def restore_module(make: Callable[[], M], artifact: Artifact) -> M:
    """Creates a module and loads an artifact's weights into it.

    The module is first created on PyTorch's meta device, where tensors take no memory. The number
    of layers is limited during this creation. Then the shapes of the weights are checked. A forged
    dimension or number of layers thus cannot make the process allocate gigabytes, or run forever.

    Args:
        make: function that creates the module from the artifact's configuration.
        artifact: content of the artifact.

    Raises:
        ArtifactError: the module can't be created, or the names or shapes of its weights differ
            from the artifact's.
    """
    try:
        with torch.device("meta"), limited_layers(artifact):
            skeleton = make()
    except (RuntimeError, TypeError, ValueError, OverflowError, MemoryError) as error:
        raise ArtifactError(
            f"{artifact.path / CONFIG}: invalid configuration of {artifact.class_name}: {error}"
        ) from error
    _check_shapes(skeleton, artifact)
    module = make()
    module.load_state_dict(artifact.tensors)
    return module


@contextmanager
def limited_layers(artifact: Artifact) -> Iterator[None]:
    """Limits the number of layers that the ``with`` block can create.

    The limit is far above the number of layers that the artifact's tensors require.

    Raises:
        ValueError: the block creates far more layers than the artifact has tensors.
    """
    limit = _LAYERS_PER_TENSOR * len(artifact.tensors) + _LAYERS
    owner, count = threading.get_ident(), 0

    def check(*_: object) -> None:
        nonlocal count
        count += threading.get_ident() == owner
        if count > limit:
            raise ValueError(
                f"expected a number of layers that fits the {len(artifact.tensors)} tensors of "
                f"{MODEL}, got far more layers than tensors"
            )

    hooks = [
        register_module_module_registration_hook(check),
        register_module_parameter_registration_hook(check),
        register_module_buffer_registration_hook(check),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def load_weights(module: torch.nn.Module, artifact: Artifact) -> None:
    """Copies an artifact's weights into a module.

    Raises:
        ArtifactError: the names or shapes of the weights differ from those of the module.
    """
    _check_shapes(module, artifact)
    module.load_state_dict(artifact.tensors)


def _check_shapes(module: torch.nn.Module, artifact: Artifact) -> None:
    expected = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    got = {name: tuple(tensor.shape) for name, tensor in artifact.tensors.items()}
    if expected != got:
        name = min(set(expected.items()) ^ set(got.items()))[0]
        raise ArtifactError(
            f"{artifact.path}: weights do not fit {artifact.class_name}: {name!r}: expected shape "
            f"{expected.get(name)}, got {got.get(name)} (None means no such weight); train the "
            "artifact again"
        )
    check_dtypes(artifact, {name: (own.dtype,) for name, own in module.state_dict().items()})


def check_dtypes(artifact: Artifact, dtypes: Mapping[str, tuple[torch.dtype, ...]]) -> None:
    """Checks the dtypes of an artifact's weights.

    Weights that are stored as float16 count as float32, to which they are converted when the
    artifact is loaded.

    Args:
        artifact: content of the artifact.
        dtypes: allowed dtypes, by name of the weight.

    Raises:
        ArtifactError: a weight has a dtype that is not allowed.
    """
    for name, tensor in artifact.tensors.items():
        if tensor.dtype not in dtypes[name]:
            raise ArtifactError(
                f"{artifact.path}: weights do not fit {artifact.class_name}: {name!r}: expected "
                f"dtype {' or '.join(map(str, dtypes[name]))}, got {tensor.dtype}; train the "
                "artifact again"
            )
