"""Where unfinished curves will end, learned from the study's own curves.

Curves are compared at a ladder of steps about a factor of the square root of two apart. From each rung to the next one
a regression says what becomes of a curve that stands so high and falls so fast. Chained up to the horizon they give
each curve's expected end and how far off that may be. The regressions begin as cautious guesses and learn from every
curve that climbs a rung; so an early reading counts for as much as early readings have proved to be worth here, which
in some studies is nearly everything and in others nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

_PERSISTENCE = 0.5  # of a fall from rung to rung, so much is expected again on the next
_DEVIATION = 0.15  # what a rung adds to the score beyond expectation, before there is any evidence
_TRUST = 4.0  # the first guess of a rung's deviation weighs as much as so many curves
_SD_OF = np.array([0.4, 0.5, 0.3])  # how far a rung's drift, slope and persistence may lie from the first guess
_LEAST_LEVEL = 0.2  # of what a rung's score means for the end, the rung below has at least this share: worse is worse
_MOST_SURPRISING = 1.0  # no single curve may say that a rung adds more than this
_STEEPEST = 1.5
_READING = 2e-3  # variance of a score at the horizon itself
_LEAST_TELLING = 0.1  # a reading is worth at least this share of what the whole population tells
_FLAT = 0.5  # losses closer to the best than this share of the leaders' spread count as about equal
_LEADERS = 4  # one of so many


def ladder(horizon: int) -> tuple[int, ...]:
    """The steps at which curves are compared, about a factor of the square root of two apart, the horizon last.

    >>> ladder(50)
    (1, 2, 3, 4, 6, 9, 13, 18, 25, 35, 50)
    """
    rungs = [horizon]
    while rungs[-1] > 1:
        rungs.append(min(rungs[-1] - 1, round(rungs[-1] / math.sqrt(2))))
    return tuple(reversed(rungs))


@dataclass(frozen=True)
class Forecast:
    """Scores that curves will end at, as independent measurements of them would tell.

    A score is a logarithm of the distance from the best loss, so that differences among leaders show and explosions
    do not: 0.7 less is about half the distance. What all curves have in common is taken out of each one's
    measurement, so that it can be joined with a prior without counting it twice.

    Attributes:
        mean: Expected score of each curve at the horizon, shape ``(n,)``.
        noise: Its variance, shape ``(n,)``.
        noise_at: Variance of such a measurement for a curve that stands on each rung, shape ``(rungs,)``.
        heights: The rung that each curve stands on, shape ``(n,)``.
    """

    mean: np.ndarray
    noise: np.ndarray
    noise_at: np.ndarray
    heights: np.ndarray


def forecast(losses: np.ndarray) -> Forecast:
    """Forecast curves from their least losses up to each rung of the ladder.

    Args:
        losses: Shape ``(n, rungs)``, NaN where a curve has not got to or has no reading yet; every curve has one.

    >>> print(forecast(np.array([[0.9, 0.5, np.nan], [0.9, 0.7, 0.6], [0.8, 0.4, 0.3]])).mean.argmin())
    2
    """
    scores = _scores(losses)
    n, rungs = scores.shape
    rises = np.diff(scores, axis=1)
    falls = np.zeros((n, rungs))
    falls[:, 1:] = np.clip(np.nan_to_num(rises), -_STEEPEST, _STEEPEST)
    heights = rungs - 1 - np.isfinite(scores)[:, ::-1].argmax(axis=1)
    middle, rise, slope, persistence, variance = _regressions(scores, rises, falls)
    # Chained backwards from the horizon: end = constant + level * score + speed * fall + deviations on the way.
    constant, level, speed, deviation = np.zeros(rungs), np.ones(rungs), np.zeros(rungs), np.zeros(rungs)
    for rung in range(rungs - 2, -1, -1):
        pull = level[rung + 1] + speed[rung + 1]
        level[rung] = max(pull * slope[rung] - speed[rung + 1], _LEAST_LEVEL * level[rung + 1])
        constant[rung] = constant[rung + 1] + pull * rise[rung] + (level[rung + 1] - level[rung]) * middle[rung]
        speed[rung] = pull * persistence[rung]
        deviation[rung] = deviation[rung + 1] + pull**2 * variance[rung]
    deviation += _READING
    rows = np.arange(n)
    ends = constant[heights] + level[heights] * scores[rows, heights] + speed[heights] * falls[rows, heights]
    spread = max((float(ends.var()) if n > 2 else 0.5) + float(deviation[heights].mean()), 0.1)
    # A regression's answer is drawn to the mean of all; dividing their spread out leaves what the curve itself says.
    noise_at = 1 / np.maximum(1 / deviation - 1 / spread, _LEAST_TELLING / spread)
    noise = noise_at[heights]
    mean = np.clip(noise * (ends / deviation[heights] - ends.mean() / spread), -4, 8)
    return Forecast(mean, noise, noise_at, heights)


def _scores(losses: np.ndarray) -> np.ndarray:
    """Losses as logarithms of their distance from the best one, in units of the spread among the leaders."""
    least = np.nanmin(losses, axis=1)
    best = float(least.min())
    distances = np.sort(least - best)
    leaders = distances[: max(5, len(least) // _LEADERS)]
    spread = max(float(np.median(leaders)) if len(least) > 2 else float(distances[-1]), 1e-9 * abs(best), 1e-12)
    return np.asarray(np.log(np.clip((losses - best) / spread, 0, 1e8) + _FLAT))


def _regressions(
    scores: np.ndarray, rises: np.ndarray, falls: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """From each rung to the next: middle, rise, slope, persistence and variance, each of shape ``(rungs,)``.

    Bayesian linear regressions, ``next = middle + rise + slope * (score - middle) + persistence * fall + deviation``,
    with the median as the middle. A curve that is worse than that weighs less, since it matters less; a deviation is
    shrunk towards that of all rungs.
    """
    rungs = scores.shape[1]
    middle, rise, slope, persistence = np.zeros(rungs), np.zeros(rungs), np.ones(rungs), np.full(rungs, _PERSISTENCE)
    persistence[0] = 0
    squares, counts = np.zeros(rungs), np.zeros(rungs)
    climbed = np.flatnonzero(np.isfinite(rises).any(axis=0))
    if len(climbed):
        rises, scores, falls = rises[:, climbed].T, scores[:, climbed].T, falls[:, climbed].T  # one row for each rung
        there = np.isfinite(rises)
        middle[climbed] = _middles(np.where(there, scores, np.nan))
        scores = np.where(there, scores - middle[climbed, None], 0.0)
        weight = np.where(there, np.clip(np.exp(-scores), 0.05, 1.0), 0.0)
        inputs = np.stack([np.ones_like(scores), scores, falls], axis=2)
        surprise = np.where(there, rises, 0.0) - persistence[climbed, None] * falls
        precision = np.tile(np.diag(_SD_OF**-2.0), (len(climbed), 1, 1))
        precision[climbed == 0, 2, 2] = 1e6  # nothing has fallen yet
        weighted = (inputs * weight[:, :, None]).transpose(0, 2, 1) / _DEVIATION**2
        found = np.linalg.solve(weighted @ inputs + precision, weighted @ surprise[:, :, None])
        rest = np.clip(surprise - (inputs @ found)[:, :, 0], -_MOST_SURPRISING, _MOST_SURPRISING)
        total = weight.sum(axis=1)
        squares[climbed] = (weight * rest**2).sum(axis=1)
        counts[climbed] = np.maximum(total - np.minimum(3.0, total / 2), 0.3)
        rise[climbed] = found[:, 0, 0]
        slope[climbed] += found[:, 1, 0]
        persistence[climbed] += found[:, 2, 0]
    # Where no curve has been yet, calm lower rungs promise nothing; wild ones do.
    common = (squares.sum() + _TRUST * _DEVIATION**2) / (counts.sum() + _TRUST)
    usual = max(common, _DEVIATION**2)
    return middle, rise, slope, persistence, (squares + _TRUST * usual) / (counts + _TRUST)


def _middles(rows: np.ndarray) -> np.ndarray:
    """The median of each row without its NaN; every row has a number; ``nanmedian`` takes ten times as long."""
    ordered, counts, each = np.sort(rows, axis=1), np.isfinite(rows).sum(axis=1), np.arange(len(rows))
    return np.asarray((ordered[each, (counts - 1) // 2] + ordered[each, counts // 2]) / 2)
