"""An order of advice that is counted rather than written: which move helps next, by headline, where none before did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from labels import MEND, Labelled
from scores import FEW_UNITS, PIPELINE, Said, is_faulty, right

from ayar.curves.advice import SECOND, UNUSUAL

MOVES = (
    "learning_rate x 3",
    "learning_rate x 10",
    "learning_rate / 3",
    "learning_rate / 10",
    "iterations x 2",
    "iterations / 2",
    "weight_decay up",
    "dropout up",
    "batch_size up",
    "hidden_units up",
    "schedule decay",
)
"""What an order is made of; moves away from unusual values come before."""

SHRINK = 5.0
"""Counts of a headline are mixed with so many runs of all headlines together."""

LENGTH = 5


@dataclass(frozen=True)
class Count:
    """Which of ``MOVES`` helped one faulty run."""

    run: Labelled
    headline: str
    unusual: tuple[str, ...]
    helped: np.ndarray

    @staticmethod
    def of(run: Labelled, said: Said) -> Count:
        """The same, from a run and what is said of it."""
        c = run.run.config
        back = {"hidden_units": "hidden_units up", "batch_size": "batch_size up"}
        unusual = [
            back.get(wish.role, f"{wish.role} down")
            for is_unusual, wish in UNUSUAL + SECOND
            if is_unusual(getattr(c, wish.role))
        ]
        return Count(run, said[0].name, tuple(unusual), np.array([move in right(run) for move in MOVES]))


def counted(runs: Sequence[Labelled], said: Sequence[Said]) -> list[tuple[bool, bool]]:
    """For each faulty run, whether the first, and one of the first three moves help, by an order of other workloads."""
    counts = [Count.of(run, verdicts) for run, verdicts in zip(runs, said, strict=True) if is_faulty(run)]
    found = []
    for name in dict.fromkeys(count.run.workload for count in counts):
        orders = learnt([count for count in counts if count.run.workload != name])
        for count in counts:
            if count.run.workload == name:
                moves = _answers(count, orders.get(count.headline, []))
                found.append((bool({*moves[:1]} & right(count.run)), bool({*moves[:3]} & right(count.run))))
    return found


def learnt(counts: Sequence[Count]) -> dict[str, list[str]]:
    """By headline: the move that helps most, then the one that helps most where it did not, and so on."""
    plain = [count for count in counts if not count.unusual]
    usual = np.mean([count.helped for count in plain], axis=0)
    return {name: _order([c for c in plain if c.headline == name], usual) for name in {c.headline for c in plain}}


def _order(counts: Sequence[Count], usual: np.ndarray) -> list[str]:
    left = [c for c in counts if c.headline not in PIPELINE or MEND not in right(c.run)]
    found: list[str] = []
    for _ in range(LENGTH):
        helped = np.sum([c.helped for c in left], axis=0) if left else np.zeros(len(MOVES))
        chance = (helped + SHRINK * usual) / (len(left) + SHRINK)
        taken = {move.split()[0] for move in found}
        best = int(np.argmax([-1 if move.split()[0] in taken else p for move, p in zip(MOVES, chance, strict=True)]))
        found.append(MOVES[best])
        left = [c for c in left if not c.helped[best]]
    return found


def _answers(count: Count, order: Sequence[str]) -> list[str]:
    """As the doctor answers: mend a pipeline, few units before, leave unusual values (momentum second), the order."""
    first = [move for move in count.unusual[:1] if move == FEW_UNITS]
    first += [MEND] if count.headline in PIPELINE else []
    first += [move for move in count.unusual if move != "momentum down"]
    second = [move for move in count.unusual if move == "momentum down"]
    rest = [move for move in order if move in count.run.tried]
    found: dict[str, str] = {}
    for move in [*first, *rest[:1], *second, *rest[1:]]:
        found.setdefault(move.split()[0], move)
    return list(found.values())
