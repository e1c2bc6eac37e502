"""Where moves are trained on this machine: in worker processes, or in this one."""

from __future__ import annotations

import functools
import inspect
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, fields
from multiprocessing import connection
from pathlib import Path
from typing import Self

import cloudpickle

from ayar.errors import BudgetError, MoveError, ObjectiveError
from ayar.records import Move
from ayar.run.events import Event, Measured, Pool
from ayar.run.lane_trainer import open_trainer
from ayar.run.objective import as_training
from ayar.run.pool import WorkerPool
from ayar.run.process import Seat, WorkerProcess
from ayar.run.worker import Setup
from ayar.run.workers import Workers, processors


def open_pool(
    objective: object,
    *,
    metric: str,
    horizon: int,
    workers: int | Workers = 1,
    folder: Path | None = None,
    lanes: int | None = 0,
) -> Pool:
    """A pool that trains an objective.

    Args:
        objective: Any form that ``as_training`` takes. For workers it must survive cloudpickle.
        metric: What every step must measure.
        horizon: The largest step.
        workers: What trains; a number means so many processes of this machine, and 0 this process itself.
        folder: Where each trial gets a folder, named by its number; by default a temporary one. Workers on several
            machines go on from each other's checkpoints only where it lies on a file system that they share.
        lanes: The most trials that each worker trains as one computation, where the objective offers that; 0 for
            none, None for as many as pay.

    Raises:
        ObjectiveError: The objective is of no known form, or cannot be sent to another process.
        BudgetError: There are limits that this process cannot set itself.
        MissingExtra: Ray is wanted and not installed.
    """
    workers = Workers.of(workers)
    if workers.resources and workers.on != "ray":
        raise BudgetError(
            f"resources={dict(workers.resources)} are what nodes of a Ray cluster offer. Leave them out, or train "
            "there: on='ray' (--on ray)."
        )
    if workers.count == 0:
        if workers.memory_gb or workers.trial_timeout_s or workers.gpus:
            raise BudgetError("Limits and GPUs are for worker processes; with workers=0 there are none. Give 1.")
        return InProcessPool(objective, metric=metric, horizon=horizon, folder=folder, lanes=lanes)
    as_training(objective, metric=metric)
    pickled = _pickled(objective)
    if workers.on == "ray":
        from ayar.run.ray import RaySite

        return WorkerPool(RaySite(pickled, workers, metric=metric, horizon=horizon, folder=folder), workers, lanes)
    return WorkerPool(LocalSite(pickled, workers, metric=metric, horizon=horizon, folder=folder), workers, lanes)


class LocalSite:
    """Starts worker processes on this machine; see ``ayar.run.pool.Site``. For Linux and macOS.

    They are fresh processes that start in the background. What a training prints is kept out of the terminal and
    shown where it fails.
    """

    def __init__(self, pickled: bytes, workers: Workers, *, metric: str, horizon: int, folder: Path | None) -> None:
        self._workers = workers
        self._temporary = tempfile.TemporaryDirectory(prefix="ayar-", ignore_cleanup_errors=True)
        self._here = Path(self._temporary.name)
        (self._here / "objective").write_bytes(pickled)
        trials = (folder or self._here / "trials").absolute()
        self._setup = functools.partial(Setup, self._here / "objective", metric, horizon, trials)

    def start(self, number: int, lanes: int | None) -> WorkerProcess:
        """A fresh worker process."""
        seat = seat_of(self._workers, number, in_lanes=lanes != 0)
        ahead = self._workers.ahead if isinstance(self._workers, StartedWorkers) else ()
        waiting = (process for process in ahead if not process.begun and process.seat == seat and process.alive)
        process = next(waiting, None) or WorkerProcess(seat, self._here / f"output-{number}")
        process.begin(self._setup(lanes))
        return process

    def wait(self, links: Sequence[WorkerProcess], timeout_s: float) -> None:
        """Wait until one of them has said something or is dead, or the time is over."""
        connection.wait([link.connection for link in links], timeout_s)

    def close(self) -> None:
        """Remove the temporary folder."""
        self._temporary.cleanup()


@dataclass(frozen=True, slots=True)
class StartedWorkers(Workers):
    """Workers some of which run already, waiting for the pool that will tell them what to train.

    They are no description that could be kept: their processes live inside ``started_ahead`` alone.

    Attributes:
        ahead: The processes.
    """

    ahead: tuple[WorkerProcess, ...] = field(default=(), repr=False, compare=False)


@contextmanager
def started_ahead(workers: Workers, ahead: Sequence[str], *, in_lanes: bool) -> Iterator[StartedWorkers]:
    """Inside, these workers with processes that import the modules ``ahead`` while this one still prepares its data.

    One processor is left to this process. Without modules there is nothing to do ahead.
    """
    count = min(workers.count, max(1, processors() - 1)) if ahead and workers.on == "local" else 0
    with tempfile.TemporaryDirectory(prefix="ayar-", ignore_cleanup_errors=True) as name, ExitStack() as stack:
        processes = []
        for number in range(count):
            seat = seat_of(workers, number, in_lanes=in_lanes)
            processes.append(WorkerProcess(seat, Path(name) / f"output-{number}", ahead))
            stack.callback(processes[-1].kill)
        described = {each.name: getattr(workers, each.name) for each in fields(Workers)}
        yield StartedWorkers(**described, ahead=tuple(processes))


def seat_of(workers: Workers, number: int, *, in_lanes: bool) -> Seat:
    """What the worker of this number has."""
    return Seat(workers.threads_of_each(processors()), Path.cwd(), in_lanes, workers.gpus_of(number))


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
        return self._trainer.lanes

    @property
    def reasons(self) -> list[str]:
        """Why trials, or some of them, train alone although lanes were asked for."""
        return list(self._trainer.reasons)

    def submit(self, move: Move, *, spent_s: float = 0.0) -> None:  # noqa: ARG002 - a step cannot be interrupted
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
