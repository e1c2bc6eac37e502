"""Asynchronous successive halving: many short trainings, few long ones."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from ayar.records import Trial
from ayar.search.base import SEARCH_DATA, Problem, Proposal, Searcher
from ayar.search.quasirandom import QuasiRandom
from ayar.seeds import Purpose


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
        entrants = [_entrant(trial, rungs) for trial in history if trial.purpose in SEARCH_DATA]
        proposals = [*_unready(entrants, rungs), *self._promotions(entrants, rungs, math.floor)][:n]
        if len(proposals) < n:
            new = self.base.propose(problem, history, n - len(proposals))
            proposals += [replace(proposal, stop_step=rungs[0]) for proposal in new]
        if len(proposals) < n:
            promoted = {proposal.trial for proposal in proposals}
            more = [p for p in self._promotions(entrants, rungs, math.ceil) if p.trial not in promoted]
            proposals += more[: n - len(proposals)]
        return proposals

    def _promotions(
        self, entrants: list[_Entrant], rungs: tuple[int, ...], rounded: Callable[[float], int]
    ) -> Iterator[Proposal]:
        """Continuations of the best paused trials, the highest rung first."""
        for level in range(len(rungs) - 2, -1, -1):
            reached = sorted(
                (entrant.losses[level], entrant.trial.id, entrant)
                for entrant in entrants
                if len(entrant.losses) > level
            )
            for _, _, entrant in reached[: rounded(len(reached) / self.eta)]:
                if entrant.paused and len(entrant.losses) == level + 1:
                    yield Proposal(entrant.trial.config, rungs[level + 1], entrant.trial.id)


@dataclass(frozen=True, slots=True)
class _Entrant:
    """A trial as halving sees it.

    Attributes:
        losses: The least loss up to each rung that it reached, lowest rung first.
        paused: It waits to be continued by the search.
    """

    trial: Trial
    losses: list[float]
    paused: bool


def _entrant(trial: Trial, rungs: tuple[int, ...]) -> _Entrant:
    measurements = [m for m in trial.curve.measurements if m.step > 0]
    losses = [m.loss for m in measurements]
    steps = [m.step for m in measurements]
    last_step = steps[-1] if steps else 0
    if trial.error is not None or not all(map(math.isfinite, losses)):
        reached = bisect_right(rungs, max(last_step, trial.target_step))
        return _Entrant(trial, [math.inf] * reached, paused=False)
    running = not trial.ended and trial.target_step > last_step
    # A training that ended by itself will not get any further: its last loss holds at the rung it was on the way to.
    reached = bisect_right(rungs, last_step if running else max(last_step, trial.target_step))
    least = [min(losses[: bisect_right(steps, rung)], default=math.inf) for rung in rungs[:reached]]
    return _Entrant(trial, least, paused=not running and not trial.ended and trial.purpose is Purpose.SEARCH)


def _unready(entrants: list[_Entrant], rungs: tuple[int, ...]) -> Iterator[Proposal]:
    """Continuations of trials that were interrupted before the first rung."""
    for entrant in entrants:
        if entrant.paused and not entrant.losses:
            yield Proposal(entrant.trial.config, rungs[0], entrant.trial.id)
