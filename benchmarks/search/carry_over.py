"""How much other tables say about a table, before any search: ``python benchmarks/search/carry_over.py TABLES``.

For each family, a mean over its tasks: the rank correlation between what other tables lead to expect and what is true;
the regret of the best of the first four configurations of their portfolio; and that of the best of four random ones.

With ``--oracle``, how far any choice among other families could get: the correlation of the one source that agrees with
the task best, the best of the first four of its portfolio, and the best of four of any source, all of which takes
knowing the answer; and the best of as many sets of four random ones, which is what luck alone makes of so many.
"""

from __future__ import annotations

import argparse
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
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tables", type=Path, help="folder of .npz files")
    parser.add_argument("--oracle", action="store_true", help="what the best of the other families' tables could give")
    parser.add_argument("--only", default="", help="part of a task's name")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")  # an expectation that is the same everywhere has no correlation
    found: dict[str, list[list[float]]] = defaultdict(list)
    for path in sorted(asked.tables.glob("*.npz")):
        table = load(path)
        if table.sliceable and asked.only in table.name:
            found[table.family].append((_oracle if asked.oracle else _said)(Replay(table, 0)))
    head = ["others: correlation", "their best of 4", "its own: correlation", "their best of 4", "random"]
    if asked.oracle:
        head = ["sources", "best source: correlation", "its best of 4", "any source's best of 4", "luck's"]
    print("| family | tasks | " + " | ".join(head) + " |")
    print("|" + " --- |" * 7)
    for family, rows in found.items():
        print(f"| {family} | {len(rows)} | " + " | ".join(f"{x:.2f}" for x in np.nanmean(rows, axis=0)) + " |")


def _said(replay: Replay) -> list[float]:
    row: list[float] = []
    points, truth, regret = _answer(replay)
    for same in (False, True):
        memory = Memory.of(replay.problem.space, with_sources(replay, same_family=same).sources)
        row += [np.nan, np.nan] if memory is None else _one(memory, replay, points, truth)
    rng = np.random.default_rng(0)
    return [*row, float(np.mean([regret[rng.permutation(len(regret))[:TRIED]].min() for _ in range(500)]))]


def _oracle(replay: Replay) -> list[float]:
    points, truth, regret = _answer(replay)
    sources = with_sources(replay, same_family=False).sources
    memories = [Memory.of(replay.problem.space, (source,)) for source in sources]
    rows = np.nan_to_num([_one(memory, replay, points, truth) for memory in memories if memory is not None])
    best, rng = rows[:, 0].argmax(), np.random.default_rng(0)
    lucky = [
        min(regret[rng.permutation(len(regret))[:TRIED]].min() for _ in range(len(rows)))  # a set for each source
        for _ in range(100)
    ]
    return [len(rows), *rows[best].tolist(), rows[:, 1].min(), float(np.mean(lucky))]


def _answer(replay: Replay) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points, true losses and regrets of all configurations."""
    space = replay.problem.space
    assert space.candidate_points is not None
    rows = [replay.row(config) for config in space.candidates or ()]
    return space.candidate_points, replay.table.final[rows], replay.regret[rows]


def _one(memory: Memory, replay: Replay, points: np.ndarray, truth: np.ndarray) -> list[float]:
    """How well a memory puts the configurations in order, and the regret of the best that it would try first."""
    best = min(float(replay.regret[replay.row(config)]) for config in memory.portfolio[:TRIED])
    return [float(spearmanr(memory.expects(points), truth).statistic), best]


if __name__ == "__main__":
    main()
