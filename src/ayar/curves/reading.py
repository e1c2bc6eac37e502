"""What a rule may look at: one curve's metrics with their signals, and what is known of the run around it."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ayar.curves.signals import Signals, signals
from ayar.curves.thresholds import FITTED, Thresholds
from ayar.records import Confidence, Curve, Evidence, Verdict, all_bounded

READABLE = ("train_probe", "train_loss", "loss")
"""Metrics that a curve is read from, the best first."""

UPDATE_RATIO = "update_ratio"
"""Metric: norm of one update over norm of the parameters, the median of a step's mini-batches."""

DEAD_UNITS = "dead_units"
"""Metric: share of the hidden units that give one and the same output for every row of a probe batch."""

MIN_POINTS = 8
"""With fewer points only divergence is judged."""

_FARTHEST = 1e9  # no stride is told to be longer, or shorter, than so many times another

_LEVELS = tuple(Confidence)

_NOTHING = np.array([], dtype=int), np.array([])


@dataclass(frozen=True, slots=True)
class Line:
    """One metric of one curve; ``steps`` and ``values`` have shape ``(n,)``."""

    steps: np.ndarray
    values: np.ndarray
    signals: Signals

    @staticmethod
    def of(steps: np.ndarray, values: np.ndarray) -> Line:
        """The line through these points."""
        return Line(steps, values, signals(steps, values))

    @property
    def is_readable(self) -> bool:
        """Whether it has enough points, all of them finite."""
        return self.signals.points >= MIN_POINTS and self.signals.nonfinite_step is None

    def first_at(self, level: float) -> float:
        """The first step with a loss of ``level`` or less; infinite without one."""
        reached = np.flatnonzero(self.values <= level)
        return float(self.steps[reached[0]]) if len(reached) else math.inf


@dataclass(frozen=True, slots=True)
class Reading:
    """All that a rule may look at.

    Attributes:
        curve: The whole curve.
        columns: Steps and values of every metric that was measured, and of its loss.
        line: The metric it is read from.
        metric: Which of ``READABLE`` that is.
        ceiling: The most confidence that this metric and this number of points allow.
        paused: The curve stops before the horizon.
        annealed: The learning rate had come down to a tenth or less when the curve ended.
        n_classes: Classes told apart by a cross-entropy loss; None where that is unknown, or not so.
        valid: The validation loss; None where it was not measured, or not well.
        rival: The same metric of the sibling whose loss is least at this curve's last step; None without one.
        onward: What the best run that went on gained after this curve's last step, as a share of its fall.
        behind: How much further the loss itself of that sibling had fallen by then, as a share of its fall.
        stride: Update over weights, the median until then, over that sibling's; NaN where either is unknown.
        others: How many siblings went as far as this curve.
        start: The loss of the untrained net by the same metric, the median of the siblings'; NaN without any.
        thresholds: What the rules compare signals with.
    """

    curve: Curve
    columns: Mapping[str, tuple[np.ndarray, np.ndarray]]
    line: Line
    metric: str
    ceiling: Confidence
    paused: bool
    annealed: bool
    n_classes: int | None
    valid: Line | None
    rival: Line | None
    behind: float = 0.0
    onward: float = 0.0
    stride: float = math.nan
    others: int = 0
    start: float = math.nan
    thresholds: Thresholds = FITTED

    @property
    def signals(self) -> Signals:
        """The signals of the metric the curve is read from."""
        return self.line.signals

    @property
    def fell_silent(self) -> bool:
        """Whether many units are silent at the end, but were not before training."""
        last = next(filter(math.isfinite, self.column(DEAD_UNITS)[1][::-1]), 0.0)
        return bool(last > self.thresholds.dead) and not self.born_silent

    @property
    def born_silent(self) -> bool:
        """Whether units were silent before the first step."""
        steps, shares = self.column(DEAD_UNITS)
        return len(shares) > 0 and steps[0] == 0 and bool(shares[0] > self.thresholds.born_dead)

    def column(self, metric: str) -> tuple[np.ndarray, np.ndarray]:
        """Steps and values of any metric, each of shape ``(n,)``; empty where it was not measured."""
        return self.columns.get(metric, _NOTHING)

    def measured(self, metric: str) -> np.ndarray:
        """The finite values of any metric, in the order of their steps, shape ``(n,)``; empty without any."""
        values = self.column(metric)[1]
        finite: np.ndarray = values[np.isfinite(values)]
        return finite

    def verdict(
        self,
        name: str,
        sentence: str,
        *evidence: Evidence,
        agreeing: int = 1,
        steps: tuple[int, int] | None = None,
        at_most: Confidence = Confidence.STRONG,
    ) -> Verdict:
        """A verdict whose confidence follows from its clearest evidence and from how many signals agree."""
        margin = max(_margin(e) for e in evidence)
        level = int(margin >= 1.5) + int(margin >= 3) + int(agreeing >= 2)
        confidence = _LEVELS[min(level, _LEVELS.index(self.ceiling), _LEVELS.index(at_most))]
        return Verdict(name, confidence, sentence, evidence, steps or self.signals.steps)


def read(
    curve: Curve,
    siblings: Sequence[Curve] = (),
    horizon: int | None = None,
    late: float | None = None,
    n_classes: int | None = None,
    thresholds: Thresholds = FITTED,
) -> Reading:
    """Everything about a curve that rules are about to ask; arguments as for ``diagnose``."""
    columns = _columns(curve)
    metric = next(name for name in READABLE if name in columns)
    line = Line.of(*columns[metric])
    points, last = line.signals.points, line.signals.steps[1]
    validation = "valid_loss" if "valid_loss" in columns else "loss"
    valid = line if validation == metric else Line.of(*columns[validation])
    siblings = [sibling for sibling in siblings if sibling is not curve]  # none is its own rival
    as_long = [sibling for sibling in siblings if sibling.last_step >= last]
    best = min(as_long, key=lambda sibling: _end(sibling, "loss", last), default=Curve())
    steps, values = best.metric(metric)
    rival = Line.of(steps[steps <= last], values[steps <= last])
    return Reading(
        curve=curve,
        columns=columns,
        line=line,
        metric=metric,
        # Too few points blur every signal; only the train probe was found to be free of wrong directions.
        ceiling=_LEVELS[int(points >= 16) + int(points >= 30)] if metric == "train_probe" else Confidence.WEAK,
        paused=horizon is not None and curve.last_step < horizon,
        annealed=late is not None and late <= 0.1,
        n_classes=n_classes,
        valid=valid if valid.is_readable else None,
        rival=rival if rival.is_readable else None,
        behind=_behind(curve, best, last),
        onward=_onward(best, last),
        stride=_stride(columns, best, last),
        others=len(as_long),
        start=_start(siblings, metric),
        thresholds=thresholds,
    )


def _columns(curve: Curve) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Every metric of a curve in one go, as ``Curve.metric`` gives it: rules look at half a dozen, several times."""
    steps = np.array([m.step for m in curve], dtype=int)
    columns = {"loss": (steps, all_bounded(np.array([m.loss for m in curve], dtype=float)))}
    for name in set().union(*(m.metrics for m in curve)) - {"loss"}:
        values = [m.metrics.get(name) for m in curve]
        known = np.array([value is not None for value in values]) if None in values else slice(None)
        given = np.array([value for value in values if value is not None], dtype=float)
        columns[name] = steps[known], all_bounded(given)
    return columns


def _start(siblings: Sequence[Curve], metric: str) -> float:
    """The middle loss of untrained nets."""
    first = [sibling.measurements[0] for sibling in siblings if len(sibling) and sibling.measurements[0].step == 0]
    starts = sorted(m.loss if metric == "loss" else m.metrics.get(metric, math.nan) for m in first)
    return starts[len(starts) // 2] if starts and all(map(math.isfinite, starts)) else math.nan


def _end(curve: Curve, metric: str, last_step: int) -> float:
    """Where a curve stands at a step: the middle one of its last tenth of points; infinite where it cannot be read.

    In plain Python, because every trial of a study is ranked by it for every other one.
    """
    known = _points(curve, last_step)
    tail = curve.measurements[max(known - max(3, known // 10), 0) : known]
    values = sorted(m.loss if metric == "loss" else m.metrics.get(metric, math.inf) for m in tail)
    readable = known >= MIN_POINTS and all(math.isfinite(value) for value in values)
    return values[len(values) // 2] if readable else math.inf


def _behind(curve: Curve, rival: Curve, last_step: int) -> float:
    """What the loss of ``rival`` fell further, as a share of its fall; 0 where either cannot be read."""
    ends = _end(curve, "loss", last_step), _end(rival, "loss", last_step)
    fall = rival.measurements[0].loss - ends[1] if rival.measurements else 0.0
    return (ends[0] - ends[1]) / fall if fall > 0 and all(math.isfinite(end) for end in ends) else 0.0


def _stride(columns: Mapping[str, tuple[np.ndarray, np.ndarray]], rival: Curve, last_step: int) -> float:
    """How much of its weights a run changed in one update, over how much of its own ``rival`` did."""
    if UPDATE_RATIO not in columns:
        return math.nan
    steps, theirs = rival.metric(UPDATE_RATIO)
    both = columns[UPDATE_RATIO][1], theirs[steps <= last_step]
    own, others = (each[np.isfinite(each) & (each > 0)] for each in both)
    if not len(own) or not len(others):
        return math.nan
    return min(max(float(np.median(own)) / float(np.median(others)), 1 / _FARTHEST), _FARTHEST)


def _points(curve: Curve, last_step: int) -> int:
    """How many measurements a curve has up to a step."""
    return bisect_right(curve.measurements, last_step, key=lambda m: m.step)


def _onward(rival: Curve, last_step: int) -> float:
    """What a run gained after ``last_step``, as a share of its fall until its end."""
    if rival.last_step <= last_step:
        return 0.0
    then, end = _end(rival, "loss", last_step), _end(rival, "loss", rival.last_step)
    fall = rival.measurements[0].loss - end
    return (then - end) / fall if fall > 0 and math.isfinite(then) else 0.0


def _margin(evidence: Evidence) -> float:
    """By what factor a signal lies beyond its threshold."""
    large, small = max(evidence.value, evidence.threshold), min(evidence.value, evidence.threshold)
    return large / small if small > 0 else math.inf
