"""Rechecks of small real nets in worlds that changed, against the truth of a dense grid.

"Then", a grid is tuned as a study would be: one seed each, the best ten again on four seeds, the winner on five more.
Where the order can't have changed, all ten seeds decide, so that the winner is the best there is.
"Now", the winner is rechecked many times, through ``plan`` and ``run`` as a study does, each time with other seeds
drawn from a pool on which every arm was trained. The truth now: the grid on ten seeds, every arm on the whole pool.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ayar.intuition.importance import importance
from ayar.recheck.confirm import Decision, margin, same_seed_correlation
from ayar.recheck.course import Arm, run
from ayar.recheck.plan import Course, Terms, plan
from ayar.records import Configuration, Curve, Measurement, Metric, Trial, Winner, config_key
from ayar.seeds import Purpose
from ayar.space import Float, Space
from ayar.winner import choose, ranked, standings
from nets import Task, World, train

RATES = [float(f"{10 ** (-4 + i / 3):.3g}") for i in range(15)]
DECAYS = [1e-5, 1e-3, 1e-2]
SPACE = Space(
    learning_rate=Float(1e-4, RATES[-1], log=True, default=0.01),
    weight_decay=Float(1e-5, 1e-2, log=True, default=1e-5),
)
GRID = [{"learning_rate": r, "weight_decay": d} for r, d in itertools.product(RATES, DECAYS)]
METRIC = Metric("valid_error")
GRID_SEEDS = range(10)
RECHECKS = 200
POOL = [first + i for first in (1000, 2000) for i in range(200) if i % 20 < 11]
_SCREENED = 20  # of a recheck's seeds, set aside for the screening

BASE = World()
PAIRS: dict[str, tuple[World, World, dict[str, tuple[float, float]]]] = {
    "nothing": (BASE, BASE, {}),
    "features rotated": (BASE, BASE.but(rotated=True), {}),
    "validation labels 10 % wrong (level only)": (BASE, BASE.but(valid_noise=0.1), {}),
    "data x 8 (125 to 1,000 rows)": (BASE.but(rows=125), BASE, {"rows": (125, 1000)}),
    "data / 8 (1,000 to 125 rows)": (BASE, BASE.but(rows=125), {"rows": (1000, 125)}),
    "label noise 0 to 30 %": (BASE, BASE.but(noise=0.3), {}),
    "batch 32 to 512": (BASE, BASE.but(batch=512), {"batch_size": (32, 512)}),
    "batch 512 to 32": (BASE.but(batch=512), BASE, {"batch_size": (512, 32)}),
    "width 32 to 128": (BASE, BASE.but(width=128), {"width": (32, 128)}),
    "float32 to bfloat16": (BASE, BASE.but(bf16=True), {}),
}
SAME_ORDER = {"nothing", "features rotated", "validation labels 10 % wrong (level only)"}
"""Pairs in which no other configuration can have become better; their winner is the best of the grid on ten seeds."""

CHANGES = {Decision.REPLACE, Decision.RETUNE}


class Lab:
    """Trains what is asked for, once."""

    def __init__(self, X: np.ndarray, y: np.ndarray) -> None:
        self._X, self._y = X, y
        self._known: dict[tuple[World, str, int], float] = {}

    def errors(self, world: World, configs: Sequence[Configuration], seeds: Sequence[int]) -> np.ndarray:
        """Validation errors, shape ``(configs, seeds)``."""
        wanted = [(world, config_key(c), s) for c in configs for s in seeds]
        by_key = {config_key(c): c for c in configs}
        missing = [key for key in dict.fromkeys(wanted) if key not in self._known]
        if missing:
            task = Task(self._X, self._y, world)
            found = train(task, [by_key[key[1]] for key in missing], [key[2] for key in missing])
            self._known.update(zip(missing, found.tolist(), strict=True))
        return np.array([self._known[key] for key in wanted]).reshape(len(configs), len(seeds))


def _trial(number: int, config: Configuration, seed: int, purpose: Purpose, loss: float) -> Trial:
    curve = Curve((Measurement(1, loss),))
    return Trial(number, config, seed, purpose, curve, 1, ended=True)


def tuned(lab: Lab, world: World, *, thorough: bool) -> tuple[Winner, list[Trial]]:
    """A study of the grid as tuning leaves it; ``thorough``: all seeds of the truth decide who wins."""
    errors = lab.errors(world, GRID, GRID_SEEDS)
    trials = [_trial(i, c, 0, Purpose.SEARCH, errors[i, 0]) for i, c in enumerate(GRID)]

    def more(configs: Sequence[Configuration], seeds: range, purpose: Purpose) -> None:
        found = lab.errors(world, configs, seeds)
        for (i, config), (j, seed) in itertools.product(enumerate(configs), enumerate(seeds)):
            trials.append(_trial(len(trials), config, seed, purpose, found[i, j]))

    if thorough:
        best = np.argsort(errors.mean(axis=1))[:10]
        more([GRID[i] for i in best], GRID_SEEDS, Purpose.RERANK)
    else:
        more([t.config for t in ranked(trials)[:10]], range(1, 5), Purpose.RERANK)
    more([standings(trials)[0].config], range(10, 15) if thorough else range(5, 10), Purpose.FINALISE)
    winner = choose(trials, METRIC, SPACE)
    assert winner is not None
    return winner, trials


@dataclass(frozen=True)
class Truth:
    """What a world is really like.

    Attributes:
        incumbent: The winner's mean error now.
        arm: The best challenger's, among those that the recheck trains.
        grid: The best of the grid: chosen on five seeds, measured on the other five.
        spread: Standard deviation of a run of the winner.
        margin: The least gain worth a change.
        correlation: Of the winner's errors and good challengers' on the same seed.
    """

    incumbent: float
    arm: float
    grid: float
    spread: float
    margin: float
    correlation: float | None


def truth(lab: Lab, world: World, course: Course, seeds: Sequence[int]) -> tuple[Truth, dict[str, float]]:
    """The truth, and each arm's mean error by its key."""
    arms = [course.incumbent, *(c.config for c in course.challengers)]
    errors = lab.errors(world, arms, seeds)
    grid = lab.errors(world, GRID, GRID_SEEDS)
    best = int(np.argmin(grid[:, :5].mean(axis=1)))
    spread = float(errors[0].std(ddof=1))
    means = errors.mean(axis=1)
    good = errors[np.isfinite(means) & (means < means[0] + 5 * spread)]
    found = Truth(
        float(means[0]),
        float(means[1:].min()),
        float(grid[best, 5:].mean()),
        spread,
        margin(spread, float(means[0])),
        same_seed_correlation([good]),
    )
    return found, {config_key(c): float(m) for c, m in zip(arms, means, strict=True)}


SURE = 1.5
"""Gain, in standard deviations of a run, from which on a recheck has to see it; 40 trainings then do in 95 %."""


def wanted(told: Truth) -> str:
    """What the truth calls for: ``"keep"`` below the margin, ``"change"`` from ``SURE`` on, ``"either"`` between.

    What counts is the better of the arms and the grid.
    """
    gain = told.incumbent - min(told.arm, told.grid)
    return "keep" if gain < told.margin else "change" if gain >= SURE * told.spread else "either"


def right(verdict: Decision, chosen: float | None, told: Truth) -> bool:
    """Whether a verdict is the one wanted; a change is right only where the chosen one is truly better.

    A winner that collapsed where only the machinery changed has regressed: that is right, too.
    """
    if verdict is Decision.REGRESSED:
        return wanted(told) == "change"
    if verdict in CHANGES:
        return wanted(told) != "keep" and chosen is not None and chosen < told.incumbent
    return wanted(told) != "change"


@dataclass(frozen=True)
class Row:
    """One pair of worlds."""

    name: str
    told: Truth
    verdicts: tuple[str, ...]
    chosen: tuple[float | None, ...]
    right: int
    worse: int  # calls for one that isn't truly better
    trainings: float
    level: float


def _print(world: World) -> dict[str, dict[str, str]]:
    """The fingerprint of a world: its precision is hardware, everything else counts as data or code."""
    rest = str(world.but(bf16=False))
    return {"data": {"content": rest}, "code": {"source": rest}, "hardware": {"precision": str(world.bf16)}}


def compare(lab: Lab, name: str) -> Row:
    """Recheck the winner of "then" in the world of "now"."""
    then, now, changed = PAIRS[name]
    winner, trials = tuned(lab, then, thorough=name in SAME_ORDER)
    searched = [t for t in trials if t.purpose is Purpose.SEARCH]
    order = [i.name for i in importance(searched, SPACE, rng=np.random.default_rng(0), resamples=5)]
    course = plan(winner, trials, SPACE, METRIC, 1, Terms(important=order, changed=changed))
    arms = [course.incumbent, *(c.config for c in course.challengers)]
    lab.errors(now, arms, POOL)  # all at once, which is cheaper
    told, means = truth(lab, now, course, POOL)
    verdicts, picked, correct, worse, costs, levels = [], [], 0, 0, [], []
    rng = np.random.default_rng(0)
    for _ in range(RECHECKS):
        drawn = rng.permutation(POOL)

        def ask(
            wanted: Sequence[Arm], purpose: Purpose, numbers: range, drawn: np.ndarray = drawn
        ) -> list[list[Trial]]:
            first = 0 if purpose is Purpose.RECHECK else _SCREENED
            own = [int(drawn[first + n]) for n in numbers]
            errors = lab.errors(now, [config for config, _ in wanted], own)
            rows = zip(wanted, errors, strict=True)
            return [[_trial(0, c, s, purpose, e) for s, e in zip(own, row, strict=True)] for (c, _), row in rows]

        found = run(course, ask, _print(then), _print(now))
        verdicts.append(str(found.verdict))
        chosen = None if found.challenger is None else means[config_key(found.challenger)]
        picked.append(chosen)
        correct += right(found.verdict, chosen, told)
        worse += found.verdict in CHANGES and (chosen is None or chosen >= told.incumbent)
        costs.append(found.trainings)
        levels.append(math.nan if found.level_shift is None else found.level_shift.mean)
    mean_cost, level = float(np.mean(costs)), float(np.nanmean(levels))
    return Row(name, told, tuple(verdicts), tuple(picked), correct, worse, mean_cost, level)
