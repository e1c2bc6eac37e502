"""The contract every searcher keeps.

A searcher is a pure function of the problem and the history: no hidden memory, so a study resumed from its
ledger goes on exactly as if it had never stopped. Outstanding moves are in the history as running trials.

Most of what a searcher asks of a trial it asks again for the next move. ``ayar.search.history`` keeps the answers:
``column(history, FACTS)`` and ``column(history, Points(space))`` are arrays with one row for each trial, made anew for
a plain sequence and only where trials have changed for the ``History`` that a study keeps.

A worked sequence, with two workers::

    propose(problem, [], 2)                    -> two new configurations
    propose(problem, [0 running, 1 paused], 1) -> continue 1, or a third configuration; never 0 again
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from ayar.goals import Constraint
from ayar.records import Configuration, Metric, Trial
from ayar.seeds import Purpose
from ayar.space import Space

SEARCH_DATA = frozenset({Purpose.SEARCH, Purpose.ATTEMPT})
"""Purposes whose trials a searcher may learn from; confirmation data is not for searching."""


@dataclass(frozen=True, eq=False)
class Source:
    """What an earlier study leaves behind; see ``ayar.search.sources``.

    Attributes:
        name: What to call it.
        trials: Configurations with their losses, infinite for those that broke.
    """

    name: str
    trials: tuple[tuple[Configuration, float], ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """What is searched.

    Attributes:
        space: Where configurations come from.
        horizon: The largest step.
        seed: The study's seed; every random choice derives from it.
        sliceable: Whether a training can be stopped before the horizon and continued later.
        max_trials: No new trial is proposed once the history holds so many search trials; the space then counts
            as exhausted. None: no limit.
        objectives: What is to be made small or large, the metric that losses come from first; empty where it is alone.
        constraints: Limits that the recommended configuration has to keep.
        sources: Earlier studies to learn from.
        least_slice: Steps that are worth a decision of their own: fewer take hardly longer to train than to choose.
            A searcher that slices trainings as it likes gives no shorter ones.
    """

    space: Space
    horizon: int
    seed: int = 0
    sliceable: bool = True
    max_trials: int | None = None
    objectives: tuple[Metric, ...] = ()
    constraints: tuple[Constraint, ...] = ()
    sources: tuple[Source, ...] = ()
    least_slice: int = 1


@dataclass(frozen=True, slots=True)
class Proposal:
    """Train ``config`` up to ``stop_step``: as a new trial, or as a continuation of ``trial``.

    With ``parent`` the new trial begins with the state in which that trial is paused.
    """

    config: Configuration
    stop_step: int
    trial: int | None = None
    parent: int | None = None


class Searcher(Protocol):
    """Proposes moves from the history."""

    def propose(self, problem: Problem, history: Sequence[Trial], n: int) -> list[Proposal]:
        """Up to ``n`` proposals; fewer, even none, when all that is left waits for outstanding moves.

        The same arguments give the same proposals; ``history`` is left as it was; a configuration that is
        already in it is not proposed as a new trial; only ``problem.space.candidates`` are, where there are any.
        No proposals while nothing is outstanding means that the space is exhausted.
        """
        ...


@runtime_checkable
class Recommender(Protocol):
    """A searcher that has an opinion of its own on which trial is the best."""

    def recommend(self, problem: Problem, history: Sequence[Trial]) -> Trial | None:
        """The trial expected to end best, not the one with the luckiest reading; None without an opinion."""
        ...


def expected_best(searcher: Searcher, problem: Problem, history: Sequence[Trial]) -> Trial | None:
    """The trial that a searcher expects to end best; None where it has no opinion of its own."""
    return searcher.recommend(problem, history) if isinstance(searcher, Recommender) else None
