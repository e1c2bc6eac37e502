import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ayar.reports.scales import Scale, fitted, tick_label


@pytest.mark.parametrize(
    ("scale", "most", "ticks"),
    [
        (Scale(0, 50), 6, [0, 10, 20, 30, 40, 50]),
        (Scale(0, 8), 6, [0, 2, 4, 6, 8]),
        (Scale(-0.3, 0.9), 6, [-0.2, 0, 0.2, 0.4, 0.6, 0.8]),
        (Scale(0.012, 0.9, log=True), 6, [0.02, 0.05, 0.1, 0.2, 0.5]),
        (Scale(1e-6, 1, log=True), 4, [1e-6, 1e-4, 1e-2, 1]),
        (Scale(0.4, 0.5, log=True), 6, [0.4, 0.425, 0.45, 0.475, 0.5]),
    ],
)
def test_ticks_are_the_numbers_a_person_would_write(scale, most, ticks):
    assert scale.ticks(most) == pytest.approx(ticks)


ENDS = st.tuples(st.floats(1e-9, 1e9), st.floats(1e-9, 1e9)).filter(lambda ends: ends[1] > ends[0] * 1.001)


@settings(deadline=None, max_examples=200)
@given(ends=ENDS, log=st.booleans(), most=st.integers(2, 8))
def test_any_scale_has_a_few_rising_ticks_inside_it(ends, log, most):
    scale = Scale(*ends, log=log)

    ticks = scale.ticks(most)

    assert 1 <= len(ticks) <= 2 * most + 1
    assert ticks == sorted(set(ticks))
    assert all(-1e-6 <= scale.at(tick) <= 1 + 1e-6 for tick in ticks)
    assert len({tick_label(tick) for tick in ticks}) >= len(ticks) - 1 or ends[1] / ends[0] < 1.2


@settings(deadline=None, max_examples=100)
@given(values=st.lists(st.floats(), max_size=6), log=st.booleans())
def test_a_fitted_scale_holds_every_finite_value(values, log):
    """Also where there are none, all are equal, or some are infinite, huge or negative."""
    scale = fitted([value / 4 for value in values], log=log)

    assert scale.low < scale.high
    finite = [value / 4 for value in values if math.isfinite(value)]
    assert all(0 <= scale.clipped(value) <= 1 for value in finite)
    assert all(-1e-9 <= scale.at(value) <= 1 + 1e-9 for value in finite if 1e-100 < abs(value) < 1e100)
    assert len(scale.ticks()) >= 1


def test_a_log_scale_is_linear_where_a_value_is_not_positive():
    assert fitted([0.0, 1.0], log=True).log is False
    assert fitted([0.1, 1.0], log=True).log is True


def test_zero_lies_below_every_log_scale():
    assert Scale(0.1, 1, log=True).at(0.0) == -math.inf
    assert Scale(0.1, 1, log=True).clipped(0.0) == 0
