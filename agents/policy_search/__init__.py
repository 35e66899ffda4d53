"""Search over the parameters of controllers: CMA-ES and variational policy search.

- :mod:`~wmrl.agents.policy_search.cma_es`: resumable CMA-ES for controllers (``CMAES``,
  ``CMAESConfig``).
- :mod:`~wmrl.agents.policy_search.cma`: CMA-ES as pure functions, and as an in-memory search
  (``CMASearch``).
- :mod:`~wmrl.agents.policy_search.variational`: a posterior over controllers
  (``VariationalSearch``, ``VariationalSearchConfig``).
- :mod:`~wmrl.agents.policy_search.posterior_agent`: agent with a posterior over
  controllers (``PosteriorAgent``).
- :mod:`~wmrl.agents.policy_search.fitness`: returns of controllers in dreams and in the real
  game (``DreamFitness``, ``DreamFitnessConfig``, ``Fitness``, ``RealFitness``,
  ``RealFitnessConfig``).
- :mod:`~wmrl.agents.policy_search.base`: base class of searches for controllers
  (``ControllerSearch``).
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
