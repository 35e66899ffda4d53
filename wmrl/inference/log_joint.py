"""Log joint densities: sums of named terms, each with a known set of variables."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True)
class Term:
    """One of the terms whose sum is a log joint density log p(x, z).

    The function's parameter names determine its arguments. A parameter that is a key of ``data``
    receives the tensor of this key. Any other parameter is a latent variable, and receives S
    samples of it, ``(S, *shape)``. A parameter with a default value keeps this value. The parameter
    names thus show which variables the term depends on, as Rao-Blackwellization requires.

    Attributes:
        function: function that computes the term. It returns ``(S,)``, or ``(S, *E)`` if
            ``elementwise`` is True.
        data: tensors by parameter name.
        minibatched: names of the data whose first axis has N independent observations. If a
            minibatch selects B observations, the value of the term is multiplied by N / B.
        elementwise: True if the term's variables have a common shape E, and the term has one value
            per element. Each value must depend only on its own element of the variables. The
            score-function gradient for an element then uses only the value for that element.
        names: names of the variables and data to pass to the function, in the order of its
            parameters. If empty, the function's parameter names are used. Set this field if several
            terms share one function but have different variables, for example terms that are
            created in a loop.
    """

    function: Callable[..., Tensor]
    data: Mapping[str, Tensor] = field(default_factory=dict)
    minibatched: tuple[str, ...] = ()
    elementwise: bool = False
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("minibatched", "names"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        unknown = set(self.data) - set(self.arguments)
        if unknown:
            raise ValueError(
                f"data: expected names of the function's parameters {self.arguments}, got "
                f"{sorted(unknown)}"
            )
        for name, data in self.data.items():
            if not isinstance(data, Tensor):
                raise ValueError(
                    f"data: expected a tensor for {name!r}, got {type(data).__name__}; use "
                    "torch.as_tensor"
                )
        if not set(self.minibatched) <= set(self.data):
            raise ValueError(
                f"minibatched: expected keys of data {sorted(self.data)}, got {self.minibatched}"
            )
        scalars = [name for name in self.minibatched if not self.data[name].ndim]
        if scalars:
            raise ValueError(
                f"minibatched: expected data with an axis of observations, got a scalar for "
                f"{scalars[0]!r}; remove this name from minibatched"
            )
        if len({len(self.data[name]) for name in self.minibatched}) > 1:
            lengths = {name: len(self.data[name]) for name in self.minibatched}
            raise ValueError(f"minibatched: expected data of equal lengths, got {lengths}")

    @cached_property
    def arguments(self) -> tuple[str, ...]:
        """Names of the variables and data to pass to the function, in parameter order."""
        if self.names:  # some functions, such as built-in ones, have no signature
            return self.names
        kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        found = inspect.signature(self.function).parameters.values()
        return tuple(
            each.name for each in found if each.kind in kinds and each.default is each.empty
        )

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of the latent variables that the term depends on."""
        return tuple(name for name in self.arguments if name not in self.data)

    @property
    def num_observations(self) -> int:
        """N, number of observations in the minibatched data; 0 if no data are minibatched."""
        return len(self.data[self.minibatched[0]]) if self.minibatched else 0

    def __call__(self, values: Mapping[str, Tensor], indices: Tensor | None = None) -> Tensor:
        """Evaluates the term.

        Args:
            values: S samples by variable name, ``(S, *shape)`` each.
            indices: indices of the observations in a minibatch, ``(B,) int64``; None for all
                observations.

        Returns:
            Values of the term: ``(S,)``, or ``(S, *E)`` if the term is elementwise with shape E.
            If ``indices`` selects B of the N observations of a minibatched term, the values are
            multiplied by N / B.
        """
        given: dict[str, Tensor] = {name: values[name] for name in self.variables}
        scale = 1.0
        for name, data in self.data.items():
            some = indices is not None and name in self.minibatched
            given[name] = data[indices] if some else data
        if indices is not None and self.minibatched:
            scale = self.num_observations / len(indices)
        return scale * self.function(*(given[name] for name in self.arguments))


class TermError(ValueError):
    """Error raised if a term cannot be evaluated, or the term's value has the wrong shape.

    If the term's function raised an error, that error is the ``__cause__``. If the ``__cause__`` is
    a ``ValueError``, a distribution has most likely rejected a value.
    """


class LogJoint:
    """Log joint density log p(x, z), up to a constant, as a sum of terms.

    Args:
        terms: terms by name; a function is converted to a :class:`Term` without data.

    Attributes:
        terms: terms by name.
        num_observations: number of observations in the minibatched data; 0 if no data are
            minibatched.

    Raises:
        ValueError: there are no terms, or the terms' minibatched data have different lengths.

    Example:
        A normal mean with a standard normal prior, evaluated at two samples:

        >>> import torch
        >>> from torch.distributions import Normal
        >>> from wmrl.inference import LogJoint, Term
        >>> log_joint = LogJoint(
        ...     {
        ...         "prior": lambda mu: Normal(0.0, 1.0).log_prob(mu),
        ...         "data": Term(
        ...             lambda mu, y: Normal(mu[:, None], 1.0).log_prob(y).sum(1),
        ...             {"y": torch.tensor([0.8, 1.9])},
        ...         ),
        ...     }
        ... )
        >>> log_joint.variables
        ('mu',)
        >>> terms = log_joint.evaluate({"mu": torch.tensor([0.0, 1.0])})
        >>> [round(value, 2) for value in terms["data"].tolist()]
        [-3.96, -2.26]
    """

    def __init__(self, terms: Mapping[str, Term | Callable[..., Tensor]]) -> None:
        if not terms:
            raise ValueError("terms: expected at least one term, got none")
        self.terms = {
            name: term if isinstance(term, Term) else Term(term) for name, term in terms.items()
        }
        counts = {
            name: term.num_observations for name, term in self.terms.items() if term.minibatched
        }
        if len(set(counts.values())) > 1:
            raise ValueError(
                f"terms: expected the same number of observations in all minibatched terms, got "
                f"{counts}"
            )
        self.num_observations = next(iter(counts.values()), 0)

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of the latent variables, in order of their first use."""
        named = (name for term in self.terms.values() for name in term.variables)
        return tuple(dict.fromkeys(named))

    def evaluate(
        self, values: Mapping[str, Tensor], *, indices: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Evaluates all terms at S samples.

        Args:
            values: S samples by variable name, ``(S, *shape)`` each.
            indices: indices of the observations in a minibatch, ``(B,) int64``; None for all
                observations.

        Returns:
            Values by term name: ``(S,)``, or ``(S, *E)`` for an elementwise term of shape E.

        Raises:
            TermError: a term raises an error, or its value has the wrong shape.
        """
        count = len(next(iter(values.values())))
        found = {}
        for name, term in self.terms.items():
            try:
                value = term(values, indices)
            except Exception as error:
                raise TermError(
                    f"term {name!r} (variables: {_listed(term.variables)}): {error}"
                ) from error
            _check_value(name, term, value, values, count)
            found[name] = value
        return found

    def to(self, device: torch.device) -> "LogJoint":
        """Returns a copy of the log joint with its data on the given device."""
        moved = {}
        for name, term in self.terms.items():
            data = {key: value.to(device) for key, value in term.data.items()}
            moved[name] = replace(term, data=data)
        return LogJoint(moved)


def _check_value(
    name: str, term: Term, value: Tensor, values: Mapping[str, Tensor], count: int
) -> None:
    allowed: list[tuple[int, ...]] = [(count,)]
    if term.elementwise:
        allowed = list(dict.fromkeys(tuple(values[each].shape) for each in term.variables))
    if not isinstance(value, Tensor) or tuple(value.shape) not in allowed:
        shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        wanted = " or ".join(map(str, allowed))
        raise TermError(
            f"term {name!r} (variables: {_listed(term.variables)}): expected shape {wanted} "
            f"for {count} samples, got {shape}; if the term is not elementwise, sum over all axes "
            "but the first"
        )


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names) or "none"
