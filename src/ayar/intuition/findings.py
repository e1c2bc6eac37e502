"""What the trials of a study say together: ranges that end too soon, walls, failures, noise that hides the best.

One function for each finding and one entry in ``CHECKS``; every one of them may abstain.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ayar.curves.advice import ROLES
from ayar.curves.signals import trailing_median
from ayar.errors import reason
from ayar.intuition.effects import explained_share
from ayar.lineage import begun_anew
from ayar.records import Configuration, Evidence, State, Trial, Verdict, config_key, is_number
from ayar.search.base import SEARCH_DATA
from ayar.space import Choice, Float, Int, Space

LEADERS = 10
"""How many of the best trials are looked at, at least; more than a tenth of all where there are many."""

FEWEST = 30
"""Trials below which nothing is said about ranges: by luck alone the best ones may crowd at an edge."""

MANY = 60
"""Trials below which it is not said that a value does not matter: it would take more to see that it does."""

SMALL = 0.05
"""The share of the differences between trials below which a hyperparameter counts as not mattering."""

LEVEL = 0.05
"""How often, at most, a study without any such edge is told of one; all hyperparameters and ends together."""

ALIKE = 4
"""Trials with the very same curves that are no accident."""

ALL_DIVERGE, NO_DIFFERENCE = "nothing but divergence", "no difference"
"""Findings after which nothing else is worth saying: what is trained has to be mended first."""

BAND = 0.1
"""The outer share of a range that counts as its edge."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What several trials show together, and what to do about it.

    Attributes:
        name: A short name, the same in every study.
        sentence: What is seen, with its numbers, and the next move.
        evidence: The numbers it rests on, with their thresholds.
        widen: Hyperparameter -> the value up to which its range should reach; empty where that is not the move.
    """

    name: str
    sentence: str
    evidence: tuple[Evidence, ...]
    widen: Configuration = field(default_factory=dict)


@dataclass(frozen=True)
class _Known:
    """What a check may look at.

    Attributes:
        everyone: The trials of the search and of attempts.
        trials: Those of them whose losses are the work of their own configurations alone.
        leaders: The best of these.
    """

    everyone: tuple[Trial, ...]
    trials: tuple[Trial, ...]
    leaders: tuple[Trial, ...]
    space: Space
    horizon: int
    diverged: frozenset[int]
    validation_rows: int | None


@dataclass(frozen=True, slots=True)
class _Wall:
    """Where ``name``, a learning rate, goes beyond ``edge``, ``diverged`` of ``of`` trials diverge."""

    name: str
    edge: float
    diverged: int
    of: int

    @staticmethod
    def of_study(known: _Known) -> _Wall | None:
        """The wall right above the learning rates of the best five, if there is one."""
        name = next((name for name in ROLES["learning_rate"] if name in known.space), "")
        rates = {t.id: t.config[name] for t in known.trials if is_number(t.config.get(name))}
        edge = max((rates[t.id] for t in known.leaders[:5] if t.id in rates), default=0.0)
        beyond = [number in known.diverged for number, rate in rates.items() if edge < rate <= 10 * edge]
        below = [number in known.diverged for number, rate in rates.items() if edge / 10 <= rate <= edge]
        is_wall = len(beyond) >= 4 and sum(beyond) >= 2 / 3 * len(beyond) and sum(below) <= 0.2 * len(below)
        return _Wall(name, edge, sum(beyond), len(beyond)) if is_wall else None


def findings(
    trials: Sequence[Trial],
    space: Space,
    *,
    horizon: int,
    verdicts: Mapping[int, Sequence[Verdict]] | None = None,
    validation_rows: int | None = None,
) -> list[Finding]:
    """Everything that the trials show together, the most urgent first; empty where they show nothing.

    Args:
        trials: The trials of a study; those on confirmation seeds are left out, and of those that began with another
            one's state only failures count.
        space: Their space.
        horizon: The largest step.
        verdicts: Verdicts by trial; a trial that is called diverging counts as such, also with a finite loss.
        validation_rows: Rows of the validation set, where the metric is the share of them that is labelled
            wrong, or right. None: how far chance moves the metric is not known.
    """
    everyone = tuple(t for t in trials if t.purpose in SEARCH_DATA)
    searched = tuple(begun_anew(everyone))
    order = sorted((t for t in searched if math.isfinite(t.loss)), key=lambda t: (t.loss, t.id))
    diverging = {number for number, said in (verdicts or {}).items() if any(v.name == "diverging" for v in said)}
    known = _Known(
        everyone=everyone,
        trials=searched,
        leaders=tuple(order[: max(LEADERS, len(searched) // 10)]),
        space=space,
        horizon=horizon,
        diverged=frozenset({t.id for t in searched if t.diverged} | diverging),
        validation_rows=validation_rows,
    )
    return [finding for check in CHECKS for finding in check(known)]


def _failures(known: _Known) -> list[Finding]:
    failed = [t for t in known.everyone if t.state is State.FAILED]
    share = len(failed) / max(len(known.everyone), 1)
    if len(failed) < 2 or share < 0.05:
        return []
    reasons = Counter(reason(t.error or "") or "no message" for t in failed)
    most, times = reasons.most_common(1)[0]
    sentence = f"{len(failed)} of {len(known.everyone)} trials failed, {times} of them with: {most}"
    absent = next((n for n in known.space.names if most == f"KeyError: {n!r}" and known.space[n].when), None)
    if absent is not None:
        sentence += f". Where {absent} is inactive, configurations lack it: read it with config.get({absent!r})."
    return [Finding("failing trials", sentence, (Evidence("failed_share", share, 0.05),))]


def _nothing_but_divergence(known: _Known) -> list[Finding]:
    """No trial has a score, and the infinite losses have one cause."""
    trained = [t for t in known.everyone if t.state is not State.FAILED and t.curve.trained]
    if len(trained) < 2 or not all(t.diverged for t in trained):
        return []
    at = min(t.curve.last_step for t in trained)
    rate = next((name for name in ROLES["learning_rate"] if name in known.space), "")
    wild = f"the steps may be too long: let {rate} take smaller values." if rate else "the steps may be too long."
    broken = "look for NaN or infinity in the data, and for log(0) or a division by 0 in the loss."
    sentence = f"All {len(trained)} trials diverged, the first at step {at}: {broken if at <= 1 else wild}"
    return [Finding(ALL_DIVERGE, sentence, (Evidence("diverged_share", 1.0, 1.0),))]


def _no_difference(known: _Known) -> list[Finding]:
    """Different configurations, and the very same curves: the values do not reach what is trained."""
    trained = [t for t in known.trials if t.curve.trained and not _ended_badly(t)]
    keys = {config_key(t.config) for t in trained[:ALIKE]}
    if len(keys) < ALIKE:
        return []
    until = min(t.curve.last_step for t in trained)
    curves = ([pair for pair in zip(*t.curve.steps_and_losses, strict=True) if pair[0] <= until] for t in trained)
    first = next(curves)
    if not all(curve == first for curve in curves):  # the second one ends it, nearly always
        return []
    name = known.space.names[0]
    sentence = (
        f"All {len(trained)} trials measured exactly the same, whatever their values: does the training use them? A "
        f'function reads config["{name}"]; a command is told {{{name}}}, or reads AYAR_{name.upper()}.'
    )
    return [Finding(NO_DIFFERENCE, sentence, (Evidence("trials", len(trained), ALIKE),))]


def _walls(known: _Known) -> list[Finding]:
    wall = _Wall.of_study(known)
    if wall is None:
        return []
    return [
        Finding(
            "wall of divergence",
            f"{wall.diverged} of {wall.of} trials with {wall.name} above {wall.edge:.3g} diverged, and the best lie "
            "right below: a warm-up of the learning rate, or clipping the gradient, may let larger ones pay.",
            (Evidence("diverged_beyond", wall.diverged / wall.of, 2 / 3),),
        )
    ]


def _too_wild(known: _Known) -> list[Finding]:
    """Many trials diverge, and the learning rate tells which: the one that parts them best from the others."""
    name = next((name for name in ROLES["learning_rate"] if name in known.space), "")
    rated = [(t.config[name], t.id in known.diverged) for t in known.trials if is_number(t.config.get(name))]
    share = sum(wild for _, wild in rated) / max(len(rated), 1)
    if len(rated) < FEWEST or share < 0.2 or _Wall.of_study(known) is not None:
        return []
    rated.sort()
    rates, wild = np.array([rate for rate, _ in rated]), np.array([wild for _, wild in rated])
    below = np.cumsum(wild)[:-1]  # diverged among the first 1, 2, ...
    count = np.arange(1, len(wild))
    above = wild.sum() - below
    parting = above / wild.sum() - (len(wild) - count - above) / max((~wild).sum(), 1)
    at = int(np.argmax(parting))
    shares = above[at] / (len(wild) - count[at]), below[at] / count[at]
    if shares[0] < 2 / 3 or shares[1] > 0.1 or rates[at] == rates[at + 1]:
        return []
    sentence = (
        f"{above[at]} of the {len(wild) - count[at]} trials with {name} above {rates[at]:.3g} diverged, and "
        f"{below[at]} of the {count[at]} others: end its range near {rates[at]:.2g}."
    )
    return [Finding("range of wild values", sentence, (Evidence("diverged_share", share, 0.2),))]


def _idle(known: _Known) -> list[Finding]:
    """Hyperparameters by whose values alone the trials do not differ, told where that can be seen.

    For each, the trials fall into four groups by its value, or by its choice. Those account for no more than a
    twentieth of the differences, with 95 % confidence.
    """
    reached = sorted((t.curve.last_step for t in known.trials if not _ended_badly(t)), reverse=True)
    level = reached[MANY - 1] if len(reached) >= MANY else 0
    trials = [t for t in known.trials if t.curve.last_step >= level or (_ended_badly(t) and t.target_step >= level)]
    if level == 0:
        return []
    losses = np.array([_loss_until(t, level) for t in trials])
    shares = {
        name: share for name in known.space.names if (share := _explained(known.space[name], name, trials, losses))
    }
    idle = [name for name, (_, most) in shares.items() if most <= SMALL]
    if not idle or max((least for least, _ in shares.values()), default=0.0) < SMALL:
        return []  # where nothing shows, all of it may be noise
    names = ", ".join(idle)
    most = max(shares[name][1] for name in idle)
    each, them = ("it", "it") if len(idle) == 1 else ("each", "them")
    sentence = (
        f"{names} made no difference that shows in the {len(trials)} trials that got to step {level}: by itself {each} "
        f"accounts for {most:.0%} of the differences at most. Fix {them} where it is cheapest, and search the rest."
    )
    return [Finding("values that do not matter", sentence, (Evidence("explained_at_most", most, SMALL),))]


def _explained(entry: Any, name: str, trials: Sequence[Trial], losses: np.ndarray) -> tuple[float, float] | None:
    """The bounds of ``explained_share`` for one hyperparameter; None where too few trials tell."""
    held = [(t.config[name], loss) for t, loss in zip(trials, losses, strict=True) if name in t.config]
    if not isinstance(entry, Choice | Float | Int) or name in ROLES["iterations"] or len(held) < MANY:
        return None
    values = [value for value, _ in held]
    if isinstance(entry, Choice):
        groups = np.array([entry.choices.index(value) if value in entry.choices else -1 for value in values])
    else:
        groups = 4 * np.searchsorted(np.sort(values), values) // len(values)
    return explained_share(groups, np.array([loss for _, loss in held]))


def _loss_until(trial: Trial, step: int) -> float:
    """The least loss up to a step; infinite where the trial came to grief."""
    return math.inf if _ended_badly(trial) else min(m.loss for m in trial.curve.trained if m.step <= step)


def _ended_badly(trial: Trial) -> bool:
    return trial.state in (State.FAILED, State.DIVERGED) or not trial.curve.trained


def _edges(known: _Known) -> list[Finding]:
    """Whether the leaders crowd at an edge, more than trials do there anyhow: a binomial test, Bonferroni-corrected."""
    if len(known.trials) < FEWEST or len(known.leaders) < LEADERS:
        return []
    ends = [(name, upper) for name in known.space.names for upper in (False, True)]
    ends = [(name, upper) for name, upper in ends if _beyond(known.space[name], name, upper=upper) is not None]
    wall = _Wall.of_study(known)
    found = []
    for name, upper in ends:
        entry = known.space[name]
        tried = [_at_edge(entry, t.config[name], upper=upper) for t in known.trials if name in t.config]
        inside = [_at_edge(entry, t.config[name], upper=upper) for t in known.leaders if name in t.config]
        if not inside:
            continue
        usual = max(BAND, sum(tried) / len(tried))
        chance = at_least(sum(inside), len(inside), usual)
        if chance >= LEVEL / len(ends) or (upper and wall is not None and wall.name == name):
            continue
        wanted = _beyond(entry, name, upper=upper)
        end = "largest" if upper else "smallest"
        found.append(
            Finding(
                "best values at the edge",
                f"{sum(inside)} of the best {len(inside)} trials have the {end} values of {name}; of all trials "
                f"{sum(tried) / len(tried):.0%} have: widen its range to {wanted:g}.",
                (Evidence("at_edge", sum(inside) / len(inside), usual), Evidence("p_value", chance, LEVEL / len(ends))),
                {name: wanted},
            )
        )
    return found


def at_least(hits: int, n: int, p: float) -> float:
    """The chance of ``hits`` or more among ``n``, each with probability ``p``.

    >>> round(at_least(2, 3, 0.5), 3)
    0.5
    """
    return math.fsum(math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(hits, n + 1))


def _at_edge(entry: Any, value: Any, *, upper: bool) -> bool:
    if isinstance(entry, Choice):
        return bool(value == entry.choices[-1 if upper else 0])
    place = entry.to_unit(min(max(value, entry.low), entry.high))
    return bool(place >= 1 - BAND if upper else place <= BAND)


def _beyond(entry: Any, name: str, *, upper: bool) -> float | None:
    """How far a range should be widened: ten times on a log scale, else by its width; None at a natural bound.

    Natural are 0 and, for a share such as a momentum, nearly 1; and 1 for what is counted.
    """
    if isinstance(entry, Choice):
        numbers = [choice for choice in entry.choices if is_number(choice)]
        if not entry.ordered or len(numbers) < max(len(entry.choices), 3) or min(numbers) <= 0:
            return None
        return numbers[-1] ** 2 / numbers[-2] if upper else numbers[0] ** 2 / numbers[1]
    if not isinstance(entry, Float | Int) or name in ROLES["iterations"]:
        return None
    is_share = isinstance(entry, Float) and not entry.log and 0.9 <= entry.high <= 1
    if is_share if upper else entry.low <= (1 if isinstance(entry, Int) else 0):
        return None
    width = entry.high - entry.low
    if upper:
        return entry.high * 10 if entry.log else entry.high + width
    lower = entry.low / 10 if entry.log else max(entry.low - width, min(entry.low, 0))
    return max(round(lower), 1) if isinstance(entry, Int) else lower


def _alone(known: _Known) -> list[Finding]:
    """Near the best: within a tenth of the way from the best loss to the middle one."""
    losses = sorted(t.loss for t in known.trials if math.isfinite(t.loss))
    if len(losses) < 15:
        return []
    best, middle = losses[0], losses[len(losses) // 2]
    near = sum(loss <= best + 0.1 * (middle - best) for loss in losses)
    if near >= 3:
        return []
    others = "no other trial" if near == 1 else "only one other trial"
    return [
        Finding(
            "few points in the good region",
            f"Of {len(losses)} trials, {others} came near the best one: it may be luck, and better ones may lie "
            "around it. Search on.",
            (Evidence("near_the_best", near, 3),),
        )
    ]


def _unsettled(known: _Known) -> list[Finding]:
    """Leaders trained to the horizon whose score still gained in the last fifth of the steps."""
    whole = [t for t in known.leaders if t.curve.last_step >= known.horizon and len(t.curve.trained) >= 10]
    gains = [_late_gain(t) for t in whole]
    if len(gains) < 3 or sum(gain > 0.02 for gain in gains) <= len(gains) / 2:
        return []
    gain = sorted(gains)[len(gains) // 2]
    return [
        Finding(
            "too few iterations",
            f"{sum(g > 0.02 for g in gains)} of the {len(gains)} best trials that were trained to the end were still "
            f"gaining in their last fifth: allow more than {known.horizon} iterations.",
            (Evidence("late_gain", gain, 0.02),),
        )
    ]


def _late_gain(trial: Trial) -> float:
    """What the last fifth of the steps gained, as a share of all that was gained; smoothed against luck."""
    losses = np.array([m.loss for m in trial.curve.trained])
    smooth = trailing_median(losses, max(3, len(losses) // 20))
    before, end = float(smooth[: -max(len(smooth) // 5, 1)].min()), float(smooth.min())
    fall = float(smooth[0]) - end
    return (before - end) / fall if fall > 0 else 0.0


def _blurred(known: _Known) -> list[Finding]:
    """Two shares from the same rows differ by chance with a standard error of at most sqrt(2 p (1 - p) / n)."""
    rows = known.validation_rows
    if not rows or len(known.leaders) < 5:
        return []
    best = known.leaders[0].loss
    p = min(max(abs(best), 1 / rows), 1 - 1 / rows)
    visible = 2 * math.sqrt(2 * p * (1 - p) / rows)
    tied = sum(t.loss - best <= visible for t in known.leaders)
    if tied < max(5, len(known.leaders) // 2):
        return []
    return [
        Finding(
            "validation too small",
            f"{rows:,} validation rows show differences from about {100 * visible:.2g} points on; {tied} of the best "
            f"{len(known.leaders)} trials lie closer. Hold out more rows, or go by the mean over fresh seeds.",
            (Evidence("closer_than_chance", tied, max(5, len(known.leaders) // 2)),),
        )
    ]


CHECKS: tuple[Callable[[_Known], list[Finding]], ...] = (
    _failures,
    _nothing_but_divergence,
    _no_difference,
    _walls,
    _too_wild,
    _edges,
    _unsettled,
    _alone,
    _blurred,
    _idle,
)
"""The checks, the most urgent first."""
