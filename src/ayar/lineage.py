"""What a trial descends from: the configurations that its state was trained with, one after the other.

The curve of a trial that began with another one's state begins in the midst of a training. Whoever reads what a curve
says reads it with what came before; whoever asks what a configuration is worth leaves such trials out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from ayar.records import Curve, Leg, Trial


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


def whole_curve(trial: Trial, numbered: Callable[[int], Trial]) -> Curve:
    """The trial's curve after those of the trials that its state went through before; for most trials its own.

    >>> from ayar.records import Measurement
    >>> own = [Curve(tuple(Measurement(step, 1 / step) for step in steps)) for steps in ((1, 2, 3), (3, 4))]
    >>> born = {0: Trial(0, {}, seed=7, curve=own[0]), 1: Trial(1, {}, seed=8, curve=own[1], parent=0, fork_step=2)}
    >>> whole_curve(born[1], born.__getitem__).steps_and_losses[0]
    [1, 2, 3, 4]
    """
    if trial.parent is None or trial.fork_step == 0:
        return trial.curve
    before = whole_curve(numbered(trial.parent), numbered)
    return Curve(tuple(m for m in before if m.step <= trial.fork_step)).extended(trial.curve)


def begun_anew(trials: Iterable[Trial]) -> list[Trial]:
    """Those whose losses are their own configurations' work alone, for they did not begin with another one's state."""
    return [trial for trial in trials if trial.fork_step == 0]
