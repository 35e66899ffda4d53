"""Log joint densities, as sums of named terms with explicit dependencies."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True)
class Term:
    """One summand of log p(x, z).

    Its function is called with the latent variables and the data that its parameters name:
    variables ``(S, *shape)`` for S samples, and the term's own data. Parameters with a default keep
    it. The variables a term depends on are thus known, as Rao-Blackwellization requires.

    Attributes:
        function: computes the term: ``(S,)``, or ``(S, *E)`` with ``elementwise``.
        data: tensors by parameter name.
        minibatched: names of data whose first axis is independent observations, all of one number
            N. They are indexed by a minibatch of B, and the term's value is multiplied by N / B.
        elementwise: True if element e of the value depends only on element e of each variable of
            shape E. Each element's gradient then omits the other elements.
        names: what the function's parameters stand for, in order; their own names if not given.
            Terms made in a loop need them.
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
                f"data: expected names of the function's parameters, {self.arguments}, got "
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
                f"minibatched: expected names of data {sorted(self.data)}, got {self.minibatched}"
            )
        scalars = [name for name in self.minibatched if not self.data[name].ndim]
        if scalars:
            raise ValueError(
                f"minibatched: expected data with an axis of observations, got a scalar for "
                f"{scalars[0]!r}"
            )
        if len({len(self.data[name]) for name in self.minibatched}) > 1:
            lengths = {name: len(self.data[name]) for name in self.minibatched}
            raise ValueError(f"minibatched: expected data of one length, got {lengths}")

    @cached_property
    def arguments(self) -> tuple[str, ...]:
        """Names of the variables and data that the function is called with, in order."""
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
        """Number N of observations; 0 if no data are minibatched."""
        return len(self.data[self.minibatched[0]]) if self.minibatched else 0

    def __call__(self, values: Mapping[str, Tensor], indices: Tensor | None = None) -> Tensor:
        """Evaluates the term at values by name, on a minibatch ``(B,) int64`` or all data."""
        given: dict[str, Tensor] = {name: values[name] for name in self.variables}
        scale = 1.0
        for name, data in self.data.items():
            some = indices is not None and name in self.minibatched
            given[name] = data[indices] if some else data
        if indices is not None and self.minibatched:
            scale = self.num_observations / len(indices)
        return scale * self.function(*(given[name] for name in self.arguments))


class TermError(ValueError):
    """Raised if a term raises an error, which is its cause, or its value has a wrong shape.

    If the cause is itself a ``ValueError``, most likely a distribution rejected a value.
    """


class LogJoint:
    """Log joint density log p(x, z), up to a constant, as a sum of terms.

    Args:
        terms: terms by name; a function stands for a :class:`Term` without data.

    Attributes:
        terms: terms by name.
        num_observations: number of observations in minibatched data; 0 without such data.

    Raises:
        ValueError: there are no terms, or minibatched terms have different numbers of observations.

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
            raise ValueError("terms: expected at least one, got none")
        self.terms = {
            name: term if isinstance(term, Term) else Term(term) for name, term in terms.items()
        }
        counts = {
            name: term.num_observations for name, term in self.terms.items() if term.minibatched
        }
        if len(set(counts.values())) > 1:
            raise ValueError(
                f"terms: expected the same number of observations in all terms, got {counts}"
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
            values: samples ``(S, *shape)`` by variable name.
            indices: minibatch of the data, ``(B,) int64``; None for all data.

        Returns:
            Values by term name: ``(S,)``, or ``(S, *E)`` of elementwise terms.

        Raises:
            TermError: a term raises an error or its value has a wrong shape.
        """
        count = len(next(iter(values.values())))
        found = {}
        for name, term in self.terms.items():
            try:
                value = term(values, indices)
            except Exception as error:
                raise TermError(f"term {name!r}, of {_listed(term.variables)}: {error}") from error
            _check_value(name, term, value, values, count)
            found[name] = value
        return found

    def to(self, device: torch.device) -> "LogJoint":
        """Returns a copy with its data on a device."""
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
            f"term {name!r}, of {_listed(term.variables)}: expected shape {wanted}, a value for "
            f"each of {count} samples, got {shape}; sum over all axes but the first"
        )


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names) or "nothing"
