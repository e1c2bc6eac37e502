"""The freeze-thaw search, beyond the promises that every searcher keeps."""

from dataclasses import replace

from ayar.records import Curve, Measurement, State, Trial
from ayar.search import Halving, Problem, Racer
from ayar.search.board import Board
from ayar.seeds import Purpose
from ayar.space import Float, Space

HORIZON = 48
PROBLEM = Problem(Space(x=Float(0.0, 1.0), y=Float(0.0, 1.0)), HORIZON)
FIRST_STOP = 3  # about an eighteenth of the horizon


def _loss(config, step):
    """Falls to an end that (0.7, 0.3) makes least; everyone starts alike, and the good fall for longer."""
    end = (config["x"] - 0.7) ** 2 + 0.3 * (config["y"] - 0.3) ** 2
    return end + (1 - end) * 0.9**step


def _trained(trial, stop_step, loss=_loss, cost_s=0.0):
    news = [Measurement(s, loss(trial.config, s), cost_s) for s in range(trial.curve.last_step + 1, stop_step + 1)]
    curve = trial.curve.extended(news)
    return Trial(trial.id, trial.config, trial.seed, curve=curve, target_step=stop_step, ended=stop_step == HORIZON)


def _searched(moves, racer=None, problem=PROBLEM, loss=_loss):
    history = []
    for _ in range(moves):
        (proposal,) = (racer or Racer()).propose(problem, history, 1)
        if proposal.trial is None:
            history.append(_trained(Trial(len(history), proposal.config, 0), proposal.stop_step, loss))
        else:
            history[proposal.trial] = _trained(history[proposal.trial], proposal.stop_step, loss)
    return history


def test_the_first_cohort_is_trained_to_the_end_of_the_first_slice_without_choosing():
    assert [trial.curve.last_step for trial in _searched(8)] == [FIRST_STOP] * 8


def test_first_slices_are_as_long_with_many_workers_as_with_one():
    history = [Trial(i, {"x": 0.05 * i, "y": 0.5}, 0, target_step=FIRST_STOP) for i in range(16)]
    assert [p.stop_step for p in Racer().propose(PROBLEM, history, 4)] == [FIRST_STOP] * 4


def test_it_finds_a_good_configuration_with_few_trainings_worth_of_steps():
    history = _searched(60)
    spent = sum(trial.curve.last_step for trial in history) / HORIZON
    best = Racer().recommend(PROBLEM, history).config
    assert spent < 20
    assert _loss(best, 10**6) < 0.01


def test_few_trials_are_trained_to_the_horizon_and_the_bad_ones_less_than_half_of_it():
    history = _searched(60)
    whole = sum(trial.curve.last_step == HORIZON for trial in history)
    bad = [trial.curve.last_step for trial in history if _loss(trial.config, 10**6) > 0.2]
    assert whole < len(history) / 3
    assert bad
    assert max(bad) < HORIZON / 2
    assert Racer().recommend(PROBLEM, history).curve.last_step >= 12


def test_the_recommended_trial_is_the_one_expected_to_end_best_not_the_one_with_the_least_loss():
    history = [_trained(Trial(i, {"x": 0.03 * i, "y": 0.9}, 0), HORIZON if i > 3 else 4) for i in range(16)]
    rising_star = _trained(Trial(16, {"x": 0.7, "y": 0.3}, 0), 14)
    history.append(rising_star)
    assert rising_star.loss > min(trial.loss for trial in history)
    assert Racer().recommend(PROBLEM, history) == rising_star


def test_outstanding_slices_spread_workers_over_trials():
    history = _searched(20)
    proposals = Racer().propose(PROBLEM, history, 12)
    old = [p.trial for p in proposals if p.trial is not None]
    new = [(p.config["x"], p.config["y"]) for p in proposals if p.trial is None]
    assert len(proposals) == 12
    assert len(set(old)) == len(old)
    assert len(set(new)) == len(new)


def test_what_is_outstanding_tells_the_same_whether_or_not_the_board_was_looked_at_before():
    """Forecasts and length scales are handed on from board to board; what is outstanding must not be among them."""
    board = Board.of(PROBLEM, _searched(16), 1 / 18)
    config, rung = {"x": 0.6, "y": 0.2}, len(board.steps) - 1
    unseen = board.with_new(config).with_thawed(0, rung).outlook
    before = board.outlook
    seen = board.with_new(config).with_thawed(0, rung).outlook
    assert seen.mean.tolist() == unseen.mean.tolist()
    assert seen.variance.tolist() == unseen.variance.tolist()
    assert seen.variance[0] < before.variance[0]


def test_a_trial_that_was_interrupted_before_its_first_reading_is_trained_first():
    history = _searched(12)
    history.append(Trial(len(history), {"x": 0.51, "y": 0.5}, 0))
    (proposal,) = Racer().propose(PROBLEM, history, 1)
    assert (proposal.trial, proposal.stop_step) == (len(history) - 1, FIRST_STOP)


def test_where_seconds_are_told_a_slice_that_takes_fewer_of_them_is_worth_more():
    """Of two trials with the same curve the quick one is continued."""
    history = _searched(10)
    twins = []
    for cost_s in (9.0, 1.0):
        trial = Trial(len(history), {"x": 0.7 + 0.001 * cost_s, "y": 0.3}, 0)
        history.append(_trained(trial, FIRST_STOP, cost_s=cost_s))
        twins.append(history[-1].id)
    history = [
        t if t.id in twins else _trained(Trial(t.id, t.config, 0), t.curve.last_step, cost_s=3.0) for t in history
    ]
    picked = [p.trial for p in Racer().propose(PROBLEM, history, 6) if p.trial in twins]
    assert picked[0] == twins[1]


def test_failed_and_diverged_trials_are_neither_continued_nor_recommended():
    history = _searched(12)
    broken = Curve((Measurement(1, 0.0001), Measurement(2, float("nan"))))
    sound = len(history)
    history.append(Trial(sound, {"x": 0.7, "y": 0.3}, 0, curve=broken, target_step=4))
    failed = Curve((Measurement(1, 0.0001),))
    history.append(Trial(sound + 1, {"x": 0.71, "y": 0.3}, 0, curve=failed, error="out of memory"))
    assert history[sound].state is State.DIVERGED
    assert Racer().recommend(PROBLEM, history).id < sound
    continued = [p.trial for p in Racer().propose(PROBLEM, history, 10) if p.trial is not None]
    assert not {sound, sound + 1} & set(continued)


def test_what_was_tried_by_hand_is_evidence_but_not_continued():
    history = _searched(12)
    curve = Curve(tuple(Measurement(s, _loss({"x": 0.7, "y": 0.3}, s)) for s in range(1, 9)))
    attempt = len(history)
    history.append(Trial(attempt, {"x": 0.7, "y": 0.3}, 5, Purpose.ATTEMPT, curve, target_step=8))
    assert all(p.trial != attempt for p in Racer().propose(PROBLEM, history, 10))
    assert attempt in Board.of(PROBLEM, history, 1 / 18).places


def test_a_space_of_very_many_dimensions_is_left_to_halving():
    problem = Problem(Space(**{f"x{i}": Float(0.0, 1.0) for i in range(120)}), HORIZON)
    assert Racer().propose(problem, [], 3) == Halving().propose(problem, [], 3)
    assert Racer().recommend(problem, []) is None


def test_trials_that_a_narrowed_space_leaves_outside_are_evidence_but_neither_continued_nor_recommended():
    history = _searched(30)
    narrow = Problem(Space(x=Float(0.0, 0.5), y=Float(0.0, 1.0)), HORIZON)
    outside = {trial.id for trial in history if trial.config["x"] > 0.5}
    assert outside
    assert Racer().recommend(narrow, history).id not in outside
    assert not outside & {proposal.trial for proposal in Racer().propose(narrow, history, 8)}
    assert outside & set(Board.of(narrow, history, 1 / 18).places.tolist())


def test_once_a_guess_is_refuted_the_moves_are_those_of_a_search_that_knows_nothing():
    guessed = Space(**{name: Float(0.0, 1.0, guess=0.05, confidence="strong") for name in "xy"})
    told = replace(PROBLEM, space=guessed)
    for moves in (20, 30, 45, 50):
        history = _searched(moves)
        assert Racer().propose(told, history, 4) == Racer().propose(PROBLEM, history, 4)


def test_no_slice_is_shorter_than_one_that_is_worth_a_decision():
    """From 10 it goes on to 20, where rungs are closer; further up to the rung that it would have gone to, 34."""
    history = _searched(60, problem=replace(PROBLEM, least_slice=10))
    assert {trial.curve.last_step for trial in history} == {10, 20, 34, HORIZON}
