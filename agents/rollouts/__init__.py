"""Collection of rollouts in the real game.

- :mod:`~wmrl.agents.rollouts.collection`: collection of episodes into a rollout store
  (``collect``).
- :mod:`~wmrl.agents.rollouts.exploration`: exploration policies: random actions, or an agent
  with noise (``ExplorationPolicy``, ``RepeatedRandom``, ``NoisyAgent``, ``AutoregressiveNoise``,
  ``Unperturbed``).
- :mod:`~wmrl.agents.rollouts.wrapper`: environment wrapper that records all episodes that are
  played in the environment (``RecordRollouts``).
- :mod:`~wmrl.agents.rollouts.frame_policy`: interface of policies that act on frames
  (``FramePolicy``).
- :mod:`~wmrl.agents.rollouts.frame_agent`: agents that act on frames (``FrameAgent``).
- :mod:`~wmrl.agents.rollouts.sb3_policy`: models of Stable-Baselines3 that act on frames
  (``SB3Policy``).
- :mod:`~wmrl.agents.rollouts.function_policy`: functions from frames to actions
  (``FunctionPolicy``).
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
        Unperturbed,
    )
    from wmrl.agents.rollouts.frame_agent import FrameAgent
    from wmrl.agents.rollouts.frame_policy import FramePolicy
    from wmrl.agents.rollouts.function_policy import FunctionPolicy
    from wmrl.agents.rollouts.recorder import Collector
    from wmrl.agents.rollouts.sb3_policy import SB3Policy
    from wmrl.agents.rollouts.scheduler import Schedule
    from wmrl.agents.rollouts.wrapper import RecordRollouts
else:
    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "AutoregressiveNoise",
    "Collector",
    "EpisodeScores",
    "ExplorationPolicy",
    "FrameAgent",
    "FramePolicy",
    "FunctionPolicy",
    "NoisyAgent",
    "RecordRollouts",
    "RepeatedRandom",
    "SB3Policy",
    "Schedule",
    "Unperturbed",
    "collect",
    "run_episodes",
]
