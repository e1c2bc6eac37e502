"""Who may challenge the incumbent: stored runners-up, and steps to either side of its learning rate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ayar.records import Configuration, config_key
from ayar.space import Float, Int, Space
from ayar.winner import Standing

_STEP = 3.0
_APART = 0.1  # least distance in the unit cube between two that are both worth training


@dataclass(frozen=True, slots=True)
class Challenger:
    """A configuration that may have become better than the incumbent, and where it comes from."""

    config: Configuration
    origin: str


def challengers(
    incumbent: Configuration, places: Sequence[Standing], space: Space, run_sd: float | None
) -> list[Challenger]:
    """All challengers, those first that should be kept where a budget has room for few.

    Args:
        incumbent: The winner.
        places: The re-ranked configurations, best first.
        space: Where configurations come from.
        run_sd: Standard deviation of a run's loss; runners-up within it of the best were as good.
    """
    steps = local_steps(incumbent, space)
    rivals = [Challenger(p.config, "runner-up") for p in _by_promise(incumbent, places, space, run_sd or 0.0)]
    taken = [incumbent, *(step.config for step in steps)]
    chosen = []
    for rival in [*rivals, Challenger(space.default(), "default")]:
        if all(_distance(rival.config, other, space) >= _APART for other in taken):
            taken.append(rival.config)
            chosen.append(rival)
    return [*chosen[:1], *steps, *chosen[1:]]


def local_steps(incumbent: Configuration, space: Space) -> list[Challenger]:
    """The incumbent with its learning rate times and divided by 3, kept inside the space.

    Without a learning rate: the first hyperparameter on a log scale; without one, no step. A step that the end of
    the range cuts to less than half is left out.

    >>> space = Space(learning_rate=Float(0.001, 1.0, log=True))
    >>> [(step.config, step.origin) for step in local_steps({"learning_rate": 0.5}, space)]
    [({'learning_rate': 1.0}, 'learning_rate x 2'), ({'learning_rate': 0.1667}, 'learning_rate / 3')]
    """
    name = _name_to_step(incumbent, space)
    if name is None:
        return []
    entry, value = space[name], incumbent[name]
    steps = []
    for sign, direction in (("x", 1), ("/", -1)):
        target = min(max(float(f"{value * _STEP**direction:.4g}"), entry.low), entry.high)
        if entry.size is not None:  # a grid of values: the one at or next to the target
            target = entry.from_unit(entry.to_unit(round(target) if isinstance(entry, Int) else target))
        moved = direction * math.log(target / value) if target > 0 else 0.0
        config = {**incumbent, name: target}
        if moved >= math.log(_STEP) / 2 and space.contains(config):
            steps.append(Challenger(config, f"{name} {sign} {math.exp(moved):.2g}"))
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


def _name_to_step(incumbent: Configuration, space: Space) -> str | None:
    ranged = [n for n in space.names if n in incumbent and isinstance(space[n], Float | Int) and incumbent[n] > 0]
    logged = [n for n in ranged if space[n].log]
    return "learning_rate" if "learning_rate" in ranged else next(iter(logged), None)


def _by_promise(incumbent: Configuration, places: Sequence[Standing], space: Space, run_sd: float) -> list[Standing]:
    """Runners-up: those as good as the best, the most distant from the incumbent first; then the others by rank."""
    finite = [p for p in places if math.isfinite(p.mean)]
    as_good = [p for p in finite if p.mean <= finite[0].mean + run_sd]
    as_good.sort(key=lambda p: -_distance(p.config, incumbent, space))
    return [*as_good, *(p for p in finite if p not in as_good)]


def _distance(one: Configuration, other: Configuration, space: Space) -> float:
    """Distance in the unit cube; infinite where one that was tried by hand lies outside the space."""
    if config_key(one) == config_key(other):
        return 0.0
    if not (space.contains(one) and space.contains(other)):
        return math.inf
    return float(np.linalg.norm(space.encode(one) - space.encode(other)))
