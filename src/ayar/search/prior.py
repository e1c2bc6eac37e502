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

_FEWEST = 6  # trials before the belief is put to the test


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

    def weight(self, points: np.ndarray, losses: np.ndarray) -> float:
        """How much its logarithm is to count beside a model of these trials: less with each, and 0 once refuted.

        It is borne out where the better third of the trials is believed in more than the others are.
        """
        trials = len(losses)
        if trials < _FEWEST:
            return _STRENGTH / max(trials, 1)
        order, logs = np.argsort(losses, kind="stable"), self.logs(points)
        better = order[: trials // 3]
        lead = float(logs[better].mean() - logs[order[trials // 3 :]].mean())
        return _STRENGTH / trials * min(max(lead, 0.0), 1.0)
