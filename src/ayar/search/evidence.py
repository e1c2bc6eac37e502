"""What the history says about a space, as arrays that a model can be fitted to."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ayar.goals import Excesses
from ayar.records import State, Trial
from ayar.search.base import Problem
from ayar.search.history import FACTS, PURPOSES, STATES, Points, column
from ayar.seeds import Purpose

_COMPARED = 8  # so many trials must have got to the step at which all are compared
_EDGE = 1e-9
_OFFSET = 0.08  # of the distance between the best and the median: nearer than that to the best, distances count evenly
_FAILED, _DIVERGED, _RUNNING = (STATES.index(s) for s in (State.FAILED, State.DIVERGED, State.RUNNING))
_SEARCH = PURPOSES.index(Purpose.SEARCH)


@dataclass(frozen=True)
class BestBy:
    """The least loss of a trial up to a step; its first one where that came later, infinite without any."""

    step: int

    @property
    def dtype(self) -> np.dtype[Any]:
        """See ``Column``."""
        return np.dtype(np.float64)

    def __call__(self, trial: Trial) -> float:
        """See ``Column``."""
        steps, losses = trial.curve.trained_losses
        known = losses[: max(1, bisect_right(steps, self.step))]
        return min((loss for loss in known if not math.isnan(loss)), default=math.inf)


@dataclass(frozen=True)
class Evidence:
    """Search data that lies in the space, by the places of its trials in the history.

    Trials are compared at the latest step that at least eight of them got to, as in BOHB (Falkner et al., 2018,
    arXiv:1807.01774); those that did not get there are left out.

    Attributes:
        points: Of every trial, in the unit cube, shape ``(n, dimensions)``; NaN where the space has no place for it.
        losses: Of every trial at the step of comparison, shape ``(n,)``.
        told: Places of the trials that can be compared, in the order in which they were started.
        broken: Places of failed and diverged trials.
        outstanding: Places of running trials that have measured nothing yet.
        violating: Whether a trial breaks a limit, as far as is known, booleans of shape ``(n,)``.
    """

    points: np.ndarray
    losses: np.ndarray
    told: np.ndarray
    broken: np.ndarray
    outstanding: np.ndarray
    violating: np.ndarray

    @property
    def judged(self) -> np.ndarray:
        """The losses of the told trials, infinite where a limit is broken, in the order of ``told``."""
        return np.where(self.violating[self.told], np.inf, self.losses[self.told])

    @classmethod
    def of(cls, problem: Problem, history: Sequence[Trial]) -> Evidence:
        """The evidence in a history.

        Trials of the search count wherever they lie: a space may have been narrowed since. What was tried by hand
        counts inside the space.
        """
        facts, points = column(history, FACTS), column(history, Points(problem.space))
        inside = ((points >= -_EDGE) & (points <= 1 + _EDGE)).all(axis=1)
        placed = np.isfinite(points).all(axis=1) if points.shape[1] else np.ones(len(points), dtype=bool)
        usable = facts["data"] & placed & (inside | (facts["purpose"] == _SEARCH))
        broken = (facts["state"] == _FAILED) | (facts["state"] == _DIVERGED)
        measured = facts["readings"] > 0
        sound = np.flatnonzero(usable & measured & ~broken)
        steps = facts["last_step"][sound]
        level = 0
        if len(sound):
            place = max(len(sound) - _COMPARED, 0)
            level = int(np.partition(steps, place)[place])
        return cls(
            points,
            column(history, BestBy(level)),
            sound[steps >= level],
            np.flatnonzero(usable & broken),
            np.flatnonzero(usable & ~measured & (facts["state"] == _RUNNING)),
            violating(problem, history),
        )


def violating(problem: Problem, history: Sequence[Trial]) -> np.ndarray:
    """Which trials are known to break one of the problem's limits, booleans of shape ``(n,)``."""
    if not problem.constraints:
        return np.zeros(len(history), dtype=bool)
    return np.asarray((column(history, Excesses(problem.constraints)) > 0).any(axis=1))


def milestone(count: int, digits: int) -> int:
    """A count cut to its first binary digits: it rises in steps, and a fit to so many is remembered in between.

    >>> [milestone(count, 4) for count in (9, 25, 99, 1000)]
    [9, 24, 96, 960]
    """
    step: int = 2 ** max(count.bit_length() - digits, 0)
    return count // step * step


def spread(count: int, most: int) -> np.ndarray:
    """At most ``most`` of the places below ``count``, evenly spread.

    >>> spread(3, 4), spread(9, 3)
    (array([0, 1, 2]), array([0, 4, 8]))
    """
    if count <= most:
        return np.arange(count)
    return np.linspace(0, count - 1, most).astype(int)


def telling(losses: np.ndarray, most: int) -> np.ndarray:
    """At most ``most`` places to fit a model to, in rising order: the best half, and the others evenly spread."""
    count = len(losses)
    if count <= most:
        return np.arange(count)
    half = most // 2
    best = np.argpartition(losses, half)[:half]
    others = np.delete(np.arange(count), best)
    return np.sort(np.concatenate([best, others[spread(len(others), most - half)]]))


def warped(losses: np.ndarray) -> np.ndarray:
    """Losses on a scale that a Gaussian process can work with, shape ``(n,)``; less is better, the median is 0.

    The better half keeps its distances, on a log scale that is finest near the best: two trainings of nearly the same
    loss get nearly the same score. The worse half gets the normal scores of its order, so that no outlier pulls, and
    infinite losses are the worst. Any affine change of the losses gives the same scores.
    """
    from scipy.special import ndtri
    from scipy.stats import rankdata

    by_order = np.asarray(ndtri((rankdata(losses) - 0.5) / max(len(losses), 1)))
    middle = float(np.median(losses))
    better = losses < middle
    if better.sum() < 3 or not math.isfinite(middle):
        return by_order
    span = middle - losses[better].min()
    near = np.log((losses[better] - losses[better].min()) / span + _OFFSET) - math.log(1 + _OFFSET)
    # In the better half both have the same root mean square, so the halves fit together.
    factor = math.sqrt(np.square(by_order[better]).mean() / np.square(near).mean())
    result = by_order.copy()
    result[better] = factor * near
    return result
