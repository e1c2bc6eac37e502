"""Whatever is measured, there is a verdict; no unit, no sign of a metric and no rate of logging changes it."""

import sys

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from tests.curves.textbook import CASES, STEPS, curve, loss_only, names

from ayar.curves import VERDICTS, diagnose
from ayar.records import Curve, Measurement, Metric


@settings(deadline=None, max_examples=150)
@example(np.array([0, 0, *[1e292] * 4, -sys.float_info.max, *[1e292] * 6]))  # further apart than any number
@given(arrays(float, st.integers(0, 60), elements=st.floats(allow_nan=True, allow_infinity=True)))
def test_every_curve_gets_a_verdict(values):
    found = diagnose(loss_only(values), siblings=[loss_only(values[::-1])])

    assert found
    assert all(verdict.name in VERDICTS for verdict in found)


NUMBERS = st.floats(allow_nan=True, allow_infinity=True) | st.sampled_from([0.0, 1e-300, 0.1, 1.0, 1e100, 1e300])
METRICS = ("train_probe", "valid_loss", "update_ratio", "gradient_norm", "gradient_norm_max", "dead_units")


@settings(deadline=None, max_examples=60)
@given(st.data(), st.integers(8, 20))
def test_every_curve_gets_a_verdict_whatever_else_was_measured(data, points):
    """Values may be infinite, NaN, or so large that their squares are; none of it warns."""
    drawn = {name: data.draw(arrays(float, points, elements=NUMBERS)).tolist() for name in ("loss", *METRICS)}
    rows = [(drawn["loss"][step], {name: drawn[name][step] for name in METRICS}) for step in range(points)]
    here, there = (
        Curve(tuple(Measurement(step, loss, metrics=metrics) for step, (loss, metrics) in enumerate(course)))
        for course in (rows, rows[::-1])
    )

    assert diagnose(here, siblings=[there], horizon=points, n_classes=3)


COURSES = st.builds(
    lambda left, speed, noise, swing, seed: (
        left
        + speed**STEPS
        + noise * np.abs(np.random.default_rng(seed).normal(size=101))
        + swing * np.abs(np.sin(STEPS)) * (STEPS > 10)
    ),
    st.floats(0.0, 1.0),
    st.floats(0.3, 1.02),
    st.sampled_from([0.0, 0.01, 0.1]),
    st.sampled_from([0.0, 0.05, 0.5]),
    st.integers(0, 99),
)


@settings(deadline=None, max_examples=60)
@given(COURSES, st.integers(-20, 20))
def test_no_course_changes_its_verdicts_with_the_unit_of_its_loss(values, power):
    both = [curve(unit * values, valid_loss=unit * (values + 0.1)) for unit in (1.0, 2.0**power)]

    assert names(both[0], siblings=[both[0]]) == names(both[1], siblings=[both[1]])


@settings(deadline=None, max_examples=60)
@given(COURSES)
def test_no_course_changes_its_verdicts_with_the_side_its_metric_is_counted_from(values):
    score, error = Metric("score", maximize=True), Metric("error")
    mirrored = Curve(tuple(score.measurement(i, 0.0, {"score": -v}) for i, v in enumerate(values)))
    plain = Curve(tuple(error.measurement(i, 0.0, {"error": v}) for i, v in enumerate(values)))

    assert [(v.name, v.evidence) for v in diagnose(mirrored)] == [(v.name, v.evidence) for v in diagnose(plain)]


@settings(deadline=None, max_examples=60)
@given(COURSES)
def test_no_course_changes_its_verdicts_when_it_is_logged_twice_as_often(values):
    twice = np.repeat(values, 2)[:-1]
    twice[1::2] = (values[:-1] + values[1:]) / 2

    assert names(curve(twice)) == names(curve(values, steps=2 * STEPS))


@pytest.mark.parametrize("factor", [1e-9, 0.37, 1e6])
@pytest.mark.parametrize("name", CASES)
def test_the_unit_of_the_loss_changes_no_verdict(name, factor):
    values = CASES[name]

    assert names(curve(factor * values)) == names(curve(values))


@pytest.mark.parametrize("name", CASES)
def test_an_offset_changes_no_verdict(name):
    values = CASES[name]

    assert names(curve(values + 2.0)) == names(curve(values))


@pytest.mark.parametrize("name", CASES)
def test_the_unit_of_the_steps_changes_no_verdict(name):
    values = CASES[name]

    assert names(curve(values, steps=10 * STEPS)) == names(curve(values))


def test_logging_twice_as_often_changes_no_verdict(bench, runs):
    """Points added between those of real curves at 101 points are thinned away."""
    for run in runs:
        steps, values = run.curve.metric("train_probe")
        if len(values) < 101 or not np.isfinite(values).all():
            continue
        twice = np.arange(0, steps[-1] + 1, bench.EVERY // 2)
        denser = Curve(
            tuple(
                Measurement(int(s), float(y), metrics={"train_probe": float(y)})
                for s, y in zip(twice, np.interp(twice, steps, values), strict=True)
            )
        )
        assert diagnose(denser) == diagnose(run.curve)
