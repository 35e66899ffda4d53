"""Check for a display on which windows can be shown."""

import os

# SDL's drivers that draw into memory, which it takes if there is no display.
_INVISIBLE = ("offscreen", "dummy")
_VARIABLES = ("SDL_VIDEODRIVER", "SDL_VIDEO_DRIVER")


class DisplayError(OSError):
    """Error raised if a window cannot be shown because there is no display."""


def check_display() -> None:
    """Checks that a window would be visible if one were opened.

    SDL, the library behind pygame, has video drivers that show no windows, such as ``dummy``. Such
    a driver is accepted only if the environment variable ``SDL_VIDEODRIVER`` names it.

    Raises:
        DisplayError: there is no display on which windows are visible.
    """
    import pygame

    was_open = pygame.display.get_init()
    try:
        pygame.display.init()
        driver = pygame.display.get_driver()
    except pygame.error as error:
        raise DisplayError(_message(str(error))) from error
    finally:
        if not was_open:
            pygame.display.quit()
    chosen = " ".join(os.environ.get(name, "") for name in _VARIABLES)
    if driver in _INVISIBLE and driver not in chosen:
        raise DisplayError(_message(f"SDL's driver {driver!r}, which shows nothing"))


def _message(got: str) -> str:
    return (
        f"display: expected one on which a window can be shown, got {got}; run this on a machine "
        "with a screen, or set DISPLAY (ssh -X does so); without a screen, use "
        "render_mode='rgb_array' or wmrl record, which writes a video"
    )
