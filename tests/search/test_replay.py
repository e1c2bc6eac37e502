"""The benchmark of searches: what a simulated crowd of workers lets a searcher see, and when."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from ayar.search import Proposal

FOLDER = Path(__file__).parents[2] / "benchmarks" / "search"
SECONDS = {0.1: 1.0, 0.2: 3.0, 0.3: 1.0}  # that a step of each configuration takes
STEPS = 4


@pytest.fixture
def replayed(tmp_path, monkeypatch):
    """``search`` of the benchmark, and a task of three configurations for it."""
    meta = {
        "task": "toy",
        "family": "toys",
        "objective": "loss",
        "metrics": {"loss": {"direction": "min"}},
        "params": [{"name": "x", "type": "float"}],
        "resumable": True,
        "missing": "none",
    }
    x, steps = np.array(list(SECONDS)), np.arange(1, STEPS + 1)
    time = np.array(list(SECONDS.values()))[:, None] * steps
    file = {
        "meta": json.dumps(meta),
        "X": x[:, None],
        "budgets": steps,
        "curve__loss": x[:, None] / steps,
        "time": time,
    }
    np.savez(tmp_path / "toy.npz", **file)
    monkeypatch.syspath_prepend(FOLDER)
    import replay
    import tables

    yield replay.search, tables.Replay(tables.load(tmp_path / "toy.npz"), 0)
    for name in ("replay", "tables"):
        sys.modules.pop(name, None)


class InOrder:
    """Trains the configurations to the end, one after the other; keeps what it saw before the third."""

    def propose(self, problem, history, n):
        if len(history) == 2:
            self.seen = {t.config["x"]: [(m.step, m.cost_s) for m in t.curve] for t in history}
        return [Proposal({"x": x}, STEPS) for x in list(SECONDS)[len(history) :][:n]]


def test_a_live_search_sees_readings_of_slices_under_way_and_their_seconds(replayed):
    search, task = replayed
    search(task, searcher := InOrder(), 3.0, workers=2, live=True)
    assert searcher.seen == {0.1: [(1, 1.0), (2, 1.0), (3, 1.0), (4, 1.0)], 0.2: [(1, 3.0)]}


def test_another_sees_a_slice_when_it_has_ended_and_no_seconds(replayed):
    search, task = replayed
    search(task, searcher := InOrder(), 3.0, workers=2)
    assert searcher.seen == {0.1: [(1, 0.0), (2, 0.0), (3, 0.0), (4, 0.0)], 0.2: []}
