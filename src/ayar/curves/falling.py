"""Rules about how a loss falls: how long the steps are, how many there were, and what was kept at the end.

Each is one function of a ``Reading``; None says that it has nothing to say. All but the last few are listed in
``ayar.curves.verdict.RULES``.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from ayar.curves.reading import MIN_POINTS, Reading
from ayar.curves.signals import thin, trailing_median
from ayar.records import Confidence, Curve, Evidence, Verdict


def blown_up(curve: Curve, step: int) -> Verdict:
    """The verdict on a loss that is no number any more: nothing else about the curve matters then."""
    return Verdict(
        "diverging",
        Confidence.STRONG,
        f"The loss became infinite or NaN at step {step}: each step overshot further than the one before.",
        (Evidence("nonfinite_step", step, math.inf),),
        (curve.measurements[0].step, step),
    )


def diverging(r: Reading) -> Verdict | None:
    """What was gained is lost again, and more: not a swing but a climb."""
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


def ends_higher(r: Reading) -> Verdict | None:
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


def too_high(r: Reading) -> Verdict | None:
    """Long swings, or many short ones; a single spike is neither."""
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


def too_slow(r: Reading) -> Verdict | None:
    """A smooth fall that has much to gain at its end, or came late."""
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


def needs_more(r: Reading) -> Verdict | None:
    """Still falling, and no step length to blame for it."""
    s = r.signals
    if r.paused or not s.moved or s.gain_end <= 0.02 or s.gain_end_z <= 3:
        return None
    if too_high(r) or too_slow(r):
        return None  # another step length is cheaper than more steps
    return r.verdict(
        "needs more iterations",
        "The loss was still falling when training stopped: it has not had all the steps it can use.",
        Evidence("gain_end", s.gain_end, 0.02),
        steps=(s.steps[1] - (s.steps[1] - s.steps[0]) // 5, s.steps[1]),
    )


def overfitting(r: Reading) -> Verdict | None:
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


def underfitting(r: Reading) -> Verdict | None:
    """Label noise that no net can learn looks the same on a curve; so the evidence for this one is always weak."""
    s = r.signals
    compared = r.metric != "loss" and len(r.measured("valid_loss")) >= MIN_POINTS
    settled = s.moved and s.regress <= 0.05 and s.gain_end <= 0.005 and not (r.paused or too_high(r) or too_slow(r))
    if not (compared and settled) or r.valid is None or (left := unlearned(r)) <= 0.5:
        return None
    start = float(r.line.values[0])
    gap = (r.valid.signals.end - s.end) / (start - s.end)
    beaten = r.rival is not None and s.end - r.rival.signals.end > 0.05 * (start - r.rival.signals.end)
    if gap > 0.1 or beaten:
        return None
    return r.verdict(
        "underfitting",
        "The loss settled high, on the training examples as on the others: the net is too small or held back too much,"
        " or the labels are noisy.",
        Evidence("unlearned", left, 0.5),
        at_most=Confidence.WEAK,
    )


def unlearned(r: Reading) -> float:
    """The loss at the end as a share of that of a net that knows nothing; 0 where a loss of 0 means nothing."""
    start = float(r.line.values[0])
    if r.metric == "loss" or start <= 0:
        return 0.0
    return r.signals.end / (math.log(r.n_classes) if r.n_classes else start)


def noisy_late(r: Reading) -> Verdict | None:
    """Too fine for a swing: neighbouring points differ, and the course stays level."""
    s = r.signals
    if not s.moved or s.regress >= 0.5 or s.noise <= 0.02 or r.metric == "loss" or too_high(r) or too_slow(r):
        return None
    return r.verdict(
        "noisy late",
        "The loss still trembles at the end: steps that do not shrink keep it from settling.",
        Evidence("noise", s.noise, 0.02),
        steps=(s.steps[1] - (s.steps[1] - s.steps[0]) // 5, s.steps[1]),
    )


def saturated(r: Reading) -> Verdict | None:
    """Only where the metric that counts has settled as well: it may improve long after the training loss."""
    s = r.signals
    if not s.moved or r.paused or s.t90 >= 0.25 or s.regress > 0.05 or r.metric == "loss":
        return None
    settled = s.steps[0] + s.t90 * (s.steps[1] - s.steps[0])
    if max(_late_gain(*r.curve.metric(metric)) for metric in (r.metric, "loss")) >= 0.005:
        return None
    return r.verdict(
        "saturated early",
        "The loss had settled long before training stopped: fewer steps would do as well.",
        Evidence("t90", s.t90, 0.25),
        at_most=Confidence.MEDIUM,
        steps=(int(settled), s.steps[1]),
    )


def _late_gain(steps: np.ndarray, values: np.ndarray) -> float:
    """What the least smoothed loss of the second half gains on that of the first, as a share of the fall."""
    _, values = thin(steps, values)
    smooth = trailing_median(values, max(3, len(values) // 20))
    first, second = float(smooth[: len(smooth) // 2].min()), float(smooth[len(smooth) // 2 :].min())
    fall = float(values[0]) - min(first, second)
    return (first - second) / fall if fall > 0 else 0.0


def spikes(r: Reading) -> Verdict | None:
    """Accidents that the run got over."""
    jumps = r.signals.spikes
    if not jumps or too_high(r) or diverging(r):
        return None
    times = "once" if len(jumps) == 1 else f"{len(jumps)} times"
    return r.verdict(
        "spikes",
        f"The loss jumped up and came back {times}: no harm to its end, but a sign that the steps are nearly too long.",
        Evidence("spikes", len(jumps), 1),
        steps=(jumps[0], jumps[-1]),
    )


def falling_well(r: Reading) -> Verdict | None:
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


def no_clear_fault(r: Reading) -> Verdict:
    """Abstaining, with the reason for it."""
    s = r.signals
    if s.points < MIN_POINTS:
        points = f"{s.points} point" if s.points == 1 else f"{s.points} points"
        why = f"The curve has {points}: too few to read more from it than whether it diverges."
    elif r.metric == "loss":
        why = "No clear fault in this loss; measure train_probe or train_loss too, to have the training itself read."
    else:
        why = "No clear fault: whatever this curve shows, a sound training may show as well."
    return Verdict("no clear fault", Confidence.WEAK, why, steps=s.steps)
