"""A Minari data folder of its own for each test, and an ONNX exporter that starts quickly."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from torch.onnx._internal.exporter._registration import ONNXRegistry


@pytest.fixture
def datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Minari's data folder."""
    folder = tmp_path / "datasets"
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(folder))
    return folder


@pytest.fixture(scope="session")
def one_registry() -> Iterator[None]:
    """The table of all operators is made once, not for each graph, which would take seconds."""
    with pytest.MonkeyPatch.context() as patch:
        made = cache(ONNXRegistry.from_torchlib)
        patch.setattr(ONNXRegistry, "from_torchlib", staticmethod(made))
        yield
