"""When to stop a training early: only where its curve says, beyond doubt, that nothing good will come of it.

That is divergence alone. A curve that falls slowly is never stopped for it: early on, every sound one looks slow.
"""

from __future__ import annotations

import numpy as np

from ayar.curves.verdict import diagnose
from ayar.records import Curve, Verdict

COSTS = ("train_probe", "train_loss")
"""What may stop a training; a validation loss may rise while the training goes well."""

PATIENCE = 3
"""So many measurements in a row have to show it: a single bad one may be luck."""

FEWEST = 7
"""Measurements, the untrained net among them, before anything is said."""

ABOVE_NOISE = 4.0
"""The loss lies above its start by more than so many times the scatter of neighbouring points; or"""

ABOVE_START = 1.5
"""a loss that cannot be negative is more than so many times its start."""


def diverges(curve: Curve, horizon: int | None = None) -> Verdict | None:
    """The verdict that a training is diverging, where the last measurements all show it clearly; else None.

    A pure function of the curve, so a search that stops by it goes on from its ledger with the same moves. How often
    it was right on recorded trainings stands in ``benchmarks/results/doctor_in_search.json``.
    """
    if len(curve) < FEWEST or not _lies_above_its_start(curve):
        return None
    found = [diagnose(Curve(curve.measurements[: len(curve) - k]), horizon=horizon)[0] for k in range(PATIENCE)]
    return found[0] if all(verdict.name == "diverging" for verdict in found) else None


def _lies_above_its_start(curve: Curve) -> bool:
    """Asked after every measurement of a search, so the cheap question comes first."""
    first, last = curve.measurements[0].metrics, curve.measurements[-PATIENCE:]
    metric = next((name for name in COSTS if name in first), None)
    if metric is None or not all(m.metrics.get(metric, first[metric]) > first[metric] for m in last):
        return False
    values = curve.metric(metric)[1]
    if not np.isfinite(values).all():
        return True
    moves = np.diff(values)
    scatter = 1.4826 * float(np.median(np.abs(moves - np.median(moves)))) / 2**0.5
    start, least = float(values[0]), float(values[-PATIENCE:].min())
    return least > start + ABOVE_NOISE * scatter or (values.min() >= 0 and least > ABOVE_START * start)
