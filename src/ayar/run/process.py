"""One worker process as its pool sees it: start it, talk to it, end it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path

from ayar.records import Move
from ayar.run.events import Event, Failed, Finished, Measured
from ayar.run.kernels import widest_kernels
from ayar.run.worker import Broken, Command, Pause, Ready, Setup, Standing

_BOOT = """
import json, sys
fd, parent, sys.path[:] = json.loads(sys.argv[1])
from ayar.run.worker import main
main(fd, parent)
"""
_THREAD_LIMITS = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
_TAIL_LINES, _TAIL_BYTES = 20, 8192


@dataclass(frozen=True, slots=True)
class Launch:
    """How worker processes are started.

    Attributes:
        setup: What each is told first.
        threads: Threads that its linear algebra may use.
        cwd: Its working directory.
        output: File that takes its standard output and error.
    """

    setup: Setup
    threads: int
    cwd: Path
    output: Path


class WorkerProcess:
    """A fresh Python process that trains moves: one at a time, or several as lanes.

    It does not import the user's ``__main__`` again, so a script needs no ``if __name__ == "__main__"``.

    Attributes:
        moves: By trial, what it is training, from where it stands.
        standing: What it holds, and how many moves it can have.
        ready: Whether it has loaded the objective.
        sign_at: When it last gave a sign, on the monotonic clock.
    """

    def __init__(self, launch: Launch) -> None:
        self.moves: dict[int, Move] = {}
        self.standing = Standing()
        self.ready = False
        self.sign_at = time.monotonic()
        self.launch = launch
        self._steps_allowed: dict[int, int] = {}
        ours, theirs = socket.socketpair()
        # Linux kills a child with the thread that started it, so only the main thread may ask for that.
        parent = os.getpid() if threading.current_thread() is threading.main_thread() else 0
        path = [entry or str(launch.cwd) for entry in sys.path]
        launch.output.write_bytes(b"")
        with theirs, launch.output.open("ab") as output:  # appending, so that the worker can empty it
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter
                [sys.executable, "-c", _BOOT, json.dumps([theirs.fileno(), parent, path])],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=[theirs.fileno()],
                cwd=launch.cwd,
                env=_environment(launch.threads, in_lanes=launch.setup.lanes != 0),
                start_new_session=True,  # Ctrl-C in the terminal reaches the pool alone
            )
        self.connection = Connection(ours.detach())
        self._send(launch.setup)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        if self._process.returncode is not None or not hasattr(os, "waitid"):
            return self._process.poll() is None
        # Not poll(): a Ctrl-C in the midst of it would leave its lock held, and the next wait() would last for ever.
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    @property
    def free(self) -> int:
        """How many more moves it can have."""
        return max(0, self.standing.slots - len(self.moves))

    def begin(self, move: Move) -> None:
        """Give it a move."""
        if not self.moves:
            self.sign_at = time.monotonic()
        self.moves[move.trial] = move
        self._steps_allowed[move.trial] = 1 if move.trial in self.standing.held else 1 + move.start_step
        self._send(move)

    def note(self, event: Event) -> None:
        """Keep in mind where its moves stand after an event of its own."""
        match event:
            case Measured(trial=trial, step=step):
                move = self.moves[trial]
                self._steps_allowed[trial] = 1
                if move.start_step < step < move.stop_step:
                    self.moves[trial] = replace(move, start_step=step)
            case Finished(trial=trial) | Failed(trial=trial):
                del self.moves[trial], self._steps_allowed[trial]

    def hangs(self, step_timeout_s: float) -> bool:
        """Whether it has been silent for longer than its next sign may take.

        That is the time of one step for each of its moves, because lanes are never slower than trials in turn;
        and of all the steps that a restart has to train again.
        """
        if not (self.moves and self.ready):
            return False
        return time.monotonic() - self.sign_at > step_timeout_s * sum(self._steps_allowed.values())

    def pause(self, trial: int | None = None) -> None:
        """Ask it to end its moves, or that of ``trial``, with the steps they are in."""
        self._send(Pause(trial))

    def finish(self) -> None:
        """Ask it to close its trainings and end."""
        self._send(None)

    def messages(self) -> Iterator[Event | Ready | Broken | Standing]:
        """What it has sent and nobody has read."""
        with suppress(EOFError, OSError):
            while self.connection.poll():
                yield from self.connection.recv()

    def kill(self) -> None:
        """End it and every process it started, now. May be called for a dead one; it leaves nothing behind."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        self.connection.close()

    def abort(self) -> None:
        """End it so that its output shows where it was."""
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGABRT)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=1)
        self.kill()

    def fate(self) -> str:
        """How the process ended, in words. Waits for its end."""
        code = self._process.wait()
        if code >= 0:
            return f"the worker process exited with status {code}"
        name = signal.Signals(-code).name if -code in set(signal.Signals) else "unknown"
        hint = "; perhaps the machine ran out of memory" if -code == signal.SIGKILL else ""
        return f"the worker process was killed by signal {-code} ({name}){hint}"

    def output_tail(self) -> str:
        """The last lines that the training printed, under a heading; empty where it printed nothing."""
        with self.launch.output.open("rb") as file:
            file.seek(max(0, self.launch.output.stat().st_size - _TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
        return "\n".join(["\nIts last output:", *lines[-_TAIL_LINES:]]) if lines else ""

    def _send(self, message: Command) -> None:
        with suppress(OSError):  # a process that has died is noticed when its end is read
            self.connection.send(message)


def _environment(threads: int, *, in_lanes: bool) -> dict[str, str]:
    limits = dict.fromkeys(_THREAD_LIMITS, str(threads))
    kernels = widest_kernels() if in_lanes else {}
    # One hash seed for all workers: the order of a set must not make a replayed curve differ.
    return {"PYTHONHASHSEED": "0"} | kernels | os.environ | limits | {"PYTHONUNBUFFERED": "1"}
