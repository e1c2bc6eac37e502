"""The kinds of hyperparameter: what values each may take, and where they lie on an axis from 0 to 1.

``Float``, ``Int`` and ``Choice`` are the axes, ``PerLayer`` repeats an axis, ``Fixed`` is a plain value.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from decimal import Decimal
from typing import Any

import numpy as np

from ayar.errors import SpaceError

Scalar = bool | int | float | str
"""What one hyperparameter may be set to. TOML and JSON keep all four types."""

When = Mapping[str, Any]
"""Hyperparameter declared earlier -> the value, or the list of values, under which this one is active."""

CONFIDENCES = ("weak", "medium", "strong")
"""How sure a person may be of a guess."""

_LARGEST = 2**40  # whole numbers up to here survive the round-off of the unit cube, on a log scale too


@dataclass(frozen=True)
class Float:
    """A real number in ``[low, high]``.

    Attributes:
        low: Least value.
        high: Largest value.
        log: Equal ratios are equally likely; needs ``low > 0``.
        step: Only ``low, low + step, ..., high``; None for every number between.
        default: Where a search starts; the guess, else the middle of the range (on its scale), unless given.
        when: Active only while earlier hyperparameters have these values.
        guess: Where you believe that the best value lies; the search looks there more often, as long as that pays.
        confidence: How sure you are of the guess: ``"weak"``, ``"medium"`` or ``"strong"``.
    """

    low: float
    high: float
    _: KW_ONLY
    log: bool = False
    step: float | None = None
    default: float | None = None
    when: When | None = None
    guess: float | None = None
    confidence: str = "medium"

    def __post_init__(self) -> None:
        low, high = float(_number(self.low, "low")), float(_number(self.high, "high"))
        _check_range(f"Float({self.low!r}, {self.high!r})", low, high, self.log)
        _set(self, low=low, high=high, when=_conditions(self.when))
        if self.step is not None:
            self._check_step(float(_number(self.step, "step")))
        _set(self, **_guess_of(self, self.guess, self.confidence))
        _set(self, default=_default_of(self, self.default))

    def _check_step(self, step: float) -> None:
        if self.log:
            raise SpaceError("A log scale has no equal steps: leave out step or log.")
        if step <= 0:
            raise SpaceError(f"step must be positive, got {step!r}.")
        if (self.high - self.low) / step > _LARGEST:
            raise SpaceError(f"step={step!r} cuts the range into too many values to tell apart: leave step out.")
        _set(self, step=step)
        # In decimals, because 0.3 - 0.1 is not two steps of 0.1 in binary.
        rest = (Decimal(repr(self.high)) - Decimal(repr(self.low))) % Decimal(repr(step))
        if rest:
            last = float(Decimal(repr(self.high)) - rest)
            raise SpaceError(
                f"step={step!r} does not fit the range: steps from low={self.low!r} end at {last!r}, not at "
                f"high={self.high!r}. Use high={last!r}, or another step."
            )

    @property
    def size(self) -> int | None:
        """How many values there are; None for a continuum."""
        return None if self.step is None else round((self.high - self.low) / self.step) + 1

    def at(self, index: int) -> float:
        """The value ``index`` steps above ``low``."""
        return float(Decimal(repr(self.low)) + index * Decimal(repr(self.step)))

    def canonical(self, value: Any) -> float:
        """The value as the space writes it; SpaceError for one that it cannot take."""
        number = float(_within(self, _number(value, "the value")))
        if self.step is None:
            return number
        nearest = self.at(round((number - self.low) / self.step))
        if not math.isclose(number, nearest, rel_tol=1e-12, abs_tol=1e-9 * self.step):
            raise SpaceError(f"{number!r} lies between the steps of {self.step!r}; the nearest value is {nearest!r}.")
        return nearest

    def to_unit(self, value: float) -> float:
        """Place of a value on the axis from 0 to 1."""
        if self.step is not None and self.size is not None:
            return _middle_of_cell(round((value - self.low) / self.step), self.size)
        low, high, at = map(math.log, (self.low, self.high, value)) if self.log else (self.low, self.high, value)
        return (at - low) / (high - low)

    def from_unit(self, u: float) -> float:
        """The value at a place on the axis from 0 to 1."""
        if self.size is not None:
            return self.at(_cell(u, self.size))
        if u <= 0 or u >= 1:  # the ends exactly
            return self.low if u <= 0 else self.high
        if self.log:
            low, high = math.log(self.low), math.log(self.high)
            value = math.exp(low + u * (high - low))
        else:
            value = self.low + u * (self.high - self.low)
        return min(max(value, self.low), self.high)

    def middle(self) -> float:
        """The middle of the range on its scale, in four digits where the range is wide enough for that."""
        if self.size is not None:
            return self.at((self.size - 1) // 2)
        exact = self.from_unit(0.5)
        short = float(f"{exact:.4g}")
        return short if self.low <= short <= self.high else exact


@dataclass(frozen=True)
class Int:
    """A whole number in ``low ... high``, both included.

    Attributes:
        low: Least value.
        high: Largest value.
        log: Equal ratios are equally likely; needs ``low > 0``.
        step: Only every ``step``-th number from ``low`` on.
        default: Where a search starts; the guess, else the middle of the range (on its scale), unless given.
        when: Active only while earlier hyperparameters have these values.
        guess: Where you believe that the best value lies; the search looks there more often, as long as that pays.
        confidence: How sure you are of the guess: ``"weak"``, ``"medium"`` or ``"strong"``.
    """

    low: int
    high: int
    _: KW_ONLY
    log: bool = False
    step: int = 1
    default: int | None = None
    when: When | None = None
    guess: int | None = None
    confidence: str = "medium"

    def __post_init__(self) -> None:
        low, high = _whole(self.low, "low"), _whole(self.high, "high")
        _check_range(f"Int({self.low!r}, {self.high!r})", low, high, self.log)
        if max(abs(low), abs(high)) > _LARGEST:
            raise SpaceError(f"Int({low}, {high}) goes beyond 2**40, where neighbours blur: use Float, or a log10.")
        _set(self, low=low, high=high, step=_whole(self.step, "step"), when=_conditions(self.when))
        self._check_step()
        _set(self, **_guess_of(self, self.guess, self.confidence))
        _set(self, default=_default_of(self, self.default))

    def _check_step(self) -> None:
        if self.step < 1:
            raise SpaceError(f"step must be at least 1, got {self.step}.")
        if self.log and self.step != 1:
            raise SpaceError("A log scale has no equal steps: leave out step or log, or use Choice(..., ordered=True).")
        if (self.high - self.low) % self.step:
            last = self.high - (self.high - self.low) % self.step
            raise SpaceError(
                f"step={self.step} does not fit the range: steps from low={self.low} end at {last}, not at "
                f"high={self.high}. Use high={last if last > self.low else self.low + self.step}, or another step."
            )

    @property
    def size(self) -> int:
        """How many values there are."""
        return (self.high - self.low) // self.step + 1

    def at(self, index: int) -> int:
        """The value ``index`` steps above ``low``."""
        return self.low + index * self.step

    def canonical(self, value: Any) -> int:
        """The value as the space writes it; SpaceError for one that it cannot take."""
        number = int(_within(self, _whole(value, "the value")))
        if (number - self.low) % self.step:
            raise SpaceError(f"{number} lies between the steps of {self.step} from {self.low}.")
        return number

    def to_unit(self, value: int) -> float:
        """Place of a value on the axis from 0 to 1: the middle of the stretch that belongs to it."""
        if self.log:
            start, end = self._log_ends()
            return (math.log(value) - start) / (end - start)
        return _middle_of_cell((value - self.low) // self.step, self.size)

    def from_unit(self, u: float) -> int:
        """The value at a place on the axis from 0 to 1."""
        if self.log:
            start, end = self._log_ends()
            return min(max(round(math.exp(start + u * (end - start))), self.low), self.high)
        return self.at(_cell(u, self.size))

    def middle(self) -> int:
        """The middle of the range on its scale, the lower one of two."""
        return round(math.sqrt(self.low * self.high)) if self.log else self.at((self.size - 1) // 2)

    def _log_ends(self) -> tuple[float, float]:
        # Half a unit more on each side, so that the end values get their full share of the axis.
        return math.log(self.low - 0.5), math.log(self.high + 0.5)


@dataclass(frozen=True, init=False)
class Choice:
    """One of the given values, for instance ``Choice("relu", "tanh")``.

    Attributes:
        choices: The values: strings, numbers or booleans.
        ordered: Neighbours are alike, as in ``Choice(16, 32, 64, ordered=True)``.
        default: Where a search starts. Unless given: the guess, else the middle one if ordered, else the first.
        when: Active only while earlier hyperparameters have these values.
        guess: Which one you believe to be the best; see ``Float``.
        confidence: How sure you are of it.
    """

    choices: tuple[Scalar, ...]
    ordered: bool
    default: Scalar
    when: When | None
    guess: Scalar | None
    confidence: str

    def __init__(
        self,
        *choices: Scalar,
        ordered: bool = False,
        default: Scalar | None = None,
        when: When | None = None,
        guess: Scalar | None = None,
        confidence: str = "medium",
    ) -> None:
        if not choices:
            raise SpaceError('A Choice needs at least one value, as in Choice("relu", "tanh").')
        values = tuple(_scalar(choice, "A choice") for choice in choices)
        for position, value in enumerate(values):
            if any(same(value, earlier) for earlier in values[:position]):
                raise SpaceError(f"{value!r} occurs twice in Choice{values!r}: leave one out.")
        _set(self, choices=values, ordered=bool(ordered), when=_conditions(when))
        _set(self, **_guess_of(self, guess, confidence))
        _set(self, default=_default_of(self, default))

    @property
    def size(self) -> int:
        """How many values there are."""
        return len(self.choices)

    def at(self, index: int) -> Scalar:
        """Value number ``index``."""
        return self.choices[index]

    def canonical(self, value: Any) -> Scalar:
        """The value as the space writes it; SpaceError for one that it cannot take."""
        return self.choices[self._index(value)]

    def to_unit(self, value: Scalar) -> float:
        """Place of a value on the axis from 0 to 1."""
        return _middle_of_cell(self._index(value), self.size)

    def from_unit(self, u: float) -> Scalar:
        """The value at a place on the axis from 0 to 1."""
        return self.choices[_cell(u, self.size)]

    def middle(self) -> Scalar:
        """The middle choice if they are ordered, else the first."""
        return self.choices[(self.size - 1) // 2 if self.ordered else 0]

    def _index(self, value: Any) -> int:
        value = _scalar(value, "The value")
        for index, choice in enumerate(self.choices):
            if same(choice, value):
                return index
        raise SpaceError(f"{value!r} is none of {', '.join(map(repr, self.choices))}.")


@dataclass(frozen=True)
class PerLayer:
    """One value of ``element`` for each layer: in a configuration, a list of that length.

    Attributes:
        element: What each layer's value is: a Float, Int or Choice. Its default is every layer's default.
        layers: Name of the Int hyperparameter, declared earlier, that counts the layers.
        when: Active only while earlier hyperparameters have these values.
    """

    element: Float | Int | Choice
    _: KW_ONLY
    layers: str
    when: When | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.element, Float | Int | Choice):
            raise SpaceError(f"PerLayer repeats a Float, Int or Choice, not {self.element!r}.")
        if self.element.when:
            raise SpaceError("A condition belongs to PerLayer(..., when=...), not to its element.")
        _set(self, when=_conditions(self.when))

    @property
    def default(self) -> Any:
        """The value of each layer where a search starts."""
        return self.element.default


@dataclass(frozen=True)
class Fixed:
    """A plain value in a space; it takes no room in the cube."""

    value: Any
    when: When | None = None

    def __post_init__(self) -> None:
        value = plain(self.value)
        for item in value if isinstance(value, list) else [value]:
            _scalar(item, "A fixed value")
        _set(self, value=value)

    @property
    def default(self) -> Any:
        """The value."""
        return list(self.value) if isinstance(self.value, list) else self.value

    def canonical(self, value: Any) -> Any:
        """The value; SpaceError for any other."""
        if not same(plain(value), self.value):
            raise SpaceError(f"{value!r} given, but it is fixed at {self.value!r}; declare a range to search over it.")
        return self.default


Axis = Float | Int | Choice
Hyperparameter = Float | Int | Choice | PerLayer
Entry = Float | Int | Choice | PerLayer | Fixed


def obstacle(name: str, entries: Mapping[str, Entry], config: Mapping[str, Any]) -> str | None:
    """Why a hyperparameter is inactive, given the values of those declared earlier; None if it is active."""
    entry = entries[name]
    for parent, values in (entry.when or {}).items():
        if parent not in config:
            return f"together with {parent}, which is inactive here."
        if not any(same(config[parent], value) for value in values):
            return f"when {parent} is {any_of(values)}, and here it is {config[parent]!r}: leave {name} out."
    if isinstance(entry, PerLayer) and entry.layers not in config:
        return f"together with {entry.layers}, which is inactive here."
    return None


def canonical(entry: Axis | Fixed, value: Any, *, outside: bool = False) -> Any:
    """The value as the entry writes it; ``outside`` lets numbers beyond the ends of a range pass."""
    if outside and isinstance(entry, Float | Int):
        number = float(_number(value, "the value")) if isinstance(entry, Float) else _whole(value, "the value")
        if not entry.low <= number <= entry.high:
            return number
    return entry.canonical(value)


def any_of(values: Sequence[Scalar]) -> str:
    """Values in words: ``'sgd' or 'adam'``."""
    return " or ".join(map(repr, values))


def plain(value: Any) -> Any:
    """A NumPy number as Python's, a tuple or array as a list; anything else as it is."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value


def same(a: Any, b: Any) -> bool:
    """Whether two values are equal; unlike ``==``, it tells 1 from True."""
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b) and isinstance(a, bool) == isinstance(b, bool)


def _set(record: Any, **fields: Any) -> None:
    """Normalise fields of a frozen record while it is being built."""
    for name, value in fields.items():
        object.__setattr__(record, name, value)


def _scalar(value: Any, role: str) -> Scalar:
    value = plain(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise SpaceError(f"{role} must be finite, got {value!r}.")
    if isinstance(value, Scalar):
        return value
    hint = {
        type(None): 'say "none", which TOML and JSON can write too',
        list: "name each list by a string, or use PerLayer for one value per layer",
    }.get(type(value), "name it by a string")
    raise SpaceError(f"{role} must be a number, a string or a boolean, got {value!r}: {hint}.")


def _number(value: Any, role: str) -> int | float:
    value = plain(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SpaceError(f"{role} must be a number, got {value!r}.")
    if not abs(value) < math.inf:
        raise SpaceError(f"{role} must be finite, got {value!r}.")
    if abs(value) > 1e300:
        raise SpaceError(f"{role} is too large to compute with, got {value!r}.")
    return value


def _whole(value: Any, role: str) -> int:
    number = _number(value, role)
    if number != int(number):
        raise SpaceError(f"{role} must be a whole number, got {number!r}.")
    return int(number)


def _within(entry: Float | Int, number: float) -> float:
    if not entry.low <= number <= entry.high:
        raise SpaceError(f"{number!r} lies outside [{entry.low!r}, {entry.high!r}].")
    return number


def _check_range(kind: str, low: float, high: float, log: bool) -> None:
    if low == high:
        raise SpaceError(f"{kind}: low equals high={high!r}, so there is nothing to search: use the plain value.")
    if low > high:
        raise SpaceError(f"{kind}: low={low!r} lies above high={high!r}: swap them.")
    if log and low <= 0:
        raise SpaceError(
            f"{kind} on a log scale needs low > 0, got low={low!r}. Raise the bound (say to "
            f"{min(high, 1) / 1000 if kind.startswith('Float') and high > 0 else 1!r}) or leave out log."
        )


def _conditions(when: When | None) -> dict[str, list[Scalar]] | None:
    if not when:
        return None
    if not isinstance(when, Mapping):
        raise SpaceError(f'when= is a dict such as {{"optimizer": "sgd"}}, got {when!r}.')
    conditions = {}
    for parent, wanted in when.items():
        values = sorted(wanted, key=repr) if isinstance(wanted, set | frozenset) else plain(wanted)
        values = values if isinstance(values, list) else [values]
        if not values:
            raise SpaceError(f"when={when!r} lists no value of {parent}, so it could never be active.")
        conditions[parent] = [_scalar(value, f"The value of {parent} in when=") for value in values]
    return conditions


def _guess_of(entry: Axis, guess: Any, confidence: str) -> dict[str, Any]:
    if confidence not in CONFIDENCES:
        raise SpaceError(f"confidence is one of {', '.join(CONFIDENCES)}, got {confidence!r}.")
    if guess is None:
        if confidence != "medium":
            raise SpaceError(f"confidence={confidence!r} says how sure a guess is: give guess= with it.")
        return {"guess": None, "confidence": confidence}
    try:
        return {"guess": entry.canonical(guess), "confidence": confidence}
    except SpaceError as error:
        raise SpaceError(f"The guess {guess!r} does not fit: {error}") from None


def _default_of(entry: Axis, given: Any) -> Any:
    if given is None:
        return entry.middle() if entry.guess is None else entry.guess
    try:
        return entry.canonical(given)
    except SpaceError as error:
        raise SpaceError(f"The default {given!r} does not fit: {error}") from None


def _cell(u: float, size: int) -> int:
    """Which of ``size`` equal parts of the axis from 0 to 1 ``u`` lies in."""
    return min(max(int(u * size), 0), size - 1)


def _middle_of_cell(index: int, size: int) -> float:
    return (index + 0.5) / size
