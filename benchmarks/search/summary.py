"""The tables and pictures of ``results/search.md``: ``python benchmarks/search/summary.py FILE.json ... [--arms ...]``.

Results of several files are put together. Arms are compared on the tasks that all of them have, over the seeds that all
of them have there.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from plots import draw
from replay import CHECKPOINTS
from scipy.stats import rankdata

SHOWN = (1, 2, 5, 10, 20, 50, 100)
ASKED = (5, 10, 20)
USUAL_RUNS = 50.0  # what a search may spend, where its result does not say
OVERALL = 2  # full runs, from where on a search is compared with itself at every checkpoint
DRAWN = 2_000  # bootstrap samples
REDRAWN = 200
SUBSETS = 50  # of seeds, where one arm has more of them than another
SLOWER = 1 / 1.25


@dataclass(frozen=True)
class Runs:
    """Searches with one worker.

    Attributes:
        arms: Whose.
        family: Of each task.
        each: By arm and task, shape ``(seeds, checkpoints)``; NaN beyond what was spent.
        seeds: The fewest that a task has.
    """

    arms: list[str]
    family: dict[str, str]
    each: dict[tuple[str, str], np.ndarray]
    seeds: int

    @classmethod
    def of(cls, results: dict[str, Any], arms: Sequence[str], *, sliceable: bool) -> Runs:
        """Those of these arms; of all, where none are named."""
        found: dict[tuple[str, str], dict[str, np.ndarray]] = defaultdict(dict)
        family = {}
        for key, result in results.items():
            task, arm, seed = key.split("/")
            if (
                result["sliceable"] != sliceable
                or " x " in arm
                or arm.startswith("live ")
                or (arms and arm not in arms)
            ):
                continue
            beyond = result.get("full_runs", USUAL_RUNS) + 1e-9 < CHECKPOINTS
            found[arm, task][seed] = np.where(beyond, np.nan, result["regrets"])
            family[task] = result["family"]
        named = [arm for arm in arms or dict.fromkeys(arm for arm, _ in found) if any(arm == a for a, _ in found)]
        shared = {task: set.intersection(*(set(found.get((arm, task), {})) for arm in named)) for task in family}
        tasks = [task for task in family if shared[task]]
        each = {
            (arm, task): np.array([found[arm, task][seed] for seed in sorted(shared[task])])
            for arm in named
            for task in tasks
        }
        seeds = min((len(shared[task]) for task in tasks), default=0)
        return cls(named, {task: family[task] for task in tasks}, each, seeds)

    @cached_property
    def regrets(self) -> dict[tuple[str, str], np.ndarray]:
        """Means over seeds, by arm and task at each checkpoint."""
        return {key: regrets.mean(axis=0) for key, regrets in self.each.items()}

    @property
    def spent(self) -> float:
        """The budget that every search had, in full runs."""
        return min(float(CHECKPOINTS[~np.isnan(curve)][-1]) for curve in self.regrets.values())

    @property
    def families(self) -> dict[str, list[str]]:
        """The tasks of each."""
        inside = defaultdict(list)
        for task, name in self.family.items():
            inside[name].append(task)
        return dict(inside)

    def mean(self, arm: str, tasks: Sequence[str]) -> np.ndarray:
        """Regret over tasks at each checkpoint: the mean of the means of their families."""
        inside = defaultdict(list)
        for task in tasks:
            inside[self.family[task]].append(self.regrets[arm, task])
        return np.mean([np.mean(curves, axis=0) for curves in inside.values()], axis=0)


def report(runs: Runs) -> str:
    """Markdown: the mean of family means with mean ranks, then each family."""
    tasks, places = list(runs.family), [int(np.searchsorted(CHECKPOINTS, budget)) for budget in SHOWN]
    shown = [place for place in places if not all(np.isnan(runs.mean(arm, tasks)[place]) for arm in runs.arms)]
    head = [f"{CHECKPOINTS[place]:g}" for place in shown]
    ranks = np.array(
        [[rankdata([runs.regrets[arm, t][p] for arm in runs.arms], nan_policy="omit") for p in shown] for t in tasks]
    )
    drawn = np.random.default_rng(0).integers(len(tasks), size=(DRAWN, len(tasks)))
    spread = 1.96 * ranks[drawn].mean(axis=1).std(axis=0)
    lines = [
        f"{len(tasks)} tasks, {runs.seeds} seed{'s' * (runs.seeds > 1)}.",
        "",
        *_head("arm", [f"{b} (rank)" for b in head]),
    ]
    for number, arm in enumerate(runs.arms):
        means = runs.mean(arm, tasks)[shown]
        cells = [
            "-" if np.isnan(mean) else f"{mean:.3f} ({ranks[:, at, number].mean():.1f} ± {spread[at, number]:.1f})"
            for at, mean in enumerate(means)
        ]
        lines.append(_row(arm, cells))
    for name, members in runs.families.items():
        lines += ["", f"**{name}**, {len(members)} tasks.", "", *_head("arm", head)]
        for arm in runs.arms:
            lines.append(_row(arm, ["-" if np.isnan(x) else f"{x:.3f}" for x in runs.mean(arm, members)[shown]]))
    return "\n".join(lines)


def _head(first: str, names: Sequence[str]) -> list[str]:
    return [_row(first, names), "|" + " --- |" * (len(names) + 1)]


def _row(first: str, cells: Sequence[str]) -> str:
    return f"| {first} | " + " | ".join(cells) + " |"


def speed_up(runs: Runs, arm: str, against: str, task: str, budget: float) -> float:
    """How many times sooner ``arm`` reaches what ``against`` has at ``budget``."""
    return sooner(runs.regrets[arm, task], runs.regrets[against, task], budget)


def sooner(mine: np.ndarray, theirs: np.ndarray, budget: float) -> float:
    """How many times sooner one curve of regrets reaches what the other one has at ``budget``.

    Both are asked when they first get there. Who never does is counted at twice the last checkpoint of its budget.
    """
    goal = float(theirs[np.searchsorted(CHECKPOINTS, budget)])

    def first(regrets: np.ndarray) -> float:
        there = np.flatnonzero(regrets <= goal + 1e-9)
        return float(CHECKPOINTS[there[0]]) if len(there) else 2 * float(CHECKPOINTS[~np.isnan(regrets)][-1])

    return first(theirs) / first(mine)


def redrawn(runs: Runs, arm: str, against: str, budget: float) -> np.ndarray:
    """``speed_up`` by tasks, as other seeds might have had it, shape ``(tasks, draws)``: each arm's seeds redrawn.

    An arm against itself shows what luck alone does: two means over a few seeds, the one at its luckiest the goal.
    """
    rng = np.random.default_rng(0)

    def drawn(regrets: np.ndarray) -> np.ndarray:
        return regrets[rng.integers(len(regrets), size=(REDRAWN, len(regrets)))].mean(axis=1)

    each = [(drawn(runs.each[arm, task]), drawn(runs.each[against, task])) for task in runs.family]
    return np.array([[sooner(a, b, budget) for a, b in zip(*pair, strict=True)] for pair in each])


def beside_the_best(runs: Runs, ours: str, others: Sequence[str]) -> str:
    """Markdown: at 5, 10 and 20 full runs, how many times sooner ``ours`` has what the best of ``others`` has by then.

    The best has the least mean of family means at that budget. A copy is that one beside itself with other seeds.
    Slower beyond luck are the tasks on which 95 % of redrawn seeds say so.
    """
    tasks = list(runs.family)
    head = ["best other", "times sooner (a copy)", "95 % interval over tasks", "sooner on (a copy)"]
    head += ["slower than 1 / 1.25 on (a copy)", "beyond luck"]
    lines = _head("full runs", head)
    for budget in ASKED:
        place = int(np.searchsorted(CHECKPOINTS, budget))
        best = min(others, key=lambda arm, place=place: np.nan_to_num(runs.mean(arm, tasks)[place], nan=np.inf))
        if np.isnan(runs.mean(best, tasks)[place]):
            continue
        logs = np.log([speed_up(runs, ours, best, task, budget) for task in tasks])
        drawn = np.random.default_rng(0).choice(logs, (DRAWN, len(logs))).mean(axis=1)
        low, high = np.exp(np.percentile(drawn, [2.5, 97.5]))
        copy, luck = redrawn(runs, best, best, budget), redrawn(runs, ours, best, budget)
        cells = [
            best,
            f"{np.exp(logs.mean()):.2f} ({np.exp(np.log(copy).mean()):.2f})",
            f"{low:.2f} to {high:.2f}",
            f"{np.mean(logs > 0):.0%} ({np.mean(copy > 1):.0%})",
            f"{np.mean(logs < np.log(SLOWER)):.0%} ({np.mean(copy < SLOWER):.0%})",
            f"{np.mean(np.percentile(luck, 95, axis=1) < SLOWER):.0%}",
        ]
        lines.append(_row(str(budget), cells))
    return "\n".join(lines)


def losses(runs: Runs, ours: str, other: str) -> str:
    """Markdown: the tasks on which ours needs more than 1.25 times the other's units, over budgets, both ways.

    With the 90 % interval over redrawn seeds: what lies above 1.25 altogether is no luck.
    """
    budgets = CHECKPOINTS[(CHECKPOINTS >= OVERALL) & (runs.spent >= CHECKPOINTS)].tolist()

    def needs(mine: np.ndarray, theirs: np.ndarray) -> float:
        return float(np.exp(np.mean([_both_ways(mine, theirs, at) for at in budgets])))

    lines = _head("task", [f"units over those of {other}, from {OVERALL} to {budgets[-1]:g} (90 % over seeds)"])
    for task in runs.family:
        rng, mine, theirs = np.random.default_rng(0), runs.each[ours, task], runs.each[other, task]
        all_of_them = needs(mine.mean(axis=0), theirs.mean(axis=0))
        if all_of_them > 1 / SLOWER:
            drawn = [
                needs(*(rng.choice(each, len(each)).mean(axis=0) for each in (mine, theirs))) for _ in range(REDRAWN)
            ]
            low, high = np.percentile(drawn, [5, 95])
            lines.append(_row(task, [f"{all_of_them:.2f} ({low:.2f} to {high:.2f})"]))
    return "\n".join(lines)


def beside_itself(results: dict[str, Any], arms: Sequence[str], cold: str, *, sliceable: bool) -> str:
    """Markdown: the units that each arm needs, over those of ``cold``, at some budgets and over a range of them.

    Half of it is for what ``cold`` has there, half for what the arm has (a geometric mean): with one goal alone, a
    search beside another one of its own kind would seem slower, for the goal is where the other happened to be quick.
    Each arm comes with all of its seeds, as many at a time as the one with fewer has: means over fewer seeds look
    quicker. Intervals are over tasks, each of which has seeds of its own. The last row is what chance makes of it: half
    of the seeds of ``cold`` beside the other half.
    """
    each = {arm: Runs.of(results, [arm], sliceable=sliceable) for arm in [cold, *arms]}
    mine, spent = each[cold], min(runs.spent for runs in each.values())
    overall = CHECKPOINTS[(CHECKPOINTS >= OVERALL) & (spent >= CHECKPOINTS)].tolist()
    budgets = {f"at {budget}": [float(budget)] for budget in ASKED if budget <= spent}
    budgets[f"from {OVERALL} to {overall[-1]:g}"] = overall
    lines = _head("arm", ["tasks, seeds", *(f"units {name} (95 %)" for name in budgets)])
    curves = {task: mine.each[cold, task] for task in mine.family}
    rows = []
    for arm in arms:
        theirs = each[arm]
        if arm != cold:
            rows.append((arm, [(theirs.each[arm, task], curves[task]) for task in theirs.family if task in curves]))
    halves = [(regrets[1::2], regrets[::2]) for regrets in curves.values() if len(regrets) > 1]
    for name, pairs in [*rows, (f"{cold}, other seeds", halves)]:
        if pairs:
            cells = [_cell(np.array([_units(*pair, asked) for pair in pairs])) for asked in budgets.values()]
            lines.append(_row(name, [f"{len(pairs)}, {min(len(regrets) for regrets, _ in pairs)}", *cells]))
    return "\n".join(lines)


def _cell(logs: np.ndarray) -> str:
    """The geometric mean over tasks, and its bootstrap interval."""
    means = np.random.default_rng(0).choice(logs, (DRAWN, len(logs))).mean(axis=1)
    low, high = np.exp(np.percentile(means, [2.5, 97.5]))
    return f"{np.exp(logs.mean()):.2f} ({low:.2f} to {high:.2f})"


def _units(mine: np.ndarray, theirs: np.ndarray, budgets: Sequence[float]) -> float:
    """Logarithm of the units that one needs over those that the other needs, both with as many of their seeds."""
    rng, count = np.random.default_rng(0), min(len(mine), len(theirs))
    logs = []
    for _ in range(SUBSETS):
        a, b = (rng.permutation(curves)[:count].mean(axis=0) for curves in (mine, theirs))
        logs += [_both_ways(a, b, at) for at in budgets]
    return float(np.mean(logs))


def _both_ways(mine: np.ndarray, theirs: np.ndarray, budget: float) -> float:
    return float(np.log(sooner(theirs, mine, budget) / sooner(mine, theirs, budget)) / 2)


Searches = dict[str, dict[str, tuple[np.ndarray, np.ndarray]]]
"""Of one arm, by task and seed: regrets, and simulated seconds, at each checkpoint."""


def workers(results: dict[str, Any], ours: str, other: str, counts: tuple[int, ...] = (8, 64)) -> str:
    """Markdown: how many times sooner, in simulated seconds, than another search with as many workers, and than one.

    Regrets and seconds are means over the seeds that both have. Who never gets there counts at twice its last second.
    Few seeds favour whoever sets the goal, met when it was luckiest. So each sets the goal once, too ("both ways"):
    the mean of how many times sooner ours has theirs and how many times later they have ours; a copy would have 1.
    What a copy has one way is in the rows of the other search beside itself, one half of its seeds beside the others.
    """
    names = [f"at {b}, sooner than {other} (both ways, 95 %)" for b in ASKED]
    lines = _head("workers", [*names, "at 20, sooner than one worker (both ways, 95 %)", "tasks, seeds"])
    for live in ("", "live "):
        alone = _searches(results, live + ours)
        for count in counts:
            mine, theirs = (_searches(results, f"{live}{arm} x {count}") for arm in (ours, other))
            if not mine:
                continue
            cells = [_sooner_both_ways(mine, theirs, budget) for budget in ASKED]
            shared = [len(mine[task].keys() & theirs[task].keys()) for task in mine.keys() & theirs.keys()]
            size = f"{len(shared)}, {min(shared, default=0)}"
            lines.append(_row(f"{live}{count}", [*cells, _sooner_both_ways(mine, alone, 20), size]))
            halves = [{task: _half(seeds, odd) for task, seeds in theirs.items()} for odd in (0, 1)]
            cells = [_sooner_both_ways(*halves, budget) for budget in ASKED]
            size = f"{len(theirs)}, {min(len(_half(seeds, 1)) for seeds in theirs.values())}"
            lines.append(_row(f"{live}{count}, {other} beside itself", [*cells, "", size]))
    return "\n".join(lines)


def _searches(results: dict[str, Any], wanted: str) -> Searches:
    found: Searches = defaultdict(dict)
    for key, result in results.items():
        task, arm, seed = key.split("/")
        if arm == wanted and result["sliceable"]:
            found[task][seed] = np.array(result["regrets"]), np.array(result["simulated_s"])
    return dict(found)


def _half(seeds: dict[str, Any], odd: int) -> dict[str, Any]:
    """Every other seed, under a number that the other half has, too."""
    return {str(place // 2): seeds[seed] for place, seed in enumerate(sorted(seeds, key=int)) if place % 2 == odd}


def _sooner_both_ways(mine: Searches, theirs: Searches, budget: float) -> str:
    logs = np.log([_sooner(mine, theirs, budget), _sooner(theirs, mine, budget)])
    if not logs.size:
        return "-"
    both = (logs[0] - logs[1]) / 2
    low, high = np.quantile(np.random.default_rng(0).choice(both, (DRAWN, len(both))).mean(axis=1), (0.025, 0.975))
    return f"{np.exp(logs[0].mean()):.2f} ({np.exp(both.mean()):.2f}, {np.exp(low):.2f} to {np.exp(high):.2f})"


def _sooner(mine: Searches, theirs: Searches, budget: float) -> list[float]:
    """Of each task, how many times sooner one arm has what the other one has after a budget of units."""
    ratios, place = [], int(np.searchsorted(CHECKPOINTS, budget))
    for task in mine:
        seeds = sorted(mine[task].keys() & theirs.get(task, {}).keys())
        if not seeds:
            continue
        regret, took = np.mean([mine[task][seed] for seed in seeds], axis=0)
        other, theirs_took = np.mean([theirs[task][seed] for seed in seeds], axis=0)
        there, first = np.flatnonzero(regret <= other[place] + 1e-9), int((other <= other[place] + 1e-9).argmax())
        own = took[there[0]] if len(there) else 2 * took[-1]
        ratios.append(max(float(theirs_took[first]), 1e-9) / max(float(own), 1e-9))
    return ratios


def picture(runs: Runs, title: str, most: float) -> str:
    """SVG: regret over full runs, of all tasks together and of each family."""
    shown = (CHECKPOINTS >= 1) & (most >= CHECKPOINTS)

    def curves(tasks: Sequence[str]) -> dict[str, list[tuple[float, float]]]:
        found = {arm: runs.mean(arm, tasks)[shown] for arm in runs.arms}
        return {
            arm: [(x, y) for x, y in zip(CHECKPOINTS[shown].tolist(), values.tolist(), strict=True) if not np.isnan(y)]
            for arm, values in found.items()
        }

    panels = {f"{name} ({len(tasks)} tasks)": curves(tasks) for name, tasks in runs.families.items()}
    return draw(title, {f"mean over {len(panels)} families": curves(list(runs.family)), **panels})


def main() -> None:
    """Everything that the results allow to say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--arms", nargs="+", default=[], help="only these, in this order")
    parser.add_argument("--ours", default="racer")
    parser.add_argument(
        "--cold", action="store_true", help="compare our arms that know something with ours that does not"
    )
    parser.add_argument("--finals", action="store_true", help="tasks whose trainings cannot be sliced")
    parser.add_argument("--picture", type=Path, help="where to write the picture")
    parser.add_argument("--title", default="Regret of the recommended configuration")
    parser.add_argument("--until", type=float, default=20.0, help="full runs on the picture")
    asked = parser.parse_args()
    results: dict[str, Any] = {}
    for file in asked.files:
        results |= json.loads(file.read_text())
    runs = Runs.of(results, asked.arms, sliceable=not asked.finals)
    if runs.family:
        print(report(runs), "\n")
        others = [arm for arm in runs.arms if arm != asked.ours]
        if asked.ours in runs.arms and others:
            known = beside_itself(results, runs.arms, asked.ours, sliceable=not asked.finals) if asked.cold else ""
            print(known or beside_the_best(runs, asked.ours, others), "\n")
        if not asked.cold and {asked.ours, "halving"} <= set(runs.arms):
            print(losses(runs, asked.ours, "halving"), "\n")
        if asked.picture:
            asked.picture.write_text(picture(runs, asked.title, asked.until))
    if any(" x " in key for key in results):
        print(workers(results, asked.ours, "halving"), "\n")


if __name__ == "__main__":
    main()
