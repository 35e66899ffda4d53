from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wmrl.agents.controller import ControllerAgent, ControllerConfig


@pytest.fixture
def make_driver(tmp_path: Path) -> Callable[..., Path]:
    """Saves a controller with random weights that looks through a tiny eye."""

    def make(tiny: Any) -> Path:
        config = ControllerConfig(observation_size=24, action_size=2)
        eye = {
            "task": "car-racing",
            "vision": str(tiny.vision),
            "memory": str(tiny.memory),
            "vision_digest": tiny.vision_digest,
            "memory_digest": tiny.memory_digest,
            "frame_skip": 4,
        }
        weights = np.random.default_rng(0).normal(size=config.parameter_count)
        ControllerAgent(config, weights, eye=eye).save(tmp_path / "driver")
        return tmp_path / "driver"

    return make


@pytest.fixture
def driver_path(make_driver: Callable[..., Path], tiny: Any) -> Path:
    """A saved controller that looks through the tiny eye."""
    return make_driver(tiny)
