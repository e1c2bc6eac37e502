"""The statistics of a recheck: arrays of paired gains in, a decision out.

Screening may pick the best-looking challenger by any means, because it proves nothing: in a world where all are
equal, the best of six looks half a standard deviation better than it is. The proof is a second, independent
comparison of that one challenger with the incumbent on fresh common seeds, looked at after 4, 7 and 10 pairs. The
one-sided levels of the looks add up to 0.05, so the false-alarm rate stays below 5 % whatever the screening did
(Bonferroni over the looks; stopping for futility only lowers it).

A gain is the incumbent's loss minus the challenger's on the same seed: above 0, the challenger is better.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike

from ayar.stats import mean_interval


class Decision(StrEnum):
    """What a recheck concludes."""

    KEEP_CONFIRMED = "keep, confirmed"
    KEEP_NOT_BEATEN = "keep, not beaten"
    BETTER_NOT_WORTH = "better, not worth it"
    REPLACE = "replace"
    RETUNE = "retune"
    REGRESSED = "regressed"
    INCONCLUSIVE = "inconclusive"


class Outcome(StrEnum):
    """What the pairs so far say of a challenger."""

    BETTER = "better"
    NOT_BETTER = "not better"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class Look:
    """One look at the pairs.

    Attributes:
        pairs: How many there are by then.
        level: One-sided level of its test.
        resolution: Gain, in standard deviations of a paired gain, that a confirmation ending with this look finds
            with 80 % probability. Simulated for normal gains; the tests simulate it again.
    """

    pairs: int
    level: float
    resolution: float


LOOKS = (Look(4, 0.0175, 2.42), Look(7, 0.0175, 1.35), Look(10, 0.015, 1.06))
FUTILE = 0.3  # a t value below this after 4 pairs seldom turns into a proof
ERROR = 0.05  # shared by all challengers where the screening is read as evidence


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its 95 % interval."""

    mean: float
    low: float
    high: float


def estimate(values: ArrayLike) -> Estimate:
    """Mean and Student t interval of independent readings, shape ``(n,)``.

    >>> estimate([1.0, 1.0, 1.0])
    Estimate(mean=1.0, low=1.0, high=1.0)
    """
    return Estimate(*mean_interval(values))


def shift(before: ArrayLike, now: ArrayLike) -> Estimate:
    """How far the mean moved from ``before``, shape ``(m,)``, to ``now``, shape ``(n,)``; Welch's t interval.

    >>> shift([1.0, 1.0], [3.0, 3.0])
    Estimate(mean=2.0, low=2.0, high=2.0)
    """
    old, new = np.asarray(before, dtype=float), np.asarray(now, dtype=float)
    moved = float(new.mean() - old.mean())
    if min(len(old), len(new)) < 2:
        return Estimate(moved, -math.inf, math.inf)
    parts = np.array([old.var(ddof=1) / len(old), new.var(ddof=1) / len(new)])
    if not parts.any():
        return Estimate(moved, moved, moved)
    from scipy.special import stdtrit

    freedom = parts.sum() ** 2 / (parts**2 / [len(old) - 1, len(new) - 1]).sum()
    half = float(stdtrit(freedom, 0.975) * math.sqrt(parts.sum()))
    return Estimate(moved, moved - half, moved + half)


def margin(run_sd: float | None, level: float) -> float:
    """The least gain worth a change: half the spread of a run, and at least 0.1 % of the level.

    >>> margin(0.02, 5.0)
    0.01
    """
    return max(0.5 * (run_sd or 0.0), 0.001 * abs(level))


def p_value(gains: ArrayLike) -> float:
    """One-sided p value of a mean gain above 0, from paired gains of shape ``(n,)``, ``n >= 2``.

    Student's t; gains that are all alike have no spread to go by, so only their sign counts: ``2 ** -n``, the
    exact sign-flip p value.

    >>> p_value([0.1] * 4), p_value([-0.1] * 4), p_value([0.0] * 4)
    (0.0625, 1.0, 1.0)
    """
    d = np.asarray(gains, dtype=float)
    if _alike(d):
        return 0.5 ** len(d) if d.mean() > 0 else 1.0
    from scipy.special import stdtr

    return float(stdtr(len(d) - 1, -_t(d)))


def look_at(gains: ArrayLike, level: float) -> Outcome:
    """What one look says: proven better, hopeless, or open. A failed training is an infinite gain or loss."""
    d = np.asarray(gains, dtype=float)
    if not np.isfinite(d).all():
        return Outcome.NOT_BETTER
    if p_value(d) <= level:
        return Outcome.BETTER
    hopeless = d.mean() <= 0 if _alike(d) else _t(d) < FUTILE
    return Outcome.NOT_BETTER if hopeless else Outcome.OPEN


def confirm(draw: Callable[[range], ArrayLike], looks: Sequence[Look] = LOOKS) -> tuple[Outcome, np.ndarray]:
    """Look at fresh pairs until the outcome is clear or the looks are used up.

    Args:
        draw: Gives the gains of the pairs with these numbers, one each; called with ranges that never overlap.
        looks: ``LOOKS``, or its beginning where the budget allows no more; then the outcome may stay open.

    Returns:
        The outcome, and all gains drawn, shape ``(n,)``.
    """
    gains = np.empty(0)
    outcome = Outcome.OPEN
    for look in looks:
        gains = np.append(gains, draw(range(len(gains), look.pairs)))
        outcome = look_at(gains, look.level)
        if outcome is not Outcome.OPEN:
            return outcome, gains
    return Outcome.NOT_BETTER if len(gains) >= LOOKS[-1].pairs else outcome, gains


def best_of(screened: Sequence[np.ndarray]) -> int | None:
    """The challenger with the largest mean screening gain; None where no mean is above 0."""
    means = [float(d.mean()) if np.isfinite(d).all() else -math.inf for d in screened]
    best = int(np.argmax(means)) if means else 0
    return best if means and means[best] > 0 else None


def decide(
    screened: Sequence[np.ndarray], best: int | None, outcome: Outcome, confirmed: np.ndarray, worth: float, edge: bool
) -> Decision:
    """The conclusion.

    Args:
        screened: Screening gains of each challenger, each of shape ``(n,)``; not finite where a training failed.
        best: The challenger that went on to confirmation; None if none did.
        outcome: What the confirmation said.
        confirmed: Its gains, shape ``(m,)``.
        worth: The margin.
        edge: Whether the challenger lies at an end of a range, so that still better values may lie beyond.
    """
    if best is None:
        outcome = Outcome.NOT_BETTER
    if outcome is Outcome.BETTER:
        if confirmed.mean() < worth:
            return Decision.BETTER_NOT_WORTH
        rivals = [d for i, d in enumerate(screened) if i != best and np.isfinite(d).all()]
        crowd = any(d.mean() >= worth and p_value(d) <= ERROR / len(rivals) for d in rivals)
        return Decision.RETUNE if edge or crowd else Decision.REPLACE
    if outcome is Outcome.OPEN or not any(np.isfinite(d).all() for d in screened):
        return Decision.INCONCLUSIVE
    evidence = [confirmed if i == best else d for i, d in enumerate(screened)]
    below = all(upper_bound(d, ERROR / len(evidence)) < worth for d in evidence if np.isfinite(d).all())
    return Decision.KEEP_CONFIRMED if below else Decision.KEEP_NOT_BEATEN


def upper_bound(gains: ArrayLike, error: float) -> float:
    """A bound that the mean gain exceeds with probability ``error``; infinite where the pairs can't support one.

    >>> round(upper_bound([0.0, 1.0, 2.0], 0.05), 3), upper_bound([1.0, 1.0], 0.05)
    (2.686, inf)
    """
    d = np.asarray(gains, dtype=float)
    if _alike(d):
        return float(d.mean()) if 0.5 ** len(d) <= error else math.inf
    from scipy.special import stdtrit

    return float(d.mean() + stdtrit(len(d) - 1, 1 - error) * d.std(ddof=1) / math.sqrt(len(d)))


def _alike(d: np.ndarray) -> bool:
    """Whether gains differ by no more than round-off; a t test would divide by zero."""
    return bool(np.ptp(d) <= 1e-9 * np.abs(d).max())


def _t(d: np.ndarray) -> float:
    return float(d.mean() / (d.std(ddof=1) / math.sqrt(len(d))))
