from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from wmrl.envs.rendering.video import write_video


def squares(count: int, height: int = 48, width: int = 64) -> list[np.ndarray]:
    """Frames in which a white square wanders to the right on dark red."""
    frames = []
    for index in range(count):
        frame = np.full((height, width, 3), (120, 20, 20), np.uint8)
        frame[16:32, 4 * index : 4 * index + 16] = 255
        frames.append(frame)
    return frames


def read_mp4(path: Path) -> tuple[float, list[np.ndarray]]:
    """Frames a second, and the frames."""
    video = cv2.VideoCapture(str(path))
    frames = []
    while (got := video.read())[0]:
        frames.append(got[1][:, :, ::-1])
    fps = video.get(cv2.CAP_PROP_FPS)
    video.release()
    return fps, frames


def test_mp4_shows_the_frames(tmp_path: Path) -> None:
    frames = squares(10)
    path = write_video(tmp_path / "deep" / "video.mp4", iter(frames), fps=12.5)
    fps, got = read_mp4(path)
    assert fps == 12.5
    assert len(got) == 10
    for expected, frame in zip(frames, got, strict=True):
        assert np.abs(expected.astype(int) - frame).mean() < 6
    assert [child.name for child in path.parent.iterdir()] == ["video.mp4"]


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_animated_images_show_the_frames(suffix: str, tmp_path: Path) -> None:
    frames = squares(6)
    path = write_video(tmp_path / f"video{suffix}", frames, fps=10)
    with Image.open(path) as video:
        assert video.n_frames == 6
        assert video.info["loop"] == 0
        for index, expected in enumerate(frames):
            video.seek(index)
            got = np.asarray(video.convert("RGB"), int)
            assert video.info["duration"] == 100
            assert np.abs(expected - got).mean() < 6


def test_odd_sizes_are_padded_by_their_edge(tmp_path: Path) -> None:
    frames = [np.full((33, 47, 3), 200, np.uint8)] * 3
    _, got = read_mp4(write_video(tmp_path / "odd.mp4", frames))
    assert got[0].shape == (34, 48, 3)
    assert np.abs(got[0].astype(int) - 200).max() < 6


def test_a_video_replaces_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "video.mp4"
    write_video(path, squares(3))
    write_video(path, squares(7))
    assert len(read_mp4(path)[1]) == 7


@pytest.mark.parametrize("name", [":a/b.mp4", "a:b.mp4", "-b.mp4", "a%d.gif"])
def test_names_mean_nothing_to_the_encoder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).parent.mkdir(exist_ok=True)
    write_video(name, np.zeros((2, 32, 32, 3), np.uint8), fps=5)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / name]
    assert Path(name).stat().st_size > 0


def test_frames_that_fail_leave_what_was_there(tmp_path: Path) -> None:
    path = write_video(tmp_path / "video.mp4", squares(3))
    before = path.read_bytes()

    def broken():
        yield from squares(2)
        raise RuntimeError("the game crashed")

    with pytest.raises(RuntimeError, match="the game crashed"):
        write_video(path, broken())
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_higher_rate_factor_is_smaller_and_coarser(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    frames = [generator.integers(0, 256, (48, 64, 3), np.uint8).repeat(2, 0) for _ in range(4)]
    sizes, errors = [], []
    for crf in (0, 20, 51):
        path = write_video(tmp_path / f"{crf}.mp4", frames, crf=crf)
        sizes.append(path.stat().st_size)
        errors.append(np.abs(np.array(frames, int) - read_mp4(path)[1]).mean())
    assert sizes[0] > 1.5 * sizes[1] > 3 * sizes[2]
    assert errors == sorted(errors)
    assert errors[2] > 1.2 * errors[0]
    plain = write_video(tmp_path / "plain.mp4", frames)
    assert plain.read_bytes() == (tmp_path / "20.mp4").read_bytes()


@pytest.mark.parametrize("crf", [-1, 52, float("nan")])
@pytest.mark.parametrize("name", ["video.mp4", "video.gif"])
def test_rate_factors_out_of_range_are_refused(tmp_path: Path, name: str, crf: int) -> None:
    with pytest.raises(ValueError, match=f"crf: expected at (least 0|most 51), got {float(crf)}"):
        write_video(tmp_path / name, squares(1), crf=crf)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "frames", "fps", "message"),
    [
        ("video.avi", squares(1), 25, r"path: expected a name ending in \.mp4, \.gif or \.webp"),
        ("video.mp4", [], 25, "frames: expected at least one frame"),
        ("video.mp4", squares(1), 0, "fps: expected above 0, got 0"),
        (
            "video.mp4",
            [np.zeros((4, 4), np.uint8)],
            25,
            r"expected \(H, W, 3\) or \(H, W, 1\) uint8, got \(4, 4\)",
        ),
        ("video.mp4", [np.zeros((4, 4, 3))], 25, "float64 at index 0"),
        ("video.mp4", [*squares(1), *squares(1, height=50)], 25, r"got \(50, 64, 3\) at index 1"),
    ],
)
def test_errors(tmp_path: Path, name: str, frames: list, fps: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        write_video(tmp_path / name, frames, fps=fps)
    assert list(tmp_path.iterdir()) == []


def test_gray_frames_are_written_in_color(tmp_path: Path) -> None:
    gray = [frame[:, :, 1:2] for frame in squares(3)]
    _, got = read_mp4(write_video(tmp_path / "gray.mp4", gray))
    for expected, frame in zip(gray, got, strict=True):
        assert frame.shape == (48, 64, 3)
        assert np.abs(expected.astype(int) - frame).mean() < 6
