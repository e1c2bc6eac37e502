"""Train many configurations with many seeds as one computation, and record their curves.

Runs of one seed share initial weights, mini-batches and dropout's random numbers, so they differ by their
configuration alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import torch
from configs import SCHEDULES, Config
from torch import Tensor
from workloads import Workload

POINTS = 60
"""A curve has about so many points after the untrained net's, or one for each iteration where there are fewer."""

TOGETHER = 160
"""Lanes that are trained at once."""

METRICS = (
    "train_probe",
    "valid_loss",
    "gradient_norm",
    "gradient_norm_max",
    "gradient_ratio",
    "update_ratio",
    "dead_units",
)

Curves = dict[str, np.ndarray]
"""``"steps"`` and each of ``METRICS``, shape ``(points,)``; NaN where a metric was not measured."""


def train(work: Workload, wanted: Sequence[tuple[Config, int]]) -> list[Curves]:
    """The curves of configurations with seeds, in their order."""
    curves: dict[tuple[Config, int], Curves] = {}
    for chunk in groups(wanted):
        recorded = _Lanes(work, chunk).train()
        for lane, run in enumerate(chunk):
            curves[run] = {name: v if v.ndim == 1 else v[:, lane] for name, v in recorded.items()}
    return [curves[run] for run in wanted]


def groups(wanted: Sequence[tuple[Config, int]]) -> list[list[tuple[Config, int]]]:
    """What can be trained as one computation, piece by piece."""
    alike: dict[tuple[object, ...], list[tuple[Config, int]]] = defaultdict(list)
    for c, seed in wanted:
        alike[c.optimizer, c.iterations, c.batch_size, c.hidden_units, c.dropout > 0].append((c, seed))
    return [runs[start : start + TOGETHER] for runs in alike.values() for start in range(0, len(runs), TOGETHER)]


class _Lanes:
    """Lanes of one shape: the same optimiser, iterations, mini-batch and units."""

    def __init__(self, work: Workload, runs: Sequence[tuple[Config, int]]) -> None:
        configs = [c for c, _ in runs]
        self.work, self.first, self.n = work, configs[0], len(runs)
        seeds = sorted({seed for _, seed in runs})
        self.seed = torch.tensor([seeds.index(seed) for _, seed in runs])
        self.generators = [torch.Generator().manual_seed(1000 + seed) for seed in seeds]
        self.maskers = [torch.Generator().manual_seed(2000 + seed) for seed in seeds]
        self.rates = torch.tensor([_schedule(c) for c in configs])
        self.decay = torch.tensor([c.weight_decay for c in configs])[:, None]
        self.momentum = torch.tensor([c.momentum for c in configs])[:, None]
        self.clip = torch.tensor([c.clip for c in configs])
        self.scale = torch.tensor([c.input_scale for c in configs])
        self.dropout = torch.tensor([c.dropout for c in configs])[:, None, None]
        self.noise = torch.tensor([c.label_noise for c in configs])[:, None]
        self.rows = torch.tensor([c.rows or len(work.X) for c in configs])[:, None]
        shapes = work.net.shapes(self.first.hidden_units)
        parts = [[_initial(work, shapes, i, c, seed) for i in range(len(shapes))] for c, seed in runs]
        self.theta = torch.stack([torch.cat([p.flatten() for p in each]) for each in parts])
        sizes = [int(np.prod(s)) for s in shapes]
        self.tensors = [
            part.view(self.n, *shape).requires_grad_()
            for part, shape in zip(self.theta.split(sizes, dim=1), shapes, strict=True)
        ]
        self.hidden: list[Tensor] | None = None
        self.masks = False

    def train(self) -> Curves:
        """Curves of all lanes, ``(points, lanes)``."""
        iterations = self.first.iterations
        every = max(1, iterations // POINTS)
        m, v = torch.zeros_like(self.theta), torch.zeros_like(self.theta)
        power = torch.ones_like(self.momentum)
        largest = torch.zeros(self.n)
        table: list[dict[str, Tensor]] = [self._look(0, {})]
        for t in range(iterations):
            loss = self._batch_loss()
            g = torch.cat([part.flatten(1) for part in torch.autograd.grad(loss.sum(), self.tensors)], dim=1)
            with torch.no_grad():
                norm = g.norm(dim=1)
                largest = torch.maximum(largest, norm)
                g *= (self.clip / norm).clamp(max=1.0)[:, None]
                power = power * self.momentum
                if self.first.optimizer == "adam":
                    m.mul_(self.momentum).add_((1 - self.momentum) * g)
                    v.lerp_(g * g, 0.001)
                    update = m / (1 - power) / ((v / (1 - 0.999 ** (t + 1))).sqrt_() + 1e-8)
                else:
                    update = m.mul_(self.momentum).add_(g)
                change = self.rates[:, t, None] * (update + self.decay * self.theta)
                if (t + 1) % every == 0:
                    inside = {
                        "gradient_norm": norm,
                        "gradient_norm_max": largest,
                        "gradient_ratio": self._first_to_last(g),
                        "update_ratio": change.norm(dim=1) / self.theta.norm(dim=1),
                    }
                    self.theta -= change
                    table.append(self._look(t + 1, inside))
                    largest = torch.zeros(self.n)
                else:
                    self.theta -= change
        steps = np.array([float(row["steps"]) for row in table], dtype=np.int32)
        absent = torch.full((self.n,), torch.nan)
        return {"steps": steps} | {
            name: torch.stack([row.get(name, absent) for row in table]).numpy() for name in METRICS
        }

    def _batch_loss(self) -> Tensor:
        u = torch.stack([torch.rand(self.first.batch_size, generator=g) for g in self.generators])[self.seed]
        self.masks = self.first.dropout > 0
        return self._loss((u * self.rows).long(), self.work.X, self.work.y, self.work.other, self.work.luck)

    def _loss(self, rows: Tensor, X: Tensor, y: Tensor, other: Tensor, luck: Tensor) -> Tensor:
        """Mean loss of every lane over its ``rows``, ``(lanes, n)``."""
        x = X[rows]
        if self.work.scalable:
            x = x * self.scale.view(-1, *[1] * (x.ndim - 1))
        out = self.work.net.outputs(self.tensors, x, self._keep)
        if self.work.classes:
            labels = torch.where(luck[rows] < self.noise, other[rows], y[rows])
            picked = out.gather(2, labels[..., None])[..., 0]
            return (out.logsumexp(dim=2) - picked).mean(dim=1)
        target = y[rows] + 3 * self.noise * other[rows]
        return ((out[..., 0] - target) ** 2).mean(dim=1) / 2

    def _keep(self, h: Tensor) -> Tensor:
        if self.hidden is not None:
            self.hidden.append(h)
        if not self.masks:
            return h
        u = torch.stack([torch.rand(h.shape[1:], generator=g) for g in self.maskers])[self.seed]
        return h * (u >= self.dropout) / (1 - self.dropout)

    @torch.no_grad()
    def _look(self, step: int, inside: dict[str, Tensor]) -> dict[str, Tensor]:
        self.masks, work = False, self.work
        probe = torch.arange(work.probe)[None] % self.rows
        valid = torch.arange(len(work.X_valid)).expand(self.n, -1)
        looks = step * 8 % self.first.iterations == 0  # at a few places: units fall silent for long
        self.hidden = [] if looks else None
        seen = {
            "steps": torch.tensor(float(step)),
            "train_probe": self._loss(probe, work.X, work.y, work.other, work.luck),
        }
        if self.hidden is not None:
            low, high = zip(*(torch.aminmax(h, dim=1) for h in self.hidden), strict=True)
            a, b = torch.cat(low, dim=1), torch.cat(high, dim=1)
            seen["dead_units"] = (b - a <= 1e-6 * torch.maximum(a.abs(), b.abs())).float().mean(dim=1)
        self.hidden = None
        seen["valid_loss"] = self._loss(valid, work.X_valid, work.y_valid, work.other_valid, work.luck_valid)
        return seen | inside

    def _first_to_last(self, g: Tensor) -> Tensor:
        """As ``ayar.integrations.torch_signals`` defines it."""
        sizes = [t[0].numel() for t in self.tensors]
        parts = [p for p, t in zip(g.split(sizes, dim=1), self.tensors, strict=True) if t.ndim == 3]
        size = torch.stack([p.norm(dim=1) / p.shape[1] ** 0.5 for p in parts])
        third = max(len(parts) // 3, 1)
        return size[:third].median(dim=0).values / size[-third:].median(dim=0).values


def _schedule(c: Config) -> list[float]:
    return [c.learning_rate * SCHEDULES[c.schedule](t / c.iterations) for t in range(c.iterations)]


def _initial(work: Workload, shapes: list[tuple[int, ...]], place: int, c: Config, seed: int) -> Tensor:
    """He's initial weights, half of them before the outputs, 0.3 in tables; the last bias is 0."""
    shape = shapes[place]
    if len(shape) == 1:
        return torch.full(shape, c.first_biases if place < len(shapes) - 1 else 0.0)
    drawn = torch.randn(shape, generator=torch.Generator().manual_seed(17 * seed + 1009 * place + shape[1]))
    gain = 1.0 if place == len(shapes) - 2 or not work.net.rectified else 2.0
    return drawn * (c.first_weights * (0.3 if place < work.net.tables else (gain / shape[0]) ** 0.5))
