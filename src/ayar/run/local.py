"""Worker processes on this machine, or none at all.

A paused trial stays with the worker that holds it: its next move waits for that worker while others take other
moves. So no trial is ever alive twice, no two processes write into one folder, and no step is trained again
without need. A trial that nobody holds (a recipe, one that was closed to make room, one whose worker died) goes
to any idle worker, which starts it anew from where it was.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from multiprocessing import connection
from pathlib import Path
from typing import Self, assert_never

import cloudpickle

from ayar.errors import MoveError, ObjectiveError
from ayar.records import Move
from ayar.run.events import Event, Failed, Finished, Measured, Pool
from ayar.run.lane_trainer import open_trainer
from ayar.run.objective import as_training
from ayar.run.process import Launch, WorkerProcess
from ayar.run.worker import Broken, Ready, Setup, Standing

_LOOK_EVERY_S = 0.2  # for hung workers, and for dead ones whose children keep the connection open


def open_pool(
    objective: object,
    *,
    metric: str,
    horizon: int,
    workers: int = 1,
    threads: int | None = None,
    folder: Path | None = None,
    step_timeout_s: float | None = None,
    lanes: int | None = 0,
) -> Pool:
    """A ``LocalPool``, or an ``InProcessPool`` for ``workers=0``; the arguments are those of ``LocalPool``."""
    if workers == 0:
        return InProcessPool(objective, metric=metric, horizon=horizon, folder=folder, lanes=lanes)
    return LocalPool(
        objective,
        metric=metric,
        horizon=horizon,
        workers=workers,
        threads=threads,
        folder=folder,
        step_timeout_s=step_timeout_s,
        lanes=lanes,
    )


class LocalPool:
    """A pool of worker processes.

    They are fresh processes that start in the background and load the objective once. What a training prints is
    kept out of the terminal and shown where it fails. For Linux and macOS.

    Args:
        objective: Any form that ``as_training`` takes. It must survive cloudpickle.
        metric: What every step must measure.
        horizon: The largest step.
        workers: How many processes.
        threads: Threads for the linear algebra of each; by default the processors are shared out evenly.
        folder: Where each trial gets a folder, named by its number; by default a temporary one.
        step_timeout_s: A training that gives no step for so long is killed. Steps that a restart has to train
            again are allowed for; a plain function is one step.
        lanes: The most trials that each worker trains as one computation, where the objective offers that; 0 for
            none, None for as many as pay.

    Raises:
        ObjectiveError: The objective is of no known form, or cannot be sent to another process.
    """

    def __init__(
        self,
        objective: object,
        *,
        metric: str,
        horizon: int,
        workers: int = 1,
        threads: int | None = None,
        folder: Path | None = None,
        step_timeout_s: float | None = None,
        lanes: int | None = 0,
    ) -> None:
        if workers < 1:
            raise ValueError(f"A pool needs at least one worker, got workers={workers}.")
        as_training(objective, metric=metric)
        pickled = _pickled(objective)
        self._step_timeout_s = step_timeout_s
        self._temporary = tempfile.TemporaryDirectory(prefix="ayar-", ignore_cleanup_errors=True)
        here = Path(self._temporary.name)
        (here / "objective").write_bytes(pickled)
        setup = Setup(here / "objective", metric, horizon, (folder or here / "trials").absolute(), lanes)
        threads = threads or max(1, _processors() // workers)
        self._workers = [
            WorkerProcess(Launch(setup, threads, Path.cwd(), here / f"output-{number}")) for number in range(workers)
        ]
        self._lanes = lanes
        self._waiting: list[Move] = []
        self._unseen: list[Event] = []

    @property
    def free(self) -> int:
        """How many moves can be submitted now: one for each slot of a worker that is empty.

        0 while as many moves as there are workers wait for the busy holders of their trials.
        """
        if len(self._waiting) >= len(self._workers):
            return 0
        return sum(worker.free for worker in self._workers)

    @property
    def lanes(self) -> int | None:
        """How many lanes there are in all workers together; None where trials train alone, or nobody knows yet."""
        counts = [worker.standing.slots for worker in self._workers if worker.standing.in_lanes]
        return sum(counts) if counts else None

    @property
    def reasons(self) -> list[str]:
        """Why trials, or some of them, train alone although lanes were asked for, as far as it is known yet."""
        return list(dict.fromkeys(reason for worker in self._workers for reason in worker.standing.reasons))

    @property
    def busy(self) -> bool:
        """Whether a move is outstanding."""
        return bool(self._unseen) or any(True for _ in self._outstanding())

    def submit(self, move: Move) -> None:
        """Train ``move`` as soon as a worker is free for it. A trial has at most one move outstanding.

        Raises:
            MoveError: A move of the same trial is outstanding, or the pool is closed.
        """
        if not self._workers:
            raise MoveError("The pool is closed; open another one.")
        if any(other.trial == move.trial for other in self._outstanding()):
            raise MoveError(f"Trial {move.trial} has a move outstanding; wait for its end, then submit another.")
        self._waiting.append(move)
        self._dispatch()

    def wait(self, timeout_s: float | None = None) -> list[Event]:
        """The events since the last call; see ``Pool.wait``."""
        until = float("inf") if timeout_s is None else time.monotonic() + timeout_s
        events, self._unseen = self._unseen, []
        while not events and self.busy:
            left_s = max(0.0, min(_LOOK_EVERY_S, until - time.monotonic()))
            connection.wait([worker.connection for worker in self._workers], left_s)
            for number in range(len(self._workers)):
                events += self._look_after(number)
            self._dispatch()
            if time.monotonic() >= until:
                break
        return events

    def pause(self, trial: int | None = None) -> None:
        """Let every outstanding move end with the step it is in, or only that of ``trial``; see ``Pool.pause``."""
        meant = [move for move in self._waiting if trial in (None, move.trial)]
        self._unseen += [Finished(move.trial, ended=False) for move in meant]
        self._waiting = [move for move in self._waiting if move not in meant]
        for worker in self._workers:
            if worker.moves if trial is None else trial in worker.moves:
                worker.pause(trial)

    def holds(self, trial: int) -> bool:
        """Whether the paused trial is alive in a worker."""
        return any(trial in worker.standing.held for worker in self._workers)

    def close(self, deadline_s: float = 5.0) -> list[Event]:
        """End all trainings and return the events not yet seen.

        Each worker ends after the step it is in, and closes its trainings so that they write their checkpoints;
        after ``deadline_s`` it is killed, and what it has not saved is lost.
        """
        workers, self._workers = self._workers, []
        self._waiting.clear()
        events, self._unseen = self._unseen, []
        until = time.monotonic() + deadline_s
        try:
            for worker in workers:
                worker.finish()
            while time.monotonic() < until and (living := [worker for worker in workers if worker.alive]):
                connection.wait([worker.connection for worker in living], 0.02)
                for worker in living:
                    events += _events(worker.messages())
            for worker in workers:
                events += _events(worker.messages())
        finally:
            for worker in workers:
                worker.kill()
            self._temporary.cleanup()
        return events

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _outstanding(self) -> Iterator[Move]:
        yield from self._waiting
        for worker in self._workers:
            yield from worker.moves.values()

    def _dispatch(self) -> None:
        """Give waiting moves, the oldest first, to the holder of their trial or to the worker with most room."""
        for number, worker in enumerate(self._workers):
            if worker.ready and not worker.moves and not worker.alive:
                self._replace(number, lanes=self._lanes)  # killed while idle: no trial is to blame
        for move in list(self._waiting):
            holders = [worker for worker in self._workers if move.trial in worker.standing.held]
            worker = max(holders or self._workers, key=lambda worker: worker.free)
            if worker.free:
                self._waiting.remove(move)
                worker.begin(move)

    def _look_after(self, number: int) -> list[Event]:
        """Read one worker's messages; replace it where it has died or hangs."""
        worker = self._workers[number]
        alive = worker.alive  # asked first: what a dead one sent can then be read to the end
        events: list[Event] = []
        for message in worker.messages():
            worker.sign_at = time.monotonic()
            match message:
                case Ready(standing):
                    worker.ready, worker.standing = True, standing
                case Broken(error):
                    raise ObjectiveError(
                        f"A worker process cannot load the objective: {error}{worker.output_tail()}\n"
                        "Make its modules importable there, or train in this process with workers=0."
                    )
                case Standing():
                    worker.standing = message
                case Failed(error=error):
                    worker.note(message)
                    events.append(dataclasses.replace(message, error=error + worker.output_tail()))
                case Measured() | Finished():
                    worker.note(message)
                    events.append(message)
                case _:
                    assert_never(message)
        if not alive:
            events += self._bury(number)
        elif self._step_timeout_s is not None and worker.hangs(self._step_timeout_s):
            events += self._abort(number, self._step_timeout_s)
        return events

    def _bury(self, number: int) -> list[Event]:
        """Replace a worker that has died."""
        worker = self._workers[number]
        fate = worker.fate()
        if not worker.ready:
            raise ObjectiveError(
                f"A worker process died while it was loading the objective: {fate}.{worker.output_tail()}\n"
                "See whether it loads in this process, with workers=0."
            )
        return self._settle(number, fate, machine=True)

    def _abort(self, number: int, step_timeout_s: float) -> list[Event]:
        """Replace a worker that hangs."""
        self._workers[number].abort()
        limit = f"{step_timeout_s:g} s"
        cause = f"no step within {limit} (step_timeout_s={step_timeout_s:g}), so the training was killed"
        return self._settle(number, cause, machine=False)

    def _settle(self, number: int, cause: str, *, machine: bool) -> list[Event]:
        """Fail the move that was alone in a worker which came to grief; let several go on from where they stand.

        Nobody knows which of several is to blame, or whether they were too many for the machine, so the next
        worker takes half as many. In the end a culprit is alone, and after it there is room for all again.
        """
        worker = self._workers[number]
        moves = [*worker.moves.values()]
        waste_s = time.monotonic() - worker.sign_at
        if len(moves) > 1:
            self._replace(number, lanes=len(moves) // 2)
            self._waiting[:0] = moves
            return []
        error = cause + worker.output_tail()
        self._replace(number, lanes=self._lanes)
        return [Failed(move.trial, error, waste_s, machine=machine) for move in moves]

    def _replace(self, number: int, *, lanes: int | None) -> None:
        """Start a new worker in place of another, with ``lanes`` at most."""
        worker = self._workers[number]
        worker.kill()
        launch = dataclasses.replace(worker.launch, setup=dataclasses.replace(worker.launch.setup, lanes=lanes))
        self._workers[number] = WorkerProcess(launch)


class InProcessPool:
    """The same interface without worker processes: each ``wait`` trains a little further here. For debugging.

    A hanging step hangs the caller, and what a training prints is seen at once.
    """

    def __init__(
        self,
        objective: object,
        *,
        metric: str,
        horizon: int,
        folder: Path | None = None,
        lanes: int | None = 0,
    ) -> None:
        training = as_training(objective, metric=metric)
        self._temporary = tempfile.TemporaryDirectory(prefix="ayar-", ignore_cleanup_errors=True)
        folder = folder or Path(self._temporary.name)
        self._trainer = open_trainer(training, horizon=horizon, folder=folder, lanes=lanes)
        self._trials: set[int] = set()

    @property
    def free(self) -> int:
        """How many moves can be submitted now."""
        return max(0, self._trainer.slots - len(self._trials))

    @property
    def busy(self) -> bool:
        """Whether a move is outstanding."""
        return bool(self._trials)

    @property
    def lanes(self) -> int | None:
        """How many lanes there are; None where trials train alone."""
        return self._trainer.slots if self._trainer.in_lanes else None

    @property
    def reasons(self) -> list[str]:
        """Why trials, or some of them, train alone although lanes were asked for."""
        return list(self._trainer.reasons)

    def submit(self, move: Move) -> None:
        """Train ``move``.

        Raises:
            MoveError: There is no room for it, or a move of the same trial is outstanding.
        """
        if move.trial in self._trials:
            raise MoveError(f"Trial {move.trial} has a move outstanding; wait for its end, then submit another.")
        if not self.free:
            raise MoveError("A move is outstanding; wait for its end, then submit another.")
        self._trials.add(move.trial)
        self._trainer.begin(move)

    def wait(self, timeout_s: float | None = None) -> list[Event]:  # noqa: ARG002 - a step cannot be interrupted
        """The next events of the outstanding moves, whatever time they take; empty without a move."""
        events: list[Event] = []
        while self._trials and not events:
            events = self._trainer.advance()
        self._trials -= {event.trial for event in events if not isinstance(event, Measured)}
        return events

    def pause(self, trial: int | None = None) -> None:
        """Let every outstanding move end where it is, or only that of ``trial``."""
        self._trainer.pause(trial)

    def holds(self, trial: int) -> bool:
        """Whether the paused trial is alive."""
        return trial in self._trainer.held

    def close(self) -> list[Event]:
        """End all trainings and return the events not yet seen."""
        self.pause()
        events: list[Event] = []
        while self._trials:
            events += self.wait()
        self._trainer.close()
        self._temporary.cleanup()
        return events

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _events(messages: Iterator[object]) -> list[Event]:
    return [message for message in messages if isinstance(message, Measured | Finished | Failed)]


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _pickled(objective: object) -> bytes:
    """The objective as bytes; what it takes from ``__main__`` or a notebook goes by value."""
    try:
        return bytes(cloudpickle.dumps(objective))
    except Exception as error:
        culprit = _culprit(objective)
        raise ObjectiveError(
            f"The objective cannot be sent to a worker process{culprit}: {error}. "
            "Make that inside the training, or train in this process with workers=0."
        ) from error


def _culprit(objective: object) -> str:
    """Which of the things that the objective uses cannot be pickled."""
    for name, value in _uses(objective):
        try:
            cloudpickle.dumps(value)
        except Exception:  # noqa: BLE001 - any reason will do
            return f" because of {name} (a {type(value).__name__})"
    return ""


def _uses(objective: object) -> Iterator[tuple[str, object]]:
    if isinstance(objective, functools.partial):
        yield from ((f"its argument {value!r:.40}", value) for value in objective.args)
        yield from objective.keywords.items()
        yield from _uses(objective.func)
    elif inspect.ismethod(objective):
        yield from _uses(objective.__self__)
    elif inspect.isfunction(objective):
        variables = inspect.getclosurevars(objective)
        yield from (*variables.nonlocals.items(), *variables.globals.items())
    else:
        attributes: Mapping[str, object] = getattr(objective, "__dict__", {})
        yield from attributes.items()
