import pytest
import torch
import torch.nn.functional as F

from wmrl.nn.linear import linear


@pytest.mark.parametrize("rows", [1, 127, 128, 300])
@pytest.mark.parametrize("with_bias", [True, False])
def test_equals_a_linear_layer_forward_and_backward(rows: int, with_bias: bool) -> None:
    generator = torch.Generator().manual_seed(rows)
    x = torch.randn(rows, 17, generator=generator)
    weight = torch.randn(9, 17, generator=generator, requires_grad=True)
    bias = torch.randn(9, generator=generator) if with_bias else None
    ours, theirs = linear(x, weight, bias), F.linear(x, weight, bias)
    torch.testing.assert_close(ours, theirs)
    probe = torch.randn(rows, 9, generator=generator)
    gradients = [torch.autograd.grad((out * probe).sum(), weight)[0] for out in (ours, theirs)]
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-4)
    assert ours.is_contiguous()
