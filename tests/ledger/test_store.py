import math
import random
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ayar.errors import ClaimLost, LedgerError, MoveError, NotInLedger
from ayar.ledger import Ledger
from ayar.ledger.pages import Claim
from ayar.records import Measurement, Move, State
from ayar.seeds import Purpose


@pytest.fixture
def ledger(store):
    with Ledger.open(store) as ledger:
        yield ledger


@pytest.fixture
def study(ledger):
    return ledger.create_study("digits", {"horizon": 4})


def started(ledger, study, stop_step=2):
    """A trial whose first move is asked."""
    trial = ledger.add_trial(study, {"learning_rate": 0.1}, 7, Purpose.SEARCH)
    ledger.add_move(study, Move(trial, {"learning_rate": 0.1}, 7, 0, stop_step))
    return trial


def the_only_trial(ledger, study):
    (trial,) = ledger.trials(study)
    return trial


# Studies


def test_a_study_comes_back_with_its_spec(ledger):
    spec = {"space": {"learning_rate": {"float": [1e-4, 1.0], "log": True}}, "horizon": 50, "bound": math.inf}
    number = ledger.create_study("digits", spec)
    found = ledger.find_study("digits")
    assert (found.id, found.name, found.spec) == (number, "digits", spec)


def test_the_only_study_needs_no_name(ledger, study):
    assert ledger.find_study().id == study


def test_studies_are_listed_oldest_first(ledger):
    ids = [ledger.create_study(name, {}) for name in ("b", "a")]
    assert [(row.id, row.name) for row in ledger.studies()] == [(ids[0], "b"), (ids[1], "a")]


def test_looking_for_a_study_in_an_empty_ledger_says_that_it_is_empty(ledger):
    with pytest.raises(NotInLedger, match="holds no study yet"):
        ledger.find_study()


def test_an_unknown_study_is_answered_with_those_that_there_are(ledger):
    ledger.create_study("digits", {})
    ledger.create_study("wine", {})
    with pytest.raises(NotInLedger, match=r"No study 'mnist' .*It holds 'digits', 'wine'\."):
        ledger.find_study("mnist")
    with pytest.raises(NotInLedger, match=r"several studies: 'digits', 'wine'\. Name one"):
        ledger.find_study()


def test_two_studies_of_one_name_are_refused(ledger, study):
    with pytest.raises(LedgerError, match="already holds a study 'digits'"):
        ledger.create_study("digits", {})
    assert len(ledger.studies()) == 1


def test_what_json_cannot_write_is_refused_by_name(ledger):
    with pytest.raises(LedgerError, match=r"The spec cannot be written as JSON.*object"):
        ledger.create_study("digits", {"loss": object()})
    assert ledger.studies() == []


# Trials


def test_trials_are_numbered_from_zero_in_each_study(ledger):
    first, second = ledger.create_study("a", {}), ledger.create_study("b", {})
    numbers = [ledger.add_trial(study, {}, 0) for study in (first, second, first, first)]
    assert numbers == [0, 0, 1, 2]


def test_a_trial_comes_back_as_it_was_added(ledger, study):
    config = {"learning_rate": 0.1, "hidden_units": [32, 16], "activation": "relu", "nesterov": True}
    ledger.add_trial(study, config, 2**31 - 1, Purpose.RERANK)
    trial = the_only_trial(ledger, study)
    assert (trial.id, trial.config, trial.seed, trial.purpose) == (0, config, 2**31 - 1, Purpose.RERANK)
    assert (len(trial.curve), trial.target_step, trial.state) == (0, 0, State.PAUSED)


def test_numpy_values_come_back_as_plain_ones(ledger, study):
    ledger.add_trial(study, {"n": np.int64(3), "x": np.float32(0.5), "units": np.array([4, 2])}, 0)
    assert the_only_trial(ledger, study).config == {"n": 3, "x": 0.5, "units": [4, 2]}


def test_studies_do_not_mix(ledger):
    first, second = ledger.create_study("a", {}), ledger.create_study("b", {})
    for study in (first, second):
        started(ledger, study)
    ledger.add_measurements(first, 0, [Measurement(1, 0.5)])
    ledger.end_move(first, 0, ended=True)
    assert the_only_trial(ledger, first).state is State.COMPLETED
    assert the_only_trial(ledger, second).state is State.RUNNING


def test_what_is_claimed_together_is_written_together(ledger, study):
    with pytest.raises(NotInLedger), ledger.claiming(study):
        ledger.add_move(study, Move(ledger.add_trial(study, {}, 7) + 1, {}, 7, 0, 3))
    assert ledger.trials(study) == []
    with ledger.claiming(study):
        ledger.add_measurements(study, started(ledger, study), [Measurement(1, 0.5)])
        ledger.end_move(study, 0, ended=True)
    assert [m.step for m in the_only_trial(ledger, study).curve] == [1]


def test_a_trial_whose_move_was_asked_runs(ledger, study):
    started(ledger, study, stop_step=3)
    trial = the_only_trial(ledger, study)
    assert (trial.state, trial.target_step) == (State.RUNNING, 3)


@pytest.mark.parametrize(
    "append",
    [
        lambda ledger: ledger.add_trial(9, {}, 0),
        lambda ledger: ledger.add_move(9, Move(0, {}, 0, 0, 1)),
        lambda ledger: ledger.add_measurements(9, 0, [Measurement(1, 0.5)]),
        lambda ledger: ledger.add_note(9, "winner", {}),
        lambda ledger: ledger.trials(9),
    ],
)
def test_a_stranger_s_study_is_refused(ledger, study, append):
    with pytest.raises(NotInLedger, match=r"[Ss]tudy .*9"):
        append(ledger)


def test_a_stranger_s_trial_is_refused(ledger, study):
    with pytest.raises(NotInLedger, match="holds no trial 5"):
        ledger.add_measurements(study, 5, [Measurement(1, 0.5)])
    with pytest.raises(NotInLedger, match="holds no trial 5"):
        ledger.add_move(study, Move(5, {}, 0, 0, 1))


# A trial's life


def test_a_trial_runs_pauses_continues_and_completes(ledger, study):
    started(ledger, study, stop_step=2)
    assert the_only_trial(ledger, study).state is State.RUNNING

    ledger.add_measurements(study, 0, [Measurement(0, 2.0), Measurement(1, 0.9)])
    assert the_only_trial(ledger, study).state is State.RUNNING

    ledger.add_measurements(study, 0, [Measurement(2, 0.8)])
    ledger.end_move(study, 0, ended=False)
    trial = the_only_trial(ledger, study)
    assert (trial.state, trial.target_step) == (State.PAUSED, 2)

    ledger.add_move(study, Move(0, {}, 7, 2, 4))
    trial = the_only_trial(ledger, study)
    assert (trial.state, trial.target_step) == (State.RUNNING, 4)

    ledger.add_measurements(study, 0, [Measurement(3, 0.7), Measurement(4, 0.6)])
    ledger.end_move(study, 0, ended=True)
    trial = the_only_trial(ledger, study)
    assert (trial.state, [m.step for m in trial.curve]) == (State.COMPLETED, [0, 1, 2, 3, 4])


def test_a_move_cut_short_leaves_a_paused_trial_where_it_came(ledger, study):
    started(ledger, study, stop_step=4)
    ledger.add_measurements(study, 0, [Measurement(1, 0.9)])
    ledger.end_move(study, 0, ended=False)
    trial = the_only_trial(ledger, study)
    assert (trial.state, trial.target_step, trial.ended) == (State.PAUSED, 1, False)


def test_a_training_that_ended_by_itself_goes_no_further(ledger, study):
    started(ledger, study, stop_step=4)
    ledger.add_measurements(study, 0, [Measurement(1, 0.9)])
    ledger.end_move(study, 0, ended=True)
    trial = the_only_trial(ledger, study)
    assert (trial.state, trial.target_step, trial.ended) == (State.COMPLETED, 4, True)


def test_a_failure_is_kept_with_its_reason_and_its_cost(ledger, study):
    started(ledger, study)
    ledger.add_measurements(study, 0, [Measurement(1, 0.9, cost_s=2.0)])
    ledger.end_move(study, 0, ended=False, error="killed by signal 9", waste_s=3.5)
    trial = the_only_trial(ledger, study)
    assert (trial.state, trial.error, trial.cost_s) == (State.FAILED, "killed by signal 9", 5.5)


def test_a_failed_trial_that_is_asked_again_runs_and_keeps_its_waste(ledger, study):
    started(ledger, study)
    ledger.end_move(study, 0, ended=False, error="out of memory", waste_s=1.0)
    ledger.add_move(study, Move(0, {}, 7, 0, 2))
    trial = the_only_trial(ledger, study)
    assert (trial.state, trial.error, trial.waste_s) == (State.RUNNING, None, 1.0)


def test_a_move_is_ended_once(ledger, study):
    started(ledger, study)
    ledger.end_move(study, 0, ended=False)
    with pytest.raises(MoveError, match="Trial 0 has no outstanding move"):
        ledger.end_move(study, 0, ended=True)
    assert the_only_trial(ledger, study).state is State.PAUSED


def test_a_move_that_was_never_asked_cannot_be_ended(ledger, study):
    ledger.add_trial(study, {}, 0)
    with pytest.raises(MoveError, match="never asked"):
        ledger.end_move(study, 0, ended=True)


# Measurements


def test_a_repeated_step_is_refused_and_nothing_of_it_is_written(ledger, study):
    started(ledger, study, stop_step=4)
    ledger.add_measurements(study, 0, [Measurement(1, 0.9), Measurement(2, 0.8)])
    with pytest.raises(MoveError, match=r"Trial 0 was told step 2 twice.*after 2\."):
        ledger.add_measurements(study, 0, [Measurement(3, 0.7), Measurement(2, 0.1)])
    assert [(m.step, m.loss) for m in the_only_trial(ledger, study).curve] == [(1, 0.9), (2, 0.8)]


def test_a_step_that_repeats_within_one_append_is_refused(ledger, study):
    started(ledger, study)
    with pytest.raises(MoveError, match="told step 1 twice"):
        ledger.add_measurements(study, 0, [Measurement(1, 0.9), Measurement(1, 0.9)])
    assert len(the_only_trial(ledger, study).curve) == 0


def test_no_measurements_are_no_append(ledger, study):
    started(ledger, study)
    ledger.add_measurements(study, 0, [])
    assert len(the_only_trial(ledger, study).curve) == 0


measurement_lists = st.lists(
    st.builds(
        Measurement,
        step=st.integers(0, 10**9),
        loss=st.floats(),
        cost_s=st.floats(min_value=0),
        metrics=st.dictionaries(st.text(), st.floats() | st.integers(-(2**70), 2**70)),
    ),
    unique_by=lambda m: m.step,
    max_size=5,
)


def exactly(measurements):
    """Measurements as text, in which NaN equals NaN."""
    return [(m.step, repr(m.loss + 0.0), repr(m.cost_s + 0.0), repr(sorted(m.metrics.items()))) for m in measurements]


@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(measurement_lists)
def test_every_number_survives_the_round_trip_exactly(ledger, study, more):
    """Also NaN, infinities, subnormal numbers, and names of metrics in any script."""
    trial = started(ledger, study)
    ledger.add_measurements(study, trial, more)
    assert exactly(ledger.curve(study, trial)) == exactly(sorted(more, key=lambda m: m.step))


# Notes


def test_notes_come_back_by_kind_oldest_first(ledger, study):
    ids = [ledger.add_note(study, kind, {"n": n}) for n, kind in enumerate(("winner", "advice", "winner"))]
    assert [(note.id, note.body) for note in ledger.notes(study, "winner")] == [
        (ids[0], {"n": 0}),
        (ids[2], {"n": 2}),
    ]
    assert [note.kind for note in ledger.notes(study)] == ["winner", "advice", "winner"]
    assert ledger.notes(study, "recheck") == []


# Processes and threads


def test_a_study_goes_on_where_the_ledger_was_closed(store):
    with Ledger.open(store) as ledger:
        study = ledger.create_study("digits", {})
        started(ledger, study)
        ledger.add_measurements(study, 0, [Measurement(1, 0.5, 0.1, {"valid_error": 0.5})])
        before = ledger.trials(study)
    with Ledger.open(store, create=False) as ledger:
        assert ledger.trials(study) == before
        assert ledger.add_trial(study, {}, 0) == 1


def test_a_file_may_be_named_by_its_url(tmp_path):
    with Ledger.open(tmp_path / "study.db") as ledger:
        ledger.create_study("digits", {})
    with Ledger.open(f"sqlite:///{tmp_path / 'study.db'}", create=False) as ledger:
        assert [row.name for row in ledger.studies()] == ["digits"]


def test_trials_read_before_a_ledger_was_closed_keep_their_curves(store):
    with Ledger.open(store) as ledger:
        study = ledger.create_study("digits", {})
        started(ledger, study)
        ledger.add_measurements(study, 0, [Measurement(1, 0.5), Measurement(2, 0.25)])
        ledger.end_move(study, 0, ended=False)
        (trial,) = ledger.trials(study)
    assert [m.loss for m in trial.curve] == [0.5, 0.25]


def test_a_trial_that_was_read_stays_as_it_was(ledger, study):
    started(ledger, study)
    ledger.add_measurements(study, 0, [Measurement(1, 0.5)])
    ledger.end_move(study, 0, ended=False)
    before = the_only_trial(ledger, study)
    ledger.add_move(study, Move(0, {}, 7, 1, 2))
    ledger.add_measurements(study, 0, [Measurement(2, 0.25)])
    assert [m.step for m in before.curve] == [1]


def test_what_a_summary_says_is_known_without_reading_the_curve(ledger, study, monkeypatch):
    started(ledger, study, stop_step=4)
    curve = [Measurement(0, 0.1, 1.0), Measurement(1, 0.5, 1.0), Measurement(2, 0.4, 1.0), Measurement(3, 0.6, 1.0)]
    ledger.add_measurements(study, 0, curve)
    ledger.end_move(study, 0, ended=False)
    trial = the_only_trial(ledger, study)
    monkeypatch.setattr(ledger, "curve", None)
    assert (len(trial.curve), trial.curve.last_step, trial.loss, trial.cost_s) == (4, 3, 0.4, 4.0)
    assert (trial.state, trial.target_step) == (State.PAUSED, 3)
    monkeypatch.undo()
    assert [*trial.curve] == curve


def test_one_writer_s_rows_are_seen_by_another_at_once(store):
    with Ledger.open(store) as one, Ledger.open(store) as other:
        study = one.create_study("digits", {})
        assert [one.add_trial(study, {}, 0), other.add_trial(study, {}, 0)] == [0, 1]
        assert len(one.trials(study)) == 2
        assert one.session != other.session


def test_only_the_holder_of_a_trial_writes_into_it(store):
    with Ledger.open(store) as one, Ledger.open(store) as other:
        study = one.create_study("digits", {})
        move = Move(one.add_trial(study, {}, 7), {}, 7, 0, 4)
        old, new = (Claim(ledger.add_move(study, move), ledger.session) for ledger in (one, other))
        with pytest.raises(ClaimLost, match="Trial 0 was taken over"):
            one.add_measurements(study, 0, [Measurement(1, 0.9)], claim=old)
        with pytest.raises(ClaimLost):
            one.end_move(study, 0, ended=True, claim=old)
        other.add_measurements(study, 0, [Measurement(1, 0.5)], claim=new)
        other.end_move(study, 0, ended=True, claim=new)
        (trial,) = one.trials(study)
        assert (trial.state, [m.loss for m in trial.curve]) == (State.COMPLETED, [0.5])


def test_texts_that_no_database_can_hold_are_written_as_what_can_be_read(ledger, study):
    started(ledger, study)
    ledger.end_move(study, 0, ended=True, error="bad\0byte and half a \ud83d")
    assert the_only_trial(ledger, study).error == r"bad\0byte and half a \ud83d"


def test_what_looks_like_sql_is_text(ledger):
    evil = "x'); DROP TABLE studies; --"
    study = ledger.create_study(evil, {evil: evil})
    trial = ledger.add_trial(study, {evil: evil}, 0)
    ledger.add_move(study, Move(trial, {}, 0, 0, 1))
    ledger.add_measurements(study, trial, [Measurement(1, 0.5, metrics={evil: 1.0})])
    ledger.end_move(study, trial, ended=True, error=evil)
    ledger.add_note(study, evil, evil)
    (found,) = ledger.trials(study)
    assert (ledger.find_study(evil).spec, found.config, found.error) == ({evil: evil}, {evil: evil}, evil)
    assert [note.body for note in ledger.notes(study, evil)] == [evil]
    assert found.curve.measurements[0].metrics == {evil: 1.0}


def test_threads_share_a_ledger(ledger, study):
    with ThreadPoolExecutor(4) as threads:
        numbers = list(threads.map(lambda seed: ledger.add_trial(study, {}, seed), range(40)))
    assert sorted(numbers) == list(range(40))


OPENS_AND_ADDS = """
import sys
from ayar.errors import LedgerError
from ayar.ledger import Ledger

with Ledger.open(sys.argv[1]) as ledger:
    try:
        study = ledger.create_study("shared", {})
    except LedgerError:
        study = ledger.find_study("shared").id
    for seed in range(50):
        print(ledger.add_trial(study, {"seed": seed}, seed))
"""


def python(script, *arguments):
    return subprocess.Popen([sys.executable, "-c", script, *map(str, arguments)], stdout=subprocess.PIPE, text=True)


def test_processes_that_make_one_ledger_at_once_number_their_trials_without_a_clash(new_store):
    writers = [python(OPENS_AND_ADDS, new_store) for _ in range(4)]
    outputs = [writer.communicate()[0] for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0, 0, 0]
    assert sorted(int(line) for output in outputs for line in output.split()) == list(range(200))


APPENDS_FOR_EVER = """
import itertools, sys
from ayar.ledger import Ledger
from ayar.records import Measurement

ledger = Ledger.open(sys.argv[1])
study = ledger.find_study("digits").id
first = ledger.trials(study)[0].curve.last_step + 1
for step in itertools.count(first):
    ledger.add_measurements(study, 0, [Measurement(step, 1 / step, 0.25, {"valid_error": 1 / step})])
    print(step, flush=True)
"""


def test_a_killed_writer_loses_nothing_that_it_acknowledged(store):
    """Killed five times at moments that nobody chose, the curve has no gap and ends at the last step or one on."""
    with Ledger.open(store) as ledger:
        study = ledger.create_study("digits", {})
        ledger.add_trial(study, {}, 0)
    chance = random.Random(5)
    for _ in range(5):
        writer = python(APPENDS_FOR_EVER, store)
        lines = [writer.stdout.readline() for _ in range(chance.randint(1, 400))]
        writer.send_signal(signal.SIGKILL)
        acknowledged = int([*lines, *writer.communicate()[0].splitlines(keepends=True)][-1])
        with Ledger.open(store) as ledger:
            curve = ledger.trials(study)[0].curve
        assert [m.step for m in curve] == list(range(1, len(curve) + 1))
        assert len(curve) in (acknowledged, acknowledged + 1)
        assert all(m == Measurement(m.step, 1 / m.step, 0.25, {"valid_error": 1 / m.step}) for m in curve)


def test_a_closed_ledger_says_that_it_is_closed(ledger, study):
    ledger.close()
    ledger.close()
    with pytest.raises(LedgerError, match="is closed"):
        ledger.trials(study)
