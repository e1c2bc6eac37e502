"""What a rule may look at: one curve's metrics with their signals, and what is known of the run around it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ayar.curves.signals import Signals, signals
from ayar.records import Confidence, Curve, Evidence, Verdict

READABLE = ("train_probe", "train_loss", "loss")
"""Metrics that a curve is read from, the best first."""

MIN_POINTS = 8
"""With fewer points only divergence is judged."""

_LEVELS = tuple(Confidence)


@dataclass(frozen=True, slots=True)
class Line:
    """One metric of one curve; ``steps`` and ``values`` have shape ``(n,)``."""

    steps: np.ndarray
    values: np.ndarray
    signals: Signals

    @staticmethod
    def of(curve: Curve, metric: str, last_step: float = math.inf) -> Line:
        """A metric of the curve up to ``last_step``."""
        steps, values = curve.metric(metric)
        known = steps <= last_step
        return Line(steps[known], values[known], signals(steps[known], values[known]))

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
        curve: The whole curve, with every metric that was measured.
        line: The metric it is read from.
        metric: Which of ``READABLE`` that is.
        ceiling: The most confidence that this metric and this number of points allow.
        paused: The curve stops before the horizon.
        annealed: The learning rate had come down to a tenth or less when the curve ended.
        n_classes: Classes told apart by a cross-entropy loss; None where that is unknown, or not so.
        valid: The validation loss; None where it was not measured, or not well.
        rival: The same metric of the sibling that is best at this curve's last step; None without one.
    """

    curve: Curve
    line: Line
    metric: str
    ceiling: Confidence
    paused: bool
    annealed: bool
    n_classes: int | None
    valid: Line | None
    rival: Line | None

    @property
    def signals(self) -> Signals:
        """The signals of the metric the curve is read from."""
        return self.line.signals

    def measured(self, metric: str) -> np.ndarray:
        """The finite values of any metric, in the order of their steps, shape ``(n,)``; empty without any."""
        values = self.curve.metric(metric)[1]
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
    curve: Curve, siblings: Sequence[Curve], horizon: int | None, late: float | None, n_classes: int | None
) -> Reading:
    """Everything about a curve that rules are about to ask; arguments as for ``diagnose``."""
    measured = {name for m in curve for name in m.metrics} | {"loss"}
    metric = next(name for name in READABLE if name in measured)
    line = Line.of(curve, metric)
    points, last = line.signals.points, line.signals.steps[1]
    validation = "valid_loss" if "valid_loss" in measured else "loss"
    valid = line if validation == metric else Line.of(curve, validation)
    as_long = [sibling for sibling in siblings if sibling.last_step >= last]
    best = min(as_long, key=lambda sibling: _end(sibling, metric, last), default=Curve())
    rival = Line.of(best, metric, last)
    return Reading(
        curve=curve,
        line=line,
        metric=metric,
        # Too few points blur every signal; only the train probe was found to be free of wrong directions.
        ceiling=_LEVELS[int(points >= 16) + int(points >= 30)] if metric == "train_probe" else Confidence.WEAK,
        paused=horizon is not None and curve.last_step < horizon,
        annealed=late is not None and late <= 0.1,
        n_classes=n_classes,
        valid=valid if valid.is_readable else None,
        rival=rival if rival.is_readable else None,
    )


def _end(curve: Curve, metric: str, last_step: int) -> float:
    """Where a curve stands at a step: the middle one of its last tenth of points; infinite where it cannot be read.

    In plain Python, because every trial of a study is ranked by it for every other one.
    """
    known = [m for m in curve.measurements if m.step <= last_step]
    tail = known[-max(3, len(known) // 10) :]
    values = sorted(m.loss if metric == "loss" else m.metrics.get(metric, math.inf) for m in tail)
    readable = len(known) >= MIN_POINTS and all(math.isfinite(value) for value in values)
    return values[len(values) // 2] if readable else math.inf


def _margin(evidence: Evidence) -> float:
    """By what factor a signal lies beyond its threshold."""
    large, small = max(evidence.value, evidence.threshold), min(evidence.value, evidence.threshold)
    return large / small if small > 0 else math.inf
