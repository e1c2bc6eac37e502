"""What other tools' searches share: the nearest candidate for a wish, and an account of the units spent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from replay import CHECKPOINTS, Run
from tables import Replay

from ayar.records import Configuration
from ayar.space import Space

_PATIENCE = 100  # suggestions in a row that train nothing new, before a search is taken for ended


class Candidates:
    """The configurations of a task: a suggestion becomes the nearest that was not trained yet, while there is any."""

    def __init__(self, space: Space) -> None:
        points = space.candidate_points
        assert points is not None
        self._space, self._points = space, points
        self._free = np.ones(len(points), dtype=bool)

    def nearest(self, wish: Configuration) -> Configuration:
        """Take the candidate out; of all of them, once every one was taken."""
        distance = ((self._points - self._space.encode(wish, outside=True)) ** 2).sum(axis=1)
        place = int(np.where(self._free | ~self._free.any(), distance, np.inf).argmin())
        self._free[place] = False
        candidates: Any = self._space.candidates
        return candidates[place]


@dataclass
class Account:
    """Units spent on a task, and the regret of the best reading at each checkpoint passed.

    What was trained once costs nothing when a search begins it anew.
    """

    replay: Replay
    full_runs: float
    run: Run = field(default_factory=Run)
    spent: float = 0.0
    best: tuple[float, float] = (np.inf, 1.0)
    trained: dict[int, int] = field(default_factory=dict)  # by row, the last step paid for
    in_vain: int = 0  # trainings in a row that cost nothing

    @property
    def open(self) -> bool:
        """Whether there is something left to spend, and something new that it is spent on."""
        return self.spent < self.full_runs and self.in_vain < _PATIENCE

    def train(self, row: int, start: int, stop: int) -> Iterator[tuple[int, float]]:
        """The readings after ``start`` up to ``stop``, each paid for when it is taken; the last one is where it breaks.

        A training that cannot be sliced is paid for as a whole, and is read at its end.
        """
        self.in_vain += 1
        if stop <= start:
            return
        horizon, sliceable = self.replay.problem.horizon, self.replay.problem.sliceable
        if not sliceable:
            self.pay(row, horizon)
        reached = start
        for measurement in self.replay.train(row, start, stop)[0]:
            if measurement.step == 0:
                continue
            if sliceable:
                self.pay(row, measurement.step)
            reached = measurement.step
            if np.isfinite(measurement.loss) and (sliceable or reached == horizon):
                self.read(measurement.loss, float(self.replay.regret[row]))
            yield reached, measurement.loss
            if not np.isfinite(measurement.loss):
                return
        if reached == 0 and sliceable:  # nothing was read, but it has been waited for
            self.pay(row, horizon)

    def pay(self, row: int, step: int) -> None:
        """Train a row up to a step, if it is not there."""
        news = step - self.trained.get(row, 0)
        if news > 0:
            self.trained[row], self.in_vain = step, 0
            self.spend(news / self.replay.problem.horizon)

    def spend(self, full_runs: float) -> None:
        """Move on; what is read from now on was not known at the checkpoints passed."""
        self.spent += full_runs
        self.fill(self.spent - 1e-9)

    def fill(self, until: float) -> None:
        """Note the best so far for all checkpoints before ``until``."""
        while len(self.run.regrets) < len(CHECKPOINTS) and CHECKPOINTS[len(self.run.regrets)] < until:
            self.run.regrets.append(self.best[1])

    def read(self, loss: float, regret: float) -> None:
        """Take in a reading, if the budget reached so far."""
        if self.spent <= self.full_runs + 1e-9:
            self.best = min(self.best, (loss, regret))

    def closed(self) -> Run:
        """The run, with the best at its end for all checkpoints that are left."""
        self.fill(np.inf)
        return self.run
