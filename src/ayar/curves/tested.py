"""Advice that was put to the test: what came of it, and how often each rule's moves helped."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

TRIED = "advice tried"
"""The kind of the notes that outcomes are kept in."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One move of one rule, trained with the seed of the trial it was advised for.

    A single pair says little, for luck decides small differences; the rate over many pairs tells what a rule is worth.

    Attributes:
        rule: ``Advice.rule``: the verdict and the hyperparameter that was moved.
        trial: Number of the trial that got the advice.
        attempt: Number of the trial that followed it.
        before: Least loss of the one; infinite where it diverged or failed.
        after: Least loss of the other, after as many steps unless the move was about their number.
    """

    rule: str
    trial: int
    attempt: int
    before: float
    after: float

    @property
    def helped(self) -> bool:
        """Whether the move ended lower."""
        return self.after < self.before

    def to_dict(self) -> dict[str, Any]:
        """As JSON can write it, with None for an infinite loss."""
        told = {"rule": self.rule, "trial": self.trial, "attempt": self.attempt, "helped": self.helped}
        losses = {"before": self.before, "after": self.after}
        return told | {name: loss if math.isfinite(loss) else None for name, loss in losses.items()}


def hit_rates(outcomes: Iterable[Mapping[str, Any]]) -> dict[str, tuple[int, int]]:
    """By rule: how often its moves helped, and how often they were tried; from outcomes as ``to_dict`` writes them.

    >>> first, second = Outcome("too slow: lr", 3, 7, 0.5, 0.4), Outcome("too slow: lr", 4, 8, 0.5, 0.6)
    >>> hit_rates([first.to_dict(), second.to_dict()])
    {'too slow: lr': (1, 2)}
    """
    rates: dict[str, tuple[int, int]] = {}
    for outcome in outcomes:
        helped, tried = rates.get(outcome["rule"], (0, 0))
        rates[outcome["rule"]] = (helped + bool(outcome["helped"]), tried + 1)
    return rates
