"""Black-box variational inference: log joints, variational families, fits and diagnostics.

- :mod:`~wmrl.inference.log_joint`: log joint densities as sums of named terms (``LogJoint``,
  ``Term``, ``TermError``).
- :mod:`~wmrl.inference.factor`: interface of variational factors (``Factor``).
- :mod:`~wmrl.inference.gaussian_factors`: normal, log-normal, multivariate and low-rank normal
  factors (``LogNormalFactor``, ``LowRankNormalFactor``, ``MultivariateNormalFactor``,
  ``NormalFactor``).
- :mod:`~wmrl.inference.gamma_factors`: gamma and beta factors (``BetaFactor``, ``GammaFactor``).
- :mod:`~wmrl.inference.discrete_factors`: Bernoulli and categorical factors (``BernoulliFactor``,
  ``CategoricalFactor``).
- :mod:`~wmrl.inference.family`: mean-field families, products of factors
  (``VariationalFamily``).
- :mod:`~wmrl.inference.elbo_gradient`: score-function and reparameterized gradients of the
  ELBO (``ElboGradient``, ``GradientConfig``).
- :mod:`~wmrl.inference.fit`: fitting by gradient ascent on the ELBO (``FitConfig``,
  ``Posterior``, ``fit_posterior``).
- :mod:`~wmrl.inference.diagnostics`: Pareto-smoothed importance sampling (``ImportanceCheck``,
  ``importance_check``, ``pareto_k``).
"""

from typing import TYPE_CHECKING

from wmrl.core.lazy import lazy_exports

if TYPE_CHECKING:
    from wmrl.inference.diagnostics import ImportanceCheck, importance_check, pareto_k
    from wmrl.inference.discrete_factors import BernoulliFactor, CategoricalFactor
    from wmrl.inference.elbo_gradient import ElboGradient, GradientConfig
    from wmrl.inference.factor import Factor
    from wmrl.inference.family import VariationalFamily
    from wmrl.inference.fit import FitConfig, Posterior, fit_posterior
    from wmrl.inference.gamma_factors import BetaFactor, GammaFactor
    from wmrl.inference.gaussian_factors import (
        LogNormalFactor,
        LowRankNormalFactor,
        MultivariateNormalFactor,
        NormalFactor,
    )
    from wmrl.inference.log_joint import LogJoint, Term, TermError
else:
    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "BernoulliFactor",
    "BetaFactor",
    "CategoricalFactor",
    "ElboGradient",
    "Factor",
    "FitConfig",
    "GammaFactor",
    "GradientConfig",
    "ImportanceCheck",
    "LogJoint",
    "LogNormalFactor",
    "LowRankNormalFactor",
    "MultivariateNormalFactor",
    "NormalFactor",
    "Posterior",
    "Term",
    "TermError",
    "VariationalFamily",
    "fit_posterior",
    "importance_check",
    "pareto_k",
]
