"""Gray and color images."""

import numpy as np


def as_rgb(image: np.ndarray) -> np.ndarray:
    """Converts gray images to color images, so that they can be drawn, written and shown.

    Args:
        image: ``(..., H, W, 3)``, which is returned unchanged; or gray, ``(..., H, W, 1)``.

    Returns:
        ``(..., H, W, 3)``, with the gray value in each of the three channels.

    Example:
        >>> import numpy as np
        >>> from wmrl.core import as_rgb
        >>> as_rgb(np.zeros((4, 4, 1), np.uint8)).shape
        (4, 4, 3)
    """
    return image.repeat(3, axis=-1) if image.shape[-1] == 1 else image
