"""How much other tables say about a table, before any search: ``python benchmarks/search/carry_over.py TABLES``.

For each family, a mean over its tasks: the rank correlation between what other tables lead to expect and what is true;
the regret of the best of the first four configurations of their portfolio; and that of the best of four random ones.
"""

from __future__ import annotations

import sys
import warnings
from collections import defaultdict
from pathlib import Path

import numpy as np
from lore import with_sources
from scipy.stats import spearmanr
from tables import Replay, load

from ayar.search.sources import Memory

TRIED = 4


def main() -> None:
    """Print one Markdown row for each family."""
    warnings.simplefilter("ignore")  # an expectation that is the same everywhere has no correlation
    found: dict[str, list[list[float]]] = defaultdict(list)
    for path in sorted(Path(sys.argv[1]).glob("*.npz")):
        table = load(path)
        if table.sliceable:
            found[table.family].append(_said(Replay(table, 0)))
    print(
        "| family | tasks | others: correlation | their best of 4 | its own: correlation | their best of 4 | random |"
    )
    print("|" + " --- |" * 7)
    for family, rows in found.items():
        print(f"| {family} | {len(rows)} | " + " | ".join(f"{x:.2f}" for x in np.nanmean(rows, axis=0)) + " |")


def _said(replay: Replay) -> list[float]:
    row: list[float] = []
    space = replay.problem.space
    points, candidates = space.candidate_points, space.candidates
    assert points is not None
    assert candidates is not None
    truth = np.array([replay.table.final[replay.row(config)] for config in candidates])
    regret = np.array([replay.regret[replay.row(config)] for config in candidates])
    for same in (False, True):
        memory = Memory.of(space, with_sources(replay, same_family=same).sources)
        if memory is None:
            row += [np.nan, np.nan]
            continue
        best = min(float(replay.regret[replay.row(config)]) for config in memory.portfolio[:TRIED])
        row += [float(spearmanr(memory.expects(points), truth).statistic), best]
    rng = np.random.default_rng(0)
    return [*row, float(np.mean([regret[rng.permutation(len(regret))[:TRIED]].min() for _ in range(500)]))]


if __name__ == "__main__":
    main()
