"""The tree-structured Parzen estimator: where good trials are dense and bad ones are not."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from ayar.records import Configuration, Trial
from ayar.search.base import Problem, Proposal, Searcher
from ayar.search.evidence import Evidence, spread
from ayar.search.fresh import propose_each
from ayar.search.gaussian_process import Embedding
from ayar.search.quasirandom import QuasiRandom
from ayar.space import Space

_FEWEST = 8  # trials before anything is modelled
_MOST_GOOD = 25
_MOST_BAD = 200
_DRAWS = 64
_KEPT = 0.8  # of the weight of a choice stays with its own value
_MOST_DIMENSIONS = 1000


@dataclass(frozen=True)
class Tpe:
    """Multivariate TPE (Bergstra et al., 2011; multivariate as in Falkner et al., 2018, arXiv:1807.01774).

    The best tenth of the trials, at most 25, are good. A kernel density over all hyperparameters together is drawn
    from for the good ones; of the draws, the one with the highest ratio of the good density to that of the others is
    proposed. Failed and diverged trials are bad, those that break a limit, and outstanding ones too, which keeps
    workers apart. A hyperparameter that is inactive in a trial says nothing about its values.

    Attributes:
        base: Where the first configurations come from.
    """

    base: Searcher = field(default_factory=QuasiRandom)

    def propose(self, problem: Problem, history: Sequence[Trial], n: int) -> list[Proposal]:
        """``n`` new configurations; see ``Searcher``."""
        if not 1 <= problem.space.dimensions <= _MOST_DIMENSIONS:
            return self.base.propose(problem, history, n)
        evidence = Evidence.of(problem, history)
        if len(evidence.told) < _FEWEST:
            return self.base.propose(problem, history, n)
        space, (good, bad) = problem.space, _split(evidence)
        good_density = Density.at(space, evidence.points[good])

        def guess(number: int, earlier: list[Configuration]) -> Iterator[Configuration]:
            waiting = [evidence.points[evidence.outstanding], *(space.encode(config)[None] for config in earlier)]
            outstanding = np.concatenate(waiting)[-_MOST_BAD:]
            bad_density = Density.at(space, np.concatenate([evidence.points[bad], outstanding]))
            draws = good_density.draw(_DRAWS, np.random.default_rng((problem.seed, number, 3)))
            ratios = good_density.logs(draws) - bad_density.logs(draws)
            return (space.decode(draws[place]) for place in np.argsort(-ratios, kind="stable"))

        return propose_each(problem, history, n, guess)


def _split(evidence: Evidence) -> tuple[np.ndarray, np.ndarray]:
    """Places of the good trials, and of the others or a part of them."""
    told, losses = evidence.told, evidence.judged
    count = min(math.ceil(0.1 * len(told)), _MOST_GOOD)
    best = np.argpartition(losses, count - 1)[:count] if count < len(told) else np.arange(len(told))
    others = np.concatenate([np.delete(told, best), evidence.broken])
    return told[np.sort(best)], others[spread(len(others), _MOST_BAD)]


@dataclass(frozen=True)
class Density:
    """A mixture with one component around each point, and one that is uniform, over the cube of a space.

    A component is a product over coordinates: a normal density for a number, cut off at the ends of the axis; for an
    unordered choice most of the weight on its own value. Where a coordinate is inactive in the point, its component
    is uniform there; where it is inactive in a query, it does not count.

    Attributes:
        points: Centres, shape ``(n, dimensions)``.
        active: Which of their coordinates count, the same shape.
        width: Standard deviation of a number's density.
        levels: For each coordinate the number of unordered choices, or 0 for a number.
    """

    space: Space
    points: np.ndarray
    active: np.ndarray
    width: float
    levels: np.ndarray

    @classmethod
    def at(cls, space: Space, points: np.ndarray) -> Density:
        """The density of these points; the more there are, the narrower each (Scott's rule)."""
        points = points.clip(0, 1)
        width = max(0.2 * max(len(points), 1) ** (-1 / (space.dimensions + 4)), 0.02)
        return cls(space, points, space.active(points), width, np.array(Embedding.of(space).levels))

    def draw(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Points drawn from it, as configurations lie in the cube, shape ``(count, dimensions)``."""
        dimensions = self.points.shape[1]
        chosen = rng.integers(len(self.points) + 1, size=count)  # the last one is uniform
        anywhere = rng.random((count, dimensions))
        centres = np.vstack([self.points, np.full(dimensions, 0.5)])[chosen]
        follows = np.vstack([self.active, np.zeros(dimensions, dtype=bool)])[chosen]
        low, high = _normal_cdf(-centres / self.width), _normal_cdf((1 - centres) / self.width)
        numbers = centres + self.width * _normal_quantile(low + anywhere * (high - low))
        kept = rng.random((count, dimensions)) < _KEPT
        values = np.where(self.levels > 0, np.where(kept, centres, anywhere), numbers)
        drawn = np.where(follows, values, anywhere)
        return self.space.snap(drawn) if self.space.candidates is None else self._nearest(drawn)

    def _nearest(self, drawn: np.ndarray) -> np.ndarray:
        return np.unique(self.space.snap(drawn), axis=0)

    def logs(self, queries: np.ndarray) -> np.ndarray:
        """Logarithm of the density at points, shape ``(m,)``."""
        counts = self.space.active(queries)
        total = np.zeros((len(queries), len(self.points)))
        for place, levels in enumerate(self.levels.tolist()):
            at, centre = queries[:, place, None], self.points[None, :, place]
            if levels:
                alike = np.floor(at * levels).clip(0, levels - 1) == np.floor(centre * levels).clip(0, levels - 1)
                log = np.where(alike, math.log(_KEPT + (1 - _KEPT) / levels), math.log((1 - _KEPT) / levels))
                log += math.log(levels)  # as a density over the axis
            else:
                mass = _normal_cdf((1 - centre) / self.width) - _normal_cdf(-centre / self.width)
                log = -0.5 * ((at - centre) / self.width) ** 2 - np.log(mass * self.width * math.sqrt(2 * math.pi))
            total += np.where(counts[:, place, None] & self.active[None, :, place], log, 0.0)
        total = np.hstack([total, np.zeros((len(queries), 1))])
        peak = total.max(axis=1, keepdims=True)
        mixed: np.ndarray = peak[:, 0] + np.log(np.exp(total - peak).sum(axis=1)) - math.log(total.shape[1])
        return mixed


def _normal_cdf(x: np.ndarray) -> np.ndarray:
    from scipy.special import ndtr

    return np.asarray(ndtr(x))


def _normal_quantile(p: np.ndarray) -> np.ndarray:
    from scipy.special import ndtri

    return np.asarray(ndtri(p.clip(1e-12, 1 - 1e-12)))
