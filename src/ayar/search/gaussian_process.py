"""A Gaussian process over configurations: what one trial says about those near it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ayar.space import Choice, PerLayer, Space

_ROOT5 = np.sqrt(5.0)
_JITTER = 1e-6


@dataclass(frozen=True)
class Embedding:
    """Points of the unit cube as points between which distances mean something.

    A number stays one coordinate. An unordered choice becomes one coordinate for each of its values, so that any
    two of them are equally far apart.

    Attributes:
        levels: For each coordinate of the cube the number of unordered choices, or 0 for a number.
    """

    levels: tuple[int, ...]

    @classmethod
    def of(cls, space: Space) -> Embedding:
        """The embedding for a space."""
        levels: list[int] = []
        for name in space.names:
            entry = space[name]
            axis = entry.element if isinstance(entry, PerLayer) else entry
            levels += [axis.size if isinstance(axis, Choice) and not axis.ordered else 0] * space.width(name)
        return cls(tuple(levels))

    @property
    def groups(self) -> np.ndarray:
        """Which coordinate of the cube each embedded one comes from, shape ``(embedded,)``."""
        return np.repeat(np.arange(len(self.levels)), [max(count, 1) for count in self.levels])

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Embedded points, shape ``(n, embedded)``."""
        columns = []
        for place, count in enumerate(self.levels):
            values = points[:, place]
            if count:
                index = np.clip((values * count).astype(int), 0, count - 1)
                columns.append(np.eye(count)[index] / np.sqrt(2))
            else:
                columns.append(values[:, None])
        return np.concatenate(columns, axis=1) if columns else np.zeros((len(points), 0))


@dataclass(frozen=True)
class Kernel:
    """Matérn 5/2 with one length scale for each coordinate of the cube.

    Attributes:
        scales: Length scales, shape ``(embedded,)``.
        share: The part of the values' variance that configurations explain; the rest is each trial's own.
    """

    scales: np.ndarray
    share: float

    def __call__(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Correlations, shape ``(len(a), len(b))``."""
        distance = _ROOT5 * np.sqrt(_squares(a / self.scales, b / self.scales))
        return np.asarray((1 + distance + distance**2 / 3) * np.exp(-distance))


def _squares(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.asarray(np.maximum((a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T, 0.0))


def fit_kernel(points: np.ndarray, groups: np.ndarray, values: np.ndarray) -> Kernel:
    """The kernel with the highest posterior density for values at embedded points.

    Length scales have the dimension-scaled prior of Hvarfner et al. (2024, arXiv:2402.02746). The fits to the data
    seen last are remembered: a search asks for the same one again until it has learned more.
    """
    points, values = np.ascontiguousarray(points, dtype=float), np.ascontiguousarray(values, dtype=float)
    scales, share = _fitted(points.tobytes(), values.tobytes(), tuple(groups.tolist()))
    return Kernel(np.array(scales), share)


@lru_cache(maxsize=64)
def _fitted(points_bytes: bytes, values_bytes: bytes, group: tuple[int, ...]) -> tuple[tuple[float, ...], float]:
    from scipy.linalg.lapack import dpotrf, dpotri
    from scipy.optimize import minimize

    values, groups = np.frombuffer(values_bytes), np.array(group, dtype=int)
    points = np.frombuffer(points_bytes).reshape(len(values), len(group))
    count = int(groups.max()) + 1 if len(groups) else 0
    n = len(values)
    y = (values - values.mean()) / max(float(values.std()), 1e-9)
    used = np.unique(groups)
    squares = np.stack([_squares(points[:, groups == g], points[:, groups == g]).ravel() for g in used])
    centre = np.log(0.5) + 0.5 * np.log(max(len(used), 1))
    diagonal = np.arange(n) * (n + 1)

    def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
        logs, logit = theta[:-1], theta[-1]
        share = 1 / (1 + np.exp(-logit))
        weights = np.exp(-2 * logs)
        r = _ROOT5 * np.sqrt(weights @ squares)
        decay = np.exp(-r)
        rough = (1 + r) * decay
        correlation = rough + r * r * decay / 3
        K = share * correlation
        K[diagonal] = 1 + _JITTER
        factor, failed = dpotrf(K.reshape(n, n), lower=1)
        if failed:
            return 1e10, np.zeros_like(theta)
        logdet = 2 * np.log(factor.ravel()[diagonal]).sum()
        inverse = _whole(dpotri(factor, lower=1)[0])
        alpha = inverse @ y
        outer = (inverse - np.outer(alpha, alpha)).ravel()
        gradient = np.append(
            0.5 * (squares @ (outer * rough)) * weights * (share * 5 / 3),
            0.5 * share * (1 - share) * (outer @ correlation - outer[diagonal].sum()),
        )
        prior = 0.5 * np.square(logs - centre).sum() / 1.5 + 0.5 * (logit - 3.0) ** 2
        gradient[:-1] += (logs - centre) / 1.5
        gradient[-1] += (logit - 3.0) * 2.0 * 0.5
        return float(0.5 * y @ alpha + 0.5 * logdet + prior), gradient

    start = np.append(np.full(len(used), centre), 1.5)
    bounds = [(np.log(0.05), np.log(30.0))] * len(used) + [(-4.0, 5.0)]
    best = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 25}).x
    scales = np.ones(count)
    scales[used] = np.exp(best[:-1])
    return tuple(scales[groups].tolist()), float(1 / (1 + np.exp(-best[-1])))


def _inverse_of(covariance: np.ndarray) -> np.ndarray:
    from scipy.linalg.lapack import dpotrf, dpotri

    factor, failed = dpotrf(covariance, lower=1)
    return np.linalg.pinv(covariance) if failed else _whole(dpotri(factor, lower=1)[0])


def _whole(lower: np.ndarray) -> np.ndarray:
    """A symmetric matrix from its lower triangle."""
    return np.asarray(np.tril(lower) + np.tril(lower, -1).T)


@dataclass(frozen=True)
class Process:
    """A Gaussian process that has seen values of about unit variance at some points.

    Attributes:
        kernel: How points hang together.
        points: Embedded points, shape ``(n, embedded)``.
        mean: The constant that it returns to far from everything.
    """

    kernel: Kernel
    points: np.ndarray
    mean: float
    _inverse: np.ndarray
    _weights: np.ndarray

    @classmethod
    def seeing(cls, kernel: Kernel, points: np.ndarray, values: np.ndarray, *, sure: int = 0) -> Process:
        """The process given values, shape ``(n,)``, at embedded points; its mean is their generalised average.

        The last ``sure`` values are taken to be free of noise.
        """
        noise = np.full(len(points), 1 - kernel.share + _JITTER)
        noise[len(points) - sure :] = _JITTER
        covariance = kernel.share * kernel(points, points) + np.diag(noise)
        inverse = _inverse_of(covariance)
        rows = inverse.sum(axis=1)
        mean = float(rows @ values / rows.sum())
        return cls(kernel, points, mean, inverse, inverse @ (values - mean))

    def predict(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance of what configurations at embedded points explain, each of shape ``(m,)``."""
        cross = self._covariance(points)
        reduction = ((cross @ self._inverse) * cross).sum(axis=1)
        return self.mean + cross @ self._weights, np.maximum(self.kernel.share - reduction, _JITTER)

    def expects(self, points: np.ndarray) -> np.ndarray:
        """The mean alone, a few times quicker."""
        return np.asarray(self.mean + self._covariance(points) @ self._weights)

    def _covariance(self, points: np.ndarray) -> np.ndarray:
        return self.kernel.share * self.kernel(points, self.points)
