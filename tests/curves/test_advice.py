"""Advice is one move, inside the space, that points where the verdict does."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ayar.curves import VERDICTS, Attempt, advise, diagnose, try_next
from ayar.curves.advice import is_unread
from ayar.errors import SpaceError
from ayar.records import Advice, Confidence, Curve, Evidence, Measurement, Verdict
from ayar.space import Choice, Float, Int, Space

SPACE = Space(
    learning_rate=Float(1e-4, 1.0, log=True),
    iterations=Int(10, 200),
    weight_decay=Float(1e-6, 1e-1, log=True),
    dropout=Float(0.0, 0.5),
)
CONFIG = {"learning_rate": 0.1, "iterations": 50, "weight_decay": 1e-3, "dropout": 0.2}


def verdict(name, confidence=Confidence.MEDIUM):
    return Verdict(name, confidence, "As the curve shows.", (Evidence("signal", 2.0, 1.0),))


def changes(name, confidence=Confidence.MEDIUM, config=CONFIG, space=SPACE):
    return [advice.changes for advice in advise([verdict(name, confidence)], config, space)]


@pytest.mark.parametrize(
    ("name", "confidence", "expected"),
    [
        ("diverging", "strong", {"learning_rate": 0.01}),
        ("too high", "medium", {"learning_rate": 0.01}),
        ("fast but ends higher", "weak", {"learning_rate": 0.0333}),
        ("too slow", "weak", {"learning_rate": 0.3}),
        ("too slow", "strong", {"learning_rate": 1.0}),
        ("needs more iterations", "medium", {"iterations": 100}),
        ("dead units", "strong", {"learning_rate": 0.0333}),
        ("exploding gradients", "strong", {"learning_rate": 0.0333}),
        ("saturated early", "weak", {"iterations": 25}),
    ],
)
def test_each_verdict_moves_its_hyperparameter_first(name, confidence, expected):
    assert changes(name, Confidence(confidence))[0] == expected


def test_overfitting_offers_shorter_steps_fewer_steps_and_more_restraint():
    assert changes("overfitting") == [
        {"learning_rate": 0.01},
        {"dropout": 0.4},
        {"iterations": 25},
        {"weight_decay": 0.01},
    ]


@pytest.mark.parametrize("points", [25, 100])
def test_a_curve_that_fell_well_beside_others_needs_no_advice_however_few_its_points(points):
    def curve(end):
        course = [end + 0.7 ** (50 * step / points) for step in range(points)]
        return Curve(tuple(Measurement(n, loss, metrics={"train_probe": loss}) for n, loss in enumerate(course)))

    alone, beside = diagnose(curve(0.1)), diagnose(curve(0.1), siblings=[curve(0.2)])
    assert [alone[0].name, beside[0].name] == ["falling well", "falling well"]
    config, space = {"learning_rate": 0.1}, Space(learning_rate=Float(1e-4, 1.0, log=True))
    assert [move.changes for move in advise(alone, config, space)] == [{"learning_rate": 0.3}]
    assert advise(beside, config, space) == []


@pytest.mark.parametrize("name", ["falling well", "spikes"])
def test_a_sound_curve_needs_no_advice(name):
    assert changes(name, Confidence.STRONG) == []


def test_a_curve_that_falls_well_with_nothing_to_compare_it_with_gets_the_best_bets():
    assert changes("falling well") == [{"learning_rate": 0.3}, {"iterations": 100}]


def test_an_abstention_still_offers_the_best_bets():
    assert changes("no clear fault") == [{"iterations": 100}, {"learning_rate": 0.0333}]


@pytest.mark.parametrize(
    ("name", "signal", "first", "without"),
    [
        ("too slow", "update_ratio", {"iterations": 100}, {"learning_rate": 0.3}),
        ("no clear fault", "noise", {"batch_size": 128}, {"iterations": 100}),
    ],
)
def test_what_the_evidence_says_besides_decides_which_move_comes_first(name, signal, first, without):
    config = {"learning_rate": 0.1, "iterations": 50, "batch_size": 32}
    space = Space(learning_rate=Float(1e-4, 1.0, log=True), iterations=Int(10, 200), batch_size=Int(1, 512, log=True))
    said = Verdict(name, Confidence.WEAK, "As the curve shows.", (Evidence(signal, 0.02, 0.01),))

    assert advise([said], config, space)[0].changes == first
    assert changes(name, Confidence.WEAK, config, space)[0] == without


def test_a_constant_learning_rate_is_let_decay():
    space = Space(schedule=Choice("constant", "linear", "cosine"), learning_rate=Float(1e-4, 1.0, log=True))

    assert changes("underfitting", config={"schedule": "constant"}, space=space) == [{"schedule": "cosine"}]
    assert changes("underfitting", config={"schedule": "linear"}, space=space) == []


def test_a_schedule_that_the_space_lacks_is_asked_for():
    space = Space(schedule="constant")
    (advice,) = advise([verdict("underfitting")], {"schedule": "constant"}, space)

    assert (advice.changes, advice.widen, advice.factor) == ({}, {"schedule": "cosine"}, None)


def test_advice_says_the_factor_it_wants_whatever_the_space_allows():
    slow, none = {"learning_rate": 0.5}, {"learning_rate": 0.5, "dropout": 0.0}

    assert [a.factor for a in advise([verdict("too slow")], slow, SPACE)] == [3.0]
    assert [a.factor for a in advise([verdict("overfitting")], none, SPACE)] == [0.1, None]


def test_too_much_momentum_is_the_second_thing_to_move():
    space = Space(momentum=Float(0.0, 0.999), learning_rate=Float(1e-4, 1.0, log=True))
    config = {"momentum": 0.99, "learning_rate": 0.1}

    assert changes("too high", config=config, space=space) == [{"learning_rate": 0.01}, {"momentum": 0.97}]


def test_underfitting_offers_less_restraint():
    assert changes("underfitting")[-2:] == [{"weight_decay": 0.0001}, {"dropout": 0.0667}]


@pytest.mark.parametrize(
    ("name", "value", "better"),
    [("dropout", 0.9, 0.3), ("hidden_units", 2, 4), ("batch_size", 2, 8), ("weight_decay", 1.0, 0.1)],
)
def test_a_value_that_is_seldom_right_is_moved_first(name, value, better):
    space = Space(
        **{name: Float(0.0, 1.0) if isinstance(value, float) else Int(1, 512)}, learning_rate=Float(1e-4, 1.0, log=True)
    )
    config = {name: value, "learning_rate": 0.1}

    assert changes("too high", config=config, space=space)[0] == {name: better}
    assert changes("falling well", Confidence.STRONG, config, space) == [{name: better}]


def test_noise_asks_for_larger_mini_batches():
    space = Space(batch_size=Choice(16, 32, 64, ordered=True))

    assert changes("noisy late", config={"batch_size": 16}, space=space) == [{"batch_size": 64}]


def test_nothing_is_advised_before_a_broken_pipeline_is_mended():
    assert advise([verdict("broken pipeline"), verdict("too slow")], CONFIG, SPACE) == []


def test_advice_follows_the_order_of_the_verdicts():
    both = [verdict("too slow"), verdict("overfitting")]

    assert [a.verdict for a in advise(both, CONFIG, SPACE)] == ["too slow"] * 2 + ["overfitting"] * 2


def test_two_verdicts_on_one_hyperparameter_give_one_move():
    both = [verdict("fast but ends higher", Confidence.WEAK), verdict("too high", Confidence.STRONG)]

    assert [a.changes for a in advise(both, CONFIG, SPACE)] == [{"learning_rate": 0.0333}]


def test_a_value_outside_the_space_is_clipped_and_reported():
    (advice,) = advise([verdict("too slow")], {"learning_rate": 0.5}, SPACE)

    assert advice.changes == {"learning_rate": 1.0}
    assert advice.widen == {"learning_rate": 1.5}


def test_at_the_edge_of_the_space_only_widening_is_left():
    (advice,) = advise([verdict("too slow")], {"learning_rate": 1.0}, SPACE)

    assert (advice.changes, advice.widen) == ({}, {"learning_rate": 3.0})


def test_a_fixed_value_would_have_to_be_freed():
    (advice,) = advise([verdict("needs more iterations")], {"iterations": 50}, Space(iterations=50))

    assert (advice.changes, advice.widen) == ({}, {"iterations": 100})


def test_the_learning_rate_is_known_by_its_other_names():
    for name in ("lr", "alpha", "eta"):
        space = Space(**{name: Float(1e-4, 1.0, log=True)})
        assert changes("too slow", config={name: 0.01}, space=space) == [{name: 0.03}]


def test_a_missing_hyperparameter_gives_no_move():
    assert changes("needs more iterations", config={"learning_rate": 0.1}) == [{"learning_rate": 0.01}]
    assert changes("saturated early", config={"learning_rate": 0.1}) == []


def test_an_ordered_choice_moves_to_its_nearest_value():
    space = Space(learning_rate=Choice(0.001, 0.01, 0.1, 1.0, ordered=True))

    assert changes("too slow", Confidence.STRONG, {"learning_rate": 0.01}, space) == [{"learning_rate": 0.1}]


def test_words_to_choose_from_are_left_alone():
    space = Space(learning_rate=Choice("constant", "cosine"))

    assert changes("too slow", config={"learning_rate": "cosine"}, space=space) == []


def test_only_candidates_are_advised():
    space = Space([{"lr": 0.01}, {"lr": 0.1}], lr=Float(1e-4, 1.0, log=True))

    assert changes("too slow", Confidence.STRONG, {"lr": 0.01}, space) == [{"lr": 0.1}]
    assert changes("too slow", Confidence.WEAK, {"lr": 0.01}, space) == []


@settings(deadline=None, max_examples=100)
@given(st.sampled_from(sorted(VERDICTS)), st.sampled_from(list(Confidence)), st.integers(0, 2**32 - 1))
def test_every_advised_configuration_lies_in_the_space(name, confidence, seed):
    config = SPACE.sample(np.random.default_rng(seed))
    for advice in advise([verdict(name, confidence)], config, SPACE):
        assert SPACE.contains(config | advice.changes)
        assert len(advice.changes) <= 1
        assert advice.because.endswith(".")


RATE = Space(learning_rate=Float(1e-4, 10.0, log=True))


def after(*attempts, name="learning_rate", space=RATE):
    return try_next(name, [Attempt(*attempt) for attempt in attempts], space)


def test_nothing_tried_yet_begins_in_the_middle():
    assert after().changes == {"learning_rate": 0.03162}


def test_too_slow_is_followed_by_three_times_as_much():
    assert after((0.01, "too slow", 0.9)).changes == {"learning_rate": 0.03}


def test_too_high_is_followed_by_a_third():
    assert after((1.0, "diverging", math.inf)).changes == {"learning_rate": 0.333}


def test_a_bracket_is_halved_on_a_log_scale():
    assert after((0.01, "too slow", 0.9), (1.0, "diverging", math.inf)).changes == {"learning_rate": 0.1}


def test_the_lectures_loop_goes_on_beside_its_best_value():
    """0.01 too slow, 0.05 falls well, 10 diverges: the wide gap above 0.05 is where to look."""
    advice = after((0.01, "too slow", 0.9), (0.05, "falling well", 0.3), (10.0, "diverging", math.nan))

    assert advice.changes == {"learning_rate": 0.707}
    assert "0.05 is the best so far" in advice.because


def test_a_single_sound_attempt_is_followed_upwards():
    assert after((0.05, "falling well", 0.3)).changes == {"learning_rate": 0.15}


def test_close_neighbours_end_the_search():
    advice = after((0.04, "too slow", 0.5), (0.05, "falling well", 0.3), (0.06, "too high", 0.6))

    assert advice.changes == {}
    assert "nothing left to try" in advice.because


def test_beyond_the_range_the_space_is_to_be_widened():
    advice = after((10.0, "too slow", 0.9))

    assert (advice.changes, advice.widen) == ({}, {"learning_rate": 30.0})


def test_contradicting_attempts_still_give_an_answer():
    """Noise can call a larger value too slow and a smaller one too high."""
    assert after((0.1, "too slow", 0.5), (0.01, "too high", 0.6)).changes == {"learning_rate": 0.3}


def test_verdicts_on_the_learning_rate_say_nothing_about_other_hyperparameters():
    """The best number of units lies beside the best attempt, whatever the curve says about the steps."""
    space = Space(hidden_units=Int(8, 512, log=True))
    advice = after(
        (16, "too slow", 0.5), (256, "too slow", 0.2), (64, "too slow", 0.1), name="hidden_units", space=space
    )

    assert advice.changes == {"hidden_units": 128}


def test_values_that_include_zero_are_halved_on_a_linear_scale():
    space = Space(dropout=Float(0.0, 0.8))

    assert after((0.0, "overfitting", 0.5), name="dropout", space=space).changes == {"dropout": 0.2}
    assert after((0.0, "overfitting", 0.5), (0.4, "", 0.3), (0.8, "", 0.6), name="dropout", space=space).changes == {
        "dropout": 0.6
    }


def test_an_unknown_hyperparameter_is_refused():
    with pytest.raises(SpaceError, match="learning_rat"):
        after((0.1, "too slow", 1.0), name="learning_rat")


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.tuples(st.floats(1e-4, 10.0), st.sampled_from(sorted(VERDICTS)), st.floats(allow_nan=True)), max_size=8)
)
def test_the_next_value_is_new_and_inside(attempts):
    advice = after(*attempts)

    assert isinstance(advice, Advice)
    for value in advice.changes.values():
        assert 1e-4 <= value <= 10.0
        assert value not in [a[0] for a in attempts]


def test_bisection_closes_in_on_the_right_value():
    """Told the truth each time, eight attempts pin a learning rate down to a factor of 2 over five decades."""
    attempts = [(1e-4, "too slow", 9.0)]
    for _ in range(8):
        advice = after(*attempts)
        if not advice.changes:
            break
        value = advice.changes["learning_rate"]
        distance = abs(math.log(value / 0.2))
        name = "falling well" if distance < math.log(2) else "too slow" if value < 0.2 else "too high"
        attempts.append((value, name, distance))
    best = min(attempts, key=lambda attempt: attempt[2])

    assert best[1] == "falling well"


@pytest.mark.parametrize(
    ("points", "name", "unread"), [(7, "no clear fault", True), (8, "no clear fault", False), (7, "diverging", False)]
)
def test_advice_on_a_curve_of_too_few_points_would_be_a_guess(points, name, unread):
    curve = Curve(tuple(Measurement(step, 1.0) for step in range(points)))
    assert is_unread([verdict(name)], curve) is unread
