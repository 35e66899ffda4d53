"""Matrix products of many rows, the larger part of a dream's work on a CPU."""

import torch
import torch.nn.functional as F
from torch import Tensor

# Below this the convolution's set-up costs more than it saves.
_FEW_ROWS = 128

_HAS_ONEDNN: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]


def row_linear(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``rows @ weight.T + bias``, about twice as fast as ``F.linear`` on some CPUs.

    Torch hands matrix products in float32 to MKL and convolutions to oneDNN. MKL leaves half of a
    recent AMD core unused, so that a product of many rows goes through as a 1×1 convolution over
    a picture of one pixel a row, whose channels-last layout is the rows as they lie in memory.

    Args:
        rows: ``(N, I) float32``.
        weight: ``(O, I) float32``.
        bias: ``(O,) float32``.

    Returns:
        ``(N, O) float32``.
    """
    count, inputs = rows.shape
    if rows.device.type != "cpu" or count < _FEW_ROWS or not _HAS_ONEDNN:
        return F.linear(rows, weight, bias)
    picture = rows.view(1, 1, count, inputs).permute(0, 3, 1, 2)
    kernel = weight.view(*weight.shape, 1, 1)
    return F.conv2d(picture, kernel, bias).permute(0, 2, 3, 1).reshape(count, -1)
