"""What to train after a search is a pure function of trials."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ayar.confirmation import (
    Plan,
    allocate,
    next_rerank,
    plan_confirmation,
    probes,
    racing,
    share_by_luck,
    training_cost_s,
)
from ayar.records import Curve, Measurement, Trial
from ayar.seeds import Purpose, trial_seed
from ayar.winner import Standing

DEFAULT = {"x": 99}


def trial(number, x, loss, purpose=Purpose.SEARCH, index=0, **more):
    curve = Curve((Measurement(1, loss),))
    return Trial(
        number, {"x": x}, trial_seed(0, purpose, index), purpose, curve, **{"ended": True, "target_step": 1, **more}
    )


def searched(count=20, step=1.0):
    return [trial(i, i, 0.1 + step * i) for i in range(count)]


@pytest.mark.parametrize(
    ("rounds", "workers", "plan"),
    [
        (1000, 1, (20, 200, 3, 10)),
        (40, 1, (6, 26, 2, 7)),
        (20, 2, (6, 26, 2, 7)),
        (25, 1, (2, 11, 2, 7)),
        (20, 1, (2, 10, 2, 5)),
        (0, 1, (1, 2, 1, 3)),
    ],
)
def test_the_confirmation_is_as_rich_as_the_budget_allows(rounds, workers, plan):
    made = plan_confirmation(searched(), rounds, workers)
    assert (len(made.candidates), made.rerank, made.finalists, made.finalise) == plan
    assert made.candidates == tuple(range(plan[0]))


@pytest.mark.parametrize(("number", "candidates"), [(12, (0, 1, 2, 3, 4, 12)), (3, (0, 1, 2, 3, 4, 5))])
def test_the_trial_that_the_search_expects_to_end_best_is_a_candidate_whatever_its_loss_so_far(number, candidates):
    trials = searched()
    assert plan_confirmation(trials, 40, 1, expected=trials[number]).candidates == candidates


@pytest.mark.parametrize("workers", [1, 2, 7])
@pytest.mark.parametrize("folds", [0, 5])
def test_no_plan_costs_more_than_its_budget_but_the_poorest(workers, folds):
    trials = searched()
    poorest = plan_confirmation(trials, 0, workers, folds).rounds(workers)
    for budget in range(250):
        assert plan_confirmation(trials, budget, workers, folds).rounds(workers) <= max(budget, poorest)


def test_a_training_costs_what_the_leading_candidates_cost_for_each_step():
    curve = Curve((Measurement(1, 0.5, cost_s=2.0), Measurement(2, 0.4, cost_s=4.0)))
    assert training_cost_s([Trial(0, {"x": 1}, 1, Purpose.SEARCH, curve)], horizon=10) == 30.0


def run(plan, trials, loss, default=DEFAULT, at_least=1):
    """Train all that the re-ranking asks for; gives how many seeds each configuration got."""
    trials, number = list(trials), 1000
    for _ in range(200):
        more = next_rerank(trials, plan, default, 0, at_least)
        if not more:
            counts = {}
            for t in trials:
                if t.purpose is Purpose.RERANK:
                    counts[t.config["x"]] = counts.get(t.config["x"], 0) + 1
            return counts
        for config, index in more:
            trials.append(trial(number, config["x"], loss(config["x"], index), Purpose.RERANK, index))
            number += 1
    raise AssertionError("the re-ranking never ends")


def test_contenders_get_more_seeds_than_those_far_behind():
    luck = np.random.default_rng(0).normal(size=(200, 100))
    counts = run(Plan((0, 1, 2, 3), 40, 2, 5), searched(), lambda x, i: (0.0 if x < 2 else 5.0) + luck[x, i])
    assert sum(counts.values()) == 40
    assert min(counts[0], counts[1]) > 3 * max(counts[2], counts[3], counts[99])


def test_the_re_ranking_ends_once_the_best_is_told_from_all_others():
    counts = run(Plan((0, 1), 400, 2, 5), searched(), lambda x, i: x + 0.001 * (i % 3) * (1 + x))
    assert sum(counts.values()) < 20


def test_a_configuration_that_failed_gets_no_further_seed():
    def loss(x, i):
        return math.inf if (x, i) == (1, 0) else 0.1 * np.random.default_rng([x, i]).normal()

    assert run(Plan((0, 1, 2), 30, 2, 5), searched(), loss)[1] == 2


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 6),
    st.integers(2, 40),
    st.sampled_from([0, 3, 5]),
    st.integers(1, 9),
    st.integers(0, 10),
    st.booleans(),
)
def test_seeds_are_used_in_order_without_gaps_and_the_budget_is_kept(count, budget, folds, at_least, seed, flat):
    """Whatever the losses are: also where all are the same."""
    plan = Plan(tuple(range(count)), max(budget, (count + 1) * max(folds, 2)), 1, 3, folds)
    used = {}

    def loss(x, i):
        used.setdefault(x, []).append(i)
        return 0.5 if flat else float(np.random.default_rng([seed, x, i]).normal())

    counts = run(plan, searched(), loss, at_least=at_least)
    assert all(indices == list(range(len(indices))) for indices in used.values())
    assert sum(counts.values()) <= plan.rerank


def test_a_round_that_was_stopped_half_way_is_completed_first():
    """Seed 1 of configuration 0 is missing, though seed 2 is there."""
    trials = searched()
    trials += [trial(100 + n, 0, 0.1 * n, Purpose.RERANK, n) for n in (0, 2)]
    trials += [trial(200 + n, 99, 0.1 * n, Purpose.RERANK, n) for n in (0, 1)]
    assert next_rerank(trials, Plan((0,), 20, 1, 3), DEFAULT, 0) == [({"x": 0}, 1)]


def test_folds_are_raced_by_the_forgiving_rule():
    """Worse on average than the incumbent's worst fold: out. Worse than its mean only: still in the race."""
    incumbent = Standing({"x": 1}, (0.1, 0.3, 0.2), 1)
    behind = Standing({"x": 2}, (0.2, 0.35), 1)
    hopeless = Standing({"x": 3}, (0.4, 0.5), 1)
    assert racing([incumbent, behind, hopeless], 3) == [(behind, 1)]
    assert racing([incumbent, behind, hopeless], 5) == [(incumbent, 2)]
    assert racing([incumbent, hopeless], 3) == []


def test_every_survivor_of_the_race_is_measured_on_all_folds():
    """The incumbent's worst fold is 0.2; configuration 2 reads 0.225 on its first two."""
    counts = run(Plan((0, 1, 2), 20, 2, 5, folds=5), searched(), lambda x, i: 0.1 * (x % 98) + 0.05 * i)
    assert counts == {0: 5, 1: 5, 2: 2, 99: 5}


def test_equal_readings_share_the_trainings_evenly():
    places = [Standing({"x": x}, (0.1, 0.1), 1) for x in range(3)]
    assert [count for _, count in allocate(places, 6)] == [2, 2, 2]


def test_a_contender_with_a_wider_spread_gets_more_seeds():
    rng = np.random.default_rng(1)
    best = Standing({"x": 0}, tuple(rng.normal(0.0, 1, 20)), 1)
    quiet = Standing({"x": 1}, tuple(1.0 + rng.normal(0, 0.5, 20)), 1)
    wide = Standing({"x": 2}, tuple(1.0 + rng.normal(0, 3.0, 20)), 1)
    given = {place.config["x"]: count for place, count in allocate([best, quiet, wide], 60)}
    assert given[2] > 2 * given.get(1, 0)


def probed(flattery, noise, step=0.3):
    """Ten leaders a step of 0.3 apart have a spread of 0.908; three of them read better than they are by so much."""
    trials = searched(step=step)
    for x in (0, 1, 2):
        mean = 0.1 + step * x + flattery
        trials += [trial(100 + 10 * x + n, x, mean + d, Purpose.RERANK, n) for n, d in enumerate((-noise, noise))]
    return trials


@pytest.mark.parametrize(
    ("flattery", "noise", "share"),
    [
        (0.0, 0.0, 0.3),
        (0.908, 0.1, 0.3),  # one spread of the leaders
        (1.362, 0.1, 0.4),  # one and a half
        (1.362, 1.362 / 2**0.5, 0.3),  # no more than one standard deviation of a run
        (50.0, 1.0, 0.5),
    ],
)
def test_the_share_for_confirmation_follows_the_luck_of_the_leaders(flattery, noise, share):
    assert share_by_luck(probed(flattery, noise), 100) == pytest.approx(share, abs=0.001)


def test_no_more_is_kept_for_confirmation_than_it_can_use():
    assert share_by_luck(probed(50.0, 1.0), 1000) == 0.23


def test_nothing_trained_on_fresh_seeds_tells_no_luck():
    assert share_by_luck(searched(), 100) is None


def test_luck_is_probed_on_seeds_that_the_re_ranking_uses_anyway():
    trials = searched()
    assert probes(trials, DEFAULT) == [({"x": x}, n) for n in range(2) for x in (99, 0, 1, 2)]
    trials += [trial(50 + i, c["x"], 0.1 * i, Purpose.RERANK, n) for i, (c, n) in enumerate(probes(trials, DEFAULT))]
    assert next_rerank(trials, Plan((0, 1, 2, 3), 12, 2, 5), DEFAULT, 0) == [({"x": 3}, 0), ({"x": 3}, 1)]


def test_what_was_spent_on_leaders_that_lead_no_more_is_taken_off_the_re_ranking():
    trials = searched()
    spent = [(x, n) for x in (99, 0, 19) for n in range(2)]
    trials += [trial(50 + i, x, 0.1 * i, Purpose.RERANK, n) for i, (x, n) in enumerate(spent)]
    assert plan_confirmation(trials, 40, 1, default=DEFAULT).rerank == plan_confirmation(searched(), 40, 1).rerank - 2
