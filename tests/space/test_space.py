"""A space, its configurations and the unit cube, in literals."""

import pickle
from collections import Counter

import numpy as np
import pytest

from ayar.errors import SpaceError
from ayar.space import Choice, Float, Int, PerLayer, Space

LECTURE_TOML = """
learning_rate = { float = [1e-4, 1.0], log = true }
hidden_layers = { int = [1, 4] }
hidden_units  = { int = [8, 256], log = true, per_layer = "hidden_layers" }
activation    = { choice = ["relu", "tanh", "sigmoid"] }
optimizer     = { choice = ["sgd", "adam"] }
momentum      = { float = [0.0, 0.99], when = { optimizer = "sgd" } }
batch_size    = { choice = [16, 32, 64, 128], ordered = true }
weight_decay  = { float = [1e-6, 1e-1], log = true }
iterations    = 50
"""


@pytest.fixture
def lecture():
    return Space(
        learning_rate=Float(1e-4, 1.0, log=True),
        hidden_layers=Int(1, 4),
        hidden_units=PerLayer(Int(8, 256, log=True), layers="hidden_layers"),
        activation=Choice("relu", "tanh", "sigmoid"),
        optimizer=Choice("sgd", "adam"),
        momentum=Float(0.0, 0.99, when={"optimizer": "sgd"}),
        batch_size=Choice(16, 32, 64, 128, ordered=True),
        weight_decay=Float(1e-6, 1e-1, log=True),
        iterations=50,
    )


def test_the_default_is_the_middle_of_every_range(lecture):
    assert lecture.default() == {
        "learning_rate": 0.01,
        "hidden_layers": 2,
        "hidden_units": [45, 45],
        "activation": "relu",
        "optimizer": "sgd",
        "momentum": 0.495,
        "batch_size": 32,
        "weight_decay": 0.0003162,
        "iterations": 50,
    }


def test_defaults_that_are_given_win():
    space = Space(a=Float(0, 1, default=0.9), b=Int(1, 9, default=1), c=Choice("x", "y", default="y"))

    assert space.default() == {"a": 0.9, "b": 1, "c": "y"}


def test_toml_says_the_same_as_python(lecture, tmp_path):
    path = tmp_path / "space.toml"
    path.write_text(LECTURE_TOML, encoding="utf-8")

    assert Space.from_toml(LECTURE_TOML) == lecture
    assert Space.from_toml(path) == Space.from_toml(str(path)) == lecture


def test_a_dict_uses_the_words_of_toml(lecture):
    words = lecture.to_dict()

    assert words["learning_rate"] == {"float": [1e-4, 1.0], "log": True}
    assert words["hidden_units"] == {"int": [8, 256], "log": True, "per_layer": "hidden_layers"}
    assert words["momentum"] == {"float": [0.0, 0.99], "when": {"optimizer": "sgd"}}
    assert words["batch_size"] == {"choice": [16, 32, 64, 128], "ordered": True}
    assert words["iterations"] == 50


def test_a_space_can_be_sent_to_another_process(lecture):
    assert pickle.loads(pickle.dumps(lecture)) == lecture


def test_spaces_differ_by_order_and_by_type():
    assert Space(a=1, b=2) != Space(b=2, a=1)
    assert Space(a=1) != Space(a=True)
    assert Space(a=1) != Space(a=1.0)
    assert Space(a=1) == Space(a=1)


def test_a_fixed_hyperparameter_is_found_as_its_plain_value(lecture):
    assert lecture["iterations"] == 50
    assert lecture["hidden_layers"] == Int(1, 4)
    assert "momentum" in lecture
    assert "momentom" not in lecture
    with pytest.raises(SpaceError, match=r"No hyperparameter 'momentom'.*Did you mean 'momentum'"):
        lecture["momentom"]


# --- complete, check ---


def test_more_layers_get_their_own_defaults(lecture):
    assert lecture.complete({"hidden_layers": 3})["hidden_units"] == [45, 45, 45]


def test_one_value_for_all_layers(lecture):
    assert lecture.complete({"hidden_layers": 3, "hidden_units": 64})["hidden_units"] == [64, 64, 64]


def test_what_becomes_inactive_is_dropped_and_what_becomes_active_takes_its_default(lecture):
    assert "momentum" not in lecture.complete({"optimizer": "adam"})

    other_way = Space(optimizer=Choice("adam", "sgd"), momentum=Float(0, 0.99, when={"optimizer": "sgd"}))
    assert other_way.complete({"optimizer": "sgd"}) == {"optimizer": "sgd", "momentum": 0.495}


def test_complete_writes_values_as_the_space_does(lecture):
    config = lecture.complete(
        {"hidden_layers": np.int64(1), "hidden_units": (32.0,), "learning_rate": 1, "batch_size": np.float64(64)}
    )

    assert [type(config[name]) for name in ("hidden_layers", "learning_rate", "batch_size")] == [int, float, int]
    assert config["hidden_units"] == [32]
    assert lecture.contains(config)


def test_a_noisy_decimal_is_put_on_its_step():
    space = Space(dropout=Float(0.0, 0.5, step=0.1))

    assert space.complete({"dropout": 0.1 + 0.2}) == {"dropout": 0.3}
    assert [config["dropout"] for config in space.grid()] == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]


@pytest.mark.parametrize(
    ("partial", "message"),
    [
        ({"learningrate": 0.1}, "'learningrate'.*Did you mean 'learning_rate'"),
        ({"learning_rate": 10}, r"learning_rate: 10 lies outside \[0.0001, 1.0\]"),
        ({"learning_rate": "0.1"}, "learning_rate: the value must be a number, got '0.1'"),
        ({"learning_rate": float("nan")}, "learning_rate: the value must be finite, got nan"),
        ({"learning_rate": True}, "learning_rate: the value must be a number, got True"),
        ({"hidden_layers": 2.5}, "hidden_layers: the value must be a whole number, got 2.5"),
        ({"hidden_layers": 2, "hidden_units": [8, 8, 8]}, "hidden_units: .* has 3 values for hidden_layers=2"),
        ({"hidden_units": [8, 1000]}, r"hidden_units: 1000 lies outside \[8, 256\]"),
        ({"activation": "gelu"}, "activation: 'gelu' is none of 'relu', 'tanh', 'sigmoid'"),
        ({"optimizer": "adam", "momentum": 0.9}, "momentum: .*only when optimizer is 'sgd', and here it is 'adam'"),
        ({"iterations": 60}, "iterations: 60 given, but it is fixed at 50"),
    ],
)
def test_complete_says_what_does_not_fit(lecture, partial, message):
    with pytest.raises(SpaceError, match=message):
        lecture.complete(partial)


def test_check_wants_every_active_hyperparameter_in_canonical_form(lecture):
    config = lecture.default()

    lecture.check(config)
    for name in config:
        with pytest.raises(SpaceError, match="missing"):
            lecture.check({key: value for key, value in config.items() if key != name})
    with pytest.raises(SpaceError, match=r"hidden_units: 64 is written \[64, 64\]"):
        lecture.check({**config, "hidden_units": 64})
    with pytest.raises(SpaceError, match="is a dict"):
        lecture.check([config])


def test_true_is_not_one():
    space = Space(flag=Choice(True, False), count=Choice(1, 2), when_flag=Float(0, 1, when={"flag": True}))

    assert space.contains({"flag": False, "count": 1})
    assert not space.contains({"flag": 0, "count": 1})
    assert not space.contains({"flag": False, "count": True})


def test_conditions_can_hang_on_each_other_and_list_several_values():
    space = Space(
        optimizer=Choice("sgd", "rmsprop", "adam"),
        warm_up=Choice(True, False, when={"optimizer": ["sgd", "rmsprop"]}),
        warm_up_steps=Int(1, 9, when={"warm_up": True}),
        layers=Int(1, 2, when={"warm_up": False}),
        units=PerLayer(Int(1, 9), layers="layers"),
    )

    assert space.complete({}) == {"optimizer": "sgd", "warm_up": True, "warm_up_steps": 5}
    assert space.complete({"warm_up": False}) == {"optimizer": "sgd", "warm_up": False, "layers": 1, "units": [5]}
    assert space.complete({"optimizer": "adam"}) == {"optimizer": "adam"}
    with pytest.raises(SpaceError, match=r"warm_up_steps: .*only together with warm_up, which is inactive here"):
        space.complete({"optimizer": "adam", "warm_up_steps": 3})
    # sgd and rmsprop: 9 + 9 + 81 each; adam: 1
    assert space.size == 2 * (9 + 9 + 81) + 1


# --- the cube ---


def test_each_value_stands_in_the_cube_where_its_scale_puts_it_and_an_inactive_one_in_the_middle():
    space = Space(
        rate=Float(0.01, 100, log=True),
        width=Float(-1, 3),
        layers=Int(1, 4),
        units=PerLayer(Choice("a", "b"), layers="layers"),
        extra=Float(0, 1, when={"layers": 4}),
    )

    point = space.encode({"rate": 1.0, "width": 0.0, "layers": 2, "units": ["a", "b"]})

    assert point.tolist() == pytest.approx([0.5, 0.25, 0.375, 0.25, 0.75, 0.5, 0.5, 0.5])


def test_the_corners_of_the_cube_are_the_ends_of_the_ranges(lecture):
    low, high = lecture.decode(np.zeros(11)), lecture.decode(np.ones(11))

    assert (low["learning_rate"], low["hidden_units"], low["batch_size"]) == (1e-4, [8], 16)
    assert (high["learning_rate"], high["hidden_units"], high["batch_size"]) == (1.0, [256] * 4, 128)


@pytest.mark.parametrize("point", [np.zeros(3), np.full(11, np.nan), np.zeros((1, 11))])
def test_a_point_of_another_cube_is_refused(lecture, point):
    with pytest.raises(SpaceError, match="11 finite coordinates"):
        lecture.decode(point)


def test_samples_are_even_on_the_scale_of_each_range():
    space = Space(rate=Float(1e-4, 1.0, log=True), units=Int(1, 8, log=True), kind=Choice("a", "b", "c"))
    rng = np.random.default_rng(0)
    samples = [space.sample(rng) for _ in range(3000)]

    assert np.mean([s["rate"] < 1e-2 for s in samples]) == pytest.approx(0.5, abs=0.03)
    # ln(1.5 / 0.5) / ln(8.5 / 0.5) is the share of 1 on a log scale
    assert np.mean([s["units"] == 1 for s in samples]) == pytest.approx(0.3878, abs=0.03)
    assert Counter(s["kind"] for s in samples)["b"] / 3000 == pytest.approx(1 / 3, abs=0.03)


# --- candidates ---


@pytest.fixture
def table():
    return Space(
        candidates=[
            {"rate": 0.1, "layers": 1, "units": [8]},
            {"rate": 1, "layers": 2, "units": (8, 16), "iterations": 50},
            {"units": [8], "layers": 1, "rate": 0.1},
        ],
        rate=Float(0.01, 1.0, log=True),
        layers=Int(1, 2),
        units=PerLayer(Int(1, 64), layers="layers"),
        iterations=50,
    )


def test_candidates_are_all_there_is(table):
    first = {"rate": 0.1, "layers": 1, "units": [8], "iterations": 50}
    second = {"rate": 1.0, "layers": 2, "units": [8, 16], "iterations": 50}

    assert table.candidates == (first, second)
    assert table.size == 2
    assert list(table.grid(7)) == [first, second]
    assert table.default() == first
    assert table.complete({"layers": 2}) == table.complete({"rate": 1}) == second
    assert table.decode(table.encode(second)) == second
    assert table.decode([1, 1, 1, 1]) == second
    rng = np.random.default_rng(0)
    assert {table.sample(rng)["rate"] for _ in range(20)} == {0.1, 1.0}
    assert table.contains(second)
    assert not table.contains({**second, "rate": 0.5})
    with pytest.raises(SpaceError, match=r"No candidate has rate=0\.5"):
        table.complete({"rate": 0.5})


def test_candidates_survive_the_dict_form(table):
    again = Space.from_dict(table.to_dict())

    assert again == table
    assert again.candidates == table.candidates


def test_what_is_handed_out_can_be_changed_without_harm(table, lecture):
    for space in (table, lecture):
        for make in (space.default, lambda s=space: s.grid(2)[0], lambda s=space: s.decode(s.encode(s.default()))):
            before = make()
            make()["hidden_units" if space is lecture else "units"].append(99)
            assert make() == before


@pytest.mark.parametrize(
    ("candidates", "message"),
    [
        ([], "candidates is empty"),
        ([{"a": 0.5}, {"a": 2}], r"candidates\[1\] does not fit the space. a: 2 lies outside"),
        ([{}], r"candidates\[0\] does not fit the space. a: .*missing"),
        ([0.5], r"candidates\[0\] does not fit the space. A configuration is a dict"),
    ],
)
def test_candidates_outside_the_space_are_named(candidates, message):
    with pytest.raises(SpaceError, match=message):
        Space(candidates=candidates, a=Float(0, 1))


# --- size, grid, describe ---


def test_a_continuum_has_no_size_and_a_finite_space_is_counted(lecture):
    assert lecture.size is None
    assert Space(a=Float(0, 1)).size is None
    assert Space(a=Float(0, 1, step=0.25), b=Choice("x", "y"), c=7).size == 10
    assert Space(n=Int(1, 3), u=PerLayer(Choice("a", "b"), layers="n")).size == 2 + 4 + 8
    with pytest.raises(SpaceError, match="only a finite space has a grid"):
        lecture.grid()


def test_a_huge_grid_is_never_written_out():
    space = Space(n=Int(1, 60), u=PerLayer(Int(1, 1000), layers="n"))

    assert space.size == sum(1000**n for n in range(1, 61))
    assert len(space.grid().pick(space.size - 1)["u"]) == 60


def test_a_grid_has_both_ends_and_spreads_evenly():
    grid = Space(rate=Float(0.01, 1, log=True), n=Int(1, 100)).grid(3)

    assert sorted({config["rate"] for config in grid}) == pytest.approx([0.01, 0.1, 1])
    assert sorted({config["n"] for config in grid}) == [1, 51, 100]
    assert len(grid) == 9


def test_a_grid_is_a_sequence():
    grid = Space(a=Int(1, 3)).grid()

    assert grid[-1] == {"a": 3}
    assert grid[1:] == [{"a": 2}, {"a": 3}]
    with pytest.raises(IndexError, match="no number 3"):
        grid[3]
    with pytest.raises(SpaceError, match="points >= 1"):
        Space(a=Int(1, 3)).grid(0)


def test_describe_has_a_row_for_each_hyperparameter(lecture):
    rows = {row["name"]: row for row in lecture.describe()}

    assert rows["learning_rate"] == {
        "name": "learning_rate",
        "kind": "float",
        "values": "0.0001 to 1.0",
        "scale": "log",
        "default": 0.01,
        "when": "",
    }
    assert rows["hidden_units"]["kind"] == "int for each of hidden_layers"
    assert rows["momentum"]["when"] == "optimizer is 'sgd'"
    assert (rows["batch_size"]["values"], rows["batch_size"]["scale"]) == ("16, 32, 64, 128", "ordered")
    assert rows["iterations"]["kind"] == "fixed"


# --- refusals ---


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (Space, "at least one hyperparameter"),
        (lambda: Space(a=Choice("x"), b=Int(1, 2, when={"c": 1})), "b: It depends on 'c', which is no hyperparameter"),
        (lambda: Space(b=Int(1, 2, when={"a": "x"}), a=Choice("x", "y")), "declared later: declare a before b"),
        (lambda: Space(a=Int(1, 2, when={"a": 1})), "in a circle: a -> a"),
        (
            lambda: Space(a=Choice("x", when={"b": 1}), b=Int(1, 2, when={"c": 1}), c=Int(1, 2, when={"a": "x"})),
            "in a circle: a -> b -> c -> a",
        ),
        (lambda: Space(a=Choice("x", "y"), b=Int(1, 2, when={"a": "z"})), "b: It waits for a='z', which can never"),
        (lambda: Space(a=Choice(0, 1), b=Int(1, 2, when={"a": True})), "can never happen"),
        (lambda: Space(a=Float(0, 1), b=Int(1, 2, when={"a": 0.5})), "a is a Float: make it a Choice"),
        (lambda: Space(a=Int(0, 10**6), b=Int(1, 2, when={"a": 5})), "too many to depend on"),
        (lambda: Space(n=Int(1, 2), u=PerLayer(Int(1, 2), layers="m")), "u: It depends on 'm', which is no"),
        (lambda: Space(n=Int(0, 2), u=PerLayer(Int(1, 2), layers="n")), "an Int with low >= 1"),
        (lambda: Space(n=Choice(1, 2), u=PerLayer(Int(1, 2), layers="n")), "an Int with low >= 1"),
        (lambda: Space(n=True, u=PerLayer(Int(1, 2), layers="n")), "an Int with low >= 1"),
        (lambda: Space(**{"hidden units": 3}), "hidden units: .* as in 'hidden_units'"),
        (lambda: Space(**{"2nd": 3}), "as in '_2nd'"),
        (lambda: Space(**{"lambda": 0.1}), "call it 'lambda_'"),
        (lambda: Space(seed=1), "'seed' is taken: each training gets its seed from Ayar"),
        (lambda: Space(a=None), "a: A fixed value must be a number.*none"),
        (lambda: Space(a=float("inf")), "a: A fixed value must be finite"),
        (lambda: Space(a={"x": 1}), "a: A fixed value must be a number, a string or a boolean"),
    ],
)
def test_a_space_that_contradicts_itself_is_refused_with_the_way_out(make, message):
    with pytest.raises(SpaceError, match=message):
        make()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"a": {"flaot": [0, 1]}}, "a: It needs exactly one of the words float, int and choice"),
        ({"a": {"float": [0, 1], "int": [0, 1]}}, "a: It needs exactly one"),
        ({"a": {"float": [0, 1], "logg": True}}, "a: 'logg' is no word for a float. Did you mean 'log'"),
        ({"a": {"float": [0, 1], "log": "yes"}}, "a: log is true or false, got 'yes'"),
        ({"a": {"float": [1]}}, r"a: float takes the list \[low, high\], got \[1\]"),
        ({"a": {"choice": "relu"}}, "a: choice takes a list of values, got 'relu'"),
        ({"a": {"float": [0, 1], "log": True}}, "a: .*needs low > 0"),
    ],
)
def test_words_that_describe_no_space_are_refused(words, message):
    with pytest.raises(SpaceError, match=message):
        Space.from_dict(words)


def test_toml_that_cannot_be_read_is_one_clear_line(tmp_path):
    with pytest.raises(SpaceError, match=r"Cannot read the space from .*nowhere\.toml: No such file"):
        Space.from_toml(tmp_path / "nowhere.toml")
    with pytest.raises(SpaceError, match=r"The text is no TOML: .*line 1"):
        Space.from_toml("learning_rate = x y")
