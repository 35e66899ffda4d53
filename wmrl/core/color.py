"""Gray and color images."""

import numpy as np


def as_rgb(image: np.ndarray) -> np.ndarray:
    """Converts gray images to color images, so that they can be drawn, written and shown.

    Args:
        image: gray images ``(..., H, W, 1)``, or color images ``(..., H, W, 3)``, which are
            returned unchanged.

    Returns:
        Color images ``(..., H, W, 3)``. A gray value is repeated in each of the three channels.

    Example:
        >>> import numpy as np
        >>> from wmrl.core import as_rgb
        >>> as_rgb(np.zeros((4, 4, 1), np.uint8)).shape
        (4, 4, 3)
    """
    return image.repeat(3, axis=-1) if image.shape[-1] == 1 else image
