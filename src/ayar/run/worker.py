"""What runs inside a worker process: the loop that obeys the pool.

The pool sends one ``Setup``, then moves and ``Pause`` as it likes, then None to end. The worker answers ``Ready``
(or ``Broken``) once, and then with what comes of the moves, with ``Standing`` before it where one ended. Each of
its messages is a tuple: what belongs together arrives together. An empty one is a sign of life.
"""

from __future__ import annotations

import ctypes
import faulthandler
import gc
import os
import resource
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from typing import Self

import cloudpickle

from ayar.records import Move
from ayar.run.events import Event
from ayar.run.lane_trainer import open_trainer
from ayar.run.objective import as_training
from ayar.run.trainer import Trainer, describe


@dataclass(frozen=True, slots=True)
class Setup:
    """What a worker needs to know before its first move.

    Attributes:
        objective: File with the objective, written by cloudpickle.
        metric: The metric that decides whether a training has diverged.
        horizon: The largest step.
        folder: Where each trial gets a folder of its own.
        lanes: The most trials to train as one computation; 0 for none, None for as many as pay.
    """

    objective: Path
    metric: str
    horizon: int
    folder: Path
    lanes: int | None = 0


@dataclass(frozen=True, slots=True)
class Pause:
    """End every move, or that of ``trial``, with the step it is in. Says nothing to an idle worker."""

    trial: int | None = None


Command = Setup | Move | Pause | None


@dataclass(frozen=True, slots=True)
class Standing:
    """How the worker stands.

    Attributes:
        held: The paused trials alive in it.
        slots: How many moves it can have outstanding.
        lanes: How many it trains together as lanes; None where it trains one at a time.
        reasons: Why it trains alone what was to train in lanes.
    """

    held: frozenset[int] = frozenset()
    slots: int = 1
    lanes: int | None = None
    reasons: tuple[str, ...] = ()

    @classmethod
    def of(cls, trainer: Trainer) -> Self:
        """How the worker of this trainer stands."""
        return cls(trainer.held, trainer.slots, trainer.lanes, tuple(trainer.reasons))


@dataclass(frozen=True, slots=True)
class Ready:
    """The objective is loaded."""

    standing: Standing


@dataclass(frozen=True, slots=True)
class Broken:
    """The objective cannot be loaded, and why."""

    error: str


Message = tuple[Ready | Broken | Standing | Event, ...]


def main(fd: int, parent: int, ahead: Sequence[str] = ()) -> None:
    """Obey the pool at the other end of the socket ``fd``.

    Args:
        fd: The socket.
        parent: Process id to die with, 0 for none.
        ahead: Modules to import while nothing has been said.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the pool's business
    faulthandler.enable(all_threads=False)  # a crash in C code, or the pool's SIGABRT, shows where it was
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _die_with(parent)
    connection = Connection(fd)
    commands: SimpleQueue[Command] = SimpleQueue()
    threading.Thread(target=_listen, args=(connection, commands), daemon=True).start()
    gc.disable()  # of what is imported nothing is garbage, and looking for it takes a sixth of the time
    for module in ahead:
        with suppress(ImportError):  # if it is needed, loading the objective will say so
            import_module(module)
    setup = commands.get()
    assert isinstance(setup, Setup)
    try:
        training = as_training(cloudpickle.loads(setup.objective.read_bytes()), metric=setup.metric)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - loading runs the user's imports
        connection.send((Broken(describe(error)),))
        return
    gc.freeze()
    gc.enable()
    trainer = open_trainer(training, horizon=setup.horizon, folder=setup.folder, lanes=setup.lanes)
    told = Standing.of(trainer)
    connection.send((Ready(told),))
    ending = False
    while trainer.busy or not ending:
        ending = ending or not _obey(commands, trainer)
        events = trainer.advance()
        standing = Standing.of(trainer)
        connection.send(tuple(events) if standing == told else (standing, *events))
        told = standing
    trainer.close()


def _obey(commands: SimpleQueue[Command], trainer: Trainer) -> bool:
    """Take in what the pool has sent; wait for it while there is nothing to train. False when it asked to end."""
    while not trainer.busy or not commands.empty():
        if not take(commands.get(), trainer):
            return False
    return True


def take(command: Command, trainer: Trainer) -> bool:
    """Do what the pool has said once. False when it asked to end."""
    match command:
        case Move() as move:
            if not trainer.busy:
                os.ftruncate(1, 0)  # of the output, keep what belongs to the moves that are outstanding
            trainer.begin(move)
        case Pause(trial):
            trainer.pause(trial)
        case None:
            trainer.pause()
    return command is not None


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
