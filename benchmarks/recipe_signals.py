"""Measure what looking inside its nets costs a recipe, alone and in lanes; writes ``results/recipe_signals.json``.

Whole trainings of 50 epochs on scikit-learn's digits, with and without the looks, take turns, so that whatever else
the machine does falls on both alike. Counted is processor time.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import torch

import ayar
from ayar.nets import alone as alone_
from ayar.nets import groups
from ayar.run.kernels import widest_kernels

REPEATS, EPOCHS, LANES = 7, 50, 8
NETS = {"64-32-10, batches of 128": ([32], 128), "64-64-64-10": ([64, 64], 64), "64-256-256-10": ([256, 256], 64)}


def alone(recipe: ayar.Recipe, config: dict[str, object]) -> None:
    """One training."""
    for _ in recipe.train(config, seed=0):
        pass


def in_lanes(recipe: ayar.Recipe, config: dict[str, object]) -> None:
    """Several trainings as one computation."""
    lanes = recipe.lanes(LANES)
    for seed in range(LANES):
        lanes.load(seed, config, seed, None, 0, EPOCHS)
    while lanes.advance():
        pass


def cost(train: Callable[..., None], recipe: ayar.Recipe, config: dict[str, object]) -> dict[str, float]:
    """Seconds of one training without looks, and by how many percent the looks lengthen it, in pairs."""
    pairs = []
    for _ in range(REPEATS + 1):
        times = []
        for looks in (False, True):
            looked_at = _really if looks else lambda *_: False
            with (
                mock.patch.object(alone_, "is_looked_at", looked_at),
                mock.patch.object(groups, "is_looked_at", looked_at),
            ):
                began = time.process_time()
                train(recipe, config)
                times.append(time.process_time() - began)
        pairs.append(times)
    without, more = zip(*((plain, looked / plain - 1) for plain, looked in pairs[1:]), strict=True)
    return {
        "seconds without": round(statistics.median(without), 3),
        "percent more, median of pairs": round(100 * statistics.median(more), 2),
        "percent more, lower and upper quartile": [round(100 * q, 2) for q in statistics.quantiles(more, n=4)[::2]],
    }


_really = alone_.is_looked_at


def main() -> None:
    """Measure three nets, alone and in lanes, and write the result."""
    kernels = widest_kernels()
    if not kernels.keys() <= os.environ.keys():  # NumPy has read them by now, so begin again
        os.execve(sys.executable, [sys.executable, *sys.argv], {**kernels, **os.environ})
    torch.set_num_threads(1)
    recipe = ayar.deep_net(ayar.load_task("digits").data)
    found = {}
    for name, (units, batch) in NETS.items():
        config = {"hidden_layers": len(units), "hidden_units": units, "iterations": EPOCHS, "batch_size": batch}
        found[f"{name}, alone"] = cost(alone, recipe, config)
        found[f"{name}, {LANES} lanes"] = cost(in_lanes, recipe, config)
    result = {
        "epochs, pairs": [EPOCHS, REPEATS],
        "nets": found,
        "machine": f"{platform.machine()}, 1 thread; Python {platform.python_version()}, torch {torch.__version__}",
    }
    text = json.dumps(result, indent=2)
    Path(__file__).with_name("results").joinpath("recipe_signals.json").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
