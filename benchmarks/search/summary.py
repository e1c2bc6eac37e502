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


if __name__ == "__main__":
    everything = json.loads(Path(sys.argv[1]).read_text())
    for kind, title in ((False, "Final values only"), (True, "Curves")):
        if any(result["sliceable"] == kind for result in everything.values()):
            print(f"## {title}\n\n{report(everything, kind)}\n")
