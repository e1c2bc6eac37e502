"""What a cost curve says: named verdicts, each with its evidence, and the freedom to abstain.

The numbers that signals are compared with stand in ``ayar.curves.thresholds``; they were fitted to runs whose right
answer was found by training every single move from them, and checked on workloads that were kept sealed until then:
``benchmarks/doctor``. They hold for the loss on a fixed set of training examples, evaluated without dropout at every
step: the metric ``train_probe``. Any other loss is read too, but with weak confidence.

A new rule is one function and one entry in ``RULES`` or ``REMARKS``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ayar.curves import beside, falling, faults
from ayar.curves.reading import MIN_POINTS, Reading, read
from ayar.records import Curve, Verdict

VERDICTS: dict[str, str] = {
    "falling well": "the loss fell fast, did not rise again, and has settled",
    "no clear fault": "the curve shows no fault that its evidence supports",
    "broken pipeline": "the loss does not move, starts where it cannot, or is the same on training and validation rows",
    "diverging": "the loss became infinite, or ends no lower than it began",
    "too high": "the loss swings up and down: the learning rate is too high",
    "fast but ends higher": "the loss falls as fast as the best run's, then stays above it: the steps are too long",
    "too slow": "the loss falls smoothly but slowly: the learning rate is too low",
    "needs more iterations": "the loss was still falling when training stopped",
    "overfitting": "the training loss falls while the validation loss rises",
    "underfitting": "the loss settled too high, on training rows, too",
    "vanishing gradients": "hardly any gradient reaches the first layers",
    "exploding gradients": "single gradients are many times as large as the usual one",
    "noisy late": "the loss still trembles at the end",
    "dead units": "many hidden units give the same output whatever the input",
    "spikes": "the loss jumped up and came back",
    "saturated early": "the loss had settled long before training stopped",
}
"""Every verdict's name and its meaning in one line."""

TOO_HIGH = frozenset({"diverging", "too high", "fast but ends higher"})
"""Verdicts that ask for a lower learning rate."""

TOO_LOW = frozenset({"too slow"})
"""Verdicts that ask for a higher one."""

Rule = Callable[[Reading], Verdict | None]

RULES: tuple[Rule, ...] = (
    faults.broken_pipeline,
    faults.born_dead,
    faults.small_start,
    falling.diverging,
    falling.ends_higher,
    falling.too_high,
    faults.silenced,
    falling.too_slow,
    falling.needs_more,
    faults.vanishing,
    falling.overfitting,
    falling.underfitting,
    falling.noisy_late,
    beside.falls_short,
    beside.steps_too_short,
    beside.steps_too_long,
)
"""The rules for faults, in order of precedence: the first that speaks gives the headline."""

REMARKS: tuple[Rule, ...] = (faults.exploding, faults.dead_units, falling.spikes, falling.saturated)
"""What may be said of a sound run as well: it gives no headline."""


def diagnose(
    curve: Curve,
    *,
    siblings: Sequence[Curve] = (),
    horizon: int | None = None,
    learning_rate_late: float | None = None,
    n_classes: int | None = None,
) -> tuple[Verdict, ...]:
    """Every verdict that the curve supports, the headline first; never empty.

    It is read from ``train_probe`` where that was measured, else from ``train_loss``, else from its loss.

    Args:
        curve: The curve to read.
        siblings: Curves of other runs of the study. Beside them a curve is read better: only they tell that it falls
            fast but ends higher, settled too high, or stopped too early, and that swings do no harm.
        horizon: The step at which training would have ended. Of a curve that stops earlier it is not said that
            it needs more iterations, and its slowness is a weak sign.
        learning_rate_late: Learning rate at the end of the curve as a share of its largest value: 1 for a constant
            one. With 0.1 or less, a loss that still falls asks for more iterations rather than longer steps.
        n_classes: How many classes a cross-entropy loss tells apart: an untrained net's loss has to be near ln C then.

    >>> from ayar.records import Measurement
    >>> curve = Curve(tuple(Measurement(step, 0.99**step) for step in range(51)))
    >>> diagnose(curve)[0].name
    'too slow'
    """
    return judge(read(curve, siblings, horizon, learning_rate_late, n_classes))


def judge(reading: Reading) -> tuple[Verdict, ...]:
    """What ``diagnose`` says of a curve that was read."""
    curve = reading.curve
    bad = next((m.step for m in curve if not math.isfinite(m.loss)), reading.signals.nonfinite_step)
    if bad is not None:
        told = (faults.odd_start(reading), falling.blown_up(curve, bad), faults.exploding(reading))
        return tuple(verdict for verdict in told if verdict is not None)
    if reading.signals.points < MIN_POINTS:
        return (falling.diverging(reading) or falling.no_clear_fault(reading),)
    found, remarks = ([v for rule in rules if (v := rule(reading))] for rules in (RULES, REMARKS))
    if not found:
        found = [falling.falling_well(reading) or falling.no_clear_fault(reading)]
    return (*(beside.with_update(verdict, reading) for verdict in found), *remarks)
