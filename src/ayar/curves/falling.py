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

FEW = 5
"""Other runs that are fewer may all be bad."""


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
    if not s.moved or s.regress < 1 or s.drawdown <= 0.2 or asleep(r):
        return None
    if s.span <= r.thresholds.level and not s.spikes:
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
    s, t, rival, short = r.signals, r.thresholds, r.rival, deficit(r)
    if rival is None or not s.moved or s.span <= t.level or s.regress >= 1 or short <= t.deficit:
        return None
    if asleep(r) or learned(r):
        return None
    start = r.line.values[0]
    nine_tenths = start - 0.9 * (start - s.end)
    fell = r.line.first_at(nine_tenths)
    if fell > rival.first_at(nine_tenths):
        return None
    # A curve that is no more restless than its rival may end higher for another reason: a smaller net, say.
    is_restless = s.tvr > max(t.smooth_beaten, t.restless * rival.signals.tvr)
    if not is_restless and r.column("valid_loss")[1].size:
        return None
    return r.verdict(
        "fast but ends higher",
        "The loss falls as fast as that of the best other run, then stays above it: the steps are too long to settle.",
        Evidence("deficit", short, t.deficit),
        steps=(int(fell), s.steps[1]),
        at_most=Confidence.STRONG if is_restless else Confidence.WEAK,
    )


def too_high(r: Reading) -> Verdict | None:
    """Long swings, or many short ones.

    A run that calmed down and kept its gains is allowed larger ones, and so are one that gains most of its fall late,
    however restlessly, and one that no other run beats.
    """
    s, t = r.signals, r.thresholds
    if not s.moved or s.regress >= 1 or s.span <= t.level or asleep(r) or learned(r):
        return None
    if unbeaten(r) and s.swing <= t.calm_enough and s.regress <= t.lost:
        return None
    settled = (s.swing <= t.calm and s.regress <= t.lost) or s.t90 > t.still or unbeaten(r)
    rise, swings = (t.rise_settled, t.swings_settled) if settled else (t.rise, t.swings)
    rises = s.drawdown > rise and r.metric != "loss"  # a validation loss may rise by overfitting
    swinging = s.tvr > swings
    if not (rises or swinging):
        return None
    evidence = [Evidence("drawdown", s.drawdown, rise)] if rises else []
    evidence += [Evidence("tvr", s.tvr, swings)] if swinging else []
    return r.verdict(
        "too high",
        "The loss swings up and down instead of settling: the steps overshoot, so the learning rate is too high.",
        *evidence,
        agreeing=len(evidence),
        steps=s.drawdown_steps,
    )


def too_slow(r: Reading) -> Verdict | None:
    """A smooth fall that has much to gain at its end, or came late; or next to no movement at all."""
    s, t = r.signals, r.thresholds
    if r.fell_silent and deficit(r) > t.deficit:
        return None  # a net that long steps have silenced moves no more, either
    if s.moved and asleep(r) and not r.paused and r.metric != "loss":
        own = s.span <= t.asleep
        return r.verdict(
            "too slow",
            "The loss hardly moves, up or down: the steps are far too short, so the learning rate is too low."
            if own
            else "The loss hardly moves, up or down, where another run's fell far: the steps are far too short, so the"
            " learning rate is too low.",
            Evidence("span", s.span, t.asleep) if own else Evidence("reach", reach(r), t.reach),
            agreeing=2,
        )
    beaten = deficit(r) > t.deficit and not s.spikes
    if not s.moved or s.regress > t.lost or s.tvr >= (t.smooth_beaten if beaten else t.smooth) or learned(r):
        return None
    limit = t.late_beaten if beaten else t.late_annealed if r.annealed else t.late
    unfinished = s.gain_end > t.gaining and s.gain_end_z > 3 and not r.annealed and not unbeaten(r)
    late = s.t90 > limit and not unbeaten(r)
    if not (unfinished or late) or _counts_no_more(r):
        return None
    evidence = [Evidence("gain_end", s.gain_end, t.gaining)] if unfinished else []
    evidence += [Evidence("t90", s.t90, limit)] if late else []
    verdict = r.verdict(
        "too slow",
        "The loss falls smoothly but slowly: the steps are too short, so the learning rate is too low.",
        *evidence,
        agreeing=len(evidence),
    )
    # Early in a run every sound curve looks like this.
    return dataclasses.replace(verdict, confidence=Confidence.WEAK) if r.paused else verdict


def asleep(r: Reading) -> bool:
    """Whether the loss hardly moves at all, or hardly beside the best other run: swings so small are no swings."""
    if r.signals.span <= r.thresholds.asleep:
        return True
    return deficit(r) > r.thresholds.far and reach(r) <= r.thresholds.reach


def reach(r: Reading) -> float:
    """Largest less least loss, as a share of what the best other run fell; infinite without one."""
    fall = rival_fall(r)
    return float(np.ptp(r.line.values)) / fall if fall > 0 and r.line.is_readable else math.inf


def rival_fall(r: Reading) -> float:
    """What the best other run fell, in the unit of the loss; 0 without one."""
    return float(r.rival.values[0]) - r.rival.signals.end if r.rival is not None else 0.0


def _counts_no_more(r: Reading) -> bool:
    """Whether the validation loss had settled, at a constant learning rate, while the training loss still fell."""
    if r.metric == "loss" or r.valid is None or r.annealed or deficit(r) > r.thresholds.deficit:
        return False
    v, t = r.valid.signals, r.thresholds
    return v.t90 <= t.late and (v.gain_end <= t.gaining or v.gain_end_z <= 1)


def learned(r: Reading) -> bool:
    """Whether so little is left of a training loss that nothing worth a fault can still be gained on it."""
    return r.metric != "loss" and r.signals.left <= r.thresholds.left and deficit(r) <= r.thresholds.deficit


def needs_more(r: Reading) -> Verdict | None:
    """Still falling, and no step length to blame for it; or runs that went on gained a lot after that."""
    s, t = r.signals, r.thresholds
    if r.paused or not s.moved or learned(r) or too_high(r) or too_slow(r):  # another step length is cheaper
        return None
    evidence = []
    if s.gain_end > (t.more_unbeaten if unbeaten(r) else t.more) and s.gain_end_z > 3:
        evidence.append(Evidence("gain_end", s.gain_end, t.more))
    if s.t90 > t.unfinished and s.regress <= t.lost and deficit(r) > t.deficit:
        evidence.append(Evidence("t90", s.t90, t.unfinished))
    if r.onward > t.onward:
        evidence.append(Evidence("gain_of_longer_runs", r.onward, t.onward))
    if not evidence:
        return None
    return r.verdict(
        "needs more iterations",
        "The loss was still falling when training stopped: it has not had all the steps it can use."
        if r.onward <= t.onward
        else "Training stopped where other runs went on to gain a lot: it has not had all the steps it can use.",
        *evidence,
        agreeing=len(evidence),
        steps=(s.steps[1] - (s.steps[1] - s.steps[0]) // 5, s.steps[1]),
    )


def overfitting(r: Reading) -> Verdict | None:
    """The validation loss rises; or it stays above that of the best other run and far above the training loss."""
    return _valid_rises(r) or _valid_stays(r)


def _valid_rises(r: Reading) -> Verdict | None:
    """After Prechelt (1998), "Early Stopping - But When?": UP in four successive strips, and enough of it to matter."""
    if r.valid is None:
        return None
    steps, values = thin(r.valid.steps, r.valid.values)
    strip = max(1, len(values) // 20)
    smooth = trailing_median(values, max(3, strip))
    low = int(np.argmin(smooth))
    strips = smooth[::-strip][:5]
    least, fall = float(smooth[low]), float(values[0] - smooth[low])
    rise, limit = r.valid.signals.end - least, r.thresholds.valid_rise
    if fall <= 0 or rise <= max(limit * fall, 2 * r.valid.signals.end_error):
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
        Evidence("valid_rise", rise / fall, limit),
        steps=(int(steps[low]), int(steps[-1])),
    )


def _valid_stays(r: Reading) -> Verdict | None:
    s, t = r.signals, r.thresholds
    if r.rival is None or r.metric == "loss" or not s.moved or r.behind <= t.deficit or deficit(r) > t.deficit:
        return None
    if gap(r) <= t.gap_learned or too_slow(r):
        return None
    return r.verdict(
        "overfitting",
        "The validation loss stays far above the training loss, and above that of the best other run, whose training"
        " loss is no lower: the net learns its examples by heart.",
        Evidence("behind", r.behind, t.deficit),
        Evidence("gap", gap(r), t.gap_learned),
        at_most=Confidence.MEDIUM,
    )


def underfitting(r: Reading) -> Verdict | None:
    """It settled, on training and validation rows alike, and that is too high.

    Too high means above another run of the study. Without one only a loss next to guessing tells: labels that no net
    can learn look the same as a net that is too small.
    """
    s, t = r.signals, r.thresholds
    if not s.moved or s.regress > t.lost or r.paused or learned(r) or too_high(r) or too_slow(r) or needs_more(r):
        return None
    if r.metric == "loss" or r.valid is None or len(r.measured("valid_loss")) < MIN_POINTS:
        return None
    left, short = unlearned(r), deficit(r)
    evidence = [Evidence("deficit", short, t.deficit)] if short > t.deficit else []
    if r.rival is None and left > t.unlearned and gap(r) <= t.gap:
        evidence += [Evidence("unlearned", left, t.unlearned)]
    if not evidence:
        return None
    return r.verdict(
        "underfitting",
        "The loss settled high, on the training examples as on the others: the net is too small or held back too much,"
        " or the labels are noisy.",
        *evidence,
        at_most=Confidence.MEDIUM if short > t.deficit else Confidence.WEAK,
    )


def gap(r: Reading) -> float:
    """How far the validation loss ends above the training loss, as a share of the fall; 0 without one."""
    fall = float(r.line.values[0]) - r.signals.end
    return (r.valid.signals.end - r.signals.end) / fall if r.valid is not None and fall > 0 else 0.0


def unlearned(r: Reading) -> float:
    """The loss at the end as a share of that of a net that knows nothing; 0 where a loss of 0 means nothing."""
    start = float(r.line.values[0])
    if r.metric == "loss" or start <= 0:
        return 0.0
    return r.signals.end / (math.log(r.n_classes) if r.n_classes else start)


def deficit(r: Reading) -> float:
    """What the best other run fell further, as a share of its fall; 0 without one or where luck may explain it.

    Both in the loss that training minimises and in the one that the run is judged by: what the first gains by
    learning examples by heart is none.
    """
    if r.rival is None:
        return 0.0
    difference = r.signals.end - r.rival.signals.end
    fall = float(r.rival.values[0]) - r.rival.signals.end
    if fall <= 0 or difference <= 3 * math.hypot(r.signals.end_error, r.rival.signals.end_error):
        return 0.0
    return min(difference / fall, r.behind)


def unbeaten(r: Reading) -> bool:
    """Whether there are several other runs and none of them fell much further, in either loss."""
    return r.rival is not None and r.others >= FEW and max(deficit(r), r.behind) <= r.thresholds.beaten


def noisy_late(r: Reading) -> Verdict | None:
    """Too fine for a swing: neighbouring points differ, and the course stays level."""
    s, t = r.signals, r.thresholds
    if not s.moved or s.regress >= 0.5 or s.noise <= t.noise or r.metric == "loss" or learned(r):
        return None
    if too_high(r) or too_slow(r) or unbeaten(r):
        return None
    return r.verdict(
        "noisy late",
        "The loss still trembles at the end: steps that do not shrink keep it from settling.",
        Evidence("noise", s.noise, t.noise),
        steps=(s.steps[1] - (s.steps[1] - s.steps[0]) // 5, s.steps[1]),
    )


def saturated(r: Reading) -> Verdict | None:
    """Only where the metric that counts has settled as well: it may improve long after the training loss.

    A learning rate that came down settles any loss: that says nothing about the number of steps.
    """
    s, t = r.signals, r.thresholds
    if not s.moved or r.paused or r.annealed or s.t90 >= t.settled or s.regress > t.lost or r.metric == "loss":
        return None
    settled = s.steps[0] + s.t90 * (s.steps[1] - s.steps[0])
    if max(_late_gain(*r.column(metric)) for metric in (r.metric, "loss")) >= t.idle:
        return None
    return r.verdict(
        "saturated early",
        "The loss had settled long before training stopped: fewer steps would do as well.",
        Evidence("t90", s.t90, t.settled),
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
    if not s.moved or s.drawdown > 0.15 or s.regress > 0.05 or s.t90 > 0.45 or s.gain_end > 0.02 or is_behind(r):
        return None
    is_alone = r.rival is None
    return r.verdict(
        "falling well",
        "The loss fell fast, did not rise again, and has settled"
        + ("; only another run can tell whether it could end lower." if is_alone else "."),
        Evidence("t90", s.t90, 0.45),
        Evidence("drawdown", s.drawdown, 0.15),
        *(() if is_alone else (Evidence("deficit", deficit(r), r.thresholds.deficit),)),
        at_most=Confidence.MEDIUM if is_alone else Confidence.STRONG,
    )


def no_clear_fault(r: Reading) -> Verdict:
    """Abstaining, with the reason for it."""
    s, t = r.signals, r.thresholds
    trembles = s.points >= MIN_POINTS and s.noise > t.tremble and r.metric != "loss"
    evidence = (Evidence("noise", s.noise, t.tremble),) if trembles else ()
    if s.points < MIN_POINTS:
        points = f"{s.points} point" if s.points == 1 else f"{s.points} points"
        why = f"The curve has {points}: too few to read more from it than whether it diverges."
    elif r.metric == "loss":
        why = "No clear fault in this loss; measure train_probe or train_loss too, to have the training itself read."
    elif is_behind(r):
        why = "No clear fault, but another run ended clearly lower: something in this one's values holds it back."
        evidence = (Evidence("behind", r.behind, t.deficit), *evidence)
    else:
        why = "No clear fault: whatever this curve shows, a sound training may show as well."
    return Verdict("no clear fault", Confidence.WEAK, why, evidence, s.steps)


def is_behind(r: Reading) -> bool:
    """Whether another run ended lower in the loss that both are judged by, by a share that counts."""
    return r.rival is not None and r.behind > r.thresholds.deficit
