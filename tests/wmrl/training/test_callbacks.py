"""Callbacks: when they are called, how they end a training, and what happens if they fail."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from wmrl.training.callback_list import CallbackList
from wmrl.training.callbacks import (
    Callback,
    CallbackError,
    RunContext,
    StopTraining,
    StopWhen,
    check_callbacks,
)
from wmrl.training.loggers import CSVLogger
from wmrl.training.metrics import read_metrics


class Recorder(Callback):
    """Writes down its calls, and raises an error in one of them."""

    def __init__(self, failing: str = "", error: BaseException | None = None) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self._failing, self._error = failing, error

    def _call(self, *call: Any) -> None:
        self.calls.append(call)
        if call[0] == self._failing and self._error is not None:
            raise self._error

    def start(self, context: RunContext) -> None:
        self._call("start", context.name, context.step)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        self._call("log", step, dict(metrics))

    def sync(self) -> None:
        self._call("sync")

    def checkpoint(self, step: int, path: Path) -> None:
        self._call("checkpoint", step, path.name)

    def end(self, error: BaseException | None) -> None:
        self._call("end", error)


def names(recorder: Recorder) -> list[str]:
    return [call[0] for call in recorder.calls]


DEMO = RunContext(name="demo")


def running(*callbacks: Callback, context: RunContext = DEMO) -> CallbackList:
    return CallbackList(callbacks, context, progress=False)


def play(*callbacks: Callback, context: RunContext = DEMO) -> CallbackList:
    """Calls all methods once."""
    with running(*callbacks, context=context) as called:
        called.log(10, {"loss": 1.0})
        called.sync()
        called.checkpoint(10, Path("last.checkpoint"))
    return called


def test_all_methods_are_called_in_order() -> None:
    first, second = Recorder(), Recorder()
    assert not play(first, second).stopped
    assert first.calls == second.calls
    assert first.calls == [
        ("start", "demo", 0),
        ("log", 10, {"loss": 1.0}),
        ("sync",),
        ("checkpoint", 10, "last.checkpoint"),
        ("end", None),
    ]


def test_methods_that_are_not_overridden_do_nothing() -> None:
    play(Callback())


def test_a_checkpoint_before_an_interruption_is_told_again() -> None:
    recorder = Recorder()
    context = RunContext(name="demo", step=20, checkpoint=Path("last.checkpoint"))
    with running(recorder, context=context):
        pass
    assert recorder.calls[:2] == [("start", "demo", 20), ("checkpoint", 20, "last.checkpoint")]


def test_numbers_that_are_not_finite_are_left_out(tmp_path: Path) -> None:
    recorder = Recorder()
    with running(recorder, context=RunContext(name="demo", path=tmp_path)) as called:
        called.log(1, {"loss": 1, "return": float("nan")})
        called.log(2, {"loss": float("inf"), "return": 3.0})
    assert recorder.calls[1:3] == [("log", 1, {"loss": 1.0}), ("log", 2, {"return": 3.0})]
    path = tmp_path / "metrics.csv"
    assert read_metrics(path) == [{"step": 1, "loss": 1.0}, {"step": 2, "return": 3.0}]
    assert path.read_text() == "step,loss,return\n1,1.0,\n2,,3.0\n"


def test_metrics_cannot_be_changed() -> None:
    class Changing(Callback):
        def log(self, step: int, metrics: Any) -> None:
            metrics["loss"] = 0.0

    with pytest.raises(CallbackError, match=r"^Changing\.log: TypeError: 'mappingproxy' object"):
        play(Changing())


@pytest.mark.parametrize("resumed", [0, 3])
def test_steps_rise(resumed: int) -> None:
    with running(context=RunContext(name="demo", step=resumed)) as called:
        if not resumed:
            called.log(0, {})
            called.log(3, {})
        for step in (3, 2):
            with pytest.raises(ValueError, match=f"^step: expected more than 3, got {step}$"):
                called.log(step, {"loss": 1})
        with pytest.raises(ValueError, match="expected names other than 'step'"):
            called.log(4, {"step": 1})


def test_history_has_the_rows_up_to_the_resumption(tmp_path: Path) -> None:
    with running(context=RunContext(name="demo", path=tmp_path)) as called:
        for step in (5, 10, 15):
            called.log(step, {"loss": float(step)})
    assert RunContext(name="demo", path=tmp_path).history == []
    assert RunContext(name="demo", step=10).history == []
    assert RunContext(name="demo", path=tmp_path, step=10).history == [
        {"step": 5, "loss": 5.0},
        {"step": 10, "loss": 10.0},
    ]


@pytest.mark.parametrize("method", ["start", "log", "sync", "checkpoint"])
def test_every_method_can_end_a_training(method: str, capsys: pytest.CaptureFixture[str]) -> None:
    stopping, other = Recorder(method, StopTraining("it is good enough")), Recorder()
    called = CallbackList([stopping, other], DEMO)
    with called:
        called.log(10, {"loss": 1.0})
        called.sync()
        called.checkpoint(10, Path("last.checkpoint"))
    assert called.stopped
    assert names(stopping) == names(other) == ["start", "log", "sync", "checkpoint", "end"]
    assert "demo: stopped by Recorder: it is good enough\n" in capsys.readouterr().err


@pytest.mark.parametrize("method", ["start", "log", "sync", "checkpoint", "end"])
def test_errors_name_the_callback_and_its_method(method: str, tmp_path: Path) -> None:
    failing, other = Recorder(method, KeyError("score")), Recorder()
    context = RunContext(name="demo", path=tmp_path)
    message = (
        f"^Recorder.{method}: KeyError: 'score'; the run can be resumed from its last checkpoint$"
    )
    with pytest.raises(CallbackError, match=message) as error:
        play(other, failing, context=context)
    assert isinstance(error.value.__cause__, KeyError)
    assert names(other)[-1] == "end"
    assert (names(failing)[-1] == "end") == (method != "start")


def test_only_callbacks_that_have_started_end() -> None:
    failing, other = Recorder("start", ValueError("no")), Recorder()
    with pytest.raises(CallbackError, match=r"^Recorder\.start: ValueError: no$"):
        play(failing, other)
    assert (names(failing), names(other)) == (["start"], [])


def test_the_end_of_a_training_that_fails_is_told() -> None:
    recorder, failing = Recorder(), Recorder("end", OSError("no space"))
    error = FloatingPointError("loss: nan")
    with (
        pytest.warns(UserWarning, match=r"^Recorder\.end: OSError: no space"),
        pytest.raises(FloatingPointError, match="loss"),
        running(failing, recorder),
    ):
        raise error
    assert recorder.calls[-1] == ("end", error)


def test_an_interruption_is_no_error_of_a_callback() -> None:
    with pytest.raises(KeyboardInterrupt):
        play(Recorder("log", KeyboardInterrupt()))


@pytest.mark.parametrize(
    ("callbacks", "got"),
    [
        (None, "expected a sequence, got None"),
        (StopWhen(bool), "expected a sequence, got <wmrl.training.callbacks.StopWhen"),
        ([CSVLogger], "expected objects of type Callback, got the class CSVLogger"),
        ([print], "expected objects of type Callback, got <built-in function print>"),
    ],
)
def test_other_objects_are_refused(callbacks: Any, got: str) -> None:
    with pytest.raises(ValueError, match=f"^callbacks: {got}"):
        check_callbacks(callbacks)


def test_stop_when_looks_at_the_last_row_of_a_resumed_run(tmp_path: Path) -> None:
    def enough(metrics: Mapping[str, float]) -> bool:
        return metrics["loss"] < 0.5

    with running(StopWhen(enough), context=RunContext(name="demo", path=tmp_path)) as called:
        called.log(1, {"loss": 0.5})
        assert not called.stopped
        called.log(2, {"loss": 0.4})
        assert called.stopped
    for step in (2, 1):
        context = RunContext(name="demo", path=tmp_path, step=step)
        with running(StopWhen(enough), context=context) as called:
            assert called.stopped == (step == 2)
    with pytest.raises(ValueError, match="condition: expected a function of the metrics"):
        StopWhen(3)  # type: ignore[arg-type]
