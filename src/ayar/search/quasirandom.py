"""Quasi-random search: points that keep their distance from each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np

from ayar.records import Configuration, Trial
from ayar.search.base import Problem, Proposal
from ayar.search.fresh import allowed, golden_order, propose_each, propose_fresh, searched
from ayar.search.random_search import Random

_BLOCK = 64
_MOST_DIMENSIONS = 21201  # as far as the direction numbers of Joe & Kuo (2008) go


@dataclass(frozen=True)
class QuasiRandom:
    """The Sobol sequence, scrambled with the study's seed (Owen, 1998), after the default.

    Covers the space more evenly than random search and is as easy to run in parallel. Beyond 21201 dimensions,
    where the sequence ends, it is random search. Candidates are sorted and strided over by the golden section: the
    nearest one to each point would favour those that stand alone.
    """

    def propose(self, problem: Problem, history: Sequence[Trial], n: int) -> list[Proposal]:
        """``n`` new configurations; see ``Searcher``."""
        if not 1 <= problem.space.dimensions <= _MOST_DIMENSIONS:
            return Random().propose(problem, history, n)
        start, n = searched(history), allowed(problem, history, n)
        if (candidates := problem.space.candidates) is not None:
            order = np.lexsort(np.asarray(problem.space.candidate_points).T[::-1])
            first, stride = golden_order(len(order), problem.seed)
            places = [order[(first + index * stride) % len(order)] for index in range(start, start + n)]
            return propose_fresh(problem, history, [candidates[place] for place in places])
        return propose_each(problem, history, n, partial(_guess, problem))


def _guess(problem: Problem, number: int, _: Sequence[Configuration]) -> list[Configuration]:
    """The sequence's point for the configuration of this number, from 1: the default stands before the sequence.

    Without its first point the sequence would lose its balance.
    """
    block, place = divmod(number - 1, _BLOCK)
    return [problem.space.decode(_block(problem.space.dimensions, problem.seed, block)[place])]


@lru_cache(maxsize=16)
def _block(dimensions: int, seed: int, number: int) -> np.ndarray:
    """So many points in a row, shape ``(_BLOCK, dimensions)``: making the sequence costs more than going through it."""
    from scipy.stats import qmc

    engine = qmc.Sobol(dimensions, scramble=True, seed=seed)
    if number:  # forward by none would fail
        engine.fast_forward(number * _BLOCK)
    return np.asarray(engine.random(_BLOCK))
