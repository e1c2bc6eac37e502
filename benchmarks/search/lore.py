"""What is believed before a search on a table begins: other tables as earlier studies, right or turned upside down."""

from __future__ import annotations

from dataclasses import replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from tables import Replay, Table, load

from ayar.search import Problem
from ayar.search.base import Source
from ayar.search.evidence import telling
from ayar.space import Choice, Space

_KEPT = 128  # trials of an earlier study: as many as Ayar keeps
_GOOD, _BAD = 0.05, 0.95  # a right and a wrong guess have these ranks among the configurations, 1 the worst


def with_sources(replay: Replay, *, same_family: bool) -> Problem:
    """The problem, with the curve tables of the other families as earlier studies; or the others of its own."""
    return replace(replay.problem, sources=_others(replay.table.path, same_family))


def misled(replay: Replay) -> Problem:
    """The problem, with an earlier study that holds the best of this very table for the worst."""
    table = replay.table
    return replace(replay.problem, sources=(_source(replace(table, final=-table.final)),))


def with_a_guess(replay: Replay, *, right: bool) -> Problem:
    """The problem, with a strong guess for each hyperparameter, all from one configuration: a good one or a bad one."""
    problem, space = replay.problem, replay.problem.space
    candidates = sorted(space.candidates or (), key=lambda config: replay.table.final[replay.row(config)])
    guessed = candidates[int((_GOOD if right else _BAD) * (len(candidates) - 1))]
    entries: dict[str, Any] = {}
    for name in space.names:
        entry: Any = space[name]
        belief = {"guess": guessed[name], "confidence": "strong"} if name in guessed else {}
        if isinstance(entry, Choice):
            entries[name] = Choice(*entry.choices, ordered=entry.ordered, when=entry.when, **belief)
        else:
            entries[name] = replace(entry, **belief)
    return replace(problem, space=Space(candidates=list(space.candidates or ()), **entries))


@lru_cache(maxsize=4)
def _others(path: Path, same_family: bool) -> tuple[Source, ...]:
    tables = [_table(other) for other in sorted(path.parent.glob("*.npz"))]
    own = _table(path)
    chosen = [t for t in tables if t.sliceable and t.name != own.name and (t.family == own.family) == same_family]
    return tuple(map(_source, chosen))


@cache
def _table(path: Path) -> Table:
    return load(path)


def _source(table: Table) -> Source:
    rows = telling(table.final, _KEPT)
    configs = table.configs(rows)
    return Source(table.name, tuple(zip(configs, table.final[rows].tolist(), strict=True)))
