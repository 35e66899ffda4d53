"""Playing the real game: exploration, collection of episodes, their recording.

- :mod:`~wmrl.agents.rollouts.collection`: episodes into a rollout store (``collect``).
- :mod:`~wmrl.agents.rollouts.exploration`: random and noisy policies that collect data
  (``ExplorationPolicy``, ``RepeatedRandom``, ``NoisyAgent``, ``AutoregressiveNoise``).
- :mod:`~wmrl.agents.rollouts.frame_agent`: an agent with its world model: from frames to actions
  (``FrameAgent``).
- :mod:`~wmrl.agents.rollouts.recorder`: games in progress, and the episodes they become
  (``Collector``).
- :mod:`~wmrl.agents.rollouts.scheduler`: which episode is played where (``Schedule``).
- :mod:`~wmrl.agents.rollouts.episodes`: whole episodes on fixed seeds, scored (``EpisodeScores``,
  ``run_episodes``).
"""

from typing import TYPE_CHECKING

from wmrl.core.lazy import lazy_exports

if TYPE_CHECKING:
    from wmrl.agents.rollouts.collection import collect
    from wmrl.agents.rollouts.episodes import EpisodeScores, run_episodes
    from wmrl.agents.rollouts.exploration import (
        AutoregressiveNoise,
        ExplorationPolicy,
        NoisyAgent,
        RepeatedRandom,
    )
    from wmrl.agents.rollouts.frame_agent import FrameAgent
    from wmrl.agents.rollouts.recorder import Collector
    from wmrl.agents.rollouts.scheduler import Schedule
else:
    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "AutoregressiveNoise",
    "Collector",
    "EpisodeScores",
    "ExplorationPolicy",
    "FrameAgent",
    "NoisyAgent",
    "RepeatedRandom",
    "Schedule",
    "collect",
    "run_episodes",
]
