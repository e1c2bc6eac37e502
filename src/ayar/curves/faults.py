"""Rules about faults that another step length does not mend: in the pipeline, in the units, in the gradients.

The pipeline shows in any curve. Units and gradients show where a training reports them under the names below, which
``ayar.integrations.torch_signals`` measures.
"""

from __future__ import annotations

import math

import numpy as np

from ayar.curves.falling import diverging, spikes, too_high, too_slow, unlearned
from ayar.curves.reading import MIN_POINTS, Reading
from ayar.curves.signals import RESOLUTION
from ayar.records import Evidence, Verdict

GRADIENT_NORM = "gradient_norm"
"""Metric: norm of the whole gradient, the median of a step's mini-batches."""

GRADIENT_NORM_MAX = "gradient_norm_max"
"""Metric: the largest such norm among a step's mini-batches."""

GRADIENT_RATIO = "gradient_ratio"
"""Metric: root-mean-square gradient in the first layers over that in the last ones."""

UPDATE_RATIO = "update_ratio"
"""Metric: norm of one update over norm of the parameters, the median of a step's mini-batches."""

DEAD_UNITS = "dead_units"
"""Metric: share of the hidden units that give one and the same output for every row of a probe batch."""

START_LOW, START_HIGH = 0.5, 4.0  # times ln C; ordinary initialisations of scaled inputs stay between


def broken_pipeline(r: Reading) -> Verdict | None:
    """Such a curve says nothing about hyperparameters: what it stands on has to be mended first."""
    return _same_rows(r) or _does_not_move(r) or _odd_start(r)


def _same_rows(r: Reading) -> Verdict | None:
    (steps, train), (valid_steps, valid) = (r.curve.metric(name) for name in (r.metric, "valid_loss"))
    common, at, valid_at = np.intersect1d(steps, valid_steps, assume_unique=True, return_indices=True)
    if r.metric == "loss" or len(common) < MIN_POINTS:
        return None
    a, b = train[at], valid[valid_at]
    apart = float(np.abs(a - b).max() / (np.abs(a).max() or 1.0))
    if apart > 1e-9 or not a.any():
        return None
    return r.verdict(
        "broken pipeline",
        "Training and validation loss are one and the same number throughout: they are measured on the same rows.",
        Evidence("train_valid_difference", apart, 1e-9),
    )


def _does_not_move(r: Reading) -> Verdict | None:
    values = r.line.values
    scale = float(np.abs(values).max())
    if r.signals.moved or r.metric == "loss" or scale == 0:
        return None
    return r.verdict(
        "broken pipeline",
        "The loss does not move at all: no gradient reaches the weights, or the learning rate is next to zero.",
        Evidence("movement", float(np.ptp(values / scale)), RESOLUTION),
    )


def _odd_start(r: Reading) -> Verdict | None:
    """An untrained net that gives each of C classes the same chance has a cross-entropy of ln C."""
    if r.n_classes is None or r.n_classes < 2 or r.metric == "loss" or r.line.steps[0] != 0:
        return None
    reference = math.log(r.n_classes)
    start = float(r.line.values[0]) / reference
    if START_LOW <= start <= START_HIGH:
        return None
    likely = (
        "Look for inputs that are not scaled, or first weights that are too large."
        if start > START_HIGH
        else "Look for a label among the inputs, or a loss that is no cross-entropy; a net trained before may start so."
    )
    return r.verdict(
        "broken pipeline",
        f"The untrained net has {start:.2g} times the loss of guessing, which is {reference:.2f}. {likely}",
        Evidence("start_over_guessing", start, START_HIGH if start > START_HIGH else START_LOW),
        steps=(0, 0),
    )


def dead_units(r: Reading) -> Verdict | None:
    """A unit that is silent for every example has no gradient and stays so; a wide net can do without many."""
    shares = r.measured(DEAD_UNITS)
    if not len(shares) or shares[-1] <= 0.4:
        return None
    return r.verdict(
        "dead units",
        f"{shares[-1]:.0%} of the hidden units give the same output for every example: they no longer learn.",
        Evidence(DEAD_UNITS, float(shares[-1]), 0.4),
    )


def vanishing(r: Reading) -> Verdict | None:
    """A small gradient in the first layers is a fault only where the net learns little, too."""
    ratios = r.measured(GRADIENT_RATIO)
    if not len(ratios) or np.median(ratios) >= 1e-3:
        return None
    if r.signals.moved and unlearned(r) <= 0.5 and not too_slow(r):
        return None
    return r.verdict(
        "vanishing gradients",
        "Hardly any gradient reaches the first layers, and the net learns little: only its last layers are trained.",
        Evidence(GRADIENT_RATIO, float(np.median(ratios)), 1e-3),
    )


def exploding(r: Reading) -> Verdict | None:
    """A gradient far above the usual one is a fault only where the loss shows it.

    Late in a good run gradients are tiny, so what is usual is what the run began with, where that is more.
    """
    norms, largest = r.measured(GRADIENT_NORM), r.measured(GRADIENT_NORM_MAX)
    largest = largest if len(largest) else norms
    usual = max(float(np.median(norms)), float(np.median(norms[:3]))) if len(norms) else 0.0
    if usual <= 0:
        return None
    tail = float(largest.max() / usual)
    if tail <= 20 or not (r.signals.nonfinite_step is not None or diverging(r) or too_high(r) or spikes(r)):
        return None
    return r.verdict(
        "exploding gradients",
        f"Single gradients are {tail:.0f} times as large as the usual one, and the loss jumps after them.",
        Evidence("gradient_tail", tail, 20.0),
    )
