"""Dense (fully connected) layers, optionally with gated residual connections."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn


class ReZero(nn.Module):
    """A residual layer x + α ReLU(Wx + b) with a learned gate α that is initially 0.

    Source: ReZero is All You Need, Bachlechner et al. 2020 (https://arxiv.org/abs/2003.04887).

    Args:
        width: dimension of inputs and outputs.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)
        self.gate = nn.Parameter(torch.zeros(()))

    def forward(self, values: Tensor) -> Tensor:
        """Maps inputs ``(B, width)`` to outputs ``(B, width)``."""
        return values + self.gate * torch.relu(self.linear(values))


def dense_layers(widths: Sequence[int], *, rezero: bool = False) -> list[nn.Module]:
    """Creates a list of linear layers with ReLUs between them.

    Args:
        widths: widths of the input, of each hidden layer, and of the output.
        rezero: True to replace a hidden linear layer and its ReLU with a :class:`ReZero` layer
            wherever the linear layer's input and output have the same width.
    """
    layers: list[nn.Module] = []
    for number, (before, after) in enumerate(pairwise(widths), 1):
        if rezero and before == after and number < len(widths) - 1:
            layers.append(ReZero(before))
        else:
            layers += [nn.Linear(before, after), nn.ReLU()]
    return layers[:-1]
