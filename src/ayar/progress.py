"""What a long tuning shows while it runs: the time left, trials by state, the best so far."""

from __future__ import annotations

import math
import sys
import time
from collections import Counter
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ayar.records import State, Trial


def time_words(seconds: float) -> str:
    """A duration as a person says it.

    >>> time_words(42), time_words(125), time_words(7300)
    ('42 s', '2 min 5 s', '2 h 1 min')
    """
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def states_line(trials: Sequence[Trial]) -> str:
    """``"12 trials: 2 running, 9 paused, 1 diverged"``."""
    counts = Counter(t.state for t in trials)
    parts = ", ".join(f"{counts[state]} {state}" for state in State if counts[state])
    return f"{len(trials)} trials: {parts}" if trials else "no trial yet"


class ProgressDisplay:
    """What a tuning shows on standard error while it runs, where that is wanted.

    A bar with two lines in a terminal; one line that is written over in a notebook; elsewhere, in a log say, a line
    a minute.
    """

    def __init__(self, *, wanted: bool = True, every_s: float = 0.25, line_every_s: float = 60.0) -> None:
        console = Console(stderr=True)
        self._live = Live(console=console, transient=True, auto_refresh=False) if console.is_terminal else None
        self._over = "\r" if console.is_jupyter else ""
        self._on = wanted
        self._every_s = every_s if self._live else 4 * every_s if self._over else line_every_s
        self._began = time.monotonic()
        self._drawn_at = self._began if not (self._live or self._over) else -math.inf
        self._width = 0  # of the line that a notebook shows

    def __enter__(self) -> Self:
        if self._on and self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._on and self._live:
            self._live.stop()
        elif self._width:
            self._write("")

    @property
    def due(self) -> bool:
        """Whether it is time to show something; a few times a second at most."""
        return self._on and time.monotonic() - self._drawn_at >= self._every_s

    def show(self, phase: str, done: float, trials: Sequence[Trial], best: str, lanes: int | None = None) -> None:
        """Draw ``phase`` as ``done`` (0 to 1) with the trials by state, where it is ``due``."""
        if not self.due:
            return
        self._drawn_at = time.monotonic()
        done = min(max(done, 0.0), 1.0)
        if self._live:
            self._live.update(self._picture(phase, done, trials, best, lanes), refresh=True)
        else:
            self._write(f"{phase}, {self._left(done)}: {states_line(trials)}; {best}".removesuffix("; "))

    def begin(self) -> None:
        """Start the clock that the time left is read from."""
        self._began = time.monotonic()

    def _left(self, done: float) -> str:
        elapsed = time.monotonic() - self._began
        return f"{time_words(elapsed * (1 - done) / done)} left" if done > 0.02 else "starting"

    def _write(self, line: str) -> None:
        """A line of its own, or in a notebook over the last one."""
        if self._over:
            sys.stderr.write(f"\r{line:<{self._width}}" if line else f"\r{'':<{self._width}}\r")
            self._width = max(self._width, len(line))
        else:
            sys.stderr.write(f"{line}\n")
        sys.stderr.flush()

    def _picture(self, phase: str, done: float, trials: Sequence[Trial], best: str, lanes: int | None) -> Group:
        left = self._left(done)
        left += f", {lanes} lane{'' if lanes == 1 else 's'}" if lanes else ""
        row = Table.grid(padding=(0, 1))
        row.add_row(Text(f"{phase:<9}", style="bold"), ProgressBar(total=1.0, completed=done, width=40), left)
        return Group(row, Text(f"{states_line(trials)}; {best}", style="dim", overflow="ellipsis", no_wrap=True))
