"""SHA-256 digests of arrays and tensors."""

import hashlib
from collections.abc import Mapping

import numpy as np
import torch


def array_digest(array: np.ndarray) -> str:
    """Computes the SHA-256 of an array's shape, dtype and bytes.

    Example:
        >>> import numpy as np
        >>> from wmrl.core import array_digest
        >>> array_digest(np.zeros((2, 3), np.float32))[:12]
        'a86a41c6b67d'
    """
    header = f"{array.shape} {array.dtype.str}".encode()
    return hashlib.sha256(header + np.ascontiguousarray(array).tobytes()).hexdigest()


def tensors_digest(tensors: Mapping[str, torch.Tensor], text: str = "") -> str:
    """Computes the SHA-256 of the names, dtypes, shapes and bytes of tensors.

    The digest depends neither on the order of the tensors nor on their devices.

    Args:
        tensors: tensors by name.
        text: text that the digest also covers.
    """
    sha = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        sha.update(f"\n{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        values = tensor.detach().cpu().contiguous().reshape(-1)
        sha.update(values.view(torch.uint8).numpy().data)
    return sha.hexdigest()
