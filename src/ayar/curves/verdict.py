"""What a cost curve says: named verdicts, each with its evidence, and the freedom to abstain.

The thresholds were calibrated on small nets whose right answer was found by intervention: the same net trained at
thirteen learning rates; ``benchmarks/curve_verdicts.py`` repeats the measurement. They hold for the loss on a fixed
set of training examples, evaluated without dropout at every step (the metric ``train_probe``). Any other loss is
read too, with weak confidence.

A new rule is one function and one entry in ``RULES``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ayar.curves.signals import Signals, signals, thin, trailing_median
from ayar.records import Confidence, Curve, Evidence, Verdict

VERDICTS: dict[str, str] = {
    "falling well": "the loss fell fast, without rising, and has settled",
    "no clear fault": "the curve shows no fault that its evidence supports",
    "diverging": "the loss became infinite or ends no lower than it began",
    "too high": "the loss swings: the learning rate is too high",
    "fast but ends higher": "falls sooner than another run and ends above it: the learning rate is too high to settle",
    "too slow": "the loss falls smoothly but too slowly: the learning rate is too low",
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
"""Metrics a curve can be read from, the best first."""

MIN_POINTS = 8
"""With fewer points only divergence is judged."""

_LEVELS = (Confidence.WEAK, Confidence.MEDIUM, Confidence.STRONG)


@dataclass(frozen=True, slots=True)
class _Reading:
    """All a rule may look at.

    Attributes:
        metric: The metric the signals come from, one of ``READABLE``.
        ceiling: The most confidence this metric and this many points allow.
        paused: Whether the curve stops before the horizon.
        late_rate: Learning rate at the end as a share of its largest value; None where it is not known.
        siblings: Curves of other runs up to this one's last step, as ``(steps, values, signals)``.
    """

    metric: str
    steps: np.ndarray
    values: np.ndarray
    signals: Signals
    ceiling: Confidence
    paused: bool
    late_rate: float | None
    valid: tuple[np.ndarray, np.ndarray] | None
    siblings: tuple[tuple[np.ndarray, np.ndarray, Signals], ...]

    def verdict(
        self,
        name: str,
        sentence: str,
        *evidence: Evidence,
        agreeing: int = 1,
        steps: tuple[int, int] | None = None,
    ) -> Verdict:
        """A verdict whose confidence comes from the clearest evidence and the number of agreeing signals."""
        margin = max((_margin(e) for e in evidence), default=1.0)
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
    """Every verdict the curve supports, the headline first; never empty.

    Read from ``train_probe`` where the curve has it, else from ``train_loss``, else from its loss.

    Args:
        curve: The curve to read.
        siblings: Curves of the same study at other values. Only with them can a curve that falls fast but ends
            higher be told.
        horizon: The step where training would have ended. A curve that stops earlier is not said to need more
            iterations, and its slowness is only a weak sign.
        learning_rate_late: Learning rate at the end as a share of its largest value, in [0, 1]; 1 for a
            constant one, None where it is not known.

    >>> from ayar.records import Measurement
    >>> curve = Curve(tuple(Measurement(step, 0.99**step) for step in range(51)))
    >>> diagnose(curve)[0].name
    'too slow'
    """
    reading = _read(curve, siblings, horizon, learning_rate_late)
    bad = next((m.step for m in curve if not math.isfinite(m.loss)), reading.signals.nonfinite_step)
    if bad is not None:
        return (_nonfinite(curve, bad),)
    found = tuple(verdict for rule in RULES if (verdict := rule(reading)) is not None)
    if reading.signals.points < MIN_POINTS:
        return tuple(v for v in found if v.name == "diverging") or (_no_clear_fault(reading),)
    if all(verdict.name == "spikes" for verdict in found):
        return (_falling_well(reading) or _no_clear_fault(reading), *found)
    return found


def _read(curve: Curve, siblings: Sequence[Curve], horizon: int | None, late_rate: float | None) -> _Reading:
    metric = next((name for name in READABLE if len(curve.metric(name)[0])), "loss")
    steps, values = curve.metric(metric)
    found = signals(steps, values)
    valid = next((curve.metric(n) for n in ("valid_loss", "loss") if len(curve.metric(n)[0])), None)
    ceiling = _LEVELS[(found.points >= 16) + (found.points >= 30)]
    return _Reading(
        metric=metric,
        steps=steps,
        values=values,
        signals=found,
        ceiling=ceiling if metric == "train_probe" else Confidence.WEAK,
        paused=horizon is not None and curve.last_step < horizon,
        late_rate=late_rate,
        valid=valid,
        siblings=tuple(_comparable(s, metric, found) for s in siblings if _is_comparable(s, metric, found)),
    )


def _is_comparable(sibling: Curve, metric: str, found: Signals) -> bool:
    """Whether a sibling was measured as well and went as far."""
    steps, values = sibling.metric(metric)
    known = steps <= found.steps[1]
    return (
        len(steps) > 0 and steps[-1] >= found.steps[1] and known.sum() >= MIN_POINTS and bool(np.isfinite(values).all())
    )


def _comparable(sibling: Curve, metric: str, found: Signals) -> tuple[np.ndarray, np.ndarray, Signals]:
    steps, values = sibling.metric(metric)
    known = steps <= found.steps[1]
    return steps[known], values[known], signals(steps[known], values[known])


def _nonfinite(curve: Curve, step: int) -> Verdict:
    """Rule 1 for a loss that is no number any more: nothing else about the curve matters then."""
    first = curve.measurements[0].step
    sentence = f"The loss became infinite or NaN at step {step}: the steps are so long that training blew up."
    return Verdict(
        "diverging", Confidence.STRONG, sentence, (Evidence("nonfinite_step", step, math.inf),), (first, step)
    )


def _diverging(r: _Reading) -> Verdict | None:
    s = r.signals
    if not (s.moved and s.regress >= 1 and s.drawdown > 0.2):
        return None
    return r.verdict(
        "diverging",
        "The loss ends no lower than it began: each step overshoots the valley and lands higher up.",
        Evidence("regress", s.regress, 1.0),
        Evidence("drawdown", s.drawdown, 0.2),
        agreeing=2,
        steps=s.drawdown_steps,
    )


def _too_high(r: _Reading) -> Verdict | None:
    s = r.signals
    # A rounding-sized loss change swings by rounding; a validation loss that rises may be overfitting.
    rises = s.drawdown > 0.2 and r.metric != "loss"
    if not s.moved or s.regress >= 1 or not (rises or s.tvr > 3):
        return None
    evidence = [Evidence("drawdown", s.drawdown, 0.2)] if rises else []
    evidence += [Evidence("tvr", s.tvr, 3.0)] if s.tvr > 3 else []
    return r.verdict(
        "too high",
        "The loss swings up and down instead of settling: each step overshoots, so the learning rate is too high.",
        *evidence,
        agreeing=len(evidence),
        steps=s.drawdown_steps,
    )


def _ends_higher(r: _Reading) -> Verdict | None:
    """Rule 5, judged at the end of the curve and only against siblings: an early lead is misleading by itself."""
    s = r.signals
    rival = min(r.siblings, key=lambda sibling: sibling[2].end, default=None)
    if rival is None or not s.moved or s.regress >= 1 or s.points < MIN_POINTS:
        return None
    span = r.values[0] - rival[2].end
    error = math.hypot(s.end_error, rival[2].end_error)
    deficit = (s.end - rival[2].end) / span if span > 0 else 0.0
    if deficit <= 0.05 or (error > 0 and (s.end - rival[2].end) / error <= 3):
        return None
    nine_tenths = r.values[0] - 0.9 * (r.values[0] - s.end)
    mine, theirs = _first_below(r.steps, r.values, nine_tenths), _first_below(rival[0], rival[1], nine_tenths)
    if mine > theirs:
        return None
    return r.verdict(
        "fast but ends higher",
        "The loss falls sooner than that of the best other run, then stays above it: the steps are too long to settle.",
        Evidence("deficit", deficit, 0.05),
        steps=(int(mine), s.steps[1]),
    )


def _too_slow(r: _Reading) -> Verdict | None:
    s = r.signals
    still_falling = s.gain_end > 0.005 and s.gain_end_z > 3
    late = s.t90 > 0.45
    if not s.moved or s.regress > 0.05 or s.tvr >= 1.3 or not (still_falling or late):
        return None
    evidence = [Evidence("gain_end", s.gain_end, 0.005)] if still_falling else []
    evidence += [Evidence("t90", s.t90, 0.45)] if late else []
    verdict = r.verdict(
        "too slow",
        "The loss falls smoothly and slowly, and had more to gain at the end: the steps are too short.",
        *evidence,
        agreeing=len(evidence),
    )
    return weaker(verdict) if r.paused else verdict


def _needs_more(r: _Reading) -> Verdict | None:
    s = r.signals
    if r.paused or not s.moved or s.gain_end <= 0.02 or s.gain_end_z <= 3 or _too_high(r) or _diverging(r):
        return None
    if _too_slow(r) and not (r.late_rate is not None and r.late_rate <= 0.1):
        return None  # longer steps first: cheaper than more of them
    return r.verdict(
        "needs more iterations",
        "The loss was still falling when training stopped: it has not had the steps it can use.",
        Evidence("gain_end", s.gain_end, 0.02),
        steps=(s.steps[1] - (s.steps[1] - s.steps[0]) // 5, s.steps[1]),
    )


def _overfitting(r: _Reading) -> Verdict | None:
    """Rule 6, after Prechelt (1998): generalisation loss above 5 % and rising in four successive strips."""
    if r.valid is None or not np.isfinite(r.valid[1]).all() or len(r.valid[1]) < MIN_POINTS:
        return None
    steps, values = thin(*r.valid)
    width = max(1, len(values) // 20)
    smooth = trailing_median(values, max(3, width))
    low = int(np.argmin(smooth))
    strips = smooth[-1::-width][:5][::-1]
    valid = signals(steps, values)
    rise = valid.end - float(smooth[low])
    size = min(float(values[0] - smooth[low]), float(smooth[low]) if smooth[low] > 0 else math.inf)
    if low > len(values) - 1 - 4 * width or size <= 0 or rise <= 0.05 * size or rise <= 2 * valid.end_error:
        return None
    if not (np.diff(strips) > 0).all():
        return None
    alone = r.metric == "loss"
    if not alone and r.signals.end >= np.interp(steps[low], r.steps, r.values):
        return None  # the training loss rises as well: not a matter of the validation data
    because = (
        "Read from the validation loss alone, which rises"
        if alone
        else "The training loss goes on falling while the validation loss rises"
    )
    return r.verdict(
        "overfitting",
        f"{because} from step {steps[low]} on: the net learns its examples by heart.",
        Evidence("valid_rise", rise / size, 0.05),
        steps=(int(steps[low]), int(steps[-1])),
    )


def _spikes(r: _Reading) -> Verdict | None:
    spikes = r.signals.spikes
    if not spikes or _too_high(r) or _diverging(r):
        return None
    return r.verdict(
        "spikes",
        f"The loss jumped up and came back {'once' if len(spikes) == 1 else f'{len(spikes)} times'}: "
        "harmless unless it happens again and again.",
        Evidence("spikes", len(spikes), 0),
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
"""The rules in order of precedence: the first that speaks gives the headline."""


def _falling_well(r: _Reading) -> Verdict | None:
    """The positive verdict: not the absence of a fault, but early progress that held."""
    s = r.signals
    if not s.moved or s.drawdown > 0.15 or s.regress > 0.05 or s.t90 > 0.45 or s.gain_end > 0.02:
        return None
    return r.verdict(
        "falling well",
        "The loss fell fast, without rising again, and has settled.",
        Evidence("t90", s.t90, 0.45),
        Evidence("drawdown", s.drawdown, 0.15),
    )


def _no_clear_fault(r: _Reading) -> Verdict:
    s = r.signals
    if s.points < MIN_POINTS:
        why = f"Only {s.points} points: too few to read a curve from."
    elif not s.moved:
        why = "The loss did not move at all: make sure that the gradient reaches the weights before tuning anything."
    elif r.metric == "loss":
        why = "No clear fault in the validation loss; log train_probe or train_loss to have the training itself read."
    else:
        why = "No clear fault: what the curve shows is within the bounds of a sound training."
    return Verdict("no clear fault", Confidence.WEAK, why, steps=s.steps)


def weaker(verdict: Verdict) -> Verdict:
    """The same verdict with weak confidence."""
    return Verdict(verdict.name, Confidence.WEAK, verdict.sentence, verdict.evidence, verdict.steps)


def _margin(evidence: Evidence) -> float:
    """How many times beyond its threshold a signal lies."""
    large, small = sorted((evidence.value, evidence.threshold), reverse=True)
    return large / small if small > 0 else math.inf


def _first_below(steps: np.ndarray, values: np.ndarray, level: float) -> float:
    """The first step at which the loss is at or under ``level``; infinite where it never is."""
    below = np.flatnonzero(values <= level)
    return float(steps[below[0]]) if len(below) else math.inf
