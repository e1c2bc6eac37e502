"""What it brings that a search listens to the curve doctor; writes ``results/doctor_in_search.json``.

    python benchmarks/doctor_in_search.py [SEEDS] [--recorded FOLDER]

Real trainings of dense nets on four of scikit-learn's tables, in a space whose learning rates are as wide as those of
a user who knows nothing. Each arm (off, stop, advise, listen) searches with the same seeds and the same number of
epochs, so seeds are pairs; the best validation loss after a third and after all of them is what counts. ``--recorded``
adds how often early stopping was right on recorded trainings of other people: folders of ``curves.load`` files.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import platform
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

import ayar
from ayar.curves.stopping import diverges
from ayar.records import Curve, Measurement

TASKS = ("wine", "breast_cancer", "iris", "diabetes")
SEARCHERS = ("auto", "random")
ARMS = ("off", "stop", "advise", "listen")
HORIZON = 40
BUDGETS = (200, 600)  # epochs: 5 and 15 whole trainings
FLOOR = 0.01  # added to losses before they are compared: below it, one as good as another

SPACE = ayar.Space(
    learning_rate=ayar.Float(1e-5, 30.0, log=True),
    optimizer=ayar.Choice("sgd", "momentum", "adam"),
    hidden_layers=ayar.Int(1, 3),
    hidden_units=ayar.PerLayer(ayar.Int(8, 128, log=True), layers="hidden_layers"),
    activation=ayar.Choice("relu", "tanh"),
    batch_size=ayar.Choice(16, 32, 64, 128, ordered=True),
    weight_decay=ayar.Float(1e-6, 1e-1, log=True),
    dropout=ayar.Float(0.0, 0.6),
    iterations=HORIZON,
)


def searched(task: str, searcher: str, arm: str, seed: int) -> dict[str, Any]:
    """One search: the best loss at each budget, and what the doctor did."""
    recipe = ayar.deep_net(ayar.load_task(task, seed=seed).data)
    study = ayar.Study(space=SPACE, minimize="valid_loss", searcher=searcher, seed=seed)
    best = []
    for steps in BUDGETS:
        study.tune(recipe, steps=steps, workers=0, confirm=0, lanes="off", doctor=arm, progress=False)
        best.append(study.recommend().loss)
    stopped = [t for t in study.trials() if t.ended and not t.diverged and t.curve.last_step < HORIZON]
    return {"best": best, "trials": len(study.trials()), "stopped": len(stopped)}


def compared(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """By searcher and arm: how the best loss stands to that of ``off``, in pairs of the same task and seed."""
    found: dict[str, Any] = {}
    for searcher in SEARCHERS:
        for arm in ARMS[1:]:
            ratios = defaultdict(list)
            for task in TASKS:
                at = {(r["arm"], r["seed"]): r for r in rows if (r["task"], r["searcher"]) == (task, searcher)}
                for (kind, seed), row in at.items():
                    if kind == arm and ("off", seed) in at:
                        for budget, ours, theirs in zip(BUDGETS, row["best"], at["off", seed]["best"], strict=True):
                            ratios[budget].append(math.log((ours + FLOOR) / (theirs + FLOOR)))
            found[f"{searcher}, {arm}"] = {f"{budget} epochs": _summary(logs) for budget, logs in ratios.items()}
    return found


def _summary(logs: list[float]) -> dict[str, Any]:
    """Geometric mean of the ratios with a 95 % bootstrap interval; how often lower, equal and higher."""
    values, rng = np.array(logs), np.random.default_rng(0)
    means = values[rng.integers(len(values), size=(4000, len(values)))].mean(axis=1)
    low, high = np.exp(np.quantile(means, [0.025, 0.975]))
    signs = Counter(np.sign(np.where(np.abs(values) < 1e-9, 0, values)).tolist())
    return {
        "(loss + 0.01) over that of off": round(float(np.exp(values.mean())), 4),
        "95 % interval": [round(float(low), 4), round(float(high), 4)],
        "lower, equal, higher": [signs[-1.0], signs[0.0], signs[1.0]],
        "pairs": len(values),
    }


def recorded(folder: Path) -> dict[str, Any]:
    """How often early stopping speaks on recorded trainings, when, and how often it is wrong.

    Wrong: the trial's objective later had a new best, one that is among the best quarter (tenth) of all configurations.
    """
    total: Counter[str] = Counter()
    for train, objective, best in _recorded_runs(folder):
        rank = best.argsort().argsort() / len(best)
        for number in np.random.default_rng(0).permutation(len(train))[:300].tolist():
            places = np.unique(np.linspace(0, train.shape[1] - 1, min(train.shape[1], 101)).round().astype(int))
            measured: list[Measurement] = []
            total["trainings"] += 1
            total["points"] += len(places)
            for step, place in enumerate(places.tolist()):
                value = float(train[number, place])
                if not math.isfinite(value):
                    total["became infinite"] += 1
                    break
                measured.append(Measurement(step, value, metrics={"train_probe": value}))
                if diverges(Curve(tuple(measured)), horizon=len(places) - 1):
                    later = objective[number, place + 1 :].min(initial=math.inf)
                    wrong = later < objective[number, : place + 1].min()
                    total["stopped"] += 1
                    total["points saved"] += len(places) - 1 - step
                    total["stopped in the first fifth"] += step <= len(places) / 5
                    total["wrong, best quarter"] += bool(wrong and rank[number] < 0.25)
                    total["wrong, best tenth"] += bool(wrong and rank[number] < 0.1)
                    break
    return dict(total)


def _recorded_runs(folder: Path) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Of each recorded task with a training loss: that, the objective, and each configuration's best."""
    spec = importlib.util.spec_from_file_location("curves", folder / "curves.py")
    curves = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(curves)
    for path in sorted(folder.glob("*.npz")):
        task = curves.load(path)
        if "train_loss" in task.curves and task.n_budgets >= 50:
            repeat = 0 if task.curves["train_loss"].ndim == 3 else None
            train, objective = task.loss("train_loss", repeat), task.loss(None, repeat)
            objective = np.where(np.isfinite(objective), objective, objective[np.isfinite(objective)].max())
            yield train, objective, objective.min(axis=1)


def main() -> None:
    """Search with every arm, and write the result after each seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seeds", nargs="?", type=int, default=10)
    parser.add_argument("--recorded", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    result: dict[str, Any] = {"recorded trainings": recorded(args.recorded)} if args.recorded else {}
    rows: list[dict[str, Any]] = []
    path = Path(__file__).with_name("results") / "doctor_in_search.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    for seed in range(args.seeds):
        for task in TASKS:
            for searcher in SEARCHERS:
                rows += [
                    {"task": task, "searcher": searcher, "arm": arm, "seed": seed} | searched(task, searcher, arm, seed)
                    for arm in ARMS
                ]
            print(f"seed {seed}, {task}: done", file=sys.stderr, flush=True)
        result |= {
            "epochs": BUDGETS,
            "seeds": seed + 1,
            "tasks": TASKS,
            "compared": compared(rows),
            "versions": {name: version(name) for name in ("ayar", "torch", "numpy", "scikit-learn")},
            "machine": f"{platform.system()} {platform.machine()}, 1 thread",
            "runs": rows,
        }
        path.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
