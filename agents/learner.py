"""Interface of learners, which train in a run's folder and save what they learned."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np

from wmrl.agents.agent import Agent, State
from wmrl.storage.run import Run


class Learner(ABC):
    """Base of learners that can be interrupted at any time and resumed.

    A learner locks the folder of its run. A learner that is created with the same arguments in the
    same folder resumes from the last checkpoint, and its results are bit for bit those of a run
    without the interruption. Learners are context managers that release the folder on exit.

    Subclasses call :meth:`_open_run` at the end of their constructor.
    """

    _run: Run

    @property
    def path(self) -> Path:
        """Folder of the run."""
        return self._run.path

    @property
    @abstractmethod
    def done(self) -> bool:
        """True if everything that the configuration asks for is learned."""

    @abstractmethod
    def learn(self, *, progress: bool = True) -> Self:
        """Learns until :attr:`done`, continuing from the last checkpoint.

        Args:
            progress: show a progress bar.

        Returns:
            The learner itself.
        """

    @abstractmethod
    def save(self, path: str | Path) -> str:
        """Saves what was learned as an artifact and returns its digest."""

    def close(self) -> None:
        """Releases the folder of the run, but does not close the environment or problem."""
        self._run.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @abstractmethod
    def _restore(self) -> None:
        """Restores the last checkpoint, if there is one."""

    def _open_run(self, path: str | Path, config: Mapping[str, Any]) -> None:
        """Locks the run's folder, checks that it belongs to this run, and restores the run.

        Args:
            path: folder of the run.
            config: JSON-able configuration on which the run's results depend.

        Raises:
            RunError: the folder is in use, or belongs to a run with another configuration.
        """
        self._run = Run(path, config={"learner": type(self).__name__, **config})
        try:
            self._restore()
        except BaseException:
            self._run.close()
            raise


class AgentLearner(Learner):
    """Base of learners that train an agent."""

    @property
    @abstractmethod
    def agent(self) -> Agent:
        """Agent in its current state."""

    def predict(
        self,
        observation: np.ndarray,
        state: State | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, State | None]:
        """Chooses actions with :meth:`~wmrl.agents.agent.Agent.predict` of :attr:`agent`."""
        return self.agent.predict(observation, state, episode_start, deterministic)
