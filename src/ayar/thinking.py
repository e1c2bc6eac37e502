"""How long slices must be to be worth the thinking about them.

Of a small net in lanes an epoch takes less than a millisecond, and the decision what to train next takes several. Were
slices as short there as they are for nets that take seconds, workers would wait for decisions most of the time.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median

SHARE = 3
"""Times as long as the decision about it a slice should train at least; with more workers than that, so many times."""

LATELY = 32
"""Decisions, and steps, that are remembered."""

FEWEST = 4
"""Of each, before anything is concluded."""


@dataclass(frozen=True, slots=True)
class Thinking:
    """What moves have taken lately, to decide about and to train.

    >>> lately = Thinking()
    >>> for _ in range(4):
    ...     lately.decided(seconds=0.024, moves=8)
    >>> lately.trained([0.001, 0.001, 0.001, 0.001])
    >>> lately.least_slice(workers=1)
    8
    """

    _decisions: deque[float] = field(default_factory=lambda: deque(maxlen=LATELY))
    _steps: deque[float] = field(default_factory=lambda: deque(maxlen=LATELY))

    def decided(self, seconds: float, moves: int) -> None:
        """So many moves were decided about at once."""
        if moves:
            self._decisions.append(seconds / moves)

    def trained(self, seconds: Iterable[float]) -> None:
        """Steps were trained."""
        self._steps.extend(seconds)

    def least_slice(self, workers: int) -> int:
        """Steps that are worth a decision: a power of two, so that a clock's jitter hardly ever changes what is tried.

        Decisions are made one after the other, so many workers have to be kept busy meanwhile.
        """
        if min(len(self._decisions), len(self._steps)) < FEWEST:
            return 1
        steps = max(SHARE, workers) * median(self._decisions) / max(median(self._steps), 1e-9)
        return int(2 ** math.floor(math.log2(max(steps, 1))))
