"""Trials of the L-layer net as lanes: one batched computation trains many at once, each exactly as it trains alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ayar.nets.alone import Alone, Material
from ayar.nets.groups import Group, Lane, LaneStep, TrainingRows
from ayar.nets.layout import Layout
from ayar.records import Configuration

Begin = Callable[[Configuration, int, Path | None, int], Alone]

SLOTS = 16
"""Lanes before a calibration knows better."""


class DenseLanes:
    """Trials of one recipe for the L-layer net, as lanes of one batched computation for each shape of net.

    Args:
        begin: Makes a trial: ``begin(config, seed, folder, start_step)``.
        material: What the trials train on.
        at_most: Lanes that can be loaded at the same time.
    """

    def __init__(self, begin: Begin, material: Material, at_most: int | None = None) -> None:
        self._begin = begin
        self._slots = SLOTS if at_most is None else at_most
        self._material = material
        self._rows: TrainingRows | None = None
        self._lanes: dict[int, Lane] = {}
        self._groups: dict[tuple[Any, ...], Group] = {}

    @property
    def free(self) -> int:
        """How many more trials can be loaded now."""
        return self._slots - len(self._lanes)

    def load(
        self, trial: int, config: Configuration, seed: int, folder: Path | None, start_step: int, stop_step: int
    ) -> None:
        """Give ``trial`` a lane; see ``ayar.run.lanes.Lanes.load``."""
        lane = Lane(trial, self._begin(config, seed, folder, start_step), start_step, stop_step)
        lane.stop_step = min(stop_step, lane.alone.iterations)
        self._lanes[trial] = lane
        self._group(lane).add(lane)

    def advance(self) -> list[LaneStep]:
        """Train the lanes of the next group for one epoch; see ``ayar.run.lanes.Lanes.advance``."""
        for key, group in list(self._groups.items()):
            if group.lanes:
                self._groups[key] = self._groups.pop(key)  # the next time it is the others' turn
                try:
                    with torch.inference_mode():
                        return group.advance()
                except RuntimeError as error:
                    if "memory" in str(error):  # PyTorch has an error of its own for each device
                        raise MemoryError(str(error)) from error
                    raise
            del self._groups[key]
        return []

    def unload(self, trial: int) -> None:
        """Save the lane's state into its folder and free the lane; see ``ayar.run.lanes.Lanes.unload``."""
        lane = self._lanes.pop(trial)
        if not lane.stands:
            with torch.inference_mode():
                self._group(lane).remove(lane)
        if not lane.diverged:
            lane.alone.save()

    def _group(self, lane: Lane) -> Group:
        key = (Layout.around(lane.sizes), lane.alone.batch_size)
        if self._rows is None:
            self._rows = TrainingRows(self._material, key[0].sizes[-1])
        if key not in self._groups:
            self._groups[key] = Group(*key, self._rows)
        return self._groups[key]
