"""The contest of a recheck: screening by halves, then the confirmation; how a budget is split, and its power.

All challengers meet the incumbent on two common seeds; the better half on one more, or as many as the budget has;
the best of them in the confirmation. Halving spends the screening where the choice is close (Karnin et al. 2013,
"Almost optimal exploration in multi-armed bandits"), and nothing of it counts as proof.

Arms are numbered: 0 is the incumbent, 1, 2, ... are the challengers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from ayar.errors import BudgetError
from ayar.recheck.confirm import (
    ERROR,
    FEWEST_PAIRS,
    Look,
    Outcome,
    best_of,
    confirm,
    looks_at,
    mean_gain,
    paired,
)

FIRST_SEEDS = 2
MOST_CHALLENGERS = 6
_WANTED_CHALLENGERS = 3  # fewer would leave a direction out; rather look at fewer pairs
_WANTED_PAIRS = 6
_PAIRS_PER_SEED = 4  # of the screening; more pairs than that, and choosing the wrong one costs more power
_MOST_PAIRS = 40

Losses = Callable[[Sequence[int], range], Sequence[np.ndarray]]
"""Losses of these arms on the seeds of these numbers, one array of shape ``(n,)`` each; infinite where one failed."""


@dataclass(frozen=True, slots=True)
class Round:
    """One round of the screening: how many challengers are left, on how many further seeds they train."""

    challengers: int
    seeds: int


@dataclass(frozen=True, slots=True)
class Design:
    """What a recheck spends: the rounds of its screening, and the looks of its confirmation."""

    rounds: tuple[Round, ...]
    looks: tuple[Look, ...]

    @property
    def challengers(self) -> int:
        """How many are screened."""
        return self.rounds[0].challengers

    @property
    def seeds(self) -> int:
        """On how many seeds the incumbent, and the challenger that goes on, are screened."""
        return sum(each.seeds for each in self.rounds)

    @property
    def screening(self) -> int:
        """Trainings of the screening."""
        return sum((each.challengers + 1) * each.seeds for each in self.rounds)

    @property
    def trainings(self) -> int:
        """The most trainings it can cost."""
        return self.screening + 2 * self.looks[-1].pairs


@dataclass(frozen=True, slots=True)
class Result:
    """What a contest gave: the gains of each challenger in the screening, who went on, and how that ended."""

    screened: tuple[np.ndarray, ...]
    best: int | None
    outcome: Outcome
    confirmed: np.ndarray


def design(trainings: int, available: int, error: float = ERROR) -> Design:
    """Split a budget of ``trainings`` among screening and confirmation of ``available`` challengers.

    Raises:
        BudgetError: The confirmation couldn't reach a look.

    >>> design(40, available=6)
    Design(rounds=(Round(challengers=6, seeds=2), Round(challengers=3, seeds=1)), looks=(Look(pairs=5, ...
    """
    for count in range(min(available, MOST_CHALLENGERS), 0, -1):
        rounds = _rounds(count, 1)
        pairs = (trainings - _cost(rounds)) // 2
        wanted = _WANTED_PAIRS if count > _WANTED_CHALLENGERS else FEWEST_PAIRS
        if pairs >= wanted:
            break
    else:
        least = _cost(_rounds(1, 1)) + 2 * FEWEST_PAIRS
        raise BudgetError(
            f"trainings={trainings} can't settle anything: one challenger and the winner on {FIRST_SEEDS} seeds, "
            f"then {FEWEST_PAIRS} fresh pairs take {least}. Give at least {least}; 40 are a good number."
        )
    more = 1
    while pairs > _PAIRS_PER_SEED * sum(each.seeds for each in rounds):
        more += 1
        rounds = _rounds(count, more)
        pairs = (trainings - _cost(rounds)) // 2
    return Design(rounds, looks_at(min(pairs, _MOST_PAIRS), error))


def _rounds(count: int, more: int) -> tuple[Round, ...]:
    """All on two seeds, then the better half on ``more``; with one or two there is no half to leave out."""
    if count <= 2:
        return (Round(count, FIRST_SEEDS + more - 1),)
    return Round(count, FIRST_SEEDS), Round(math.ceil(count / 2), more)


def _cost(rounds: Sequence[Round]) -> int:
    return sum((each.challengers + 1) * each.seeds for each in rounds)


def contest(plan: Design, screening: Losses, confirmation: Losses) -> Result:
    """Screen, then confirm the best.

    Args:
        plan: What ``design`` gave.
        screening: Losses on the screening seeds; asked with ranges that begin at 0 and grow.
        confirmation: Losses on fresh seeds that the screening has nothing to do with.
    """
    screened: list[np.ndarray] = [np.empty(0)] * plan.challengers
    left, seeds = list(range(plan.challengers)), 0
    for each in plan.rounds:
        left = sorted(left, key=lambda i: -mean_gain(screened[i]))[: each.challengers] if seeds else left
        seeds += each.seeds
        home, *away = screening([0, *(i + 1 for i in left)], range(seeds))
        for i, losses in zip(left, away, strict=True):
            screened[i] = paired(home, losses)
    best = best_of(screened)
    if best is None:
        return Result(tuple(screened), None, Outcome.NOT_BETTER, np.empty(0))
    outcome, confirmed = confirm(lambda numbers: paired(*confirmation([0, best + 1], numbers)), plan.looks)
    return Result(tuple(screened), best, outcome, confirmed)


def power(plan: Design, gain: float, correlation: float, *, worlds: int = 300, seed: int = 0) -> float:
    """Share of simulated worlds in which a challenger better by ``gain`` is found and proven better.

    One of the challengers is better, the others equal the incumbent; losses are normal.

    Args:
        plan: What ``design`` gave.
        gain: In standard deviations of one run's loss.
        correlation: Of two configurations' losses on the same seed.
        worlds: How many; the share's standard error is at most ``0.5 / sqrt(worlds)``.
        seed: The same seed gives the same answer.
    """
    rng = np.random.default_rng(seed)
    own = math.sqrt(1 - max(correlation, 0.0))
    found = 0
    for _ in range(worlds):
        table = own * rng.standard_normal((2, plan.challengers + 1, max(plan.seeds, plan.looks[-1].pairs)))
        table[:, 1] -= gain
        result = contest(plan, partial(_read, table[0]), partial(_read, table[1]))
        found += result.best == 0 and result.outcome is Outcome.BETTER
    return found / worlds


def _read(table: np.ndarray, arms: Sequence[int], numbers: range) -> list[np.ndarray]:
    return [table[arm, numbers.start : numbers.stop] for arm in arms]
