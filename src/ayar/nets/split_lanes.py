"""Trials that train on splits of their own, in lanes."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from pathlib import Path

from ayar.nets.func_lanes import FuncLanes
from ayar.nets.groups import LaneStep
from ayar.nets.lanes import DenseLanes
from ayar.nets.splits import Splits
from ayar.records import Configuration

Lanes = DenseLanes | FuncLanes


class SplitLanes:
    """Lanes of trials on different splits: lanes of their own for each, which take turns.

    Args:
        splits: Tell the split of a seed from others.
        shared: Lanes of the search's split.
        opened: Opens lanes for the split of a seed.
        at_most: Lanes that can be loaded at the same time; as many as the split with most takes where None.
    """

    def __init__(
        self, splits: Splits, shared: Lanes, opened: Callable[[int], Lanes], at_most: int | None = None
    ) -> None:
        self._key, self._opened, self._at_most = splits.key, opened, at_most
        self._lanes: dict[Hashable, Lanes] = {None: shared}
        self._trials: dict[int, Hashable] = {}

    @property
    def free(self) -> int:
        """How many more trials can be loaded now."""
        loaded = list(self._trials.values())
        room = max(lanes.free + loaded.count(key) for key, lanes in self._lanes.items())
        return max(0, (self._at_most or room) - len(loaded))

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why some trials train alone."""
        return tuple(dict.fromkeys(reason for lanes in self._lanes.values() for reason in lanes.reasons))

    @property
    def held(self) -> frozenset[int]:
        """Paused trials whose state is in memory only."""
        return frozenset().union(*(lanes.held for lanes in self._lanes.values()))

    def load(
        self, trial: int, config: Configuration, seed: int, folder: Path | None, start_step: int, stop_step: int
    ) -> None:
        """Give ``trial`` a lane; see ``ayar.run.lanes.Lanes.load``."""
        key = self._key(seed)
        if key not in self._lanes:
            self._lanes[key] = self._opened(seed)
        self._lanes[key].load(trial, config, seed, folder, start_step, stop_step)
        self._trials[trial] = key

    def advance(self) -> list[LaneStep]:
        """Train the lanes of the next split for one quantum; see ``ayar.run.lanes.Lanes.advance``."""
        busy = set(self._trials.values())
        key = next((key for key in self._lanes if key in busy), None)
        if key not in busy:
            return []
        lanes = self._lanes.pop(key)
        self._lanes[key] = lanes  # the next time it is the others' turn
        return lanes.advance()

    def unload(self, trial: int) -> None:
        """Save the lane's state into its folder and free the lane; see ``ayar.run.lanes.Lanes.unload``."""
        self._lanes[self._trials.pop(trial)].unload(trial)

    def close(self) -> None:
        """Save what is held; see ``ayar.run.lanes.Lanes.close``."""
        for lanes in self._lanes.values():
            lanes.close()
