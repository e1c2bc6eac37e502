"""What the tests of this room share."""

import sys
from collections.abc import Callable

import cloudpickle
import psutil
import pytest

from ayar.records import Move
from ayar.run.events import Event, Measured


def gone(pid: int) -> bool:
    """Whether a process has ended, even if nobody has collected it yet."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.fixture(autouse=True)
def objectives_by_value(request):
    """Send the objectives that a test module defines by value: workers cannot import test modules."""
    module = sys.modules[request.module.__name__]
    cloudpickle.register_pickle_by_value(module)
    yield
    cloudpickle.unregister_pickle_by_value(module)


@pytest.fixture
def move() -> Callable[..., Move]:
    """Make a move: ``move(trial, start_step, stop_step, **config)``; the seed is 100 + trial."""
    return lambda trial, start_step, stop_step, **config: Move(trial, config, 100 + trial, start_step, stop_step)


@pytest.fixture
def finish() -> Callable[..., list[Event]]:
    """Wait until the pool has nothing outstanding, and return all events."""

    def all_events(pool) -> list[Event]:
        events = []
        while pool.busy:
            events += pool.wait(1)
        return events

    return all_events


@pytest.fixture
def curve() -> Callable[..., list[tuple[int, float]]]:
    """The (step, loss) pairs that the events tell of a trial."""
    return lambda events, trial=0: [
        (event.step, event.metrics["loss"]) for event in events if isinstance(event, Measured) and event.trial == trial
    ]
