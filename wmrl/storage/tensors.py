"""Tensors from the bytes of a safetensors file."""

import torch
from safetensors import SafetensorError
from safetensors.torch import load

from wmrl.storage.reading import SMALL_LIMIT, parse_json


def parse_tensors(data: bytes) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Reads the tensors and the metadata of a safetensors file.

    A header that is longer than the file, or longer than 16 MiB, is rejected before it is parsed.

    Args:
        data: content of the file.

    Returns:
        Tensors and metadata, both by name.

    Raises:
        ValueError: the data are not a safetensors file, or the header is longer than 16 MiB.
    """
    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or size > len(data) - 8:
        raise ValueError(f"expected a header of {size:,} bytes, got fewer")
    if size > SMALL_LIMIT:
        raise ValueError(f"expected a header of at most {SMALL_LIMIT:,} bytes, got {size:,}")
    metadata = parse_json(data[8 : 8 + size]).get("__metadata__", {})
    try:
        return load(data), metadata
    except (SafetensorError, KeyError, RuntimeError, OverflowError) as error:
        raise ValueError(str(error)) from error
