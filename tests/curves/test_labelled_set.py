"""The labelled set that the doctor is measured on: its runs are what they would be alone, and are kept unchanged."""

import importlib
import itertools
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

MODULES = ("configs", "lanes", "make", "nets", "rows", "workloads")


@pytest.fixture
def doctor(monkeypatch):
    """Its modules by name; they are scripts beside one another, and no package."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks" / "doctor"))
    return {name: importlib.import_module(name) for name in MODULES}


@pytest.fixture
def wanted(doctor):
    config = doctor["configs"].Config
    short = [config("sgd", 0.1, "cosine", iterations=20), config("sgd", 0.01, "cosine", iterations=20, label_noise=0.5)]
    return [(c, seed) for c in short for seed in (1, 2)] + [(config("adam", 1e-2, iterations=8, hidden_units=4), 1)]


def test_a_run_has_the_curve_that_it_has_alone(doctor, wanted):
    work, train = doctor["workloads"].load("digits", None), doctor["lanes"].train
    together = train(work, wanted)

    for run, curves in zip(wanted, together, strict=True):
        (alone,) = train(work, [run])
        for name, values in alone.items():
            np.testing.assert_allclose(curves[name], values, rtol=1e-3, atol=1e-5, err_msg=name)


def test_curves_are_read_as_they_were_kept(doctor, wanted, tmp_path):
    make, work = doctor["make"], doctor["workloads"].load("diabetes", None)
    book = dict(zip(wanted, doctor["lanes"].train(work, wanted), strict=True))
    make.save(book, tmp_path / "diabetes.npz")

    for run, curves in make.read(tmp_path / "diabetes.npz").items():
        for name, values in book[run].items():
            np.testing.assert_array_equal(curves[name], values, err_msg=name)


@pytest.fixture
def few(doctor, monkeypatch):
    """``make``, with few runs that are short, and a clock that goes on by 1 for each group of them."""
    configs, make = doctor["configs"], doctor["make"]
    short = [configs.Config("sgd", rate, iterations=n) for rate in (0.1, 0.01) for n in (8, 12)]
    monkeypatch.setattr(make, "sweep", lambda: [configs.Run("sweep", "sgd constant", 0, c) for c in short])
    monkeypatch.setattr(make, "plan", lambda *_: [configs.Run("control", "best", 0, short[0])])
    monkeypatch.setattr(make, "moves", lambda c: {"batch_size up": configs.replace(c, batch_size=64)})
    monkeypatch.setattr(make, "time", SimpleNamespace(perf_counter=itertools.count().__next__))
    return make


def test_a_set_made_in_pieces_is_the_set_made_in_one_go(few, tmp_path):
    assert few.make("diabetes", tmp_path / "once", None)
    pieces = [few.make("diabetes", tmp_path / "pieces", None, seconds) for seconds in (0, 1, 1, 0, 1)]

    assert pieces == [False, False, False, False, True]
    assert [path.name for path in (tmp_path / "pieces").iterdir()] == ["diabetes.npz"]
    once, parts = (few.read(tmp_path / folder / "diabetes.npz") for folder in ("once", "pieces"))
    assert set(once) == set(parts)
    for run, curves in once.items():
        for name, values in curves.items():
            np.testing.assert_allclose(parts[run][name], values, rtol=1e-3, atol=1e-5, err_msg=name)


@pytest.mark.parametrize(
    ("losses", "end"),
    [([2.0] + [0.5] * 20, 0.5), ([2.0, 1.0, np.nan], 2.0), ([2.0, 30.0], 2.0), ([2.0, np.inf, 1.0], 1.0)],
)
def test_no_run_ends_worse_than_the_untrained_net(doctor, losses, end):
    assert doctor["make"].final({"valid_loss": np.array(losses)}) == end


def test_every_fault_differs_from_the_sound_configuration_in_one_thing(doctor):
    configs = doctor["configs"]
    base = configs.Config("sgd", 0.1)
    for turn in range(3):
        for run in configs.faults(base, turn, scalable=True, rectified=True):
            assert sum(a != b for a, b in zip(vars(run.config).values(), vars(base).values(), strict=True)) == 1
