"""The log joint density that inference is about, as a sum of terms that say what they depend on."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True)
class Term:
    """One summand of log p(x, z).

    Its function gets what its arguments name, and nothing else: latent variables, each
    ``(S, *shape)`` for S draws, and its own data; arguments with a default keep it. So what a term
    depends on is known, by which Rao-Blackwellisation knows what a variable's gradient can do
    without.

    Attributes:
        function: gives ``(S,)``; or with ``elementwise`` ``(S, *E)``.
        data: tensors that the function names. If minibatches are asked for, those that are in
            ``rows`` are given some of their rows at a time.
        rows: names of data whose rows are independent observations: the term's value is multiplied
            by how many times more rows there are than were given. All have the same number.
        elementwise: whether number e of the value depends on none but number e of each variable
            that has the shape E, so that each number's gradient can do without the others'.
        names: what the function's arguments stand for, in their order; their own names if not
            given. Terms that are made in a loop need them.
    """

    function: Callable[..., Tensor]
    data: Mapping[str, Tensor] = field(default_factory=dict)
    rows: tuple[str, ...] = ()
    elementwise: bool = False
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("rows", "names"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        unknown = set(self.data) - set(self.arguments)
        if unknown:
            raise ValueError(
                f"data: expected what the function names, {self.arguments}, got {sorted(unknown)}"
            )
        for name, data in self.data.items():
            if not isinstance(data, Tensor):
                raise ValueError(
                    f"data: expected a tensor for {name!r}, got {type(data).__name__}; "
                    "torch.as_tensor makes one"
                )
        if not set(self.rows) <= set(self.data):
            raise ValueError(f"rows: expected names of data {sorted(self.data)}, got {self.rows}")
        flat = [name for name in self.rows if not self.data[name].ndim]
        if flat:
            raise ValueError(f"rows: expected data with rows, got a single number for {flat[0]!r}")
        if len({len(self.data[name]) for name in self.rows}) > 1:
            lengths = {name: len(self.data[name]) for name in self.rows}
            raise ValueError(f"rows: expected data of one length, got {lengths}")

    @cached_property
    def arguments(self) -> tuple[str, ...]:
        """What the function's arguments stand for."""
        if self.names:  # not every function can be asked
            return self.names
        kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        found = inspect.signature(self.function).parameters.values()
        return tuple(
            each.name for each in found if each.kind in kinds and each.default is each.empty
        )

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of the latent variables that it depends on."""
        return tuple(name for name in self.arguments if name not in self.data)

    @property
    def row_count(self) -> int:
        """N, how many observations there are; 0 if that is not said."""
        return len(self.data[self.rows[0]]) if self.rows else 0

    def __call__(self, values: Mapping[str, Tensor], rows: Tensor | None = None) -> Tensor:
        """The term at values by name, of some of its rows ``(B,) int64``, or of all if None."""
        given: dict[str, Tensor] = {name: values[name] for name in self.variables}
        scale = 1.0
        for name, data in self.data.items():
            some = rows is not None and name in self.rows
            given[name] = data[rows] if some else data
        if rows is not None and self.rows:
            scale = self.row_count / len(rows)
        return scale * self.function(*(given[name] for name in self.arguments))


class TermError(ValueError):
    """A term raised an error, which is the cause, or its value is not of the shape that it must be.

    Where the cause is itself a ``ValueError``, a distribution has most likely refused a value.
    """


class LogJoint:
    """log p(x, z), up to a constant, as a sum of terms.

    Args:
        terms: by name; a function alone is a :class:`Term` without data.

    Raises:
        ValueError: there are no terms, or minibatched terms have different numbers of rows.
    """

    def __init__(self, terms: Mapping[str, Term | Callable[..., Tensor]]) -> None:
        if not terms:
            raise ValueError("terms: expected at least one, got none")
        self.terms = {
            name: term if isinstance(term, Term) else Term(term) for name, term in terms.items()
        }
        counts = {name: term.row_count for name, term in self.terms.items() if term.rows}
        if len(set(counts.values())) > 1:
            raise ValueError(f"terms: expected rows of one number in all terms, got {counts}")
        self.row_count = next(iter(counts.values()), 0)

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of the latent variables, in the order in which terms name them."""
        named = (name for term in self.terms.values() for name in term.variables)
        return tuple(dict.fromkeys(named))

    def evaluate(
        self, values: Mapping[str, Tensor], *, rows: Tensor | None = None
    ) -> dict[str, Tensor]:
        """All terms at S draws: ``(S,)`` each, ``(S, *E)`` where they are elementwise.

        Args:
            values: ``(S, *shape)`` by name.
            rows: a minibatch of the data, ``(B,) int64``.

        Raises:
            TermError: a term's value has another shape, or the term raises an error; it is named.
        """
        count = len(next(iter(values.values())))
        found = {}
        for name, term in self.terms.items():
            try:
                value = term(values, rows)
            except Exception as error:
                raise TermError(f"term {name!r}, of {_listed(term.variables)}: {error}") from error
            _check_value(name, term, value, values, count)
            found[name] = value
        return found

    def to(self, device: torch.device) -> "LogJoint":
        """The same with its data on a device."""
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
            f"each of {count} draws, got {shape}; sum over everything but the draws"
        )


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names) or "nothing"
