"""Rules about faults that another step length does not mend: in the pipeline, in the units, in the gradients.

The pipeline shows in any curve. Units and gradients show where a training reports them under the names below, which
``ayar.integrations.torch_signals`` measures.
"""

from __future__ import annotations

import math

import numpy as np

from ayar.curves.falling import (
    deficit,
    diverging,
    ends_higher,
    is_behind,
    needs_more,
    spikes,
    too_high,
    too_slow,
    unlearned,
)
from ayar.curves.reading import DEAD_UNITS, MIN_POINTS, Reading
from ayar.curves.signals import RESOLUTION
from ayar.records import Confidence, Evidence, Verdict

GRADIENT_NORM = "gradient_norm"
"""Metric: norm of the whole gradient, the median of a step's mini-batches."""

GRADIENT_NORM_MAX = "gradient_norm_max"
"""Metric: the largest such norm among a step's mini-batches."""

GRADIENT_RATIO = "gradient_ratio"
"""Metric: root-mean-square gradient in the first layers over that in the last ones."""


def broken_pipeline(r: Reading) -> Verdict | None:
    """Such a curve says nothing about hyperparameters: what it stands on has to be mended first."""
    return _same_rows(r) or _does_not_move(r) or odd_start(r) or _too_easy(r)


def _too_easy(r: Reading) -> Verdict | None:
    """Labels that are all the same, or that stand among the inputs, are learnt at once, and on every row alike."""
    s, t = r.signals, r.thresholds
    if r.n_classes is None or r.metric == "loss" or r.valid is None or s.left > t.easy or s.t90 > t.at_once:
        return None
    if r.valid.signals.left > 1.5 * t.easy or abs(r.valid.signals.end - s.end) > 0.5 * s.end:
        return None
    if np.array_equal(r.valid.values, r.line.values):
        return None  # a study that is judged by its training loss: nothing is known of validation rows
    return r.verdict(
        "broken pipeline",
        "Hardly any loss is left after a few steps, on validation rows as on training rows: look for labels that are"
        " all the same, or for a label among the inputs.",
        Evidence("left", s.left, t.easy),
        steps=(s.steps[0], int(s.steps[0] + s.t90 * (s.steps[1] - s.steps[0]))),
        at_most=Confidence.MEDIUM,
    )


def _same_rows(r: Reading) -> Verdict | None:
    (steps, train), (valid_steps, valid) = (r.column(name) for name in (r.metric, "valid_loss"))
    common, at, valid_at = np.intersect1d(steps, valid_steps, assume_unique=True, return_indices=True)
    if r.metric == "loss" or len(common) < MIN_POINTS:
        return None
    a, b = train[at], valid[valid_at]
    apart, size = float(np.abs(a - b).max()), float(np.abs(a).max())
    if not apart <= 1e-9 * size or size == 0:
        return None
    return r.verdict(
        "broken pipeline",
        "Training and validation loss are one and the same number throughout: they are measured on the same rows.",
        Evidence("train_valid_difference", apart / size, 1e-9),
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


def odd_start(r: Reading) -> Verdict | None:
    """An untrained net that gives each of C classes the same chance has a cross-entropy of ln C.

    Where that is unknown, another run of the study says what an untrained net's loss is.
    """
    if r.metric == "loss" or not len(r.line.steps) or r.line.steps[0] != 0 or not math.isfinite(r.line.values[0]):
        return None
    if r.n_classes is not None and r.n_classes >= 2:
        reference, other = math.log(r.n_classes), "guessing"
    elif r.n_classes is None:
        reference, other = r.start, "the untrained nets of other runs"
    else:
        return None
    if not reference > 0 or r.line.values[0] < 0:
        return None
    t, start = r.thresholds, float(r.line.values[0]) / reference
    low, high = (t.start_low, t.start_high) if r.n_classes else (1 / t.start_other, t.start_other)
    if low <= start <= high:
        return None
    likely = (
        "Look for inputs that are not scaled, or first weights that are too large."
        if start > high
        else "Look for a label among the inputs, or a loss that is no cross-entropy; a net trained before may start so."
    )
    return r.verdict(
        "broken pipeline",
        f"The untrained net has {start:.2g} times the loss of {other}, which is {reference:.2f}. {likely}",
        Evidence("start_over_guessing" if r.n_classes else "start_over_other", start, high if start > high else low),
        steps=(0, 0),
        at_most=Confidence.STRONG if r.n_classes else Confidence.MEDIUM,
    )


def dead_units(r: Reading) -> Verdict | None:
    """A unit that is silent for every example has no gradient and stays so; a wide net can do without many."""
    shares = r.measured(DEAD_UNITS)
    if not r.fell_silent:
        return None
    return r.verdict(
        "dead units",
        f"{shares[-1]:.0%} of the hidden units give the same output for every example: they no longer learn.",
        Evidence(DEAD_UNITS, float(shares[-1]), r.thresholds.dead),
    )


def silenced(r: Reading) -> Verdict | None:
    """Units that fell silent in training, in a run that another one beats: steps that long are what does it."""
    shares, limit = r.measured(DEAD_UNITS), r.thresholds.dead
    if not r.fell_silent or deficit(r) <= r.thresholds.deficit:
        return None
    if too_high(r) or too_slow(r) or diverging(r) or ends_higher(r):
        return None
    return r.verdict(
        "too high",
        f"{shares[-1]:.0%} of the hidden units fell silent, and another run ends clearly lower: steps that are too"
        " long silence units.",
        Evidence(DEAD_UNITS, float(shares[-1]), limit),
        Evidence("deficit", deficit(r), r.thresholds.deficit),
        at_most=Confidence.MEDIUM,
    )


def born_dead(r: Reading) -> Verdict | None:
    """Units that are silent before the first step: no learning rate did that. In a sound net there are none."""
    shares = r.column(DEAD_UNITS)[1]
    if not r.born_silent:
        return None
    return r.verdict(
        "dead units",
        f"{shares[0]:.0%} of the hidden units give the same output for every example before training begins: look at"
        " the first weights and biases, and at the scale of the inputs.",
        Evidence(DEAD_UNITS, float(shares[0]), r.thresholds.born_dead),
        steps=(0, 0),
    )


def vanishing(r: Reading) -> Verdict | None:
    """A small gradient in the first layers is a fault only where the net learns little, too."""
    ratios = r.measured(GRADIENT_RATIO)
    if not len(ratios) or np.median(ratios) >= r.thresholds.vanishing:
        return None
    if r.signals.moved and unlearned(r) <= 0.5 and not too_slow(r):
        return None
    return r.verdict(
        "vanishing gradients",
        "Hardly any gradient reaches the first layers, and the net learns little: only its last layers are trained.",
        Evidence(GRADIENT_RATIO, float(np.median(ratios)), r.thresholds.vanishing),
    )


def small_start(r: Reading) -> Verdict | None:
    """A net that tells no class from another before training, where others do or its gradient has yet to grow.

    A last layer that begins at zero gives the same start, but to all runs, and with a large gradient; it does no harm.
    """
    steps, values = r.line.steps, r.line.values
    if r.n_classes is None or r.n_classes < 2 or r.metric == "loss" or not len(steps) or steps[0] != 0:
        return None
    t, guessing, norms = r.thresholds, math.log(r.n_classes), r.measured(GRADIENT_NORM)
    off = abs(float(values[0]) / guessing - 1)
    is_other = abs(r.start / guessing - 1) > t.start_even
    grows = not len(norms) or norms[0] <= t.grown * norms.max()
    if off > t.start_even or not (is_other or grows):
        return None
    if not (is_behind(r) or too_slow(r) or needs_more(r)):
        return None
    return r.verdict(
        "vanishing gradients",
        "The untrained net gives every class the very same chance: its first weights are too small for a gradient to"
        " reach the first layers.",
        Evidence("start_off_guessing", off, t.start_even),
        steps=(0, 0),
        at_most=Confidence.MEDIUM,
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
    tail = float(largest.max()) / usual
    if tail <= r.thresholds.tail or not (
        r.signals.nonfinite_step is not None or diverging(r) or too_high(r) or spikes(r)
    ):
        return None
    return r.verdict(
        "exploding gradients",
        f"Single gradients are {tail:.0f} times as large as the usual one, and the loss jumps after them.",
        Evidence("gradient_tail", tail, r.thresholds.tail),
    )
