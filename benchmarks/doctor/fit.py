"""Fit the thresholds, one after another, on all workloads but one, for each; count an order of advice likewise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from labels import Labelled, siblings
from orders import counted
from scores import SOUND, Said, alarms, sides, top

from ayar.curves.reading import Reading, read
from ayar.curves.thresholds import FITTED, Thresholds
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
    "update_fair",
    "gaining",
    "late",
    "late_annealed",
    "late_beaten",
    "smooth_beaten",
    "deficit",
    "far",
    "reach",
    "path",
    "path_wild",
    "stride_short",
    "stride_long",
    "level",
    "early",
    "calm_enough",
    "more",
    "more_unbeaten",
    "gap_learned",
    "valid_rise",
    "noise",
    "tremble",
)
"""Thresholds that are fitted; the others follow from what sound runs never show, or are conventions."""


@dataclass
class Fitter:
    """Runs by workload, read once beside ten siblings; scores are kept, because the folds share most of their way."""

    runs: dict[str, list[Labelled]]
    readings: dict[str, list[Reading]]
    known: dict[tuple[str, Thresholds], float] = field(default_factory=dict)

    @staticmethod
    def of(runs: Sequence[Labelled]) -> Fitter:
        """Read every run beside others."""
        by: dict[str, list[Labelled]] = {}
        readings: dict[str, list[Reading]] = {}
        for run, beside in zip(runs, siblings(runs), strict=True):
            by.setdefault(run.workload, []).append(run)
            readings.setdefault(run.workload, []).append(read(run.curve, beside, None, run.late, run.classes))
        return Fitter(by, readings)

    def score(self, name: str, thresholds: Thresholds) -> float:
        """What is to be made large on one workload."""
        key = (name, thresholds)
        if key not in self.known:
            self.known[key] = worth(self.runs[name], said(self.readings[name], thresholds))
        return self.known[key]

    def fit(self, names: Sequence[str], start: Thresholds) -> Thresholds:
        """One round of a coordinate search from ``start``."""
        best, score = start, self._mean(names, start)
        for name in NAMES:
            value = getattr(best, name)
            for factor in FACTORS:
                tried = replace(best, **{name: float(f"{value * factor:.3g}")})
                if (found := self._mean(names, tried)) > score + TELLING:
                    best, score = tried, found
        return best

    def left_out(self, start: Thresholds) -> dict[str, Thresholds]:
        """For each workload the thresholds fitted to all the others."""
        folds = {}
        for name in self.runs:
            folds[name] = self.fit([other for other in self.runs if other != name], start)
            print(f"without {name}: {len(self.known)} scores", flush=True)
        return folds

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
    """Every workload read with the thresholds of its own fold; and with an order of advice counted on the others."""
    runs = [run for name in folds for run in fitter.runs[name]]
    lines = ["| thresholds | balanced accuracy | wrong | first move | one of three | flagged |"]
    lines += ["| --- | --- | --- | --- | --- | --- |"]
    for way, chosen in (("committed", dict.fromkeys(folds, FITTED)), ("of the fold", folds)):
        words = [v for name, thresholds in chosen.items() for v in said(fitter.readings[name], thresholds)]
        found, raised = sides(runs, words), [name not in SOUND for name in alarms(runs, words)]
        start = f"| {way} | {found.balanced_accuracy:.3f} | {found.wrong} of {found.table.sum()} |"
        lines.append(
            f"{start} {np.mean(top(runs, words, 1)):.1%} | {np.mean(top(runs, words, 3)):.1%} | {np.mean(raised):.1%} |"
        )
        one, three = np.mean(counted(runs, words), axis=0)
        lines.append(f"| {way}, order of advice counted | | | {one:.1%} | {three:.1%} | |")
    return lines
