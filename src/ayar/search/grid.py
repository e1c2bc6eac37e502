"""Grid search: every combination, in an order whose beginning already covers the space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ayar.records import Trial
from ayar.search.base import Problem, Proposal
from ayar.search.fresh import Known, allowed, golden_order, searched


@dataclass(frozen=True)
class Grid:
    """All configurations of a finite space; in a continuum, ``points`` values for each Float and Int.

    The order strides over the grid by the golden section, from a place that the seed decides.

    Attributes:
        points: Values for each Float and Int where the space is a continuum, both ends included.
    """

    points: int = 5

    def propose(self, problem: Problem, history: Sequence[Trial], n: int) -> list[Proposal]:
        """The next ``n`` of the grid; see ``Searcher``."""
        space, n = problem.space, allowed(problem, history, n)
        grid = space.grid() if space.size is not None else space.grid(self.points)
        start, stride = golden_order(grid.size, problem.seed)
        known = Known(history)
        proposals: list[Proposal] = []
        # Those before `first` have most likely been proposed; they come last, in case they have not.
        first = searched(history)
        for number in range(first, first + grid.size):
            if len(proposals) == n:
                break
            config = grid.pick((start + number * stride) % grid.size)
            if config not in known:
                known.add(config)
                proposals.append(Proposal(config, problem.horizon))
        return proposals
