"""How good verdicts and advice are on the labelled set."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from configs import SCHEDULES, Config, Run
from labels import MEND, SHARE, Labelled

from ayar.curves import TOO_HIGH, TOO_LOW, advise
from ayar.records import Advice, Confidence, Verdict
from ayar.space import Choice, Float, Int, Space

SPACE = Space(
    learning_rate=Float(1e-8, 1e4, log=True),
    iterations=Int(1, 10**6, log=True),
    batch_size=Int(1, 4096, log=True),
    hidden_units=Int(1, 1024, log=True),
    weight_decay=Float(1e-6, 1e6, log=True),
    dropout=Float(0.0, 0.95),
    momentum=Float(0.0, 0.9999),
    schedule=Choice(*SCHEDULES),
)

SOUND = frozenset({"falling well", "no clear fault"})
"""Headlines that raise no alarm."""

MENDED = frozenset({"inputs not scaled", "first weights too small", "first weights too large", "silent units"})
"""Faults that are not a value a tuner searches: the right answer may be to mend the pipeline."""

PIPELINE = frozenset({"broken pipeline", "dead units", "vanishing gradients"})
"""Headlines whose sentence sends to inputs, first weights and first biases before anything is tuned."""

FEW_UNITS = "hidden_units up"
"""Where this is the first advice, its reason says that it comes before those as well."""

DEFAULT_LIST = (
    "learning_rate / 3",
    "learning_rate x 3",
    "iterations x 2",
    "batch_size up",
    "hidden_units up",
    "dropout up",
    "weight_decay up",
)
"""What to try in this order, whatever the curve: the rule of thumb to beat."""

Said = tuple[Verdict, ...]


def side(said: Said) -> str:
    """What the verdicts say about the learning rate."""
    names = {v.name for v in said}
    return "high" if names & TOO_HIGH else "low" if names & TOO_LOW else "ok"


@dataclass(frozen=True)
class Sides:
    """Runs of each true side (rows: low, ok, high) by what was said."""

    table: np.ndarray

    @property
    def balanced_accuracy(self) -> float:
        """The mean of the three recalls."""
        return float(np.mean(np.diag(self.table) / np.maximum(self.table.sum(axis=1), 1)))

    @property
    def wrong(self) -> int:
        """Runs that were sent the wrong way."""
        return int(self.table[0, 2] + self.table[2, 0])


def sides(
    runs: Sequence[Labelled], said: Sequence[Said], truth: Callable[[Labelled], str] = lambda run: run.side
) -> Sides:
    """Of the sweeps: is a learning rate too low, fine, or too high? Only runs whose ``truth`` is known count."""
    names, table = ("low", "ok", "high"), np.zeros((3, 3), dtype=int)
    for run, verdicts in zip(runs, said, strict=True):
        if truth(run):
            table[names.index(truth(run)), names.index(side(verdicts))] += 1
    return Sides(table)


def is_faulty(run: Labelled) -> bool:
    """A fault that one move on record would have helped; label noise and few rows may leave none."""
    return run.run.role == "fault" and bool(right(run))


def is_control(run: Labelled) -> bool:
    """Sound by design, ends near the best of its workload, and no move on record helps."""
    return run.run.role == "control" and not run.helps and run.above <= 2 * SHARE


def right(run: Labelled) -> frozenset[str]:
    """The moves that help, as far as advice can name them."""
    return run.helps if run.run.kind in MENDED else run.helps - {MEND}


def answers(run: Labelled, verdicts: Said) -> list[str]:
    """The advice on a run as names of moves, in its order; a pipeline is mended after so few units are more."""
    c = run.run.config
    config = {name: getattr(c, name) for name in SPACE}
    named = [name for advice in advise(verdicts, config, SPACE) if (name := named_move(advice, c))]
    few = [name for name in named[:1] if name == FEW_UNITS]
    return [*few, *[MEND] * (verdicts[0].name in PIPELINE), *named[len(few) :]]


def named_move(advice: Advice, c: Config) -> str:
    """The move of ``configs.moves`` nearest to an advice."""
    if not advice.changes:
        return MEND if advice.verdict == "broken pipeline" else ""
    (name, value), *_ = advice.changes.items()
    before = getattr(c, name)
    if name == "schedule":
        return "schedule decay"
    up = value > before
    if name == "learning_rate":
        size = abs(math.log10(value / before))
        return f"learning_rate {'x' if up else '/'} {3 if size < 0.75 else 10}"
    if name == "iterations":
        return f"iterations {'x' if up else '/'} 2"
    return f"{name} {'up' if up else 'down'}"


def top(runs: Sequence[Labelled], said: Sequence[Said], k: int) -> list[bool]:
    """For each faulty run, whether one of the first k pieces of advice helps."""
    return [
        bool(set(answers(run, verdicts)[:k]) & right(run))
        for run, verdicts in zip(runs, said, strict=True)
        if is_faulty(run)
    ]


def by_rule_of_thumb(runs: Sequence[Labelled], k: int) -> list[bool]:
    return [bool(set(DEFAULT_LIST[:k]) & right(run)) for run in runs if is_faulty(run)]


def by_values_alone(runs: Sequence[Labelled], k: int) -> list[bool]:
    """Advice that knows unusual values but sees no curve: the doctor's, had it nothing to say, then the list."""
    blind = (Verdict("unread", Confidence.WEAK, "Nothing was looked at."),)
    return [bool(set([*answers(run, blind), *DEFAULT_LIST][:k]) & right(run)) for run in runs if is_faulty(run)]


def by_chance(runs: Sequence[Labelled], k: int) -> list[float]:
    """Chance that k different moves, drawn from all that were tried, hold one that helps."""
    chances = []
    for run in filter(is_faulty, runs):
        offered = run.tried if run.run.kind in MENDED else run.tried - {MEND}
        n, hits = len(offered), len(right(run))
        chances.append(1 - math.comb(n - hits, k) / math.comb(n, k))
    return chances


def alarms(runs: Sequence[Labelled], said: Sequence[Said]) -> list[str]:
    """The headline of every sound run."""
    return [verdicts[0].name for run, verdicts in zip(runs, said, strict=True) if is_control(run)]


def confused(runs: Sequence[Labelled], said: Sequence[Said], want: Callable[[Labelled], bool]) -> dict[Run, list[str]]:
    """Headlines by run, for looking at them."""
    found: dict[Run, list[str]] = {}
    for run, verdicts in zip(runs, said, strict=True):
        if want(run):
            found.setdefault(run.run, []).append(verdicts[0].name)
    return found
