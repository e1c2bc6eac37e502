"""Train the labelled set, one file of curves for each workload: sweep first, then faults and sound runs with moves."""

from __future__ import annotations

import math
import time
from dataclasses import astuple
from pathlib import Path

import numpy as np
from configs import Config, Run, controls, faults, moves, sweep
from lanes import METRICS, Curves, groups, train
from workloads import TASKS, load

SEEDS = (1, 2, 3)

Book = dict[tuple[Config, int], Curves]
"""The curves of everything that was trained on one workload."""


def make(name: str, cache: Path, data: Path | None, seconds: float = math.inf) -> bool:
    """Train everything of one workload and keep it in ``cache``; whether it is all there.

    After ``seconds`` what was trained is kept, and the next call goes on from it.
    """
    start = time.perf_counter()
    work, part = load(name, data), cache / f"{name}.part.npz"
    book = read(part) if part.exists() else {}
    there = len(book)

    def trained(configs: list[Config]) -> bool:
        for wanted in groups([(c, seed) for c in dict.fromkeys(configs) for seed in SEEDS if (c, seed) not in book]):
            if time.perf_counter() - start > seconds:
                return False
            book.update(zip(wanted, train(work, wanted), strict=True))
        return True

    def all_trained() -> bool:
        if not trained([run.config for run in sweep()]):
            return False
        runs = plan(name, work.net.rectified, work.scalable, book)
        after = [config for run in runs for config in moves(run.config).values()]
        return trained([run.config for run in runs]) and trained(after)

    done = all_trained()
    if book:
        save(book, cache / f"{name}.npz" if done else part)
    if done:
        part.unlink(missing_ok=True)
    told = f"{name}: {len(book) - there} runs in {time.perf_counter() - start:.0f} s"
    print(told if done else f"{told}; {len(book)} so far: call again to go on", flush=True)
    return done


def plan(name: str, rectified: bool, scalable: bool, book: Book) -> list[Run]:
    """Faults of, and variants beside, the best configurations of the sweep."""
    best: dict[tuple[str, str], tuple[float, float]] = {}
    for run in sweep():
        pair = (run.config.optimizer, run.config.schedule)
        end = float(np.mean([final(book[run.config, seed]) for seed in SEEDS]))
        best[pair] = min(best.get(pair, (np.inf, 0.0)), (end, run.config.learning_rate))
    rates = {pair: rate for pair, (_, rate) in best.items()}
    task = TASKS[name]
    base = Config(task.optimizer, rates[task.optimizer, task.schedule], task.schedule)
    return faults(base, list(TASKS).index(name), scalable=scalable, rectified=rectified) + controls(base, rates)


def final(curves: Curves, metric: str = "valid_loss") -> float:
    """The loss a run ends with: the mean of the last tenth; that of the untrained net where it is higher or no number.

    A mean, because a loss that swings is as bad as its swings.
    """
    values = curves[metric].astype(float)
    end = float(values[-max(len(values) // 10, 1) :].mean())
    return min(end, float(values[0])) if np.isfinite(end) else float(values[0])


def save(book: Book, path: Path) -> None:
    """Compact: one row for each run, single precision, padded with NaN."""
    longest = max(len(c["steps"]) for c in book.values())

    def padded(name: str, fill: float, kind: type) -> np.ndarray:
        rows = np.full((len(book), longest), fill, dtype=kind)
        for row, curves in zip(rows, book.values(), strict=True):
            row[: len(curves[name])] = curves[name]
        return rows

    columns = {name: padded(name, np.nan, np.float32) for name in METRICS}
    configs = np.array([repr((*astuple(c), seed)) for c, seed in book])
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, configs=configs, steps=padded("steps", -1, np.int32), **columns)


def read(path: Path) -> Book:
    """What ``save`` wrote."""
    z = dict(np.load(path))
    book: Book = {}
    for i, text in enumerate(z["configs"]):
        *values, seed = eval(str(text), {"inf": np.inf})
        known = z["steps"][i] >= 0
        book[Config(*values), seed] = {name: z[name][i][known] for name in ("steps", *METRICS)}
    return book
