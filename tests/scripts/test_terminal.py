"""Ctrl-C in the middle of imports."""

import importlib
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from wmrl.scripts import terminal
from wmrl.scripts.terminal import Interruption

SLOW = "import os, signal, time\nos.kill(os.getpid(), signal.{name})\n{rest}\nDONE = True\n"


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file of a module that can be imported as ``slow_module``."""
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path / "slow_module.py"
    sys.modules.pop("slow_module", None)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_an_import_ends_before_the_interruption(module: Path, name: str) -> None:
    module.write_text(SLOW.format(name=name, rest="time.sleep(0.1)"))
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), Interruption() as interruption:  # noqa: PT012
        importlib.import_module("slow_module")
        time.sleep(5)
    assert sys.modules["slow_module"].DONE
    assert interruption.signal == getattr(signal, name)
    assert signal.getsignal(signal.SIGINT) is before


def test_an_endless_import_is_interrupted(module: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "_LONGEST_IMPORT", 0.1)
    module.write_text(SLOW.format(name="SIGINT", rest="time.sleep(60)"))
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt), Interruption():
        importlib.import_module("slow_module")
    assert time.monotonic() - began < 30
    assert "slow_module" not in sys.modules


def test_elsewhere_the_interruption_comes_at_once() -> None:
    with pytest.raises(KeyboardInterrupt), Interruption():  # noqa: PT012
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("went on")
