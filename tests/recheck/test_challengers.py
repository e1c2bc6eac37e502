"""Who challenges the incumbent."""

import pytest

from ayar.recheck.challengers import Record, at_edge, challengers, local_steps
from ayar.records import Curve, Measurement, Trial
from ayar.space import Choice, Float, Int, PerLayer, Space
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
    assert [s.config["learning_rate"] for s in steps[:2]] == [0.03, 0.003333]
    assert all({**s.config, "learning_rate": 0.01} == INCUMBENT for s in steps[:2])


def test_a_step_that_the_range_cuts_to_little_is_left_out():
    steps = local_steps({**INCUMBENT, "learning_rate": 0.8}, SPACE)
    assert [s.config["learning_rate"] for s in steps if s.config["learning_rate"] != 0.8] == [0.2667]


def test_without_a_learning_rate_what_lies_on_a_log_scale_is_stepped_first():
    space = Space(depth=Int(1, 9), width=Int(4, 256, log=True))
    steps = local_steps({"depth": 3, "width": 30}, space)
    assert [s.config for s in steps] == [
        {"depth": 3, "width": 90},
        {"depth": 3, "width": 10},
        {"depth": 5, "width": 30},
    ]


def test_what_the_trials_call_important_is_stepped_right_after_the_learning_rate():
    steps = local_steps(INCUMBENT, SPACE, Record(important=["momentum", "units"]))
    assert [origin.split()[0] for origin in origins(steps)] == ["learning_rate", "learning_rate", "momentum", "units"]


def test_a_single_step_goes_where_the_search_was_better():
    def trial(number, units, loss):
        return Trial(number, {**INCUMBENT, "units": units}, number, curve=Curve((Measurement(1, loss),)), ended=True)

    record = Record(trials=[trial(0, 200, 0.5), trial(1, 8, 0.3)])
    assert "units / 2.9" in origins(local_steps(INCUMBENT, SPACE, record))
    record = Record(trials=[trial(0, 200, 0.3), trial(1, 8, 0.5)])
    assert "units x 3" in origins(local_steps(INCUMBENT, SPACE, record))


def test_an_ordered_choice_steps_to_its_neighbours_another_to_what_the_search_liked():
    space = Space(batch_size=Choice(16, 32, 64, ordered=True), activation=Choice("relu", "tanh", "sigmoid"))
    incumbent = {"batch_size": 32, "activation": "relu"}
    best = Trial(0, {"batch_size": 16, "activation": "sigmoid"}, 1, curve=Curve((Measurement(1, 0.1),)), ended=True)
    steps = local_steps(incumbent, space, Record(trials=[best]))
    assert origins(steps) == ["batch_size 64", "batch_size 16", "activation sigmoid"]


def test_units_of_all_layers_step_together():
    space = Space(layers=2, units=PerLayer(Int(4, 64, log=True), layers="layers"))
    steps = local_steps({"layers": 2, "units": [16, 48]}, space)
    assert [s.config["units"] for s in steps] == [[32, 64], [8, 24]]


@pytest.mark.parametrize(
    ("space", "incumbent"),
    [
        (Space(activation="relu"), {"activation": "relu"}),
        (Space(candidates=[{"lr": 0.1}, {"lr": 0.2}], lr=Float(0.01, 1.0, log=True)), {"lr": 0.1}),
    ],
    ids=["nothing to set", "candidates only"],
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
    found = challengers(INCUMBENT, SPACE, Record(places=[place(0.1), near, far, farther_but_poor], run_sd=0.02))
    assert origins(found)[:3] == ["runner-up", "learning_rate x 3", "learning_rate / 3"]
    assert [c.config for c in found if c.origin == "runner-up"] == [far.config, near.config, farther_but_poor.config]


def test_what_lies_next_to_another_is_left_out():
    twin = place(0.1, momentum=0.02)
    found = challengers(INCUMBENT, SPACE, Record(places=[place(0.1), twin], run_sd=0.02))
    assert twin.config not in [c.config for c in found]
    assert INCUMBENT not in [c.config for c in found]


def test_rules_come_first_where_a_size_changed():
    found = challengers(INCUMBENT, SPACE, Record(places=[place(0.1)], changed={"batch_size": (32, 128)}))
    assert [(c.origin, c.config["learning_rate"]) for c in found[:2]] == [
        ("rule: batch size x 4, root", 0.02),
        ("rule: batch size x 4, linear", 0.04),
    ]


def test_one_challenger_comes_from_far_away_and_says_so():
    def trial(number, loss, **values):
        config = {**INCUMBENT, **values}
        return Trial(number, config, number, curve=Curve((Measurement(1, loss),)), ended=True)

    near = [trial(i, 0.1, momentum=0.01 * i) for i in range(4)]
    far = [trial(9, 0.3, momentum=0.9, units=4), trial(10, 0.2, momentum=0.8, units=5)]
    (found,) = [c for c in challengers(INCUMBENT, SPACE, Record(trials=near + far)) if c.far]
    assert found.config == far[1].config


def test_without_a_search_the_one_from_far_away_is_drawn_always_the_same():
    def drawn():
        return [c.config for c in challengers(INCUMBENT, SPACE, Record()) if c.far]

    assert drawn() == drawn() != []


def test_a_winner_tried_by_hand_outside_the_space_is_stepped_back_into_it():
    outside = {**INCUMBENT, "learning_rate": 3.0}
    found = challengers(outside, SPACE, Record(places=[Standing(outside, (0.1, 0.1), 5), place(0.1)], run_sd=0.02))
    assert [(c.origin, c.config["learning_rate"]) for c in found[:2]] == [
        ("runner-up", 0.01),
        ("learning_rate / 3", 1.0),
    ]


def test_a_runner_up_that_diverged_is_no_challenger():
    broken = Standing({**INCUMBENT, "momentum": 0.9}, (0.1, float("inf")), 5)
    found = challengers(INCUMBENT, SPACE, Record(places=[place(0.1), broken], run_sd=0.02))
    assert broken.config not in [c.config for c in found]


def test_the_default_challenges_where_it_was_never_re_ranked():
    assert "default" in origins(challengers(INCUMBENT, SPACE, Record()))


def test_an_incumbent_alone_in_its_space_has_no_challenger():
    space = Space(x=0.5)
    assert challengers(space.default(), space, Record()) == []


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
