"""The analytic rules, against the numbers of their papers' formulas."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ayar.errors import SpaceError
from ayar.recheck.rules import rescaled
from ayar.recheck.sizes import resized
from ayar.space import Choice, Float, Int, PerLayer, Space

SPACE = Space(
    learning_rate=Float(1e-6, 10.0, log=True),
    weight_decay=Float(1e-8, 1.0, log=True),
    beta2=Float(0.0, 0.9999),
    optimizer=Choice("adam", "sgd"),
)
ADAM = {"learning_rate": 0.001, "weight_decay": 0.01, "beta2": 0.999, "optimizer": "adam"}
SGD = {**ADAM, "optimizer": "sgd"}


def only(config, changed):
    ((moved, name),) = rescaled(config, SPACE, changed)
    return moved, name


def test_adam_follows_the_square_root_of_the_batch_size():
    moved, _ = only(ADAM, {"batch_size": (32, 512)})
    assert moved == {**ADAM, "learning_rate": 0.004, "weight_decay": 0.04, "beta2": pytest.approx(0.984)}


def test_adams_betas_stay_where_the_batch_grew_too_much_for_their_rule():
    moved, _ = only({**ADAM, "beta2": 0.9}, {"batch_size": (32, 512)})
    assert moved["beta2"] == 0.9


def test_sgd_follows_the_batch_size():
    moved, name = only(SGD, {"batch_size": (32, 128)})
    assert (moved, name) == ({**SGD, "learning_rate": 0.004}, "rule: batch size x 4, linear")


def test_an_unknown_optimizer_gets_both_rules():
    space = Space(lr=Float(1e-6, 10.0, log=True))
    found = rescaled({"lr": 0.01}, space, {"batch_size": (64, 16)})
    assert [config["lr"] for config, _ in found] == [0.005, 0.0025]


def test_more_rows_ask_for_less_weight_decay_or_shorter_steps():
    found = [config for config, _ in rescaled(ADAM, SPACE, {"rows": (1000, 8000)})]
    assert found == [{**ADAM, "weight_decay": 0.00125}, {**ADAM, "learning_rate": pytest.approx(0.0005359)}]


def test_a_wider_net_asks_adam_for_shorter_steps_and_more_decay():
    moved, _ = only(ADAM, {"hidden_units": (64, 256)})
    assert moved == {**ADAM, "learning_rate": 0.00025, "weight_decay": 0.04}
    assert rescaled(SGD, SPACE, {"width": (64, 256)}) == []


def test_several_changes_multiply():
    moved, name = rescaled(ADAM, SPACE, {"batch_size": (32, 128), "width": (64, 128)})[0]
    assert moved["learning_rate"] == pytest.approx(0.001)
    assert name == "rule: batch size x 4, root, and width x 2"


@given(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3), st.sampled_from([ADAM, SGD]))
def test_what_rules_give_stays_inside_the_space(batch, rows, config):
    for moved, _ in rescaled(config, SPACE, {"batch_size": (1.0, batch), "rows": (1.0, rows)}):
        assert SPACE.contains(moved)


def test_nothing_changed_means_no_rule():
    assert rescaled(ADAM, SPACE, {}) == rescaled(ADAM, SPACE, {"batch_size": (32, 32), "colour": (1, 2)}) == []


# -- sizes


def test_the_number_of_rows_is_read_from_the_fingerprints():
    before, today = {"data": {"rows": 1000}}, {"data": {"rows": 8000}}
    assert resized({}, ADAM, SPACE, before, today) == ({"rows": (1000.0, 8000.0)}, {})
    assert resized({}, ADAM, SPACE, before, {"data": {"rows": 1100}}) == ({}, {})
    assert resized({}, ADAM, SPACE, None, today) == ({}, {})


def test_a_new_width_holds_for_every_layer():
    space = Space(layers=2, hidden_units=PerLayer(Int(4, 64), layers="layers"))
    config = {"layers": 2, "hidden_units": [16, 32]}
    assert resized({"hidden_units": 96}, config, space, None, {}) == (
        {"hidden_units": (24.0, 96.0)},
        {"hidden_units": [96, 96]},
    )


@pytest.mark.parametrize(("changed", "said"), [({"rows": 80}, "Give both"), ({"weight_decay": -1}, "above 0")])
def test_a_size_that_says_nothing_is_refused(changed, said):
    with pytest.raises(SpaceError, match=said):
        resized(changed, ADAM, SPACE, None, {})
