"""Single hyperparameters: what they refuse, and their literal places on the axis."""

import numpy as np
import pytest

from ayar.errors import SpaceError
from ayar.space import Choice, Float, Int, PerLayer


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Float(0, 1, log=True), r"log scale needs low > 0, got low=0\.0.*Raise the bound \(say to 0\.001\)"),
        (lambda: Int(0, 9, log=True), r"log scale needs low > 0, got low=0\. Raise the bound \(say to 1\)"),
        (lambda: Float(1, 1), "low equals high=1.0.*use the plain value"),
        (lambda: Int(3, 3), "low equals high=3.*use the plain value"),
        (lambda: Float(2, 1), "low=2.0 lies above high=1.0: swap them"),
        (lambda: Float(0, float("inf")), "high must be finite, got inf"),
        (lambda: Float(float("nan"), 1), "low must be finite, got nan"),
        (lambda: Float(-1e308, 1e308), "low is too large to compute with"),
        (lambda: Float("0", 1), "low must be a number, got '0'"),
        (lambda: Float(0, True), "high must be a number, got True"),
        (lambda: Float(0, 1, step=0.3), r"step=0\.3 does not fit the range.*Use high=0\.9"),
        (lambda: Float(0, 1, step=-0.1), "step must be positive, got -0.1"),
        (lambda: Float(0, 1, step=1e-15), "too many values"),
        (lambda: Float(0.1, 1, step=0.1, log=True), "no equal steps"),
        (lambda: Float(0, 1, default=2), r"The default 2 does not fit: 2 lies outside \[0\.0, 1\.0\]"),
        (lambda: Float(0, 1, step=0.5, default=0.4), "The default 0.4 does not fit.*nearest value is 0.5"),
        (lambda: Int(1, 10, step=4), "step=4 does not fit the range.*Use high=9"),
        (lambda: Int(1, 3, step=4), "step=4 does not fit the range.*Use high=5"),
        (lambda: Int(1, 8, step=0), "step must be at least 1, got 0"),
        (lambda: Int(1, 8, step=2, log=True), "no equal steps"),
        (lambda: Int(1, 2.5), "high must be a whole number, got 2.5"),
        (lambda: Int(1, 2**41), r"goes beyond 2\*\*40"),
        (Choice, "at least one value"),
        (lambda: Choice("a", "b", "a"), "'a' occurs twice"),
        (lambda: Choice(1, 1.0), "1.0 occurs twice"),
        (lambda: Choice(["a", "b"]), "must be a number, a string or a boolean.*PerLayer"),
        (lambda: Choice("a", None), 'got None: say "none"'),
        (lambda: Choice(1.0, float("nan")), "must be finite"),
        (lambda: Choice("a", default="b"), "The default 'b' does not fit: 'b' is none of 'a'"),
        (lambda: Int(1, 2, when={"a": []}), "lists no value of a"),
        (lambda: Int(1, 2, when="sgd"), "when= is a dict"),
        (lambda: PerLayer(3, layers="n"), "PerLayer repeats a Float, Int or Choice, not 3"),
        (lambda: PerLayer(Int(1, 2, when={"a": 1}), layers="n"), "not to its element"),
    ],
)
def test_a_bad_hyperparameter_is_refused_with_the_way_out(make, message):
    with pytest.raises(SpaceError, match=message):
        make()


def test_numpy_numbers_are_taken_as_python_s():
    assert Float(np.float32(0.5), np.int64(2)) == Float(0.5, 2.0)
    assert Int(np.int8(1), np.float64(4)) == Int(1, 4)
    assert Choice(np.str_("a"), np.bool_(True)).choices == ("a", True)
    assert type(Choice(np.int64(3)).choices[0]) is int


@pytest.mark.parametrize(
    ("axis", "u", "value"),
    [
        (Float(1e-4, 1, log=True), 0.75, 0.1),
        (Float(-2, 2), 0.75, 1.0),
        (Float(0, 0.5, step=0.1), 0.58, 0.3),
        (Int(1, 4), 0.49, 2),
        (Int(1, 4), 0.5, 3),
        (Int(10, 30, step=10), 0.9, 30),
        (Int(1, 100, log=True), 0.5, 7),  # sqrt(0.5 * 100.5)
        (Choice("a", "b", "c"), 0.34, "b"),
    ],
)
def test_places_on_the_axis_in_literals(axis, u, value):
    assert axis.from_unit(u) == (pytest.approx(value) if isinstance(value, float) else value)


@pytest.mark.parametrize("log", [True, False])
def test_the_ends_of_a_range_are_exact(log):
    axis = Float(0.1, 0.7, log=log)

    assert (axis.from_unit(0.0), axis.from_unit(1.0)) == (0.1, 0.7)


@pytest.mark.parametrize(
    ("axis", "middle"),
    [
        (Float(1e-6, 1e-1, log=True), 0.0003162),
        (Float(1.00001, 1.00002), 1.000015),
        (Float(0, 0.5, step=0.1), 0.2),
        (Int(1, 4), 2),
        (Int(8, 256, log=True), 45),
        (Choice("a", "b", "c"), "a"),
        (Choice(16, 32, 64, 128, ordered=True), 32),
    ],
)
def test_the_middle_in_literals(axis, middle):
    assert axis.middle() == axis.default == pytest.approx(middle)
