"""The statistics of a recheck: arrays of paired gains in, a decision out.

Screening may pick the best-looking challenger by any means, because it proves nothing: in a world where all are
equal, the best of six looks half a standard deviation better than it is. The proof is a second, independent
comparison of that one challenger with the incumbent on fresh common seeds. There is one test, at the end; its
one-sided level is below the error allowed, so false alarms stay below it whatever the screening did. A look half-way
only stops what is hopeless, which can but lower them. Looks that could also prove a gain early would cost power, and
five pairs can't see that a challenger scatters to one side.

A gain is the incumbent's loss minus the challenger's on the same seed: above 0, the challenger is better. It is
minus infinity where the challenger's training failed, and NaN where the incumbent's did. Pairs with a failure are
left out as long as the challenger fails no more often than the incumbent; one that does is not better.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike

from ayar.stats import mean_interval, pooled_sd


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
    """One look at the pairs: how many there are by then, and the one-sided level of its test; 0 proves nothing."""

    pairs: int
    level: float


FEWEST_PAIRS = 4  # fewer can't prove a gain
ENOUGH_PAIRS = 7  # a plan that ends earlier leaves all but large gains open
FUTILE = 0.3  # a t value below this half-way seldom turns into a proof
ERROR = 0.05  # false alarms allowed; also shared by all challengers where the screening is read as evidence
_TELLS_SKEWNESS = 7  # pairs; fewer say nothing of it
_DOUBT = 1 / 3  # that a gain reaches the margin: its mean would not do, for of small gains only lucky ones are proven
_GUARD = 0.035  # of power, which the guard against lopsided gains costs where they are not
_TESTED = 0.85  # of the error; the rest is in reserve for lopsided gains, which no guard sees wholly


def looks_at(pairs: int, error: float = ERROR) -> tuple[Look, ...]:
    """The looks of a confirmation by at most ``pairs`` pairs; with fewer than eight there is only the last.

    >>> looks_at(11, error=0.5)
    (Look(pairs=5, level=0.0), Look(pairs=11, level=0.425))
    """
    early = pairs // 2
    if early < FEWEST_PAIRS:
        return (Look(pairs, error * _TESTED),)
    return Look(early, 0.0), Look(pairs, error * _TESTED)


def resolution(looks: Sequence[Look]) -> float:
    """Gain, in standard deviations of a paired gain, that the last look finds with 80 % probability.

    Student's t test of normal gains, with what the guard against lopsided ones costs; the look half-way changes it
    by little.

    >>> round(resolution(looks_at(11)), 2)
    0.88
    """
    from scipy.special import nctdtrinc, stdtrit

    freedom = looks[-1].pairs - 1
    missed = 0.2 - (_GUARD if looks[-1].pairs >= _TELLS_SKEWNESS else 0.0)
    return float(nctdtrinc(freedom, missed, stdtrit(freedom, 1 - looks[-1].level)) / math.sqrt(looks[-1].pairs))


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


def shift(before: ArrayLike, now: ArrayLike, level: float = 0.95) -> Estimate:
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

    shares = parts / parts.sum()  # their squares, not those of variances, which may be too small for a number
    freedom = 1 / (shares**2 / [len(old) - 1, len(new) - 1]).sum()
    half = float(stdtrit(freedom, (1 + level) / 2) * math.sqrt(parts.sum()))
    return Estimate(moved, moved - half, moved + half)


def same_seed_correlation(tables: Sequence[np.ndarray]) -> float | None:
    """Correlation of two configurations' losses on the same seed; None where nothing tells.

    The share of a run's variance that its seed explains, whatever the configuration (a two-way analysis of variance,
    pooled over tables).

    Args:
        tables: Finite losses, each of shape ``(configurations, seeds)``; those with fewer than two of either are
            left out.

    >>> same_seed_correlation([np.array([[1.0, 2.0, 4.0], [0.0, 1.0, 3.0]])])
    1.0
    """
    within = residual = 0.0
    freedom = [0, 0]
    for table in tables:
        if table.ndim != 2 or min(table.shape) < 2:
            continue
        arms, seeds = table.shape
        centred = table - table.mean(axis=1, keepdims=True)
        within += float((centred**2).sum())
        residual += float(((centred - centred.mean(axis=0)) ** 2).sum())
        freedom[0] += arms * (seeds - 1)
        freedom[1] += (arms - 1) * (seeds - 1)
    return 1 - residual * freedom[0] / (within * freedom[1]) if within > 0 else None


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
    return _p_value_of(_t(d), len(d))


def look_at(gains: ArrayLike, level: float) -> Outcome:
    """What one look says: proven better, hopeless, or open."""
    d = counted(gains)
    if (d == -math.inf).any():
        return Outcome.NOT_BETTER
    if len(d) < FEWEST_PAIRS:
        return Outcome.OPEN
    if level > 0 and p_value(d) <= level and _p_value_of(_lopsided_t(d), len(d)) <= level:
        return Outcome.BETTER
    hopeless = d.mean() <= 0 if _alike(d) else _t(d) < FUTILE
    return Outcome.NOT_BETTER if hopeless else Outcome.OPEN


def confirm(draw: Callable[[range], ArrayLike], looks: Sequence[Look]) -> tuple[Outcome, np.ndarray]:
    """Look at fresh pairs until the outcome is clear or the looks are used up.

    Args:
        draw: Gives the gains of the pairs with these numbers, one each; called with ranges that never overlap.
        looks: What ``looks_at`` gave.

    Returns:
        The outcome, and all gains drawn, shape ``(n,)``. It stays open only where the pairs were too few to say.
    """
    gains = np.empty(0)
    outcome = Outcome.OPEN
    for look in looks:
        gains = np.append(gains, draw(range(len(gains), look.pairs)))
        outcome = look_at(gains, look.level)
        if outcome is not Outcome.OPEN:
            return outcome, gains
    return Outcome.NOT_BETTER if len(counted(gains)) >= ENOUGH_PAIRS else outcome, gains


def paired(ours: ArrayLike, theirs: ArrayLike) -> np.ndarray:
    """Gains from the losses of incumbent and challenger on the same seeds, each of shape ``(n,)``.

    >>> paired([0.5, math.inf, 0.5], [0.25, 0.25, math.inf])
    array([0.25,  nan, -inf])
    """
    home, away = np.asarray(ours, dtype=float), np.asarray(theirs, dtype=float)
    gains = np.full(len(home), math.nan)
    known = np.isfinite(home)
    gains[known] = home[known] - np.where(np.isfinite(away[known]), away[known], math.inf)
    return gains


def counted(gains: ArrayLike) -> np.ndarray:
    """The gains of those pairs in which both trainings ended well, and minus infinity where that says too little.

    >>> counted([0.5, math.nan, -math.inf, 0.25]), counted([0.5, -math.inf])
    (array([0.5 , 0.25]), array([ 0.5, -inf]))
    """
    d = np.asarray(gains, dtype=float)
    ended: np.ndarray = d[~np.isnan(d)]
    failed = ended == -math.inf
    return ended[~failed] if failed.sum() <= len(d) - len(ended) else ended


def mean_gain(gains: ArrayLike) -> float:
    """The mean gain; minus infinity where a training of the challenger failed, or nothing was compared."""
    d = counted(gains)
    return float(d.mean()) if len(d) else -math.inf


def is_behind(gains: np.ndarray, screened: Sequence[np.ndarray]) -> bool:
    """Whether a challenger with these screening gains isn't worth confirming: behind by a standard error, or more.

    Read as strictly as a proof, so few pairs would send half of the better ones home.

    Args:
        gains: Its own, shape ``(n,)``.
        screened: Those of all challengers, which tell together how pairs spread.

    >>> is_behind(np.array([-0.1, 0.0]), [np.array([-0.1, 0.0]), np.array([-1.0, 1.0])])
    False
    """
    mean, spread = mean_gain(gains), pooled_sd([d for d in map(counted, screened) if np.isfinite(d).all()])
    return not mean > -(spread or 0.0) / math.sqrt(max(len(counted(gains)), 1))


def decide(
    screened: Sequence[np.ndarray], best: int | None, outcome: Outcome, confirmed: np.ndarray, worth: float, far: bool
) -> Decision:
    """The conclusion.

    Args:
        screened: Screening gains of each challenger, each of shape ``(n,)``.
        best: The challenger that went on to confirmation; None if none did.
        outcome: What the confirmation said.
        confirmed: Its gains, shape ``(m,)``.
        worth: The margin.
        far: Whether the challenger says that still better ones are likely: it lies at an end of a range, or far
            from the incumbent.
    """
    if best is None:
        outcome = Outcome.NOT_BETTER
    if outcome is Outcome.BETTER:
        if -upper_bound(-counted(confirmed), _DOUBT) < worth:
            return Decision.BETTER_NOT_WORTH
        rivals = [counted(d) for i, d in enumerate(screened) if i != best and math.isfinite(mean_gain(d))]
        crowd = any(len(d) > 1 and d.mean() >= worth and p_value(d) <= ERROR / len(rivals) for d in rivals)
        return Decision.RETUNE if far or crowd else Decision.REPLACE
    if outcome is Outcome.OPEN or not any(math.isfinite(mean_gain(d)) for d in screened):
        return Decision.INCONCLUSIVE
    evidence = [confirmed if i == best else d for i, d in enumerate(screened)]
    evidence = [counted(d) for d in evidence if math.isfinite(mean_gain(d))]
    freedom, pooled = sum(len(d) - 1 for d in evidence), pooled_sd(evidence)
    spread = None if pooled is None else (pooled, freedom)
    below = all(upper_bound(d, ERROR / len(evidence), spread) < worth for d in evidence)
    return Decision.KEEP_CONFIRMED if below else Decision.KEEP_NOT_BEATEN


def upper_bound(gains: ArrayLike, error: float, spread: tuple[float, int] | None = None) -> float:
    """A bound that the mean gain exceeds with probability ``error``; infinite where the pairs can't support one.

    Args:
        gains: Finite gains, shape ``(n,)``.
        error: One-sided.
        spread: Standard deviation within all challengers' gains and its degrees of freedom. It stands in where the
            few gains of this one seem to spread less.

    >>> round(upper_bound([0.0, 1.0, 2.0], 0.05), 3), upper_bound([1.0, 1.0], 0.05)
    (2.686, inf)
    """
    from scipy.special import stdtrit

    d = np.asarray(gains, dtype=float)
    own = float(d.std(ddof=1)) if len(d) > 1 else 0.0
    freedom = len(d) - 1
    if spread is not None and spread[0] > own:
        own, freedom = spread
    if len(d) == 0 or _alike(np.append(d, d.mean() + own)):
        return float(d.mean()) if len(d) and 0.5 ** len(d) <= error else math.inf
    return float(d.mean() + stdtrit(freedom, 1 - error) * own / math.sqrt(len(d)))


def _alike(d: np.ndarray) -> bool:
    """Whether gains differ by no more than round-off; a t test would divide by zero."""
    return bool(np.ptp(d) <= 1e-9 * np.abs(d).max())


def _t(d: np.ndarray) -> float:
    d = d / np.abs(d).max()  # the squares of small gains would be zero
    return float(d.mean() / (d.std(ddof=1) / math.sqrt(len(d))))


def _lopsided_t(d: np.ndarray) -> float:
    """Student's t, corrected where a few gains lie far below the others; infinite where there is nothing to correct.

    Then, say with a challenger that scatters far more and now and then ends badly, t is too often large. Hall's
    cubic transformation takes the skewness out (1992, "On the removal of skewness by transformation").
    """
    if _alike(d) or len(d) < _TELLS_SKEWNESS:
        return math.inf
    d = d / np.abs(d).max()
    centred = d - d.mean()
    skewness = float((centred**3).mean() / (centred**2).mean() ** 1.5)
    if skewness >= 0:
        return _t(d)
    u = float(d.mean() / d.std(ddof=1))
    corrected = u + skewness * u**2 / 3 + skewness**2 * u**3 / 27 + skewness / (6 * len(d))
    return min(_t(d), math.sqrt(len(d)) * corrected)


def _p_value_of(t: float, n: int) -> float:
    from scipy.special import stdtr

    return float(stdtr(n - 1, -t))
