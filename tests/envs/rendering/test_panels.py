import numpy as np
import pytest

from wmrl.envs.rendering.panels import AMBER, BLUE, Panel, PanelDrawer


def drawn_color(frame: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    return (frame == np.array(color)).all(axis=2)


def gray_image(value: int = 200) -> np.ndarray:
    return np.full((64, 64, 3), value, np.uint8)


def test_images_fill_their_panels() -> None:
    drawer = PanelDrawer(width=101, height=75)
    one = drawer.draw([Panel(label="real", image=gray_image(200))])
    two = drawer.draw(
        [Panel(label="a", image=gray_image(200)), Panel(label="b", image=gray_image(9))]
    )
    assert one.dtype == np.uint8
    assert all(size % 2 == 0 for size in (*one.shape[:2], *two.shape[:2]))
    assert drawn_color(one, (200, 200, 200)).sum() == 101 * 75
    assert drawn_color(two, (200, 200, 200)).sum() == 101 * 75
    assert drawn_color(two, (9, 9, 9)).sum() == 101 * 75


def test_labels_notes_and_metrics_are_written() -> None:
    drawer = PanelDrawer()
    plain = drawer.draw([Panel(label="", image=gray_image())])
    for panel in (
        Panel(label="dream", image=gray_image()),
        Panel(label="", image=gray_image(), note="step 3"),
        Panel(label="", image=gray_image(), metrics=[("reward", "+3.2")]),
    ):
        changed = (drawer.draw([panel]) != plain).any(axis=2).sum()
        assert changed > 100


@pytest.mark.parametrize("width", [160, 240, 400])
def test_label_and_note_have_room_side_by_side(width: int) -> None:
    drawer = PanelDrawer(width=width, height=60)
    label, note = "reconstruction", "32 numbers"
    both = drawer.draw([Panel(label=label, image=gray_image(), note=note)])
    alone = drawer.draw([Panel(label=label, image=gray_image())])
    other = drawer.draw([Panel(label="", image=gray_image(), note=note)])
    background = drawer.draw([Panel(label="", image=gray_image())])
    written = [(frame != background).any(axis=2) for frame in (alone, other)]
    assert not (written[0] & written[1]).any()
    assert ((both != background).any(axis=2) == written[0] | written[1]).all()


@pytest.mark.parametrize(("value", "share"), [(1.0, 1.0), (0.5, 0.5), (-1.0, 1.0), (7.0, 1.0)])
def test_bars_are_as_long_as_their_action(value: float, share: float) -> None:
    drawer = PanelDrawer(action_names=("steer",))
    half = 0.31 * drawer.width  # from the middle of the track to its end
    frame = drawer.draw(
        [Panel(label="", image=gray_image(), action=np.array([value]), color=AMBER)]
    )
    rows, columns = np.nonzero(drawn_color(frame, AMBER))
    assert rows.size
    assert columns.max() - columns.min() == pytest.approx(share * half, abs=2)
    middle = drawer.gap + 0.51 * drawer.width
    assert (columns.mean() > middle) == (value > 0)


def test_dimmed_images_are_dark() -> None:
    frame = PanelDrawer().draw([Panel(label="", image=gray_image(200), dimmed=True)])
    assert frame.max() < 80


def test_panels_do_not_change_their_images() -> None:
    before = gray_image()
    PanelDrawer(width=80, height=64).draw([Panel(label="x", image=before, color=BLUE)])
    assert (before == 200).all()


def test_errors() -> None:
    with pytest.raises(
        ValueError, match=r"image: expected \(H, W, 3\) or \(H, W, 1\) uint8, got \(2, 2\)"
    ):
        Panel(label="x", image=np.zeros((2, 2), np.uint8))
    with pytest.raises(ValueError, match="width: expected at least 80, got 3"):
        PanelDrawer(width=3)
    with pytest.raises(ValueError, match="panels: expected at least one"):
        PanelDrawer().draw([])
    with pytest.raises(ValueError, match="action: expected at most 0 numbers"):
        PanelDrawer().draw([Panel(label="", image=gray_image(), action=np.zeros(2))])


def test_gray_images_are_drawn_in_color() -> None:
    gray, drawer = np.arange(64, dtype=np.uint8).reshape(8, 8, 1), PanelDrawer(width=80, height=64)
    drawn = drawer.draw([Panel(label="x", image=gray)])
    color = drawer.draw([Panel(label="x", image=gray.repeat(3, axis=2))])
    np.testing.assert_array_equal(drawn, color)
