"""Fast matrix products of many rows, the larger part of a dream's cost on a CPU."""

import torch
import torch.nn.functional as F
from torch import Tensor

# With fewer rows, setting up the convolution costs more than it saves.
_MIN_ROWS = 128

_HAS_ONEDNN: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]


def linear(inputs: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Computes ``inputs @ weight.T + bias``, about twice as fast as ``F.linear`` on some CPUs.

    PyTorch dispatches float32 matrix products to MKL and convolutions to oneDNN. MKL leaves half
    of a recent AMD core unused, so a product of many rows runs as a 1×1 convolution over an image
    with one pixel per row; its channels-last layout is the layout that the rows already have in
    memory.

    Args:
        inputs: ``(N, I) float32``.
        weight: ``(O, I) float32``.
        bias: ``(O,) float32``.

    Returns:
        ``(N, O) float32``.
    """
    count, width = inputs.shape
    if inputs.device.type != "cpu" or count < _MIN_ROWS or not _HAS_ONEDNN:
        return F.linear(inputs, weight, bias)
    image = inputs.view(1, 1, count, width).permute(0, 3, 1, 2)
    kernel = weight.view(*weight.shape, 1, 1)
    return F.conv2d(image, kernel, bias).permute(0, 2, 3, 1).reshape(count, -1)
