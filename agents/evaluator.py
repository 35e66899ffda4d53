"""Evaluator: what a learner is measured by on the way."""

from collections.abc import Callable, Mapping

from wmrl.agents.agent import Agent

Evaluator = Callable[[Agent], Mapping[str, float]]
"""From an agent to named scores, for curves; its seeds take no part in training."""
