"""Who may challenge the incumbent: what rules say, stored runners-up, local steps, and one from far away."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ayar.curves.advice import ROLES
from ayar.recheck.rules import Change, at_or_near, rescaled
from ayar.records import Configuration, Trial, config_key
from ayar.space import Choice, Float, Int, PerLayer, Space
from ayar.winner import Standing, ranked

_STEP = 3.0
_LINEAR_STEP = 0.25  # of a range that isn't on a log scale
_APART = 0.1  # least distance in the unit cube between two that are both worth training


@dataclass(frozen=True, slots=True)
class Challenger:
    """A configuration that may have become better than the incumbent.

    Attributes:
        origin: Where it comes from, in a few words.
        far: Whether it comes from elsewhere in the space: if it wins, a new search is worth more than itself.
    """

    config: Configuration
    origin: str
    far: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """What is on record to find challengers by.

    Attributes:
        trials: All trials of the study.
        places: The re-ranked configurations, best first.
        important: Hyperparameters, the most important first; empty where nobody knows.
        run_sd: Standard deviation of a run's loss; runners-up within it of the best were as good.
        changed: Sizes that changed since the winner was found: name -> (old, new).
    """

    trials: Sequence[Trial] = ()
    places: Sequence[Standing] = ()
    important: Sequence[str] = ()
    run_sd: float | None = None
    changed: Mapping[str, Change] = field(default_factory=dict)


def challengers(incumbent: Configuration, space: Space, record: Record) -> list[Challenger]:
    """All challengers, those first that should be kept where a budget has room for few."""
    rules = [Challenger(config, name) for config, name in rescaled(incumbent, space, record.changed)]
    rivals = [Challenger(p.config, "runner-up") for p in _by_promise(incumbent, space, record)]
    steps = local_steps(incumbent, space, record)
    far = _far_away(incumbent, space, record)
    wishes = [*rules, *rivals[:1], *steps[:3], *far, *rivals[1:2], Challenger(space.default(), "default"), *steps[3:]]
    taken, chosen = [incumbent], []
    for wish in [*wishes, *rivals[2:]]:
        apart = all(_distance(wish.config, other, space) >= _APART for other in taken)
        if apart or (wish.origin.startswith("rule") and wish.config not in taken):
            taken.append(wish.config)
            chosen.append(wish)
    return chosen


def local_steps(incumbent: Configuration, space: Space, record: Record = Record()) -> list[Challenger]:
    """Steps to both sides on the first hyperparameter, then one on each of the next two.

    A step on a log scale is a factor of 3, elsewhere a quarter of the range, to the neighbour in an ordered choice,
    to the value that the search liked best in another. The single steps go to the side where the search's trials
    were better. The learning rate comes first whatever mattered in the search, which has settled near its best value
    of then: nothing else's best value moves as readily with data, machines and nets. The others come by importance,
    where it is known, else those on a log scale. A step that the end of a range cuts to less than half is left out.

    >>> space = Space(learning_rate=Float(0.001, 1.0, log=True))
    >>> [(step.config, step.origin) for step in local_steps({"learning_rate": 0.5}, space)]
    [({'learning_rate': 1.0}, 'learning_rate x 2'), ({'learning_rate': 0.1667}, 'learning_rate / 3')]
    """
    steps: list[Challenger] = []
    singles = 0
    for name in _most_important_first(incumbent, space, record.important):
        found = _steps(name, incumbent, space, record.trials)
        if not found:
            continue
        if not steps:
            steps = found[:2]
            continue
        best = _better_above(record.trials, name, incumbent[name])
        steps.append(found[0] if best is None or len(found) == 1 else found[0 if best else 1])
        singles += 1
        if singles == 2:
            break
    return steps


def at_edge(config: Configuration, incumbent: Configuration, space: Space) -> bool:
    """Whether something that differs from the incumbent lies at an end of its range: still better may lie beyond.

    Whole numbers count on a log scale only; a range of a few has little else than ends.
    """
    for name, value in config.items():
        entry = space[name]
        ranged = isinstance(entry, Float) or (isinstance(entry, Int) and entry.log)
        if ranged and value != incumbent.get(name) and value in (entry.low, entry.high):
            return True
    return False


def _most_important_first(incumbent: Configuration, space: Space, important: Sequence[str]) -> list[str]:
    rates = [name for name in ROLES["learning_rate"] if name in incumbent and name in space.names]
    known = [name for name in important if name in incumbent and name not in rates]
    rest = [name for name in space.names if name in incumbent and name not in (*rates, *known)]
    logged = [name for name in rest if getattr(space[name], "log", False)]
    return [*rates, *known, *logged, *(name for name in rest if name not in logged)]


def _steps(name: str, incumbent: Configuration, space: Space, trials: Sequence[Trial]) -> list[Challenger]:
    """Steps on one hyperparameter, upwards first."""
    entry, value = space[name], incumbent[name]
    found: list[Challenger] = []
    if isinstance(entry, Choice):
        found = [
            Challenger({**incumbent, name: other}, f"{name} {other}") for other in _others(entry, value, name, trials)
        ]
    elif isinstance(entry, PerLayer):
        if isinstance(entry.element, Float | Int) and entry.element.log:
            for sign, factor in (("x", 2.0), ("/", 0.5)):
                moved = [at_or_near(entry.element, factor * each) for each in value]
                found.append(Challenger({**incumbent, name: moved}, f"{name} {sign} 2"))
    elif isinstance(entry, Float | Int):
        found = _ranged_steps(name, entry, incumbent)
    return [step for step in found if space.contains(step.config) and step.config != incumbent]


def _ranged_steps(name: str, entry: Float | Int, incumbent: Configuration) -> list[Challenger]:
    value = incumbent[name]
    steps = []
    for direction in (1, -1):
        if value > 0 and (entry.log or name in ROLES["learning_rate"]):
            target = at_or_near(entry, value * _STEP**direction)
            moved = direction * math.log(target / value) if target > 0 else 0.0
            enough, told = moved >= math.log(_STEP) / 2, f"{'x' if direction > 0 else '/'} {math.exp(moved):.2g}"
        else:
            width = max(_LINEAR_STEP * (entry.high - entry.low), 1.0 if isinstance(entry, Int) else 0.0)
            target = at_or_near(entry, value + direction * width)
            enough, told = direction * (target - value) >= width / 2, f"{target:.4g}"
        if enough:
            steps.append(Challenger({**incumbent, name: target}, f"{name} {told}"))
    return steps


def _others(entry: Choice, value: Any, name: str, trials: Sequence[Trial]) -> list[Any]:
    """Other values of a choice: the neighbours in an ordered one; else the one the search liked best."""
    if value not in entry.choices:
        return []
    position = entry.choices.index(value)
    if entry.ordered:
        return [entry.choices[i] for i in (position + 1, position - 1) if 0 <= i < len(entry.choices)]
    losses = {t.config.get(name): t.loss for t in reversed(ranked(trials))}
    others = [other for other in entry.choices if other != value]
    return sorted(others, key=lambda other: losses.get(other, math.inf))[:1]


def _better_above(trials: Sequence[Trial], name: str, here: Any) -> bool | None:
    """Whether the best of the search's trials with another value than ``here`` has a larger one; None without any."""
    for trial in ranked(trials):
        value = trial.config.get(name)
        if isinstance(value, int | float) and isinstance(here, int | float) and value != here:
            return value > here
    return None


def _by_promise(incumbent: Configuration, space: Space, record: Record) -> list[Standing]:
    """Runners-up: those as good as the best, the most distant from the incumbent first; then the others by rank."""
    finite = [p for p in record.places if math.isfinite(p.mean)]
    as_good = [p for p in finite if p.mean <= finite[0].mean + (record.run_sd or 0.0)]
    as_good.sort(key=lambda p: -_distance(p.config, incumbent, space))
    return [*as_good, *(p for p in finite if p not in as_good)]


def _far_away(incumbent: Configuration, space: Space, record: Record) -> list[Challenger]:
    """The best of the search's farther half; the default, or a random one, where there is none."""
    order = [(t.config, _distance(t.config, incumbent, space)) for t in ranked(record.trials)]
    middle = float(np.median([far for _, far in order if math.isfinite(far)] or [0.0]))
    beyond = [config for config, far in order if math.isfinite(far) and far >= max(middle, 2 * _APART)]
    if beyond:
        return [Challenger(beyond[0], "far away", far=True)]
    if not space.dimensions or space.candidates is not None:
        return []
    rng = np.random.default_rng(0)
    drawn = max((space.sample(rng) for _ in range(16)), key=lambda c: _distance(c, incumbent, space))
    return [Challenger(drawn, "far away", far=True)]


def _distance(one: Configuration, other: Configuration, space: Space) -> float:
    """Distance in the unit cube; infinite where one that was tried by hand lies outside the space."""
    if config_key(one) == config_key(other):
        return 0.0
    if not (space.contains(one) and space.contains(other)):
        return math.inf
    return float(np.linalg.norm(space.encode(one) - space.encode(other)))
