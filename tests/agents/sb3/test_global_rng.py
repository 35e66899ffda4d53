import random

import numpy as np
import pytest
import torch

from wmrl.agents.sb3.global_rng import isolated_randomness


def draw() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), float(torch.rand(()))  # noqa: NPY002


def test_draws_are_a_function_of_the_seed():
    with isolated_randomness(3):
        first = draw()
    with isolated_randomness(3):
        assert draw() == first
    with isolated_randomness(4):
        assert draw() != first


def test_the_callers_streams_go_on():
    with isolated_randomness(0):
        expected = [draw(), draw()]
    with isolated_randomness(0):
        before = draw()
        with pytest.raises(TypeError), isolated_randomness(1):
            random.shuffle(draw())
        assert [before, draw()] == expected
