"""Every form of training is read alike, and every broken contract is named."""

import functools
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ayar.errors import ObjectiveError
from ayar.run.objective import Kind, as_training


def generator(config, seed):
    for epoch in range(4):
        yield {"loss": seed / (1 + epoch)}


def in_folder(config, seed, folder):
    saved = folder / "epochs"
    done = int(saved.read_text()) if saved.exists() else 0
    for epoch in range(done, 4):
        saved.write_text(str(epoch + 1))
        yield {"loss": float(epoch + 1)}


def saving_every_second_step(config, seed, folder):
    saved = folder / "step"
    done = int(saved.read_text()) if saved.exists() else 0
    for step in range(done + 1, 6):
        if step % 2 == 0:
            saved.write_text(str(step))
        yield {"step": step, "loss": float(step)}


def function(config, seed):
    return config.get("learning_rate", 1.0) * seed


class Recipe:
    def train(self, config, seed, folder=None, start_step=0):
        if start_step == 0:
            yield {"step": 0, "loss": 9.0}
        for step in range(start_step + 1, 5):
            yield {"step": step, "loss": 1.0 / step}


class Training:
    def __call__(self, config, seed):
        yield 0.5

    def score(self, config, seed):
        return 0.5


def start(objective, *, config=None, seed=6, folder=None, start_step=0, horizon=10, metric="loss"):
    training = as_training(objective, metric=metric)
    return list(training.start(config or {}, seed, folder, start_step, horizon))


@pytest.mark.parametrize(
    ("objective", "kind", "sliceable", "uses_folder"),
    [
        (generator, Kind.GENERATOR, True, False),
        (Training(), Kind.GENERATOR, True, False),
        (in_folder, Kind.FOLDER_GENERATOR, True, True),
        (functools.partial(lambda extra, config, seed: (yield 1), 1), Kind.GENERATOR, True, False),
        (functools.partial(in_folder), Kind.FOLDER_GENERATOR, True, True),
        (function, Kind.FUNCTION, False, False),
        (Training().score, Kind.FUNCTION, False, False),
        (lambda config: 0.1, Kind.FUNCTION, False, False),
        (lambda config, seed, verbose=False: 0.1, Kind.FUNCTION, False, False),
        (lambda config, seed, place: 0.1, Kind.FUNCTION, False, True),
        (lambda config, seed, verbose=False, *, folder: 0.1, Kind.FUNCTION, False, True),
        (Recipe(), Kind.RECIPE, True, True),
    ],
)
def test_the_form_is_recognised(objective, kind, sliceable, uses_folder):
    training = as_training(objective, metric="loss")
    assert (training.kind, training.sliceable, training.uses_folder) == (kind, sliceable, uses_folder)


def test_a_wrapped_generator_is_still_a_generator():
    """Decorators that keep the name keep the form, and the seed still reaches the inside."""

    @functools.wraps(generator)
    def wrapper(*args, **kwargs):
        return generator(*args, **kwargs)

    assert as_training(wrapper, metric="loss").kind is Kind.GENERATOR
    assert start(wrapper)[:2] == [(1, {"loss": 6.0}), (2, {"loss": 3.0})]


def test_yields_count_from_one():
    assert start(generator) == [(1, {"loss": 6.0}), (2, {"loss": 3.0}), (3, {"loss": 2.0}), (4, {"loss": 1.5})]


def test_a_named_step_counts_and_is_no_metric():
    def train(config, seed):
        yield {"step": 0, "loss": 3.0}
        yield {"step": 5, "loss": 2.0, "accuracy": True}
        yield {"loss": 1.0}

    assert start(train) == [(0, {"loss": 3.0}), (5, {"loss": 2.0, "accuracy": 1.0}), (6, {"loss": 1.0})]


def test_a_restarted_generator_replays_in_silence():
    assert start(generator, start_step=2) == [(3, {"loss": 2.0}), (4, {"loss": 1.5})]


def test_a_restarted_generator_with_a_folder_goes_on_from_its_files(tmp_path):
    (tmp_path / "epochs").write_text("2")
    assert start(in_folder, folder=tmp_path, start_step=2) == [(3, {"loss": 3.0}), (4, {"loss": 4.0})]


def test_a_generator_whose_folder_was_emptied_counts_from_one_again(tmp_path):
    """Otherwise its first epoch would be taken for the third."""
    assert start(in_folder, folder=tmp_path, start_step=2) == [(3, {"loss": 3.0}), (4, {"loss": 4.0})]


def test_a_step_that_is_trained_again_is_not_measured_again(tmp_path):
    """Files may be older than the last measurement; the named step tells."""
    (tmp_path / "step").write_text("2")
    assert start(saving_every_second_step, folder=tmp_path, start_step=3) == [(4, {"loss": 4.0}), (5, {"loss": 5.0})]


def test_a_recipe_is_told_where_to_go_on():
    assert start(Recipe()) == [(0, {"loss": 9.0}), *((n, {"loss": 1 / n}) for n in (1, 2, 3, 4))]
    assert start(Recipe(), start_step=2) == [(3, {"loss": 1 / 3}), (4, {"loss": 0.25})]


def test_a_plain_function_is_measured_once_at_the_horizon():
    assert start(function, config={"learning_rate": 0.5}, horizon=20) == [(20, {"loss": 3.0})]
    assert start(lambda config: {"loss": 1, "accuracy": 0.5}) == [(10, {"loss": 1.0, "accuracy": 0.5})]


def test_a_function_that_hands_out_an_iterator_is_stepped_through():
    """Only the call shows it, so the study cannot slice it, but its curve is not lost."""
    assert start(lambda config, seed: iter([3, 2, 1]), start_step=1) == [(2, {"loss": 2.0}), (3, {"loss": 1.0})]


def test_a_training_that_has_nothing_left_to_do_ends():
    assert start(Recipe(), start_step=4) == []


def test_the_training_may_change_its_configuration():
    """What it does to its own copy must not reach the records."""

    def train(config, seed):
        config["hidden_units"].append(3)
        yield 0.1

    config = {"hidden_units": [1, 2]}
    start(train, config=config)
    assert config == {"hidden_units": [1, 2]}


def test_closing_the_iterator_closes_the_training():
    closed = []

    def train(config, seed):
        try:
            yield from [1.0, 2.0]
        finally:
            closed.append(seed)

    steps = as_training(train, metric="loss").start({}, 7, None, 0, 10)
    next(steps)
    steps.close()
    assert closed == [7]


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (True, 1.0),
        (2, 2.0),
        (Fraction(1, 4), 0.25),
        (np.float32(0.5), 0.5),
        (np.bool_(True), 1.0),
        (np.array(0.5), 0.5),
        (np.array([[0.5]]), 0.5),
        (-math.inf, -math.inf),
    ],
)
def test_whatever_is_one_number_is_a_number(value, number):
    assert start(lambda config, seed: iter([value, {"loss": value}])) == [
        (1, {"loss": number}),
        (2, {"loss": number}),
    ]


def test_a_tensor_of_one_element_is_a_number():
    torch = pytest.importorskip("torch")
    assert start(lambda config, seed: torch.tensor(0.5, requires_grad=True)) == [(10, {"loss": 0.5})]


def test_nan_is_a_measurement():
    """It says that the training diverged; that is for the reader to judge."""
    [(step, metrics)] = start(lambda config, seed: iter([math.nan]))
    assert step == 1
    assert math.isnan(metrics["loss"])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([None], r"gave None \(a NoneType\)\. Each step must give a number or a dict of numbers"),
        (["0.5"], r"gave '0\.5' \(a str\)"),
        ([(1, 0.5)], r"gave \(1, 0\.5\) \(a tuple\)"),
        ([{"loss": "low"}], r"gave 'loss': 'low' \(a str\)"),
        ([{"loss": 1.0, "weights": np.zeros(3)}], r"gave 'weights': array\(.*\(a ndarray\)"),
        ([{"loss": 1.0, 3: 1.0}], r"gave 3: 1\.0"),
        ([{"losses": 1.0}], r"gave 'losses' but not 'loss': did you mean 'losses'\?"),
        ([{"accuracy": 1.0, "f1": 1.0}], r"gave 'accuracy', 'f1' but not 'loss': measure it"),
        ([{}], r"gave no metric, not even 'loss'"),
        ([{"step": 2, "loss": 1}, {"step": 2, "loss": 1}], r'"step": 2 after step 2; steps must rise'),
        ([{"step": 1.5, "loss": 1}], r'"step": 1\.5\. Steps are whole numbers'),
        ([{"step": -1, "loss": 1}], r'"step": -1\. Steps are whole numbers'),
        ([{"step": math.nan, "loss": 1}], r'"step": nan\. Steps are whole numbers'),
        ([], r"ended without a single yield"),
    ],
)
def test_a_broken_contract_is_named(given, message):
    with pytest.raises(ObjectiveError, match=message):
        start(lambda config, seed: iter(given))


def test_a_function_that_returns_nothing_is_told_so():
    with pytest.raises(ObjectiveError, match=r"gave None \(a NoneType\)"):
        start(lambda config, seed: None)


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        ("no-such-program --lr {learning_rate}", r"There is no program 'no-such-program' to run"),
        (b"python train.py", r"Hand in a generator function"),
        (None, r"The objective is None .*Hand in a generator function, a plain function, a recipe or a command"),
        (Recipe, r"is the class Recipe\. Hand in an instance"),
        (lambda: 0.1, r"<lambda>\(\) has the wrong arguments\. Write train\(config, seed\)"),
        (lambda config, seed, folder, device: 0.1, r"wrong arguments"),
        (lambda config, *, seed: 0.1, r"wrong arguments"),
        (lambda config: (yield 0.1), r"wrong arguments.*The seed makes a repeat give the same curve"),
        (Path("train.py"), r"Hand in a generator function"),
    ],
)
def test_what_is_no_training_is_refused_at_once(objective, message):
    with pytest.raises(ObjectiveError, match=message):
        as_training(objective, metric="loss")


def test_asynchronous_functions_are_refused():
    async def train(config, seed):
        yield 0.1

    async def score(config, seed):
        return 0.1

    for objective in (train, score):
        with pytest.raises(ObjectiveError, match=r"is asynchronous\. Write it with a plain def"):
            as_training(objective, metric="loss")


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(allow_nan=False), min_size=1, max_size=12), st.data())
def test_a_restart_anywhere_gives_the_rest_of_the_curve(losses, data):
    cut = data.draw(st.integers(0, len(losses)))

    def train(config, seed):
        yield from losses

    whole = start(train)
    assert whole[:cut] + start(train, start_step=cut) == whole


def saving_before_it_says(config, seed, folder):
    saved = folder / "step"
    done = int(saved.read_text()) if saved.exists() else 0
    for step in range(done + 1, 7):
        saved.write_text(str(step))
        yield {"loss": 1 / step} if config.get("unnamed") else {"step": step, "loss": 1 / step}


@pytest.mark.parametrize("config", [{}, {"unnamed": True}], ids=["named steps", "counted steps"])
def test_what_a_generator_saved_and_nobody_heard_is_not_lost(tmp_path, config):
    """It saved steps 2 and 3 and said them; the machine died before they were recorded."""
    training = as_training(saving_before_it_says, metric="loss")
    heard = training.start(config, 0, tmp_path, 0, 6)
    assert [next(heard)[0] for _ in range(3)] == [1, 2, 3]
    again = training.start(config, 0, tmp_path, 1, 6)
    assert [next(again) for _ in range(3)] == [(step, {"loss": 1 / step}) for step in (2, 3, 4)]
    with (tmp_path / "ayar_ahead.jsonl").open("a") as file:
        file.write('{"step": 5, "met')  # the machine died in the midst of a line
    assert list(training.start(config, 0, tmp_path, 3, 6)) == [(step, {"loss": 1 / step}) for step in (4, 5, 6)]
