"""A curve in a few numbers, as the ledger keeps it beside the end of a move."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Summary:
    """What is most often asked of a curve.

    Attributes:
        points: How many measurements.
        last_step: The last step measured; 0 before any.
        cost_s: Seconds spent on all of them.
        least_loss: The least finite loss after step 0; infinite without any.
        diverged: Whether a loss is infinite or NaN.
        readings: How many measurements after step 0; None where an older Ayar did not say.
        last_loss: The latest loss after step 0; NaN before any.
    """

    points: int = 0
    last_step: int = 0
    cost_s: float = 0.0
    least_loss: float = math.inf
    diverged: bool = False
    readings: int | None = 0
    last_loss: float = math.nan

    def extended(self, more: Iterable[tuple[int, float | None, float]]) -> Self:
        """With later measurements: ``(step, loss, cost_s)``, a loss of None being NaN."""
        later = [(step, math.nan if loss is None else loss, cost_s) for step, loss, cost_s in more]
        trained = [loss for step, loss, _ in later if step > 0]
        return type(self)(
            points=self.points + len(later),
            last_step=later[-1][0] if later else self.last_step,
            cost_s=math.fsum((self.cost_s, *(cost_s for _, _, cost_s in later))),
            least_loss=min([self.least_loss, *filter(math.isfinite, trained)]),
            diverged=self.diverged or not all(math.isfinite(loss) for _, loss, _ in later),
            readings=None if self.readings is None else self.readings + len(trained),
            last_loss=trained[-1] if trained else self.last_loss,
        )
