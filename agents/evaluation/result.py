"""Results of evaluations: the scores of an agent in each episode."""

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

import numpy as np

from wmrl.storage.files import write_json
from wmrl.storage.reading import read_json
from wmrl.storage.recognition import recognize


@dataclass(frozen=True, kw_only=True)
class EvaluationResult:
    """Scores of an agent in each episode of an evaluation.

    Attributes:
        agent: name of the agent.
        task: name of the task.
        base: id of the environment in which the agent was scored; ``"dream"`` for an evaluation in
            dreams.
        deterministic: True if the agent acted without exploration noise, False otherwise. Always
            False for uniformly random actions.
        seeds: seed of each episode. In dreams, all entries are equal, because all episodes share
            one seed and one stream of random numbers. An episode then depends on the seed, on its
            index, and on the number of episodes.
        returns: undiscounted sum of rewards of each episode, in the order of ``seeds``.
        lengths: number of agent steps of each episode.
        terminated: for each episode, True if the game ended it, False if the time limit did.
        versions: versions of the packages on which the scores depend, by package name.
        digest: :attr:`~wmrl.agents.agent.Agent.digest` of the agent; empty for random actions.

    Raises:
        ValueError: there are no episodes, the lists have different lengths, or a return is not
            finite.
    """

    agent: str
    task: str
    base: str
    deterministic: bool
    seeds: tuple[int, ...]
    returns: tuple[float, ...]
    lengths: tuple[int, ...]
    terminated: tuple[bool, ...]
    versions: Mapping[str, str] = field(default_factory=dict)
    digest: str = ""

    def __post_init__(self) -> None:
        for name in ("seeds", "returns", "lengths", "terminated"):  # JSON gives lists
            object.__setattr__(self, name, tuple(getattr(self, name)))
            if len(getattr(self, name)) != self.episodes:
                raise ValueError(
                    f"{name}: expected {self.episodes} values (as many as returns), "
                    f"got {len(getattr(self, name))}; give one value for each episode"
                )
        if not self.returns:
            raise ValueError(
                "returns: expected at least one episode, got none; score the agent in one or "
                "more episodes"
            )
        for episode, (score, seed) in enumerate(zip(self.returns, self.seeds, strict=True)):
            if not math.isfinite(score):
                raise ValueError(
                    f"returns: expected finite numbers, got {score} in episode {episode} (seed "
                    f"{seed}); check the rewards of the game or of the memory model"
                )

    @property
    def episodes(self) -> int:
        """Number of episodes."""
        return len(self.returns)

    @property
    def mean(self) -> float:
        """Mean return."""
        return float(np.mean(self.returns))

    @property
    def std(self) -> float:
        """Population standard deviation of the returns (``ddof=0``)."""
        return float(np.std(self.returns))

    @property
    def standard_error(self) -> float:
        """Standard error of the mean; infinite for a single episode."""
        if self.episodes == 1:
            return float("inf")
        return float(np.std(self.returns, ddof=1) / np.sqrt(self.episodes))

    @property
    def per_agent_step(self) -> float:
        """Mean reward per agent step.

        This mean can be compared between episodes of different lengths, for example between dreams
        and the real game. Returns cannot be compared in this way.
        """
        return float(np.sum(self.returns) / np.sum(self.lengths))

    def __str__(self) -> str:
        return f"{self.mean:.1f} ± {self.std:.1f} ({self.episodes} episodes of {self.base})"

    def save(self, path: str | Path) -> None:
        """Writes the result to a JSON file, with its mean, standard deviation and a checksum."""
        content = {"mean": self.mean, "std": self.std, "episodes": self.episodes} | asdict(self)
        write_json(path, content)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Reads a result from a file that :meth:`save` wrote.

        Raises:
            ValueError: the file is missing or damaged, or does not contain a result.
        """
        content = read_json(path, mend="score the agent again with wmrl evaluate")
        try:
            for derived in ("mean", "std", "episodes"):
                content.pop(derived)
            return cls(**content)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path}: expected the JSON of an evaluation, as EvaluationResult.save writes it, "
                f"got other contents ({error}); score the agent again with wmrl evaluate"
            ) from error


def results_beside(path: str | Path, digest: str) -> list[EvaluationResult]:
    """Reads the results of an agent from the JSON files beside its artifact.

    ``wmrl evaluate`` and ``wmrl train`` write such files. Other files, damaged ones, and results of
    other agents are skipped.

    Args:
        path: folder of the agent's artifact.
        digest: digest of the agent.

    Returns:
        The results, sorted by the names of their files.
    """
    results = []
    for file in sorted(Path(path).resolve().parent.glob("*.json")):
        if recognize(file).kind == "result":
            with suppress(ValueError):
                results.append(EvaluationResult.load(file))
    return [result for result in results if result.digest == digest]
