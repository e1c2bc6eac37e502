"""What runs inside a worker process: the trainer, and the loop that obeys the pool.

The pool sends one ``Setup``, then moves (or ``Pause`` in mid-move), then None to end. The worker answers ``Ready``
(or ``Broken``) once, and for each move its events, with ``Holding`` just before the last of them. Each of its
messages is a tuple: what belongs together arrives together.
"""

from __future__ import annotations

import ctypes
import faulthandler
import math
import os
import resource
import shutil
import signal
import sys
import threading
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType

import cloudpickle

from ayar.errors import ObjectiveError
from ayar.records import Move
from ayar.run.events import Event, Failed, Finished, Measured
from ayar.run.objective import Training, as_training

KEPT_ALIVE = 32
"""Paused trainings that a worker keeps in memory; the least recently trained are closed first."""

_FRAMES = 8  # of a traceback, innermost last


@dataclass(frozen=True, slots=True)
class Setup:
    """What a worker needs to know before its first move.

    Attributes:
        objective: File with the objective, written by cloudpickle.
        metric: The metric that decides whether a training has diverged.
        horizon: The largest step.
        folder: Where each trial gets a folder of its own.
    """

    objective: Path
    metric: str
    horizon: int
    folder: Path


@dataclass(frozen=True, slots=True)
class Pause:
    """End the move with the step it is in. Says nothing to an idle worker."""


Command = Setup | Move | Pause | None


@dataclass(frozen=True, slots=True)
class Ready:
    """The objective is loaded."""


@dataclass(frozen=True, slots=True)
class Broken:
    """The objective cannot be loaded, and why."""

    error: str


@dataclass(frozen=True, slots=True)
class Holding:
    """The paused trials alive in this worker."""

    trials: frozenset[int]


Steps = Iterator[tuple[int, dict[str, float]]]


class Trainer:
    """Trains moves, one after the other, and keeps paused trainings alive where that saves work."""

    def __init__(self, training: Training, *, horizon: int, folder: Path, keep: int = KEPT_ALIVE) -> None:
        self._training = training
        self._horizon = horizon
        self._folder = folder
        self._keep = keep
        self._paused: OrderedDict[int, tuple[int, Steps]] = OrderedDict()

    @property
    def held(self) -> frozenset[int]:
        """The paused trials that are alive."""
        return frozenset(self._paused)

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
                ended = not math.isfinite(metrics[self._training.metric])
            if self._training.kept_alive and not ended and step < self._horizon:
                self._pause(move.trial, step, steps)
            else:
                _close(steps)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a training does, the pool goes on
            waste_s = time.perf_counter() - asked
            yield Failed(move.trial, describe(error), waste_s, contract=isinstance(error, ObjectiveError))
        else:
            yield Finished(move.trial, ended)

    def close(self) -> None:
        """Close every paused training, so that it can write its checkpoint."""
        while self._paused:
            self._drop()

    def _resume(self, move: Move) -> Steps:
        at, steps = self._paused.pop(move.trial, (None, None))
        if steps is not None and at == move.start_step:
            return steps
        if steps is not None:
            _close_quietly(steps)
        folder = self._folder / str(move.trial) if self._training.uses_folder else None
        if folder is not None and move.start_step == 0:
            # Files of an attempt that died before its first measurement was recorded.
            shutil.rmtree(folder, ignore_errors=True)
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        return self._training.start(move.config, move.seed, folder, move.start_step, self._horizon)

    def _pause(self, trial: int, step: int, steps: Steps) -> None:
        self._paused[trial] = (step, steps)
        if len(self._paused) > self._keep:
            self._drop()

    def _drop(self) -> None:
        _, (_, steps) = self._paused.popitem(last=False)
        _close_quietly(steps)


def describe(error: BaseException) -> str:
    """An error in one line, then where it happened in the user's code."""
    if isinstance(error, ObjectiveError):
        return str(error)
    lines = [f"{type(error).__name__}: {error}".rstrip(": ")]
    lines += [entry.rstrip() for entry in traceback.format_tb(_outside(error.__traceback__))[-_FRAMES:]]
    if error.__cause__ is not None:
        lines.append(f"caused by {type(error.__cause__).__name__}: {error.__cause__}")
    return "\n".join(lines)


def main(fd: int, parent: int) -> None:
    """Obey the pool at the other end of the socket ``fd``. ``parent``: process id to die with, 0 for none."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the pool's business
    faulthandler.enable(all_threads=False)  # a crash in C code, or the pool's SIGABRT, shows where it was
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _die_with(parent)
    connection = Connection(fd)
    commands: SimpleQueue[Command] = SimpleQueue()
    threading.Thread(target=_listen, args=(connection, commands), daemon=True).start()
    setup = commands.get()
    assert isinstance(setup, Setup)
    try:
        training = as_training(cloudpickle.loads(setup.objective.read_bytes()), metric=setup.metric)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - loading runs the user's imports
        connection.send((Broken(describe(error)),))
        return
    connection.send((Ready(),))
    trainer = Trainer(training, horizon=setup.horizon, folder=setup.folder)
    while (command := commands.get()) is not None:
        if isinstance(command, Move):
            os.ftruncate(1, 0)  # of the output, keep what belongs to this move
            # In mid-move the pool sends nothing but a pause or the end, and both pause.
            last: tuple[Event, ...] = ()
            for event in trainer.run(command, pausing=lambda: not commands.empty()):
                if not isinstance(event, Measured):
                    connection.send((Holding(trainer.held), *last, event))
                elif event.step < command.stop_step:
                    connection.send((event,))
                else:  # goes with the end, or the study would continue a trial whose move isn't over here
                    last = (event,)
    trainer.close()


def _listen(connection: Connection, commands: SimpleQueue[Command]) -> None:
    try:
        while True:
            commands.put(connection.recv())
    except (EOFError, OSError):
        os._exit(1)  # the pool is gone: nobody wants the rest of this step


def _die_with(parent: int) -> None:
    """Have Linux kill this process with its parent, even where a step never lets ``_listen`` run."""
    if parent and sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # 1: PR_SET_PDEATHSIG
        if os.getppid() != parent:
            os._exit(1)


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
