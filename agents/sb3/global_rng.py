"""Isolation of code that uses the global random generators."""

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor


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


def global_state() -> dict[str, Tensor]:
    """Returns the states of the global generators of NumPy and PyTorch as tensors.

    Python's own generator is left out, because Stable-Baselines3's PPO does not draw from it.
    """
    numpy_state = np.random.get_state(legacy=False)  # noqa: NPY002
    words = numpy_state["state"]
    state = {
        "numpy.key": torch.from_numpy(words["key"].astype(np.int64)),
        "numpy.counters": torch.tensor([words["pos"], numpy_state["has_gauss"]]),
        "numpy.gauss": torch.tensor(numpy_state["gauss"], dtype=torch.float64),
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state |= {f"cuda.{i}": each for i, each in enumerate(torch.cuda.get_rng_state_all())}
    return state


def set_global_state(state: Mapping[str, Tensor]) -> None:
    """Sets the global generators of NumPy and PyTorch to a result of :func:`global_state`.

    The generators of GPUs that the result does not contain keep their states.
    """
    position, has_gauss = state["numpy.counters"].tolist()
    words = {"key": state["numpy.key"].cpu().numpy().astype(np.uint32), "pos": position}
    np.random.set_state(  # noqa: NPY002
        {
            "bit_generator": "MT19937",
            "state": words,
            "has_gauss": has_gauss,
            "gauss": float(state["numpy.gauss"]),
        }
    )
    torch.set_rng_state(state["torch"].cpu())
    if torch.cuda.is_available():
        for device in range(torch.cuda.device_count()):
            if f"cuda.{device}" in state:
                torch.cuda.set_rng_state(state[f"cuda.{device}"].cpu(), device)
