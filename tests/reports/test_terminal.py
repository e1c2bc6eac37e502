import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reports.stories import SPACE, story

from ayar.records import Curve, Measurement, Trial
from ayar.reports import tables
from ayar.reports.tables import Story
from ayar.reports.terminal import cost_curve, trials_table, verdict_lines, winner_summary

BRAILLE = {chr(code) for code in range(0x2800, 0x2900)}


def rows_with_dots(picture):
    return [k for k, line in enumerate(picture.splitlines()) if BRAILLE & set(line)]


def test_a_falling_curve_falls_on_the_screen():
    picture = cost_curve({"": ([0, 1, 2], [1.0, 0.5, 0.0])}, width=30, height=4, log=False)

    first, last = picture.splitlines()[0], picture.splitlines()[3]
    assert BRAILLE & set(first[:18])
    assert BRAILLE & set(last[20:])
    assert not BRAILLE & set(last[:15])


def test_the_axes_carry_round_numbers():
    picture = cost_curve({"": (range(51), [100 * 0.9**k for k in range(51)])})

    assert "100 ┤" in picture
    assert " 10 ┤" in picture
    assert picture.splitlines()[-1].split() == ["0", "10", "20", "30", "40", "50", "step"]


def test_several_curves_are_told_apart_by_letters():
    """So that they can be read without colours."""
    lines = cost_curve({"alpha 0.1": ([1, 2], [0.9, 0.1]), "alpha 0.01": ([1, 2], [0.9, 0.8])}).splitlines()

    assert lines[-2].split() == ["A", "alpha", "0.1"]
    assert lines[-1].split() == ["B", "alpha", "0.01"]
    a = next(k for k, line in enumerate(lines) if line.endswith("A"))
    b = next(k for k, line in enumerate(lines) if line.endswith("B"))
    assert b < a


def test_two_curves_that_end_at_the_same_place_both_keep_their_letter():
    picture = cost_curve({"one": ([1, 2], [0.9, 0.5]), "two": ([1, 2], [0.8, 0.5])})

    assert any(line.endswith("BA") for line in picture.splitlines())


def test_a_cross_marks_the_step_at_which_a_curve_broke():
    picture = cost_curve({"": ([0, 1, 2], [1.0, 3.0, math.nan])})

    assert "\N{MULTIPLICATION SIGN}" in picture.splitlines()[0]


def test_a_curve_that_explodes_does_not_press_the_start_flat():
    steps, values = list(range(11)), [1 - 0.05 * k for k in range(10)] + [1e30]

    picture = cost_curve({"": (steps, values)}, height=12)

    assert len(rows_with_dots(picture)) == 12


@pytest.mark.parametrize("curve", [([], []), ([1], [math.nan]), ([1, 2], [math.inf, math.nan])])
def test_a_curve_without_a_finite_value_is_said_to_have_none(curve):
    assert cost_curve({"": curve}) == "No finite value to draw."


@settings(deadline=None, max_examples=100)
@given(
    values=st.lists(st.floats(), min_size=1, max_size=40),
    width=st.integers(30, 80),
    height=st.integers(2, 20),
    log=st.none() | st.booleans(),
)
def test_any_curve_fits_its_frame(values, width, height, log):
    picture = cost_curve({"x": (list(range(len(values))), values)}, width=width, height=height, log=log)

    lines = picture.splitlines()
    if any(math.isfinite(value) for value in values):
        assert len(lines) == height + 3
        assert max(map(len, lines[: height + 1])) <= width


@pytest.mark.parametrize("maximize", [False, True])
def test_the_summary_says_all_that_tune_must_say(maximize):
    told = winner_summary(story(80, maximize=maximize))

    value = "98.2 %" if maximize else "1.83 %"
    for text in (
        "Winner: trial",
        "learning_rate",
        f"{value} (fresh-seed, mean of 8 seeds, 95 % interval",
        "Search-best (optimistic):",
        "points too good",
        "Against the default it is 1.29 points better (95 % interval",
        "significant, p = ",
        "On the test set",
        "The default reaches",
        "The runner-up reaches",
        "diverging",
        "What to do next",
        "Let hidden_units take 512 in the space",
        "Report: digits.html",
    ):
        assert text in told


def test_everything_fits_eighty_columns_and_holds_no_escape_codes():
    told = story(80)
    texts = [winner_summary(told), trials_table(told), verdict_lines(told.verdicts[tables.telling(told)[1]])]

    for line in "\n".join(texts).splitlines():
        assert len(line) <= 80
        assert "\x1b" not in line


def test_colours_are_there_when_asked_for_and_change_no_word():
    told = story(20)

    coloured = winner_summary(told, colour=True)

    assert "\x1b[" in coloured


def test_the_three_most_telling_curves_are_drawn():
    told = story(80)

    pictures = winner_summary(told).count("└┬")

    assert pictures == 3


def test_a_study_without_a_winner_says_what_is_known():
    told = winner_summary(story(20, winner=False))

    assert "No winner yet" in told
    assert "search-best (optimistic)" in told


def test_a_study_without_trials_says_so():
    empty = Story("new", "valid_error", 50, SPACE)

    assert "Nothing has been trained yet" in winner_summary(empty)
    assert trials_table(empty) == "No trials yet."


def test_the_table_names_the_best_first_and_says_what_it_leaves_out():
    lines = trials_table(story(30), most=5).splitlines()

    assert lines[0].split() == ["trial", "state", "validation", "error", "steps", "cost", "verdict"]
    assert lines[1].split()[0] == str(story(30).ranked[0].id)
    assert lines[-1] == "25 more trials are not shown."
    assert "In every trial: iterations 50" in lines


def test_a_failed_trial_is_shown_with_the_last_line_of_its_error():
    told = story(30)
    failed = next(t for t in told.trials if t.error)

    table = trials_table(replace(told, trials=(failed,)))

    assert "failed: RuntimeError: out of memory" in table


def test_markup_in_a_value_is_printed_as_it_is():
    """Rich would read [bold] as an order."""
    curve = Curve((Measurement(1, 0.5),))
    told = Story("s", "loss", 1, SPACE, (Trial(0, {"activation": "[bold]x[/bold] :smile:"}, 0, curve=curve),))

    assert "[bold]x[/bold] :smile:" in trials_table(told)
    assert "[bold]x[/bold] :smile:" in winner_summary(told)


def test_a_verdict_is_told_with_its_evidence():
    told = story(80)
    number = tables.telling(told)[1]

    assert "diverging (strong evidence): The cost became infinite" in verdict_lines(told.verdicts[number])
    assert "non_finite 1 (limit 0)" in verdict_lines(told.verdicts[number])
    assert verdict_lines(()) == ""


def bracket_of(picture, name):
    """First and last column of the mark that stands for a place of this name."""
    (line,) = [line for line in picture.splitlines() if name in line]
    columns = [column for column, letter in enumerate(line) if letter in "├┤▲"]
    return min(columns), max(columns)


def test_the_place_that_shows_a_verdict_is_marked_below_it():
    """Under the very columns of its steps, whether its name fits into the mark or not."""
    steps = list(range(41))
    places = [("too slow", 0, 40), ("noisy late", 36, 40), ("spikes", 20, 20), ("diverging", 0, 4)]
    picture = cost_curve({"": (steps, [2.0 - 0.01 * k for k in steps])}, width=70, height=6, places=places)
    axis = next(line for line in picture.splitlines() if "└" in line)
    ticks = [column for column, letter in enumerate(axis) if letter == "┬"]  # at steps 0, 10, 20, 30, 40

    assert bracket_of(picture, "too slow") == (ticks[0], ticks[4])
    assert bracket_of(picture, "spikes") == (ticks[2], ticks[2])
    assert bracket_of(picture, "noisy late")[1] == ticks[4]
    assert ticks[3] < bracket_of(picture, "noisy late")[0] < ticks[4]
    assert bracket_of(picture, "diverging")[0] == ticks[0]
    assert all(len(line) <= 80 for line in picture.splitlines())


@given(st.floats(-5, 50), st.floats(-5, 50), st.integers(30, 80), st.text("abc ", min_size=1, max_size=22))
def test_a_mark_stays_within_the_picture(first, last, width, name):
    curve = ([0, 40], [1.0, 0.5])
    picture = cost_curve({"": curve}, width=width, places=[(name, min(first, last), max(first, last))])
    assert max(map(len, picture.splitlines())) <= max(width + len(" step"), 9 + 3 + len(name) + 2)
