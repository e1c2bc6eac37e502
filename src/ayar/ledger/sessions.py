"""Who works on a study, and who has stopped to: heartbeats, watched on a clock that nobody sets.

A session says how long its lease is and counts its ``beat`` up several times in that. Whoever waits for it watches
the count on the own monotonic clock; no two clocks are ever compared, so one that jumps harms nobody. A process of
the same machine that has ended is known to be dead at once.
"""

from __future__ import annotations

import os
import platform
import sys
import threading
import time
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from ayar.errors import LedgerError

LEASE_S = 15.0
"""How long a tuning may be silent before others take its trials over."""

_BEATS = 5  # in a lease


@cache
def this_machine() -> str:
    """A name for where process numbers are valid: this boot of the machine, and the container."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:  # no Linux
        return f"{platform.node()} {sys.platform}"


def this_process() -> str:
    """This process: its number, and when it started, because numbers are used again."""
    return f"{os.getpid()} {_started(os.getpid())}"


def _started(pid: int) -> str:
    """When a process started, in the kernel's ticks; empty where it cannot be told, or has ended."""
    try:
        state, *numbers = Path(f"/proc/{pid}/stat").read_text("latin-1").rpartition(")")[2].split()
    except (OSError, ValueError):
        return ""
    return "" if state in "ZX" else numbers[18]  # ended, but nobody has asked how


def has_ended(process: str) -> bool:
    """Whether a process of this machine, as ``this_process`` named it, has ended."""
    pid, _, started = process.partition(" ")
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # another user's
        return False
    return _started(int(pid)) != started


class Watch:
    """Finds out which sessions have stopped: they ended, or their beat has stood still for their lease."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[str, tuple[int, float]] = {}  # beat, and when it was first seen

    def gone(self, ids: Iterable[str], on_record: Iterable[Any]) -> set[str]:
        """Of the sessions ``ids``, those that have stopped; ``on_record`` are their rows, as far as there are any."""
        known = {row.id: row for row in on_record}
        return {each for each in ids if each not in known or self._has_stopped(known[each])}

    def _has_stopped(self, row: Any) -> bool:
        if row.closed or (row.machine == this_machine() and has_ended(row.process)):
            return True
        now = self._clock()
        beat, since = self._seen.get(row.id, (None, now))
        if beat != row.beat:
            self._seen[row.id] = row.beat, now
            return False
        return row.lease_s is not None and now - since > row.lease_s


class Session(Protocol):
    """A ledger, as a heartbeat sees it."""

    def hold(self, lease_s: float | None) -> None:
        """Promise heartbeats."""
        ...

    def beat(self) -> None:
        """Give a sign of life."""
        ...


class Heartbeat:
    """Sends signs of life from a thread, inside its ``with`` block."""

    def __init__(self, ledger: Session, lease_s: float | None = None) -> None:
        self._ledger, self._lease_s = ledger, LEASE_S if lease_s is None else lease_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ayar-heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._ledger.hold(self._lease_s)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        if error is None:
            self._ledger.hold(None)

    def _run(self) -> None:
        while not self._over.wait(self._lease_s / _BEATS):
            try:
                self._ledger.beat()
            except LedgerError:
                # The loop that writes measurements meets the same trouble, and says so; the next beat may succeed.
                continue
