"""What a person believes before the first trial: a guess for each hyperparameter, and how sure it is.

Pure functions for any searcher: where to draw candidates, how much a point is believed in, and how far the trials so
far bear the belief out. A searcher that weighs by ``Belief.weight`` follows a good guess at once and forgets a bad one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ayar.space import Choice, PerLayer, Space

_WIDTHS = {"weak": 0.3, "medium": 0.15, "strong": 0.07}
"""Standard deviation of the belief about a number, as a share of its axis."""

_SURE = {"weak": 0.3, "medium": 0.6, "strong": 0.9}
"""Part of the belief that lies on the guess; the rest lies anywhere."""

_STRENGTH = 10.0
"""The belief counts as much as so many trials (piBO: Hvarfner et al., 2022, arXiv:2204.11051)."""

_BENEFIT = (0.7, 1.0)  # how far what was known before is followed without any trial, and as how many that counts
_DOUBT = 0.5  # standard deviations of a rank correlation without meaning, that the one found has to exceed
_OFTEN, _SELDOM = 4, 10  # one of how many trials follows what was known before: at first, and later
_LATER = 20  # trials
_GOLDEN = (math.sqrt(5) - 1) / 2  # its multiples are spread evenly: any share of the numbers comes at even distances


@dataclass(frozen=True)
class Belief:
    """A density over the unit cube: around the guesses, and a part of it anywhere.

    Attributes:
        places: Coordinates of the cube with a guess, shape ``(k,)``.
        peaks: Where the guesses lie, shape ``(k,)``.
        widths: Standard deviations; 0 for an unordered choice, all of whose belief lies on one value.
        levels: For an unordered choice, how many values there are.
        sure: The part that lies on the guess.
    """

    space: Space
    places: np.ndarray
    peaks: np.ndarray
    widths: np.ndarray
    levels: np.ndarray
    sure: np.ndarray

    @classmethod
    def of(cls, space: Space) -> Belief | None:
        """The belief that a space's guesses make; None without any."""
        rows, place = [], 0
        for name in space.names:
            entry = space[name]
            axis: Any = entry.element if isinstance(entry, PerLayer) else entry
            if not hasattr(axis, "to_unit"):
                continue
            width = space.width(name)
            if axis.guess is not None:
                unordered = isinstance(axis, Choice) and not axis.ordered
                sd = 0.0 if unordered else _WIDTHS[axis.confidence]
                row = (axis.to_unit(axis.guess), sd, axis.size if unordered else 0, _SURE[axis.confidence])
                rows += [(place + layer, *row) for layer in range(width)]
            place += width
        if not rows:
            return None
        places, peaks, widths, levels, sure = map(np.array, zip(*rows, strict=True))
        return cls(space, places.astype(int), peaks, widths, levels.astype(int), sure)

    def draw(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Points drawn from it, as configurations lie in the cube, shape ``(count, dimensions)``."""
        points = rng.random((count, self.space.dimensions))
        there = rng.random((count, len(self.places))) < self.sure
        near = self.peaks + self.widths * rng.normal(size=there.shape)
        near = np.where((near < 0) | (near > 1), self.peaks - (near - self.peaks), near).clip(0, 1)
        points[:, self.places] = np.where(there, near, points[:, self.places])
        return self.space.snap(points)

    def logs(self, points: np.ndarray) -> np.ndarray:
        """Logarithm of its density at points, shape ``(m,)``; 0 where it is what a uniform one would be."""
        at = points[:, self.places]
        sd = np.where(self.widths > 0, self.widths, 1.0)
        images = (at, -at, 2 - at)  # what lies beyond an end of the axis is folded back
        normal = sum(np.exp(-0.5 * ((image - self.peaks) / sd) ** 2) for image in images) / (
            sd * math.sqrt(2 * math.pi)
        )
        cell = np.maximum(self.levels, 1)
        alike = np.floor(at * cell).clip(0, cell - 1) == np.floor(self.peaks * cell)
        on_guess = np.where(self.levels > 0, alike * cell, normal)
        density = self.sure * on_guess + (1 - self.sure)
        active = self.space.active(points)[:, self.places]
        return np.asarray(np.where(active, np.log(density), 0.0).sum(axis=1))

    def borne_out(self, points: np.ndarray, losses: np.ndarray) -> float:
        """How far these trials bear it out, from 0 to 1."""
        return borne_out(-self.logs(points), losses)

    def weight(self, points: np.ndarray, losses: np.ndarray) -> float:
        """How much its logarithm is to count beside a model of these trials: less with each, and 0 once refuted."""
        return _STRENGTH / max(len(losses), 1) * self.borne_out(points, losses)


def borne_out(expected: np.ndarray, losses: np.ndarray, among: int = 1) -> float:
    """How far these trials bear out what was expected of them, from 0, not at all, to 1.

    It is the rank correlation of the two, less what chance alone often makes of it. Before there is anything to compare
    it is taken for likely.

    Args:
        expected: Less for what was expected to be better, shape ``(n,)``.
        losses: What came of it, infinite for the worst.
        among: Of how many expectations this is one: of many, some agree by chance.
    """
    from scipy.stats import spearmanr

    start, counts = _BENEFIT
    trials = len(losses)
    found = 0.0
    if trials > 1 and np.ptp(expected) > 0 and losses.min() < losses.max():
        found = float(spearmanr(expected, np.nan_to_num(losses, posinf=1e300)).statistic)
    doubt = _DOUBT * (1 + math.log(among) / 2) / math.sqrt(max(trials, 1))
    followed = (start * counts + found * trials) / (counts + trials) - doubt
    return start if trials < 2 else min(max(followed, 0.0), 1.0)


def asks_the_past(number: int) -> bool:
    """Whether the search's trial of this number may follow what was known before it; the others never do.

    So whatever that is worth, most trials are what they would be without: three of four at first, nine of ten later.
    """
    return number == 1 or number % (_OFTEN if number < _LATER else _SELDOM) == _OFTEN - 1


def follows(number: int, borne_out: float) -> bool:
    """Whether the trial of this number follows what was known before and is borne out so far by the earlier trials.

    None does where it is not borne out at all; else those that ask the past, and more until they are as large a share.

    >>> [sum(follows(number, share) for number in range(100, 200)) for share in (0, 0.01, 0.5, 1)]
    [0, 10, 54, 100]
    """
    return borne_out > 0 and (asks_the_past(number) or number * _GOLDEN % 1 < borne_out)
