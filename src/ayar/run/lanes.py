"""What a training that runs several trials as one computation can do.

A lane is one trial's slice of such a computation. A worker loads trials into free lanes, advances all of them
together, and unloads a trial where its move ends, so that another takes its place at once. Each lane's curve is
the one that the same trial would have had alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from ayar.records import Configuration

LaneStep = tuple[int, int, Mapping[str, float]]
"""Trial, the step it has reached, and what was measured there."""


class Lanes(Protocol):
    """Several trials of one recipe training as one computation, in one process and on one device."""

    @property
    def free(self) -> int:
        """How many more trials can be loaded now."""
        ...

    @property
    def reasons(self) -> Sequence[str]:
        """Why some of its trials train alone, one sentence for each reason known so far."""
        ...

    @property
    def held(self) -> frozenset[int]:
        """Unloaded trials whose state is in memory only; whoever goes on with one of them starts quickest here."""
        ...

    def load(
        self, trial: int, config: Configuration, seed: int, folder: Path | None, start_step: int, stop_step: int
    ) -> None:
        """Give ``trial`` a lane, at ``start_step``: from the checkpoint in ``folder``, where it has a usable one.

        The checkpoint is that of ``Recipe.train``, and each can read the other's. Missing steps are trained again
        in silence. A lane that has reached ``stop_step`` stands still until it is unloaded.

        Raises:
            AyarError: The configuration cannot be trained. The other lanes are as they were.
        """
        ...

    def advance(self) -> list[LaneStep]:
        """Train for one quantum; the lanes that finished a step in it, each with its metrics.

        Which lanes take part is for the implementation to say, as long as each reaches its stop step. A lane
        reports its steps in order; a fresh one begins with step 0, the untrained net. One whose loss is not finite
        reports NaN in every metric, stands still, and changes nothing in the other lanes.

        Raises:
            MemoryError: The device's memory does not suffice. The lanes are lost: they cannot be unloaded into
                their folders, and ``Recipe.lanes`` gives new ones.
        """
        ...

    def unload(self, trial: int) -> None:
        """Free the lane. Its state is saved into its folder, where it has one that still exists, or ``held``.

        A trial that has trained for many seconds since it was last saved is not held.
        """
        ...

    def close(self) -> None:
        """Save what is held."""
        ...


OpenLanes = Callable[[int | None], Lanes | str]
"""Opens empty lanes; see ``HasLanes.lanes``."""


@runtime_checkable
class HasLanes(Protocol):
    """An objective that can train in lanes, such as a recipe."""

    def lanes(self, at_most: int | None = None) -> Lanes | str:
        """Empty lanes, ``at_most`` so many; or a sentence that says why trials must train alone here.

        Without ``at_most``, as many as a calibration on this device finds worth while. A reason is given for
        what is known before any trial is loaded; a single configuration that does not suit lanes is trained
        alone inside them.
        """
        ...
