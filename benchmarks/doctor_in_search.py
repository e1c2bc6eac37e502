"""What it brings that a search listens to the curve doctor; writes ``results/doctor_in_search.json``.

    python benchmarks/doctor_in_search.py table CACHE [--only WORKLOAD ...]
    python benchmarks/doctor_in_search.py search CACHE [--seeds N] [--seconds S] [--recorded FOLDER]

``table`` trains every configuration of a grid once for small nets of ``benchmarks/doctor``, in learning rates as wide
as those of a user who knows nothing; a minute or two for each workload. ``search`` replays searches on these real
curves: each arm (off, stop, advise, listen) searches with the same seeds and as many steps, so seeds are pairs. The
regret of what each recommends is what counts: its validation loss above the best of the grid, as a share of what that
gains on an untrained net. ``--recorded`` adds how often early stopping was right on recorded trainings of other
people: folders of ``curves.load`` files. A search that was cut short by ``--seconds`` goes on with the next call.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import math
import platform
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).with_name("doctor")))

from configs import RATES, Config
from make import final, read, save

from ayar.curves.stopping import diverges
from ayar.records import Configuration, Curve, Measurement, Move, Trial
from ayar.search import Auto, Random
from ayar.search.advised import Doctor
from ayar.search.base import Problem, Proposal, Recommender, Searcher
from ayar.search.history import FACTS, History, column
from ayar.seeds import Purpose, trial_seed
from ayar.space import Choice, Space

WORKLOADS = ("rings", "friedman")
SEARCHERS: dict[str, Searcher] = {"auto": Auto(), "random": Random()}
ARMS = ("off", "stop", "advise", "listen")
BUDGETS = (3, 6, 12)
"""In whole trainings."""

RESULT = Path(__file__).with_name("results") / "doctor_in_search.json"

WHAT = "regret of searches on grids of real curves"

SPACE = Space(
    learning_rate=Choice(*RATES, ordered=True),
    optimizer=Choice("sgd", "adam"),
    schedule=Choice("constant", "cosine"),
    batch_size=Choice(8, 32, ordered=True),
    hidden_units=Choice(16, 32, ordered=True),
    dropout=Choice(0.0, 0.2, 0.6, ordered=True),
)


def every_configuration() -> list[Configuration]:
    """The grid that is trained: all of the space."""
    return [
        dict(zip(SPACE, values, strict=True)) for values in itertools.product(*(SPACE[name].choices for name in SPACE))
    ]


def train_table(name: str, cache: Path) -> None:
    """Train the grid of one workload."""
    import torch
    from lanes import groups, train
    from workloads import load

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    work, start = load(name, None), time.perf_counter()
    wanted = [(Config(**config), 1) for config in every_configuration()]
    book = {}
    for chunk in groups(wanted):
        book.update(zip(chunk, train(work, chunk), strict=True))
    save(book, cache / f"grid {name}.npz")
    print(f"{name}: {len(book)} runs in {time.perf_counter() - start:.0f} s", flush=True)


@dataclass(frozen=True)
class Table:
    """Every configuration's curve, and its regret at the end."""

    curves: dict[tuple[Any, ...], Curve]
    regrets: dict[tuple[Any, ...], float]
    horizon: int

    @staticmethod
    def of(path: Path) -> Table:
        """Read one; steps are numbered from 0, the untrained net, on."""
        book = {key: curves for (c, _), curves in read(path).items() for key in [tuple(getattr(c, n) for n in SPACE)]}
        ends = {key: final(curves) for key, curves in book.items()}
        best, start = min(ends.values()), float(np.median([c["valid_loss"][0] for c in book.values()]))
        return Table(
            {key: _curve(curves) for key, curves in book.items()},
            {key: (end - best) / (start - best) for key, end in ends.items()},
            max(len(curves["steps"]) for curves in book.values()) - 1,
        )


def _curve(curves: dict[str, np.ndarray]) -> Curve:
    """As a training would report it; nothing after a loss that is no number."""
    measured: list[Measurement] = []
    for step, (probe, valid) in enumerate(zip(curves["train_probe"], curves["valid_loss"], strict=True)):
        measured.append(
            Measurement(step, float(valid), metrics={"train_probe": float(probe), "valid_loss": float(valid)})
        )
        if not (math.isfinite(probe) and math.isfinite(valid)):
            break
    return Curve(tuple(measured))


def searched(table: Table, searcher: Searcher, doctor: Doctor, seed: int) -> dict[str, Any]:
    """One search: the regret at each budget, and what was stopped."""
    problem, history = Problem(SPACE, table.horizon, seed), History()
    arm, spent, regrets, stopped = doctor.beside(searcher), 0, [], 0
    while len(regrets) < len(BUDGETS):
        (proposal, *_) = arm.propose(problem, history, 1)
        trial, told = _advanced(problem, history, proposal, table, stops=doctor.stops)
        while len(regrets) < len(BUDGETS) and spent + told["steps"] > BUDGETS[len(regrets)] * table.horizon:
            regrets.append(_regret(problem, history, searcher, table))
        spent += told["steps"]
        stopped += told["saved"]
        history.put(trial)
    return {"regrets": regrets, "trials": len(history), "steps that stopping saved": stopped}


def _advanced(
    problem: Problem, history: History, proposal: Proposal, table: Table, *, stops: bool
) -> tuple[Trial, dict[str, int]]:
    """The trial after its slice; the steps that it took, and those that an early end saved it."""
    number = len(history) if proposal.trial is None else proposal.trial
    fresh = Trial(number, proposal.config, trial_seed(problem.seed, Purpose.SEARCH, number))
    trial = fresh if proposal.trial is None else history[number]
    move = Move(number, trial.config, trial.seed, trial.curve.last_step, proposal.stop_step)
    whole = table.curves[tuple(trial.config[name] for name in SPACE)]
    curve, saved = trial.curve, 0
    for measurement in whole.measurements[len(curve) : move.stop_step + 1]:
        curve = curve.extended([measurement])
        if stops and diverges(curve, problem.horizon):
            saved = move.stop_step - measurement.step
            break
    ended = saved > 0 or curve.last_step == whole.last_step
    taken = max(curve.last_step - max(move.start_step, 0), 1)
    return replace(trial, curve=curve, target_step=curve.last_step, ended=ended), {"steps": taken, "saved": saved}


def _regret(problem: Problem, history: History, searcher: Searcher, table: Table) -> float:
    """Of what is recommended; 1 before there is any trial."""
    if not len(history):
        return 1.0
    trial = searcher.recommend(problem, history) if isinstance(searcher, Recommender) else None
    trial = trial or history[int(column(history, FACTS)["loss"].argmin())]
    return table.regrets[tuple(trial.config[name] for name in SPACE)]


def compared(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """By searcher, arm and budget: the mean regret, and its difference from that of ``off`` in pairs."""
    found: dict[str, Any] = {}
    for searcher in SEARCHERS:
        known = {(r["workload"], r["seed"], r["arm"]): r for r in rows if r["searcher"] == searcher}
        whole = sorted({(w, s) for w, s, _ in known if all((w, s, arm) in known for arm in ARMS)})
        for arm in ARMS:
            ours, theirs = (np.array([known[(*pair, a)]["regrets"] for pair in whole]) for a in (arm, "off"))
            saved = sum(known[(*pair, arm)]["steps that stopping saved"] for pair in whole)
            found[f"{searcher}, {arm}"] = {
                "pairs": len(whole),
                "trials of a search": round(float(np.mean([known[(*pair, arm)]["trials"] for pair in whole])), 1),
                "steps saved": saved,
                **{
                    f"{budget} trainings": _summary(ours[:, place], theirs[:, place])
                    for place, budget in enumerate(BUDGETS)
                },
            }
    return found


def _summary(ours: np.ndarray, theirs: np.ndarray) -> dict[str, Any]:
    """Mean regret; its difference from ``theirs`` with a 95 % bootstrap interval; how often lower, equal and higher."""
    gaps, rng = ours - theirs, np.random.default_rng(0)
    means = gaps[rng.integers(len(gaps), size=(4000, len(gaps)))].mean(axis=1)
    signs = Counter(np.sign(np.where(np.abs(gaps) < 1e-9, 0, gaps)).tolist())
    return {
        "mean regret": round(float(ours.mean()), 4),
        "less off's": round(float(gaps.mean()), 4),
        "95 % interval": [round(float(x), 4) for x in np.quantile(means, [0.025, 0.975])],
        "lower, equal, higher": [signs[-1.0], signs[0.0], signs[1.0]],
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


def search_all(cache: Path, seeds: int, seconds: float, folder: Path | None) -> None:
    """Search with every arm, and write the result after each seed."""
    known: dict[str, Any] = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    result: dict[str, Any] = {"recorded trainings": recorded(folder) if folder else known.get("recorded trainings", {})}
    rows: list[dict[str, Any]] = known.get("runs", []) if known.get("what") == WHAT else []
    there = {(r["workload"], r["searcher"], r["arm"], r["seed"]) for r in rows}
    tables = {name: Table.of(cache / f"grid {name}.npz") for name in WORKLOADS if (cache / f"grid {name}.npz").exists()}
    start = time.perf_counter()
    for seed, (name, table), searcher in itertools.product(range(seeds), tables.items(), SEARCHERS):
        if time.perf_counter() - start > seconds:
            break
        for arm in ARMS:
            if (name, searcher, arm, seed) not in there:
                key = {"workload": name, "searcher": searcher, "arm": arm, "seed": seed}
                rows.append(key | searched(table, SEARCHERS[searcher], Doctor(arm), seed))
    result |= {
        "what": WHAT,
        "configurations": len(every_configuration()),
        "compared": compared(rows),
        "versions": {name: version(name) for name in ("ayar", "torch", "numpy", "scikit-learn")},
        "machine": f"{platform.system()} {platform.machine()}, 1 thread",
        "runs": rows,
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")


def main() -> None:
    """Do what was asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("table", "search"))
    parser.add_argument("cache", type=Path, help="folder for the grids")
    parser.add_argument("--only", nargs="+", default=list(WORKLOADS), metavar="WORKLOAD")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=math.inf)
    parser.add_argument("--recorded", type=Path)
    asked = parser.parse_args()
    if asked.what == "table":
        for name in asked.only:
            if not (asked.cache / f"grid {name}.npz").exists():
                train_table(name, asked.cache)
    else:
        search_all(asked.cache, asked.seeds, asked.seconds, asked.recorded)


if __name__ == "__main__":
    main()
