"""Training loop of all models, resumable with bit-identical results."""

import math
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from wmrl.core.config import check_fields
from wmrl.core.interrupts import deferred_interrupts
from wmrl.core.validation import check_float, check_int
from wmrl.core.warning import WMRLWarning
from wmrl.storage.run import Run
from wmrl.training.callback_list import CallbackList
from wmrl.training.callbacks import Callback, RunContext, Save, check_callbacks
from wmrl.training.progress import progress_bar

LossAt = Callable[[int], tuple[Tensor, dict[str, Tensor]]]
"""Function that takes the index of a training step, and returns the loss and its parts.

The loss is a scalar tensor. The parts of the loss are a dictionary of scalar tensors by name. The
result must depend only on the step and the weights.
"""

_CHECKPOINT = "last"
_MEASURED_SHARE = 0.05  # share of the time limit after which the speed is known


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Settings of a training run: duration, batch size, learning rate and others.

    Attributes:
        steps: number of gradient steps.
        batch_size: number of examples in a batch.
        learning_rate: initial learning rate of Adam. A cosine schedule lowers the rate to
            ``final_learning_rate``.
        final_learning_rate: learning rate at the end of training.
        gradient_clip: maximum norm of the gradient; None for no clipping.
        max_seconds: limit on the training time in seconds, summed over all resumptions; None for no
            limit. With a limit, the number of steps and the schedule of the learning rate depend on
            the speed of training, so that results are not reproducible bit by bit.
        checkpoint_every: number of steps between checkpoints, a multiple of ``log_every``.
        log_every: number of gradient steps over which each row of the metrics is averaged.
        held_out: fraction of the episodes that are held out for evaluation.
        seed: root seed.
    """

    steps: int = 5000
    batch_size: int = 100
    learning_rate: float = 1e-3
    final_learning_rate: float = 1e-5
    gradient_clip: float | None = None
    max_seconds: float | None = None
    checkpoint_every: int = 500
    log_every: int = 50
    held_out: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("steps", "batch_size", "checkpoint_every", "log_every"):
            check_int(name, getattr(self, name), at_least=1)
        for name in ("learning_rate", "gradient_clip", "max_seconds"):
            if getattr(self, name) is not None:
                check_float(name, getattr(self, name), above=0)
        check_float("final_learning_rate", self.final_learning_rate, at_least=0)
        check_float("held_out", self.held_out, at_least=0, below=1)
        if self.checkpoint_every % self.log_every != 0:
            raise ValueError(
                f"checkpoint_every: expected a multiple of log_every ({self.log_every}), got "
                f"{self.checkpoint_every}"
            )

    def learning_rate_at(self, step: int, *, total: int) -> float:
        """Returns the learning rate at a step of a run with ``total`` planned steps."""
        decay = 0.5 * (1.0 + math.cos(math.pi * min(step / total, 1.0)))
        return self.final_learning_rate + decay * (self.learning_rate - self.final_learning_rate)


TRAINING_LIMITS = ("training.steps", "training.max_seconds")
"""Names of the settings that may be raised to extend a finished run.

Training functions pass them to :class:`~wmrl.storage.run.Run` as ``limits``.
"""


class Trainer:
    """Trainer that minimizes a loss with Adam, and resumes from the run's checkpoint if it exists.

    If ``config`` allows more steps or more time than the run had before, the training goes on from
    its last step. From there, the learning rate follows the schedule for the new number of steps.
    If the learning rate is constant (``final_learning_rate`` equals ``learning_rate``), the result
    is bit-identical to that of a run which had the new number of steps from the start. Otherwise,
    the result differs, and a warning says so.

    Args:
        module: network to train, already on its device.
        run: run whose folder contains the checkpoint and ``metrics.csv``.
        config: settings of the training run.
        label: title of the progress bar.
        progress: True to show a progress bar.
        least_steps: minimum number of steps, even if they take longer than the time limit.
        callbacks: callbacks of the training.
        save: function that saves the network as an artifact, for callbacks; None if it can't be
            saved.

    Attributes:
        step: number of steps taken so far.
        seconds: training time so far in seconds, summed over all resumptions.
        planned: planned total number of steps, fewer than ``config.steps`` if the time limit
            requires it.
    """

    def __init__(
        self,
        module: nn.Module,
        run: Run,
        config: TrainingConfig,
        *,
        label: str = "training",
        progress: bool = True,
        least_steps: int = 0,
        callbacks: Iterable[Callback] = (),
        save: Save | None = None,
    ) -> None:
        self._least_steps = least_steps
        self._callbacks, self._save_artifact = check_callbacks(callbacks), save
        self._run = run
        self._config = config
        self._label = label
        self._progress = progress
        self._parameters = dict(module.named_parameters())
        state = module.state_dict(keep_vars=True)
        self._buffers = {k: v for k, v in state.items() if k not in self._parameters}
        self._optimizer = torch.optim.Adam(self._parameters.values(), lr=config.learning_rate)
        self.step = 0
        self.seconds = 0.0
        self.planned = config.steps
        self._pending: dict[str, Tensor] = {}  # sums of the metrics since the last row
        self._resumed_from: Path | None = None
        self._resume()

    def train(self, loss_at: LossAt) -> None:
        """Trains for the remaining steps, or until a callback ends the training.

        If no steps remain, only callbacks are called.

        Ctrl-C ends the training after the current step, and a checkpoint is written. If the step
        does not end within a second, it is aborted, and the run keeps its last checkpoint.

        Args:
            loss_at: function that takes the index of a step, from 0. It returns the loss as a
                scalar tensor, and a dictionary of the parts of the loss by name.

        Raises:
            FloatingPointError: a term of the loss, or a weight, is not finite. The last checkpoint
                is kept.
            CallbackError: a callback failed. The last checkpoint is kept.
            KeyboardInterrupt: the training was interrupted.
        """
        config = self._config
        before, began = self.seconds, time.monotonic()
        terms: list[dict[str, Tensor]] = []  # of the steps since the last row of the metrics
        with (
            deferred_interrupts() as interrupts,
            CallbackList(self._callbacks, self._context(), progress=self._progress) as callbacks,
            progress_bar(
                self._label,
                total=config.steps,
                done=self.step,
                show=self._progress,
                max_seconds=config.max_seconds,
                seconds=self.seconds,
            ) as advance,
        ):
            note = ""
            while self.step < self.planned and not callbacks.stopped:
                terms.append(self._gradient_step(loss_at))
                self.step += 1
                self.seconds = before + time.monotonic() - began
                if self.step % config.log_every == 0:
                    note = self._log(callbacks, terms)
                    terms = []
                self._plan()
                advance(self.step, note)
                if interrupts.pending:
                    self._pending, terms = self._sums(terms), []
                    callbacks.sync()
                    self._save()
                    interrupts.deliver()
                if self.step % config.checkpoint_every == 0 and self.step < self.planned:
                    self._checkpoint(callbacks)
            self._pending = self._sums(terms)  # the last steps may be too few for a row
            self.planned = self.step
            self._checkpoint(callbacks)

    def _context(self) -> RunContext:
        # Ctrl-C causes checkpoints at other steps. That of the last step is told at the end anyway.
        planned = self.step % self._config.checkpoint_every == 0
        return RunContext(
            name=self._label,
            path=self._run.path,
            config=self._run.config,
            step=self.step,
            checkpoint=self._resumed_from if planned else None,
            save=None if self._save_artifact is None else self._save_with_provenance,
        )

    def _save_with_provenance(self, path: Path, *, provenance: Mapping[str, Any]) -> str | None:
        assert self._save_artifact is not None
        whole = {**self._run.config, "steps": self.step, **provenance}
        return self._save_artifact(path, provenance=whole)

    def _checkpoint(self, callbacks: CallbackList) -> None:
        callbacks.sync()
        callbacks.checkpoint(self.step, self._save())

    def _gradient_step(self, loss_at: LossAt) -> dict[str, Tensor]:
        rate = self._config.learning_rate_at(self.step, total=self.planned)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.zero_grad(set_to_none=True)
        loss, parts = loss_at(self.step)
        loss.backward()  # type: ignore[no-untyped-call]
        if self._config.gradient_clip is not None:
            nn.utils.clip_grad_norm_(self._parameters.values(), self._config.gradient_clip)
        self._optimizer.step()
        return {"loss": loss.detach(), **parts}

    def _log(self, callbacks: CallbackList, terms: list[dict[str, Tensor]]) -> str:
        """Logs the mean loss and the means of its parts over the steps since the last log.

        Returns:
            Text with the names and means of the loss and of its first two parts.
        """
        count = self._config.log_every
        values = {name: float(value) / count for name, value in self._sums(terms).items()}
        self._pending = {}
        callbacks.log(self.step, values)
        return ", ".join(f"{name} {value:.4g}" for name, value in list(values.items())[:3])

    def _sums(self, terms: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Sums the loss and its parts over the steps since the last row of the metrics.

        If the run was resumed after that row, the checkpoint holds the sums over the steps before
        the resumption. Only sums are read from the device, because reading the values of each step
        would slow down a GPU.

        Args:
            terms: loss and parts of the loss by name, one dictionary per step. The steps are those
                since the last row or, if later, since the resumption.

        Raises:
            FloatingPointError: a value is not finite; the message names the first step with such a
                value.
        """
        sums = dict(self._pending)
        for values in terms:
            for name, value in values.items():
                sums[name] = sums[name] + value if name in sums else value
        if all(math.isfinite(float(value)) for value in sums.values()):
            return sums
        for step, values in enumerate(terms, self.step - len(terms) + 1):
            bad = {name: float(value) for name, value in values.items() if not value.isfinite()}
            if bad:
                raise FloatingPointError(self._divergence(step, bad))
        return sums  # only their sum is too large

    def _divergence(self, step: int, bad: dict[str, float]) -> str:
        """Returns the error message for a step at which the loss, or a part of it, is not finite.

        Args:
            step: number of the step, from 1.
            bad: values that are not finite, by name.
        """
        terms = ", ".join(f"{name} {value}" for name, value in bad.items())
        every = self._config.checkpoint_every
        kept = (step - 1) // every * every
        place = (
            f"the checkpoint of step {kept} is kept" if kept else "no checkpoint was written yet"
        )
        return (
            f"{self._run.path}: expected a finite loss, got {terms} at step {step}, on the batch "
            f"of that step; {place}; if the run is resumed with the same settings, it will end in "
            "the same error: start again in another folder with a learning_rate below "
            f"{self._config.learning_rate}, or check the data"
        )

    def _plan(self) -> None:
        """Adapts the planned number of steps to the time limit, given the speed so far."""
        limit = self._config.max_seconds
        # The first steps are slower than the others, and say little about the speed.
        if limit is not None and self.seconds > _MEASURED_SHARE * limit:
            affordable = int(limit * self.step / self.seconds)
            wanted = max(affordable, self.step, self._least_steps)
            self.planned = min(self._config.steps, wanted)

    def _limits(self) -> list[float | None]:
        return [self._config.steps, self._config.max_seconds]

    def _extend(self) -> None:
        """Plans the steps of a run whose limits were raised after its last checkpoint."""
        config = self._config
        self.planned = config.steps
        if self.seconds > 0:
            self._plan()
        if config.learning_rate != config.final_learning_rate:
            warnings.warn(
                f"{self._run.path}: continues from step {self.step} to step {self.planned}. The "
                "learning rate decays with the number of steps, so that the result differs from "
                "that of a run with these limits from the start; for that result, choose another "
                "folder",
                WMRLWarning,
                stacklevel=4,
            )

    def _save(self) -> Path:
        tensors: dict[str, Tensor] = {}
        tensors |= {f"model.{name}": value for name, value in self._parameters.items()}
        tensors |= {f"buffer.{name}": value for name, value in self._buffers.items()}
        for name, parameter in self._parameters.items():
            for key, value in self._optimizer.state[parameter].items():
                tensors[f"adam.{key}.{name}"] = value
        tensors |= {f"sum.{name}": value for name, value in self._pending.items()}
        state = {
            "step": self.step,
            "seconds": self.seconds,
            "planned": self.planned,
            "limits": self._limits(),
            "sums": list(self._pending),  # a file of tensors has no order
        }
        return self._run.save_checkpoint(_CHECKPOINT, tensors, state)

    def _resume(self) -> None:
        checkpoint = self._run.load_checkpoint(_CHECKPOINT)
        if checkpoint is None:
            return
        self._resumed_from = checkpoint.path
        self.step = checkpoint.state["step"]
        self.seconds = checkpoint.state["seconds"]
        self.planned = checkpoint.state["planned"]
        if checkpoint.state.get("limits", self._limits()) != self._limits():
            self._extend()
        device = next(iter(self._parameters.values())).device
        self._pending = {
            name: checkpoint.tensors[f"sum.{name}"].to(device)
            for name in checkpoint.state.get("sums", [])
        }
        with torch.no_grad():
            for name, buffer in self._buffers.items():
                buffer.copy_(checkpoint.tensors[f"buffer.{name}"])
            for name, parameter in self._parameters.items():
                parameter.copy_(checkpoint.tensors[f"model.{name}"])
                if f"adam.step.{name}" not in checkpoint.tensors:
                    continue  # Adam has no state for parameters without gradients
                self._optimizer.state[parameter] = {
                    "step": checkpoint.tensors[f"adam.step.{name}"],
                    # Copied to the memory layout of the parameter, which the file does not store.
                    **{
                        key: torch.empty_like(parameter).copy_(
                            checkpoint.tensors[f"adam.{key}.{name}"]
                        )
                        for key in ("exp_avg", "exp_avg_sq")
                    },
                }
