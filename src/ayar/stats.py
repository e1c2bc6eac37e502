"""Intervals and tests: arrays in, numbers out.

Seeds make trainings differ, so a score is a mean with an interval, and two configurations are compared seed by
seed.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from ayar.errors import NotEnoughEvidence

_FEWEST_PAIRS = 5


def mean_interval(values: ArrayLike, level: float = 0.95) -> tuple[float, float, float]:
    """Mean of ``values``, shape ``(n,)``, and the ends of its Student t interval.

    With fewer than two values both ends equal the mean: one reading says nothing about the spread.

    >>> mean_interval([1.0, 2.0, 3.0])
    (2.0, -0.484..., 4.484...)

    Raises:
        NotEnoughEvidence: There is no value, or one is not finite.
    """
    readings = _readings(values)
    mean, n = float(readings.mean()), len(readings)
    if n < 2:
        return mean, mean, mean
    from scipy.special import stdtrit  # Student's quantile; scipy.stats takes far longer to import

    half = float(stdtrit(n - 1, (1 + level) / 2) * readings.std(ddof=1) / np.sqrt(n))
    return mean, mean - half, mean + half


def paired_interval(a: ArrayLike, b: ArrayLike, level: float = 0.95) -> tuple[float, float, float]:
    """Mean of ``a - b`` with its Student t interval; entry ``i`` of both comes from the same seed, shape ``(n,)``.

    >>> paired_interval([3.0, 4.0, 5.0], [1.0, 2.0, 3.0])
    (2.0, 2.0, 2.0)

    Raises:
        NotEnoughEvidence: There is no pair, or a value is not finite.
        ValueError: The lengths differ.
    """
    return mean_interval(_differences(a, b), level)


def paired_test(a: ArrayLike, b: ArrayLike) -> float:
    """Two-sided p value of the paired t test of ``a`` against ``b``, each of shape ``(n,)``.

    Differences that are all alike give 1 where they are zero, else 0.

    Raises:
        NotEnoughEvidence: There are fewer than five pairs, or a value is not finite.
        ValueError: The lengths differ.
    """
    differences = _differences(a, b)
    n = len(differences)
    if n < _FEWEST_PAIRS:
        raise NotEnoughEvidence(
            f"A paired test needs at least {_FEWEST_PAIRS} pairs, got {n}: train both on more common seeds."
        )
    mean, error = float(differences.mean()), float(differences.std(ddof=1) / np.sqrt(n))
    if error == 0:
        return 1.0 if mean == 0 else 0.0
    from scipy.special import stdtr

    return float(2 * stdtr(n - 1, -abs(mean / error)))


def bootstrap_interval(
    values: ArrayLike,
    statistic: Callable[[np.ndarray], float],
    rng: np.random.Generator,
    *,
    level: float = 0.95,
    resamples: int = 2000,
) -> tuple[float, float, float]:
    """``statistic`` of ``values``, shape ``(n,)``, and the ends of its percentile bootstrap interval.

    For few values (say under 20) the interval is too narrow (Efron & Tibshirani, 1993, chapter 13).

    Raises:
        NotEnoughEvidence: There are fewer than two values, or one is not finite.
    """
    readings = _readings(values)
    if len(readings) < 2:
        raise NotEnoughEvidence(f"A bootstrap needs at least 2 values, got {len(readings)}: measure more.")
    draws = rng.integers(len(readings), size=(resamples, len(readings)))
    estimates = [float(statistic(readings[draw])) for draw in draws]
    low, high = np.quantile(estimates, [(1 - level) / 2, (1 + level) / 2])
    return float(statistic(readings)), float(low), float(high)


def _readings(values: ArrayLike) -> np.ndarray:
    readings = np.asarray(values, dtype=float)
    if readings.ndim != 1:
        raise ValueError(f"One reading per seed, shape (n,), expected; got shape {readings.shape}.")
    if not len(readings):
        raise NotEnoughEvidence("No reading was given, so there is nothing to conclude.")
    if not np.isfinite(readings).all():
        raise NotEnoughEvidence(
            f"A reading is {readings[~np.isfinite(readings)][0]}: a training diverged or failed. Leave it out and "
            "say so, or report the share of failures."
        )
    return readings


def _differences(a: ArrayLike, b: ArrayLike) -> np.ndarray:
    first, second = _readings(a), _readings(b)
    if len(first) != len(second):
        raise ValueError(f"Pairs share a seed, so both need as many readings, got {len(first)} and {len(second)}.")
    differences: np.ndarray = first - second
    return differences
