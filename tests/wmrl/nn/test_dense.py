import torch
from torch import nn

from wmrl.nn.dense import ReZero, dense_layers


def test_relus_are_between_layers_alone() -> None:
    layers = dense_layers((6, 5, 5, 2))
    assert [type(layer) for layer in layers] == [nn.Linear, nn.ReLU, nn.Linear, nn.ReLU, nn.Linear]
    assert nn.Sequential(*layers)(torch.zeros(3, 6)).shape == (3, 2)


def test_rezero_layers_are_between_hidden_layers_of_one_width() -> None:
    layers = dense_layers((5, 5, 5, 4, 4), rezero=True)
    assert [type(layer) for layer in layers] == [ReZero, ReZero, nn.Linear, nn.ReLU, nn.Linear]
