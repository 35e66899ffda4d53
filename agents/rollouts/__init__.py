"""Collection of rollouts in the real game.

- :mod:`~wmrl.agents.rollouts.collection`: collection of episodes into a rollout store
  (``collect``).
- :mod:`~wmrl.agents.rollouts.exploration`: exploration policies: random actions, or an agent
  with noise (``ExplorationPolicy``, ``RepeatedRandom``, ``NoisyAgent``, ``AutoregressiveNoise``).
- :mod:`~wmrl.agents.rollouts.frame_agent`: agents that act on frames (``FrameAgent``).
- :mod:`~wmrl.agents.rollouts.recorder`: playing and recording of episodes (``Collector``).
- :mod:`~wmrl.agents.rollouts.scheduler`: assignment of episodes to environments (``Schedule``).
- :mod:`~wmrl.agents.rollouts.episodes`: playing and scoring of seeded episodes (``EpisodeScores``,
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
