import os
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from wmrl.core.seeding import torch_generator
from wmrl.storage.run import Run
from wmrl.training.callbacks import Callback, RunContext, StopTraining
from wmrl.training.metrics import read_metrics
from wmrl.training.trainer import Trainer, TrainingConfig

_CONFIG = TrainingConfig(steps=30, checkpoint_every=10, log_every=5, learning_rate=0.1)


class _Interrupted(Exception):  # noqa: N818 -- it stands for a kill
    pass


def _module() -> nn.Module:
    module = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(1.0)
    return module


def _train(
    path: Path,
    config: TrainingConfig = _CONFIG,
    *,
    kill_at: int | None = None,
    interrupt_at: int | None = None,
    scale: float = 1.0,
    callbacks: Sequence[Callback] = (),
) -> tuple[nn.Module, Trainer]:
    module = _module()

    def loss_at(step: int) -> tuple[Tensor, dict[str, Tensor]]:
        if step == kill_at:
            raise _Interrupted
        if step == interrupt_at:
            os.kill(os.getpid(), signal.SIGINT)
        frames = torch.randn(2, 3, 5, 5, generator=torch_generator(0, step))
        loss = scale * module(frames).square().mean()
        return loss, {"twice": 2 * loss.detach()}

    with Run(path, config={"test": 1}) as run:
        trainer = Trainer(module, run, config, progress=False, callbacks=callbacks)
        trainer.train(loss_at)
    return module, trainer


def _weights(module: nn.Module) -> list[Tensor]:
    return [parameter.detach() for parameter in module.parameters()]


@pytest.mark.parametrize("kills", [(3,), (10,), (17, 24), (29,)])
def test_an_interrupted_run_ends_in_the_same_bits(tmp_path: Path, kills: tuple[int, ...]) -> None:
    whole, _ = _train(tmp_path / "whole")
    for kill in kills:
        with pytest.raises(_Interrupted):
            _train(tmp_path / "parts", kill_at=kill)
    parts, trainer = _train(tmp_path / "parts")
    assert trainer.step == 30
    for one, other in zip(_weights(whole), _weights(parts), strict=True):
        assert torch.equal(one, other)
    names = [tmp_path / name / "metrics.csv" for name in ("whole", "parts")]
    assert names[0].read_bytes() == names[1].read_bytes()
    assert [row["step"] for row in read_metrics(names[0])] == [5, 10, 15, 20, 25, 30]


def test_metrics_are_means_and_losses_fall(tmp_path: Path) -> None:
    _train(tmp_path)
    rows = read_metrics(tmp_path / "metrics.csv")
    assert all(row["twice"] == pytest.approx(2 * row["loss"]) for row in rows)
    assert rows[-1]["loss"] < 0.3 * rows[0]["loss"]


def test_it_is_adam_under_a_falling_rate(tmp_path: Path) -> None:
    config = TrainingConfig(steps=20, learning_rate=0.1, gradient_clip=0.5)
    trained, _ = _train(tmp_path, config)
    module = _module()
    optimizer = torch.optim.Adam(module.parameters())
    for step in range(20):
        optimizer.param_groups[0]["lr"] = config.learning_rate_at(step, total=20)
        optimizer.zero_grad()
        frames = torch.randn(2, 3, 5, 5, generator=torch_generator(0, step))
        module(frames).square().mean().backward()
        nn.utils.clip_grad_norm_(module.parameters(), 0.5)
        optimizer.step()
    for one, other in zip(_weights(trained), _weights(module), strict=True):
        torch.testing.assert_close(one, other)


def test_the_learning_rate_falls_along_half_a_cosine() -> None:
    config = TrainingConfig(learning_rate=1.0, final_learning_rate=0.2)
    rates = [config.learning_rate_at(step, total=100) for step in (0, 50, 100, 150)]
    assert rates == pytest.approx([1.0, 0.6, 0.2, 0.2])


def test_a_finished_run_does_nothing(tmp_path: Path) -> None:
    first, _ = _train(tmp_path)
    again, trainer = _train(tmp_path, kill_at=30)
    assert trainer.step == 30
    assert all(torch.equal(a, b) for a, b in zip(_weights(first), _weights(again), strict=True))


def test_a_time_limit_ends_it_early_and_for_good(tmp_path: Path) -> None:
    config = TrainingConfig(steps=10**9, max_seconds=0.2, log_every=5, checkpoint_every=5)
    _, trainer = _train(tmp_path, config)
    assert 5 <= trainer.step < 10**6
    _, again = _train(tmp_path, config)
    assert again.step == trainer.step


def test_a_time_limit_that_does_not_bind_changes_no_bit(tmp_path: Path) -> None:
    free, _ = _train(tmp_path / "free")
    limited, _ = _train(tmp_path / "limited", replace(_CONFIG, max_seconds=1e6))
    assert all(torch.equal(a, b) for a, b in zip(_weights(free), _weights(limited), strict=True))


def test_a_loss_that_is_not_finite_stops_it(tmp_path: Path) -> None:
    with pytest.raises(FloatingPointError, match=r"learning_rate below 0\.1"):
        _train(tmp_path, scale=float("inf"))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"steps": 0}, "steps: expected at least 1, got 0"),
        ({"learning_rate": 0.0}, "learning_rate: expected above 0"),
        ({"max_seconds": -1.0}, "max_seconds: expected above 0"),
        ({"log_every": 40}, "checkpoint_every: expected a multiple of log_every"),
    ],
)
def test_wrong_configurations_are_named(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainingConfig(**wrong)


@pytest.mark.parametrize("stops", [(1,), (17, 18), (10, 29, 30)])
def test_an_interrupted_run_keeps_its_last_step(tmp_path: Path, stops: tuple[int, ...]) -> None:
    whole, _ = _train(tmp_path / "whole")
    for stop in stops:
        # The signal arrives while step `stop` is computed, and that step is finished.
        with pytest.raises(KeyboardInterrupt):
            _train(tmp_path / "parts", interrupt_at=stop - 1)
        with Run(tmp_path / "parts", config={"test": 1}) as run:
            checkpoint = run.load_checkpoint("last")
        assert checkpoint is not None
        assert checkpoint.state["step"] == stop
    parts, trainer = _train(tmp_path / "parts")
    assert trainer.step == 30
    assert all(torch.equal(a, b) for a, b in zip(_weights(whole), _weights(parts), strict=True))
    names = [tmp_path / name / "metrics.csv" for name in ("whole", "parts")]
    assert names[0].read_bytes() == names[1].read_bytes()


@pytest.mark.parametrize(
    ("bad_step", "kept", "words"),
    [(3, None, "no checkpoint was written yet"), (24, 20, "the checkpoint of step 20 is kept")],
)
def test_a_loss_that_is_not_finite_names_its_term_and_step(
    tmp_path: Path, bad_step: int, kept: int | None, words: str
) -> None:
    module = _module()

    def loss_at(step: int) -> tuple[Tensor, dict[str, Tensor]]:
        loss = module(torch.ones(1, 3, 5, 5)).square().mean()
        term = torch.tensor(float("inf") if step >= bad_step else 1.0)
        return loss, {"fine": torch.ones(()), "odd": term}

    with Run(tmp_path, config={"test": 1}) as run:
        with pytest.raises(FloatingPointError) as error:
            Trainer(module, run, _CONFIG, progress=False).train(loss_at)
        last = run.load_checkpoint("last")
    assert f"got odd inf at step {bad_step + 1}, on the batch of that step; {words}" in str(
        error.value
    )
    assert "start again in another folder with a learning_rate below 0.1" in str(error.value)
    assert (None if last is None else last.state["step"]) == kept
    assert "inf" not in (tmp_path / "metrics.csv").read_text()


def test_weights_that_are_not_finite_are_never_saved(tmp_path: Path) -> None:
    module = _module()

    def loss_at(step: int) -> tuple[Tensor, dict[str, Tensor]]:
        loss = module(torch.ones(1, 3, 5, 5)).square().mean()
        if step == 19:  # the step after it would be the first with a loss that is not finite
            loss = loss + (module.bias - module.bias.detach()).sum().mul(float("inf"))
            loss = torch.where(torch.isfinite(loss), loss, (0 * loss).nan_to_num())
        return loss, {}

    with Run(tmp_path, config={"test": 1}) as run:
        with pytest.raises(FloatingPointError, match=r"NaN or infinity \d+ times in 'model\.bias'"):
            Trainer(module, run, _CONFIG, progress=False).train(loss_at)
        last = run.load_checkpoint("last")
    assert last is not None
    assert last.state["step"] == 10
    assert all(bool(torch.isfinite(tensor).all()) for tensor in last.tensors.values())


def test_the_last_steps_are_checked_too(tmp_path: Path) -> None:
    config = TrainingConfig(steps=7, checkpoint_every=5, log_every=5)

    def loss_at(step: int) -> tuple[Tensor, dict[str, Tensor]]:
        loss = module.bias.sum()
        return loss, {"kl": torch.tensor(float("nan") if step == 6 else 1.0)}

    module = _module()
    with Run(tmp_path, config={"test": 1}) as run:
        with pytest.raises(FloatingPointError, match="got kl nan at step 7"):
            Trainer(module, run, config, progress=False).train(loss_at)
        last = run.load_checkpoint("last")
    assert last is not None
    assert last.state["step"] == 5


class Watch(Callback):
    """Writes down which checkpoints it is told, and ends the training at a log line."""

    def __init__(self, *, stop_at: int | None = None) -> None:
        self.told: list[int] = []
        self._stop_at = stop_at

    def start(self, context: RunContext) -> None:
        self.context = context

    def log(self, step: int, metrics: object) -> None:
        if step == self._stop_at:
            raise StopTraining("enough")

    def checkpoint(self, step: int, path: Path) -> None:
        assert path.name == "last.checkpoint"
        self.told.append(step)


def test_the_checkpoint_of_an_interruption_is_not_told(tmp_path: Path) -> None:
    watch = Watch()
    for step, told in ((17, [10]), (18, [])):
        watch.told.clear()
        with pytest.raises(KeyboardInterrupt):
            _train(tmp_path, interrupt_at=step - 1, callbacks=[watch])
        assert watch.told == told
    watch.told.clear()
    _train(tmp_path, callbacks=[watch])
    assert (watch.context.step, watch.context.checkpoint, watch.told) == (18, None, [20, 30])


def test_the_last_checkpoint_before_a_kill_is_told_again(tmp_path: Path) -> None:
    watch = Watch()
    with pytest.raises(_Interrupted):
        _train(tmp_path, kill_at=14)
    _train(tmp_path, callbacks=[watch])
    assert watch.context.checkpoint == tmp_path / "last.checkpoint"
    assert watch.told == [10, 20, 30]
    watch.told.clear()
    _train(tmp_path, callbacks=[watch])  # killed before it was reported as finished
    assert watch.told == [30, 30]


def test_a_run_that_a_callback_has_ended_stays_ended_and_is_extended(tmp_path: Path) -> None:
    constant = replace(_CONFIG, final_learning_rate=_CONFIG.learning_rate)
    longer = replace(constant, steps=40)
    whole, _ = _train(tmp_path / "whole", longer)
    for callbacks in ([Watch(stop_at=15)], []):
        _, trainer = _train(tmp_path / "parts", constant, callbacks=callbacks)
        assert trainer.step == 15
    parts, _ = _train(tmp_path / "parts", longer)
    assert all(torch.equal(a, b) for a, b in zip(_weights(whole), _weights(parts), strict=True))
    names = [tmp_path / name / "metrics.csv" for name in ("whole", "parts")]
    assert names[0].read_bytes() == names[1].read_bytes()
