"""What searchers ask of a large study is read in a few numbers, and many curves at once."""

import math
import random

import numpy as np
import pytest
from tests.conftest import execute

from ayar.ledger import Ledger
from ayar.ledger.ahead import ReadAhead
from ayar.ledger.schema import MIGRATIONS
from ayar.logbook import Logbook
from ayar.records import Metric
from ayar.search.board import LeastBy
from ayar.search.evidence import BestBy
from ayar.search.halving import LossesAt
from ayar.search.history import FACTS, column
from ayar.search.population import ReadingAt
from ayar.space import Float, Space
from ayar.study import Study

ASKED = (FACTS, LeastBy((1, 3, 9)), BestBy(2), LossesAt((1, 3, 9)), ReadingAt((1, 3, 9)))


@pytest.fixture
def told(store):
    """A ledger with trials in every state, and the history as whoever told them knows it."""
    rng = random.Random(0)
    with Study(store, space=Space(x=Float(0.0, 1.0)), minimize="loss", horizon=9, searcher="random") as study:
        for number in range(24):
            (move,) = study.ask(doctor="off")
            steps = range(rng.randint(0, 1), rng.choice([1, 2, 5, 9]) + 1)
            last = rng.choice([0.5, 0.5, math.nan, math.inf])
            rows = [{"step": step, "loss": rng.random(), "cost_s": 0.5} for step in steps]
            study.tell(move, [*rows[:-1], {**rows[-1], "loss": last}], ended=number % 3 == 0)
            if any(each.trial == move.trial for each in study.outstanding()) and number % 4:
                study.tell(move, error="broken" if number % 2 else None, ended=True)
        yield store, study._book.history


def read(store):
    """The history as it is read."""
    with Ledger.open(store) as ledger:
        return Logbook(ledger, ledger.find_study().id, Metric("loss"), 9).history


def assert_alike(one, other):
    for asked in ASKED:
        told, found = column(one, asked), column(other, asked)
        for name in told.dtype.names or [...]:
            np.testing.assert_array_equal(told[name], found[name])


def test_a_history_that_is_read_again_says_to_searchers_what_it_said(told):
    store, history = told
    assert_alike(history, read(store))


def test_the_newest_migration_counts_what_older_endings_did_not(told):
    store, history = told
    statements = ["ALTER TABLE endings DROP COLUMN readings", "ALTER TABLE endings DROP COLUMN last_loss"]
    url = store if "://" in str(store) else f"sqlite:///{store}"
    execute(url, *statements, f"DELETE FROM ayar_migrations WHERE version = {len(MIGRATIONS)}")
    assert_alike(history, read(store))


def test_an_ending_that_an_older_ayar_wrote_meanwhile_is_read_with_its_measurements(told):
    store, history = told
    execute(store if "://" in str(store) else f"sqlite:///{store}", "UPDATE endings SET readings = NULL")
    assert_alike(history, read(store))


def test_trials_that_are_asked_for_in_turn_are_read_together():
    asked = []

    def rows(first, last):
        asked.append((first, last))
        return [(trial, step, float(trial)) for trial in range(first, min(last, 9) + 1) for step in (1, 2, 4)]

    ahead = ReadAhead(rows)
    given = [(list(steps), list(losses)) for steps, losses in (ahead(trial, 4) for trial in range(10))]
    assert given == [([1, 2, 4], [float(trial)] * 3) for trial in range(10)]
    assert [list(each) for each in ahead(0, 2)] == [[1, 2], [0.0, 0.0]]
    assert asked == [(0, 0), (1, 1), (2, 501), (0, 0)]


def test_a_trial_that_was_read_ahead_and_has_been_trained_since_is_read_again():
    measured = 1

    def rows(first, last):
        return [(trial, step, 0.5) for trial in range(first, min(last, 9) + 1) for step in range(1, measured + 1)]

    ahead = ReadAhead(rows)
    for trial in range(5):
        ahead(trial, 1)
    measured = 3
    assert list(ahead(5, 3)[0]) == [1, 2, 3]
    assert list(ahead(6, 1)[1]) == [0.5]
