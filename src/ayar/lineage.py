"""What a trial descends from: the configurations that its state was trained with, one after the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ayar.records import Leg, Trial


def schedule_of(trial: Trial, numbered: Callable[[int], Trial]) -> tuple[Leg, ...]:
    """The legs that come before the trial's own configuration, the first one first; empty for most trials.

    Args:
        trial: The trial.
        numbered: Gives a trial of the same study by its number.

    >>> born = {0: Trial(0, {"rate": 0.5}, seed=7), 1: Trial(1, {"rate": 0.4}, seed=8, parent=0, fork_step=5)}
    >>> schedule_of(born[1], born.__getitem__)
    (Leg(stop_step=5, config={'rate': 0.5}, seed=7),)
    >>> schedule_of(Trial(2, {"rate": 0.4}, seed=9, parent=1), born.__getitem__)  # goes through it once more
    (Leg(stop_step=5, config={'rate': 0.5}, seed=9),)
    """
    if trial.parent is None:
        return ()
    parent = numbered(trial.parent)
    legs = schedule_of(parent, numbered)
    if trial.fork_step == 0:
        return tuple(replace(leg, seed=trial.seed) for leg in legs)
    return (*legs, Leg(trial.fork_step, parent.config, parent.seed))
