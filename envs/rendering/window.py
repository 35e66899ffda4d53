"""A window that shows frames."""

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np


def enlarge(frame: np.ndarray, *, height: int = 384) -> np.ndarray:
    """A small frame ``(H, W, 3) uint8`` by the largest whole factor that fits into ``height``."""
    factor = max(1, height // frame.shape[0])
    large: np.ndarray = cv2.resize(frame, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    return large


def checked_render_mode(render_mode: str | None, metadata: Mapping[str, Any]) -> str | None:
    """A render mode that an environment's metadata has, or None.

    Raises:
        ValueError: it has no such mode.
    """
    modes = metadata["render_modes"]
    if render_mode is not None and render_mode not in modes:
        raise ValueError(
            f"render_mode: expected {' or '.join(map(repr, modes))}, or None, got {render_mode!r}"
        )
    return render_mode


class Window:
    """A pygame window, opened with the first frame.

    Args:
        title: what its bar says.
        fps: frames a second that :meth:`show` holds to.
    """

    def __init__(self, title: str, *, fps: float) -> None:
        self._title = title
        self._fps = fps
        self._screen: Any = None

    def show(self, frame: np.ndarray) -> None:
        """Shows a frame ``(H, W, 3) uint8``."""
        import pygame

        if self._screen is None:
            pygame.display.init()
            pygame.display.set_caption(self._title)
            self._screen = pygame.display.set_mode((frame.shape[1], frame.shape[0]))
            self._clock = pygame.time.Clock()
        pygame.surfarray.blit_array(self._screen, frame.swapaxes(0, 1))
        pygame.event.pump()
        pygame.display.flip()
        self._clock.tick(self._fps)

    def close(self) -> None:
        """Closes the window, if it is open."""
        if self._screen is not None:
            import pygame

            pygame.display.quit()
            self._screen = None
