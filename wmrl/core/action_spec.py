"""Descriptions of action spaces, and the encoding of actions as vectors for networks."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from gymnasium import spaces

from wmrl.core.config import build_config, check_fields
from wmrl.core.validation import as_array, check_actions, check_float, check_int

if TYPE_CHECKING:
    from torch import Tensor

ActionSpace = spaces.Box | spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary
"""Gymnasium spaces that are supported as action spaces."""

Kind = Literal["box", "discrete", "multi_discrete", "multi_binary"]

_DTYPES: dict[str, type[np.generic]] = {
    "box": np.float32,
    "discrete": np.int64,
    "multi_discrete": np.int64,
    "multi_binary": np.int8,
}
_LARGEST = 2**63 - 1  # of int64
# Numbers of entries of low, high, num_options and start that each kind needs.
_ENTRIES = {
    "box": "low and high of equal length, and no other entries,",
    "discrete": "one entry in num_options, one in start, and no bounds",
    "multi_discrete": "num_options and start of equal length, and no bounds,",
    "multi_binary": "num_options and start of equal length, and no bounds,",
}
_LARGEST_FLOAT = float(np.finfo(np.float32).max)
_MAX_OPTIONS = 100_000  # of all choices of an action, so that no one-hot vector fills the memory


@dataclass(frozen=True, kw_only=True)
class ActionSpec:
    """JSON-serializable description of an action space, which also encodes actions as vectors.

    An action is continuous (``Box``), or consists of one or more choices. Each choice has a fixed
    number of options; each bit of a ``MultiBinary`` action is a choice between 0 and 1.

    Networks observe an action as a vector of A numbers. Continuous actions and the bits of a
    ``MultiBinary`` action are used as they are. Any other choice among n options becomes a one-hot
    vector of n numbers, and the vectors of several choices are concatenated.

    Attributes:
        kind: class of the space: ``"box"``, ``"discrete"``, ``"multi_discrete"`` or
            ``"multi_binary"``.
        low: lower bound of each dimension of a continuous action, None where there is no bound;
            empty unless ``kind`` is ``"box"``.
        high: upper bound of each dimension of a continuous action, None where there is no bound;
            empty unless ``kind`` is ``"box"``.
        num_options: number of options of each choice; empty if ``kind`` is ``"box"``.
        start: smallest option of each choice, like ``start`` in Gymnasium's spaces. If the argument
            is empty, the options of each choice start at 0.

    Raises:
        ValueError: the attributes do not describe a space of the given ``kind``, or a number is out
            of range.

    Example:
        >>> import numpy as np
        >>> from gymnasium import spaces
        >>> from wmrl.core import ActionSpec
        >>> spec = ActionSpec.of(spaces.Discrete(3))
        >>> spec.dim, spec.encode(np.array([0, 2]))
        (3, array([[1., 0., 0.],
               [0., 0., 1.]], dtype=float32))
        >>> ActionSpec.of(spaces.MultiDiscrete([2, 4])).dim
        6
        >>> spec.check("action", 3)
        Traceback (most recent call last):
        ValueError: action: expected an integer from 0 to 2, got 3; see the action space Discrete(3)
    """

    kind: Kind
    low: tuple[float | None, ...] = ()
    high: tuple[float | None, ...] = ()
    num_options: tuple[int, ...] = ()
    start: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.start:
            object.__setattr__(self, "start", (0,) * len(self.num_options))
        for number in self.num_options:
            check_int("num_options", number, at_least=1, at_most=_MAX_OPTIONS)
        check_int("num_options", sum(self.num_options), at_least=0, at_most=_MAX_OPTIONS)
        for start, number in zip(self.start, self.num_options, strict=False):
            check_int("start", start, at_least=-_LARGEST, at_most=_LARGEST - number)
        for name in ("low", "high"):
            for bound in getattr(self, name):
                if bound is not None:
                    check_float(name, bound, at_least=-_LARGEST_FLOAT, at_most=_LARGEST_FLOAT)
        sizes = (len(self.low), len(self.high), len(self.num_options), len(self.start))
        dim = len(self.low) if self.kind == "box" else len(self.num_options)
        expected = (dim, dim, 0, 0) if self.kind == "box" else (0, 0, dim, dim)
        if dim < 1 or sizes != expected or (self.kind == "discrete" and dim != 1):
            raise ValueError(
                f"kind: expected {_ENTRIES[self.kind]} for the kind {self.kind!r}, got {self}"
            )
        if self.kind == "multi_binary" and ({*self.num_options}, {*self.start}) != ({2}, {0}):
            raise ValueError(
                "num_options: expected the options 0 and 1 for each bit of a MultiBinary space, "
                f"got {self}"
            )
        if self.kind == "box" and not np.all(self.bounds[0] <= self.bounds[1]):
            raise ValueError(
                f"low: expected lower bounds that are not above the upper bounds {self.high}, got "
                f"{self.low}"
            )

    @classmethod
    def of(cls, space: Any, *, name: str = "action_space") -> Self:
        """Creates the description of a Gymnasium action space.

        Args:
            space: a ``Box`` of real numbers with one axis, a ``Discrete``, or a ``MultiDiscrete``
                or ``MultiBinary`` with one axis.
            name: name of the argument, for the error message.

        Raises:
            ValueError: the space is none of these. The message names a wrapper that can convert it.
        """
        if isinstance(space, spaces.Discrete):
            return cls(kind="discrete", num_options=(int(space.n),), start=(int(space.start),))
        if isinstance(space, spaces.MultiDiscrete) and space.nvec.ndim == 1:
            options, start = space.nvec.tolist(), space.start.tolist()
            return cls(kind="multi_discrete", num_options=tuple(options), start=tuple(start))
        if isinstance(space, spaces.MultiBinary) and len(space.shape) == 1:
            return cls(kind="multi_binary", num_options=(2,) * space.shape[0])
        if isinstance(space, spaces.Box) and len(space.shape) == 1 and space.dtype.kind == "f":
            with np.errstate(over="ignore"):  # a bound beyond float32 is none
                bounds = [bound.astype(np.float32) for bound in (space.low, space.high)]
            low, high = (
                tuple(float(x) if np.isfinite(x) else None for x in bound) for bound in bounds
            )
            return cls(kind="box", low=low, high=high)
        raise ValueError(
            f"{name}: expected a Box of real numbers with one axis, a Discrete, or a MultiDiscrete "
            f"or MultiBinary with one axis, got {space}; convert it, for example with "
            "gymnasium.wrappers.TransformAction(env, function, action_space)"
        )

    @property
    def space(self) -> ActionSpace:
        """Gymnasium space that this object describes; each access creates a new space."""
        if self.kind == "box":
            low, high = self.bounds
            return spaces.Box(low, high, dtype=np.float32)
        if self.kind == "discrete":
            return spaces.Discrete(self.num_options[0], start=self.start[0])
        if self.kind == "multi_binary":
            return spaces.MultiBinary(len(self.num_options))
        return spaces.MultiDiscrete(np.array(self.num_options), start=np.array(self.start))

    @cached_property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper bounds of continuous actions, two arrays ``(A,) float32``.

        The bounds of an unbounded dimension are −∞ and +∞. For spaces other than ``Box``, both
        arrays are empty.
        """
        low = [-np.inf if x is None else x for x in self.low]
        high = [np.inf if x is None else x for x in self.high]
        return np.array(low, np.float32), np.array(high, np.float32)

    @cached_property
    def dim(self) -> int:
        """A, the number of dimensions of an encoded action."""
        if self.kind == "box":
            return len(self.low)
        return len(self.num_options) if self.kind == "multi_binary" else sum(self.num_options)

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Shape of an action: ``()`` for ``Discrete``, ``(n,)`` for n numbers, choices or bits."""
        return () if self.kind == "discrete" else (len(self.low or self.num_options),)

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of an action: float32 for ``Box``, int8 for ``MultiBinary``, int64 otherwise."""
        return np.dtype(_DTYPES[self.kind])

    @property
    def is_continuous(self) -> bool:
        """True if the action space is a ``Box``, whose actions are continuous."""
        return self.kind == "box"

    @property
    def is_bounded(self) -> bool:
        """False if a dimension of a continuous action has no lower or no upper bound.

        True for spaces without continuous actions.
        """
        return None not in (*self.low, *self.high)

    @property
    def from_zero(self) -> "ActionSpec":
        """Description of the same space, but with the options of each choice numbered from 0.

        Some libraries require this numbering.
        """
        return replace(self, start=())

    def shift(self, actions: np.ndarray) -> np.ndarray:
        """Converts actions whose options are numbered from 0 to actions of this space.

        :attr:`from_zero` describes the space of the given actions. The number of a choice's first
        option is added to each choice. Continuous and binary actions stay unchanged.
        """
        return actions + self._per_choice(self.start) if any(self.start) else actions

    def check(
        self, name: str, actions: Any, batch: tuple[int, ...] = (), *, clip: bool = False
    ) -> np.ndarray:
        """Checks actions of this space, and converts them to the dtype of the space.

        Args:
            name: name of the argument, for the error message.
            actions: ``(*batch, *shape)``, where ``shape`` is the shape of one action.
            batch: expected shape of the batch; ``()`` for a single action.
            clip: True to clip continuous actions to their bounds; False to accept continuous
                actions beyond their bounds.

        Returns:
            The actions ``(*batch, *shape)``. The array may share memory with the argument.

        Raises:
            ValueError: the shape is wrong, a continuous action is NaN or infinite, or a choice is
                not an integer that stands for one of its options.
        """
        shape = (*batch, *self.shape)
        if self.is_continuous:
            low, high = self.bounds if clip else (None, None)
            return check_actions(name, actions, shape, low=low, high=high)
        found = as_array(name, actions)
        flags = found.dtype.kind == "b" and max(self.num_options) == 2
        if found.dtype.kind not in "iu" and not flags:
            raise ValueError(
                f"{name}: expected integers, got {found.dtype} ({actions!r:.100}); see the action "
                f"space {self.space}"
            )
        if found.shape != shape:
            raise ValueError(
                f"{name}: expected shape {shape} as in the action space {self.space}, got "
                f"{found.shape}"
            )
        start = self._per_choice(self.start)
        stop = start + self._per_choice(self.num_options)
        bad = (found < start) | (found >= stop)
        if bad.any():
            place = tuple(np.argwhere(bad)[0].tolist()) if bad.ndim else ()
            low, high = (np.broadcast_to(x, found.shape)[place] for x in (start, stop - 1))
            where = f" at index {place[0] if len(place) == 1 else place}" if place else ""
            raise ValueError(
                f"{name}: expected an integer from {low} to {high}{where}, got {found[place]}; see "
                f"the action space {self.space}"
            )
        return np.asarray(found, self.dtype)

    def encode(self, actions: np.ndarray) -> np.ndarray:
        """Encodes valid actions ``(*batch, *shape)`` as vectors ``(*batch, A) float32``."""
        if self.is_continuous or self.kind == "multi_binary":
            return np.asarray(actions, np.float32)
        hot = np.asarray(actions)[..., None] - self._per_choice(self.start)[..., None]
        if self.kind == "discrete":
            return np.asarray(hot == np.arange(self.num_options[0]), np.float32)
        parts = [
            hot[..., index, :] == np.arange(number) for index, number in enumerate(self.num_options)
        ]
        return np.concatenate(parts, -1).astype(np.float32)

    def encode_tensor(self, actions: "Tensor") -> "Tensor":
        """Encodes a tensor of actions like :meth:`encode`; the result is on the tensor's device."""
        import torch
        from torch.nn.functional import one_hot

        if self.is_continuous or self.kind == "multi_binary":
            return actions.float()
        if self.kind == "discrete":
            return one_hot(actions - self.start[0], self.num_options[0]).float()
        parts = [
            one_hot(actions[..., index] - self.start[index], number)
            for index, number in enumerate(self.num_options)
        ]
        return torch.cat(parts, -1).float()

    def sample(self, generator: np.random.Generator) -> np.ndarray:
        """Draws a uniformly random action.

        Raises:
            ValueError: a dimension of a continuous action has no lower or no upper bound.
        """
        if not self.is_continuous:
            options = np.array(self.num_options) if self.shape else self.num_options[0]
            drawn = generator.integers(options) + self._per_choice(self.start)
            return np.asarray(drawn, self.dtype)
        if not self.is_bounded:
            raise ValueError(
                f"action_space: expected finite bounds for random actions, got {self.space}; set "
                "finite bounds in the task's action space"
            )
        return generator.uniform(*self.bounds).astype(np.float32)

    def neutral(self, batch: tuple[int, ...] = ()) -> np.ndarray:
        """Returns a batch of neutral actions: zeros for a ``Box``, else each choice's first option.

        Args:
            batch: shape of the batch; ``()`` for a single action.
        """
        actions = np.zeros((*batch, *self.shape), self.dtype)
        if not self.is_continuous:
            actions += self._per_choice(self.start).astype(self.dtype)
        return actions

    def _per_choice(self, numbers: tuple[int, ...]) -> np.ndarray:
        """Converts one number per choice to an array of the shape of an action."""
        return np.array(numbers if self.shape else numbers[0])


def as_action_spec(given: ActionSpec | spaces.Space[Any] | Mapping[str, Any]) -> ActionSpec:
    """Returns the description of an action space.

    Args:
        given: a description, which is returned unchanged; a Gymnasium space; or a mapping with the
            attributes of a description, as read from JSON.

    Raises:
        TypeError: the mapping has an unknown key, or a value of the wrong type.
        ValueError: the space is not supported, or the mapping does not describe an action space.
    """
    if isinstance(given, ActionSpec):
        return given
    if isinstance(given, Mapping):
        return build_config(ActionSpec, given)
    return ActionSpec.of(given)
