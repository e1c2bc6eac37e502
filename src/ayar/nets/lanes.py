"""Trials of the L-layer net as lanes: one batched computation trains many at once, each exactly as it trains alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ayar.nets.alone import Alone, Material, seed_of
from ayar.nets.dense import Layout, Step, aligned, outputs
from ayar.nets.dropout import Masks
from ayar.nets.optimizers import LaneOptimizer, LaneState, rule_of
from ayar.records import Configuration

Begin = Callable[[Configuration, int, Path | None, int], Alone]
LaneStep = tuple[int, int, Mapping[str, float]]


@dataclass(eq=False)
class Lane:
    """One trial in a lane.

    Attributes:
        trial: Its number.
        alone: Its training as it was when it last stood outside a group.
        start_step: Steps up to here are trained in silence.
        stop_step: Where it stands still.
        stands: Whether it has stopped there, or diverged.
        diverged: Whether a loss was not finite.
    """

    trial: int
    alone: Alone
    start_step: int
    stop_step: int
    stands: bool = False
    diverged: bool = False

    @property
    def layout(self) -> Layout:
        """Of its net's parameters."""
        weights = [p for p in self.alone.net.parameters() if p.ndim > 1]
        return Layout((weights[0].shape[1], *(len(W) for W in weights)))

    @property
    def order(self) -> tuple[Any, ...]:
        """Lanes that are sorted by this let each rule and each activation work on one run of rows."""
        config = self.alone.config
        return rule_of(config).is_adaptive, config.get("activation", "relu"), self.trial


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
        self._rows = TrainingRows(material)
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
        key = (lane.layout, lane.alone.batch_size)
        if key not in self._groups:
            self._groups[key] = Group(*key, self._rows)
        return self._groups[key]


class TrainingRows:
    """The training rows as lanes read them: inputs and targets side by side, so that one look-up fetches both."""

    def __init__(self, material: Material) -> None:
        self.material = material
        self.is_regression = material.y_train.is_floating_point()

    def with_targets(self, n_outputs: int) -> Tensor:
        """Inputs, then targets: one-hot, or one real number."""
        X, y = self.material.X_train, self.material.y_train
        targets = y.unsqueeze(1) if self.is_regression else torch.nn.functional.one_hot(y, n_outputs).to(X.dtype)
        return torch.cat([X, targets], dim=1)


class Group:
    """Lanes of equal shape and batch size: one row each of the matrices that train together."""

    def __init__(self, layout: Layout, batch_size: int, rows: TrainingRows) -> None:
        self.lanes: list[Lane] = []
        self._layout = layout
        self._positions = layout.positions()
        self._batch_size = batch_size
        self._material = rows.material
        self._is_regression = rows.is_regression
        self._table = rows.with_targets(layout.sizes[-1])
        self._generator = torch.Generator()
        self._arranged = False

    def add(self, lane: Lane) -> None:
        """Give the lane a row before the next epoch."""
        self._dissolve()
        self.lanes.append(lane)

    def remove(self, lane: Lane) -> None:
        """Take the lane out, with its state."""
        self._dissolve()
        self.lanes.remove(lane)

    def advance(self) -> list[LaneStep]:
        """Train one epoch; what the lanes measured."""
        self._arrange()
        reports: list[LaneStep] = [
            (lane.trial, 0, self._measure([row], [0.0])[0])
            for row, lane in enumerate(self.lanes)
            if lane.alone.step == lane.start_step == 0
        ]
        losses = self._epoch()
        for lane in self.lanes:
            lane.alone.step += 1
        heard = [r for r, lane in enumerate(self.lanes) if lane.alone.step > lane.start_step]
        done = []
        for row, metrics in zip(heard, self._measure(heard, [losses[r] for r in heard]), strict=True):
            lane = self.lanes[row]
            reports.append((lane.trial, lane.alone.step, metrics))
            lane.diverged = math.isnan(metrics["valid_loss"])
            if lane.diverged or lane.alone.step >= lane.stop_step:
                done.append(lane)
        for lane in done:
            lane.stands = True
            self.remove(lane)
        return reports

    def _arrange(self) -> None:
        """Put the lanes' states into rows, sorted, and prepare the steps for them."""
        if self._arranged:
            return
        self.lanes.sort(key=lambda lane: lane.order)
        k, material = len(self.lanes), self._material
        like = material.X_train if material.X_train.is_floating_point() else self.lanes[0].alone.optimizer.vector
        self._state = LaneState(*(like.new_zeros(k, self._layout.width) for _ in range(4)))
        for row, lane in enumerate(self.lanes):
            for ours, theirs in self._pairs(row, lane):
                ours[self._positions] = theirs
        configs = [lane.alone.config for lane in self.lanes]
        self._optimizer = LaneOptimizer(
            configs, [lane.alone.updates for lane in self.lanes], self._state, self._layout.n_weights
        )
        n_rows = len(material.X_train)
        self._full, self._rest = divmod(n_rows, self._batch_size)
        self._errors = like.new_zeros(k, min(self._batch_size, n_rows), self._layout.sizes[-1])
        self._steps = {
            rows: Step(
                self._layout,
                self._state.vector,
                self._state.gradient,
                configs,
                self._table,
                rows,
                self._errors,
                self._is_regression,
            )
            for rows in ([self._batch_size] if self._full else []) + ([self._rest] if self._rest else [])
        }
        self._arranged = True

    def _dissolve(self) -> None:
        """Put the rows back into the lanes' own states."""
        if self._arranged:
            for row, lane in enumerate(self.lanes):
                for ours, theirs in self._pairs(row, lane):
                    theirs.copy_(ours[self._positions])
            self._arranged = False

    def _pairs(self, row: int, lane: Lane) -> list[tuple[Tensor, Tensor]]:
        optimizer = lane.alone.optimizer
        averages = {"velocity": self._state.velocity, "square": self._state.square}
        return [
            (self._state.vector[row], optimizer.vector),
            *((averages[name][row], average) for name, average in optimizer.state.items()),
        ]

    def _epoch(self) -> list[float]:
        """Train one epoch; a number for each lane that is finite where all its losses were."""
        lanes = [lane.alone for lane in self.lanes]
        k, n_rows = len(lanes), len(self._material.X_train)
        orders = torch.empty(k, n_rows, dtype=torch.int64)
        masks = [Masks(a.seed, a.step + 1) for a in lanes]
        for row, a in enumerate(lanes):
            self._generator.manual_seed(seed_of(a.seed, a.step + 1))
            torch.randperm(n_rows, generator=self._generator, out=orders[row])
        orders = orders.to(self._material.X_train.device)
        self._errors.zero_()
        coefficients = self._optimizer.coefficients([a.optimizer.updates for a in lanes], self._full + (self._rest > 0))
        first = 0
        for size, times in ((self._batch_size, self._full), (self._rest, 1)):
            if size == 0 or times == 0:
                continue
            step = self._steps[size]
            start = first * self._batch_size
            index = orders[:, start : start + size * times].view(k, times, size).transpose(0, 1).reshape(times, -1)
            bits = self._bits(masks, size, times)
            for b in range(times):
                step.run(index[b], [layer[b] for layer in bits])
                self._optimizer.step(coefficients[first + b])
            first += times
        for a in lanes:
            a.optimizer.updates += first
        sums: list[float] = self._errors.sum((1, 2)).tolist()
        return sums

    def _bits(self, masks: Sequence[Masks], rows: int, times: int) -> list[Tensor]:
        """Of dropout for ``times`` mini-batches: shape ``(times, k, aligned(rows * n[l]))`` for each hidden layer."""
        shares = [lane.alone.config.get("dropout", 0.0) for lane in self.lanes]
        hidden = self._layout.sizes[1:-1]
        if not any(shares):
            return []
        bits = [torch.zeros(times, len(masks), aligned(rows * n), dtype=torch.int16) for n in hidden]
        for row, (share, own) in enumerate(zip(shares, masks, strict=True)):
            if share > 0:
                for layer, drawn in zip(bits, own.draw(times, [rows * n for n in hidden]), strict=True):
                    layer[:, row, : drawn.shape[1]] = drawn
        return [layer.to(self._material.X_train.device) for layer in bits]

    def _measure(self, rows: list[int], losses: list[float]) -> list[dict[str, float]]:
        material = self._material
        activations = [self.lanes[row].alone.config.get("activation", "relu") for row in rows]
        vector = self._state.vector[rows]
        probe, valid = (outputs(self._layout, vector, activations, X) for X in (material.X_probe, material.X_valid))
        if self._is_regression:
            probe, valid = probe.squeeze(-1), valid.squeeze(-1)
        return [material.measurement(*of_lane) for of_lane in zip(losses, probe, valid, strict=True)]
