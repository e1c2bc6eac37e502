"""CMA-ES: an evolution strategy that learns which directions matter. Needs ``pip install 'ayar[cmaes]'``."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ayar.errors import extra
from ayar.records import Configuration, Trial
from ayar.search.base import Problem, Proposal, Searcher
from ayar.search.evidence import Evidence
from ayar.search.fresh import propose_each
from ayar.search.history import FACTS, PURPOSES, STATES, column
from ayar.search.quasirandom import QuasiRandom
from ayar.seeds import Purpose

_SIGMA = 0.3  # of each axis at the beginning: a third of it on each side of the default
_MOST_DIMENSIONS = 1000  # a covariance has the square of it
_KEPT_STATES = 8
_TRIES = 16  # draws for one configuration, before anything will do
_SEARCH = PURPOSES.index(Purpose.SEARCH)
_RUNNING = STATES.index("running")


@dataclass(frozen=True)
class CmaEs:
    """CMA-ES with restarts of twice the size (Hansen, 2016, arXiv:1604.00772; Auger & Hansen, 2005).

    For long studies over numbers. Every so many trials, in the order in which they were started, are a generation. One
    that still has a trial out is left aside until that is in, so that nobody waits; failed, diverged and early stopped
    trials are the worst of theirs. Unordered choices are cut from an axis like numbers, which it cannot make use of.

    Attributes:
        base: What searches in spaces that it cannot: of one dimension, or of more than a thousand.
    """

    base: Searcher = field(default_factory=QuasiRandom)

    def propose(self, problem: Problem, history: Sequence[Trial], n: int) -> list[Proposal]:
        """``n`` new configurations; see ``Searcher``."""
        space = problem.space
        if not 2 <= space.dimensions <= _MOST_DIMENSIONS:
            return self.base.propose(problem, history, n)
        strategy = _replayed(space.encode(space.default()), problem.seed, *_results(problem, history))

        def guess(number: int, earlier: list[Configuration]) -> Iterator[Configuration]:  # noqa: ARG001
            strategy.reseed_rng(int(np.random.SeedSequence((problem.seed, number, 4)).generate_state(1)[0]))
            return (space.decode(strategy.ask()) for _ in range(_TRIES))

        return propose_each(problem, history, n, guess)


def _results(problem: Problem, history: Sequence[Trial]) -> tuple[np.ndarray, np.ndarray]:
    """Points and losses of the search's trials by number; infinite for the worst, NaN for those that are out."""
    facts, evidence = column(history, FACTS), Evidence.of(problem, history)
    losses = np.full(len(facts), np.inf)
    losses[facts["state"] == _RUNNING] = np.nan
    losses[evidence.told] = evidence.judged
    of_search = (facts["purpose"] == _SEARCH) & np.isfinite(evidence.points).all(axis=1)
    return evidence.points[of_search].clip(0, 1), losses[of_search]


@dataclass(frozen=True)
class _Snapshot:
    """A strategy that has been told these results; pickled, so that nobody can change it."""

    key: tuple[bytes, int]
    points: np.ndarray
    losses: np.ndarray
    strategy: bytes

    def leads_to(self, key: tuple[bytes, int], points: np.ndarray, losses: np.ndarray) -> bool:
        used = len(self.losses)
        return (
            self.key == key
            and used <= len(losses)
            and np.array_equal(self.losses, losses[:used], equal_nan=True)
            and np.array_equal(self.points, points[:used])
        )


_snapshots: list[_Snapshot] = []  # the latest first; whether one is found never changes what is proposed


def _replayed(mean: np.ndarray, seed: int, points: np.ndarray, losses: np.ndarray) -> Any:
    """The strategy after all generations that are in."""
    key = (mean.tobytes(), seed)
    found = next((snapshot for snapshot in _snapshots if snapshot.leads_to(key, points, losses)), None)
    used = 0 if found is None else len(found.losses)
    strategy = _strategy(mean, seed, None) if found is None else pickle.loads(found.strategy)  # noqa: S301 - our own
    begun = used
    while used + strategy.population_size <= len(losses):
        generation = slice(used, used + strategy.population_size)
        used = generation.stop
        if np.isnan(losses[generation]).any():
            continue
        # Only their order counts, and it must not hold anything infinite.
        ranks = losses[generation].argsort(kind="stable").argsort().tolist()
        strategy.tell(list(zip(points[generation], ranks, strict=True)))
        if strategy.should_stop():
            elsewhere = np.random.default_rng((seed, used, 5)).random(len(mean))
            strategy = _strategy(elsewhere, seed, 2 * strategy.population_size)
        strategy = pickle.loads(pickle.dumps(strategy))  # noqa: S301 - rounded as one that was remembered
    if used > begun or found is None:
        _snapshots.insert(0, _Snapshot(key, points[:used].copy(), losses[:used].copy(), pickle.dumps(strategy)))
        del _snapshots[_KEPT_STATES:]
    return strategy


def _strategy(mean: np.ndarray, seed: int, population: int | None) -> Any:
    with extra("cmaes"):
        from cmaes import CMA
    bounds = np.array([[0.0, 1.0]] * len(mean))
    return CMA(mean=mean.copy(), sigma=_SIGMA, bounds=bounds, seed=seed % 2**31, population_size=population)
