"""What a Gaussian process over configurations and the trials' own curves say together about where trials will end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ayar.search.gaussian_process import Kernel

_TOTALS = (0.4, 1.0, 2.5)  # tried for the variance of ends, in units of that of the measurements
_SHARES = (0.6, 0.85, 0.97)  # tried for the part of it that configurations explain
_USUAL = 0.8
_LEAST = 1e-6


@dataclass(frozen=True)
class Posterior:
    """A Gaussian process that has seen measurements, each as noisy as its curve is short.

    Attributes:
        mean: Expected end of each trial it has seen, shape ``(n,)``.
        variance: Of that, shape ``(n,)``.
    """

    mean: np.ndarray
    variance: np.ndarray
    _kernel: Kernel
    _points: np.ndarray
    _explained: float
    _own: float
    _middle: float
    _factor: np.ndarray
    _weights: np.ndarray

    @classmethod
    def joining(
        cls, kernel: Kernel, points: np.ndarray, ends: np.ndarray, noise: np.ndarray, spread: Spread
    ) -> Posterior:
        """The posterior from measurements ``ends`` with variances ``noise``, shape ``(n,)``, at embedded points.

        Args:
            kernel: Correlations between configurations.
            points: Embedded points, shape ``(n, embedded)``.
            ends: Measured ends.
            noise: Their variances.
            spread: How much ends differ.
        """
        correlation = kernel(points, points)
        fit = _Fit.of(correlation, ends, noise, spread)
        explained, own = spread.total * spread.share, spread.total * (1 - spread.share)
        joint = explained * correlation
        np.fill_diagonal(joint, explained + own)
        known = _solved(fit.factor, joint)
        variance = np.maximum(explained + own - (known**2).sum(axis=0), _LEAST)
        mean = fit.middle + joint @ fit.weights
        return cls(mean, variance, kernel, points, explained, own, fit.middle, fit.factor, fit.weights)

    def at(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance of where new trials at embedded points would end, each of shape ``(m,)``."""
        cross = self._explained * self._kernel(points, self._points)
        known = _solved(self._factor, cross.T)
        variance = self._explained + self._own - (known**2).sum(axis=0)
        return self._middle + cross @ self._weights, np.maximum(variance, _LEAST)


@dataclass(frozen=True, slots=True)
class Spread:
    """How much ends differ.

    Attributes:
        total: Their variance.
        share: How much of it configurations explain.
    """

    total: float
    share: float

    @classmethod
    def of(cls, correlation: np.ndarray, ends: np.ndarray, noise: np.ndarray, least: float) -> Spread:
        """The most probable of a few, given ends of trials that correlate so, and the variances of the measurements.

        Ends differ by at least the variance ``least``.
        """
        usual = max(float(ends.var()), 0.02)

        def surprise(spread: Spread) -> float:
            prior = 0.5 * np.log(spread.total / usual) ** 2 + 0.25 * np.log((1 - spread.share) / (1 - _USUAL)) ** 2
            return _Fit.of(correlation, ends, noise, spread).surprise + float(prior)

        return min((cls(max(total * usual, least), share) for total in _TOTALS for share in _SHARES), key=surprise)


@dataclass(frozen=True, slots=True)
class _Fit:
    """Ends joined with what is known beforehand; ``surprise`` is their negative log density."""

    surprise: float
    middle: float
    factor: np.ndarray
    weights: np.ndarray

    @classmethod
    def of(cls, correlation: np.ndarray, ends: np.ndarray, noise: np.ndarray, spread: Spread) -> _Fit:
        covariance = spread.total * spread.share * correlation
        np.fill_diagonal(covariance, spread.total + noise + _LEAST)
        factor = np.linalg.cholesky(covariance)
        half = _solved(factor, np.column_stack([np.ones(len(ends)), ends]))
        middle = float(half[:, 0] @ half[:, 1] / (half[:, 0] @ half[:, 0]))
        rest = half[:, 1] - middle * half[:, 0]
        surprise = 0.5 * rest @ rest + np.log(np.diag(factor)).sum()
        return cls(float(surprise), middle, factor, _solved(factor, rest, transposed=True))


def _solved(factor: np.ndarray, right: np.ndarray, *, transposed: bool = False) -> np.ndarray:
    from scipy.linalg.lapack import dtrtrs

    # LAPACK itself, which gives the same bits as solve_triangular in a tenth of the time; its order is column by column
    return np.asarray(dtrtrs(factor.T, right, lower=0, trans=int(not transposed))[0])
