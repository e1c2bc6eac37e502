"""How much a tuning may spend, and what was settled about the confirmation that ends it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields

from ayar.confirmation import AUTO, USUAL_SHARE, Plan, training_cost_s
from ayar.errors import BudgetError
from ayar.logbook import Logbook
from ayar.records import Trial
from ayar.winner import search_steps


@dataclass(frozen=True, slots=True)
class Budget:
    """When a tuning ends. It counts from the study's beginning, so a resumed tuning goes on to the same end.

    Attributes:
        minutes: Minutes with all workers busy, confirmation included.
        trials: Search trials to start.
        steps: Steps of search to train.
        confirm: Share of the whole kept for confirming the winner on fresh seeds; 0 leaves it out, ``"auto"`` lets
            the measured luck of the leaders decide.
    """

    minutes: float | None = None
    trials: int | None = None
    steps: int | None = None
    confirm: float | str = AUTO

    def __post_init__(self) -> None:
        for name in ("minutes", "trials", "steps"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise BudgetError(f"{name}={value} leaves no time to tune. Give a number above 0.")
            if value is not None and (math.isinf(value) or (name != "minutes" and value != int(value))):
                wanted = "a number" if name == "minutes" else "a whole number"
                raise BudgetError(f"{name}={value} is no limit. Give {wanted}, or leave it out to have none.")
            if value is not None and name != "minutes":
                object.__setattr__(self, name, int(value))
        if self.confirm != AUTO and not (isinstance(self.confirm, int | float) and 0 <= self.confirm < 1):
            raise BudgetError(
                f"confirm={self.confirm!r} is the share of the budget kept for confirmation; give 0 to below 1, or "
                f"{AUTO!r} to let the measured luck of the leaders decide."
            )

    @property
    def share(self) -> float:
        """The share for confirmation; where it is to be measured, what stands for it before."""
        return USUAL_SHARE if isinstance(self.confirm, str) else self.confirm

    @property
    def search_s(self) -> float:
        """Seconds for the search."""
        return math.inf if self.minutes is None else self.minutes * 60 * (1 - self.share)

    def confirm_rounds(self, trials: Sequence[Trial], horizon: int, workers: int) -> float:
        """Trainings, one after the other, that the share for confirmation is worth after the search ``trials``."""
        cost_s = training_cost_s(trials, horizon)
        if self.minutes is not None and cost_s > 0:
            return self.minutes * 60 * self.share / cost_s
        return search_steps(trials) / horizon * self.share / (1 - self.share) / workers


def plan_of(book: Logbook, budget: Budget) -> Plan | None:
    """The confirmation that an earlier tuning with this very budget began: its search is over."""
    for note in reversed(book.notes("confirmation")):
        plan = note.body["plan"]
        if note.body["budget"] == asdict(budget) and plan.keys() == {field.name for field in fields(Plan)}:
            return Plan(**{**plan, "candidates": tuple(plan["candidates"])})
    return None
