"""What a long tuning shows while it runs, wherever its standard error goes."""

import builtins
import re

from ayar.progress import ProgressDisplay
from ayar.records import Curve, Measurement, Trial

TRIALS = [
    Trial(0, {}, 0, curve=Curve((Measurement(1, 0.5),)), target_step=3),
    Trial(1, {}, 1, curve=Curve((Measurement(1, 0.2),)), target_step=1),
]


def test_where_standard_error_is_no_terminal_a_line_now_and_then_says_how_far_it_is(capsys):
    """In a log of a night's tuning, nothing at all would look like a hang."""
    with ProgressDisplay(line_every_s=0.0) as display:
        display.show("search", 0.0, TRIALS, "best 0.2 (trial 1)")
        display.show("search", 0.5, TRIALS, "")
    first, second = capsys.readouterr().err.splitlines()
    assert first == "search, starting: 2 trials: 1 running, 1 paused; best 0.2 (trial 1)"
    assert re.fullmatch(r"search, \d+ s left: 2 trials: 1 running, 1 paused", second)


def test_a_short_tuning_and_one_that_is_to_be_silent_leave_no_line_in_a_log(capsys):
    for display in (ProgressDisplay(), ProgressDisplay(wanted=False, line_every_s=0.0)):
        with display:
            display.show("search", 0.5, TRIALS, "best 0.2 (trial 1)")
    assert capsys.readouterr().err == ""


def test_a_notebook_shows_one_line_that_is_written_over_and_gone_at_the_end(capsys, monkeypatch):
    shell = type("ZMQInteractiveShell", (), {})()
    monkeypatch.setattr(builtins, "get_ipython", lambda: shell, raising=False)
    with ProgressDisplay(every_s=0.0) as display:
        display.show("search", 0.0, TRIALS, "best 0.2 (trial 1)")
        display.show("search", 0.5, TRIALS, "")
    first, second, blank, end = capsys.readouterr().err.split("\r")[1:]
    assert first == "search, starting: 2 trials: 1 running, 1 paused; best 0.2 (trial 1)"
    assert re.fullmatch(r"search, \d+ s left: 2 trials: 1 running, 1 paused +", second)
    assert len(second) == len(first)
    assert (blank.strip(), end) == ("", "")
