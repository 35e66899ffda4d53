"""A linear layer that is fast on CPUs for large batches."""

import torch
import torch.nn.functional as F
from torch import Tensor

# With fewer rows, setting up the convolution costs more than it saves.
_MIN_ROWS = 128

_HAS_ONEDNN: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]


def linear(inputs: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Computes ``inputs @ weight.T + bias``, on some CPUs twice as fast as ``F.linear``.

    On CPUs, PyTorch computes float32 matrix products with MKL and convolutions with oneDNN. On
    recent AMD CPUs, MKL reaches only half of the possible speed. For many inputs on a CPU, the
    product is therefore computed as a 1×1 convolution over an image with one pixel per input. The
    inputs are not copied, because they already have the channels-last layout of this image.

    Args:
        inputs: N inputs of width I, ``(N, I) float32``.
        weight: ``(O, I) float32``.
        bias: ``(O,) float32``; None for no bias.

    Returns:
        N outputs of width O, ``(N, O) float32``.
    """
    count, width = inputs.shape
    if inputs.device.type != "cpu" or count < _MIN_ROWS or not _HAS_ONEDNN:
        return F.linear(inputs, weight, bias)
    image = inputs.view(1, 1, count, width).permute(0, 3, 1, 2)
    kernel = weight.view(*weight.shape, 1, 1)
    return F.conv2d(image, kernel, bias).permute(0, 2, 3, 1).reshape(count, -1)
