"""Random search: the yardstick for every other searcher."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ayar.records import Trial
from ayar.search.base import Problem, Proposal
from ayar.search.fresh import allowed, propose_fresh, searched


@dataclass(frozen=True)
class Random:
    """Configurations drawn uniformly from the unit cube, after the default (Bergstra & Bengio, 2012)."""

    def propose(self, problem: Problem, history: Sequence[Trial], n: int) -> list[Proposal]:
        """``n`` new configurations; see ``Searcher``."""
        first, n = searched(history), allowed(problem, history, n)
        guesses = [
            problem.space.sample(np.random.default_rng((problem.seed, index))) for index in range(first, first + n)
        ]
        return propose_fresh(problem, history, guesses)
