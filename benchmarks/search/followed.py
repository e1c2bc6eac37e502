"""What a wrong belief is given: ``python benchmarks/search/followed.py TABLES [--seeds N]``.

The share of all units, in per cent, that went into trials which a search that knows nothing would not have begun after
the same history. The other moves are that search's own, so whatever the belief is worth, it cannot cost more than these
units, but for what such trials tell a model. Means over tasks and seeds; the share has far less noise than the units
to reach a goal.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from lore import misled, with_a_guess, with_sources
from replay import search
from tables import Replay, load

from ayar.records import Trial
from ayar.search import Problem, Proposal, Racer

BELIEFS: dict[str, Callable[[Replay], Problem]] = {
    "misled by a guess": partial(with_a_guess, right=False),
    "misled by a study": misled,
    "told a good guess": partial(with_a_guess, right=True),
    "its family known": partial(with_sources, same_family=True),
    "other families known": partial(with_sources, same_family=False),
}
ASKED = (2, 5, 10, 20)


@dataclass
class Watched:
    """A racer, and what it gave to trials that ``cold`` would not have made it begin."""

    cold: Problem
    racer: Racer = field(default_factory=Racer)
    followed: set[int] = field(default_factory=set)
    given: list[tuple[float, float]] = field(default_factory=list)

    def propose(self, problem: Problem, history: Sequence[Trial], n: int) -> list[Proposal]:
        """See ``Searcher``."""
        units = np.array([trial.curve.last_step for trial in history]) / problem.horizon
        self.given.append((float(units.sum()), float(units[sorted(self.followed)].sum())))
        proposals = self.racer.propose(problem, history, n)
        if proposals and proposals[0].trial is None and proposals != self.racer.propose(self.cold, history, n):
            self.followed.add(len(history))
        return proposals

    def shares(self) -> list[float]:
        """Per cent of the first so many full runs."""
        spent, followed = np.array(self.given).T
        return [100 * float(np.interp(budget, spent, followed)) / budget for budget in ASKED]


def main() -> None:
    """Print one Markdown row for each belief."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tables", type=Path, help="folder of .npz files")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--only", default="", help="part of a task's name")
    parser.add_argument("--beliefs", nargs="+", default=list(BELIEFS)[:2], choices=list(BELIEFS))
    asked = parser.parse_args()
    found: dict[str, list[list[float]]] = defaultdict(list)
    for path in sorted(asked.tables.glob("*.npz")):
        table = load(path)
        if not table.sliceable or asked.only not in table.name:
            continue
        for seed in range(asked.seeds):
            replay = Replay(table, seed)
            for belief in asked.beliefs:
                watched = Watched(replay.problem)
                search(replay, watched, max(ASKED), problem=BELIEFS[belief](replay))
                found[belief].append(watched.shares())
        print(f"up to {table.name}", flush=True)
        print("| belief | tasks and seeds | " + " | ".join(f"at {budget}" for budget in ASKED) + " |")
        for belief, rows in found.items():
            print(f"| {belief} | {len(rows)} | " + " | ".join(f"{x:.1f}" for x in np.mean(rows, axis=0)) + " |")


if __name__ == "__main__":
    main()
