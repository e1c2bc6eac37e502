"""When a winner is due, and how a year's false alarms stay capped."""

from datetime import UTC, datetime, timedelta

import pytest

from ayar.ledger.store import Note
from ayar.recheck.drift import Drift
from ayar.recheck.due import Action, Watched, reasons, yearly
from ayar.recheck.history import adopted, timeline
from ayar.recheck.world import World, watched
from ayar.records import Curve, Measurement, Metric, ScoreKind, Trial

THEN = datetime(2026, 1, 1, tzinfo=UTC)
NOW = THEN + timedelta(days=10)
HERE = {
    "hardware": {"cpu": "Xeon", "gpus": ["NVIDIA H100, 81559 MiB, 550.1"], "precision": "float32, products highest"},
    "software": {"torch": "2.4.0", "numpy": "2.1.0", "python": "3.11.2"},
    "code": {"source": "a" * 64, "commit": "b" * 40},
    "data": {"content": "c" * 64, "rows": 1000, "schema": "d" * 64},
}


def after(group, **fields):
    return {**HERE, group: {**HERE[group], **fields}}


def due(today=HERE, **more):
    return reasons(Watched(THEN, HERE, today, **more), NOW)


def test_a_world_as_it_was_is_not_due():
    assert due() == []


@pytest.mark.parametrize(
    ("today", "trigger", "action"),
    [
        (after("code", source="e" * 64), "code", Action.RECHECK),
        (after("code", commit="e" * 40), "code", Action.REPLAY),
        (after("software", torch="2.5.0"), "software", Action.RECHECK),
        (after("software", torch="2.4.1"), "software", Action.REPLAY),
        (after("software", numpy="2.2.0"), "software", Action.REPLAY),
        (after("hardware", gpus=["NVIDIA H200, 143771 MiB, 550.1"]), "hardware", Action.RECHECK),
        (after("hardware", gpus=["NVIDIA H100, 81559 MiB, 560.2"]), "hardware", Action.REPLAY),
        (after("hardware", precision="bfloat16, products highest"), "hardware", Action.RECHECK),
        (after("hardware", cpu="EPYC"), "hardware", Action.REPLAY),
        (after("data", content="f" * 64, rows=1300), "data", Action.RECHECK),
        (after("data", content="f" * 64), "data", Action.RECHECK),  # nobody knows by how much
    ],
)
def test_each_change_calls_for_what_it_may_bring(today, trigger, action):
    (reason,) = due(today)
    assert (reason.trigger, reason.action) == (trigger, action)


@pytest.mark.parametrize(("auc", "action"), [(0.5, Action.REPLAY), (0.9, Action.RECHECK)])
def test_the_effect_size_of_a_drift_decides(auc, action):
    seen = Drift(auc, auc - 0.03, auc + 0.03, 0.0, ())
    (reason,) = due(after("data", content="f" * 64), drift=seen)
    assert reason.action is action


def test_a_new_schema_calls_for_a_recheck_whatever_the_drift():
    seen = Drift(0.5, 0.47, 0.53, 0.0, ())
    (reason,) = due(after("data", content="f" * 64, schema="0" * 64), drift=seen)
    assert reason.action is Action.RECHECK


@pytest.mark.parametrize(("step_s", "count"), [((1.0, 1.2), 0), ((1.0, 1.3), 1), ((1.0, 0.7), 1)])
def test_throughput_counts_from_a_quarter_on(step_s, count):
    assert len(due(step_s=step_s)) == count


def test_an_alarm_comes_first_and_age_counts_from_the_last_check():
    found = reasons(Watched(THEN, alarms=["clicks fell"]), THEN + timedelta(days=91))
    assert [reason.trigger for reason in found] == ["age", "alarm"]
    assert reasons(Watched(THEN), THEN + timedelta(days=89)) == []


def test_whole_rechecks_come_before_replays():
    today = {**after("software", numpy="2.2.0"), "code": {**HERE["code"], "source": "e" * 64}}
    assert [reason.action for reason in due(today)] == [Action.RECHECK, Action.REPLAY]


# -- a year's false alarms


def test_a_year_of_rechecks_stays_within_its_cap():
    spent, now = [], THEN
    for _ in range(30):
        error = yearly(0.1, 90, spent, now, 0.05)
        spent.append((now, error))
        within = [e for at, e in spent if (now - at).days < 365]
        assert sum(within) <= 0.1 + 1e-12
        now += timedelta(days=30)


def test_a_single_recheck_has_at_most_the_usual_error():
    assert yearly(1.0, 90, [], THEN, 0.05) == 0.05


# -- notes


def note(number, kind, **body):
    return Note(number, kind, body, (THEN + timedelta(days=number)).isoformat())


def checked(number, begun, **more):
    seen = {"verdict": "keep, not beaten", "trainings": 27, "gain": None, "level_shift": {"mean": 0.25}, "changed": []}
    return note(number, "recheck", begun=begun, **{**seen, **more})


NOTES = [
    note(1, "confirmation", plan={"candidates": [1, 2]}),
    note(2, "fingerprint", **HERE),
    note(3, "alarm", text="before the check"),
    note(4, "recheck begun", fingerprint=after("software", torch="2.5.0")),
    checked(5, begun=4),
    note(6, "alarm", text="clicks fell"),
]


def test_what_was_checked_last_is_the_reference():
    world = World(after("software", torch="2.5.0"), None)
    seen = watched(NOTES, world)
    assert seen.checked == THEN + timedelta(days=5)
    assert seen.before["software"]["torch"] == "2.5.0"
    assert seen.alarms == ["clicks fell"]


def test_a_check_of_a_winner_from_elsewhere_is_none_of_the_studys_own():
    notes = [*NOTES, note(7, "recheck begun", fingerprint=HERE), checked(8, begun=7, imported=True)]
    assert watched(notes, None).checked == THEN + timedelta(days=5)
    assert watched(notes, None, imported=True).checked == THEN + timedelta(days=8)


def test_what_was_never_checked_is_not_watched():
    assert watched([note(1, "plan")], None) is None


def test_two_probes_since_the_last_check_are_compared():
    probes = [note(n, "throughput", step_s=s) for n, s in ((3, 9.0), (7, 1.0), (8, 1.1), (9, 2.0))]
    assert watched([*NOTES, *probes], None).step_s == (1.0, 2.0)


def test_the_timeline_tells_the_winners_story():
    events = timeline([*NOTES, note(7, "adopted", config={}, stop_step=1, scores=[1.0])])
    assert [e.what for e in events] == [
        "winner confirmed",
        "alarm",
        "keep, not beaten",
        "alarm",
        "winner replaced",
    ]
    assert events[2].detail == "27 trainings, level +0.25"


def test_an_adopted_challenger_is_the_winner_until_another_is_confirmed():
    trials = [Trial(4, {"x": 0.5}, 1, curve=Curve((Measurement(1, 0.2),)), ended=True)]
    taken = note(7, "adopted", config={"x": 0.5}, stop_step=3, scores=[0.2, 0.4])
    winner = adopted([*NOTES, taken], trials, Metric("error"))
    assert (winner.trial, winner.config, winner.stop_step) == (4, {"x": 0.5}, 3)
    assert winner.scores[ScoreKind.FRESH_SEED].mean == pytest.approx(0.3)
    assert adopted([*NOTES, taken, note(8, "confirmation")], trials, Metric("error")) is None
    assert adopted(NOTES, trials, Metric("error")) is None
