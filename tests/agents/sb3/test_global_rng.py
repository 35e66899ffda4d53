import random

import numpy as np
import pytest
import torch

from wmrl.agents.sb3.global_rng import global_state, isolated_randomness, set_global_state


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


def test_states_can_be_taken_and_set():
    def draws():
        return np.random.normal(size=3), np.random.permutation(50), torch.randn(3)  # noqa: NPY002

    with isolated_randomness(5):
        np.random.normal()  # noqa: NPY002 -- leaves a second number for the next draw
        state = global_state()
        first = draws()
        set_global_state(state)
        for expected, got in zip(first, draws(), strict=True):
            np.testing.assert_array_equal(expected, got)
