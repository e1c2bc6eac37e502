"""Fit the thresholds, one at a time and again, on all workloads but one at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from labels import Labelled, siblings
from scores import SOUND, Said, alarms, sides, top

from ayar.curves.reading import Reading, read
from ayar.curves.thresholds import Thresholds
from ayar.curves.verdict import judge

FACTORS = (0.7, 1.4)
"""What each threshold is multiplied by to see whether the verdicts improve."""

TELLING = 0.003
"""By less than this nothing is moved: a threshold fitted to the last run does worse on the next workload."""

NAMES = (
    "rise",
    "swings",
    "rise_settled",
    "swings_settled",
    "still",
    "smooth",
    "gaining",
    "late",
    "late_annealed",
    "late_beaten",
    "smooth_beaten",
    "deficit",
    "more",
    "gap_learned",
    "valid_rise",
    "noise",
)
"""Thresholds that are fitted; the others follow from what sound runs never show, or are conventions."""


@dataclass
class Fitter:
    """Runs by workload, read once; scores are kept, because the folds share most of their way.

    Attributes:
        alone: A reading of every run by itself.
        beside: The same beside ten siblings.
    """

    runs: dict[str, list[Labelled]]
    alone: dict[str, list[Reading]]
    beside: dict[str, list[Reading]]
    known: dict[tuple[str, Thresholds], float] = field(default_factory=dict)

    @staticmethod
    def of(runs: Sequence[Labelled]) -> Fitter:
        """Read every run, by itself and beside others."""
        by: dict[str, list[Labelled]] = {}
        for run in runs:
            by.setdefault(run.workload, []).append(run)
        alone = {n: [read(r.curve, (), None, r.late, r.classes) for r in group] for n, group in by.items()}
        beside = {
            n: [read(r.curve, s, None, r.late, r.classes) for r, s in zip(group, siblings(group), strict=True)]
            for n, group in by.items()
        }
        return Fitter(by, alone, beside)

    def score(self, name: str, thresholds: Thresholds) -> float:
        """What is to be made large on one workload."""
        key = (name, thresholds)
        if key not in self.known:
            each = [worth(self.runs[name], said(r[name], thresholds)) for r in (self.alone, self.beside)]
            self.known[key] = sum(each) / len(each)
        return self.known[key]

    def fit(self, names: Sequence[str], start: Thresholds, rounds: int = 1) -> Thresholds:
        """Coordinate search from ``start``."""
        best, score = start, self._mean(names, start)
        for _ in range(rounds):
            before = score
            for name in NAMES:
                value = getattr(best, name)
                for factor in FACTORS:
                    tried = replace(best, **{name: float(f"{value * factor:.3g}")})
                    if (found := self._mean(names, tried)) > score + TELLING:
                        best, score = tried, found
            if score == before:
                break
        return best

    def left_out(self, start: Thresholds) -> dict[str, Thresholds]:
        """For each workload the thresholds fitted to all the others."""
        return {name: self.fit([other for other in self.runs if other != name], start) for name in self.runs}

    def _mean(self, names: Sequence[str], thresholds: Thresholds) -> float:
        return float(np.mean([self.score(name, thresholds) for name in names]))


def said(readings: Sequence[Reading], thresholds: Thresholds) -> list[Said]:
    """Verdicts with these thresholds."""
    return [judge(replace(reading, thresholds=thresholds)) for reading in readings]


def worth(runs: Sequence[Labelled], said: Sequence[Said]) -> float:
    """Right directions, advice that helps, few alarms on sound runs; a wrong direction costs most."""
    found = sides(runs, said)
    raised = [name not in SOUND for name in alarms(runs, said)]
    total = max(int(found.table.sum()), 1)
    return (
        found.balanced_accuracy
        + 0.5 * float(np.mean(top(runs, said, 1) or [1]))
        + 0.5 * float(np.mean(top(runs, said, 3) or [1]))
        - 2 * float(np.mean(raised or [0]))
        - 10 * found.wrong / total
    )


def fold_scores(fitter: Fitter, folds: dict[str, Thresholds]) -> list[str]:
    """Every workload read with the thresholds of its own fold."""
    lines = ["| read | balanced accuracy | wrong | first move | one of three | flagged |"]
    lines += ["| --- | --- | --- | --- | --- | --- |"]
    for way, readings in (("beside ten runs", fitter.beside), ("by itself", fitter.alone)):
        runs = [run for name in folds for run in fitter.runs[name]]
        words = [verdicts for name, thresholds in folds.items() for verdicts in said(readings[name], thresholds)]
        found, raised = sides(runs, words), [name not in SOUND for name in alarms(runs, words)]
        lines.append(
            f"| {way} | {found.balanced_accuracy:.3f} | {found.wrong} | {np.mean(top(runs, words, 1)):.1%} |"
            f" {np.mean(top(runs, words, 3)):.1%} | {np.mean(raised):.1%} |"
        )
    return lines
