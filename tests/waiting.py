"""Waiting for what other processes do when they like."""

import time
from collections.abc import Callable


def until(holds: Callable[[], bool], patience_s: float = 60.0) -> None:
    """Wait until something holds; that it does not in so many seconds is a failure."""
    ends = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < ends, f"not so within {patience_s:g} s"
        time.sleep(0.02)
