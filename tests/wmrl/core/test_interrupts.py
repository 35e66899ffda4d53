"""Interruptions wait for a consistent state, but not for ever."""

import os
import signal
import threading
import time
from collections.abc import Callable

import pytest

from wmrl.core.interrupts import deferred_interrupts


def interrupt(number: int = signal.SIGINT) -> None:
    """Sends a signal to this process, and lets Python's handler run."""
    os.kill(os.getpid(), number)
    time.sleep(0.01)


def raise_keyboard_interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def test_an_interruption_waits_until_it_is_delivered() -> None:
    with deferred_interrupts() as interrupts:
        assert not interrupts.pending
        interrupts.deliver()  # nothing waits
        interrupt()
        assert interrupts.pending
        with pytest.raises(KeyboardInterrupt):
            interrupts.deliver()
        assert not interrupts.pending
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_one_that_is_never_asked_for_comes_after_the_block() -> None:
    done = []

    def block() -> None:
        with deferred_interrupts():
            interrupt()
            done.append("block")

    with pytest.raises(KeyboardInterrupt):
        block()
    assert done == ["block"]


@pytest.mark.parametrize(
    "act", [interrupt, lambda: time.sleep(10)], ids=["repeated", "after a second"]
)
def test_one_does_not_wait_for_ever(act: Callable[[], None]) -> None:
    with deferred_interrupts():
        interrupt()
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            act()
        assert time.monotonic() - began < 1.8


def test_long_work_lets_it_through() -> None:
    with deferred_interrupts() as interrupts:
        with pytest.raises(KeyboardInterrupt), interrupts.immediate():
            interrupt()
        interrupt()
        assert interrupts.pending
        with pytest.raises(KeyboardInterrupt), interrupts.immediate():
            raise AssertionError("the block begins although an interruption waits")


def test_only_signals_with_a_handler_are_deferred() -> None:
    before = signal.signal(signal.SIGTERM, raise_keyboard_interrupt)
    try:
        with deferred_interrupts() as interrupts:
            interrupt(signal.SIGTERM)
            with pytest.raises(KeyboardInterrupt):
                interrupts.deliver()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        with deferred_interrupts() as interrupts:
            interrupt(signal.SIGTERM)
            assert not interrupts.pending
    finally:
        signal.signal(signal.SIGTERM, before)


def test_other_threads_are_left_alone() -> None:
    pending = []

    def run() -> None:
        with deferred_interrupts() as interrupts:
            pending.append(interrupts.pending)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert pending == [False]
