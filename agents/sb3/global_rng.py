"""Isolation of code that uses the global random generators."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def isolated_randomness(seed: int) -> Iterator[None]:
    """Seeds the global generators of Python, NumPy and PyTorch, and restores them afterward.

    Stable-Baselines3 draws actions, minibatches and initial weights from the global generators.
    Within this context, these draws depend only on ``seed``. Afterward, the global generators
    continue as if the context had not been entered.

    Args:
        seed: seed in [0, 2³²).
    """
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002
    torch_state = torch.get_rng_state()
    cuda_states = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    torch.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)  # noqa: NPY002
        torch.set_rng_state(torch_state)
        if cuda_states:
            torch.cuda.set_rng_state_all(cuda_states)
