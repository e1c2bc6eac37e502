"""Who challenges the incumbent."""

import pytest

from ayar.recheck.challengers import at_edge, challengers, local_steps
from ayar.space import Choice, Float, Int, Space
from ayar.winner import Standing

SPACE = Space(
    learning_rate=Float(1e-4, 1.0, log=True), units=Int(4, 256, log=True), momentum=Float(0.0, 0.9), layers=Int(1, 3)
)
INCUMBENT = {"learning_rate": 0.01, "units": 32, "momentum": 0.0, "layers": 2}


def place(mean, **values):
    return Standing({**INCUMBENT, **values}, (mean - 0.01, mean + 0.01), 5)


def origins(found):
    return [c.origin for c in found]


def test_the_learning_rate_goes_up_and_down_by_three():
    steps = local_steps(INCUMBENT, SPACE)
    assert [s.config["learning_rate"] for s in steps] == [0.03, 0.003333]
    assert all({**s.config, "learning_rate": 0.01} == INCUMBENT for s in steps)


def test_a_step_that_the_range_cuts_to_little_is_left_out():
    steps = local_steps({**INCUMBENT, "learning_rate": 0.8}, SPACE)
    assert [s.config["learning_rate"] for s in steps] == [0.2667]


def test_without_a_learning_rate_the_first_hyperparameter_on_a_log_scale_is_stepped():
    space = Space(depth=Int(1, 9), width=Int(4, 256, log=True), decay=Float(1e-6, 0.1, log=True))
    steps = local_steps({"depth": 3, "width": 30, "decay": 0.01}, space)
    assert [s.config for s in steps] == [
        {"depth": 3, "width": 90, "decay": 0.01},
        {"depth": 3, "width": 10, "decay": 0.01},
    ]


@pytest.mark.parametrize(
    ("space", "incumbent"),
    [
        (Space(activation=Choice("relu", "tanh")), {"activation": "relu"}),
        (Space(candidates=[{"lr": 0.1}, {"lr": 0.2}], lr=Float(0.01, 1.0, log=True)), {"lr": 0.1}),
        (Space(momentum=Float(0.0, 0.9)), {"momentum": 0.3}),
    ],
    ids=["no range", "candidates only", "no log scale"],
)
def test_where_no_step_is_possible_there_is_none(space, incumbent):
    assert local_steps(incumbent, space) == []


def test_a_learning_rate_on_a_grid_steps_to_a_value_of_the_grid():
    space = Space(learning_rate=Float(0.0, 1.0, step=0.05))
    assert [s.config["learning_rate"] for s in local_steps({"learning_rate": 0.2}, space)] == [0.6, 0.05]


def test_the_most_distant_of_the_runners_up_that_were_as_good_comes_first():
    near = place(0.10, momentum=0.3)
    far = place(0.11, momentum=0.9, units=200)
    farther_but_poor = place(0.90, momentum=0.9, units=4, layers=3)
    found = challengers(INCUMBENT, [place(0.1), near, far, farther_but_poor], SPACE, run_sd=0.02)
    assert origins(found)[:3] == ["runner-up", "learning_rate x 3", "learning_rate / 3"]
    assert [c.config for c in found if c.origin == "runner-up"] == [far.config, near.config, farther_but_poor.config]


def test_what_lies_next_to_another_is_left_out():
    twin = place(0.1, momentum=0.02)
    found = challengers(INCUMBENT, [place(0.1), twin], SPACE, run_sd=0.02)
    assert twin.config not in [c.config for c in found]
    assert INCUMBENT not in [c.config for c in found]


def test_a_winner_tried_by_hand_outside_the_space_is_stepped_back_into_it():
    outside = {**INCUMBENT, "learning_rate": 3.0}
    found = challengers(outside, [Standing(outside, (0.1, 0.1), 5), place(0.1)], SPACE, run_sd=0.02)
    assert [(c.origin, c.config["learning_rate"]) for c in found] == [
        ("runner-up", 0.01),
        ("learning_rate / 3", 1.0),
        ("default", 0.01),
    ]


def test_a_runner_up_that_diverged_is_no_challenger():
    broken = Standing({**INCUMBENT, "momentum": 0.9}, (0.1, float("inf")), 5)
    assert broken.config not in [c.config for c in challengers(INCUMBENT, [place(0.1), broken], SPACE, 0.02)]


def test_the_default_challenges_where_it_was_never_re_ranked():
    assert "default" in origins(challengers(INCUMBENT, [], SPACE, None))


def test_an_incumbent_alone_in_its_space_has_no_challenger():
    space = Space(x=Float(0.0, 1.0))
    assert challengers(space.default(), [], space, None) == []


@pytest.mark.parametrize(
    ("values", "edge"),
    [
        ({"learning_rate": 1.0}, True),
        ({"learning_rate": 0.03}, False),
        ({"units": 256}, True),
        ({"layers": 3}, False),  # a range of three whole numbers is nearly all ends
        ({}, False),  # the incumbent's own momentum of 0 is no news
    ],
)
def test_a_challenger_at_an_end_of_a_range_points_beyond_it(values, edge):
    assert at_edge({**INCUMBENT, **values}, INCUMBENT, SPACE) is edge
