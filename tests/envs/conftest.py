"""Every environment is tested with either kind of eye and memory."""

from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture(scope="session", params=["gaussian", "symbols"])
def tiny(request: pytest.FixtureRequest, make_tiny: Callable[..., Any]) -> Any:
    """Tiny artifacts for CarRacing: VAE and MDN-RNN, or VQ-VAE and memory in symbols."""
    return make_tiny(symbols=request.param == "symbols")
