"""Points to choose a new configuration from."""

from __future__ import annotations

import numpy as np

from ayar.search.gaussian_process import Embedding
from ayar.space import Space


def near(space: Space, centres: np.ndarray, count: int, width: float, rng: np.random.Generator) -> np.ndarray:
    """Points near some of the centres, shape ``(count, dimensions)``.

    At least one coordinate moves; a number by about ``width`` of its axis, an unordered choice to any other value.
    """
    return space.snap(_moved(space, centres, count, width, rng))


def _moved(space: Space, centres: np.ndarray, count: int, width: float, rng: np.random.Generator) -> np.ndarray:
    """The same before they are snapped, which takes nearly as long for one as for all."""
    dimensions = space.dimensions
    centre = centres[rng.integers(len(centres), size=count)]
    moved = rng.random((count, dimensions)) < max(0.2, 2 / dimensions)
    moved[np.arange(count), rng.integers(dimensions, size=count)] = True
    unordered = np.array(Embedding.of(space).levels) > 0
    stepped = centre + rng.normal(0, width, centre.shape)
    stepped = np.where((stepped < 0) | (stepped > 1), centre - (stepped - centre), stepped)
    target = np.where(unordered, rng.random(centre.shape), stepped)
    return np.where(moved, target, centre).clip(0, 1)


def pool(space: Space, best: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Points to choose from: half of them anywhere, half near the best; candidates only, where there are any."""
    half = count // 2
    if (points := space.candidate_points) is None:
        spread, quarter = rng.random((half, space.dimensions)), count // 4
        wide, narrow = (_moved(space, best, quarter, width, rng) for width in (0.2, 0.05))
        return space.snap(np.concatenate([spread, wide, narrow]))
    if len(points) <= count:
        return np.asarray(points)
    distance = ((points[:, None] - best) ** 2).sum(axis=2).min(axis=1)
    chosen = np.union1d(distance.argsort(kind="stable")[:half], rng.permutation(len(points))[:half])
    return np.asarray(points[chosen])
