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
        cls, kernel: Kernel, points: np.ndarray, ends: np.ndarray, noise: np.ndarray, least: float
    ) -> Posterior:
        """The posterior from measurements ``ends`` with variances ``noise``, shape ``(n,)``, at embedded points.

        How much ends differ, and how much of that configurations explain, are the most probable of a few values.

        Args:
            kernel: Correlations between configurations.
            points: Embedded points, shape ``(n, embedded)``.
            ends: Measured ends.
            noise: Their variances.
            least: Ends differ by at least this variance.
        """
        correlation = kernel(points, points)
        spread = max(float(ends.var()), 0.02)
        fits = (
            _Fit.of(correlation, ends, noise, max(total * spread, least), share, spread)
            for total in _TOTALS
            for share in _SHARES
        )
        fit = min(fits, key=lambda fit: fit.surprise)
        explained, own = fit.total * fit.share, fit.total * (1 - fit.share)
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


@dataclass(frozen=True)
class _Fit:
    """One choice of how much ends differ; ``surprise`` is its negative log posterior density."""

    surprise: float
    total: float
    share: float
    middle: float
    factor: np.ndarray
    weights: np.ndarray

    @classmethod
    def of(
        cls, correlation: np.ndarray, ends: np.ndarray, noise: np.ndarray, total: float, share: float, spread: float
    ) -> _Fit:
        covariance = total * share * correlation
        np.fill_diagonal(covariance, total + noise + _LEAST)
        factor = np.linalg.cholesky(covariance)
        half = _solved(factor, np.column_stack([np.ones(len(ends)), ends]))
        middle = float(half[:, 0] @ half[:, 1] / (half[:, 0] @ half[:, 0]))
        rest = half[:, 1] - middle * half[:, 0]
        surprise = 0.5 * rest @ rest + np.log(np.diag(factor)).sum()
        surprise += 0.5 * np.log(total / spread) ** 2 + 0.25 * np.log((1 - share) / (1 - _USUAL)) ** 2
        return cls(float(surprise), total, share, middle, factor, _solved(factor, rest, transposed=True))


def _solved(factor: np.ndarray, right: np.ndarray, *, transposed: bool = False) -> np.ndarray:
    from scipy.linalg.lapack import dtrtrs

    # LAPACK itself, which gives the same bits as solve_triangular in a tenth of the time; its order is column by column
    return np.asarray(dtrtrs(factor.T, right, lower=0, trans=int(not transposed))[0])
