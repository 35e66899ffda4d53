"""Windows that show frames, and helpers for rendering."""

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np

from wmrl.core.display import check_display
from wmrl.core.frames import as_rgb
from wmrl.core.validation import check_choice, check_float


def enlarge(frame: np.ndarray, *, height: int = 384) -> np.ndarray:
    """Enlarges a frame by an integer factor, up to a maximum height.

    Args:
        frame: ``(H, W, 3) uint8`` or, if gray, ``(H, W, 1) uint8``.
        height: maximum height of the result in pixels. A frame that is taller keeps its size.

    Returns:
        ``(k · H, k · W, 3) uint8``. The factor k is as large as the maximum height allows.
    """
    factor = max(1, height // frame.shape[0])
    large: np.ndarray = cv2.resize(
        as_rgb(frame), None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC
    )
    return large


def check_render_mode(render_mode: str | None, metadata: Mapping[str, Any]) -> str | None:
    """Checks that an environment supports a render mode, and returns the mode.

    Args:
        render_mode: the render mode, or None, which all environments support.
        metadata: the environment's metadata, with the list ``"render_modes"``.

    Raises:
        ValueError: the environment does not support the mode.
        DisplayError: the mode is ``"human"``, and there is no display.
    """
    modes: list[str | None] = [*metadata["render_modes"], None]
    check_choice("render_mode", render_mode, modes)
    if render_mode == "human":
        check_display()
    return render_mode


class Window:
    """Pygame window, which opens when the first frame is shown.

    Args:
        title: text of the title bar.
        fps: maximum number of frames per second; :meth:`show` waits if it is called more often.

    Raises:
        ValueError: ``fps`` is not a finite number above 0.
    """

    def __init__(self, title: str, *, fps: float) -> None:
        self._title = title
        self._fps = check_float("fps", fps, above=0)
        self._screen: Any = None

    def show(self, frame: np.ndarray) -> None:
        """Shows a frame, ``(H, W, 3) uint8`` or, if gray, ``(H, W, 1) uint8``.

        Raises:
            DisplayError: there is no display.
        """
        import pygame

        if self._screen is None:
            check_display()
            pygame.display.init()
            pygame.display.set_caption(self._title)
            self._screen = pygame.display.set_mode((frame.shape[1], frame.shape[0]))
            self._clock = pygame.time.Clock()
        pygame.surfarray.blit_array(self._screen, as_rgb(frame).swapaxes(0, 1))
        pygame.event.pump()
        pygame.display.flip()
        self._clock.tick(self._fps)

    def close(self) -> None:
        """Closes the window if it is open."""
        if self._screen is not None:
            import pygame

            pygame.display.quit()
            self._screen = None
