"""Choosing the device that models and dreams run on, and how many threads share the CPU."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def resolve_device(device: str | torch.device = "auto") -> torch.device:
    """Turns a device argument into a ``torch.device`` that exists on this machine.

    Args:
        device: ``"auto"`` (CUDA if there is one, else Apple's MPS, else the CPU), or anything
            that ``torch.device`` takes, such as ``"cpu"`` or ``"cuda:1"``.

    Returns:
        The device.

    Raises:
        ValueError: ``device`` is not a device name, or names one that this machine lacks.
    """
    if device == "auto":
        if torch.cuda.is_available():
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
                f"device: {device!r} was asked for but this machine has {count} CUDA devices; "
                "use device='auto' or 'cpu'"
            )
    elif resolved.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError("device: 'mps' is not available here; use device='auto' or 'cpu'")
    elif resolved.type not in ("cpu", "mps"):
        raise ValueError(f"device: expected 'auto', 'cpu', 'cuda' or 'mps', got {device!r}")
    return resolved


@contextmanager
def torch_threads(count: int | None) -> Iterator[None]:
    """Gives torch so many threads for a while; as many as it has if None."""
    before = torch.get_num_threads()
    torch.set_num_threads(before if count is None else count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
