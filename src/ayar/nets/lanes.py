"""Trials of the L-layer net as lanes: one batched computation trains many at once, each exactly as it trains alone."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from ayar.nets.alone import Material
from ayar.nets.calibration import best_fit
from ayar.nets.groups import Group, Lane, LaneStep
from ayar.nets.layout import Layout
from ayar.nets.plain_trial import PlainTrial
from ayar.nets.threads import using
from ayar.records import Configuration

Begin = Callable[[Configuration, int, Path | None, int], PlainTrial]

LATELY = 4
"""Of so many trials in a row none has a layout in common, before they are trained one by one."""

HELD_BYTES = 2**27
"""Of paused trials are held in memory, for most of them are never thawed, and none is worth writing a file for."""


class DenseLanes:
    """Trials of one recipe for the L-layer net, as lanes of one batched computation for each layout of nets.

    Args:
        begin: Makes a trial: ``begin(config, seed, folder, start_step)``.
        material: What the trials train on.
        at_most: Lanes that can be loaded at the same time; as many as a calibration finds best where None.

    Attributes:
        reasons: Why some trials train alone: none ever does.
    """

    reasons: tuple[str, ...] = ()

    def __init__(self, begin: Begin, material: Material, at_most: int | None = None) -> None:
        self._begin = begin
        self._material = material
        self._at_most = at_most
        self._lanes: dict[int, Lane] = {}
        self._groups: list[Group] = []
        self._wanted = 2
        self._shared = deque([True], maxlen=LATELY)  # whether trials had the layout of others, or of the one before
        self._latest: tuple[Layout, int] | None = None
        self._held: dict[int, PlainTrial] = {}  # who has waited longest comes first
        self._held_bytes = 0

    @property
    def free(self) -> int:
        """How many more trials can be loaded now: see ``Group.wanted``; one by one where none shares a layout."""
        wanted = max([self._wanted, *(group.wanted for group in self._groups)]) if any(self._shared) else 1
        return max(0, (self._at_most or wanted) - len(self._lanes))

    @property
    def held(self) -> frozenset[int]:
        """Paused trials whose state is in memory, and not in their folders yet."""
        return frozenset(self._held)

    def load(
        self, trial: int, config: Configuration, seed: int, folder: Path | None, start_step: int, stop_step: int
    ) -> None:
        """Give ``trial`` a lane; see ``ayar.run.lanes.Lanes.load``."""
        own = self._taken(trial)
        if own is None or (own.step, own.seed) != (start_step, seed):
            own = self._begin(config, seed, folder, start_step)
        self._lanes[trial] = Lane(trial, own, start_step, min(stop_step, own.iterations))
        self._join(self._lanes[trial])

    def advance(self) -> list[LaneStep]:
        """Train the lanes of the next group for one epoch; see ``ayar.run.lanes.Lanes.advance``."""
        self._groups = [group for group in self._groups if group.lanes]
        if not self._groups:
            return []
        try:
            # a lane that diverges is nobody else's concern
            group = self._first
            self._wanted = group.wanted  # however many leave it now
            with torch.inference_mode(), np.errstate(all="ignore"), self._material.multiplied(), using(group.threads):
                return group.advance()
        except RuntimeError as error:
            if "memory" in str(error):  # PyTorch has an error of its own for each device
                raise MemoryError(str(error)) from error
            raise

    def unload(self, trial: int) -> None:
        """Free the lane, and hold its state or save it; see ``ayar.run.lanes.Lanes.unload``."""
        lane = self._lanes.pop(trial)
        for group in self._groups:
            if lane in group.lanes:
                with torch.inference_mode():
                    group.remove(lane)
        own = lane.trial
        if lane.diverged:
            return
        if own.is_due or own.step >= own.iterations or own.checkpoint is None:
            own.save()
            return
        self._held[trial] = own
        self._held_bytes += own.n_bytes
        while self._held_bytes > HELD_BYTES:
            self._save_held(next(iter(self._held)))

    def close(self) -> None:
        """Save what is held; see ``ayar.run.lanes.Lanes.close``."""
        for trial in list(self._held):
            self._save_held(trial)

    @property
    def _first(self) -> Group:
        """The group of the trial that was loaded first, until that is through.

        Were groups to take turns, all would end late; as it is, each trial waits only for those that came before.
        """
        return next(group for lane in self._lanes.values() for group in self._groups if lane in group.lanes)

    def _save_held(self, trial: int) -> None:
        own = self._taken(trial)
        if own is not None:
            own.save()

    def _taken(self, trial: int) -> PlainTrial | None:
        own = self._held.pop(trial, None)
        self._held_bytes -= own.n_bytes if own is not None else 0
        return own

    def _join(self, lane: Lane) -> None:
        """Put the lane into a group of its layout and batch size that has room, or into a new one."""
        layout, batch_size = lane.trial.layout, lane.trial.batch_size
        alike = [group for group in self._groups if (group.layout, group.batch_size) == (layout, batch_size)]
        self._shared.append(bool(alike) or self._latest == (layout, batch_size))
        self._latest = layout, batch_size
        if self._at_most is None:
            for group in alike:
                if group.width is None:
                    with self._material.multiplied():
                        fit = best_fit(layout, batch_size, lane.config, self._material)
                        group.width, group.threads = fit.few, fit.threads
        for group in alike:
            if group.width is None or len(group.lanes) < group.width:
                group.add(lane)
                return
        self._groups.append(Group(layout, batch_size, self._material))
        if alike:
            self._groups[-1].width, self._groups[-1].threads = alike[0].width, alike[0].threads
        self._groups[-1].add(lane)
