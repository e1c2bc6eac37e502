"""Real training curves for the tests of the curve doctor: the measurement of the benchmark, reduced."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def bench() -> ModuleType:
    """The benchmark's module: nets, labels by intervention, and the quality of what is said about them."""
    path = Path(__file__).parents[2] / "benchmarks" / "curve_verdicts.py"
    spec = importlib.util.spec_from_file_location("curve_verdicts", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up by its name
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def runs(bench):
    """One seed of three workloads under two optimisers at thirteen learning rates: 78 labelled runs."""
    works = (bench.FITTED["badly scaled inputs"](), bench.FITTED["rings"](), bench.table("wine", (8,), "tanh"))
    return [
        run for work in works for optimizer in ("momentum", "adam") for run in bench.measure(work, optimizer, seeds=[7])
    ]
