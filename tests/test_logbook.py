"""The logbook keeps memory and ledger in step."""

import math

import pytest

from ayar.errors import MoveError, ObjectiveError
from ayar.ledger.store import Ledger
from ayar.logbook import Logbook
from ayar.records import Metric, State
from ayar.run.events import Failed, Finished, Measured
from ayar.seeds import Purpose


@pytest.fixture
def ledger(tmp_path):
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        yield ledger


@pytest.fixture
def study(ledger):
    return ledger.create_study("main", {})


@pytest.fixture
def book(ledger, study):
    return Logbook(ledger, study, Metric("error"), horizon=9)


def rows(*steps):
    return [{"step": step, "error": 1 / (step + 1)} for step in steps]


def test_what_the_ledger_replays_equals_what_memory_holds(book, ledger, study):
    paused = book.start({"x": 1}, 11, Purpose.SEARCH, 3)
    book.tell(paused, rows(0, 1, 2, 3), error=None, ended=False)
    failed = book.start({"x": 2}, 12, Purpose.SEARCH, 3)
    book.tell(failed, rows(1), error="out of memory", ended=False)
    running = book.start({"x": 3}, 13, Purpose.SEARCH, 3)
    book.tell(running, rows(1), error=None, ended=False)
    diverged = book.start({"x": 4}, 14, Purpose.SEARCH, 3)
    book.tell(diverged, [{"step": 1, "error": math.inf}], error=None, ended=False)
    completed = book.start({"x": 5}, 15, Purpose.SEARCH, 9)
    book.tell(completed, rows(*range(1, 10)), error=None, ended=False)

    assert [t.state for t in book.trials] == [
        State.PAUSED,
        State.FAILED,
        State.RUNNING,
        State.DIVERGED,
        State.COMPLETED,
    ]
    assert ledger.trials(study) == book.trials
    assert Logbook(ledger, study, Metric("error"), horizon=9).outstanding() == book.outstanding()


def test_an_outstanding_move_goes_on_from_the_last_step_that_was_told(book):
    move = book.start({"x": 1}, 11, Purpose.SEARCH, 5)
    book.tell(move, rows(1, 2), error=None, ended=False)
    (left,) = book.outstanding()
    assert (left.start_step, left.stop_step) == (2, 5)


def test_events_of_workers_are_written_down_like_told_measurements(book, ledger, study):
    move = book.start({"x": 1}, 11, Purpose.SEARCH, 3)
    book.record(Measured(move.trial, 1, 0.5, {"error": 0.3}))
    book.record(Finished(move.trial, ended=True))
    assert book.trials[0].state is State.COMPLETED
    other = book.start({"x": 2}, 12, Purpose.SEARCH, 3)
    book.record(Failed(other.trial, "killed by signal 9", waste_s=2.5))
    assert (book.trials[1].state, book.trials[1].cost_s) == (State.FAILED, 2.5)
    assert ledger.trials(study) == book.trials


def test_the_untrained_net_measured_again_after_a_restart_is_on_record_once(book):
    move = book.start({"x": 1}, 11, Purpose.SEARCH, 3)
    for _ in range(2):
        book.record(Measured(move.trial, 0, 0.1, {"error": 0.9}))
    book.record(Measured(move.trial, 1, 0.1, {"error": 0.8}))
    assert [m.step for m in book.trials[0].curve] == [0, 1]


def test_a_training_that_measures_every_tenth_step_may_pass_the_step_where_it_was_to_stop(book):
    move = book.start({"x": 1}, 11, Purpose.SEARCH, 3)
    book.record(Measured(move.trial, 10, 0.1, {"error": 0.9}))
    book.record(Finished(move.trial, ended=False))
    assert (book.trials[0].curve.last_step, book.trials[0].state) == (10, State.COMPLETED)


def test_a_trial_paused_early_can_go_on(book):
    move = book.start({"x": 1}, 11, Purpose.SEARCH, 5)
    book.record(Measured(move.trial, 1, 0.5, {"error": 0.3}))
    book.record(Finished(move.trial, ended=False))
    assert book.trials[0].state is State.PAUSED
    assert book.go_on(0, 5).start_step == 1


def test_what_a_transaction_that_failed_has_noted_is_in_memory_no_more_than_on_record(book, ledger, study):
    """Else a tuning that goes on once the disk has room again would leave those steps out of the record for good."""
    move = book.start({"x": 1}, 11, Purpose.SEARCH, 5)
    book.record(Measured(move.trial, 1, 0.5, {"error": 0.3}))

    def fail():
        with book.claiming():
            book.record(Measured(move.trial, 2, 0.5, {"error": 0.2}))
            book.start({"x": 2}, 12, Purpose.SEARCH, 5)
            raise RuntimeError("the disk is full")

    with pytest.raises(RuntimeError, match="the disk is full"):
        fail()
    book.refresh()
    assert book.trials == ledger.trials(study)
    assert [m.step for m in book.trials[0].curve] == [1]
    assert (len(book.trials), book.elsewhere, book.abandoned()) == (1, set(), [])
    assert [(left.trial, left.start_step, left.stop_step) for left in book.outstanding()] == [(0, 1, 5)]
    for step in (2, 3):
        book.record(Measured(move.trial, step, 0.5, {"error": 0.2}))
    book.record(Finished(move.trial, ended=True))
    assert book.trials == ledger.trials(study)
    assert [m.step for m in ledger.trials(study)[0].curve] == [1, 2, 3]


@pytest.mark.parametrize(
    ("told", "message"),
    [
        (rows(4), "to stop at step 3, but step 4 was told"),
        (rows(2, 1), "steps must rise, got 1 after 2"),
        (rows(1, 1), "steps must rise, got 1 after 1"),
    ],
)
def test_steps_outside_the_move_are_refused_and_nothing_is_recorded(book, ledger, study, told, message):
    move = book.start({"x": 1}, 11, Purpose.SEARCH, 3)
    with pytest.raises(MoveError, match=message):
        book.tell(move, told, error=None, ended=False)
    assert len(book.trials[0].curve) == 0
    assert ledger.trials(study) == book.trials


def test_a_move_that_was_answered_is_not_answered_twice(book):
    move = book.start({"x": 1}, 11, Purpose.SEARCH, 1)
    book.tell(move, rows(1), error=None, ended=False)
    with pytest.raises(MoveError, match=r"isn't outstanding: the trial is paused at step 1\."):
        book.tell(move, rows(1), error=None, ended=False)


def test_a_measurement_without_the_metric_names_what_was_there(book):
    move = book.start({"x": 1}, 11, Purpose.SEARCH, 3)
    with pytest.raises(ObjectiveError, match="step 1 holds loss, accuracy, but the study needs 'error'"):
        book.tell(move, [{"step": 1, "loss": 1.0, "accuracy": 0.5}], error=None, ended=False)


def test_a_measurement_that_is_no_number_is_refused(book):
    move = book.start({"x": 1}, 11, Purpose.SEARCH, 3)
    with pytest.raises(ObjectiveError, match="could not convert string to float"):
        book.tell(move, [{"step": 1, "error": "low"}], error=None, ended=False)
