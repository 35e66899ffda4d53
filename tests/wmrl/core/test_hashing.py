"""Digests of arrays and tensors."""

import hashlib

import numpy as np
import torch

from wmrl.core.hashing import array_digest, tensors_digest


def test_an_array_is_hashed_with_its_shape_and_dtype() -> None:
    array = np.arange(6, dtype=np.int16).reshape(2, 3)
    expected = hashlib.sha256(b"(2, 3) <i2" + array.tobytes()).hexdigest()
    assert array_digest(array) == expected
    assert array_digest(np.asfortranarray(array)) == expected
    others = (array.reshape(3, 2), array.view(np.uint16), array + 1)
    assert expected not in {array_digest(other) for other in others}


def test_tensors_are_hashed_with_names_dtypes_and_shapes() -> None:
    weights = {"b": torch.arange(3.0), "a": torch.zeros(0, 2), "n": torch.tensor(7)}
    digest = tensors_digest(weights)
    content = (
        b"\na torch.float32 [0, 2]\n\nb torch.float32 [3]\n"
        + np.arange(3, dtype=np.float32).tobytes()
        + b"\nn torch.int64 []\n"
        + np.int64(7).tobytes()
    )
    assert digest == hashlib.sha256(content).hexdigest()
    assert tensors_digest(dict(sorted(weights.items()))) == digest
    assert tensors_digest(weights, "text") == hashlib.sha256(b"text" + content).hexdigest()
    for change in ({"b": torch.arange(3.0)[:, None]}, {"c": torch.zeros(1)}):
        assert tensors_digest(weights | change) != digest
    gradient = {**weights, "b": torch.arange(6.0)[::2].requires_grad_() / 2}
    assert tensors_digest(gradient) == digest
