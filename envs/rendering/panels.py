"""Panels: labeled images side by side, with metrics and bars for actions below the images."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from wmrl.core.frames import as_rgb
from wmrl.core.validation import check_int

Color = tuple[int, int, int]

BLUE, AMBER, VIOLET = (86, 180, 233), (240, 190, 70), (190, 140, 255)
GREEN = (120, 210, 130)
_BACKGROUND, _TRACK, _TEXT, _MUTED = (18, 20, 26), (44, 48, 58), (238, 240, 244), (150, 156, 168)


@dataclass(frozen=True, kw_only=True)
class Panel:
    """Image with a label and, optionally, a note, metrics, and bars for an action.

    Attributes:
        label: title above the image, on the left.
        image: ``(H, W, 3) uint8`` or, if gray, ``(H, W, 1) uint8``; it is resized to the width and
            height of the :class:`PanelDrawer`.
        note: text above the image, on the right.
        action: encoded action, ``(A,) float32`` in [−1, 1], drawn as A bars below the image. If
            None, there are no bars.
        metrics: pairs ``(name, value)`` of texts, written below the image.
        color: color of the label and the bars.
        dimmed: True to darken the image, for example because the episode has ended.
    """

    label: str
    image: np.ndarray
    note: str = ""
    action: np.ndarray | None = None
    metrics: Sequence[tuple[str, str]] = ()
    color: Color = BLUE
    dimmed: bool = False

    def __post_init__(self) -> None:
        image = self.image
        if image.ndim != 3 or image.shape[2] not in (1, 3) or image.dtype != np.uint8:
            raise ValueError(
                f"image: expected (H, W, 3) or (H, W, 1) uint8, got {image.shape} {image.dtype}"
            )


@dataclass(frozen=True, kw_only=True)
class PanelDrawer:
    """Tool that draws panels of equal size side by side, for images and for frames of videos.

    Attributes:
        width: width of each panel's image in pixels, at least 80.
        height: height of each panel's image in pixels, at least 60.
        action_names: names of the bars that show an action, one per action dimension. Space for the
            bars is reserved even if a panel has no action.
        text_size: size of the labels in pixels, at least 8. If None, it is ``width // 20``, clipped
            to the range 8 to 20.
        gap: width of the space around each panel, in pixels.

    Example:
        >>> import numpy as np
        >>> from wmrl.envs.rendering import Panel, PanelDrawer
        >>> drawer = PanelDrawer(width=160, height=120, action_names=("steer",))
        >>> frame = np.zeros((64, 64, 3), np.uint8)
        >>> real = Panel(label="real", image=frame, action=np.array([0.5], np.float32))
        >>> drawer.draw([real, Panel(label="dream", image=frame, note="step 1")]).shape
        (176, 368, 3)
    """

    width: int = 400
    height: int = 300
    action_names: tuple[str, ...] = ()
    text_size: int | None = None
    gap: int = field(default=16, repr=False)

    def __post_init__(self) -> None:
        check_int("width", self.width, at_least=80)
        check_int("height", self.height, at_least=60)
        check_int("gap", self.gap, at_least=0)
        if self.text_size is not None:
            check_int("text_size", self.text_size, at_least=8)

    def draw(self, panels: Sequence[Panel]) -> np.ndarray:
        """Draws panels from left to right into one image.

        Args:
            panels: the panels of one frame.

        Returns:
            ``(H, W, 3) uint8``; H and W are even, as video codecs require.

        Raises:
            ValueError: there are no panels, or an action has more dimensions than
                ``action_names``.
        """
        if not panels:
            raise ValueError("panels: expected at least one panel, got none")
        strip, row = self._strip, self._row
        total_height = strip + self.height + row * (len(self.action_names) + 1) + self.gap
        total_width = len(panels) * (self.width + self.gap) + self.gap
        size = (total_width + total_width % 2, total_height + total_height % 2)
        image = Image.new("RGB", size, _BACKGROUND)
        for index, panel in enumerate(panels):
            self._draw_panel(image, panel, left=self.gap + index * (self.width + self.gap))
        return np.asarray(image)

    @property
    def _text(self) -> int:
        return min(max(self.width // 20, 8), 20) if self.text_size is None else self.text_size

    @property
    def _strip(self) -> int:
        return round(1.9 * self._text)

    @property
    def _row(self) -> int:
        return round(1.45 * self._text)

    def _draw_panel(self, image: Image.Image, panel: Panel, *, left: int) -> None:
        draw = ImageDraw.Draw(image)
        middle, right = self._strip // 2, left + self.width
        draw.text((left, middle), panel.label, panel.color, _font(self._text), anchor="lm")
        small = _font(round(0.8 * self._text))
        draw.text((right, middle), panel.note, _MUTED, small, anchor="rm")
        image.paste(Image.fromarray(self._scaled_image(panel)), (left, self._strip))
        top = self._strip + self.height
        if panel.action is not None:
            self._draw_action(draw, panel.action, left=left, top=top, color=panel.color)
        top += self._row * len(self.action_names) + self._row // 2
        self._draw_metrics(draw, panel.metrics, left=left, middle=top + self.gap // 2)

    def _scaled_image(self, panel: Panel) -> np.ndarray:
        """Returns a panel's image, resized to the width and height of the PanelDrawer.

        The image is darkened if the panel is dimmed.
        """
        # Bicubic interpolation would cause ringing at the edges in enlarged frames.
        shrinks = panel.image.shape[0] > self.height
        interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        size = (self.width, self.height)
        image: np.ndarray = cv2.resize(as_rgb(panel.image), size, interpolation=interpolation)
        if panel.dimmed:
            image = (0.25 * image + 0.75 * np.array(_BACKGROUND)).astype(np.uint8)
        return image

    def _draw_action(
        self, draw: ImageDraw.ImageDraw, action: np.ndarray, *, left: int, top: int, color: Color
    ) -> None:
        if len(action) > len(self.action_names):
            raise ValueError(
                f"action: expected at most {len(self.action_names)} numbers, one per name in the "
                f"PanelDrawer's action_names, got {len(action)}"
            )
        for index, (name, value) in enumerate(zip(self.action_names, action, strict=False)):
            middle = top + self.gap // 2 + self._row * index + self._row // 2
            self._draw_bar(draw, name, float(value), left=left, middle=middle, color=color)

    def _draw_bar(
        self,
        draw: ImageDraw.ImageDraw,
        name: str,
        value: float,
        *,
        left: int,
        middle: int,
        color: Color,
    ) -> None:
        font, half = _font(round(0.8 * self._text)), round(0.3 * self._text)
        begin, end = left + round(0.2 * self.width), left + round(0.82 * self.width)
        draw.text((left, middle), name, _MUTED, font, anchor="lm")
        draw.text((left + self.width, middle), f"{value:+.2f}", _TEXT, font, anchor="rm")
        draw.rectangle((begin, middle - half, end, middle + half), _TRACK)
        zero = (begin + end) // 2
        tip = zero + round(np.clip(value, -1.0, 1.0) * (end - begin) / 2)
        draw.rectangle((min(zero, tip), middle - half, max(zero, tip), middle + half), color)
        draw.line((zero, middle - half - 2, zero, middle + half + 2), _MUTED)

    def _draw_metrics(
        self,
        draw: ImageDraw.ImageDraw,
        metrics: Sequence[tuple[str, str]],
        *,
        left: int,
        middle: int,
    ) -> None:
        font = _font(round(0.8 * self._text))
        for index, (name, value) in enumerate(metrics):
            x = left + round(index * self.width / len(metrics))
            draw.text((x, middle), name, _MUTED, font, anchor="lm")
            x += round(font.getlength(name)) + self._text // 3
            draw.text((x, middle), value, _TEXT, font, anchor="lm")


@lru_cache(maxsize=16)
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):  # pragma: no cover
        raise ImportError(
            "Pillow: expected support for FreeType fonts, got a build without it; run pip install "
            "--force-reinstall pillow"
        )
    return font
