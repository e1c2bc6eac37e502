"""What a cost curve says: named verdicts, each with its evidence, and the freedom to abstain.

The thresholds were fitted to small nets whose right answer was found by intervention, that is by training the same
net at thirteen learning rates, and checked on others; ``benchmarks/curve_verdicts.py`` repeats the measurement. They
hold for the loss on a fixed set of training examples, evaluated without dropout at every step: the metric
``train_probe``. Any other loss is read too, but with weak confidence.

A new rule is one function and one entry in ``RULES``.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ayar.curves.signals import Signals, signals, thin, trailing_median
from ayar.records import Confidence, Curve, Evidence, Verdict

VERDICTS: dict[str, str] = {
    "falling well": "the loss fell fast, did not rise again, and has settled",
    "no clear fault": "the curve shows no fault that its evidence supports",
    "diverging": "the loss became infinite, or ends no lower than it began",
    "too high": "the loss swings up and down: the learning rate is too high",
    "fast but ends higher": "the loss falls as fast as the best run's, then stays above it: the steps are too long",
    "too slow": "the loss falls smoothly but slowly: the learning rate is too low",
    "needs more iterations": "the loss was still falling when training stopped",
    "overfitting": "the training loss falls while the validation loss rises",
    "spikes": "the loss jumped up and came back",
}
"""Every verdict's name and its meaning in one line."""

TOO_HIGH = frozenset({"diverging", "too high", "fast but ends higher"})
"""Verdicts that ask for a lower learning rate."""

TOO_LOW = frozenset({"too slow"})
"""Verdicts that ask for a higher one."""

READABLE = ("train_probe", "train_loss", "loss")
"""Metrics that a curve is read from, the best first."""

MIN_POINTS = 8
"""With fewer points only divergence is judged."""

_LEVELS = tuple(Confidence)


@dataclass(frozen=True, slots=True)
class _Line:
    """One metric of one curve; ``steps`` and ``values`` have shape ``(n,)``."""

    steps: np.ndarray
    values: np.ndarray
    signals: Signals

    @staticmethod
    def of(curve: Curve, metric: str, last_step: float = math.inf) -> _Line:
        steps, values = curve.metric(metric)
        known = steps <= last_step
        return _Line(steps[known], values[known], signals(steps[known], values[known]))

    def first_at(self, level: float) -> float:
        """The first step with a loss of ``level`` or less; infinite without one."""
        reached = np.flatnonzero(self.values <= level)
        return float(self.steps[reached[0]]) if len(reached) else math.inf


@dataclass(frozen=True, slots=True)
class _Reading:
    """All that a rule may look at.

    Attributes:
        metric: Which of ``READABLE`` the line is.
        ceiling: The most confidence that this metric and this number of points allow.
        paused: The curve stops before the horizon.
        annealed: The learning rate had come down to a tenth or less when the curve ended.
        valid: The validation loss; None where it was not measured, or not well.
        rival: The same metric of the sibling that is best at this curve's last step; None without one.
    """

    line: _Line
    metric: str
    ceiling: Confidence
    paused: bool
    annealed: bool
    valid: _Line | None
    rival: _Line | None

    @property
    def signals(self) -> Signals:
        return self.line.signals

    def verdict(
        self, name: str, sentence: str, *evidence: Evidence, agreeing: int = 1, steps: tuple[int, int] | None = None
    ) -> Verdict:
        """A verdict whose confidence follows from its clearest evidence and from how many signals agree."""
        margin = max(_margin(e) for e in evidence)
        level = int(margin >= 1.5) + int(margin >= 3) + int(agreeing >= 2)
        confidence = _LEVELS[min(level, _LEVELS.index(self.ceiling))]
        return Verdict(name, confidence, sentence, evidence, steps or self.signals.steps)


def diagnose(
    curve: Curve,
    *,
    siblings: Sequence[Curve] = (),
    horizon: int | None = None,
    learning_rate_late: float | None = None,
) -> tuple[Verdict, ...]:
    """Every verdict that the curve supports, the headline first; never empty.

    It is read from ``train_probe`` where that was measured, else from ``train_loss``, else from its loss.

    Args:
        curve: The curve to read.
        siblings: Curves of runs that differ from this one in little but the learning rate. Only beside them can
            it be said that a curve falls fast but ends higher.
        horizon: The step at which training would have ended. Of a curve that stops earlier it is not said that
            it needs more iterations, and its slowness is a weak sign.
        learning_rate_late: Learning rate at the end of the curve as a share of its largest value: 1 for a constant
            one. With 0.1 or less, a loss that still falls asks for more iterations rather than longer steps.

    >>> from ayar.records import Measurement
    >>> curve = Curve(tuple(Measurement(step, 0.99**step) for step in range(51)))
    >>> diagnose(curve)[0].name
    'too slow'
    """
    reading = _read(curve, siblings, horizon, learning_rate_late)
    bad = next((m.step for m in curve if not math.isfinite(m.loss)), reading.signals.nonfinite_step)
    if bad is not None:
        return (_blown_up(curve, bad),)
    if reading.signals.points < MIN_POINTS:
        return (_diverging(reading) or _no_clear_fault(reading),)
    found = tuple(verdict for rule in RULES if (verdict := rule(reading)) is not None)
    if all(verdict.name == "spikes" for verdict in found):
        return (_falling_well(reading) or _no_clear_fault(reading), *found)
    return found


def _read(curve: Curve, siblings: Sequence[Curve], horizon: int | None, late: float | None) -> _Reading:
    measured = {name for m in curve for name in m.metrics} | {"loss"}
    metric = next(name for name in READABLE if name in measured)
    line = _Line.of(curve, metric)
    points, last = line.signals.points, line.signals.steps[1]
    validation = "valid_loss" if "valid_loss" in measured else "loss"
    valid = line if validation == metric else _Line.of(curve, validation)
    as_long = [sibling for sibling in siblings if sibling.last_step >= last]
    best = min(as_long, key=lambda sibling: _end(sibling, metric, last), default=Curve())
    rival = _Line.of(best, metric, last)
    return _Reading(
        line=line,
        metric=metric,
        # Too few points blur every signal; only the train probe was found to be free of wrong directions.
        ceiling=_LEVELS[int(points >= 16) + int(points >= 30)] if metric == "train_probe" else Confidence.WEAK,
        paused=horizon is not None and curve.last_step < horizon,
        annealed=late is not None and late <= 0.1,
        valid=valid if _is_readable(valid) else None,
        rival=rival if _is_readable(rival) else None,
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


def _is_readable(line: _Line) -> bool:
    return line.signals.points >= MIN_POINTS and line.signals.nonfinite_step is None


def _blown_up(curve: Curve, step: int) -> Verdict:
    """The verdict on a loss that is no number any more: nothing else about the curve matters then."""
    return Verdict(
        "diverging",
        Confidence.STRONG,
        f"The loss became infinite or NaN at step {step}: each step overshot further than the one before.",
        (Evidence("nonfinite_step", step, math.inf),),
        (curve.measurements[0].step, step),
    )


def _diverging(r: _Reading) -> Verdict | None:
    s = r.signals
    if not s.moved or s.regress < 1 or s.drawdown <= 0.2:
        return None
    return r.verdict(
        "diverging",
        "The loss ends no lower than it began: each step overshoots the valley and lands higher up.",
        Evidence("regress", s.regress, 1.0),
        Evidence("drawdown", s.drawdown, 0.2),
        agreeing=2,
        steps=s.drawdown_steps,
    )


def _ends_higher(r: _Reading) -> Verdict | None:
    """Judged at the end, not by who leads early: an early lead favours learning rates that are too high."""
    s, start, rival = r.signals, r.line.values[0], r.rival
    if rival is None or not s.moved or s.regress >= 1 or start <= rival.signals.end:
        return None
    difference = s.end - rival.signals.end
    deficit = float(difference / (start - rival.signals.end))
    if deficit <= 0.05 or difference <= 3 * math.hypot(s.end_error, rival.signals.end_error):
        return None
    nine_tenths = start - 0.9 * (start - s.end)
    fell = r.line.first_at(nine_tenths)
    if fell > rival.first_at(nine_tenths):
        return None
    verdict = r.verdict(
        "fast but ends higher",
        "The loss falls as fast as that of the best other run, then stays above it: the steps are too long to settle.",
        Evidence("deficit", deficit, 0.05),
        steps=(int(fell), s.steps[1]),
    )
    # A curve that is no more restless than its rival may end higher for another reason: a smaller net, say.
    return verdict if s.tvr > rival.signals.tvr else dataclasses.replace(verdict, confidence=Confidence.WEAK)


def _too_high(r: _Reading) -> Verdict | None:
    s = r.signals
    rises = s.drawdown > 0.2 and r.metric != "loss"  # a validation loss may rise by overfitting
    swings = s.tvr > 3
    if not s.moved or s.regress >= 1 or not (rises or swings):
        return None
    evidence = [Evidence("drawdown", s.drawdown, 0.2)] if rises else []
    evidence += [Evidence("tvr", s.tvr, 3.0)] if swings else []
    return r.verdict(
        "too high",
        "The loss swings up and down instead of settling: the steps overshoot, so the learning rate is too high.",
        *evidence,
        agreeing=len(evidence),
        steps=s.drawdown_steps,
    )


def _too_slow(r: _Reading) -> Verdict | None:
    s = r.signals
    unfinished = s.gain_end > 0.005 and s.gain_end_z > 3
    late = s.t90 > 0.45
    if not s.moved or s.regress > 0.05 or s.tvr >= 1.3 or r.annealed or not (unfinished or late):
        return None
    evidence = [Evidence("gain_end", s.gain_end, 0.005)] if unfinished else []
    evidence += [Evidence("t90", s.t90, 0.45)] if late else []
    verdict = r.verdict(
        "too slow",
        "The loss falls smoothly but slowly: the steps are too short, so the learning rate is too low.",
        *evidence,
        agreeing=len(evidence),
    )
    # Early in a run every sound curve looks like this.
    return dataclasses.replace(verdict, confidence=Confidence.WEAK) if r.paused else verdict


def _needs_more(r: _Reading) -> Verdict | None:
    s = r.signals
    if r.paused or not s.moved or s.gain_end <= 0.02 or s.gain_end_z <= 3:
        return None
    if _too_high(r) or _too_slow(r):
        return None  # another step length is cheaper than more steps
    return r.verdict(
        "needs more iterations",
        "The loss was still falling when training stopped: it has not had all the steps it can use.",
        Evidence("gain_end", s.gain_end, 0.02),
        steps=(s.steps[1] - (s.steps[1] - s.steps[0]) // 5, s.steps[1]),
    )


def _overfitting(r: _Reading) -> Verdict | None:
    """After Prechelt (1998), "Early Stopping - But When?": GL above 5 % and UP in four successive strips."""
    if r.valid is None:
        return None
    steps, values = thin(r.valid.steps, r.valid.values)
    strip = max(1, len(values) // 20)
    smooth = trailing_median(values, max(3, strip))
    low = int(np.argmin(smooth))
    strips = smooth[::-strip][:5]
    least, fall = float(smooth[low]), float(values[0] - smooth[low])
    size = min(fall, least) if least > 0 else fall
    rise = r.valid.signals.end - least
    if size <= 0 or rise <= max(0.05 * size, 2 * r.valid.signals.end_error):
        return None
    if low >= len(values) - 4 * strip or not (np.diff(strips) < 0).all():
        return None
    alone = r.metric == "loss"
    if not alone and r.signals.end >= np.interp(steps[low], r.line.steps, r.line.values):
        return None  # the training loss rises too: no matter of the examples learnt by heart
    return r.verdict(
        "overfitting",
        f"The validation loss rises from step {steps[low]} on"
        + (" (no training loss was measured beside it)" if alone else " while the training loss goes on falling")
        + ": the net learns its examples by heart.",
        Evidence("valid_rise", rise / size, 0.05),
        steps=(int(steps[low]), int(steps[-1])),
    )


def _spikes(r: _Reading) -> Verdict | None:
    spikes = r.signals.spikes
    if not spikes or _too_high(r) or _diverging(r):
        return None
    times = "once" if len(spikes) == 1 else f"{len(spikes)} times"
    return r.verdict(
        "spikes",
        f"The loss jumped up and came back {times}: no harm to its end, but a sign that the steps are nearly too long.",
        Evidence("spikes", len(spikes), 1),
        steps=(spikes[0], spikes[-1]),
    )


RULES: tuple[Callable[[_Reading], Verdict | None], ...] = (
    _diverging,
    _ends_higher,
    _too_high,
    _too_slow,
    _needs_more,
    _overfitting,
    _spikes,
)
"""The rules for faults, in order of precedence: the first that speaks gives the headline."""


def _falling_well(r: _Reading) -> Verdict | None:
    """The positive verdict: more than the absence of a fault, namely early progress that was kept."""
    s = r.signals
    if not s.moved or s.drawdown > 0.15 or s.regress > 0.05 or s.t90 > 0.45 or s.gain_end > 0.02:
        return None
    return r.verdict(
        "falling well",
        "The loss fell fast, did not rise again, and has settled.",
        Evidence("t90", s.t90, 0.45),
        Evidence("drawdown", s.drawdown, 0.15),
    )


def _no_clear_fault(r: _Reading) -> Verdict:
    s = r.signals
    if s.points < MIN_POINTS:
        points = f"{s.points} point" if s.points == 1 else f"{s.points} points"
        why = f"The curve has {points}: too few to read more from it than whether it diverges."
    elif not s.moved:
        why = "The loss does not move at all: make sure that the gradient reaches the weights before tuning anything."
    elif r.metric == "loss":
        why = "No clear fault in this loss; measure train_probe or train_loss too, to have the training itself read."
    else:
        why = "No clear fault: whatever this curve shows, a sound training may show as well."
    return Verdict("no clear fault", Confidence.WEAK, why, steps=s.steps)


def _margin(evidence: Evidence) -> float:
    """By what factor a signal lies beyond its threshold."""
    large, small = max(evidence.value, evidence.threshold), min(evidence.value, evidence.threshold)
    return large / small if small > 0 else math.inf
