"""Asynchronous successive halving: many short trainings, few long ones."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import numpy as np

from ayar.records import State, Trial
from ayar.search.base import Problem, Proposal, Searcher
from ayar.search.evidence import violating
from ayar.search.history import FACTS, PURPOSES, STATES, column
from ayar.search.quasirandom import QuasiRandom
from ayar.seeds import Purpose

_PAUSED, _SEARCH = STATES.index(State.PAUSED), PURPOSES.index(Purpose.SEARCH)


@dataclass(frozen=True)
class Halving:
    """Asynchronous successive halving, ASHA (Li et al., 2018, arXiv:1810.05934, algorithm 2).

    A new configuration is trained to the first rung only. Of all that reached a rung, the best ``1 / eta`` are
    continued to the next, as soon as they are seen to be among the best: nobody waits. When the base has nothing
    new left, shares are rounded up instead of down, so that the best of a small space gets to the horizon.

    A trial's loss at a rung is the least one it had until then. Failed and diverged trials count as worst on every
    rung that they were on the way to.

    Attributes:
        base: Where new configurations come from.
        eta: One of how many is continued; the rungs are ``horizon // eta**k``.
        min_step: No rung lies below this step; ``horizon // eta**3``, but at least 1, unless given.
    """

    base: Searcher = field(default_factory=QuasiRandom)
    eta: int = 3
    min_step: int | None = None

    def __post_init__(self) -> None:
        if self.eta < 2:
            raise ValueError(f"Halving continues one of eta trials, so eta must be at least 2, got {self.eta}.")
        if self.min_step is not None and self.min_step < 1:
            raise ValueError(f"The first rung lies at step 1 or later, got min_step={self.min_step}.")

    def rungs(self, horizon: int) -> tuple[int, ...]:
        """The steps at which trials are compared, the horizon last.

        >>> Halving().rungs(100)
        (3, 11, 33, 100)
        """
        least = self.min_step if self.min_step is not None else max(horizon // self.eta**3, 1)
        rungs = [horizon]
        while (lower := rungs[-1] // self.eta) >= least:
            rungs.append(lower)
        return tuple(reversed(rungs))

    def propose(self, problem: Problem, history: Sequence[Trial], n: int) -> list[Proposal]:
        """Up to ``n`` continuations, then new trials; see ``Searcher``."""
        rungs = self.rungs(problem.horizon)
        if not problem.sliceable or len(rungs) == 1:
            return self.base.propose(problem, history, n)
        facts = column(history, FACTS)
        places = np.flatnonzero(facts["data"])
        losses, may_go_on = losses_at(problem, history, rungs)[places], waiting(facts)[places]

        def promoted(rounded: Callable[[float], int]) -> Iterator[Proposal]:
            for row, stop in promotions(losses, may_go_on, rungs, self.eta, rounded):
                trial = history[int(places[row])]
                if problem.space.contains(trial.config):  # the space may have been narrowed since
                    yield Proposal(trial.config, stop, trial.id)

        proposals = [*islice(promoted(math.floor), n)]
        if len(proposals) < n:
            new = self.base.propose(problem, history, n - len(proposals))
            proposals += [replace(proposal, stop_step=rungs[0]) for proposal in new]
        if len(proposals) < n:
            known = {proposal.trial for proposal in proposals}
            more = (proposal for proposal in promoted(math.ceil) if proposal.trial not in known)
            proposals += islice(more, n - len(proposals))
        return proposals


def losses_at(problem: Problem, history: Sequence[Trial], rungs: tuple[int, ...]) -> np.ndarray:
    """What ``LossesAt`` says of each trial; one that breaks a limit counts as one that broke."""
    losses = column(history, LossesAt(rungs))
    wrong = violating(problem, history)
    return np.where(wrong[:, None] & ~np.isnan(losses), np.inf, losses) if wrong.any() else losses


def waiting(facts: np.ndarray) -> np.ndarray:
    """Whether the search may continue each trial. What was tried by hand is evidence, but stays where it is."""
    return np.asarray((facts["state"] == _PAUSED) & (facts["purpose"] == _SEARCH))


def promotions(
    losses: np.ndarray, may_go_on: np.ndarray, rungs: Sequence[int], eta: int, rounded: Callable[[float], int]
) -> Iterator[tuple[int, int]]:
    """Who is continued and up to which step: the best one of ``eta`` at each rung, the highest rung first.

    Args:
        losses: Of trials at rungs, shape ``(n, rungs)``, as ``LossesAt`` gives them.
        may_go_on: Who may be continued, shape ``(n,)``.
        rungs: Steps at which trials are compared, the horizon last.
        eta: One of how many is continued.
        rounded: Makes a share a number of trials.
    """
    heights = (~np.isnan(losses)).sum(axis=1)  # rungs reached
    for level in range(len(rungs) - 2, -1, -1):
        quota = rounded(int((heights > level).sum()) / eta)
        best = losses[:, level].argsort(kind="stable")[:quota]  # those that did not get here, NaN, come last
        for row in best[(heights[best] == level + 1) & may_go_on[best]].tolist():
            yield row, rungs[level + 1]
    # Interrupted before the first rung: nobody can tell yet what they are worth.
    for row in np.flatnonzero((heights == 0) & may_go_on).tolist():
        yield row, rungs[0]


@dataclass(frozen=True)
class LossesAt:
    """The least loss of a trial up to each rung; NaN where it was not, infinite where it broke on the way.

    Written for thousands of long curves: what is done once per measurement is left to built-in functions.
    """

    rungs: tuple[int, ...]

    @property
    def dtype(self) -> np.dtype[Any]:
        """See ``Column``."""
        return np.dtype((np.float64, (len(self.rungs),)))

    def __call__(self, trial: Trial) -> list[float]:
        """See ``Column``."""
        rungs, last_step = self.rungs, trial.curve.last_step
        steps, losses = trial.curve.trained_losses
        broken = trial.error is not None or trial.diverged
        running = not trial.ended and trial.target_step > last_step
        # A trial that broke, or ended by itself, gets no further: it stands on the rung that it was on the way to.
        height = bisect_right(rungs, last_step if running and not broken else max(last_step, trial.target_step))
        if broken:
            row = [math.inf] * height
        else:
            ends = [bisect_right(steps, rung) for rung in rungs[:height]]
            row = [min(losses[:end], default=math.inf) for end in ends]
        return row + [math.nan] * (len(rungs) - height)
