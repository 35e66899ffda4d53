"""Playing the real game: exploration, collection of episodes, their recording.

- :mod:`~wmrl.agents.rollouts.collection`: episodes into a rollout store (``collect``).
- :mod:`~wmrl.agents.rollouts.exploration`: random and noisy policies that collect data
  (``Behaviour``, ``HeldBehaviour``, ``NoisyBehaviour``, ``SmoothedBehaviour``).
- :mod:`~wmrl.agents.rollouts.frame_agent`: an agent with its world model: from frames to actions
  (``Pilot``).
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
        Behaviour,
        HeldBehaviour,
        NoisyBehaviour,
        SmoothedBehaviour,
    )
    from wmrl.agents.rollouts.frame_agent import Pilot
    from wmrl.agents.rollouts.recorder import Collector
    from wmrl.agents.rollouts.scheduler import Schedule
else:
    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "Behaviour",
    "Collector",
    "EpisodeScores",
    "HeldBehaviour",
    "NoisyBehaviour",
    "Pilot",
    "Schedule",
    "SmoothedBehaviour",
    "collect",
    "run_episodes",
]
