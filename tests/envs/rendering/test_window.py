import numpy as np

from wmrl.envs.rendering.window import Window, enlarge


def test_enlarges_by_whole_factors():
    frame = np.zeros((64, 48, 3), np.uint8)
    frame[:, 24:] = 255
    large = enlarge(frame, height=200)
    assert large.shape == (192, 144, 3)
    assert not large[:, :66].any()
    assert (large[:, 78:] == 255).all()
    assert enlarge(frame, height=10).shape == frame.shape


def test_shows_frames_and_closes():
    import pygame

    window = Window("test", fps=1000)
    window.close()  # nothing to close yet
    frame = np.zeros((20, 30, 3), np.uint8)
    frame[5, 7] = (255, 128, 0)
    window.show(frame)
    surface = pygame.display.get_surface()
    assert surface.get_size() == (30, 20)
    assert tuple(surface.get_at((7, 5)))[:3] == (255, 128, 0)
    window.close()
    assert not pygame.display.get_init()


def test_gray_frames_are_shown_in_color():
    import pygame

    gray = np.arange(80, dtype=np.uint8).reshape(8, 10, 1)
    large = enlarge(gray, height=16)
    np.testing.assert_array_equal(large, enlarge(gray.repeat(3, axis=2), height=16))
    window = Window("test", fps=1000)
    window.show(gray)
    assert tuple(pygame.display.get_surface().get_at((7, 5)))[:3] == (57, 57, 57)
    window.close()
