"""What a pool of workers tells about the moves it was given, and what every such pool can do.

The life of a move::

    submitted --step done--> Measured, any number of times
              --stop step reached, pause() asked for, or training ended by itself--> Finished
              --raised, hung, or its process died--> Failed

A process that dies or hangs with several moves in its lanes fails none of them: they go on in another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, Self

from ayar.records import Move


@dataclass(frozen=True, slots=True)
class Measured:
    """One step of training is done.

    Attributes:
        trial: Number of the trial.
        step: The step that was reached.
        cost_s: Wall seconds between asking the training for this step and having it. The first step after a
            restart includes whatever had to be trained again.
        metrics: What was measured, as the objective named it and with its own sign.
    """

    trial: int
    step: int
    cost_s: float
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Finished:
    """The move is done.

    Attributes:
        trial: Number of the trial.
        ended: No later step can follow: the training ended by itself, or the metric became non-finite.
    """

    trial: int
    ended: bool


@dataclass(frozen=True, slots=True)
class Failed:
    """The move came to grief; the worker that ran it is ready for another.

    Attributes:
        trial: Number of the trial.
        error: What happened in one line, followed by the last lines of the traceback and of the output.
        waste_s: Wall seconds spent since the last measurement.
        chances: How many times in a row the same step may be tried again: its worker was killed from outside, or its
            machine is lost. 0 where the training itself is to blame.
        contract: The objective broke its contract, so other configurations will fail alike.
        full_disk: There is no room left on the disk: nothing can be trained here now, and the trial can go on later.
    """

    trial: int
    error: str
    waste_s: float
    chances: int = 0
    contract: bool = False
    full_disk: bool = False


Event = Measured | Finished | Failed


class Pool(Protocol):
    """Trains moves and tells what comes of them. Use it as a context manager."""

    @property
    def free(self) -> int:
        """How many moves can be submitted now."""
        ...

    @property
    def busy(self) -> bool:
        """Whether a move is outstanding: more events will come."""
        ...

    @property
    def lanes(self) -> int | None:
        """How many lanes there are in all workers together; None where trials train alone, or nobody knows yet."""
        ...

    @property
    def reasons(self) -> list[str]:
        """Why trials, or some of them, train alone although lanes were asked for, as far as it is known yet."""
        ...

    def submit(self, move: Move, *, spent_s: float = 0.0) -> None:
        """Train ``move`` as soon as a worker is free for it. A trial has at most one move outstanding.

        ``spent_s``: seconds that the trial has trained before, for the limit on them.
        """
        ...

    def wait(self, timeout_s: float | None = None) -> list[Event]:
        """The events since the last call, in order; blocks until there is one or ``timeout_s`` has passed.

        Empty at once when nothing is outstanding.

        Raises:
            ObjectiveError: The objective cannot be loaded by a worker.
        """
        ...

    def pause(self, trial: int | None = None) -> None:
        """Let every outstanding move end with the step it is in; a move that has not begun ends where it is.

        Their events still come, ``Finished`` last. Moves that are submitted later train as usual. With ``trial``, only
        the move of that trial ends; nothing happens where it has none.
        """
        ...

    def holds(self, trial: int) -> bool:
        """Whether the paused trial is alive in a worker, so that it goes on without a restart."""
        ...

    def close(self) -> list[Event]:
        """End all trainings and return the events not yet seen. May be called again."""
        ...

    def __enter__(self) -> Self: ...
    def __exit__(self, *exception: object) -> None: ...
