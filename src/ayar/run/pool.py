"""A pool of workers, wherever they are: who trains which move, and what happens when one dies, hangs or overdoes it.

A paused trial stays with the worker that holds it: its next move waits for that worker while others take other
moves. So no trial is ever alive twice, no two processes write into one folder, and no step is trained again
without need. A trial that nobody holds (a recipe, one that was closed to make room, one whose worker died) goes
to any idle worker, which starts it anew from where it was.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, Protocol, Self, TypeVar, assert_never

from ayar.errors import MoveError, ObjectiveError
from ayar.records import Move
from ayar.run.events import Event, Failed, Finished, Measured
from ayar.run.worker import Broken, Command, Pause, Ready, Standing
from ayar.run.workers import Workers

_LOOK_EVERY_S = 0.2  # for hung workers, and for dead ones whose children keep the connection open
_WEIGH_EVERY_S = 1.0  # the memory of a worker and its children
_LOADS = 3  # workers in a row that may be killed from outside while they load the objective


class Link(Protocol):
    """One worker as its pool reaches it."""

    @property
    def alive(self) -> bool:
        """Whether it runs, as far as it is known."""
        ...

    def send(self, message: Command) -> None:
        """Tell it something. A dead one does not mind."""
        ...

    def messages(self) -> Iterator[Event | Ready | Broken | Standing]:
        """What it has said and nobody has read; does not wait."""
        ...

    def fate(self) -> tuple[str, int]:
        """How a dead one ended, in words, and how often to try again what it was training; see ``Failed.chances``."""
        ...

    def output_tail(self) -> str:
        """The last lines that the training printed, under a heading; empty where it printed nothing."""
        ...

    def memory_gb(self) -> float:
        """Gigabytes that it and its child processes hold; 0 where nobody can say."""
        ...

    def abort(self) -> None:
        """End it so that its output shows where it was."""
        ...

    def kill(self) -> None:
        """End it and every process it started, now. May be called for a dead one; it leaves nothing behind."""
        ...


L = TypeVar("L", bound=Link)


class Site(Protocol[L]):
    """Where workers are started."""

    def start(self, number: int, lanes: int | None) -> L:
        """A fresh worker in the seat ``number``, which trains ``lanes`` trials at most as one computation."""
        ...

    def wait(self, links: Sequence[L], timeout_s: float) -> None:
        """Wait until one of the workers has said something or is dead, or the time is over."""
        ...

    def close(self) -> None:
        """Leave nothing behind."""
        ...


@dataclass(slots=True)
class Worker(Generic[L]):
    """A worker and what its pool knows of it.

    Attributes:
        moves: By trial, what it is training, from where it stands.
        standing: What it holds, and how many moves it can have.
        ready: Whether it has loaded the objective.
        sign_at: When it last gave a sign, on the monotonic clock.
    """

    link: L
    moves: dict[int, Move] = field(default_factory=dict)
    standing: Standing = field(default_factory=Standing)
    ready: bool = False
    sign_at: float = field(default_factory=time.monotonic)
    steps_allowed: dict[int, int] = field(default_factory=dict)

    @property
    def free(self) -> int:
        """How many more moves it can have."""
        return max(0, self.standing.slots - len(self.moves))

    def begin(self, move: Move) -> None:
        """Give it a move."""
        if not self.moves:
            self.sign_at = time.monotonic()
        self.moves[move.trial] = move
        self.steps_allowed[move.trial] = 1 if move.trial in self.standing.held else 1 + move.start_step
        self.link.send(move)

    def note(self, event: Event) -> None:
        """Keep in mind where its moves stand after an event of its own."""
        match event:
            case Measured(trial=trial, step=step):
                move = self.moves[trial]
                self.steps_allowed[trial] = 1
                if move.start_step < step < move.stop_step:
                    self.moves[trial] = replace(move, start_step=step)
            case Finished(trial=trial) | Failed(trial=trial):
                del self.moves[trial], self.steps_allowed[trial]

    @property
    def silent_s(self) -> float:
        """Seconds since its last sign; 0 while it has nothing to train."""
        return time.monotonic() - self.sign_at if self.moves else 0.0


class WorkerPool(Generic[L]):
    """A pool of workers; see ``Pool``. They are started when there are moves for them, and load the objective once.

    Args:
        site: Where they are started.
        workers: How many, and what a training may use.
        lanes: The most trials that each trains as one computation, where the objective offers that; 0 for none,
            None for as many as pay.
    """

    def __init__(self, site: Site[L], workers: Workers, lanes: int | None = 0) -> None:
        self._site = site
        self._limits = workers
        self._lanes = lanes
        self._workers: list[Worker[L]] = []
        self._waiting: list[Move] = []
        self._unseen: list[Event] = []
        self._spent_s: dict[int, float] = {}
        self._lost_while_loading = 0
        self._weighed_at = 0.0
        self._closed = False

    @property
    def free(self) -> int:
        """How many moves can be submitted now: one for each slot of a worker that is empty, or not yet started.

        0 while as many moves as there are workers wait for the busy holders of their trials.
        """
        loose = self._loose()
        if len(self._waiting) - loose >= self._limits.count:
            return 0
        unborn = self._limits.count - len(self._workers)
        return max(0, unborn + sum(worker.free for worker in self._workers) - loose)

    @property
    def lanes(self) -> int | None:
        """How many lanes there are in all workers together; None where trials train alone, or nobody knows yet."""
        counts = [worker.standing.lanes for worker in self._workers if worker.standing.lanes is not None]
        return sum(counts) if counts else None

    @property
    def reasons(self) -> list[str]:
        """Why trials, or some of them, train alone although lanes were asked for, as far as it is known yet."""
        return list(dict.fromkeys(reason for worker in self._workers for reason in worker.standing.reasons))

    @property
    def busy(self) -> bool:
        """Whether a move is outstanding."""
        return bool(self._unseen or self._waiting) or any(worker.moves for worker in self._workers)

    def submit(self, move: Move, *, spent_s: float = 0.0) -> None:
        """Train ``move`` as soon as a worker is free for it; see ``Pool.submit``.

        Raises:
            MoveError: A move of the same trial is outstanding, or the pool is closed.
        """
        if self._closed:
            raise MoveError("The pool is closed; open another one.")
        if any(move.trial in worker.moves for worker in self._workers) or any(
            other.trial == move.trial for other in self._waiting
        ):
            raise MoveError(f"Trial {move.trial} has a move outstanding; wait for its end, then submit another.")
        self._spent_s[move.trial] = spent_s
        self._waiting.append(move)
        self._dispatch()

    def wait(self, timeout_s: float | None = None) -> list[Event]:
        """The events since the last call; see ``Pool.wait``."""
        until = float("inf") if timeout_s is None else time.monotonic() + timeout_s
        events, self._unseen = self._unseen, []
        while not events and self.busy:
            left_s = max(0.0, min(_LOOK_EVERY_S, until - time.monotonic()))
            self._site.wait([worker.link for worker in self._workers], left_s)
            weigh = self._limits.memory_gb is not None and time.monotonic() > self._weighed_at + _WEIGH_EVERY_S
            for number in range(len(self._workers)):
                events += self._look_after(number, weigh=weigh)
            if weigh:
                self._weighed_at = time.monotonic()
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
                worker.link.send(Pause(trial))

    def holds(self, trial: int) -> bool:
        """Whether the paused trial is alive in a worker."""
        return any(trial in worker.standing.held for worker in self._workers)

    def close(self, deadline_s: float = 5.0) -> list[Event]:
        """End all trainings and return the events not yet seen.

        Each worker ends after the step it is in, and closes its trainings so that they write their checkpoints;
        after ``deadline_s`` it is killed, and what it has not saved is lost.
        """
        self._closed = True
        workers, self._workers = self._workers, []
        self._waiting.clear()
        events, self._unseen = self._unseen, []
        until = time.monotonic() + deadline_s
        try:
            for worker in workers:
                worker.link.send(None)
            begun = [worker.link for worker in workers if worker.ready]  # another has nothing to save
            while time.monotonic() < until and (living := [link for link in begun if link.alive]):
                self._site.wait(living, 0.02)
                for link in living:
                    events += _events(link.messages())
            for link in begun:
                events += _events(link.messages())
        finally:
            for worker in workers:
                worker.link.kill()
            self._site.close()
        return events

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _holders(self, trial: int) -> list[Worker[L]]:
        return [worker for worker in self._workers if trial in worker.standing.held]

    def _loose(self) -> int:
        """How many of the waiting moves could go to any worker."""
        return sum(not self._holders(move.trial) for move in self._waiting)

    def _dispatch(self) -> None:
        """Give waiting moves, the oldest first, to the holder of their trial or to the worker with most room."""
        for number, worker in enumerate(self._workers):
            if worker.ready and not worker.moves and not worker.link.alive:
                self._replace(number, lanes=self._lanes)  # killed while idle: no trial is to blame
        if not self._waiting:
            return
        for move in list(self._waiting):
            holders = self._holders(move.trial)
            candidates = holders or [worker for worker in self._workers if worker.ready]
            # One with lanes lets it wait there, for a lane is soon free; so nobody waits here for it.
            roomy = [w for w in candidates if w.free or (holders and w.standing.lanes is not None)]
            if roomy:
                self._waiting.remove(move)
                max(roomy, key=lambda worker: worker.free).begin(move)
        coming = sum(not worker.ready for worker in self._workers)
        for _ in range(min(self._loose() - coming, self._limits.count - len(self._workers))):
            self._workers.append(Worker(self._site.start(len(self._workers), self._lanes)))

    def _look_after(self, number: int, *, weigh: bool) -> list[Event]:
        """Read one worker's messages; replace it where it has died or goes beyond a limit."""
        worker = self._workers[number]
        alive = worker.link.alive  # asked first: what a dead one sent can then be read to the end
        events: list[Event] = []
        for message in worker.link.messages():
            worker.sign_at = time.monotonic()
            match message:
                case Ready(standing):
                    worker.ready, worker.standing = True, standing
                    self._lost_while_loading = 0
                case Broken(error):
                    raise ObjectiveError(
                        f"A worker process cannot load the objective: {error}{worker.link.output_tail()}\n"
                        "Make its modules importable there, or train in this process with workers=0."
                    )
                case Standing():
                    worker.standing = message
                case Measured() | Finished() | Failed():
                    worker.note(message)
                    events.append(self._as_told(worker, message))
                case _:
                    assert_never(message)
        if not alive:
            return events + self._bury(number)
        if cause := self._overtime(worker):
            worker.link.abort()
            events += self._settle(number, cause)
        elif weigh and (cause := self._overweight(worker)):
            # What it holds of paused trials may be what is too much: its move goes on in one that holds none.
            events += self._settle(number, cause, blame=not worker.standing.held)
        return events

    def _as_told(self, worker: Worker[L], event: Event) -> Event:
        """A worker's own event, with what only its pool knows."""
        limit_s = self._limits.trial_timeout_s
        match event:
            case Measured(trial=trial, cost_s=cost_s):
                self._spent_s[trial] += cost_s
                if limit_s is not None and self._spent_s[trial] > limit_s:
                    self.pause(trial)
            case Finished(trial=trial, ended=False) if limit_s is not None and self._spent_s[trial] > limit_s:
                return Failed(trial, f"{self._too_long(self._spent_s[trial])}, so the trial was ended", 0.0)
            case Failed(error=error):
                return replace(event, error=_located(error) + worker.link.output_tail())
        return event

    def _overtime(self, worker: Worker[L]) -> str:
        """Which limit of time a worker goes beyond, in words; empty for none.

        A step may take its time for each of the moves, because lanes are never slower than trials in turn, and for
        all the steps that a restart has to train again.
        """
        limits, silent_s = self._limits, worker.silent_s
        step_s = limits.step_timeout_s
        if step_s is not None and silent_s > step_s * sum(worker.steps_allowed.values()):
            return f"no step within {step_s:g} s (step_timeout_s={step_s:g}), so the training was killed"
        if limits.trial_timeout_s is not None and len(worker.moves) == 1:
            spent_s = self._spent_s[next(iter(worker.moves))] + silent_s
            if spent_s > limits.trial_timeout_s:
                return f"{self._too_long(spent_s)}, so the training was killed"
        return ""

    def _overweight(self, worker: Worker[L]) -> str:
        """How far a worker goes beyond the limit of memory, in words; empty where it does not."""
        limit_gb = self._limits.memory_gb
        if limit_gb is None or not (worker.moves or worker.standing.held):
            return ""
        held_gb = worker.link.memory_gb()
        if held_gb <= limit_gb:
            return ""
        return f"it held {held_gb:.2f} GB of memory, more than memory_gb={limit_gb:g}, so the training was killed"

    def _too_long(self, spent_s: float) -> str:
        limit_s = self._limits.trial_timeout_s
        return f"it has trained for {spent_s:.1f} s, longer than trial_timeout_s={limit_s:g}"

    def _bury(self, number: int) -> list[Event]:
        """Replace a worker that has died."""
        worker = self._workers[number]
        fate, chances = worker.link.fate()
        if not worker.ready:
            self._lost_while_loading += 1
            if not chances or self._lost_while_loading >= _LOADS:
                raise ObjectiveError(
                    f"A worker process died while it was loading the objective: {fate}.{worker.link.output_tail()}\n"
                    "See whether it loads in this process, with workers=0."
                )
        return self._settle(number, fate, chances=chances)

    def _settle(self, number: int, cause: str, *, chances: int = 0, blame: bool = True) -> list[Event]:
        """Fail the move that was alone in a worker which came to grief; let several go on from where they stand.

        Nobody knows which of several is to blame, or whether they were too many for the machine, so the next
        worker takes half as many. In the end a culprit is alone, and after it there is room for all again.
        """
        worker = self._workers[number]
        moves = [*worker.moves.values()]
        waste_s = worker.silent_s
        if len(moves) > 1 or not blame:
            self._replace(number, lanes=len(moves) // 2 if len(moves) > 1 else self._lanes)
            self._waiting[:0] = moves
            return []
        error = cause + worker.link.output_tail()
        self._replace(number, lanes=self._lanes)
        return [Failed(move.trial, error, waste_s, chances=chances) for move in moves]

    def _replace(self, number: int, *, lanes: int | None) -> None:
        """Start a new worker in place of another, with ``lanes`` at most."""
        self._workers[number].link.kill()
        self._workers[number] = Worker(self._site.start(number, lanes))


def _located(error: str) -> str:
    """A traceback with the script's name: cloudpickle leaves it out of functions that go to a worker by value."""
    script = getattr(sys.modules["__main__"], "__file__", None)
    return error if script is None else error.replace('File "<dynamic-code>"', f'File "{script}"')


def _events(messages: Iterator[object]) -> list[Event]:
    return [message for message in messages if isinstance(message, Measured | Finished | Failed)]
