"""What is true of each run, found by intervention: the moves that help, and the side its learning rate is on."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from configs import SCHEDULES, Config, Run, moves, sweep
from make import SEEDS, Book, final, plan, read
from workloads import TASKS

from ayar.records import Curve, Measurement

SHARE = 0.05
"""A difference counts from this share of what the best run of the workload gains on the untrained net."""

ERRORS = 2.0
"""... and from so many standard errors of the mean over paired seeds."""

MEND = "mend"
"""The move back to the sound configuration."""


@dataclass(frozen=True)
class Labelled:
    """One run of the set with what is true of it.

    Attributes:
        helps: The moves after which its configuration ends lower on validation rows; ``MEND`` among them.
        tried: All that were tried.
        sides: ``"low"``, ``"ok"`` or ``"high"`` for the learning rate, by the loss on training rows and by that on
            validation rows; empty but for sweeps.
        excess: What its training loss ends above that of the best rate of its sweep, as a share of the span.
        above: What its validation loss ends above the best of the workload, as a share of the span.
        halved: What half the iterations lose, as a share of the span; NaN for sweeps.
        late: Learning rate at the end over its peak.
    """

    workload: str
    run: Run
    seed: int
    curve: Curve
    classes: int | None
    helps: frozenset[str]
    tried: frozenset[str]
    sides: tuple[str, str]
    excess: float
    above: float
    halved: float
    late: float

    @property
    def side(self) -> str:
        """The side on which both losses agree; empty where they do not."""
        return self.sides[0] if self.sides[0] == self.sides[1] else ""


def labelled(name: str, cache: Path) -> list[Labelled]:
    """Every run of a workload that was put into the set for its own sake."""
    book = read(cache / f"{name}.npz")
    start, best = _span(book)
    span = start - best
    found = []
    for run in _planned(name, book):
        after = moves(run.config)
        if run.role == "fault":
            after = after | {MEND: _base(book, name)}
        helps = {move for move, config in after.items() if _gains(book, run.config, config, span)}
        for seed in SEEDS:
            end = final(book[run.config, seed])
            halved = (final(book[after["iterations / 2"], seed]) - end) / span
            found.append(
                _one(
                    name, run, seed, book, frozenset(helps), frozenset(after), above=(end - best) / span, halved=halved
                )
            )
    for pair in ("sgd constant", "sgd cosine", "adam constant", "adam cosine"):
        runs = [run for run in sweep() if run.kind == pair]
        found += _sides(name, runs, book)
    return found


def _planned(name: str, book: Book) -> list[Run]:
    """What was trained for its own sake; whether the net's units can fall silent shows in what was trained."""
    plans = [plan(name, rectified, TASKS[name].scalable, book) for rectified in (True, False)]
    return next(runs for runs in plans if all((run.config, SEEDS[0]) in book for run in runs))


def _base(book: Book, name: str) -> Config:
    task = TASKS[name]
    pair = [r.config for r in sweep() if r.kind == f"{task.optimizer} {task.schedule}"]
    return min(pair, key=lambda c: np.mean([final(book[c, seed]) for seed in SEEDS]))


def _span(book: Book) -> tuple[float, float]:
    """The validation loss of the untrained net, and the one that the best configuration of the workload ends with."""
    plain = [(c, seed) for c, seed in book if c.input_scale == 1 and c.first_weights == 1 and c.label_noise == 0]
    start = float(np.mean([book[key]["valid_loss"][0] for key in plain]))
    ends: dict[Config, list[float]] = {}
    for c, seed in plain:
        ends.setdefault(c, []).append(final(book[c, seed]))
    return start, min(float(np.mean(e)) for e in ends.values())


def _gains(book: Book, before: Config, after: Config, span: float) -> bool:
    gain = np.array([final(book[before, seed]) - final(book[after, seed]) for seed in SEEDS])
    return bool(gain.mean() > max(SHARE * span, ERRORS * gain.std(ddof=1) / len(gain) ** 0.5))


def _sides(name: str, runs: list[Run], book: Book) -> list[Labelled]:
    """By comparison of a rate with its neighbours: within ``SHARE`` of the best one's end it is ok."""
    excess, sides = {}, {}
    for metric in ("train_probe", "valid_loss"):
        ends = np.array([np.mean([final(book[r.config, seed], metric) for seed in SEEDS]) for r in runs])
        start = np.mean([book[r.config, seed][metric][0] for r in runs for seed in SEEDS])
        best = int(ends.argmin())
        excess[metric] = (ends - ends[best]) / (start - ends[best])
        sides[metric] = [
            "ok" if over <= SHARE else "low" if i < best else "high" for i, over in enumerate(excess[metric])
        ]
    both = list(zip(sides["train_probe"], sides["valid_loss"], strict=True))
    return [
        _one(name, run, seed, book, frozenset(), frozenset(), both[i], float(excess["train_probe"][i]))
        for i, run in enumerate(runs)
        for seed in SEEDS
    ]


def _one(
    name: str,
    run: Run,
    seed: int,
    book: Book,
    helps: frozenset[str],
    tried: frozenset[str],
    sides: tuple[str, str] = ("", ""),
    excess: float = 0.0,
    above: float = 0.0,
    halved: float = math.nan,
) -> Labelled:
    c = run.config
    rates = [SCHEDULES[c.schedule](t / c.iterations) for t in range(c.iterations)]
    late = rates[-1] / max(rates)
    return Labelled(
        name,
        run,
        seed,
        curve_of(book[c, seed]),
        TASKS[name].classes or None,
        helps,
        tried,
        sides,
        excess,
        above,
        halved,
        late,
    )


def curve_of(curves: dict[str, np.ndarray]) -> Curve:
    """As a training would report it: the validation loss is what it is judged by; nothing after a loss of NaN."""
    names = [n for n in curves if n != "steps"]
    measured = []
    for i, step in enumerate(curves["steps"]):
        metrics = {n: float(curves[n][i]) for n in names if np.isfinite(curves[n][i])}
        metrics |= {n: float(curves[n][i]) for n in ("train_probe", "valid_loss")}
        measured.append(Measurement(int(step), metrics["valid_loss"], metrics=metrics))
        if not np.isfinite([metrics["train_probe"], metrics["valid_loss"]]).all():
            break
    return Curve(tuple(measured))


def siblings(runs: Sequence[Labelled], n: int = 10) -> list[list[Curve]]:
    """For each run, the curves of ``n`` others of its workload and seed, drawn at random: a young study."""
    groups: dict[tuple[str, int], list[Labelled]] = {}
    for run in runs:
        groups.setdefault((run.workload, run.seed), []).append(run)
    beside = []
    for i, run in enumerate(runs):
        drawn = random.Random(i).sample(groups[run.workload, run.seed], n + 1)
        beside.append([other.curve for other in drawn if other is not run][:n])
    return beside


def everything(names: Iterable[str], cache: Path) -> list[Labelled]:
    return [each for name in names for each in labelled(name, cache)]
