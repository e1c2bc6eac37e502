"""The curve doctor in the search: the moves that the best trials' curves ask for, as configurations to try."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from ayar.curves.advice import advise
from ayar.curves.reading import MIN_POINTS
from ayar.curves.schedules import rate_left
from ayar.curves.verdict import diagnose
from ayar.errors import BudgetError
from ayar.lineage import whole_curve
from ayar.records import Configuration, Trial
from ayar.search.base import Problem, Proposal, Searcher
from ayar.search.fresh import Known, searched
from ayar.search.history import FACTS, column

LEADERS = 5
"""Of so many trials, the best, the curves are read for advice."""

RIVALS = 20
"""So many of the best stand beside them: that a curve ends higher than another's is told by that other."""


class Doctor(StrEnum):
    """What a search does with what the curves say."""

    LISTEN = "listen"
    STOP = "stop"
    ADVISE = "advise"
    OFF = "off"

    @classmethod
    def named(cls, name: str) -> Doctor:
        """The one with this name; BudgetError for an unknown one."""
        try:
            return cls(name)
        except ValueError:
            raise BudgetError(f"doctor={name!r} is unknown. Give one of: {', '.join(cls)}.") from None

    @property
    def stops(self) -> bool:
        """Whether trials that diverge are stopped early."""
        return self in (Doctor.LISTEN, Doctor.STOP)

    @property
    def advises(self) -> bool:
        """Whether moves that follow from verdicts are tried."""
        return self in (Doctor.LISTEN, Doctor.ADVISE)

    def beside(self, searcher: Searcher) -> Searcher:
        """The searcher, with the doctor's moves among its proposals where they are wanted."""
        return Advised(searcher) if self.advises else searcher


@dataclass(frozen=True)
class Advised:
    """Any searcher, some of whose new configurations are the doctor's moves instead.

    Attributes:
        searcher: Whose proposals the others are; continuations are all its own.
        every: One of how many new configurations is a move, where there is one that was not tried.
    """

    searcher: Searcher
    every: int = 4

    def propose(self, problem: Problem, history: Sequence[Trial], n: int) -> list[Proposal]:
        """What the searcher proposes, with moves in the place of some new trials; see ``Searcher``."""
        proposals = self.searcher.propose(problem, history, n)
        if problem.horizon == 1:
            return proposals  # one reading is no curve
        known, number, waiting = Known(history), searched(history), moves(problem, history)
        for place, proposal in enumerate(proposals):
            if proposal.trial is not None or proposal.parent is not None:
                continue
            number += 1
            if number % self.every == 0:
                others = [other.config for other in proposals]
                move = next((move for move in waiting if move not in known and move not in others), proposal.config)
                proposals[place] = replace(proposal, config=move)
        return proposals


def moves(problem: Problem, history: Sequence[Trial]) -> Iterator[Configuration]:
    """The configurations that advice on the best trials leads to, inside the space, the most promising first.

    First comes the first move of the best trial, then that of the second best, and so on; then their second moves.
    Those that were tried already are among them, too. A pure function of its arguments.
    """
    facts = column(history, FACTS)
    order = np.lexsort((facts["id"], -facts["last_step"], facts["loss"]))
    best = [
        history[at] for at in order[facts["data"][order] & (facts["readings"][order] >= MIN_POINTS)][:RIVALS].tolist()
    ]
    siblings = [whole_curve(trial, lambda number: next(t for t in history if t.id == number)) for trial in best]
    asked: list[list[Configuration]] = []
    for trial, curve in zip(best[:LEADERS], siblings, strict=False):  # one is diagnosed when its move is asked for
        verdicts = diagnose(
            curve,
            siblings=siblings,
            horizon=problem.horizon,
            learning_rate_late=rate_left(trial.config, trial.curve.last_step, problem.horizon),
        )
        advised = advise(verdicts, trial.config, problem.space)
        asked.append([trial.config | move.changes for move in advised if move.changes])
        yield from filter(problem.space.contains, asked[-1][:1])
    for place in range(1, max(map(len, asked), default=0)):
        configs = [own[place] for own in asked if place < len(own)]
        yield from filter(problem.space.contains, configs)
