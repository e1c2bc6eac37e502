import itertools
import math
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

import ayar.reports
from ayar.reports import figures
from ayar.reports.figures import Interval, Labels, Line, Point
from ayar.reports.scales import Scale

LABELS = Labels("what it shows", x="step", y="J")
UNIT = Scale(0, 1)
NASTY = '<script>alert("1")</script> & \'"'


def parsed(svg):
    return ET.fromstring(svg)


def marks(svg, css):
    return [e for e in parsed(svg).iter() if css in (e.get("class") or "").split()]


def corners(path):
    return [tuple(map(float, pair.split(","))) for pair in re.split("[ML]", path.get("d"))[1:]]


def test_a_curve_goes_from_the_lower_left_to_the_upper_right_when_it_rises():
    """SVG counts downward; the figure must not."""
    (path,) = marks(figures.curves([Line(3, [0, 10], [0.0, 1.0], level=4)], Scale(0, 10), UNIT, LABELS), "l")

    (x0, y0), (x1, y1) = corners(path)
    assert x0 < x1
    assert y0 > y1
    assert path.get("data-t") == "3"
    assert path.get("class") == "l c4"


def test_a_curve_ends_with_a_cross_where_it_is_not_finite():
    svg = figures.curves([Line(0, [0, 1, 2], [0.5, 0.7, math.nan])], Scale(0, 2), UNIT, LABELS)

    assert len(corners(marks(svg, "l")[0])) == 2
    assert len(marks(svg, "x")) == 1


def test_a_curve_that_is_not_finite_from_the_start_is_a_cross_alone():
    svg = figures.curves([Line(0, [0], [math.inf])], Scale(0, 2), UNIT, LABELS)

    assert (len(marks(svg, "l")), len(marks(svg, "x"))) == (0, 1)


def test_a_curve_is_cut_off_where_it_leaves_the_scale():
    """Two neighbouring points beyond the edge are not joined by a line along it."""
    line = Line(0, [0, 1, 2, 3], [0.5, 1e30, 1e31, 1e32])
    (path,) = marks(figures.curves([line], Scale(0, 3), UNIT, LABELS), "l")

    assert path.get("d").count("L") == 1
    assert path.get("d").count("M") == 3


def test_a_single_measurement_is_a_dot():
    """A line needs two ends to be drawn at all; with round caps they may be the same place."""
    (path,) = marks(figures.curves([Line(0, [1], [0.5])], Scale(0, 3), UNIT, LABELS), "l")

    one, other = corners(path)
    assert one == other


def test_the_chosen_curve_is_drawn_last_so_that_nothing_covers_it():
    lines = [Line(0, [0, 1], [0, 1], chosen=True), Line(1, [0, 1], [0, 1])]

    drawn = marks(figures.curves(lines, UNIT, UNIT, LABELS), "l")

    assert [path.get("data-t") for path in drawn] == ["1", "0"]


def test_trials_without_a_score_stand_in_a_strip_above_the_others():
    points = [Point(0, [0.5], 1.0), Point(1, [0.25, 0.75], math.nan)]
    svg = figures.slices(points, UNIT, UNIT, LABELS)

    (strip,), (dot,) = marks(svg, "strip"), marks(svg, "p")
    assert len(marks(svg, "x")) == 2
    assert float(strip.get("y")) + float(strip.get("height")) <= float(dot.get("cy"))


def test_there_is_no_strip_where_every_trial_has_a_score():
    assert marks(figures.slices([Point(0, [0.5], 0.5)], UNIT, UNIT, LABELS), "strip") == []


def test_the_values_of_one_trial_are_tied_together():
    svg = figures.slices([Point(0, [0.2, 0.8], 0.5)], UNIT, UNIT, LABELS)

    assert (len(marks(svg, "p")), len(marks(svg, "tie"))) == (2, 1)


@pytest.mark.parametrize("trial", range(50))
def test_a_choice_keeps_to_its_own_part_of_the_axis(trial):
    places = [figures.category_place(k, 3, trial) for k in range(3)]

    assert all(k / 3 < place < (k + 1) / 3 for k, place in enumerate(places))


def test_whatever_a_user_wrote_is_escaped():
    labels = Labels(NASTY, x=NASTY, y=NASTY)
    interval = Interval(NASTY, NASTY, NASTY, 0.5, 0.4, 0.6)
    drawn = [
        figures.curves([Line(0, [0, 1], [0, 1])], UNIT, UNIT, labels),
        figures.slices([Point(0, [0.5], 0.5)], [NASTY, "b"], UNIT, labels),
        figures.intervals([interval], label=NASTY),
        figures.legend(UNIT, label=NASTY),
    ]

    for svg in drawn:
        assert "<script" not in svg
        assert parsed(svg).get("aria-label") == NASTY


def test_intervals_on_one_point_and_a_single_row_are_drawn():
    svg = figures.intervals([Interval("winner", "test", "0", 0.0, 0.0, 0.0)], label="scores")

    assert len(marks(svg, "mean")) == 1


def test_thinning_keeps_the_ends_the_peak_and_the_valley():
    values = [1.0] * 1000
    values[123], values[777] = 50.0, -50.0

    kept = figures.thinned(values)

    assert len(kept) <= 60
    assert {0, 123, 777, 999} <= set(kept)


def test_levels_run_over_the_whole_colour_scale():
    scale = Scale(1e-4, 1, log=True)

    assert [figures.level(scale, value) for value in (1e-9, 1e-4, 1e-2, 1.0, 5.0)] == [0, 0, 6, 11, 11]


def luminance(colour):
    """Relative luminance by WCAG 2."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


STYLE = Path(ayar.reports.__file__).with_name("templates").joinpath("style.css").read_text(encoding="utf-8")
THEMES = dict(zip(("light", "dark"), re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)[:2], strict=True))


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_colour_scale_grows_lighter_in_even_steps(theme):
    """Lightness alone tells the order: for colour-blind readers, and in a grey print."""
    colours = [re.search(rf"--p{k}: (#\w+);", THEMES[theme])[1] for k in range(figures.LEVELS)]
    lightness = [116 * luminance(c) ** (1 / 3) - 16 for c in colours]

    steps = [b - a for a, b in itertools.pairwise(lightness)]
    assert min(steps) > 2
    assert max(steps) < 9


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_and_marks_stand_out_from_the_paper(theme):
    """WCAG 2 asks 4.5 for text; 3 for a figure's marks, of which the faintest may be a little less."""
    named = dict(re.findall(r"--(\w+): (#\w+);", THEMES[theme]))

    for paper in ("paper", "card", "wash"):
        for text in ("ink", "soft", "accent", "alarm"):
            assert contrast(named[text], named[paper]) >= 4.5, (text, paper)
    assert min(contrast(named[f"p{k}"], named["card"]) for k in range(figures.LEVELS)) >= 2.3
