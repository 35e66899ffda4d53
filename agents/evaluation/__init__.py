"""Evaluation of agents by the protocol on which all reported scores are based.

- :mod:`~wmrl.agents.evaluation.scoring`: scoring of agents in the real game and in dreams
  (``RANDOM``, ``evaluate``, ``evaluate_dream``, ``original_id``).
- :mod:`~wmrl.agents.evaluation.result`: results of evaluations, with a score per episode
  (``EvaluationResult``).
"""

from typing import TYPE_CHECKING

from wmrl.core.lazy import lazy_exports

if TYPE_CHECKING:
    from wmrl.agents.evaluation.result import EvaluationResult
    from wmrl.agents.evaluation.scoring import RANDOM, evaluate, evaluate_dream, original_id
else:
    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "RANDOM",
    "EvaluationResult",
    "evaluate",
    "evaluate_dream",
    "original_id",
]
