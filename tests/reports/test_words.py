import math

import pytest

from ayar.reports import words


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (0.0, "0"),
        (-0.5, "-0.5"),
        (0.1 + 0.2, "0.3"),
        (123456.0, "123,456"),
        (99999.9, "100,000"),
        (1234567, "1,234,567"),
        (123456789, "1.235e8"),
        (0.00009999, "9.999e-5"),
        (math.inf, "∞"),
    ],
)
def test_a_number_has_at_most_four_significant_digits(value, told):
    assert words.number(value) == told


def test_a_share_is_told_in_percent_and_what_is_no_share_is_not():
    assert words.is_share("valid_accuracy", [0.0, 1.0])
    assert not words.is_share("valid_error", [0.2, 1.7])
    assert not words.is_share("valid_error", [math.nan])
    assert not words.is_share("valid_loss", [0.2])


def test_an_unfinished_number_is_told_as_it_is_and_not_in_percent():
    assert words.percent(math.nan) == "NaN"
    assert words.duration(math.inf) == "∞"


def test_a_setting_of_any_kind_has_a_text():
    told = [words.setting(value) for value in (False, 0, "", [0.5, "relu"], None)]

    assert told == ["false", "0", "", "0.5, relu", "None"]
