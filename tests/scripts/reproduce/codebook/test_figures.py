import numpy as np
import pytest
import torch

from wmrl.scripts.reproduce.codebook.figures import draw_directions


def bright(image: np.ndarray) -> np.ndarray:
    """Mask of the drawn codes, below the title: ``(size, size)``."""
    plot = image[40:].astype(int)
    return plot[..., 0] - plot[..., 2] > 80


def test_codes_along_a_line_are_drawn_along_the_first_axis() -> None:
    line = torch.linspace(-1, 1, 8)[:, None] * torch.tensor([1.0, 2.0, -1.0])
    image = draw_directions(line, size=120)
    assert image.shape == (160, 120, 3)
    rows, columns = np.nonzero(bright(image))
    assert np.ptp(rows) < 10
    assert np.ptp(columns) > 100


def test_codes_that_spread_are_drawn_all_around() -> None:
    turns = torch.linspace(0, 2 * torch.pi, 17)[:-1]
    ring = torch.stack((turns.cos(), turns.sin(), 0 * turns), 1)
    rows, columns = np.nonzero(bright(draw_directions(ring, size=120)))
    assert min(np.ptp(rows), np.ptp(columns)) > 100


def test_one_code_and_zeros_can_be_drawn() -> None:
    assert bright(draw_directions(torch.ones(1, 3), title="t", caption="c")).any()
    draw_directions(torch.zeros(4, 2))


@pytest.mark.parametrize("codes", [torch.zeros(0, 3), torch.zeros(4, 1), torch.zeros(4)])
def test_invalid_codes_are_refused(codes: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"codes: expected shape \(K, D\)"):
        draw_directions(codes)
