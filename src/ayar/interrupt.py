"""Ctrl-C once: finish the running steps and stop cleanly. Twice: stop now."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Self


class Interrupt:
    """Turns the first Ctrl-C inside its ``with`` block into a flag, and lets the second one through."""

    def __init__(self) -> None:
        self.asked = False
        # Only the main thread may set handlers; elsewhere Ctrl-C is somebody else's business.
        self._on = threading.current_thread() is threading.main_thread()

    def __enter__(self) -> Self:
        if self._on:
            self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._on:
            signal.signal(signal.SIGINT, self._before)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True

    def check(self) -> None:
        """Raise KeyboardInterrupt if Ctrl-C was pressed."""
        if self.asked:
            raise KeyboardInterrupt
