"""Simulated worlds whose truth is known: false alarms and power of a recheck, through the code that decides.

Every world has an incumbent and six challengers. A run's loss is a part that its seed shares among configurations and
a part of its own; ``correlation`` is the first's share of the variance. Gains are in standard deviations of one run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.special import stdtr

from ayar.recheck import confirm, contest
from ayar.recheck.confirm import Decision, Outcome

ARMS = 6
SEEDS = 20  # more than any way here asks for

Noise = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


@dataclass(frozen=True)
class Kind:
    """A kind of world: how runs scatter, how much they share, how much noisier the last challenger is."""

    name: str
    noise: Noise
    correlation: float = 0.5
    noisier: float = 1.0
    fails: float = 0.0
    step: float = 0.0  # of a metric that is measured in steps, as an error on few rows


def _gauss(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.standard_normal(shape)


def _heavy(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.standard_t(3, shape) / math.sqrt(3)


def _skewed(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.exponential(size=shape) - 1


def _catastrophic(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """One run in twenty ends ten standard deviations worse."""
    return rng.standard_normal(shape) + 10 * (rng.random(shape) < 0.05)


KINDS = (
    Kind("normal", _gauss),
    Kind("normal, seeds share nothing", _gauss, correlation=0.0),
    Kind("normal, seeds share 0.2", _gauss, correlation=0.2),
    Kind("normal, seeds share 0.8", _gauss, correlation=0.8),
    Kind("heavy tails (Student, 3 degrees)", _heavy),
    Kind("skewed (exponential)", _skewed),
    Kind("catastrophic runs, 5 %", _catastrophic),
    Kind("failing runs, 5 %", _gauss, fails=0.05),
    Kind("one challenger 6 x noisier", _gauss, noisier=6.0),
    Kind("skewed, one challenger 6 x noisier", _skewed, noisier=6.0),
    Kind("measured in steps of half a spread", _gauss, step=0.5),
)


def world(kind: Kind, gain: float, rng: np.random.Generator) -> np.ndarray:
    """Losses of one world, shape ``(2, 1 + ARMS, SEEDS)``: for the screening, and for fresh seeds."""
    shape = (2, 1 + ARMS, SEEDS)
    own = math.sqrt(1 - kind.correlation) * kind.noise(rng, shape)
    own[:, -1] *= kind.noisier
    losses = own + math.sqrt(kind.correlation) * kind.noise(rng, (2, 1, SEEDS))
    losses[:, 1] -= gain
    if kind.step:
        losses = kind.step * np.round(losses / kind.step)
    return np.where(rng.random(shape) < kind.fails, math.inf, losses) if kind.fails else losses


@dataclass(frozen=True)
class Said:
    """What a way said: whether a challenger was called better, which one, at what cost, and its gain's interval.

    ``change``: whether it called for the better one, surely enough by half a spread.
    """

    alarm: bool
    right: bool
    trainings: int
    low: float = math.nan
    high: float = math.nan
    change: bool = False


def ayar_way(trainings: int, losses: np.ndarray) -> Said:
    """The recheck itself."""
    plan = contest.design(trainings, ARMS)
    result = contest.contest(plan, partial(_read, losses[0]), partial(_read, losses[1]))
    better = result.outcome is Outcome.BETTER
    gains = confirm.counted(result.confirmed)
    told = confirm.estimate(gains) if len(gains) and np.isfinite(gains).all() else None
    cost = plan.seeds + sum(result.seeds) + 2 * len(result.confirmed)
    ends = (told.low, told.high) if told else (math.nan, math.nan)
    said = confirm.decide(result.screened, result.best, result.outcome, result.confirmed, 0.5, far=False)
    change = result.best == 0 and said in (Decision.REPLACE, Decision.RETUNE)
    return Said(better, better and result.best == 0, cost, *ends, change)


def former_way(losses: np.ndarray) -> Said:
    """All challengers on three seeds, then plain t tests after 4, 7 and 10 pairs with a third of the error each."""
    means = (losses[0, :1, :3] - losses[0, 1:, :3]).mean(axis=1)
    best = int(np.argmax(np.where(np.isfinite(means), means, -math.inf)))
    if not means[best] > 0:
        return Said(False, False, 3 * (1 + ARMS))
    for pairs, level in ((4, 0.0175), (7, 0.0175), (10, 0.015)):
        gains = losses[1, 0, :pairs] - losses[1, best + 1, :pairs]
        if not np.isfinite(gains).all():
            break
        t = gains.mean() / max(gains.std(ddof=1) / math.sqrt(pairs), 1e-12)
        if stdtr(pairs - 1, -t) <= level:
            return Said(True, best == 0, 3 * (1 + ARMS) + 2 * pairs)
        if t < 0.3:
            break
    return Said(False, False, 3 * (1 + ARMS) + 2 * pairs)


def one_run_way(losses: np.ndarray) -> Said:
    """One run of each: the best one wins."""
    best = int(np.argmin(losses[0, :, 0]))
    return Said(best > 0, best == 1, 1 + ARMS)


def peeking_way(losses: np.ndarray) -> Said:
    """A t test of every challenger after every seed from the second to the twelfth, stopped at the first p < 0.05."""
    for n in range(2, 13):
        for i in range(ARMS):
            gains = losses[0, 0, :n] - losses[0, i + 1, :n]
            spread = gains.std(ddof=1) if np.isfinite(gains).all() else 0.0
            if spread > 0 and stdtr(n - 1, -gains.mean() / (spread / math.sqrt(n))) < 0.05:
                return Said(True, i == 0, n * (1 + ARMS))
    return Said(False, False, 12 * (1 + ARMS))


def means_way(losses: np.ndarray) -> Said:
    """Five runs of each, the best mean wins."""
    best = int(np.argmin(losses[0, :, :5].mean(axis=1)))
    return Said(best > 0, best == 1, 5 * (1 + ARMS))


WAYS: dict[str, Callable[[np.ndarray], Said]] = {
    "recheck, 40 trainings": partial(ayar_way, 40),
    "recheck, 30 trainings": partial(ayar_way, 30),
    "recheck, 60 trainings": partial(ayar_way, 60),
    "3 seeds each, then 10 pairs": former_way,
    "one run each": one_run_way,
    "five runs each, best mean": means_way,
    "t tests after every seed": peeking_way,
}


def _read(table: np.ndarray, arms: Sequence[int], numbers: range) -> list[np.ndarray]:
    return [table[arm, numbers.start : numbers.stop] for arm in arms]


@dataclass(frozen=True)
class Rates:
    """Shares over many worlds."""

    alarms: float
    right: float
    trainings: float
    most: int
    covered: float  # of the intervals of the gain, where one was measured
    change: float


def rates(way: str, kind: Kind, gain: float, worlds: int, seed: int = 0) -> Rates:
    """What a way says in worlds of one kind, in which the first challenger is better by ``gain``."""
    rng = np.random.default_rng(seed)
    said = [WAYS[way](world(kind, gain, rng)) for _ in range(worlds)]
    known = [s for s in said if not math.isnan(s.low)]
    covered = [s.low <= 0 <= s.high for s in known] if gain == 0 else []
    return Rates(
        float(np.mean([s.alarm for s in said])),
        float(np.mean([s.right for s in said])),
        float(np.mean([s.trainings for s in said])),
        max(s.trainings for s in said),
        float(np.mean(covered)) if covered else math.nan,
        float(np.mean([s.change for s in said])),
    )
