import pytest
import torch

from wmrl.core.device import resolve_device, torch_threads


def test_auto_is_a_device_that_works() -> None:
    device = resolve_device("auto")
    assert torch.ones(2, device=device).sum().item() == 2
    assert resolve_device(device) == device


@pytest.mark.parametrize("device", ["gpu", "", 3.5])
def test_not_a_device(device: object) -> None:
    with pytest.raises(ValueError, match="device: expected 'auto', 'cpu'"):
        resolve_device(device)  # type: ignore[arg-type]


def test_a_device_that_is_not_here() -> None:
    count = torch.cuda.device_count()
    with pytest.raises(ValueError, match=f"number of CUDA devices here: {count}"):
        resolve_device(f"cuda:{count}")


def test_a_device_without_support() -> None:
    with pytest.raises(ValueError, match="expected 'auto', 'cpu', 'cuda' or 'mps', got 'meta'"):
        resolve_device("meta")


@pytest.mark.parametrize(("count", "within"), [(2, 2), (None, 3)])
def test_threads_are_given_back(count: int | None, within: int) -> None:
    torch.set_num_threads(3)  # the fixture of all tests puts it back

    def fail() -> None:
        assert torch.get_num_threads() == within
        raise KeyError

    with pytest.raises(KeyError), torch_threads(count):
        fail()
    assert torch.get_num_threads() == 3
