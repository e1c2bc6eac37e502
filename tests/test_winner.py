"""The honest winner is a pure function of trials."""

import math

import pytest

from ayar.records import Curve, Measurement, Metric, ScoreKind, Trial
from ayar.seeds import Purpose, trial_seed
from ayar.winner import choose, plan_confirmation, ranked, standings, training_cost_s

ERROR = Metric("valid_error")


def trial(number, config, losses, purpose=Purpose.SEARCH, index=None, **more):
    """A trial whose curve holds ``losses`` at steps 1, 2, ..."""
    curve = Curve(tuple(Measurement(step, loss) for step, loss in enumerate(losses, start=1)))
    seed = trial_seed(0, purpose, number if index is None else index)
    more = {"ended": True, "target_step": len(losses), **more}
    return Trial(number, {"x": config}, seed, purpose, curve, **more)


def test_search_trials_are_ranked_by_their_least_loss_one_for_each_configuration():
    trials = [trial(0, 1, [0.5, 0.3]), trial(1, 2, [0.2, 0.4]), trial(2, 1, [0.25])]
    assert [t.id for t in ranked(trials)] == [1, 2]


def test_diverged_failed_and_confirmation_trials_are_not_ranked():
    trials = [
        trial(0, 1, [0.1, math.nan]),
        trial(1, 2, [0.1], error="out of memory"),
        trial(2, 3, [0.1], Purpose.RERANK),
        trial(3, 4, [0.4]),
    ]
    assert [t.id for t in ranked(trials)] == [3]


def test_the_luckiest_reading_of_the_search_does_not_win_against_fresh_seeds():
    """Configuration 1 was lucky once; on common fresh seeds configuration 2 is better."""
    trials = [
        trial(0, 1, [0.01]),
        trial(1, 2, [0.05]),
        *(trial(2 + i, 1, [0.10 + 0.01 * i], Purpose.RERANK, i) for i in range(3)),
        *(trial(5 + i, 2, [0.06 + 0.01 * i], Purpose.RERANK, i) for i in range(3)),
        *(trial(8 + i, 2, [0.08 + 0.01 * i], Purpose.FINALISE, i) for i in range(5)),
    ]
    winner = choose(trials, ERROR, {"x": 1})
    assert winner.trial == 1
    assert winner.config == {"x": 2}
    assert winner.scores[ScoreKind.SEARCH_BEST].values == (0.05,)
    assert winner.scores[ScoreKind.RERANKED].mean == pytest.approx(0.07)
    assert winner.scores[ScoreKind.FRESH_SEED].mean == pytest.approx(0.10)


def test_the_fresh_seed_interval_is_student_s():
    """t(0.975, 4) = 2.776; the standard error of 0.08 ... 0.12 is 0.0158 / sqrt(5) = 0.00707."""
    fresh = [trial(9 + i, 2, [0.08 + 0.01 * i], Purpose.FINALISE, i) for i in range(5)]
    trials = [trial(0, 2, [0.05]), trial(1, 2, [0.06], Purpose.RERANK, 0), *fresh]
    score = choose(trials, ERROR, {"x": 9}).scores[ScoreKind.FRESH_SEED]
    assert (score.low, score.high) == (pytest.approx(0.1 - 0.01963, abs=1e-4), pytest.approx(0.1 + 0.01963, abs=1e-4))


def test_without_confirmation_the_only_score_says_that_it_is_optimistic():
    winner = choose([trial(0, 1, [0.3, 0.2, 0.4])], ERROR, {"x": 9})
    assert set(winner.scores) == {ScoreKind.SEARCH_BEST}
    assert winner.stop_step == 2


def test_nothing_measured_means_no_winner():
    assert choose([], ERROR, {}) is None
    assert choose([trial(0, 1, [math.inf])], ERROR, {}) is None


def test_the_steps_to_train_are_where_the_mean_curve_of_the_fresh_seeds_is_lowest():
    """One seed's dip at step 2 is luck; the smoothed mean is lowest at step 4."""
    curves = ([0.9, 0.1, 0.7, 0.35, 0.3, 0.8], [0.9, 0.7, 0.5, 0.2, 0.3, 0.8])
    places = standings([trial(i, 1, c, Purpose.RERANK, i) for i, c in enumerate(curves)])
    assert places[0].stop_step == 4
    assert places[0].losses == (0.35, 0.2)


def test_a_configuration_that_diverges_on_one_fresh_seed_comes_last():
    trials = [
        trial(0, 1, [0.1], Purpose.RERANK, 0),
        trial(1, 1, [math.nan], Purpose.RERANK, 1),
        trial(2, 2, [0.9], Purpose.RERANK, 0),
        trial(3, 2, [0.9], Purpose.RERANK, 1),
    ]
    assert [place.config["x"] for place in standings(trials)] == [2, 1]


def test_a_configuration_with_fewer_fresh_seeds_than_others_is_not_compared_with_them():
    trials = [
        trial(0, 1, [0.1], Purpose.RERANK, 0),
        trial(1, 2, [0.5], Purpose.RERANK, 0),
        trial(2, 2, [0.5], Purpose.RERANK, 1),
    ]
    assert [place.config["x"] for place in standings(trials)] == [2]


def test_configurations_that_the_re_ranking_cannot_tell_apart_are_called_tied():
    search = [trial(i, i, [0.1]) for i in range(3)]
    readings = {0: (0.10, 0.12, 0.11), 1: (0.12, 0.10, 0.12), 2: (0.50, 0.52, 0.51)}
    rerank = [
        trial(10 + 3 * x + i, x, [loss], Purpose.RERANK, i)
        for x, losses in readings.items()
        for i, loss in enumerate(losses)
    ]
    assert list(choose(search + rerank, ERROR, {"x": 9}).tied) == [1]


def test_a_maximised_metric_keeps_its_own_sign_in_every_score():
    accuracy = Metric("accuracy", maximize=True)
    trials = [
        trial(0, 1, [-0.9]),
        trial(1, 1, [-0.8], Purpose.RERANK, 0),
        *(trial(2 + i, 1, [-0.7], Purpose.FINALISE, i) for i in range(3)),
    ]
    scores = choose(trials, accuracy, {"x": 9}).scores
    assert [scores[kind].mean for kind in scores] == [0.8, 0.9, pytest.approx(0.7)]


def test_runner_up_and_default_are_scored_on_the_same_fresh_seeds():
    trials = [trial(x, x, [0.1 * x]) for x in (1, 2, 3)]
    trials += [trial(10 + x, x, [0.1 * x], Purpose.RERANK, 0) for x in (1, 2, 3)]
    trials += [trial(20 + x, x, [0.1 * x], Purpose.FINALISE, 0) for x in (1, 2, 3)]
    winner = choose(trials, ERROR, {"x": 3})
    assert {name: score.mean for name, score in winner.compared.items()} == {
        "runner-up": pytest.approx(0.2),
        "default": pytest.approx(0.3),
    }


@pytest.mark.parametrize(
    ("rounds", "workers", "split"),
    [
        (1000, 1, (10, 10, 10, True)),
        (40, 1, (6, 3, 5, True)),
        (20, 2, (6, 3, 5, True)),
        (9, 1, (2, 1, 3, False)),
        (0, 1, (1, 1, 3, False)),
    ],
)
def test_the_confirmation_is_as_rich_as_the_budget_allows(rounds, workers, split):
    trials = [trial(i, i, [0.1 + i]) for i in range(20)]
    plan = plan_confirmation(trials, rounds, workers)
    assert (len(plan.candidates), plan.rerank_seeds, plan.finalise_seeds, plan.compares) == split
    assert plan.candidates == tuple(range(split[0]))


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_a_richer_budget_never_plans_less_and_no_plan_costs_more_than_its_budget(workers):
    trials = [trial(i, i, [0.1 + i]) for i in range(20)]
    poorest = plan_confirmation(trials, 0, workers).rounds(workers)
    costs = [plan_confirmation(trials, budget, workers).rounds(workers) for budget in range(250)]
    assert costs == sorted(costs)
    assert all(cost <= max(budget, poorest) for budget, cost in enumerate(costs))


def test_a_training_costs_what_the_leading_candidates_cost_for_each_step():
    curve = Curve((Measurement(1, 0.5, cost_s=2.0), Measurement(2, 0.4, cost_s=4.0)))
    assert training_cost_s([Trial(0, {"x": 1}, 1, Purpose.SEARCH, curve)], horizon=10) == 30.0
