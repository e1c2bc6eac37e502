"""What holds for every space, on spaces that hypothesis invents."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ayar.records import config_key
from ayar.space import Choice, Float, Int, PerLayer, Space

modest = settings(deadline=None, max_examples=150)

NAMES = ["learning_rate", "units", "activation", "momentum", "batch_size", "dropout", "schedule"]
seeds = st.integers(0, 2**32)
scalars = st.one_of(st.text(max_size=5), st.integers(-(10**6), 10**6), st.floats(-1e6, 1e6), st.booleans())


def kind_and_value(value):
    """Equal for values that a Choice would call duplicates: 1 and 1.0, but not 1 and True, nor 1 and "1"."""
    return isinstance(value, bool), isinstance(value, str), value


@st.composite
def continua(draw, when=None):
    log = draw(st.booleans())
    low = draw(st.floats(1e-8, 1e3) if log else st.floats(-1e3, 1e3))
    span = draw(st.floats(1e-3, 1e4))
    return Float(low, low * (1 + span) if log else low + span, log=log, when=when)


@st.composite
def stepped(draw, when=None):
    """Tenths, as people write them: 0.1, 0.3, ... are no binary fractions."""
    step, start, n = draw(st.integers(1, 9)), draw(st.integers(-99, 99)), draw(st.integers(1, 99))
    return Float(start / 10, (start + step * n) / 10, step=step / 10, when=when)


@st.composite
def ints(draw, when=None):
    log = draw(st.booleans())
    low = draw(st.integers(1 if log else -1000, 1000))
    step = 1 if log else draw(st.integers(1, 7))
    return Int(low, low + step * draw(st.integers(1, 10**7)), log=log, step=step, when=when)


@st.composite
def choices(draw, when=None):
    values = draw(st.lists(scalars, min_size=1, max_size=5, unique_by=kind_and_value))
    return Choice(*values, ordered=draw(st.booleans()), default=draw(st.sampled_from(values)), when=when)


def axes(when=None):
    return st.one_of(continua(when), stepped(when), ints(when), choices(when))


@st.composite
def spaces(draw):
    """Conditions on choices, counts and fixed values; lists per layer; fixed values."""
    layers = draw(st.one_of(st.integers(1, 4), st.builds(Int, st.just(1), st.integers(2, 5))))
    entries = {"layers": layers}
    parents = {"layers": [layers] if isinstance(layers, int) else [1, 2]}
    for name in draw(st.lists(st.sampled_from(NAMES), min_size=1, unique=True)):
        when = None
        if draw(st.booleans()):
            parent = draw(st.sampled_from(sorted(parents)))
            when = {parent: draw(st.sampled_from([parents[parent], parents[parent][0]]))}
        kind = draw(st.sampled_from(["axis", "axis", "per layer", "fixed"]))
        if kind == "per layer":
            entries[name] = PerLayer(draw(axes()), layers="layers", when=when)
        elif kind == "fixed":
            entries[name] = draw(scalars)
            parents[name] = [entries[name]]
        else:
            entries[name] = draw(axes(when))
            if isinstance(entries[name], Choice):
                parents[name] = list(entries[name].choices[:2])
    return Space(**entries)


def is_continuum(entry):
    axis = entry.element if isinstance(entry, PerLayer) else entry
    return isinstance(axis, Float) and axis.step is None


def assert_equal_up_to_round_off(space, config, again):
    assert list(config) == list(again)
    for name, value in config.items():
        if is_continuum(space[name]):
            assert again[name] == pytest.approx(value, rel=1e-9, abs=1e-9)
        else:
            assert json.dumps(again[name]) == json.dumps(value)  # of the same type too


@modest
@given(space=spaces(), seed=seeds)
def test_every_sample_is_in_its_space_and_survives_the_cube(space, seed):
    config = space.sample(np.random.default_rng(seed))

    space.check(config)
    point = space.encode(config)
    assert point.shape == (space.dimensions,)
    assert ((point >= 0) & (point <= 1)).all()
    assert_equal_up_to_round_off(space, config, space.decode(point))


@modest
@given(space=spaces(), seed=seeds)
def test_decode_ignores_the_coordinates_of_what_is_inactive(space, seed):
    rng = np.random.default_rng(seed)
    point = rng.random(space.dimensions)
    config = space.decode(point)

    settled = space.encode(config)
    elsewhere = np.where(settled == 0.5, point, settled)

    assert_equal_up_to_round_off(space, config, space.decode(elsewhere))


@modest
@given(space=spaces(), seed=seeds)
def test_many_points_are_snapped_to_where_each_would_come_back(space, seed):
    points = np.random.default_rng(seed).uniform(-0.1, 1.1, (5, space.dimensions))

    one_by_one = np.array([space.encode(space.decode(point)) for point in points])
    assert np.allclose(space.snap(points), one_by_one, atol=1e-9)


@given(space=spaces())
def test_the_default_is_in_the_space_and_completes_itself(space):
    default = space.default()

    space.check(default)
    assert config_key(space.complete(default)) == config_key(default)


@modest
@given(space=spaces(), seed=seeds)
def test_a_space_comes_back_from_json_as_it_was(space, seed):
    again = Space.from_dict(json.loads(json.dumps(space.to_dict())))

    assert again == space
    config = space.sample(np.random.default_rng(seed))
    assert config_key(again.sample(np.random.default_rng(seed))) == config_key(config)
    again.check(json.loads(json.dumps(config)))


def toml(value):
    """The value in TOML, written independently of the code under test."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + "".join(c if c.isalnum() and c.isascii() else f"\\U{ord(c):08x}" for c in value) + '"'
    return repr(value)


@modest
@given(space=spaces())
def test_a_space_comes_back_from_toml_as_it_was(space):
    text = "".join(f"{name} = {toml(words)}\n" for name, words in space.to_dict().items())

    assert Space.from_toml(text) == space


@modest
@given(space=spaces(), points=st.integers(1, 3))
def test_a_grid_counts_what_it_holds_without_repetitions(space, points):
    grid = space.grid(points)

    if grid.size <= 300:
        keys = [config_key(config) for config in grid]
        assert len(keys) == len(set(keys)) == grid.size
    for index in {0, grid.size // 2, grid.size - 1}:
        space.check(grid.pick(index))


@modest
@given(axis=axes(), u=st.floats(0, 1))
def test_an_axis_keeps_inside_its_range_and_its_values_hold_still(axis, u):
    value = axis.from_unit(u)

    again = axis.from_unit(axis.to_unit(value))
    if isinstance(axis, Float) and axis.step is None:
        assert axis.low <= value <= axis.high
        assert math.isclose(again, value, rel_tol=1e-9, abs_tol=1e-9)
    else:
        assert again == axis.canonical(value) == value


@given(low=st.integers(1, 2**39), n=st.integers(1, 2**39), place=st.floats(0, 1))
def test_large_whole_numbers_survive_a_log_scale(low, n, place):
    axis = Int(low, low + n, log=True)
    value = low + int(n * place)

    assert axis.from_unit(axis.to_unit(value)) == value
