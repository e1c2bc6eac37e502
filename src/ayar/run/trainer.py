"""Training moves inside a worker process, or in the caller's own."""

from __future__ import annotations

import errno
import math
import shutil
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol

from ayar.checkpoints import sign
from ayar.errors import ObjectiveError, TrainingFailed, did_you_mean
from ayar.records import Configuration, Leg, Move, bounded, training_key
from ayar.run.events import Event, Failed, Finished, Measured
from ayar.run.folders import own_folder, prepared
from ayar.run.handover import holds_state, is_to_retrace
from ayar.run.objective import Training

KEPT_ALIVE = 32
"""Paused trainings that a worker keeps in memory; the least recently trained are closed first."""

_FRAMES = 8  # of a traceback, innermost last


class Trainer(Protocol):
    """Trains moves in this process, a little further with each call of ``advance``."""

    @property
    def lanes(self) -> int | None:
        """How many moves it trains together as lanes; None where it trains one at a time."""
        ...

    @property
    def reasons(self) -> Sequence[str]:
        """Why it trains alone what was to train in lanes, one sentence for each reason."""
        ...

    @property
    def slots(self) -> int:
        """How many moves it can have outstanding. May change from one ``advance`` to the next."""
        ...

    @property
    def busy(self) -> bool:
        """Whether a move is outstanding."""
        ...

    @property
    def held(self) -> frozenset[int]:
        """The paused trials that are alive, so that they go on without a restart."""
        ...

    def begin(self, move: Move) -> None:
        """Take on a move."""
        ...

    def advance(self) -> list[Event]:
        """Train a little further; the events that came of it. The last one of a move ends it."""
        ...

    def pause(self, trial: int | None = None) -> None:
        """Let every outstanding move, or that of ``trial``, end with the step it is in; one not begun, where it is."""
        ...

    def close(self) -> None:
        """End all trainings, so that each can write its checkpoint."""
        ...


Steps = Iterator[tuple[int, dict[str, float]]]


class AloneTrainer:
    """Trains one move at a time, and keeps paused trainings alive where that saves work."""

    lanes = None
    slots = 1

    def __init__(
        self,
        training: Training,
        *,
        horizon: int,
        folder: Path,
        keep: int = KEPT_ALIVE,
        reasons: Sequence[str] = (),
    ) -> None:
        self.reasons = reasons
        self._training = training
        self._horizon = horizon
        self._folder = folder
        self._keep = keep
        self._paused: OrderedDict[int, tuple[int, Path | None, Steps]] = OrderedDict()  # step and folder it is at
        self._move: Move | None = None
        self._events: Iterator[Event] = iter(())
        self._pausing = False

    @property
    def busy(self) -> bool:
        """Whether a move is outstanding."""
        return self._move is not None

    @property
    def held(self) -> frozenset[int]:
        """The paused trials that are alive."""
        return frozenset(self._paused)

    def begin(self, move: Move) -> None:
        """Take on a move; the one before it must be over."""
        self._move, self._pausing = move, False
        self._events = self.run(move, pausing=lambda: self._pausing)

    def advance(self) -> list[Event]:
        """The next step. The last one comes with the end: what is told to be done can be continued at once."""
        if self._move is None:
            return []
        try:
            events = [next(self._events)]
            if isinstance(events[0], Measured) and events[0].step >= self._move.stop_step:
                events.append(next(self._events))
        except KeyboardInterrupt:  # in the midst of a step; the move ends where it was
            self._events = iter([Finished(self._move.trial, ended=False)])
            raise
        if not isinstance(events[-1], Measured):
            self._move = None
        return events

    def pause(self, trial: int | None = None) -> None:
        """Let the outstanding move end where it is; where ``trial`` is given, only if it is that one's."""
        self._pausing = self._pausing or trial is None or (self._move is not None and self._move.trial == trial)

    def run(self, move: Move, *, pausing: Callable[[], bool] = lambda: False) -> Generator[Event]:
        """Train one move, step by step, until it is done or ``pausing()``.

        The last event is ``Finished`` or ``Failed``.
        """
        asked = time.perf_counter()
        steps: Steps = iter(())
        try:
            steps = self._resume(move)
            step, ended = move.start_step, False
            while step < move.stop_step and not ended and not pausing():
                asked = time.perf_counter()
                measured = next(steps, None)
                cost_s = time.perf_counter() - asked
                asked += cost_s
                if measured is None:
                    ended = True
                    break
                step, metrics = measured
                yield Measured(move.trial, step, cost_s, metrics)
                ended = not math.isfinite(bounded(metrics[self._training.metric]))
            if self._training.kept_alive and not ended and step < self._horizon:
                self._pause(move, step, steps)
            else:
                _close(steps)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a training does, the pool goes on
            yield failed(move.trial, error, time.perf_counter() - asked, move.config)
        else:
            yield Finished(move.trial, ended)

    def close(self) -> None:
        """Close every paused training, so that it can write its checkpoint."""
        while self._paused:
            self._drop()

    def _resume(self, move: Move) -> Steps:
        if move.trial in self._paused:
            step, folder, steps = self._paused.pop(move.trial)
            # Its folder is gone where it was cleared away meanwhile, or the trial has been elsewhere.
            if step == move.start_step and folder == self._place(move) and (folder is None or folder.is_dir()):
                return steps
            _close_quietly(steps)
        folder = prepared(move, self._folder) if self._training.uses_folder else None
        if folder is not None and is_to_retrace(move, folder):
            return retraced(self._training, move, folder, self._horizon)
        return self._training.start(move.config, move.seed, folder, move.start_step, self._horizon)

    def _place(self, move: Move) -> Path | None:
        return own_folder(move, self._folder) if self._training.uses_folder else None

    def _pause(self, move: Move, step: int, steps: Steps) -> None:
        self._paused[move.trial] = (step, self._place(move), steps)
        if len(self._paused) > self._keep:
            self._drop()

    def _drop(self) -> None:
        _, (_, _, steps) = self._paused.popitem(last=False)
        _close_quietly(steps)


def retraced(training: Training, move: Move, folder: Path, horizon: int) -> Generator[tuple[int, dict[str, float]]]:
    """The steps of a move after ``start_step``, with all that its state comes from trained before, in its folder.

    Raises:
        ObjectiveError: The training keeps no state there, so no other configuration can go on from it.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    step = 0
    for leg in (*move.schedule, Leg(horizon, move.config, move.seed)):
        steps = training.start(leg.config, leg.seed, folder, step, horizon)
        for step, metrics in steps:
            if step > move.start_step or step == move.start_step == 0:
                yield step, metrics
            if step >= leg.stop_step:
                break
        else:
            return  # it ended by itself
        if isinstance(steps, Generator):
            steps.close()
        if step < horizon and not holds_state(folder):
            raise ObjectiveError(
                f"At step {step} the configuration of trial {move.trial} changes, but the training has left nothing in "
                "its folder to go on from. Save its state before each yield; see ayar.checkpoints."
            )
        sign(folder, training_key(leg.config, leg.seed))


def failed(trial: int, error: BaseException, waste_s: float, config: Configuration | None = None) -> Failed:
    """That a training ended with an error; where it asked ``config`` for a name that is not there, for which."""
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    said = describe(error)
    if isinstance(error, KeyError) and (hint := did_you_mean(str(error.args[0]) if error.args else "", config or ())):
        first, *rest = said.splitlines()
        said = "\n".join([f"{first}.{hint}", *rest])
    return Failed(trial, said, waste_s, contract=isinstance(error, ObjectiveError), full_disk=full)


def describe(error: BaseException) -> str:
    """An error in one line, then where it happened in the user's code."""
    if isinstance(error, ObjectiveError | TrainingFailed):
        return str(error)
    lines = [f"{type(error).__name__}: {error}".rstrip(": ")]
    lines += [entry.rstrip() for entry in traceback.format_tb(_outside(error.__traceback__))[-_FRAMES:]]
    if error.__cause__ is not None:
        lines.append(f"caused by {type(error.__cause__).__name__}: {error.__cause__}")
    return "\n".join(lines)


def _close(steps: Steps) -> None:
    if isinstance(steps, Generator):
        steps.close()


def _close_quietly(steps: Steps) -> None:
    """Close a training whose move is over: nobody waits for its error."""
    try:
        _close(steps)
    except (Exception, SystemExit):  # noqa: BLE001 - whatever a training does, the pool goes on
        traceback.print_exc()


def _outside(trace: TracebackType | None) -> TracebackType | None:
    """The traceback from the first frame that is not this room's."""
    here = Path(__file__).parent
    inner = trace
    while inner is not None and Path(inner.tb_frame.f_code.co_filename).parent == here:
        inner = inner.tb_next
    return inner or trace
