"""The honest winner is a pure function of trials."""

import math

import pytest

from ayar.records import Curve, Measurement, Metric, ScoreKind, Trial
from ayar.seeds import Purpose, trial_seed
from ayar.space import Int, Space
from ayar.winner import choice, choose, ranked, standings, ties_with

ERROR = Metric("valid_error")
SPACE = Space(x=Int(0, 20, default=9))


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
    winner = choose(trials, ERROR, SPACE)
    assert winner.trial == 1
    assert winner.config == {"x": 2}
    assert winner.scores[ScoreKind.SEARCH_BEST].values == (0.05,)
    assert winner.scores[ScoreKind.RERANKED].mean == pytest.approx(0.07)
    assert winner.scores[ScoreKind.FRESH_SEED].mean == pytest.approx(0.10)


def test_the_fresh_seed_interval_of_even_readings_is_hall_s_or_student_s_whichever_is_wider():
    """Student's: t(0.975, 4) = 2.776 times 0.0158 / sqrt(5) is 0.0196; without skewness Hall's is the same."""
    fresh = [trial(9 + i, 2, [0.08 + 0.01 * i], Purpose.FINALISE, i) for i in range(5)]
    trials = [trial(0, 2, [0.05]), trial(1, 2, [0.06], Purpose.RERANK, 0), *fresh]
    score = choose(trials, ERROR, SPACE).scores[ScoreKind.FRESH_SEED]
    assert (score.low, score.high) == (pytest.approx(0.1 - 0.01963, abs=1e-4), pytest.approx(0.1 + 0.01963, abs=1e-4))


def test_without_confirmation_the_only_score_says_that_it_is_optimistic():
    winner = choose([trial(0, 1, [0.3, 0.2, 0.4])], ERROR, SPACE)
    assert set(winner.scores) == {ScoreKind.SEARCH_BEST}
    assert winner.stop_step == 2


def test_nothing_measured_means_no_winner():
    assert choose([], ERROR, SPACE) is None
    assert choose([trial(0, 1, [math.inf])], ERROR, SPACE) is None


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


def test_a_configuration_with_one_seed_waits_as_long_as_others_have_two():
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
    assert list(choose(search + rerank, ERROR, SPACE).tied) == [1]


def test_a_maximised_metric_keeps_its_own_sign_in_every_score():
    accuracy = Metric("accuracy", maximize=True)
    trials = [
        trial(0, 1, [-0.9]),
        trial(1, 1, [-0.8], Purpose.RERANK, 0),
        *(trial(2 + i, 1, [-0.7], Purpose.FINALISE, i) for i in range(3)),
    ]
    scores = choose(trials, accuracy, SPACE).scores
    assert [scores[kind].mean for kind in scores] == [0.8, 0.9, pytest.approx(0.7)]


def test_runner_up_and_default_are_scored_on_the_same_fresh_seeds():
    trials = [trial(x, x, [0.1 * x]) for x in (1, 2, 3)]
    trials += [trial(10 + x, x, [0.1 * x], Purpose.RERANK, 0) for x in (1, 2, 3)]
    trials += [trial(20 + x, x, [0.1 * x], Purpose.FINALISE, 0) for x in (1, 2, 3)]
    winner = choose(trials, ERROR, Space(x=Int(0, 20, default=3)))
    assert {name: score.mean for name, score in winner.compared.items()} == {
        "runner-up": pytest.approx(0.2),
        "default": pytest.approx(0.3),
    }


def reranked(number, x, losses, cost_s=0.0, **more):
    """One trial of re-ranking for each loss, on the first seeds of the stream."""
    trials = []
    for i, loss in enumerate(losses):
        curve = Curve((Measurement(1, loss, cost_s),))
        seed = trial_seed(0, Purpose.RERANK, i)
        trials.append(Trial(number + i, {"x": x}, seed, Purpose.RERANK, curve, ended=True, target_step=1, **more))
    return trials


def test_a_configuration_with_few_seeds_far_behind_is_no_tie():
    """Two seeds alone could not show it; the spread of all pairs together does."""
    places = standings(
        [
            *reranked(0, 1, [0.10, 0.11, 0.12, 0.11, 0.10, 0.12]),
            *reranked(10, 2, [0.11, 0.10, 0.12, 0.12, 0.11, 0.10]),
            *reranked(20, 3, [0.20, 0.21]),
        ]
    )
    assert [place.config["x"] for place, _ in ties_with(places[0], places)] == [2]


def test_of_two_that_read_alike_the_one_that_trains_in_half_the_time_is_taken():
    trials = [
        *reranked(0, 1, [0.100, 0.120, 0.110, 0.125], cost_s=20.0),
        *reranked(10, 2, [0.102, 0.118, 0.116, 0.122], cost_s=10.0),
    ]
    chosen, because = choice(standings(trials), trials, SPACE)
    assert (chosen.config, because) == ({"x": 2}, "cheaper")


def test_a_cheaper_one_that_reads_clearly_worse_is_not_taken():
    trials = [
        *reranked(0, 1, [0.100, 0.120, 0.110], cost_s=20.0),
        *reranked(10, 2, [0.200, 0.220, 0.210], cost_s=10.0),
    ]
    assert choice(standings(trials), trials, SPACE) == (standings(trials)[0], "")


def test_of_two_that_read_alike_the_one_away_from_failures_is_taken():
    trials = [
        trial(0, 19, [math.inf]),
        *reranked(10, 18, [0.100, 0.120, 0.110, 0.125]),
        *reranked(20, 8, [0.102, 0.118, 0.116, 0.122]),
    ]
    chosen, because = choice(standings(trials), trials, SPACE)
    assert (chosen.config, because) == ({"x": 8}, "farther from failures")


def test_of_two_that_read_the_same_the_one_nearer_to_the_default_is_taken():
    trials = [*reranked(0, 18, [0.1, 0.2, 0.1]), *reranked(10, 8, [0.2, 0.1, 0.1])]
    chosen, because = choice(standings(trials), trials, SPACE)
    assert (chosen.config, because) == ({"x": 8}, "nearer to the default")


def finalists(own, default):
    """A winner (x = 2) and the default on fresh seeds."""
    trials = [trial(0, 2, [0.05]), *reranked(10, 2, [0.06, 0.07]), *reranked(20, 9, [0.16, 0.18])]
    for x, losses, first in ((2, own, 100), (9, default, 200)):
        for i, loss in enumerate(losses):
            trials.append(trial(first + i, x, [loss], Purpose.FINALISE, i))
    return choose(trials, ERROR, SPACE)


def test_the_improvement_over_the_default_has_an_interval_from_common_seeds():
    """Differences 0.1, 0.12, 0.08, 0.1, 0.1: mean 0.1, standard error 0.00632, t(0.975, 4) = 2.776."""
    gain = finalists([0.1, 0.1, 0.1, 0.1, 0.1], [0.2, 0.22, 0.18, 0.2, 0.2]).improvement
    assert (gain.mean, gain.low, gain.high) == pytest.approx((0.1, 0.08244, 0.11756), abs=1e-5)
    assert gain.pairs == 5
    assert gain.significant


def test_fewer_than_five_common_seeds_are_never_called_significant():
    gain = finalists([0.1, 0.1, 0.1, 0.11], [0.2, 0.2, 0.2, 0.21]).improvement
    assert (gain.pairs, gain.p, gain.significant) == (4, None, False)


def test_a_seed_that_failed_is_counted_and_left_out_of_the_mean():
    score = finalists([0.1, math.inf, 0.3], [0.2, 0.2, 0.2]).scores[ScoreKind.FRESH_SEED]
    assert (score.mean, score.values, score.failed) == (pytest.approx(0.2), (0.1, 0.3), 1)


def test_a_winner_whose_every_fresh_seed_failed_has_an_infinitely_bad_score():
    accuracy = Metric("accuracy", maximize=True)
    trials = [trial(0, 2, [-0.9]), *reranked(10, 2, [-0.9, -0.8]), trial(20, 2, [math.nan], Purpose.FINALISE, 0)]
    score = choose(trials, accuracy, SPACE).scores[ScoreKind.FRESH_SEED]
    assert (score.mean, score.values, score.failed) == (-math.inf, (), 1)


def test_the_search_s_optimism_is_what_its_reading_was_too_good():
    assert finalists([0.08, 0.1], [0.2, 0.2]).optimism == pytest.approx(0.04)
