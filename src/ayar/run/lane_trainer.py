"""Training many moves as lanes of one computation."""

from __future__ import annotations

import copy
import dataclasses
import math
import time
import traceback
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ayar.errors import ObjectiveError
from ayar.records import Move, bounded
from ayar.run.events import Event, Failed, Finished, Measured
from ayar.run.folders import prepared
from ayar.run.handover import is_to_retrace
from ayar.run.lanes import Lanes, LaneStep
from ayar.run.objective import Training
from ayar.run.trainer import AloneTrainer, Trainer, describe, failed

AHEAD = 4
"""For so many lanes one move waits, for the time that it takes the pool to answer."""


def open_trainer(training: Training, *, horizon: int, folder: Path, lanes: int | None = 0) -> Trainer:
    """A ``LaneTrainer`` where that is wanted and possible, else an ``AloneTrainer``.

    Args:
        training: What to train.
        horizon: The largest step.
        folder: Where each trial gets a folder of its own.
        lanes: The most trials to train as one computation; 0 for none, None for as many as pay.
    """
    alone = AloneTrainer(training, horizon=horizon, folder=folder)
    if training.lanes is None or lanes == 0:
        return alone
    try:
        opened = training.lanes(lanes)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - what is wrong with the training, its trials will tell
        opened = describe(error)
    if isinstance(opened, str):
        return AloneTrainer(training, horizon=horizon, folder=folder, reasons=(opened,))
    return LaneTrainer(training, opened, alone, folder=folder, at_most=lanes)


@dataclass(slots=True)
class _Lane:
    """A move in training.

    Attributes:
        stop: The move's last step, or the training's own where that comes first.
        step: The last step measured.
        cost_s: Seconds spent on it since then.
        pausing: It ends with the step it is in.
        diverged: Its metric is not finite.
    """

    move: Move
    stop: int
    step: int
    cost_s: float = 0.0
    pausing: bool = False
    diverged: bool = False

    @property
    def done(self) -> bool:
        """Whether the move ends with the step that was measured last."""
        return self.diverged or self.pausing or self.step >= self.stop

    @property
    def rest(self) -> Move:
        """The move from where it stands now."""
        return dataclasses.replace(self.move, start_step=self.step)


class LaneTrainer:
    """Trains moves as lanes of one computation; a lane that is free takes the next move at once.

    What goes wrong in one trial costs no other. Out of memory, it goes on with half as many lanes. After any other
    error in the common computation, each of its trials goes on alone, so that the one to blame fails by itself.
    """

    def __init__(
        self, training: Training, lanes: Lanes, alone: AloneTrainer, *, folder: Path, at_most: int | None = None
    ) -> None:
        self._training = training
        self._lanes = lanes
        self._alone = alone
        self._folder = folder
        self._at_most = at_most
        self._waiting: deque[Move] = deque()
        self._loaded: dict[int, _Lane] = {}
        self._suspects: deque[Move] = deque()
        self._ended: list[Event] = []
        self._unpaid_s = 0.0

    @property
    def reasons(self) -> Sequence[str]:
        """Why some trials train alone inside the lanes."""
        return self._lanes.reasons

    @property
    def lanes(self) -> int:
        """How many moves it trains together."""
        return max(1, len(self._loaded) + self._lanes.free)

    @property
    def slots(self) -> int:
        """How many moves it can have outstanding: those in lanes, and some that wait, so that no lane has to."""
        return self.lanes + self.lanes // AHEAD

    @property
    def busy(self) -> bool:
        """Whether a move is outstanding."""
        return bool(self._ended or self._waiting or self._loaded or self._suspects or self._alone.busy)

    @property
    def held(self) -> frozenset[int]:
        """The paused trials whose state is in memory here; any other has its checkpoint, for any worker."""
        return self._lanes.held

    def begin(self, move: Move) -> None:
        """Take on a move. It waits where the lanes have become fewer than the pool knows."""
        self._waiting.append(move)

    def advance(self) -> list[Event]:
        """Train the lanes for one quantum. They share its cost, loading and saving included."""
        events, self._ended = self._ended, []
        if self._suspects or self._alone.busy:
            return events + self._advance_alone()
        asked = time.perf_counter()
        events += self._fill()
        if not self._loaded:
            return events
        try:
            steps = self._lanes.advance()
        except Exception as error:  # noqa: BLE001 - it may be the user's code, and must not end the others
            out_of_memory = isinstance(error, MemoryError)
        else:
            trained = time.perf_counter()
            self._charge(self._unpaid_s + trained - asked, steps)
            events += self._read(steps)
            self._unpaid_s = time.perf_counter() - trained
            return events
        self._recover(halve=out_of_memory)
        return events

    def pause(self, trial: int | None = None) -> None:
        """Let every outstanding move, or that of ``trial``, end with the step it is in; one not begun, where it is."""
        for queue in (self._waiting, self._suspects):
            meant = [move for move in queue if trial in (None, move.trial)]
            self._ended += [Finished(move.trial, ended=False) for move in meant]
            for move in meant:
                queue.remove(move)
        self._alone.pause(trial)
        for lane in self._loaded.values():
            lane.pausing = lane.pausing or trial in (None, lane.move.trial)

    def close(self) -> None:
        """Save and free every lane. Where one cannot be saved, its trial goes on from the checkpoint before."""
        while self._loaded:
            trial, _ = self._loaded.popitem()
            try:
                self._lanes.unload(trial)
            except Exception:  # noqa: BLE001 - whatever ails one lane, the others are to be saved
                traceback.print_exc()
        self._lanes.close()
        self._alone.close()

    def _fill(self) -> list[Event]:
        """Load waiting moves into free lanes; the first of them in any case, or nothing would ever happen."""
        events: list[Event] = []
        while self._waiting and (self._lanes.free > 0 or not self._loaded):
            move = self._waiting.popleft()
            iterations = move.config.get("iterations")
            stop = min(move.stop_step, iterations) if isinstance(iterations, int) else move.stop_step
            if move.start_step >= stop:
                events.append(Finished(move.trial, ended=True))
                continue
            try:
                folder = prepared(move, self._folder)
                if is_to_retrace(move, folder):  # its configuration changes on the way, which no lane does
                    self._suspects.append(move)
                    continue
                self._lanes.load(
                    move.trial, copy.deepcopy(move.config), move.seed, folder, move.start_step, move.stop_step
                )
            except Exception as error:  # noqa: BLE001 - the disk may be full, and building may run the user's code
                events.append(failed(move.trial, error, 0.0))
            else:
                self._loaded[move.trial] = _Lane(move, stop, move.start_step)
        return events

    def _charge(self, seconds: float, steps: Sequence[LaneStep]) -> None:
        """Let the lanes that have something to show pay for the quantum; all of them where none has."""
        payers = {trial for trial, *_ in steps} or self._loaded.keys()
        for trial in payers:
            self._loaded[trial].cost_s += seconds / len(payers)

    def _read(self, steps: Sequence[LaneStep]) -> Iterator[Event]:
        """What the lanes have measured, then the ends of the moves that are done."""
        count = Counter(trial for trial, *_ in steps)
        shares = {trial: self._loaded[trial].cost_s / n for trial, n in count.items()}
        for trial, step, given in steps:
            if trial not in self._loaded:
                continue  # an earlier step of it could not be read
            lane = self._loaded[trial]
            try:
                _, metrics = self._training.read(given)
            except ObjectiveError as error:
                yield from self._unload(trial, failed(trial, error, lane.cost_s))
            else:
                yield Measured(trial, step, shares[trial], metrics)
                lane.step, lane.cost_s = step, 0.0
                lane.diverged = not math.isfinite(bounded(metrics[self._training.metric]))
        for trial in count:
            if trial in self._loaded and (lane := self._loaded[trial]).done:
                yield from self._unload(trial, Finished(trial, ended=lane.diverged or lane.stop < lane.move.stop_step))

    def _unload(self, trial: int, end: Finished | Failed) -> Iterator[Event]:
        """Free the trial's lane; ``end`` unless its checkpoint cannot be written."""
        lane = self._loaded.pop(trial)
        try:
            self._lanes.unload(trial)
        except Exception as error:  # noqa: BLE001 - a full disk must not end the others
            yield failed(trial, error, lane.cost_s)
        else:
            yield end

    def _recover(self, *, halve: bool) -> None:
        """Go on after an error in the common computation, which has lost all lanes."""
        lanes, self._loaded = [*self._loaded.values()], {}
        self._ended += [Finished(lane.move.trial, ended=False) for lane in lanes if lane.pausing]
        left = [lane.rest for lane in lanes if not lane.pausing]
        if halve and len(lanes) > 1:
            self._at_most = len(lanes) // 2
            self._waiting.extendleft(reversed(left))
        else:
            self._suspects.extend(left)
        self._lanes.close()
        del self._lanes  # before the new ones ask for memory
        assert self._training.lanes is not None
        opened = self._training.lanes(self._at_most)
        assert not isinstance(opened, str), opened
        self._lanes = opened

    def _advance_alone(self) -> list[Event]:
        if not self._alone.busy:
            self._alone.begin(self._suspects.popleft())
        return self._alone.advance()
