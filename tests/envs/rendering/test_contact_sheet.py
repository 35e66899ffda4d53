"""Contact sheets, pixel by pixel."""

import numpy as np
import pytest

from wmrl.envs.rendering.contact_sheet import draw_contact_sheet


def test_every_frame_is_at_its_place() -> None:
    frames = np.arange(3 * 2 * 3 * 3, dtype=np.uint8).reshape(3, 2, 3, 3) + 100
    sheet = draw_contact_sheet([frames[:2], frames[2:]], scale=2, gap=1)
    assert sheet.shape == (2 * 5 + 1, 2 * 7 + 1, 3)
    np.testing.assert_array_equal(sheet[1:5:2, 1:7:2], frames[0])
    np.testing.assert_array_equal(sheet[2:5:2, 9:14:2], frames[1])
    np.testing.assert_array_equal(sheet[6:10:2, 1:7:2], frames[2])
    assert (sheet[6:, 8:] == 32).all()
    assert (sheet[5] == 32).all()


def test_errors() -> None:
    frame = np.zeros((2, 2, 3), np.uint8)
    with pytest.raises(ValueError, match="at least one frame"):
        draw_contact_sheet([[], []])
    with pytest.raises(ValueError, match=r"got a frame \(2, 3, 3\) uint8; .* \(2, 2, 3\)"):
        draw_contact_sheet([[frame, np.zeros((2, 3, 3), np.uint8)]])
    with pytest.raises(ValueError, match=r"got a frame \(2, 2, 3\) float64"):
        draw_contact_sheet([[frame.astype(float)]])
    with pytest.raises(ValueError, match="scale: expected at least 1, got 0"):
        draw_contact_sheet([[frame]], scale=0)


def test_gray_frames_are_drawn_in_color() -> None:
    frames = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4, 1)
    sheet = draw_contact_sheet([frames])
    np.testing.assert_array_equal(sheet, draw_contact_sheet([frames.repeat(3, axis=3)]))
    with pytest.raises(ValueError, match=r"got a frame \(3, 4, 2\) uint8"):
        draw_contact_sheet([np.zeros((1, 3, 4, 2), np.uint8)])
