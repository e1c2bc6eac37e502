"""The contest of a recheck: screening in rounds, then the confirmation; how a budget is split, and its power.

All challengers train on one common seed, the better two thirds on a second one, the better half on a third, the best
two on a fourth, or on as many as the budget has; the best of them meets the incumbent in the confirmation. Leaving out
the worst after each seed spends the screening where the choice is close (Karnin et al. 2013, "Almost optimal
exploration in multi-armed bandits"), and nothing of it counts as proof. The incumbent trains on the first three, too,
to tell its level today and what lies clearly behind it.

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
    confirm,
    is_behind,
    looks_at,
    mean_gain,
    paired,
)

FEWEST_SEEDS = 2
_REPLAYED = 3  # seeds of the incumbent in the screening; it has no say in who of the challengers is the best
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
        """On how many seeds the incumbent is trained in the screening."""
        return _of_incumbent(self.rounds)

    @property
    def longest(self) -> int:
        """On how many seeds the challenger that goes on is screened."""
        return sum(each.seeds for each in self.rounds)

    @property
    def screening(self) -> int:
        """Trainings of the screening."""
        return _cost(self.rounds)

    @property
    def trainings(self) -> int:
        """The most trainings it can cost."""
        return self.screening + 2 * self.looks[-1].pairs


@dataclass(frozen=True, slots=True)
class Result:
    """What a contest gave.

    Attributes:
        screened: Gains of each challenger on the screening seeds that it shares with the incumbent.
        seeds: On how many screening seeds each challenger was trained.
        best: Who went on to the confirmation; None if nobody did.
        outcome: How that ended.
        confirmed: Its gains.
    """

    screened: tuple[np.ndarray, ...]
    seeds: tuple[int, ...]
    best: int | None
    outcome: Outcome
    confirmed: np.ndarray


def design(trainings: int, available: int, error: float = ERROR) -> Design:
    """Split a budget of ``trainings`` among screening and confirmation of ``available`` challengers.

    Raises:
        BudgetError: The confirmation couldn't reach a look.

    >>> design(40, available=6)
    Design(rounds=(Round(challengers=6, seeds=1), Round(challengers=4, seeds=1), Round(challengers=3, seeds=1), ...
    """
    for count in range(min(available, MOST_CHALLENGERS), 0, -1):
        rounds = _rounds(count, 0)
        pairs = (trainings - _cost(rounds)) // 2
        wanted = _WANTED_PAIRS if count > _WANTED_CHALLENGERS else FEWEST_PAIRS
        if pairs >= wanted:
            break
    else:
        least = _cost(_rounds(1, 0)) + 2 * FEWEST_PAIRS
        raise BudgetError(
            f"trainings={trainings} can't settle anything: one challenger and the winner on {FEWEST_SEEDS} seeds, "
            f"then {FEWEST_PAIRS} fresh pairs take {least}. Give at least {least}; 40 are a good number."
        )
    more = 0
    while pairs > _PAIRS_PER_SEED * sum(each.seeds for each in rounds):
        more += 1
        rounds = _rounds(count, more)
        pairs = (trainings - _cost(rounds)) // 2
    return Design(rounds, looks_at(min(pairs, _MOST_PAIRS), error))


def _rounds(count: int, more: int) -> tuple[Round, ...]:
    """Each round leaves out the worst; ``more`` seeds go to the rounds in turn, the last one first."""
    if count <= 2:
        return (Round(count, FEWEST_SEEDS + more),)
    left = [count, math.ceil(2 * count / 3), math.ceil(count / 2), 2]
    seeds = [1 + len(range(turn, more, 4)) for turn in (3, 2, 1, 0)]
    return tuple(Round(n, sum(s for m, s in zip(left, seeds, strict=True) if m == n)) for n in dict.fromkeys(left))


def _of_incumbent(rounds: Sequence[Round]) -> int:
    return min(sum(each.seeds for each in rounds), _REPLAYED)


def _cost(rounds: Sequence[Round]) -> int:
    return sum(each.challengers * each.seeds for each in rounds) + _of_incumbent(rounds)


def contest(plan: Design, screening: Losses, confirmation: Losses) -> Result:
    """Screen, then confirm the best.

    Args:
        plan: What ``design`` gave.
        screening: Losses on the screening seeds; asked with ranges that begin at 0 and grow.
        confirmation: Losses on fresh seeds that the screening has nothing to do with.
    """
    screened: list[np.ndarray] = [np.empty(0)] * plan.challengers
    away: dict[int, np.ndarray] = {}
    left, seeds = list(range(plan.challengers)), 0

    def rank(i: int) -> tuple[bool, float]:
        return mean_gain(screened[i]) == -math.inf, _mean(away[i])

    (home,) = screening([0], range(plan.seeds))
    for each in plan.rounds:
        left = sorted(left, key=rank)[: each.challengers] if seeds else left
        seeds += each.seeds
        away.update(zip(left, screening([i + 1 for i in left], range(seeds)), strict=True))
        for i in left:
            screened[i] = paired(home[:seeds], away[i][: len(home)])
    trained = tuple(len(away[i]) for i in range(plan.challengers))
    best = min(left, key=rank)
    if is_behind(screened[best], screened):
        return Result(tuple(screened), trained, None, Outcome.NOT_BETTER, np.empty(0))
    outcome, confirmed = confirm(lambda numbers: paired(*confirmation([0, best + 1], numbers)), plan.looks)
    return Result(tuple(screened), trained, best, outcome, confirmed)


def _mean(losses: np.ndarray) -> float:
    """Of those trainings that ended well; infinite without any."""
    finite = losses[np.isfinite(losses)]
    return float(finite.mean()) if len(finite) else math.inf


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
        table = own * rng.standard_normal((2, plan.challengers + 1, max(plan.longest, plan.looks[-1].pairs)))
        table[:, 1] -= gain
        result = contest(plan, partial(_read, table[0]), partial(_read, table[1]))
        found += result.best == 0 and result.outcome is Outcome.BETTER
    return found / worlds


def _read(table: np.ndarray, arms: Sequence[int], numbers: range) -> list[np.ndarray]:
    return [table[arm, numbers.start : numbers.stop] for arm in arms]
