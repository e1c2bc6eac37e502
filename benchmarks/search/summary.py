"""The tables of ``results/search.md``: ``python benchmarks/search/summary.py search.json``."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from replay import CHECKPOINTS
from scipy.stats import rankdata

SHOWN = (1, 2, 5, 10, 20, 50, 100)
PLACES = np.searchsorted(CHECKPOINTS, SHOWN)


def report(results: dict[str, Any], sliceable: bool, against: str = "halving") -> str:
    """Markdown: the mean of family means with mean ranks, then each family beside one arm."""
    found, family = defaultdict(list), {}
    for key, result in results.items():
        if result["sliceable"] == sliceable:
            task, arm, _ = key.split("/")
            found[arm, task].append(result["regrets"])
            family[task] = result["family"]
    curves = {key: np.mean(regrets, axis=0) for key, regrets in found.items()}
    arms = list(dict.fromkeys(arm for arm, _ in curves))
    tasks = [task for task in family if all((arm, task) in curves for arm in arms)]
    inside = {name: [task for task in tasks if family[task] == name] for name in dict.fromkeys(family.values())}
    means = {
        (arm, name): np.mean([curves[arm, task][PLACES] for task in members], axis=0)
        for name, members in inside.items()
        if members
        for arm in arms
    }
    ranks = np.mean([rankdata([curves[arm, t][PLACES] for arm in arms], axis=0) for t in tasks], axis=0)
    lines = _table("| ".join(f"{budget} (rank) " for budget in SHOWN))
    for arm, rank in zip(arms, ranks, strict=True):
        overall = np.mean([mean for (a, _), mean in means.items() if a == arm], axis=0)
        lines.append(
            f"| {arm} | " + " | ".join(f"{x:.3f} ({r:.1f})" for x, r in zip(overall, rank, strict=True)) + " |"
        )
    for name, members in inside.items():
        lines += [
            "",
            f"**{name}**, {len(members)} tasks. Last columns: units of {against} at 10 and 20 over its own.",
            "",
        ]
        lines += _table("| ".join(f"{budget} " for budget in (*SHOWN, "at 10", "at 20")))
        for arm in arms if members else []:
            ratios = [speed_up(curves, arm, against, members, budget) for budget in (10, 20)]
            lines.append(f"| {arm} | " + " | ".join(f"{x:.3f}" for x in means[arm, name]))
            lines[-1] += "".join(f" | {ratio:.2f}" for ratio in ratios) + " |"
    return "\n".join(lines)


def _table(head: str) -> list[str]:
    return [f"| arm | {head}|", "|" + " --- |" * (head.count("|") + 2)]


def speed_up(
    curves: dict[tuple[str, str], np.ndarray], arm: str, against: str, tasks: list[str], budget: float
) -> float:
    """How many times sooner ``arm`` reaches what ``against`` has at ``budget``; the geometric mean over tasks.

    Both are asked when they first get there. Who never does is counted at twice the last checkpoint.
    """

    def first(who: str, task: str, goal: float) -> float:
        there = np.flatnonzero(curves[who, task] <= goal + 1e-9)
        return float(CHECKPOINTS[there[0]]) if len(there) else 2 * float(CHECKPOINTS[-1])

    place = int(np.searchsorted(CHECKPOINTS, budget))
    goals = {task: float(curves[against, task][place]) for task in tasks}
    ratios = [first(against, task, goal) / first(arm, task, goal) for task, goal in goals.items()]
    return float(np.exp(np.mean(np.log(ratios))))


def beside_the_best(results: dict[str, Any], ours: str, others: list[str]) -> str:
    """Markdown: at 5, 10 and 20 full runs, how many times sooner ``ours`` has what the best of ``others`` has by then.

    The best has the least mean of family means at that budget. Whoever never gets there counts as in ``speed_up``.
    """
    found, family = defaultdict(list), {}
    for key, result in results.items():
        task, arm, _ = key.split("/")
        if result["sliceable"] and arm in (ours, *others):
            found[arm, task].append(result["regrets"])
            family[task] = result["family"]
    curves = {key: np.mean(regrets, axis=0) for key, regrets in found.items()}
    tasks = [task for task in family if all((arm, task) in curves for arm in (ours, *others))]
    lines = [
        "| full runs | best other | units, ratio | 95 % interval over tasks | sooner on | slower than 1 / 1.25 on |"
    ]
    lines.append("| --- " * 6 + "|")
    for budget in (5, 10, 20):
        place = int(np.searchsorted(CHECKPOINTS, budget))

        def overall(arm: str, place: int = place) -> float:
            inside = defaultdict(list)
            for task in tasks:
                inside[family[task]].append(curves[arm, task][place])
            return float(np.mean([np.mean(regrets) for regrets in inside.values()]))

        best = min(others, key=overall)
        logs = np.log([speed_up(curves, ours, best, [task], budget) for task in tasks])
        drawn = np.random.default_rng(0).choice(logs, (2000, len(logs))).mean(axis=1)
        low, high = np.exp(np.percentile(drawn, [2.5, 97.5]))
        sooner, slower = np.mean(logs > 0), np.mean(logs < -np.log(1.25))
        lines.append(
            f"| {budget} | {best} | {np.exp(logs.mean()):.2f} | {low:.2f} to {high:.2f} | {sooner:.0%} | {slower:.0%} |"
        )
    return "\n".join(lines)


def workers(results: dict[str, Any], ours: str, other: str, counts: tuple[int, ...] = (8, 64)) -> str:
    """Markdown: simulated seconds to what ``other`` has with as many workers after 5, 10 and 20 full runs, compared."""
    runs = defaultdict(list)
    for key, result in results.items():
        task, arm, seed = key.split("/")
        runs[arm].append((task, seed, result["regrets"], result.get("simulated_s")))
    lines = [
        "| workers | " + " | ".join(f"at {budget}, times sooner" for budget in (5, 10, 20)) + " |",
        "| --- " * 4 + "|",
    ]
    for count in counts:
        cells = []
        for budget in (5, 10, 20):
            place = int(np.searchsorted(CHECKPOINTS, budget))
            ratios = []
            mine = {(task, seed): (np.array(r), np.array(s)) for task, seed, r, s in runs[f"{ours} x {count}"]}
            for task, seed, regrets, seconds in runs[f"{other} x {count}"]:
                if (task, seed) not in mine:
                    continue
                regret, took = mine[task, seed]
                there = np.flatnonzero(regret <= regrets[place] + 1e-9)
                first = np.flatnonzero(np.array(regrets) <= regrets[place] + 1e-9)[0]
                own = took[there[0]] if len(there) else 2 * took[-1]
                ratios.append(np.log(max(seconds[first], 1e-9) / max(own, 1e-9)))
            cells.append(f"{np.exp(np.mean(ratios)):.2f}" if ratios else "-")
        lines.append(f"| {count} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Everything that the results allow to say."""
    everything = json.loads(Path(sys.argv[1]).read_text())
    alone = {key: result for key, result in everything.items() if " x " not in key}
    for kind, title in ((False, "Final values only"), (True, "Curves")):
        if any(result["sliceable"] == kind for result in alone.values()):
            measured = [key.split("/")[1] for key, result in alone.items() if result["sliceable"] == kind]
            against = "halving" if "halving" in measured else measured[-1]
            print(f"## {title}\n\n{report(alone, kind, against)}\n")
    arms = {key.split("/")[1] for key, result in alone.items() if result["sliceable"]}
    if "racer" in arms and len(arms) > 1:
        print(
            f"## `racer` beside the best other search\n\n{beside_the_best(alone, 'racer', sorted(arms - {'racer'}))}\n"
        )
    if len(alone) < len(everything):
        print(f"## Many workers\n\n{workers(everything, 'racer', 'halving')}\n")


if __name__ == "__main__":
    main()
