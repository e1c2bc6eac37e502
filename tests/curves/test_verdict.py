"""Verdicts name what a curve shows, point the right way, and abstain rather than guess."""

import math

import numpy as np
import pytest
from tests.curves.textbook import CASES, HEALTHY, NOISE, RISING_LATE, STEPS, curve, loss_only, names

from ayar.curves import VERDICTS, diagnose
from ayar.records import Confidence, Curve, Measurement


@pytest.mark.parametrize("name", CASES)
def test_a_textbook_curve_gets_its_verdict(name):
    assert name in names(curve(CASES[name]))


def evidence(*args, **kwargs):
    """Signals of the headline's evidence."""
    return [each.signal for each in diagnose(*args, **kwargs)[0].evidence]


def test_a_slow_run_whose_updates_are_large_says_so():
    short, fair = (curve(CASES["too slow"], update_ratio=np.full(101, ratio)) for ratio in (0.002, 0.004))

    assert "update_ratio" not in evidence(short)
    assert "update_ratio" in evidence(fair)
    assert "0.4%" in diagnose(fair)[0].sentence
    assert [v.confidence for v in diagnose(short)] == [v.confidence for v in diagnose(fair)]


def test_an_abstention_says_where_the_loss_trembles():
    bumpy = np.interp(STEPS, [0, 10, 20, 30, 100], [1.0, 0.5, 0.7, 0.3, 0.3])
    calm, trembling = curve(bumpy), curve(bumpy + 0.02 * NOISE)

    assert names(calm)[0] == names(trembling)[0] == "no clear fault"
    assert (evidence(calm), evidence(trembling)) == ([], ["noise"])


def test_a_healthy_curve_gets_one_verdict_only():
    assert names(curve(HEALTHY)) == ["falling well"]


def test_every_verdict_is_explained_and_carries_its_evidence():
    for values in CASES.values():
        for verdict in diagnose(curve(values)):
            assert verdict.name in VERDICTS
            assert verdict.sentence.endswith(".")
            assert verdict.evidence or verdict.name == "no clear fault"
            assert 0 <= verdict.steps[0] <= verdict.steps[1] <= 100


def test_a_nonfinite_loss_is_diverging_beyond_doubt():
    (verdict,) = diagnose(curve([1.0, 2.0, math.nan]))

    assert (verdict.name, verdict.confidence, verdict.steps) == ("diverging", Confidence.STRONG, (0, 2))
    assert "step 2" in verdict.sentence


def test_a_net_that_jumped_and_died_is_diverging():
    """One step of a huge learning rate: a loss of 1e12 for a moment, then a constant above the start."""
    assert names(curve(np.r_[2.0, 1e12, np.full(99, 5.0)]))[0] == "diverging"


def test_a_nonfinite_loss_counts_even_where_the_probe_is_finite():
    assert names(curve([1.0, 0.9, 0.8], loss=[1.0, math.inf, 1.0])) == ["diverging"]


def test_falling_as_fast_as_the_best_but_ending_above_it_needs_siblings():
    """The lecture's third curve: it can only be told beside another."""
    fast = curve(0.4 + 0.6 * 0.5**STEPS)
    best = curve(0.1 + 0.9 * 0.85**STEPS)

    assert names(fast)[0] == "falling well"
    assert names(fast, siblings=[best])[0] == "fast but ends higher"
    assert names(best, siblings=[fast])[0] == "falling well"


def test_a_slower_curve_that_ends_higher_is_no_fast_one():
    slow, best = curve(0.3 + 0.7 * 0.96**STEPS), curve(0.1 + 0.9 * 0.85**STEPS)

    assert "fast but ends higher" not in names(slow, siblings=[best])


def test_siblings_that_are_empty_short_or_nonfinite_are_ignored():
    odd = [Curve(), curve([1.0, 0.1]), curve([1.0] + [math.nan] * 100)]

    assert diagnose(curve(HEALTHY), siblings=odd) == diagnose(curve(HEALTHY))


def test_overfitting_needs_a_training_loss_that_still_falls():
    assert names(curve(HEALTHY, valid_loss=RISING_LATE)) == ["overfitting"]
    assert "overfitting" not in names(curve(RISING_LATE, valid_loss=RISING_LATE))


def test_overfitting_says_from_which_step_on():
    (verdict,) = diagnose(curve(HEALTHY, valid_loss=RISING_LATE))

    assert verdict.steps == (pytest.approx(41, abs=3), 100)


def test_a_noisy_flat_validation_loss_is_not_overfitting():
    flat = 0.5 + HEALTHY + 0.02 * NOISE

    assert "overfitting" not in names(curve(HEALTHY, valid_loss=flat))


def test_a_validation_loss_alone_gives_weak_verdicts_and_says_so():
    (verdict,) = diagnose(loss_only(RISING_LATE))

    assert (verdict.name, verdict.confidence) == ("overfitting", Confidence.WEAK)
    assert "no training loss" in verdict.sentence


def test_a_minibatch_loss_gives_weak_verdicts():
    measurements = tuple(Measurement(i, 1.0, metrics={"train_loss": 0.995**i}) for i in range(101))

    assert [(v.name, v.confidence) for v in diagnose(Curve(measurements))] == [("too slow", Confidence.WEAK)]


def test_a_metric_to_be_maximised_is_read_mirrored():
    """Its loss is the negated metric: negative values are as good as any others."""
    accuracy = 1 - 0.995**STEPS

    assert names(loss_only(-accuracy)) == ["too slow"]


@pytest.mark.parametrize("points", range(8))
def test_a_handful_of_points_is_judged_for_divergence_only(points):
    (verdict,) = diagnose(curve(0.995 ** np.arange(points)))

    assert verdict.name == "no clear fault"
    assert "too few" in verdict.sentence


def test_a_few_rising_points_are_diverging():
    assert names(curve([1.0, 4.0, 9.0, 30.0, 200.0])) == ["diverging"]


def test_a_short_curve_gives_weak_verdicts():
    (verdict,) = diagnose(curve(0.99 ** np.arange(0, 100, 10)))

    assert (verdict.name, verdict.confidence) == ("too slow", Confidence.WEAK)


def test_a_paused_run_is_not_sent_for_more_iterations():
    """It will get them; and early on every sound curve still falls."""
    unfinished = curve(CASES["needs more iterations"])

    assert names(unfinished, horizon=100) == ["needs more iterations"]
    assert "needs more iterations" not in names(unfinished, horizon=200)
    (slow,) = diagnose(curve(CASES["too slow"]), horizon=200)
    assert (slow.name, slow.confidence) == ("too slow", Confidence.WEAK)


def test_a_falling_loss_at_the_end_of_a_schedule_asks_for_more_iterations():
    """With the learning rate near zero, longer steps late are not to be had."""
    falling = curve(0.99**STEPS)

    assert names(falling, learning_rate_late=1.0) == ["too slow"]
    assert names(falling, learning_rate_late=0.01) == ["too slow"]


def test_rounding_is_not_read_as_swinging():
    """A learning rate near zero leaves single precision's rounding as the only movement."""
    rounding = (2.3 * (1 + 1e-7 * NOISE)).astype(np.float32)

    assert names(curve(rounding)) == ["broken pipeline"]


def test_a_loss_that_never_moves_is_no_matter_of_tuning():
    (verdict,) = diagnose(curve(np.full(30, 2.3)))

    assert (verdict.name, verdict.confidence) == ("broken pipeline", Confidence.STRONG)
    assert "no gradient reaches the weights" in verdict.sentence


def test_a_score_that_stays_perfect_or_alone_is_not_called_broken():
    """A validation error may stay where it is, and a loss of 0 throughout is as good as it gets."""
    assert names(loss_only(np.full(30, 0.1))) == ["no clear fault"]
    assert names(curve(np.zeros(30))) == ["no clear fault"]


def test_training_and_validation_on_the_same_rows_is_a_broken_pipeline():
    assert names(curve(HEALTHY, valid_loss=HEALTHY))[0] == "broken pipeline"
    assert names(curve(HEALTHY, valid_loss=HEALTHY + 1e-4 * NOISE)) == ["falling well"]


@pytest.mark.parametrize(("start", "broken"), [(0.3, True), (1.0, False), (2.0, False), (6.0, True)])
def test_an_untrained_net_that_does_not_guess_is_a_broken_pipeline(start, broken):
    """Guessing among ten classes has a loss of ln 10 = 2.30; without the number of classes nobody knows."""
    falling = 2.302585 * start * 0.9**STEPS

    assert (names(curve(falling), n_classes=10)[0] == "broken pipeline") is broken
    assert names(curve(falling)) == ["falling well"]


def test_the_start_is_judged_at_step_0_only():
    assert names(curve(10 * 0.9**STEPS, steps=STEPS + 1), n_classes=10) == ["falling well"]


def test_a_loss_that_settled_next_to_guessing_is_underfitting():
    high = 2.15 + 0.15 * 0.85**STEPS

    (verdict,) = [v for v in diagnose(curve(high, valid_loss=high + 0.01), n_classes=10) if v.name == "underfitting"]
    assert verdict.confidence is Confidence.WEAK
    assert "underfitting" not in names(curve(high, valid_loss=high + 0.1), n_classes=10)  # not alike on other rows
    assert "underfitting" not in names(curve(high - 1.5, valid_loss=high - 1.49), n_classes=10)  # not high
    assert "underfitting" not in names(curve(high, valid_loss=high + 0.01), n_classes=10, horizon=1000)


def test_a_loss_that_settled_above_the_best_other_run_is_underfitting():
    low = 0.1 + 2.2 * 0.85**STEPS
    high = 0.7 + 1.6 * 0.85**STEPS
    best, short = curve(low, valid_loss=low + 0.05), curve(high, valid_loss=high + 0.02)

    assert names(short, siblings=[best])[0] == "underfitting"
    assert names(short)[0] == "falling well"
    assert names(best, siblings=[short])[0] == "falling well"


def test_a_validation_loss_that_stays_above_that_of_another_run_is_overfitting():
    low = 0.1 + 2.2 * 0.85**STEPS
    valid = 1.0 + 1.3 * 0.8**STEPS
    learned = curve(0.02 + 2.28 * 0.8**STEPS, valid_loss=valid, loss=valid)

    assert names(learned)[0] == "falling well"
    assert names(learned, siblings=[curve(low, valid_loss=low + 0.05, loss=low + 0.05)])[0] == "overfitting"


def test_runs_that_went_on_to_gain_show_that_more_iterations_are_needed():
    course = 0.5 + 0.5 * 0.7 ** np.arange(201) - 0.4 * (np.arange(201) > 100)

    assert names(curve(course[:61]))[0] == "falling well"
    assert names(curve(course[:61]), siblings=[curve(course)])[0] == "needs more iterations"
    assert names(curve(course[:61]), siblings=[curve(course)], horizon=200)[0] == "falling well"


def test_units_that_are_silent_before_training_point_to_the_first_weights():
    verdict = diagnose(curve(HEALTHY, dead_units=np.full(101, 0.6)))[0]

    assert (verdict.name, verdict.steps) == ("dead units", (0, 0))
    assert "before training begins" in verdict.sentence


def test_a_loss_that_is_gone_at_once_on_every_row_is_a_broken_pipeline():
    gone = 2.3 * 0.2**STEPS + 0.001

    assert names(curve(gone, valid_loss=1.1 * gone), n_classes=10)[0] == "broken pipeline"
    assert names(curve(gone, valid_loss=gone + 0.2), n_classes=10)[0] != "broken pipeline"
    assert names(curve(gone), n_classes=10)[0] != "broken pipeline"  # judged by its training loss alone


def test_a_loss_that_hardly_moves_is_too_slow_whichever_way_it_trembles():
    still = 2.3 + 0.002 * NOISE

    assert names(curve(still)) == ["too slow"]
    assert "too slow" not in names(curve(still), horizon=1000)


def test_a_loss_that_became_infinite_from_a_start_where_none_can_be_points_to_the_pipeline_first():
    huge = curve([5000.0, 1e9, math.inf])

    assert names(huge) == ["diverging"]
    assert names(huge, siblings=[curve(HEALTHY)]) == ["broken pipeline", "diverging"]


SWINGS = 0.02 * np.sin(STEPS)


def test_small_swings_beside_a_run_that_fell_far_are_no_swings():
    """The same curve alone: it ends where it began, and nothing says how far it could have fallen."""
    swinging, best = curve(1 + SWINGS), curve(0.1 + 0.9**STEPS)

    assert names(swinging, siblings=[best])[0] == "too slow"
    assert not {"too high", "diverging"} & set(names(swinging))


def test_a_short_way_beside_a_run_that_fell_further_asks_for_longer_steps():
    wobbling = 1 - 0.004 * STEPS + 0.015 * NOISE
    best = curve(0.1 + 0.9**STEPS)

    assert "too slow" in names(curve(wobbling), siblings=[best])
    assert "too slow" not in names(curve(wobbling))


def test_a_short_way_counts_less_where_the_loss_jumps():
    best = curve(2 * 0.9**STEPS, valid_loss=0.1 + 2 * 0.9**STEPS, update_ratio=np.full(101, 1e-3))

    def jumps(end, **inside):
        values = end + (2 - end) * 0.94**STEPS + 0.4 * ((STEPS == 20) | (STEPS == 60))
        return names(curve(values, valid_loss=0.1 + values, **inside), siblings=[best])

    assert "too slow" in jumps(1.2, update_ratio=np.full(101, 8e-4))
    assert "too slow" not in jumps(0.5, update_ratio=np.full(101, 8e-4))
    assert "too slow" not in jumps(1.2, update_ratio=np.full(101, 2e-3))
    assert "too slow" not in jumps(1.2)


STRIDING = 1.0 + 0.7**STEPS + 0.05 * NOISE * (STEPS > 5)


@pytest.mark.parametrize(
    ("strides", "found"),
    [((1e-3, 1e-2), {"too slow"}), ((1e-2, 3e-3), {"too high"}), ((1e-2, 1e-2), set()), ((), set())],
)
def test_the_steps_of_a_run_that_ends_lower_tell_which_way_to_go(strides, found):
    own, best = ({"update_ratio": np.full(101, stride)} for stride in strides) if strides else ({}, {})
    rival = curve(0.6 + 1.4 * 0.6**STEPS, valid_loss=0.7 + 1.4 * 0.6**STEPS, **best)

    told = names(curve(STRIDING, valid_loss=0.1 + STRIDING, **own), siblings=[rival])

    assert set(told) & {"too slow", "too high", "fast but ends higher"} == found


def test_longer_steps_of_a_run_that_ends_no_lower_tell_nothing():
    ends = curve(STRIDING, valid_loss=0.1 + STRIDING, update_ratio=np.full(101, 1e-1))

    assert not {"too slow", "too high"} & set(
        names(curve(STRIDING, valid_loss=0.1 + STRIDING, update_ratio=np.full(101, 1e-3)), siblings=[ends])
    )


def test_units_that_fell_silent_in_a_run_that_ends_higher_tell_of_steps_too_long():
    best, dead = curve(0.1 + 0.9**STEPS), STEPS / 120
    beaten = curve(0.6 + 0.5 * 0.7**STEPS, valid_loss=0.65 + 0.5 * 0.7**STEPS, dead_units=dead)

    assert names(beaten, siblings=[best])[0] == "too high"
    assert "too high" not in names(curve(0.1 + 0.9**STEPS, dead_units=dead), siblings=[best])


def test_a_net_that_fell_silent_and_hardly_moves_is_not_told_to_take_longer_steps():
    best, flat = curve(0.1 + 0.9**STEPS), 1.0 - 0.02 * STEPS / 100
    silent, awake = (curve(flat, dead_units=np.linspace(0, share, 101)) for share in (0.5, 0.1))

    assert names(awake, siblings=[best])[0] == "too slow"
    assert names(silent, siblings=[best])[0] == "too high"


@pytest.mark.parametrize(("first", "found"), [(0.1, True), (1.0, False)])
def test_an_untrained_net_that_tells_no_class_from_another_has_tiny_weights_if_its_gradient_has_to_grow(first, found):
    """A last layer of zeros starts with the same loss, but with a large gradient."""
    slow, norms = math.log(4) * 0.995**STEPS, np.r_[first, np.ones(100)]

    assert ("vanishing gradients" in names(curve(slow, gradient_norm=norms), n_classes=4)) is found
    assert "vanishing gradients" not in names(curve(1.05 * slow, gradient_norm=norms), n_classes=4)
    assert "vanishing gradients" in names(curve(slow, gradient_norm=norms), siblings=[curve(1.05 * slow)], n_classes=4)


def test_a_loss_that_comes_late_is_too_slow_only_where_another_run_ends_lower():
    late = 1 - 0.5 / (1 + np.exp(-(STEPS - 60) / 6))

    assert "too slow" in names(curve(late))
    assert "too slow" in names(curve(late), siblings=[curve(late + 0.01)])
    assert "too slow" not in names(curve(late), siblings=[curve(late + 0.01 * k) for k in range(1, 6)])


def test_swings_that_no_other_run_beats_and_that_calmed_down_are_no_fault():
    calmed = 0.1 + 0.9**STEPS + 2.0 * np.exp(-STEPS / 25) * np.abs(np.sin(STEPS))

    assert "too high" in names(curve(calmed))
    assert "too high" not in names(curve(calmed), siblings=[curve(0.11 + 0.9**STEPS)] * 5)


def test_a_remark_leaves_the_headline_to_what_is_sound():
    assert names(curve(CASES["saturated early"])) == ["falling well", "saturated early"]


def test_a_run_whose_score_still_improves_is_not_saturated():
    """The training loss may settle long before the metric that counts."""
    late = 1.0 - 0.005 * STEPS

    assert "saturated early" not in names(curve(CASES["saturated early"], loss=late))


def test_a_paused_run_is_not_told_that_fewer_steps_would_do():
    assert "saturated early" not in names(curve(CASES["saturated early"]), horizon=200)


def test_a_run_may_have_several_verdicts():
    found = names(curve(CASES["noisy late"], valid_loss=RISING_LATE))

    assert found == ["overfitting", "noisy late"]


SILENT = {"dead_units": np.linspace(0, 0.8, 101)}
STARVED = {"gradient_ratio": np.full(101, 1e-5)}
WILD = {"gradient_norm": np.ones(101), "gradient_norm_max": 1 + 60.0 * (STEPS == 50)}


def test_dead_units_are_named_where_they_were_counted():
    assert names(curve(HEALTHY, **SILENT)) == ["falling well", "dead units"]
    assert names(curve(HEALTHY, dead_units=np.full(101, 0.1))) == ["falling well"]


def test_a_starved_first_layer_is_a_fault_only_where_the_net_learns_little():
    stuck = 2.30 + 0.2 * 0.8**STEPS

    assert "vanishing gradients" in names(curve(stuck, **STARVED))
    assert names(curve(HEALTHY - 0.09, **STARVED)) == ["falling well"]
    assert "vanishing gradients" not in names(curve(stuck, gradient_ratio=np.full(101, 0.3)))


def test_a_huge_gradient_is_a_fault_only_where_the_loss_jumps():
    assert "exploding gradients" in names(curve(CASES["spikes"], **WILD))
    assert names(curve(HEALTHY, **WILD)) == ["falling well"]


def test_gradients_that_become_tiny_late_do_not_make_the_first_ones_huge():
    fading = 0.9**STEPS

    found = names(curve(CASES["spikes"], gradient_norm=fading, gradient_norm_max=2 * fading))

    assert found == ["falling well", "spikes"]


def test_exploding_gradients_are_named_beside_a_loss_that_became_nonfinite():
    found = names(curve([1.0, 0.9, math.nan], gradient_norm=[1.0, 2.0, 900.0]))

    assert found == ["diverging", "exploding gradients"]


def test_steps_out_of_order_are_refused_with_their_numbers():
    with pytest.raises(ValueError, match="must rise, got 1 after 2"):
        curve([1.0, 0.9, 0.8], steps=[0, 2, 1])


def test_verdicts_on_real_nets_point_the_right_way(bench, runs):
    """Labels come from training at other learning rates; the full measurement is benchmarks/curve_verdicts.py."""
    said = [bench.direction(diagnose(run.curve)) for run in runs]
    quality = bench.quality([run.label for run in runs], said)

    assert quality.wrong == 0
    assert quality.balanced_accuracy > 0.80  # measured: 0.85
    assert quality.precision["low"] > 0.88  # 0.95
    assert quality.precision["high"] > 0.83  # 0.90


def test_siblings_sharpen_the_verdicts_on_real_nets(bench, runs):
    alone = bench.quality([r.label for r in runs], [bench.direction(diagnose(r.curve)) for r in runs])
    beside = bench.quality(
        [r.label for r in runs],
        [bench.direction(diagnose(r.curve, siblings=bench.siblings(r, runs))) for r in runs],
    )

    assert beside.wrong == 0
    assert beside.recall["high"] >= alone.recall["high"]
    assert beside.balanced_accuracy > 0.85  # measured: 0.90


def test_curves_of_fifty_epochs_are_read_as_well(bench, runs):
    said = [bench.direction(diagnose(bench.thinned(run.curve, 2))) for run in runs]
    quality = bench.quality([run.label for run in runs], said)

    assert quality.wrong == 0
    assert quality.balanced_accuracy > 0.79  # measured: 0.84


def test_a_paused_run_is_called_too_high_only_where_that_stays_true(bench, runs):
    """Precision matters here: such a verdict may end a run early."""
    said = [bench.direction(diagnose(bench.prefix(run.curve, 0.2), horizon=bench.STEPS)) for run in runs]

    assert bench.quality([run.label for run in runs], said).precision["high"] > 0.82  # measured: 0.90
