"""Interface of learners: interruptible runs in a folder that end in a saved artifact."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np

from wmrl.agents.agent import Agent, State
from wmrl.storage.run import Run


class Learner(ABC):
    """Base of learners that can be interrupted at any time and resumed.

    A learner owns the folder of its run. Creating it again with the same arguments in the same
    folder resumes from the last checkpoint, to the same bits as without the interruption. It is a
    context manager, which releases the folder.

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
        """Whether all that the configuration asks for is learned."""

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
        """Releases the folder of the run; environments and problems are the caller's to close."""
        self._run.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @abstractmethod
    def _restore(self) -> None:
        """Restores the last checkpoint, if there is one."""

    def _open_run(self, path: str | Path, config: Mapping[str, Any]) -> None:
        """Locks the run's folder, checks that it belongs to this run, and restores it.

        Args:
            path: folder of the run.
            config: JSON-able configuration that the run's results depend on.

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
    """Base of learners of agents."""

    @property
    @abstractmethod
    def agent(self) -> Agent:
        """The agent as it is now."""

    def predict(
        self,
        observation: np.ndarray,
        state: State | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, State | None]:
        """Chooses actions by :attr:`agent`; see :meth:`~wmrl.agents.agent.Agent.predict`."""
        return self.agent.predict(observation, state, episode_start, deterministic)
