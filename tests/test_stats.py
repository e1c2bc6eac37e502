"""Intervals and tests agree with scipy.stats and with textbook numbers."""

import numpy as np
import pytest
from scipy import stats as oracle

from ayar.errors import NotEnoughEvidence
from ayar.stats import (
    bootstrap_interval,
    fold_interval,
    mean_interval,
    paired_interval,
    paired_test,
    score_interval,
)

READINGS = [0.021, 0.025, 0.019, 0.030, 0.022, 0.024]
OTHERS = [0.025, 0.026, 0.024, 0.031, 0.022, 0.029]


@pytest.mark.parametrize("level", [0.5, 0.95, 0.99])
def test_the_mean_interval_is_student_s(level):
    low, high = oracle.t.interval(level, df=5, loc=np.mean(READINGS), scale=oracle.sem(READINGS))

    assert mean_interval(READINGS, level) == pytest.approx((np.mean(READINGS), low, high))


def test_a_mean_interval_in_literals():
    """t(0.975, 2) = 4.302653, s = 1, n = 3: the half width is 4.302653 / sqrt(3)."""
    assert mean_interval([1, 2, 3]) == pytest.approx((2.0, 2 - 2.484138, 2 + 2.484138), abs=1e-6)


@pytest.mark.parametrize("unit", [1e-130, 1e90])
def test_a_score_interval_minds_no_unit(unit):
    """Cubes of small losses are zero, and so would be what their skewness is divided by."""
    readings = np.array([1.0, 1.1, 1.2, 1.3, 4.0])

    assert np.array(score_interval(unit * readings)) / unit == pytest.approx(score_interval(readings), rel=1e-9)


def test_one_reading_has_no_spread():
    assert mean_interval([0.25]) == (0.25, 0.25, 0.25)


@pytest.mark.parametrize("function", [mean_interval, lambda values: bootstrap_interval(values, np.mean, None)])
@pytest.mark.parametrize("values", [[], [0.1, float("nan")], [0.1, float("inf")]])
def test_nothing_is_concluded_from_no_or_broken_readings(function, values):
    with pytest.raises(NotEnoughEvidence):
        function(values)


def test_the_paired_interval_is_that_of_the_differences():
    result = oracle.ttest_rel(READINGS, OTHERS)
    interval = result.confidence_interval(0.95)

    assert paired_interval(READINGS, OTHERS) == pytest.approx(
        (np.mean(READINGS) - np.mean(OTHERS), interval.low, interval.high)
    )


def test_the_paired_test_agrees_with_scipy():
    assert paired_test(READINGS, OTHERS) == pytest.approx(oracle.ttest_rel(READINGS, OTHERS).pvalue)


def test_pairs_that_never_differ_are_no_evidence_and_a_constant_gap_is_all_of_it():
    ones = np.ones(5)

    assert paired_test(ones, ones) == 1.0
    assert paired_test(ones, ones + 1) == 0.0


def test_four_pairs_are_too_few():
    with pytest.raises(NotEnoughEvidence, match="at least 5 pairs, got 4"):
        paired_test(READINGS[:4], OTHERS[:4])


def test_pairs_of_different_length_are_refused():
    with pytest.raises(ValueError, match="got 6 and 5"):
        paired_interval(READINGS, OTHERS[:5])


def test_readings_in_two_dimensions_are_refused():
    with pytest.raises(ValueError, match=r"shape \(2, 3\)"):
        mean_interval(np.ones((2, 3)))


def test_the_bootstrap_of_a_mean_comes_near_the_normal_interval():
    values = np.random.default_rng(3).normal(10, 2, size=400)

    mean, low, high = bootstrap_interval(values, np.mean, np.random.default_rng(0))

    half = 1.96 * values.std(ddof=1) / 20
    assert mean == values.mean()
    assert (low, high) == pytest.approx((mean - half, mean + half), abs=0.03)


def test_the_same_generator_gives_the_same_bootstrap():
    values = np.random.default_rng(3).normal(size=50)

    first, again, other = (bootstrap_interval(values, np.mean, np.random.default_rng(seed)) for seed in (7, 7, 8))

    assert first == again != other


def test_the_score_interval_of_even_readings_is_no_narrower_than_student_s_and_has_its_mean_inside():
    mean, low, high = score_interval(READINGS)
    _, student_low, student_high = mean_interval(READINGS)

    assert low <= student_low < mean < student_high <= high


def test_the_score_interval_reaches_further_to_the_side_of_the_long_tail():
    mean, low, high = score_interval([0.1, 0.11, 0.12, 0.13, 0.4])

    assert high - mean > 1.5 * (mean - low)


def test_equal_readings_have_an_interval_without_width():
    assert score_interval([0.25] * 6) == (0.25, 0.25, 0.25)


def test_the_score_interval_turns_with_its_readings():
    mean, low, high = score_interval([-x for x in OTHERS])
    other = score_interval(OTHERS)

    assert (-mean, -high, -low) == pytest.approx(other)


@pytest.mark.parametrize(("draw", "truth"), [("normal", 0.0), ("exponential", 1.0)])
def test_the_score_interval_covers_where_student_s_does_and_where_it_does_not(draw, truth):
    """Student's covers 90 % of exponential readings at n = 10; the standard error of 4,000 draws is 0.4 points."""
    rng = np.random.default_rng(8)
    ends = np.array([score_interval(getattr(rng, draw)(size=10))[1:] for _ in range(4000)])

    assert 0.93 <= np.mean((ends[:, 0] <= truth) & (truth <= ends[:, 1])) <= 0.97


def test_the_interval_of_folds_is_wider_by_what_their_shared_rows_ask_for():
    """Ten folds, a tenth of the rows each: sqrt(1 + 10 x 0.1 / 0.9) = 1.4530 times Student's half width."""
    values = np.linspace(0.1, 0.2, 10)
    mean, _, high = fold_interval(values, share=0.1)

    assert (high - mean) / (mean_interval(values)[2] - mean) == pytest.approx(1.45297, abs=1e-5)
