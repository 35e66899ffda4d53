"""Selection of the device for models and dreams, and of the number of CPU threads."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def resolve_device(device: str | torch.device = "auto") -> torch.device:
    """Resolves a device argument to a ``torch.device`` that exists on this machine.

    Args:
        device: ``"auto"`` (CUDA if available, else Apple's MPS, else the CPU), or anything that
            ``torch.device`` accepts, such as ``"cpu"`` or ``"cuda:1"``. CUDA is not available in a
            process that was forked after its parent had used CUDA.

    Raises:
        ValueError: ``device`` is not a device name, or this machine has no such device.
    """
    if device == "auto":
        if torch.cuda.is_available() and not torch.cuda._is_in_bad_fork():
            return torch.device("cuda")
        if torch.backends.mps.is_available():
            return torch.device("mps")
        return torch.device("cpu")
    try:
        resolved = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            f"device: expected 'auto', 'cpu', 'cuda', 'cuda:N' or 'mps', got {device!r}"
        ) from error
    if resolved.type == "cuda":
        count = torch.cuda.device_count()
        if (resolved.index or 0) >= count:
            raise ValueError(
                f"device: expected an available device (number of CUDA devices here: {count}), "
                f"got {device!r}; use 'auto' or 'cpu'"
            )
    elif resolved.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError(
            "device: expected an available device (this machine has no MPS), got 'mps'; use 'auto' "
            "or 'cpu'"
        )
    elif resolved.type not in ("cpu", "mps"):
        raise ValueError(f"device: expected 'auto', 'cpu', 'cuda' or 'mps', got {device!r}")
    return resolved


@contextmanager
def torch_threads(num_threads: int | None) -> Iterator[None]:
    """Sets the number of torch's CPU threads for the length of a ``with`` block.

    Args:
        num_threads: number of threads in the block; None to leave the number unchanged.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(before if num_threads is None else num_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
