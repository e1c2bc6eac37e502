"""From a verdict to a next move that can be put to the test: one hyperparameter, one value, one reason.

Advice never changes a space: a wanted value that lies outside is reported as ``widen``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ayar.curves.reading import MIN_POINTS, UPDATE_RATIO
from ayar.curves.verdict import TOO_HIGH, TOO_LOW
from ayar.records import Advice, Confidence, Configuration, Curve, Verdict
from ayar.space import Choice, Float, Int, Space

ROLES: dict[str, tuple[str, ...]] = {
    "learning_rate": ("learning_rate", "lr", "alpha", "eta", "learning_rate_init", "initial_learning_rate"),
    "iterations": ("iterations", "epochs", "n_epochs", "num_epochs", "max_epochs", "max_iter"),
    "weight_decay": ("weight_decay", "wd", "l2", "lambd"),
    "dropout": ("dropout", "dropout_rate"),
    "batch_size": ("batch_size", "mini_batch_size", "bs"),
    "hidden_units": ("hidden_units", "n_hidden", "units", "width"),
    "momentum": ("momentum", "beta1", "beta_1"),
    "schedule": (
        "schedule",
        "lr_schedule",
        "learning_rate_schedule",
        "lr_scheduler",
        "lr_scheduler_type",
        "scheduler",
    ),
}
"""What advice speaks of, and the names by which a hyperparameter is known to be that."""

DECAYING = ("cosine", "linear", "step")
"""Schedules that bring the learning rate down by the end, the first choice first."""

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


@dataclass(frozen=True, slots=True)
class _Wish:
    """A role, its new value as a function of the old one, and the reason.

    ``change`` gives None where there is nothing to wish for.
    """

    role: str
    change: Callable[[Any], Any]
    because: str


def _shorter(ratio: float, because: str) -> _Wish:
    return _Wish("learning_rate", lambda x: x / ratio, because.format(ratio=f"{ratio:g}"))


def _longer(ratio: float, because: str) -> _Wish:
    return _Wish("learning_rate", lambda x: x * ratio, because.format(ratio=f"{ratio:g}"))


_MORE_STEPS = _Wish("iterations", lambda x: x * 2, "It was still improving: train twice as long.")
_TWICE = _Wish("iterations", lambda x: x * 2, "Twice the steps may get it further.")
_MORE_OF_THEM = _Wish("iterations", lambda x: x * 2, "Its steps are no short ones: take twice as many.")
_LARGER_BATCH = _Wish("batch_size", lambda x: x * 4, "Average the gradient over four times as many examples.")
_GENTLER = _shorter(3, "Shorter steps may settle lower: make them {ratio} times shorter.")
_MORE_UNITS = _Wish("hidden_units", lambda x: x * 2, "The net may be too small: give it twice the units.")
_LESS_MOMENTUM = _Wish("momentum", lambda x: 1 - 3 * (1 - x) if x > 0.9 else None, "Less momentum swings less.")
_DROP_MORE = _Wish("dropout", lambda x: min(x + 0.2, 0.9), "Drop more units, so that none can rely on another.")
_DECAY = _Wish(
    "schedule", lambda x: None if x in DECAYING else DECAYING, "Let the learning rate fall to nothing by the end."
)

UNUSUAL: tuple[tuple[Callable[[float], bool], _Wish], ...] = (
    (
        lambda x: x >= 0.5,
        _Wish("dropout", lambda x: x / 3, "Half the units or more are dropped: drop a third of that."),
    ),
    (
        lambda x: x < 8,
        _Wish(
            "hidden_units",
            lambda x: x * 2,
            "Few units hold little, and one that is silent is a large share of them: give the net twice as many first.",
        ),
    ),
    (lambda x: x < 8, _Wish("batch_size", lambda x: x * 4, "A few examples give a wild gradient: average over more.")),
    (lambda x: x >= 0.1, _Wish("weight_decay", lambda x: x / 10, "The weights are pulled hard to zero: pull less.")),
)
"""Values that are seldom right, whatever the curve says, and the way back."""

SECOND: tuple[tuple[Callable[[float], bool], _Wish], ...] = (
    (lambda x: x > 0.95, _Wish("momentum", lambda x: 1 - 3 * (1 - x), "So much momentum forgets slowly: less of it.")),
)
"""The same where what the headline wants most helps more often."""

WISHES: dict[str, Callable[[float], tuple[_Wish, ...]]] = {
    "diverging": lambda ratio: (
        _shorter(ratio, "Steps overshoot: take steps {ratio} times shorter."),
        _LARGER_BATCH,
        _DECAY,
        _LESS_MOMENTUM,
    ),
    "too high": lambda ratio: (
        _shorter(ratio, "Steps overshoot: take steps {ratio} times shorter."),
        _DECAY,
        _LARGER_BATCH,
        _LESS_MOMENTUM,
    ),
    "fast but ends higher": lambda ratio: (
        _shorter(ratio, "Steps are too long to settle: make them {ratio} times shorter."),
        _LARGER_BATCH,
        _DECAY,
    ),
    "too slow": lambda ratio: (
        _longer(ratio, "Steps are too short: take steps {ratio} times longer."),
        _MORE_STEPS,
        _LARGER_BATCH,
        _MORE_UNITS,
        _DECAY,
    ),
    "needs more iterations": lambda _: (
        _MORE_STEPS,
        _LARGER_BATCH,
        _shorter(10, "Shorter steps may settle lower: make them {ratio} times shorter."),
        _DECAY,
        _MORE_UNITS,
    ),
    "overfitting": lambda _: (
        _shorter(10, "Short steps stop before the examples are learnt by heart: make them {ratio} times shorter."),
        _DROP_MORE,
        _DECAY,
        _Wish("iterations", lambda x: x / 2, "Stop before it learns its examples by heart."),
        _Wish("weight_decay", lambda x: 10 * x or 1e-3, "Pull the weights harder towards zero."),
    ),
    "underfitting": lambda _: (
        _DECAY,
        _TWICE,
        _longer(10, "Longer steps may get out of where it is: try {ratio} times longer ones."),
        _MORE_UNITS,
        _Wish("weight_decay", lambda x: x / 10, "Pull the weights less towards zero."),
        _Wish("dropout", lambda x: x / 3, "Drop fewer units."),
    ),
    "dead units": lambda _: (
        _shorter(3, "Long steps silence units: make them {ratio} times shorter."),
        _TWICE,
    ),
    "vanishing gradients": lambda _: (
        _TWICE,
        _longer(3, "Little gradient arrives: make up for it with {ratio} times longer steps."),
        _DECAY,
    ),
    "exploding gradients": lambda _: (
        _shorter(3, "Clip the gradient, or take steps {ratio} times shorter."),
        _LARGER_BATCH,
    ),
    "noisy late": lambda _: (
        _LARGER_BATCH,
        _DECAY,
        _shorter(3, "Shorter steps tremble less: make them {ratio} times shorter, or let them decay."),
    ),
    "no clear fault": lambda _: (_TWICE, _DECAY, _LARGER_BATCH, _GENTLER),
    "falling well": lambda _: (
        _DECAY,
        _longer(3, "Longer steps may get further: try {ratio} times longer ones."),
        _TWICE,
    ),
    "saturated early": lambda _: (
        _Wish("iterations", lambda x: x / 2, "It had settled by then: spend the time on more trials."),
    ),
}
"""What each verdict wants changed, given the learning rate's factor.

The order is that in which moves helped runs that the ones before had not helped, counted on the labelled set; but what
costs nothing comes before what takes twice as long.
"""

WITH: dict[tuple[str, str], Callable[[float], tuple[_Wish, ...]]] = {
    ("too slow", UPDATE_RATIO): lambda ratio: (
        _MORE_OF_THEM,
        _LARGER_BATCH,
        _longer(ratio, "Steps {ratio} times longer may get there as well."),
        _MORE_UNITS,
        _DECAY,
    ),
    ("no clear fault", "noise"): lambda _: (_LARGER_BATCH, _TWICE, _DECAY, _GENTLER),
}
"""The same for a verdict with this signal among its evidence."""


def advise(verdicts: Sequence[Verdict], config: Configuration, space: Space) -> list[Advice]:
    """The moves that follow from verdicts, one at most for each hyperparameter: the best bet first.

    A value that is seldom right comes first, then what the verdicts want, in their order. There is no move for a
    hyperparameter that ``config`` lacks, and none at all for a broken pipeline: that has to be mended first. The
    order is that of the moves' success on runs whose right answers are known: ``benchmarks/doctor``.

    >>> slow = Verdict("too slow", Confidence.MEDIUM, "It falls slowly.")
    >>> advise([slow], {"lr": 0.01}, Space(lr=Float(1e-4, 1.0, log=True)))[0].changes
    {'lr': 0.03}
    """
    if any(verdict.name == "broken pipeline" for verdict in verdicts):
        return []
    moves: dict[str, Advice] = {}
    for verdict, wish, wanted in _wanted(verdicts):
        name = _named(wish.role, config)
        if name is None or name in moves or name not in space or not _is_of(wish.role, config[name]):
            continue
        if wanted(config[name]) and (value := wish.change(config[name])) is not None:
            moves[name] = _move(verdict.name, wish.because, name, value, config, space)
    return [move for move in moves.values() if move.changes or move.widen]


def is_unread(verdicts: Sequence[Verdict], curve: Curve) -> bool:
    """Whether a curve has too few points for advice: any wish would be a guess, and the next move is more of it."""
    return len(curve) < MIN_POINTS and [verdict.name for verdict in verdicts] == ["no clear fault"]


def _wanted(verdicts: Sequence[Verdict]) -> Iterator[tuple[Verdict, _Wish, Callable[[Any], bool]]]:
    """Every wish with its verdict and the values it is about, the first choice first."""
    yield from ((verdict, wish, is_unusual) for verdict in verdicts[:1] for is_unusual, wish in UNUSUAL)
    for place, verdict in enumerate(verdicts):
        far = Confidence.MEDIUM if verdict.name in TOO_HIGH else Confidence.STRONG
        ratio = 10.0 if verdict.confidence in (far, Confidence.STRONG) else 3.0
        wishes = () if _needs_nothing(verdict) else _wishes(verdict)(ratio)
        yield from ((verdict, wish, lambda _: True) for wish in wishes[:1])
        if place == 0:
            yield from ((verdict, wish, is_unusual) for is_unusual, wish in SECOND)
        yield from ((verdict, wish, lambda _: True) for wish in wishes[1:])


def _wishes(verdict: Verdict) -> Callable[[float], tuple[_Wish, ...]]:
    """What a verdict wants, given what else its evidence says."""
    with_signal = (WITH.get((verdict.name, each.signal)) for each in verdict.evidence)
    return next(filter(None, with_signal), WISHES.get(verdict.name, lambda _: ()))


def _needs_nothing(verdict: Verdict) -> bool:
    """Whether it fell well beside other runs; of one alone, told with medium confidence at most, nobody knows."""
    is_beside = verdict.confidence is Confidence.STRONG or any(each.signal == "deficit" for each in verdict.evidence)
    return verdict.name == "falling well" and is_beside


def _named(role: str, config: Configuration) -> str | None:
    """The name in ``config`` of the hyperparameter with this role."""
    return next((name for name in ROLES[role] if name in config), None)


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


def _move(verdict: str, because: str, name: str, wanted: Any, config: Configuration, space: Space) -> Advice:
    """The advice to set ``name`` to ``wanted``, or the first of several names, as far as the space goes."""
    entry, before = space[name], config[name]
    if isinstance(wanted, tuple):
        choices = entry.choices if isinstance(entry, Choice) else (entry,)
        value = next((choice for choice in wanted if choice in choices), None)
        widen, factor = ({name: wanted[0]} if value is None else {}), None
    else:
        value = _fit(wanted, entry)
        widen = {name: _rounded(wanted)} if _is_outside(wanted, entry) else {}
        factor = _rounded(wanted / before) if before > 0 else None
    changes = {name: value} if value is not None and value != before else {}
    if space.candidates is not None and not space.contains(config | changes):
        changes = {}
    return Advice(verdict, because, changes, widen, factor)


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


def _is_of(role: str, value: Any) -> bool:
    """Whether a value is what a hyperparameter with this role has."""
    if role == "schedule":
        return isinstance(value, str)
    return isinstance(value, int | float) and not isinstance(value, bool)
