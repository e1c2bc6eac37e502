"""One worker process as its pool sees it: start it, talk to it, end it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from ayar.run.events import Event
from ayar.run.kernels import widest_kernels
from ayar.run.worker import Broken, Command, Ready, Setup, Standing

_BOOT = """
import json, sys
fd, parent, ahead, sys.path[:] = json.loads(sys.argv[1])
from ayar.run.worker import main
main(fd, parent, ahead)
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
_AT_ONCE = 10_000  # messages; the buffer of a socket holds fewer, so a dead worker is always heard to its end


_FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT)
"""Signals that a crashing program does not get from its own doing."""

_CHANCES, _CHANCES_WITHOUT_MEMORY = 3, 1


@dataclass(frozen=True, slots=True)
class Seat:
    """What a worker process has, whatever it trains.

    Attributes:
        threads: Threads that its linear algebra may use.
        cwd: Its working directory.
        in_lanes: Whether it may train trials as one computation.
        gpus: What it sees of the GPUs, as ``CUDA_VISIBLE_DEVICES`` takes it; None for whatever this process sees.
    """

    threads: int
    cwd: Path
    in_lanes: bool = False
    gpus: str | None = None


class WorkerProcess:
    """A fresh Python process that trains moves; see ``ayar.run.pool.Link``.

    It does not import the user's ``__main__`` again, so a script needs no ``if __name__ == "__main__"``.

    Args:
        seat: What it has.
        output: File that takes its standard output and error.
        ahead: Modules that it imports until it is told what to train.

    Attributes:
        seat: What it has.
        begun: Whether it was told what to train.
    """

    def __init__(self, seat: Seat, output: Path, ahead: Sequence[str] = ()) -> None:
        self.seat, self.begun = seat, False
        self._output = output
        self._ended_for_memory = _ended_for_memory()
        ours, theirs = socket.socketpair()
        # Linux kills a child with the thread that started it, so only the main thread may ask for that.
        parent = os.getpid() if threading.current_thread() is threading.main_thread() else 0
        path = [entry or str(seat.cwd) for entry in sys.path]
        output.write_bytes(b"")
        with theirs, output.open("ab") as taken:  # appending, so that the worker can empty it
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter
                [sys.executable, "-c", _BOOT, json.dumps([theirs.fileno(), parent, ahead, path])],
                stdin=subprocess.DEVNULL,
                stdout=taken,
                stderr=subprocess.STDOUT,
                pass_fds=[theirs.fileno()],
                cwd=seat.cwd,
                env=environment(seat.threads, seat.gpus, in_lanes=seat.in_lanes),
                start_new_session=True,  # Ctrl-C in the terminal reaches the pool alone
            )
        self.connection = Connection(ours.detach())

    def begin(self, setup: Setup) -> None:
        """Tell it what to train, once."""
        self.begun = True
        self.send(setup)

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

    def send(self, message: Command) -> None:
        """Tell it something; see ``Link.send``."""
        with suppress(OSError):  # a process that has died is noticed when its end is read
            self.connection.send(message)

    def messages(self) -> Iterator[Event | Ready | Broken | Standing]:
        """What it has sent and nobody has read; of one that talks faster than it is heard, the oldest part."""
        with suppress(EOFError, OSError):
            for _ in range(_AT_ONCE):
                if not self.connection.poll():
                    return
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

    def fate(self) -> tuple[str, int]:
        """How the process ended, in words, and how often to try again what it was training. Waits for its end."""
        code = self._process.wait()
        if code >= 0:
            return f"the worker process exited with status {code}", 0
        name = signal.Signals(-code).name if -code in set(signal.Signals) else "unknown"
        told = f"the worker process was killed by signal {-code} ({name})"
        before, now = self._ended_for_memory, _ended_for_memory()
        if -code == signal.SIGKILL and (before is None or now != before):
            return f"{told}; perhaps the machine ran out of memory", _CHANCES_WITHOUT_MEMORY
        return told, _CHANCES if -code in _FROM_OUTSIDE else 0

    def memory_gb(self) -> float:
        """Gigabytes that it and its child processes hold in memory."""
        import psutil

        try:
            parent = psutil.Process(self.pid)
            family = [parent, *parent.children(recursive=True)]
        except psutil.Error:
            return 0.0
        total = 0
        for process in family:
            with suppress(psutil.Error):  # it has ended meanwhile
                total += process.memory_info().rss
        return total / 1e9

    def output_tail(self) -> str:
        """The last lines that the training printed, under a heading; empty where it printed nothing."""
        return tail(self._output)


def _ended_for_memory() -> int | None:
    """How many processes the kernel has ended for lack of memory since it started; None where it does not say."""
    try:
        counts = dict(line.split() for line in Path("/proc/vmstat").read_text(encoding="ascii").splitlines())
        return int(counts["oom_kill"])
    except (OSError, KeyError, ValueError):
        return None


def tail(output: Path) -> str:
    """The last lines of a file, under a heading; empty where it is empty."""
    with output.open("rb") as file:
        file.seek(max(0, output.stat().st_size - _TAIL_BYTES))
        lines = file.read().decode(errors="replace").splitlines()
    return "\n".join(["\nIts last output:", *lines[-_TAIL_LINES:]]) if lines else ""


def environment(threads: int, gpus: str | None = None, *, in_lanes: bool = False) -> dict[str, str]:
    """The environment of a worker: this process's, with what it may use."""
    limits = dict.fromkeys(_THREAD_LIMITS, str(threads))
    kernels = widest_kernels() if in_lanes else {}
    devices = {} if gpus is None else {"CUDA_VISIBLE_DEVICES": gpus}
    # One hash seed for all workers: the order of a set must not make a replayed curve differ.
    return {"PYTHONHASHSEED": "0"} | kernels | os.environ | limits | devices | {"PYTHONUNBUFFERED": "1"}
