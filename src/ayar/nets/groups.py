"""Lanes of one layout and batch size, one row each of the matrices that train together."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ayar.curves.reading import DEAD_UNITS
from ayar.nets.alone import Material, seed_of
from ayar.nets.calibration import threads_of
from ayar.nets.dense import Evaluation, Step
from ayar.nets.dropout import Masks, fill
from ayar.nets.inside import Glance, is_looked_at, together
from ayar.nets.layout import Layout, rows_for
from ayar.nets.optimizers import LaneOptimizer, LaneState, rule_of
from ayar.nets.plain_trial import PlainTrial

LaneStep = tuple[int, int, Mapping[str, float]]
AHEAD_BYTES = 2**24  # of row numbers, or of dropout's factors, are drawn ahead


@dataclass(eq=False)
class Lane:
    """One trial in a lane.

    Attributes:
        number: The trial's.
        trial: Its training; while the lane has a row in a group, that row is the truth about its state.
        start_step: Steps up to here are trained in silence.
        stop_step: Where it stands still.
        stands: Whether it has stopped there, or diverged.
        diverged: Whether a loss was not finite.
        seen: What was seen inside its net and not yet told, by metric; see ``ayar.nets.inside``.
    """

    number: int
    trial: PlainTrial
    start_step: int
    stop_step: int
    stands: bool = False
    diverged: bool = False
    seen: dict[str, float] = field(default_factory=dict)

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Inputs, units of each hidden layer, outputs of its net."""
        return self.trial.sizes

    @property
    def config(self) -> Mapping[str, Any]:
        """Its configuration."""
        return self.trial.config

    @property
    def activation(self) -> str:
        """Of its net's hidden layers."""
        return str(self.config.get("activation", "relu"))

    @property
    def dropout(self) -> float:
        """Share of units that it silences."""
        return float(self.config.get("dropout", 0.0))

    @property
    def is_fresh(self) -> bool:
        """Whether nothing was said of it yet, not even of the untrained net."""
        return self.trial.step == self.start_step == 0

    @property
    def is_heard(self) -> bool:
        """Whether its present step is one to be reported."""
        return self.trial.step > self.start_step

    @property
    def looks(self) -> bool:
        """Whether the next epoch is one to look inside."""
        return is_looked_at(self.trial.step + 1, self.trial.iterations)

    @property
    def entries(self) -> list[int]:
        """Of each W[l] of its net."""
        return [n_in * n_out for n_in, n_out in pairwise(self.sizes)]

    @cached_property
    def kind(self) -> tuple[bool, str]:
        """Lanes that are sorted by this let each rule and each activation work on one run of rows."""
        return rule_of(self.config).is_adaptive, self.activation


class Group:
    """Lanes of one layout and batch size.

    Lanes come and go between epochs. One that takes the place of another of its kind finds everything prepared; only
    else is anything allocated, and the calls of a step made anew.

    Attributes:
        layout: Of the lanes' rows.
        batch_size: Rows of a mini-batch.
        width: How many lanes it should hold; None where nobody has measured.
        threads: How many threads it uses; None for as many as there are.
        lanes: In it.
    """

    _state: LaneState
    _steps: list[Step]
    _drawn: dict[int, list[Tensor]]

    def __init__(self, layout: Layout, batch_size: int, material: Material) -> None:
        self.lanes: list[Lane] = []
        self._rows_of: list[Lane] = []
        self._form: tuple[bool, bool] | None = None  # whether dropout and label smoothing take part
        self.layout = layout
        self.batch_size = batch_size
        self.width: int | None = None
        self.threads = threads_of(layout, batch_size)
        self._material = material
        n = len(material.X_train)
        sizes = [(batch_size, n // batch_size), (n % batch_size, 1)]
        self._sizes = [(size, times) for size, times in sizes if size and times]
        self._generator = torch.Generator()

    @property
    def wanted(self) -> int:
        """How many trials to have under way for its sake: twice as many as are in it, up to its width.

        So lanes double until they are filled where trials share a layout; and where hardly two do, few are under way,
        and none waits for many others.
        """
        twice = 2 * len(self.lanes)
        return twice if self.width is None else min(twice, self.width)

    def add(self, lane: Lane) -> None:
        """Give the lane a row from the next epoch on."""
        self.lanes.append(lane)

    def remove(self, lane: Lane) -> None:
        """Take the lane out, with its state."""
        self.lanes.remove(lane)
        if lane in self._rows_of:
            self._copy_out(lane)

    def advance(self) -> list[LaneStep]:
        """Train one epoch; what the lanes measured."""
        self._arrange()
        reports: list[LaneStep] = []
        if fresh := [row for row, lane in enumerate(self.lanes) if lane.is_fresh]:
            lanes = [self.lanes[row] for row in fresh]
            untrained = self._evaluation(self._state.vector[fresh], lanes).run()
            reports += self._measured(lanes, [0.0] * len(lanes), untrained)
        losses = self._epoch()
        if any(lane.is_heard for lane in self.lanes):
            outputs = self._trained.run()
            looked = {row: lane.sizes for row, lane in enumerate(self.lanes) if lane.seen}
            for row, share in self._trained.dead_shares(looked).items():
                self.lanes[row].seen[DEAD_UNITS] = share
            for lane, told in zip(list(self.lanes), self._measured(self.lanes, losses, outputs), strict=True):
                if lane.is_heard:
                    reports.append(told)
                    lane.diverged = math.isnan(told[2]["valid_loss"])
                    lane.stands = lane.diverged or lane.trial.step >= lane.stop_step
                if lane.stands:
                    self.remove(lane)
                elif lane.trial.is_due:
                    self._copy_out(lane)
                    lane.trial.save()
        return reports

    def _arrange(self) -> None:
        """Give lanes that came a row, and prepare the calls where those of before don't serve."""
        if self.lanes == self._rows_of:
            return
        before = {lane: row for row, lane in enumerate(self._rows_of)}
        form = self._drops, any(map(_smoothing, self.lanes))
        seats = self._seats() if form == self._form else None
        if seats is not None:
            self.lanes = seats
        else:
            self.lanes.sort(key=lambda lane: (lane.kind, lane.number))
            self._rebuild(before)
            self._form = form
        self._rows_of = list(self.lanes)
        for row, lane in enumerate(self.lanes):
            if lane not in before:
                self._seat(row, lane)
        for step in self._steps:
            step.smooth([_smoothing(lane) for lane in self.lanes])
        configs, totals = [lane.config for lane in self.lanes], [lane.trial.updates for lane in self.lanes]
        self._optimizer = LaneOptimizer(configs, totals, self._state, self.layout.n_weights)

    def _seats(self) -> list[Lane] | None:
        """The lanes where each that stays keeps its row, and one of the same kind takes each that is free.

        None where they don't fit.
        """
        stay, came = set(self.lanes) & set(self._rows_of), defaultdict(list)
        for lane in self.lanes:
            if lane not in stay:
                came[lane.kind].append(lane)
        seats = []
        for lane in self._rows_of:
            if lane not in stay and not came[lane.kind]:
                return None
            seats.append(lane if lane in stay else came[lane.kind].pop())
        return seats if len(seats) == len(self.lanes) else None

    def _seat(self, row: int, lane: Lane) -> None:
        """Bring the trial's state into a row."""
        self._state.vector[row] = lane.trial.row
        for name in ("velocity", "square"):
            getattr(self._state, name)[row] = lane.trial.averages.get(name, 0.0)
        if lane.dropout == 0:
            for factors in chain(*self._drawn.values()):
                factors[:, row] = 1.0

    def _rebuild(self, before: Mapping[Lane, int]) -> None:
        """Allocate what the lanes need in their order, bring the states of ``before`` along, and make the calls."""
        k, like = len(self.lanes), self.lanes[0].trial.row
        state = LaneState(*(like.new_zeros(k, self.layout.width) for _ in LaneState.__slots__))
        stay = [row for row, lane in enumerate(self.lanes) if lane in before]
        if stay:
            came_from = [before[self.lanes[row]] for row in stay]
            for name in ("vector", "velocity", "square"):
                getattr(state, name)[stay] = getattr(self._state, name)[came_from]
        self._state = state
        X, y = self._material.X_train, self._material.y_train
        configs = [lane.config for lane in self.lanes]
        n_classes = 0 if self._is_regression else self.lanes[0].sizes[-1]
        self._steps = [Step(self.layout, state, configs, X, y, n_classes, rows) for rows, _ in self._sizes]
        self._trained = self._evaluation(state.vector, self.lanes)
        self._drawn = {  # lanes without dropout keep their ones
            rows: [
                torch.ones(min(times, self._ahead(rows)), k, rows_for(rows), n, dtype=like.dtype)
                for n in self.layout.sizes[1:-1]
            ]
            for rows, times in self._sizes
            if self._drops
        }

    def _glance(self) -> Glance:
        weights = self._state.vector[:, : self.layout.n_weights]  # they lie side by side
        return Glance(self._state.gradient, [weights], self.layout.weights(self._state.gradient))

    def _copy_out(self, lane: Lane) -> None:
        """Bring the trial's own state up to date."""
        row = self._rows_of.index(lane)
        lane.trial.row = self._state.vector[row].clone()
        lane.trial.averages = {name: getattr(self._state, name)[row].clone() for name in rule_of(lane.config).averages}

    def _epoch(self) -> list[float]:
        """Train one epoch; a number for each lane that is finite where all its losses were."""
        lanes, device = [lane.trial for lane in self.lanes], self._material.X_train.device
        order = torch.empty(len(lanes), len(self._material.X_train), dtype=torch.int32)
        masks = [Masks(trial.seed, trial.step + 1) for trial in lanes] if self._drops else []
        for row, trial in enumerate(lanes):
            self._generator.manual_seed(seed_of(trial.seed, trial.step + 1))
            torch.randperm(order.shape[1], generator=self._generator, out=order[row])
        n_updates = sum(times for _, times in self._sizes)
        coefficients = iter(self._optimizer.coefficients([trial.updates_made for trial in lanes], n_updates))
        seen: list[dict[str, float]] = [{} for _ in lanes]
        looking = any(lane.looks for lane in self.lanes)
        start = 0
        for step, (rows, times) in zip(self._steps, self._sizes, strict=True):
            for first in range(0, times, self._ahead(rows)):
                count = min(self._ahead(rows), times - first)
                index = torch.zeros(count, len(lanes), rows_for(rows), dtype=order.dtype)
                now = order[:, start : start + rows * count].view(len(lanes), count, rows)
                index[..., :rows] = now.transpose(0, 1)
                start += rows * count
                drawn = index.view(count, -1).to(device).unbind()
                factors = self._factors(masks, rows, count)
                for b in range(count):
                    step.run(drawn[b], [layer[b] for layer in factors])
                    glance = self._glance() if looking else None
                    self._optimizer.step(next(coefficients))
                    if glance is not None:
                        seen, looking = glance.told([lane.entries for lane in self.lanes]), False
        for lane, inside in zip(self.lanes, seen, strict=True):
            lane.seen.clear()
            lane.seen.update(inside if lane.looks else {})
            lane.trial.updates_made += n_updates
            lane.trial.step += 1
        errors: list[float] = torch.stack([step.take_errors() for step in self._steps]).sum(0).tolist()
        return errors

    @property
    def _is_regression(self) -> bool:
        return self._material.y_train.is_floating_point()

    @property
    def _drops(self) -> bool:
        return len(self.layout.sizes) > 2 and any(lane.dropout > 0 for lane in self.lanes)

    def _ahead(self, rows: int) -> int:
        """For how many mini-batches to draw the rows and the factors of dropout at once."""
        vector = self._state.vector
        units = sum(self.layout.sizes[1:-1]) if self._drops else 1
        return max(1, AHEAD_BYTES // (vector.element_size() * len(vector) * rows_for(rows) * units))

    def _factors(self, masks: Sequence[Masks], rows: int, times: int) -> list[Tensor]:
        """Of dropout for ``times`` mini-batches: shape ``(times, k, rows_for(rows), n[l])`` for each hidden layer."""
        if not self._drops:
            return []
        vector = self._state.vector
        factors = self._drawn[rows]
        for row, (lane, own) in enumerate(zip(self.lanes, masks, strict=True)):
            if lane.dropout > 0:
                units = lane.sizes[1:-1]
                for layer, n, drawn in zip(factors, units, own.draw(times, [rows * n for n in units]), strict=True):
                    fill(layer[:times, row, :rows, :n].numpy(), drawn.reshape(times, rows, n), lane.dropout)
        return [layer[:times].to(vector.device) for layer in factors]

    def _evaluation(self, vector: Tensor, lanes: Sequence[Lane]) -> Evaluation:
        """Of the probe's rows and then the validation rows."""
        material = self._material
        X = torch.cat([material.X_probe, material.X_valid])
        return Evaluation(self.layout, vector, [lane.activation for lane in lanes], X)

    def _measured(self, lanes: Sequence[Lane], train_losses: Sequence[float], outputs: Tensor) -> list[LaneStep]:
        """What ``Alone.measure`` says of lanes with these outputs, of shape ``(k, outputs, n)``."""
        material, n_probe = self._material, len(self._material.X_probe)
        outputs = outputs[:, 0] if self._is_regression else outputs[:, : lanes[0].sizes[-1]]
        probe_losses = self._losses(outputs[..., :n_probe], material.y_probe)
        valid_losses = self._losses(outputs[..., n_probe:], material.y_valid)
        valid = outputs[..., n_probe:] if self._is_regression else outputs[..., n_probe:].mT.contiguous()
        measured = material.of_each(train_losses, probe_losses, valid_losses, valid)
        return [
            (lane.number, lane.trial.step, together(own, lane.seen)) for lane, own in zip(lanes, measured, strict=True)
        ]

    def _losses(self, outputs: Tensor, y: Tensor) -> list[float]:
        """The mean loss of each lane."""
        targets = y.expand(len(outputs), -1)
        of_row = functional.mse_loss if self._is_regression else functional.cross_entropy
        losses: list[float] = of_row(outputs, targets, reduction="none").mean(1).tolist()
        return losses


def _smoothing(lane: Lane) -> float:
    return float(lane.config.get("label_smoothing", 0.0))
