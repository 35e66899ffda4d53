"""Dense (fully connected) layers, optionally with gated residual connections."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn


class ReZero(nn.Module):
    """A gated residual layer, x + α ReLU(Wx + b), that starts as the identity with α = 0.

    Bachlechner et al. 2020, ReZero is All You Need (https://arxiv.org/abs/2003.04887).

    Args:
        width: numbers per x ``(B, width)``.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)
        self.gate = nn.Parameter(torch.zeros(()))

    def forward(self, values: Tensor) -> Tensor:
        """Maps ``(B, width)`` to ``(B, width)``."""
        return values + self.gate * torch.relu(self.linear(values))


def dense_layers(widths: Sequence[int], *, rezero: bool = False) -> list[nn.Module]:
    """Creates linear layers with ReLUs between them.

    Args:
        widths: of the input, of each hidden layer, and of the output.
        rezero: use a :class:`ReZero` layer, without a ReLU, wherever a hidden layer is as wide as
            the one before it.
    """
    layers: list[nn.Module] = []
    for number, (before, after) in enumerate(pairwise(widths), 1):
        if rezero and before == after and number < len(widths) - 1:
            layers.append(ReZero(before))
        else:
            layers += [nn.Linear(before, after), nn.ReLU()]
    return layers[:-1]
