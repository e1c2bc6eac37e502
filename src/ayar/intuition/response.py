"""Which values of a hyperparameter the best trials had."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ayar.errors import NotEnoughEvidence
from ayar.lineage import begun_anew
from ayar.records import Trial
from ayar.space import Choice, Float, Int, PerLayer, Space

FEWEST = 5
"""Trials among the best below which no range is given."""


@dataclass(frozen=True, slots=True)
class GoodRange:
    """The values of one hyperparameter among the best quarter of the trials.

    Attributes:
        name: The hyperparameter.
        values: Its values in those trials, the best trial's first; of a ``PerLayer`` those of every layer.
        trials: How many of the best trials had a value for it.
        of: How many trials they are the best quarter of.
        low: Least of the values; None for words.
        high: Largest of the values; None for words.
    """

    name: str
    values: tuple[Any, ...]
    trials: int
    of: int
    low: float | None = None
    high: float | None = None

    @property
    def counts(self) -> dict[Any, int]:
        """How often each value occurs, the most frequent first."""
        return dict(Counter(self.values).most_common())


def good_range(trials: Sequence[Trial], space: Space, name: str) -> GoodRange:
    """The range in which a hyperparameter lay in the best quarter of the trials.

    It is where the search found good values, not where others would be bad: read it with the number of trials. Trials
    that began with another one's state are left out: their losses are not the work of their own values alone.

    Raises:
        SpaceError: The space has no such hyperparameter.
        NotEnoughEvidence: Fewer than five of the best trials had a value for it, or it is fixed.
    """
    entry = space[name]
    if not isinstance(entry, Float | Int | Choice | PerLayer):
        raise NotEnoughEvidence(f"{name} is fixed at {entry!r}: there are no other values to compare it with.")
    scored = sorted((trial for trial in begun_anew(trials) if math.isfinite(trial.loss)), key=lambda trial: trial.loss)
    best = [trial.config[name] for trial in scored[: len(scored) // 4] if name in trial.config]
    if len(best) < FEWEST:
        raise NotEnoughEvidence(
            f"{len(best)} of the best quarter of {len(scored)} trials had a value for {name}; "
            f"it takes {FEWEST} to speak of a good range. Train more."
        )
    values = tuple(value for given in best for value in (given if isinstance(given, list) else [given]))
    element = entry.element if isinstance(entry, PerLayer) else entry
    if isinstance(element, Choice):
        return GoodRange(name, values, len(best), len(scored))
    return GoodRange(name, values, len(best), len(scored), min(values), max(values))
