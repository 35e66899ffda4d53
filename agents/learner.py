"""Base classes of learners, which train in the folder of a run and save the result."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from wmrl.agents.agent import Agent, State
from wmrl.core.validation import check_float, check_int
from wmrl.core.warning import WMRLWarning
from wmrl.storage.run import Checkpoint, Run
from wmrl.training.callback_list import CallbackList
from wmrl.training.callbacks import Callback, RunContext

_END = "-end"


class Learner(ABC):
    """Base class of learners, which can be interrupted at any time and resumed.

    A learner locks the folder of its run. To resume an interrupted run, create the learner again
    with the same arguments and the same folder. The new learner continues from the last checkpoint,
    and its results are bit-identical to those of an uninterrupted run. A learner is a context
    manager that releases the folder on exit.

    To extend a finished run, create the learner again with a higher limit, such as more steps. If
    no schedule depends on the limit, the results are bit-identical to those of a run that had this
    limit from the start. If a schedule depends on the limit, the results are different, and a
    warning is shown.

    Subclasses call :meth:`_open_run` at the end of their constructor.
    """

    _run: Run
    _limit: ClassVar[str]  # name of the setting that limits the training
    _scheduled: bool = False  # True if a schedule depends on the limit
    _resumed_from: Path | None = None  # checkpoint of an earlier process, until learn is called

    @property
    def path(self) -> Path:
        """Folder of the run."""
        return self._run.path

    @property
    @abstractmethod
    def done(self) -> bool:
        """True if the training that the configuration specifies is complete."""

    @abstractmethod
    def learn(self, *, callbacks: Iterable[Callback] = (), progress: bool = True) -> Self:
        """Continues the training from the last checkpoint, until :attr:`done` is True.

        Args:
            callbacks: callbacks of the training, see
                :class:`~wmrl.training.callbacks.Callback`; called in addition to those that write
                ``metrics.csv`` and TensorBoard events. If a callback ends the training, another
                call of this method continues it.
            progress: True to show a progress bar.

        Returns:
            The learner itself.
        """

    @abstractmethod
    def save(self, path: str | Path, *, provenance: Mapping[str, Any] | None = None) -> str:
        """Saves the result of the training as an artifact.

        Args:
            path: folder to write.
            provenance: JSON-serializable description of how the result was made. It is added to the
                learner's own description.

        Returns:
            The artifact's digest.
        """

    def close(self) -> None:
        """Releases the folder of the run.

        The environment or problem that the learner uses stays open.
        """
        self._run.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @abstractmethod
    def _restore(self) -> None:
        """Restores the last checkpoint, if there is one."""

    def _open_run(self, path: str | Path, config: Mapping[str, Any]) -> None:
        """Locks the run's folder, checks its configuration, and restores the last checkpoint.

        Args:
            path: folder of the run.
            config: JSON-serializable configuration on which the run's results depend.

        Raises:
            RunError: the folder is in use, or belongs to a run with another configuration.
        """
        self._run = Run(
            path,
            config={"learner": type(self).__name__, **config},
            limits=(f"config.{self._limit}",),
        )
        try:
            self._restore()
            if self._run.extended and self._scheduled:
                warnings.warn(
                    f"{path}: continues with more {self._limit} than before. Some settings depend "
                    f"on the share of {self._limit} that are done, so the result differs from that "
                    "of a run that had this limit from the start; for the result of such a run, "
                    "choose another folder",
                    WMRLWarning,
                    stacklevel=3,
                )
        except BaseException:
            self._run.close()
            raise

    def _callback_list(
        self,
        callbacks: Iterable[Callback],
        *,
        name: str,
        step: int,
        planned: bool = True,
        progress: bool,
    ) -> CallbackList:
        """Returns the callbacks of a training, to be called around its steps.

        Args:
            callbacks: the user's callbacks.
            name: name of the training.
            step: step from which the training goes on.
            planned: False if there is a checkpoint of this step only because of an interruption.
            progress: True to print a line if a callback ends the training.
        """
        resumed_from, self._resumed_from = self._resumed_from, None
        context = RunContext(
            name=name,
            path=self.path,
            config=self._run.config,
            step=step,
            checkpoint=resumed_from if planned else None,
            save=self.save,
        )
        return CallbackList(callbacks, context, progress=progress)

    def _save_checkpoint(
        self,
        name: str,
        tensors: Mapping[str, Tensor],
        state: Mapping[str, Any],
        *,
        cut: bool,
        may_hold_nan: Collection[str] = (),
    ) -> Path:
        """Writes a checkpoint after a part of the training, such as a chunk of PPO.

        Args:
            name: name of the checkpoint.
            tensors: tensors by name.
            state: JSON-serializable state.
            cut: True if the training reached its limit in the middle of the part, so that the part
                ended early. In this case, the previous checkpoint is kept as well. If a higher
                limit extends the run later, the run continues from the previous checkpoint, and
                repeats the whole part.
            may_hold_nan: names of tensors that may contain NaN. All other numbers must be finite.

        Returns:
            The file of the checkpoint.
        """
        whole = f"{name}{_END}" if cut else name
        return self._run.save_checkpoint(whole, tensors, state, may_hold_nan=may_hold_nan)

    def _load_checkpoint(
        self, name: str, *, at: str, limit: int, device: str | torch.device = "cpu"
    ) -> Checkpoint | None:
        """Reads the checkpoint from which the training continues; None if there is none.

        Args:
            name: name of the checkpoint.
            at: key in the checkpoint's state under which the progress of the training is stored,
                such as ``"steps"``.
            limit: progress at which the training ends, such as a number of steps. The last
                checkpoint of a run with a lower limit may follow a part that this limit cut short.
                This checkpoint is skipped, and the previous one is read.
            device: device of the tensors.
        """
        found = self._run.load_checkpoint(f"{name}{_END}", device=device)
        if found is None or found.state[at] < limit:
            found = self._run.load_checkpoint(name, device=device)
        self._resumed_from = None if found is None else found.path
        return found


class AgentLearner(Learner):
    """Base class of learners that train an agent."""

    @property
    @abstractmethod
    def agent(self) -> Agent:
        """Agent with the weights that have been learned so far."""

    def predict(
        self,
        observation: np.ndarray,
        state: State | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, State | None]:
        """Chooses actions with :attr:`agent`; see :meth:`~wmrl.agents.agent.Agent.predict`."""
        return self.agent.predict(observation, state, episode_start, deterministic)


def check_limits(max_seconds: float | None, evaluate_every: int) -> float:
    """Checks the limits that were passed to the ``learn`` method of a learner.

    Args:
        max_seconds: time limit of the training in seconds; None for no limit.
        evaluate_every: number of generations or chunks between evaluations.

    Returns:
        The time limit in seconds; infinity if ``max_seconds`` is None.

    Raises:
        ValueError: ``max_seconds`` is not above 0, or ``evaluate_every`` is less than 1.
    """
    check_int("evaluate_every", evaluate_every, at_least=1)
    return np.inf if max_seconds is None else check_float("max_seconds", max_seconds, above=0)
