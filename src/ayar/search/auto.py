"""The searcher for those who do not want to choose one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ayar.records import Trial
from ayar.search.base import Problem, Proposal, Searcher, expected_best
from ayar.search.bayesian import Bayesian
from ayar.search.grid import Grid
from ayar.search.pareto import Pareto
from ayar.search.racer import Racer

_FEW = 30  # configurations that are simply all tried
_FEW_LONG = 9  # the same, where slices could save most of the steps


@dataclass(frozen=True)
class Auto:
    """Chooses by the problem alone, so a study never changes its searcher on the way.

    ===================================================================  ===============================
    the problem                                                          the searcher
    ===================================================================  ===============================
    several objectives                                                   ``Pareto``
    at most 9 configurations; at most 30 if trainings cannot be sliced   ``Grid``: all of them in full
    trainings can be sliced, horizon 3 or more                           ``Racer``
    anything else                                                        ``Bayesian``
    ===================================================================  ===============================
    """

    def choose(self, problem: Problem) -> Searcher:
        """The searcher for this problem."""
        can_race = problem.sliceable and problem.horizon >= 3
        size = problem.space.size
        if len(problem.objectives) > 1:
            return Pareto()
        if size is not None and size <= (_FEW_LONG if can_race else _FEW):
            return Grid()
        return Racer() if can_race else Bayesian()

    def recommend(self, problem: Problem, history: Sequence[Trial]) -> Trial | None:
        """What the chosen searcher recommends; None where it has no opinion."""
        return expected_best(self.choose(problem), problem, history)

    def propose(self, problem: Problem, history: Sequence[Trial], n: int) -> list[Proposal]:
        """What the chosen searcher proposes; see ``Searcher``."""
        return self.choose(problem).propose(problem, history, n)
