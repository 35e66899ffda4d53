"""Controllers found by search over their parameters: CMA-ES and variational search.

- :mod:`~wmrl.agents.policy_search.cma_es`: CMA-ES, resumable (``CMAES``, ``CMAESConfig``).
- :mod:`~wmrl.agents.policy_search.cma`: the CMA-ES update as pure functions (``CMASearch``).
- :mod:`~wmrl.agents.policy_search.variational`: a posterior over controllers
  (``VariationalSearch``, ``VariationalSearchConfig``).
- :mod:`~wmrl.agents.policy_search.posterior_agent`: an agent drawn from that posterior
  (``PosteriorAgent``).
- :mod:`~wmrl.agents.policy_search.fitness`: returns of controllers in dreams and in the real
  game, as pure functions (``DreamFitness``, ``DreamFitnessConfig``, ``Fitness``, ``RealFitness``,
  ``RealFitnessConfig``).
- :mod:`~wmrl.agents.policy_search.base`: what both searches share (``ControllerSearch``).
"""

from typing import TYPE_CHECKING

from wmrl.core.lazy import lazy_exports

if TYPE_CHECKING:
    from wmrl.agents.policy_search.base import ControllerSearch
    from wmrl.agents.policy_search.cma import CMASearch
    from wmrl.agents.policy_search.cma_es import CMAES, CMAESConfig
    from wmrl.agents.policy_search.fitness import (
        DreamFitness,
        DreamFitnessConfig,
        Fitness,
        RealFitness,
        RealFitnessConfig,
    )
    from wmrl.agents.policy_search.posterior_agent import PosteriorAgent
    from wmrl.agents.policy_search.variational import VariationalSearch, VariationalSearchConfig
else:
    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "CMAES",
    "CMAESConfig",
    "CMASearch",
    "ControllerSearch",
    "DreamFitness",
    "DreamFitnessConfig",
    "Fitness",
    "PosteriorAgent",
    "RealFitness",
    "RealFitnessConfig",
    "VariationalSearch",
    "VariationalSearchConfig",
]
