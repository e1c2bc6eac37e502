"""The study: ask and tell, tuning with real worker processes, resuming, the honest winner."""

import ast
import inspect
import math
import os
import sqlite3
import subprocess
import sys
import textwrap
import time
from contextlib import closing, nullcontext

import cloudpickle
import pytest

import ayar
from ayar.errors import BudgetError, LedgerError, MoveError, NotInLedger, ObjectiveError, SpaceError
from ayar.records import ScoreKind, State
from ayar.seeds import Purpose
from ayar.study import Study

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers can't import test modules

SPACE = ayar.Space(x=ayar.Float(0.0, 1.0), y=ayar.Float(1e-3, 1.0, log=True), iterations=9)


def train(config, seed):
    """Falls towards the distance from (0.3, 0.1), with seed noise."""
    noise = 0.01 * math.sin(seed)
    for step in range(1, config["iterations"] + 1):
        yield {"error": abs(config["x"] - 0.3) + abs(math.log10(config["y"]) + 1) + 1 / step + noise}


def outside_loop(study, moves):
    """Tune by ask and tell alone; gives the moves in order."""
    asked = []
    for _ in range(moves):
        (move,) = study.ask(1)
        asked.append(move)
        steps = range(move.start_step + 1, move.stop_step + 1)
        losses = list(train(move.config, move.seed))
        study.tell(move, [{"step": step, **losses[step - 1]} for step in steps])
    return asked


# -- ask and tell


def test_the_same_seed_history_and_calls_give_the_same_moves():
    one = outside_loop(Study(space=SPACE, minimize="error", seed=3), 60)
    again = outside_loop(Study(space=SPACE, minimize="error", seed=3), 60)
    other = outside_loop(Study(space=SPACE, minimize="error", seed=4), 60)
    assert one == again
    assert one != other


def test_a_study_resumed_from_its_ledger_gives_the_moves_it_would_have_given(tmp_path):
    whole = outside_loop(Study(space=SPACE, minimize="error"), 40)
    parts = []
    for count in (13, 1, 26):
        with Study(tmp_path / "parts.db", space=SPACE, minimize="error") as study:
            parts += outside_loop(study, count)
    assert parts == whole


def clocked(store, count, slower):
    """The next moves of a study whose trials with a large x take so much longer for a step, as the clock tells it."""
    space, moves = ayar.Space(x=ayar.Float(0.0, 1.0), y=ayar.Float(0.0, 1.0), iterations=27), []
    with ayar.Study(store, space=space, minimize="error", searcher="auto", seed=5) as study:
        for _ in range(count):
            (move,) = study.ask(1)
            moves.append((move.trial, move.config, move.seed, move.start_step, move.stop_step))
            x, y, steps = move.config["x"], move.config["y"], range(move.start_step + 1, move.stop_step + 1)
            seconds = 0.1 * (slower if x > 0.5 else 1.0) * (1 + 0.1 * (move.trial % 7))
            study.tell(move, [{"step": n, "error": abs(x - 0.6) + y + 1 / n, "cost_s": seconds} for n in steps])
    return moves


def test_the_racer_goes_on_in_a_new_process_with_the_moves_that_its_recorded_seconds_ask_for(tmp_path):
    """Seconds on record are part of the history: the same history gives the same moves, and other clocks may not."""
    whole, parts = clocked(None, 36, 5), str(tmp_path / "parts.db")
    first = clocked(parts, 23, 5)
    script = f"import ayar\n{inspect.getsource(clocked)}\nprint(repr(clocked({parts!r}, 13, 5)))"
    rest = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert first + ast.literal_eval(rest) == whole
    assert clocked(None, 36, 1) != whole


def test_ask_never_hands_out_a_trial_whose_move_is_outstanding():
    study = Study(space=SPACE, minimize="error")
    moves = study.ask(20)
    assert len({move.trial for move in moves}) == 20
    assert study.outstanding() == moves


def test_moves_told_in_any_order_piece_by_piece_end_up_on_their_own_curves():
    study = Study(space=SPACE, minimize="error")
    first, second = study.ask(2)
    study.tell(second, {"step": 1, "error": 0.2})
    study.tell(first, [{"step": s, "error": 1.0} for s in range(1, first.stop_step + 1)])
    assert [len(t.curve) for t in study.trials()] == [first.stop_step, 1]


def test_a_bare_number_answers_a_study_of_final_values():
    study = Study(space=ayar.Space(x=ayar.Float(0.0, 1.0)), maximize="score")
    (move,) = study.ask()
    study.tell(move, 0.93)
    assert study.recommend().curve.best.metrics == {"score": 0.93}
    assert study.recommend().loss == -0.93


def test_a_non_finite_measurement_ends_the_trial_as_diverged():
    study = Study(space=SPACE, minimize="error")
    (move,) = study.ask()
    study.tell(move, [{"step": 1, "error": float("nan")}])
    assert study.trials()[0].state is State.DIVERGED
    assert study.outstanding() == []


def test_a_told_error_ends_the_trial_as_failed():
    study = Study(space=SPACE, minimize="error")
    (move,) = study.ask()
    study.tell(move, error="out of memory")
    assert (study.trials()[0].state, study.trials()[0].error) == (State.FAILED, "out of memory")


def test_a_move_that_was_not_asked_is_refused():
    study = Study(space=SPACE, minimize="error")
    (move,) = study.ask()
    stranger = ayar.Move(move.trial, {**move.config, "x": 0.9}, move.seed, 0, move.stop_step)
    with pytest.raises(MoveError, match="Tell a move that ask"):
        study.tell(stranger, 0.5)


def test_recommending_without_any_measurement_says_what_to_do():
    with pytest.raises(NotInLedger, match=r"holds no finite error yet\. Tune first"):
        Study(space=SPACE, minimize="error").recommend()


# -- opening


def test_a_new_study_needs_its_space_and_metric(tmp_path):
    with pytest.raises(SpaceError, match="needs space= and minimize= or maximize="):
        Study(space=SPACE)


def test_a_store_that_does_not_exist_is_not_made_by_looking(tmp_path):
    with pytest.raises(LedgerError, match=r"nowhere\.db"):
        Study(tmp_path / "nowhere.db")
    assert list(tmp_path.iterdir()) == []


def test_a_known_study_needs_only_its_store(tmp_path):
    Study(tmp_path / "a.db", space=SPACE, maximize="accuracy", seed=5).close()
    with Study(tmp_path / "a.db") as study:
        assert (study.metric, study.maximize, study.horizon, study.seed) == ("accuracy", True, 9, 5)
        assert study.space.to_dict() == SPACE.to_dict()


@pytest.mark.parametrize("change", [{"horizon": 5}, {"minimize": "loss"}, {"seed": 9}, {"searcher": "random"}])
def test_a_known_study_refuses_to_become_another(tmp_path, change):
    given = {"space": SPACE, "minimize": "error"}
    Study(tmp_path / "a.db", **given).close()
    with pytest.raises(SpaceError, match="was made with"):
        Study(tmp_path / "a.db", **{**given, **change})


def test_a_metric_that_was_mistyped_is_corrected_by_the_next_call_as_long_as_nothing_was_measured(tmp_path):
    """The first command of a new user has a typo; the second one must not be refused over it."""
    mistyped = Study(tmp_path / "a.db", space=SPACE, minimize="eror")
    with mistyped, pytest.raises(ObjectiveError, match="did you mean 'error'"):
        mistyped.tune(train, trials=4, workers=2, progress=False)
    with Study(tmp_path / "a.db", space=SPACE, minimize="error") as study:
        study.tune(train, trials=4, workers=2, confirm=0, progress=False)
        assert {t.state for t in study.trials()} <= {State.PAUSED, State.COMPLETED}
    with Study(tmp_path / "a.db") as study:
        assert (study.metric, len(study.trials())) == ("error", 4)
    with pytest.raises(SpaceError, match="was made with metric=error"):
        Study(tmp_path / "a.db", space=SPACE, minimize="eror")


def test_a_tuning_that_was_refused_before_its_first_trial_may_be_given_other_values(tmp_path):
    """A user who is told to give a horizon must not be told then that the study has none."""
    space = ayar.Space(x=ayar.Float(0.0, 1.0), epochs=3)

    def steps(config, seed):
        for step in range(1, 4):
            yield {"error": config["x"] / step}

    refused = Study(tmp_path / "a.db", space=space, minimize="eror")
    with refused, pytest.raises(ObjectiveError, match=r"horizon=3\) \(--horizon 3\)"):
        refused.tune(steps, trials=2, workers=0, progress=False)
    with Study(tmp_path / "a.db", space=space, minimize="error", horizon=3) as study:
        study.tune(steps, trials=2, workers=0, confirm=0, progress=False)
    with Study(tmp_path / "a.db") as study:
        assert (study.metric, study.horizon) == ("error", 3)
    with pytest.raises(SpaceError, match="was made with metric=error"):
        Study(tmp_path / "a.db", space=space, minimize="eror")


@pytest.mark.parametrize("trials", [3, 9])
def test_where_every_training_failed_all_are_tried_again_once_the_training_is_mended(tmp_path, trials):
    """A bug in the training says nothing about configurations, and must not use up the study's trials."""

    def broken(config, seed):
        yield {"error": config["z"]}

    with Study(tmp_path / "a.db", space=SPACE, minimize="error") as study:
        for _ in range(2):
            refused = pytest.raises(ObjectiveError, match=r"first 8 trainings failed; the last one so: KeyError: 'z'")
            with refused if trials > 8 else nullcontext():
                assert study.tune(broken, trials=trials, workers=0, progress=False) is None
        with pytest.raises(NotInLedger, match=r"failed, the last one so: KeyError: 'z'"):
            study.recommend()
    with Study(tmp_path / "a.db") as study:
        assert study.tune(train, trials=trials, workers=0, progress=False) is not None
        searched = [t for t in study.trials() if t.purpose is Purpose.SEARCH]
        assert len(searched) == trials
        assert all(t.error is None for t in searched)


def test_a_failure_says_which_name_of_the_configuration_may_be_meant_and_in_which_file(tmp_path):
    script = tmp_path / "mine.py"
    script.write_text(
        textwrap.dedent("""
        import ayar
        def train(config, seed):
            yield {"error": config["learning_rat"]}
        if __name__ == "__main__":
            study = ayar.Study(space=ayar.Space(learning_rate=ayar.Float(0.0, 1.0), iterations=2), minimize="error")
            study.tune(train, trials=2, workers=1, progress=False)
        """)
    )
    said = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False).stderr
    assert "KeyError: 'learning_rat'. Did you mean 'learning_rate'?" in said
    assert f'File "{script}", line 4, in train' in said


def test_several_studies_share_a_ledger(tmp_path):
    Study(tmp_path / "a.db", space=SPACE, minimize="error", name="one").close()
    with Study(tmp_path / "a.db", space=SPACE, minimize="loss", name="two") as study:
        assert study.metric == "loss"
    with pytest.raises(LedgerError, match="'one', 'two'"):
        Study(tmp_path / "a.db")


def test_an_unknown_searcher_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(SpaceError, match="'magic'"):
        Study(tmp_path / "a.db", space=SPACE, minimize="error", searcher="magic")
    with pytest.raises(SpaceError):
        Study(tmp_path / "a.db")


# -- tuning


def test_tuning_finds_the_valley_and_reports_fresh_seeds(tmp_path):
    with Study(tmp_path / "a.db", space=SPACE, minimize="error") as study:
        winner = study.tune(train, trials=60, workers=2, confirm=0.6, progress=False)
    assert abs(winner.config["x"] - 0.3) < 0.2
    assert 0.03 < winner.config["y"] < 0.3
    assert len(winner.scores[ScoreKind.FRESH_SEED].values) >= 3
    assert winner.scores[ScoreKind.SEARCH_BEST].mean < winner.scores[ScoreKind.FRESH_SEED].mean + 0.05
    assert set(winner.compared) >= {"default"}


def test_one_worker_in_this_process_and_one_in_another_tune_alike(tmp_path):
    histories = []
    for workers in (0, 1):
        study = Study(space=SPACE, minimize="error", searcher="halving")  # the racer asks what a step takes, too
        study.tune(train, trials=20, workers=workers, confirm=0, progress=False)
        histories.append([(t.config, t.seed, [m.loss for m in t.curve]) for t in study.trials()])
        study.close()
    assert histories[0] == histories[1]


def test_a_trials_budget_counts_from_the_beginning_and_a_finished_tuning_ends_at_once():
    study = Study(space=SPACE, minimize="error")
    study.tune(train, trials=10, workers=0, progress=False)
    before = study.trials()
    study.tune(train, trials=10, workers=0, progress=False)
    assert study.trials() == before
    assert sum(t.purpose is Purpose.SEARCH for t in before) == 10
    study.tune(train, trials=15, workers=0, progress=False)
    assert sum(t.purpose is Purpose.SEARCH for t in study.trials()) == 15


def test_no_seed_of_the_search_is_used_to_confirm():
    study = Study(space=SPACE, minimize="error")
    study.tune(train, trials=10, workers=0, progress=False)
    by_purpose = {p: {t.seed for t in study.trials() if t.purpose is p} for p in Purpose}
    assert by_purpose[Purpose.RERANK]
    assert by_purpose[Purpose.FINALISE]
    assert not by_purpose[Purpose.SEARCH] & (by_purpose[Purpose.RERANK] | by_purpose[Purpose.FINALISE])
    assert not by_purpose[Purpose.RERANK] & by_purpose[Purpose.FINALISE]


def test_trainings_that_raise_or_diverge_are_recorded_and_the_study_goes_on():
    def fragile(config, seed):
        if config["x"] > 0.7:
            raise RuntimeError("too wide for me")
        for step in range(1, 10):
            yield {"error": float("inf") if config["y"] > 0.5 else abs(config["x"] - 0.3) + 1 / step}

    study = Study(space=SPACE, minimize="error")
    winner = study.tune(fragile, trials=40, workers=2, progress=False)
    states = {t.state for t in study.trials()}
    assert {State.FAILED, State.DIVERGED, State.COMPLETED} <= states
    assert "too wide for me" in next(t.error for t in study.trials() if t.state is State.FAILED)
    assert winner.config["x"] < 0.7


def test_a_worker_that_is_killed_costs_one_trial_not_the_study():
    def deadly(config, seed):
        if config["x"] > 0.8:
            os.kill(os.getpid(), 9)
        yield {"error": config["x"]}

    study = Study(space=ayar.Space(x=ayar.Float(0.0, 1.0)), minimize="error", horizon=2)
    study.tune(deadly, trials=12, workers=2, confirm=0, progress=False)
    failed = [t for t in study.trials() if t.state is State.FAILED]
    assert failed
    assert all("9" in t.error for t in failed)
    assert len(study.trials()) == 12


def test_a_hung_training_is_recorded_as_failed():
    def hangs(config, seed):
        while config["x"] > 0.6:
            pass
        yield {"error": config["x"]}

    study = Study(space=ayar.Space(x=ayar.Choice(0.1, 0.2, 0.9)), minimize="error", horizon=2)
    study.tune(hangs, workers=1, confirm=0, step_timeout_s=2, progress=False)
    (hung,) = [t for t in study.trials() if t.state is State.FAILED]
    assert hung.config == {"x": 0.9}
    assert "step_timeout_s=2" in hung.error


def test_a_training_that_always_fails_stops_the_tuning_with_its_own_words():
    def broken(config, seed):
        yield {"step": 0, "error": 1.0}  # the untrained net is no success
        raise KeyError("lerning_rate")

    study = Study(space=SPACE, minimize="error")
    with pytest.raises(ObjectiveError, match="lerning_rate"):
        study.tune(broken, trials=100, workers=0, progress=False)
    assert len(study.trials()) == 8


def test_tuning_without_an_end_is_refused():
    with pytest.raises(BudgetError, match="Say when to stop"):
        Study(space=SPACE, minimize="error").tune(train)


@pytest.mark.parametrize("budget", [{"minutes": 0}, {"trials": -1}, {"trials": 5, "confirm": 1.0}])
def test_an_impossible_budget_is_refused(budget):
    with pytest.raises(BudgetError, match=f"{next(reversed(budget))}="):
        Study(space=SPACE, minimize="error").tune(train, **budget)


def test_a_generator_without_a_horizon_is_refused():
    with pytest.raises(ObjectiveError, match="horizon is 1 step"):
        Study(space=ayar.Space(x=ayar.Float(0.0, 1.0)), minimize="error").tune(train, trials=1)


def test_a_small_space_is_exhausted_and_ends_without_a_budget():
    study = Study(space=ayar.Space(x=ayar.Choice(1, 2, 3), y=ayar.Choice("a", "b")), minimize="error")
    winner = study.tune(lambda config, seed: abs(config["x"] - 2) + (config["y"] == "a"), workers=0, progress=False)
    assert winner.config == {"x": 2, "y": "b"}
    assert sum(t.purpose is Purpose.SEARCH for t in study.trials()) == 6


def test_an_attempt_by_hand_is_on_record_and_not_paid_twice():
    study = Study(space=SPACE, minimize="error")
    first = study.attempt(train, x=0.25)
    again = study.attempt(train, x=0.25)
    other = study.attempt(train, x=0.9)
    assert first == again
    assert first.config == {"x": 0.25, "y": pytest.approx(0.0316, rel=1e-2), "iterations": 9}
    assert len(study.trials()) == 2
    assert first.seed == other.seed
    assert first.purpose is Purpose.ATTEMPT


def test_an_attempt_may_look_beyond_the_ends_of_a_range():
    study = Study(space=SPACE, minimize="error")
    assert study.attempt(train, y=10).config["y"] == 10.0
    with pytest.raises(SpaceError, match="'high'"):
        study.attempt(train, y="high")


def test_the_test_set_is_opened_once_and_again_only_with_a_reason():
    study = Study(space=SPACE, minimize="error")
    with pytest.raises(NotInLedger, match="no winner on fresh seeds"):
        study.open_test(lambda folder: 0.0, purpose="curiosity")
    study.tune(train, trials=10, workers=0, progress=False)
    looks = []
    score = study.open_test(lambda folder: looks.append(folder) or 0.25, purpose="the paper")
    assert (score.kind, score.mean) == (ScoreKind.TEST, 0.25)
    assert study.open_test(lambda folder: 1.0, purpose="again") == score
    assert len(looks) == len(study.winner().scores[ScoreKind.FRESH_SEED].values)
    assert study.winner().scores[ScoreKind.TEST] == score
    study.open_test(lambda folder: 0.5, purpose="the paper", reason="the file was wrong")
    assert [(n.body["count"], n.body["reason"]) for n in study.notes("test opened")] == [
        (1, None),
        (2, "the file was wrong"),
    ]


def test_a_trial_trained_elsewhere_can_be_added():
    study = Study(space=SPACE, minimize="error")
    config = {**SPACE.default(), "x": 0.4}
    added = study.add(config, [{"step": 1, "error": 0.5}, {"step": 2, "error": 0.4}])
    assert (added.loss, added.state) == (0.4, State.COMPLETED)
    with pytest.raises(SpaceError, match="'z'"):
        study.add({**config, "z": 7.0}, [])


@pytest.mark.parametrize(
    ("told", "error", "message"),
    [
        ([{"step": 1, "loss": 0.5}], ObjectiveError, "needs 'error'"),
        ([{"step": 1.5, "error": 0.5}], ObjectiveError, "steps are whole numbers, got 1.5"),
        ([{"step": math.inf, "error": 0.5}], ObjectiveError, "steps are whole numbers, got inf"),
        ([{"step": 1, "error": 10**400}], ObjectiveError, "too large"),
        ([{"step": 2, "error": 0.5}, {"step": 1, "error": 0.4}], MoveError, "must rise, got 1 after 2"),
    ],
)
def test_what_cannot_be_read_of_a_trial_from_elsewhere_leaves_nothing_behind(told, error, message):
    study = Study(space=SPACE, minimize="error")
    with pytest.raises(error, match=message):
        study.add(SPACE.default(), told)
    assert study.trials() == []


@pytest.mark.parametrize("seed", [-1, 1.5, "a", True])
def test_a_seed_that_is_none_is_refused_before_anything_is_written(tmp_path, seed):
    with pytest.raises(SpaceError, match="can't begin random numbers"):
        Study(tmp_path / "s.db", space=SPACE, minimize="error", seed=seed)
    assert Study(tmp_path / "s.db", space=SPACE, minimize="error", seed=3).seed == 3


@pytest.mark.parametrize("limit", [{"trials": 2.5}, {"steps": math.inf}, {"minutes": math.inf}])
def test_a_limit_that_is_none_is_refused(limit):
    with pytest.raises(BudgetError, match="is no limit"):
        Study(space=SPACE, minimize="error").tune(lambda config, seed: 0.5, **limit, workers=0)


@pytest.mark.parametrize("huge", [1e155, 1.7e308, -1e200])
def test_a_loss_too_large_to_reckon_with_is_a_diverged_training_and_in_nobodys_way(huge):
    """Squares of such numbers would be infinite, and differences of them NaN, in the search as in every interval."""
    study = Study(space=SPACE, minimize="error", horizon=2)
    configs = [{**SPACE.default(), "x": 0.1 * number} for number in range(1, 9)]
    for purpose in (Purpose.SEARCH, Purpose.RERANK, Purpose.FINALISE):
        for number, config in enumerate(configs):
            for seed in range(2):
                last = huge if number == seed == 1 else 0.1 * number + 0.01 * seed
                study.add(config, [{"step": 1, "error": 1.0}, {"step": 2, "error": last}], seed=seed, purpose=purpose)
    broken = [trial for trial in study.trials() if trial.state is State.DIVERGED]
    assert [trial.config["x"] for trial in broken] == [0.2] * 3
    assert broken[0].curve.measurements[-1].metrics == {"error": huge}
    assert study.winner().config == configs[0]
    assert study.recommend().config["x"] == 0.1
    assert study.ask(2)
    assert study.story().verdicts[broken[0].id][0].name == "diverging"


SLOW = textwrap.dedent("""
    import sys, time, ayar
    def train(config, seed):
        for step in range(1, 10):
            time.sleep(0.005)
            yield {"error": config["x"] + 1 / step}
    study = ayar.Study(sys.argv[1], space=ayar.Space(x=ayar.Float(0.0, 1.0), iterations=9), minimize="error")
    study.tune(train, trials=40, workers=2)
    print("winner", study.winner().config["x"])
""")


def test_a_study_that_is_killed_at_any_moment_goes_on_and_holds_each_measurement_once(tmp_path):
    script, store = tmp_path / "tune.py", tmp_path / "tune.db"
    script.write_text(SLOW)
    kept = []
    for steps in (5, 60, 120):  # killed once so many measurements are there
        process = subprocess.Popen([sys.executable, script, store])
        while process.poll() is None and measured(store) < steps:
            time.sleep(0.01)
        process.kill()
        process.wait()
        kept.append([(t.id, [m.loss for m in t.curve]) for t in Study(store).trials()])
    done = subprocess.run([sys.executable, script, store], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("winner")
    curves = {t.id: [m.loss for m in t.curve] for t in Study(store).trials()}
    for snapshot in kept:
        assert all(curves[number][: len(losses)] == losses for number, losses in snapshot)
    assert all(t.curve.last_step == len(t.curve) for t in Study(store).trials())
    assert all(t.state is not State.FAILED for t in Study(store).trials())


def measured(store):
    try:
        with closing(sqlite3.connect(f"{store.as_uri()}?mode=ro", uri=True)) as file:
            return file.execute("SELECT count(*) FROM measurements").fetchone()[0]
    except sqlite3.OperationalError:  # not there yet, or without its tables
        return 0


def test_the_report_of_a_study_is_written(tmp_path):
    study = Study(space=SPACE, minimize="error")
    study.tune(train, trials=10, workers=0, progress=False)
    page = study.report(tmp_path / "report.html").read_text()
    assert "<svg" in page
    assert "fresh" in page
