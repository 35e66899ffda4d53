import numpy as np

from wmrl.core.color import as_rgb


def test_gray_becomes_color_and_color_stays() -> None:
    gray = np.arange(24, dtype=np.uint8).reshape(2, 3, 4, 1)
    color = as_rgb(gray)
    assert color.shape == (2, 3, 4, 3)
    for channel in range(3):
        np.testing.assert_array_equal(color[..., channel], gray[..., 0])
    assert as_rgb(color) is color
