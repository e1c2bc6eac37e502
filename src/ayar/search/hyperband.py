"""Hyperband: successive halving with several first rungs, for when nobody knows which one suits."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

import numpy as np

from ayar.records import Trial
from ayar.search.base import Problem, Proposal, Searcher
from ayar.search.fresh import searched
from ayar.search.halving import Halving, losses_at, promotions, waiting
from ayar.search.history import FACTS, PURPOSES, column
from ayar.search.quasirandom import QuasiRandom
from ayar.seeds import Purpose

_SEARCH = PURPOSES.index(Purpose.SEARCH)
_ALL_BRACKETS = -1


@dataclass(frozen=True)
class Hyperband:
    """Asynchronous Hyperband (Li et al., 2018, arXiv:1603.06560; asynchronous as in arXiv:2003.10865).

    Each new trial belongs to a bracket, which it gets by its number: as many of a bracket as Hyperband starts there.
    Bracket ``b`` is ``Halving`` without the first ``b`` rungs; the last one trains to the horizon at once. Nobody
    waits for anybody, so failures, late results and any number of workers are as normal as in ``Halving``.

    Attributes:
        base: Where new configurations come from.
        eta: One of how many is continued.
    """

    base: Searcher = field(default_factory=QuasiRandom)
    eta: int = 3

    def brackets(self, rungs: int) -> np.ndarray:
        """For one round of Hyperband, the bracket of each new trial, the shortest trainings first.

        >>> Hyperband().brackets(3).tolist()
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 2]
        """
        # ceil(s_max + 1) / (s + 1) * eta**s trials start in the bracket with s promotions (algorithm 1, line 3)
        counts = [math.ceil(rungs / (s + 1) * self.eta**s) for s in reversed(range(rungs))]
        return np.repeat(np.arange(rungs), counts)

    def propose(self, problem: Problem, history: Sequence[Trial], n: int) -> list[Proposal]:
        """Up to ``n`` continuations, then new trials; see ``Searcher``."""
        rungs = Halving(eta=self.eta).rungs(problem.horizon)
        if not problem.sliceable or len(rungs) == 1:
            return self.base.propose(problem, history, n)
        order = self.brackets(len(rungs))
        found = islice(self._promotions(problem, history, rungs, order, math.floor), n)
        proposals = [Proposal(history[place].config, stop, history[place].id) for place, stop in found]
        if len(proposals) < n:
            new = self.base.propose(problem, history, n - len(proposals))
            numbers = range(searched(history), searched(history) + len(new))
            stops = [rungs[order[number % len(order)]] for number in numbers]
            proposals += [replace(proposal, stop_step=stop) for proposal, stop in zip(new, stops, strict=True)]
        if len(proposals) < n:
            known = {proposal.trial for proposal in proposals}
            more = self._promotions(problem, history, rungs, order, math.ceil)
            continued = (Proposal(history[place].config, stop, history[place].id) for place, stop in more)
            proposals += islice((p for p in continued if p.trial not in known), n - len(proposals))
        return proposals

    def _promotions(
        self,
        problem: Problem,
        history: Sequence[Trial],
        rungs: tuple[int, ...],
        order: np.ndarray,
        rounded: Callable[[float], int],
    ) -> Iterator[tuple[int, int]]:
        facts, losses = column(history, FACTS), losses_at(problem, history, rungs)
        is_search = facts["purpose"] == _SEARCH
        bracket = np.where(is_search, order[(np.cumsum(is_search) - 1) % len(order)], _ALL_BRACKETS)
        for b in range(len(rungs)):
            inside = facts["data"] & ((bracket == b) | (bracket == _ALL_BRACKETS))
            places = np.flatnonzero(inside)
            found = promotions(losses[places, b:], waiting(facts)[places], rungs[b:], self.eta, rounded)
            for row, stop in found:
                if problem.space.contains(history[int(places[row])].config):  # it may have been narrowed since
                    yield int(places[row]), stop
