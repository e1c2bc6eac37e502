"""What a long tuning shows while it runs: a bar with the time left, trials by state, the best so far."""

from __future__ import annotations

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
    """A live two-line display on standard error; silent where that is no terminal, or when not wanted."""

    def __init__(self, *, wanted: bool = True, every_s: float = 0.25) -> None:
        console = Console(stderr=True)
        self._live = Live(console=console, transient=True, auto_refresh=False)
        self._on = wanted and console.is_terminal
        self._every_s = every_s
        self._drawn_at = -1e9
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        if self._on:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._on:
            self._live.stop()

    @property
    def due(self) -> bool:
        """Whether it is time to show something; a few times a second at most."""
        return self._on and time.monotonic() - self._drawn_at >= self._every_s

    def show(self, phase: str, done: float, trials: Sequence[Trial], best: str, lanes: int | None = None) -> None:
        """Draw ``phase`` as ``done`` (0 to 1) with the trials by state, where it is ``due``."""
        if not self.due:
            return
        self._drawn_at = time.monotonic()
        self._live.update(self._picture(phase, min(max(done, 0.0), 1.0), trials, best, lanes), refresh=True)

    def begin(self) -> None:
        """Start the clock that the time left is read from."""
        self._began = time.monotonic()

    def _picture(self, phase: str, done: float, trials: Sequence[Trial], best: str, lanes: int | None) -> Group:
        elapsed = time.monotonic() - self._began
        left = f"{time_words(elapsed * (1 - done) / done)} left" if done > 0.02 else "starting"
        left += f", {lanes} lane{'' if lanes == 1 else 's'}" if lanes else ""
        row = Table.grid(padding=(0, 1))
        row.add_row(Text(f"{phase:<9}", style="bold"), ProgressBar(total=1.0, completed=done, width=40), left)
        return Group(row, Text(f"{states_line(trials)}; {best}", style="dim", overflow="ellipsis", no_wrap=True))
