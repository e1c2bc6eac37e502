"""Losses of many trials, read together: one by one a large study would take minutes."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter

Losses = tuple[Sequence[int], Sequence[float]]
"""Steps and losses of a trial's measurements."""

Reader = Callable[[int, int], Iterable[Sequence[int | float | None]]]
"""Gives ``(trial, step, loss)`` of all measurements of the trials from a first one to a last one, in that order."""

_AT_ONCE = 500
_IN_TURN = 3  # trials that were asked for one after the other, so that the next ones will be, too


class ReadAhead:
    """Gives the losses of a trial; where trials are asked for in turn, those of the next ones are read with them."""

    def __init__(self, read: Reader) -> None:
        self._read = read
        self._ahead: dict[int, Losses] = {}
        self._latest, self._in_turn = -1, 0

    def __call__(self, trial: int, last_step: int) -> Losses:
        """Up to ``last_step``, which was measured."""
        self._in_turn = self._in_turn + 1 if 0 < trial - self._latest <= _IN_TURN else 0
        self._latest = trial
        steps, losses = self._ahead.pop(trial, ((), ()))
        if not steps or steps[-1] < last_step:  # it was not read, or has been trained since
            last = trial + _AT_ONCE - 1 if self._in_turn >= _IN_TURN else trial
            self._ahead = dict(_by_trial(self._read(trial, last)))
            steps, losses = self._ahead.pop(trial, ((), ()))
        kept = len(steps)
        while kept and steps[kept - 1] > last_step:
            kept -= 1
        return steps[:kept], losses[:kept]


def _by_trial(found: Iterable[Sequence[int | float | None]]) -> Iterator[tuple[int, Losses]]:
    for trial, rows in groupby(found, itemgetter(0)):
        _, steps, losses = zip(*rows, strict=True)
        even = range(steps[0], steps[-1] + 1)
        known = [math.nan if loss is None else loss for loss in losses] if None in losses else losses
        yield trial, (even if len(even) == len(steps) else steps, array("d", known))
