"""``wmrl inspect``, on a small store."""

from pathlib import Path

import cv2
import imageio.v3 as imageio
import numpy as np
import pytest
from gymnasium.spaces import Box

from wmrl.data.store import Episode, RolloutStore, StoreMetadata
from wmrl.scripts.cli import run


def read_video(path: Path) -> np.ndarray:
    """Frames ``(N, H, W, 3)``; imageio's own reader leaves its pipes open."""
    reader = cv2.VideoCapture(str(path))
    frames = []
    while (got := reader.read())[0]:
        frames.append(got[1][:, :, ::-1])
    reader.release()
    return np.array(frames)


@pytest.fixture
def store(tmp_path: Path) -> RolloutStore:
    metadata = StoreMetadata(
        task="toy",
        frame_shape=(8, 10, 3),
        action_space=Box(-1, 1, (2,)),
        frame_skip=3,
        policy={"name": "repeated"},
    )
    store = RolloutStore(tmp_path / "store", "a", metadata=metadata)
    for index in range(3):
        store.append(
            Episode(
                # The better the episode, the darker.
                frames=np.full((5, 8, 10, 3), 200 - 80 * index, np.uint8),
                actions=np.full((4, 2), 0.5, np.float32),
                rewards=np.full(4, index, np.float32),
                terminated=index == 0,
                truncated=index != 0,
            )
        )
    return store


def test_prints_the_contents(store: RolloutStore, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", str(store.path), "--verify"]) == 0
    said = capsys.readouterr().out
    for fact in (
        "8 × 10 × 3, frame_skip 3",
        "name repeated",
        "3 (33% ended by the game)",
        "12 (36 base frames)",
        "4.0 agent steps (4 to 4)",
        "4.0 ± 3.3",
        "66.7% of agent steps",
        "mean (0.50, 0.50), std (0.00, 0.00)",
        "checksums: all episodes are intact",
    ):
        assert fact in said
    assert not list(store.path.parent.glob("*.png"))


def test_writes_a_contact_sheet_and_a_video(store: RolloutStore, tmp_path: Path) -> None:
    words = ["inspect", str(store.path), "--out", str(tmp_path / "out"), "--episodes", "2"]
    assert run([*words, "--columns", "3"]) == 0
    sheet = imageio.imread(tmp_path / "out/contact-sheet.png")
    # The worst and the best, three frames each, twice as large, with gaps of two.
    assert sheet.shape == (2 * 18 + 2, 3 * 22 + 2, 3)
    assert [int(sheet[row, 30, 0]) for row in (0, 10, 30)] == [32, 200, 40]
    video = read_video(tmp_path / "out/episodes.mp4")
    assert video.shape == (2 * 5, 32, 40, 3)
    np.testing.assert_allclose(video[:, 16, 20, 0], [200] * 5 + [40] * 5, atol=6)


def test_damage_and_emptiness_are_one_line(
    store: RolloutStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    [file] = [
        path for path in (store.path / "episodes/00000001/frames/c").rglob("0") if path.is_file()
    ]
    file.write_bytes(file.read_bytes()[:-3])
    assert run(["inspect", str(store.path), "--verify"]) == 2
    assert "damaged" in capsys.readouterr().err
    assert run(["inspect", str(tmp_path / "none")]) == 2
    assert "no rollout store there" in capsys.readouterr().err


def test_stacks_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = f"collect {tmp_path} --task toy_game:TOY@16x16x1x4 --episodes 2 --workers 0"
    assert run([*words.split(), "--num-envs", "2"]) == 0
    assert run(["inspect", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "16 × 16 × 1, frame_skip 3" in said
    assert "of 4 frames" in said


def test_gray_frames_are_shown_in_color(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    metadata = StoreMetadata(
        task="toy", frame_shape=(8, 10, 1), action_space=Box(-1, 1, (2,)), frame_skip=3
    )
    store = RolloutStore(tmp_path / "store", "a", metadata=metadata)
    store.append(
        Episode(
            frames=np.full((5, 8, 10, 1), 120, np.uint8),
            actions=np.zeros((4, 2), np.float32),
            rewards=np.zeros(4, np.float32),
            terminated=True,
            truncated=False,
        )
    )
    assert run(["inspect", str(store.path), "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "8 × 10 × 1, frame_skip 3" in said
    assert "stacks" not in said
    sheet = imageio.imread(tmp_path / "out/contact-sheet.png")
    assert sheet[10, 10].tolist() == [120, 120, 120]
    video = read_video(tmp_path / "out/episodes.mp4")
    assert video.shape == (5, 32, 40, 3)
    np.testing.assert_allclose(video, 120, atol=6)
