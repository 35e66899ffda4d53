"""Gray frames in color, and stacks of successive frames, which show how things move.

A stack of K frames ``(H, W, C)`` is one array ``(H, W, C · K)``. The channels of the oldest frame
come first, those of the newest frame last. At the start of an episode, copies of the first frame
stand for the frames that are missing, as in Gymnasium's ``FrameStackObservation`` with
``padding_type="reset"``.
"""

from collections import deque
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from wmrl.core.validation import check_int

if TYPE_CHECKING:
    from torch import Tensor

Frames = TypeVar("Frames", np.ndarray, "Tensor")


class FrameStacker:
    """Stacker of the frames of a running game.

    Args:
        frame_stack: K, number of frames in a stack.

    Raises:
        ValueError: ``frame_stack`` is below 1.

    Example:
        >>> import numpy as np
        >>> from wmrl.core import FrameStacker
        >>> stacker = FrameStacker(3)
        >>> stacker.reset(np.full((4, 4, 1), 7, np.uint8))[0, 0]
        array([7, 7, 7], dtype=uint8)
        >>> stacker.push(np.full((4, 4, 1), 8, np.uint8))[0, 0]
        array([7, 7, 8], dtype=uint8)
    """

    def __init__(self, frame_stack: int) -> None:
        self._count = check_int("frame_stack", frame_stack, at_least=1)
        self._frames: deque[np.ndarray] = deque(maxlen=self._count)

    def reset(self, frame: np.ndarray) -> np.ndarray:
        """Starts an episode with its first frame ``(H, W, C)``; returns the first stack.

        The stack ``(H, W, C · K)`` consists of K copies of the frame.
        """
        self._frames.extend([frame.copy()] * self._count)
        return np.concatenate(self._frames, axis=-1)

    def push(self, frame: np.ndarray) -> np.ndarray:
        """Adds a frame ``(H, W, C)``; returns the newest stack.

        The stack ``(H, W, C · K)`` is a new array.
        """
        self._frames.append(frame.copy())  # games may reuse their arrays
        return np.concatenate(self._frames, axis=-1)


def stack_frames(
    frames: np.ndarray, frame_stack: int, newest: np.ndarray, *, first: np.ndarray | int = 0
) -> np.ndarray:
    """Stacks recorded frames.

    Args:
        frames: ``(N, H, W, C)``, frames of one or several episodes, each in order.
        frame_stack: K, number of frames in a stack.
        newest: ``(B,) int``, index of the newest frame of each stack.
        first: index of the first frame of the episode, or ``(B,) int`` with one index per stack.
            If a stack would begin before this frame, copies of this frame fill the gap.

    Returns:
        Stacks ``(B, H, W, C · K)``.

    Example:
        >>> import numpy as np
        >>> from wmrl.core import stack_frames
        >>> frames = np.arange(5, dtype=np.uint8)[:, None, None, None]
        >>> stack_frames(frames, 3, np.array([0, 1, 4]))[:, 0, 0]
        array([[0, 0, 0],
               [0, 0, 1],
               [2, 3, 4]], dtype=uint8)
    """
    if frame_stack == 1:
        single: np.ndarray = frames[newest]
        return single
    height, width, channels = frames.shape[1:]
    stacks = np.empty((len(newest), height, width, frame_stack, channels), frames.dtype)
    for position in range(frame_stack):
        past = frame_stack - 1 - position
        stacks[:, :, :, position] = frames[np.maximum(newest - past, first)]
    return stacks.reshape(len(newest), height, width, frame_stack * channels)


def newest_frames(stacks: Frames, frame_stack: int) -> Frames:
    """Returns the newest frame of each stack.

    Args:
        stacks: array or tensor ``(..., H, W, C · K)``.
        frame_stack: K, number of frames in a stack.

    Returns:
        Frames ``(..., H, W, C)``, which share memory with the stacks.
    """
    if frame_stack == 1:
        return stacks
    newest: Frames = stacks[..., -(stacks.shape[-1] // frame_stack) :]
    return newest


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
