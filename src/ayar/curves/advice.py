"""From a verdict to a next move that can be put to the test: one hyperparameter, one value, one reason.

Advice never changes a space: a wanted value that lies outside is reported as ``widen``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ayar.curves.verdict import TOO_HIGH, TOO_LOW
from ayar.records import Advice, Confidence, Configuration, Verdict
from ayar.space import Choice, Float, Int, Space

ROLES: dict[str, tuple[str, ...]] = {
    "learning_rate": ("learning_rate", "lr", "alpha", "eta", "learning_rate_init", "initial_learning_rate"),
    "iterations": ("iterations", "epochs", "n_epochs", "num_epochs", "max_epochs", "max_iter"),
    "weight_decay": ("weight_decay", "wd", "l2", "lambd"),
    "dropout": ("dropout", "dropout_rate"),
    "batch_size": ("batch_size", "mini_batch_size", "bs"),
    "hidden_units": ("hidden_units", "n_hidden", "units", "width"),
}
"""What advice speaks of, and the names by which a hyperparameter is known to be that."""

CLOSE = math.log(1.5) / math.log(3)
"""Attempts nearer to each other than this share of a step (a factor of 1.5) need none between them."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One value of a hyperparameter that was tried by hand.

    Attributes:
        value: The value.
        verdict: Name of the headline verdict on its curve.
        loss: Its best loss; infinite or NaN where training failed.
    """

    value: float
    verdict: str
    loss: float


def advise(verdicts: Sequence[Verdict], config: Configuration, space: Space) -> list[Advice]:
    """The moves that follow from verdicts, in their order, one at most for each hyperparameter.

    There is none for a hyperparameter that ``config`` lacks, and none at all for a broken pipeline: that has to be
    mended first.

    >>> slow = Verdict("too slow", Confidence.MEDIUM, "It falls slowly.")
    >>> advise([slow], {"lr": 0.01}, Space(lr=Float(1e-4, 1.0, log=True)))[0].changes
    {'lr': 0.03}
    """
    moves: dict[str, Advice] = {}
    if any(verdict.name == "broken pipeline" for verdict in verdicts):
        return []
    for verdict in verdicts:
        for role, change, because in _wishes(verdict):
            name = next((name for name in ROLES[role] if name in config and name in space), None)
            if name is not None and name not in moves and _is_number(config[name]):
                moves[name] = _move(verdict.name, because, name, change(config[name]), config, space)
    return [move for move in moves.values() if move.changes or move.widen]


def _wishes(verdict: Verdict) -> list[tuple[str, Callable[[float], float], str]]:
    """What a verdict wants changed: the role, the new value as a function of the old one, and the reason."""
    ratio = 10 if verdict.confidence is Confidence.STRONG else 3
    match verdict.name:
        case "diverging" | "too high":
            return [("learning_rate", lambda x: x / ratio, f"Steps overshoot: take steps {ratio} times shorter.")]
        case "fast but ends higher":
            return [
                (
                    "learning_rate",
                    lambda x: x / ratio,
                    f"Steps are too long to settle: make them {ratio} times shorter.",
                )
            ]
        case "too slow":
            return [("learning_rate", lambda x: x * ratio, f"Steps are too short: take steps {ratio} times longer.")]
        case "needs more iterations":
            return [("iterations", lambda x: x * 2, "It was still improving: train twice as long.")]
        case "overfitting":
            return [
                ("weight_decay", lambda x: 3 * x or 1e-4, "Pull the weights harder towards zero."),
                ("dropout", lambda x: min(x + 0.1, 0.9), "Drop more units, so that none can rely on another."),
            ]
        case "underfitting":
            return [
                ("hidden_units", lambda x: x * 2, "The net may be too small: give it twice the units."),
                ("weight_decay", lambda x: x / 3, "Pull the weights less towards zero."),
                ("dropout", lambda x: max(x - 0.1, 0.0), "Drop fewer units."),
            ]
        case "dead units":
            return [("learning_rate", lambda x: x / 3, "Long steps silence units: make them 3 times shorter.")]
        case "exploding gradients":
            return [("learning_rate", lambda x: x / 3, "Clip the gradient, or take steps 3 times shorter.")]
        case "noisy late":
            return [("batch_size", lambda x: x * 2, "Larger mini-batches, or a learning rate that decays, calm it.")]
        case "saturated early":
            return [("iterations", lambda x: x / 2, "It had settled by then: spend the time on more trials.")]
    return []


def try_next(name: str, attempts: Sequence[Attempt], space: Space) -> Advice:
    """The value of one numeric hyperparameter to try after these attempts.

    The best value of a learning rate lies above the largest that was too slow and below the smallest that was too
    high. While no attempt lies between them, that bracket is halved; afterwards, and for any other hyperparameter,
    the wider gap beside the best attempt is. A bracket without an end is left by a factor of 3. Positive values
    are halved on a log scale.

    Raises:
        SpaceError: The space has no such hyperparameter.

    >>> tried = [Attempt(0.01, "too slow", 0.9), Attempt(10.0, "diverging", float("inf"))]
    >>> try_next("lr", tried, Space(lr=Float(1e-4, 10.0, log=True))).changes
    {'lr': 0.316}
    """
    entry = space[name]
    tried = sorted((a for a in attempts if math.isfinite(a.value)), key=lambda a: a.value)
    if not tried:
        start = entry.default if isinstance(entry, Float | Int | Choice) else entry
        return Advice("no clear fault", "Nothing was tried yet: begin in the middle.", {name: start})
    axis = _Axis.through([a.value for a in tried], entry)
    gaps, verdict, because = _gaps(name, tried)
    widen: Configuration = {}
    for below, above in sorted(gaps, key=axis.width, reverse=True):
        wanted = axis.inside(below, above)
        value = _fit(wanted, entry)
        if _is_outside(wanted, entry):
            widen = widen or {name: _rounded(wanted)}
        if value is not None and axis.width((below, above)) >= CLOSE and all(value != a.value for a in tried):
            return Advice(verdict, because, {name: value}, widen)
    return Advice(verdict, f"{because} There is nothing left to try between its neighbours.", {}, widen)


def _gaps(name: str, tried: Sequence[Attempt]) -> tuple[list[tuple[float, float]], str, str]:
    """Where the next value may lie, as intervals with open ends at infinity; the verdict and reason for it."""
    is_rate = name in ROLES["learning_rate"]
    low = max((a.value for a in tried if is_rate and a.verdict in TOO_LOW), default=-math.inf)
    high = min((a.value for a in tried if is_rate and a.verdict in TOO_HIGH and a.value > low), default=math.inf)
    sound = [a for a in tried if low < a.value < high]
    if sound:
        best = min(sound, key=lambda a: math.inf if math.isnan(a.loss) else a.loss)
        below = max((a.value for a in tried if a.value < best.value), default=-math.inf)
        above = min((a.value for a in tried if a.value > best.value), default=math.inf)
        # Upwards first: of two equally wide gaps the one that may also be faster.
        return [(best.value, above), (below, best.value)], best.verdict, f"{best.value:g} is the best so far."
    if math.isinf(high):
        return [(low, high)], "too slow", f"{low:g} is too slow."
    if math.isinf(low):
        return [(low, high)], "too high", f"{high:g} is too high."
    return [(low, high)], "too slow", f"{low:g} is too slow and {high:g} is too high."


@dataclass(frozen=True, slots=True)
class _Axis:
    """The scale on which attempts are compared: logarithmic for positive values, else linear.

    Attributes:
        step: How far an open end is left: a factor of 3, or a quarter of the range.
    """

    log: bool
    step: float

    @staticmethod
    def through(values: Sequence[float], entry: Any) -> _Axis:
        if min(values) > 0:
            return _Axis(True, math.log(3))
        return _Axis(False, (entry.high - entry.low) / 4 if isinstance(entry, Float | Int) else 1.0)

    def inside(self, below: float, above: float) -> float:
        """The middle of an interval, or the point one step inside its only end."""
        a, b = self._place(below), self._place(above)
        place = a + self.step if math.isinf(b) else b - self.step if math.isinf(a) else (a + b) / 2
        return math.exp(place) if self.log else place

    def width(self, gap: tuple[float, float]) -> float:
        """The length of an interval in steps."""
        return (self._place(gap[1]) - self._place(gap[0])) / self.step

    def _place(self, value: float) -> float:
        return math.log(value) if self.log and 0 < value < math.inf else value


def _move(verdict: str, because: str, name: str, wanted: float, config: Configuration, space: Space) -> Advice:
    """The advice to set ``name`` to ``wanted``, as far as the space goes."""
    value = _fit(wanted, space[name])
    changes = {name: value} if value is not None and value != config[name] else {}
    if space.candidates is not None and not space.contains(config | changes):
        changes = {}
    widen = {name: _rounded(wanted)} if _is_outside(wanted, space[name]) else {}
    return Advice(verdict, because, changes, widen)


def _fit(wanted: float, entry: Any) -> Any:
    """The value of the hyperparameter nearest to ``wanted``; None where it has no numbers to choose from."""
    if isinstance(entry, Choice):
        return min(_numbers(entry), key=lambda choice: abs(choice - wanted), default=None)
    if not isinstance(entry, Float | Int):
        return None
    inside = min(max(_rounded(wanted), entry.low), entry.high)
    if isinstance(entry, Int):
        return entry.from_unit(entry.to_unit(round(inside)))
    return inside if entry.step is None else entry.from_unit(entry.to_unit(inside))


def _is_outside(wanted: float, entry: Any) -> bool:
    """Whether the space would have to be widened to hold ``wanted``; a fixed value always would."""
    if isinstance(entry, Choice):
        return not min(_numbers(entry), default=-math.inf) <= wanted <= max(_numbers(entry), default=math.inf)
    return not isinstance(entry, Float | Int) or not entry.low <= _rounded(wanted) <= entry.high


def _numbers(entry: Choice) -> list[float]:
    return [choice for choice in entry.choices if not isinstance(choice, bool | str)]


def _rounded(value: float) -> float:
    """Three digits: advice is no more precise than that."""
    return float(f"{value:.3g}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
