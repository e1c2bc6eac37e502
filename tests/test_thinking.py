"""Slices are worth the thinking about them, and a clock's jitter does not matter."""

import pytest

from ayar.thinking import FEWEST, Thinking


def lately(*, decision_s, step_s, times=FEWEST, moves=1):
    thinking = Thinking()
    for _ in range(times):
        thinking.decided(seconds=decision_s * moves, moves=moves)
    thinking.trained([step_s] * times)
    return thinking


def test_steps_of_seconds_are_each_worth_a_decision():
    assert lately(decision_s=0.003, step_s=2.0).least_slice(workers=1) == 1


@pytest.mark.parametrize(("workers", "steps"), [(1, 8), (3, 8), (6, 16), (40, 128)])
def test_a_slice_trains_three_times_as_long_as_its_decision_took_or_as_all_workers_need(workers, steps):
    assert lately(decision_s=0.002, step_s=0.0006).least_slice(workers) == steps


@pytest.mark.parametrize("jitter", [0.9, 1.0, 1.1])
def test_a_tenth_more_or_less_changes_nothing(jitter):
    assert lately(decision_s=0.004 * jitter, step_s=0.001).least_slice(workers=1) == 8


def test_moves_that_were_decided_about_at_once_share_the_time():
    one, eight = (lately(decision_s=0.004, step_s=0.001, moves=moves) for moves in (1, 8))
    assert one.least_slice(1) == eight.least_slice(1)


def test_nothing_is_concluded_from_little_or_from_a_call_that_decided_nothing():
    thinking = lately(decision_s=0.004, step_s=0.001, times=FEWEST - 1)
    thinking.decided(seconds=9.0, moves=0)
    assert thinking.least_slice(workers=1) == 1


def test_a_slow_first_decision_is_forgotten():
    thinking = Thinking()
    thinking.decided(seconds=30.0, moves=1)
    for _ in range(FEWEST):
        thinking.decided(seconds=0.004, moves=1)
    thinking.trained([0.001] * FEWEST)
    assert thinking.least_slice(workers=1) == 8
