"""A linear layer that is fast for many rows on CPUs, where it dominates the cost of dreams."""

import torch
import torch.nn.functional as F
from torch import Tensor

# With fewer rows, setting up the convolution costs more than it saves.
_MIN_ROWS = 128

_HAS_ONEDNN: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]


def linear(inputs: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Computes ``inputs @ weight.T + bias``, about twice as fast as ``F.linear`` on some CPUs.

    PyTorch dispatches float32 matrix products to MKL and convolutions to oneDNN. MKL reaches only
    half of the speed of a recent AMD core. With many rows, the product is therefore computed as a
    1×1 convolution over an image with one pixel per row. No data is moved for this, because the
    image's channels-last layout is the layout of the rows.

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
