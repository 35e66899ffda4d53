"""Code maps."""

import numpy as np

from wmrl.envs.rendering.code_map import code_color, draw_code_map


def test_places_are_tinted_by_their_codes() -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    codes = np.array([[1, 2], [1, 300]])
    drawn = draw_code_map(image, codes, width=80, height=60)
    assert drawn.shape == (60, 80, 3)
    corners = drawn[3, 3], drawn[3, 76], drawn[56, 3], drawn[56, 76]
    for corner, code in zip(corners, codes.flat, strict=True):
        assert np.abs(corner - 0.4 * np.array(code_color(int(code)))).max() <= 1


def test_codes_that_changed_are_framed() -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    codes = np.array([[1, 2], [1, 3]])
    drawn = draw_code_map(image, codes, width=80, height=60, previous=np.array([[1, 2], [1, 4]]))
    plain = draw_code_map(image, codes, width=80, height=60)
    assert (drawn[30:, 40:] != plain[30:, 40:]).any()
    assert np.array_equal(drawn[:30], plain[:30])
    assert np.array_equal(drawn[:, :40], plain[:, :40])


def test_gray_images_are_tinted_too() -> None:
    image, codes = np.arange(64, dtype=np.uint8).reshape(8, 8, 1), np.array([[1, 2], [1, 300]])
    drawn = draw_code_map(image, codes, width=80, height=60)
    expected = draw_code_map(image.repeat(3, axis=2), codes, width=80, height=60)
    np.testing.assert_array_equal(drawn, expected)
