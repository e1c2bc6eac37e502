import math
from dataclasses import replace
from functools import partial
from itertools import islice
from statistics import median_low

import cloudpickle
import numpy as np
import pytest
import torch
from torch import nn

from ayar.errors import DataError, ObjectiveError, SpaceError
from ayar.nets import alone
from ayar.nets.alone import CHECKPOINT
from ayar.nets.deep_net import deep_net
from ayar.nets.inside import Glance
from ayar.nets.parameters import load, save
from ayar.nets.recipe import Recipe
from ayar.nets.tasks import Data, Scaling, load_task

CONFIG = {
    "hidden_layers": 2,
    "hidden_units": [16, 8],
    "learning_rate": 0.01,
    "batch_size": 32,
    "dropout": 0.3,
    "weight_decay": 0.001,
    "schedule": "cosine",
    "warmup": 0.1,
    "iterations": 8,
}


INSIDE = {"gradient_norm", "gradient_ratio", "update_ratio", "dead_units"}


def paused(generator, step):
    """What the generator yields up to ``step``; it stays suspended there."""
    return list(islice(generator, step + 1))


# --- the curve -------------------------------------------------------------------------------------------------


def test_step_zero_is_the_untrained_net_and_every_epoch_follows(data):
    curve = list(deep_net(data).train(CONFIG, seed=3))
    assert [m["step"] for m in curve] == list(range(9))
    assert set(curve[0]) == {"step", "train_probe", "valid_loss", "valid_error"}
    assert all(set(m) == set(curve[0]) | INSIDE for m in curve[1:])
    assert all(isinstance(value, int | float) for m in curve for value in m.values())


def test_a_look_inside_tells_the_gradient_and_the_update_of_the_first_mini_batch(data):
    config = {**CONFIG, "batch_size": 10**6, "optimizer": "sgd", "learning_rate": 0.1, "iterations": 1, "dropout": 0.0}
    recipe = replace(deep_net(data), dtype=torch.float64)
    _, told = recipe.train({**config, "weight_decay": 0.0, "warmup": 0.0, "schedule": "constant"}, seed=3)
    net, material = recipe.begin(config, 3).net, recipe.material
    names, tensors = zip(*net.named_parameters(), strict=True)
    slopes = torch.autograd.grad(material.loss(net(material.X_train), material.y_train), tensors)
    rms = [float(slope.square().mean().sqrt()) for name, slope in zip(names, slopes, strict=True) if name[0] == "W"]
    slopes_of_W, W = (
        [t.detach().flatten() for name, t in zip(names, ts, strict=True) if name[0] == "W"] for ts in (slopes, tensors)
    )
    assert told["gradient_norm"] == pytest.approx(float(torch.cat([s.flatten() for s in slopes]).norm()), rel=1e-9)
    assert told["gradient_ratio"] == pytest.approx(rms[0] / rms[-1], rel=1e-9)
    assert told["update_ratio"] == pytest.approx(
        float(0.1 * torch.cat(slopes_of_W).norm() / torch.cat(W).norm()), rel=1e-6
    )
    assert 0 <= told["dead_units"] < 1


@pytest.mark.parametrize("layers", [1, 2, 5, 6, 9])
def test_the_gradient_ratio_is_between_the_medians_of_the_first_and_the_last_third(layers):
    """Of two nets at a time, in whatever order their layers' gradients stand; of an even number, the lower one."""
    sizes = [0.3, 5.0, 0.01, 2.0, 0.7, 0.2, 9.0, 0.05, 1.0][:layers]
    slopes = [torch.stack([torch.full((4, 3), size), torch.full((4, 3), 1 / size)]) for size in sizes]
    glance = Glance(torch.ones(2, 1), [torch.ones(2, 4, 3) for _ in sizes], slopes)
    told = glance.told([[12] * layers] * 2)
    third = max(layers // 3, 1)
    for net, own in enumerate((sizes, [1 / size for size in sizes])):
        expected = median_low(own[:third]) / median_low(own[-third:]) if layers > 1 else math.nan
        assert told[net]["gradient_ratio"] == pytest.approx(expected, rel=1e-6, nan_ok=True)
        assert told[net]["update_ratio"] == 0.0


def test_a_long_training_is_looked_into_ten_times(data):
    curve = list(deep_net(data).train({**CONFIG, "iterations": 40}, seed=3))
    assert [m["step"] for m in curve if INSIDE & set(m)] == [4, 8, 12, 16, 20, 24, 28, 32, 36, 40]


def test_the_same_seed_gives_the_same_curve_and_another_seed_another(data):
    recipe = deep_net(data)
    curve = list(recipe.train(CONFIG, seed=3))
    assert list(recipe.train(CONFIG, seed=3)) == curve
    assert list(recipe.train(CONFIG, seed=4)) != curve


def test_trials_that_take_turns_give_the_curves_they_give_alone(data):
    recipe = deep_net(data)
    alone = [list(recipe.train(CONFIG, seed)) for seed in (1, 2)]
    in_turns = list(zip(recipe.train(CONFIG, 1), recipe.train(CONFIG, 2), strict=True))
    assert [[a for a, _ in in_turns], [b for _, b in in_turns]] == alone


def test_the_callers_random_numbers_go_on_as_if_nothing_was_trained(classes):
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    list(deep_net(classes).train(CONFIG, seed=3))
    assert torch.equal(torch.rand(3), expected)


def test_probe_and_validation_are_evaluated_without_dropout(classes):
    """With a learning rate of zero nothing changes, so any change of the curve would be dropout's noise."""
    curve = list(deep_net(classes).train({**CONFIG, "learning_rate": 0.0, "dropout": 0.5}, seed=3))
    assert {m["train_probe"] for m in curve} == {curve[0]["train_probe"]}
    assert {m["valid_loss"] for m in curve} == {curve[0]["valid_loss"]}


def test_the_probe_is_the_same_512_train_rows_for_every_trial():
    seen = []

    class Spy(nn.Linear):
        def forward(self, X):
            if not self.training and len(X) == 512:
                seen.append(X.clone())
            return super().forward(X)

    X = np.arange(900, dtype=np.float32)[:, None] / 900
    data = Data(X, (X[:, 0] > 0.5).astype(np.int64), X[:7], np.zeros(7, dtype=np.int64), n_classes=2)
    for seed in (0, 1):
        list(Recipe(lambda config, data: Spy(1, 2), data).train({"iterations": 1}, seed))
    assert len(seen) == 4
    assert all(torch.equal(rows, seen[0]) for rows in seen)
    assert set(seen[0][:, 0].tolist()) <= set(X[:, 0].tolist())


def test_classification_error_is_the_share_of_wrong_labels():
    """A net that always says class 0 is wrong on the 3 of 4 rows that are not."""
    X = np.zeros((4, 1), dtype=np.float32)
    data = Data(X, np.array([0, 1, 2, 1]), X, np.array([0, 1, 2, 1]), n_classes=3)

    def zero_says_all(config, data):
        net = nn.Linear(1, 3)
        nn.init.zeros_(net.weight)
        net.bias.data = torch.tensor([1.0, 0.0, 0.0])
        return net

    start = next(Recipe(zero_says_all, data).train({"iterations": 1}, seed=0))
    assert start["valid_error"] == 0.75
    assert start["valid_loss"] == pytest.approx(math.log(math.e + 2) - 0.25, rel=1e-6)


def test_regression_error_is_in_the_targets_units():
    """Predicting the mean of 10 and 30 everywhere is off by 10 in the target's units, by 1 standardised."""
    scaling = Scaling(y_mean=20.0, y_sd=10.0)
    X, y = np.zeros((2, 1), dtype=np.float32), scaling.targets(np.array([10.0, 30.0]))
    data = Data(X, y, X, y, "regression", scaling=scaling)

    class Mean(nn.Linear):
        def forward(self, X):
            return 0 * super().forward(X)[:, 0]

    start = next(Recipe(lambda config, data: Mean(1, 1), data).train({"iterations": 1}, seed=0))
    assert start == {"step": 0, "train_probe": 1.0, "valid_loss": 1.0, "valid_error": 10.0}


def test_loss_and_metrics_may_be_ones_own(reals):
    recipe = Recipe(
        deep_net(reals).build,
        reals,
        loss=lambda outputs, y: (outputs - y).abs().mean(),
        metrics={"worst": lambda outputs, y: float((outputs - y).abs().max())},
    )
    curve = list(recipe.train(CONFIG, seed=0))
    assert set(curve[0]) == {"step", "train_probe", "valid_loss", "worst"}
    assert all(m["worst"] >= m["valid_loss"] for m in curve)
    assert curve[-1]["train_probe"] < curve[0]["train_probe"]


def test_data_may_be_a_function_and_is_asked_once(classes):
    calls = []

    def loaded():
        calls.append(1)
        return classes

    recipe = deep_net(loaded)
    assert list(recipe.train(CONFIG, 0)) == list(deep_net(classes).train(CONFIG, 0))
    list(recipe.train(CONFIG, 1))
    assert calls == [1]


def test_inputs_of_other_shapes_and_whole_numbers_reach_the_net_unchanged():
    """Token numbers stay whole numbers, so that an embedding can look them up."""
    tokens = np.random.default_rng(0).integers(0, 9, size=(40, 6))
    y = (tokens[:, 0] > 4).astype(np.int64)
    data = Data(tokens, y, tokens[:10], y[:10], n_classes=2)

    def build(config, data):
        return nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(24, 2))

    curve = list(Recipe(build, data).train({"learning_rate": 0.05, "iterations": 20}, seed=0))
    assert curve[-1]["valid_error"] == 0.0


@pytest.mark.parametrize("batch_size", [1, 90, 1000])
def test_any_batch_size_trains(batch_size, classes):
    curve = list(deep_net(classes).train({**CONFIG, "batch_size": batch_size, "iterations": 2}, seed=0))
    assert math.isfinite(curve[-1]["valid_loss"])


def test_a_diverged_training_ends_with_one_measurement_that_is_not_a_number(data):
    config = {**CONFIG, "optimizer": "sgd", "learning_rate": 1e30, "activation": "relu", "warmup": 0.0}
    curve = list(deep_net(data).train(config, seed=0))
    assert len(curve) < 9
    assert all(math.isfinite(m["valid_error"]) for m in curve[:-1])
    assert all(math.isnan(curve[-1][name]) for name in ("train_probe", "valid_loss", "valid_error"))


# --- pausing and resuming --------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "nesterov", "rmsprop", "adam", "adamw"])
@pytest.mark.parametrize("pause", [1, 5, 7])
def test_a_resumed_trial_goes_on_bit_for_bit_as_if_never_paused(optimizer, pause, data, tmp_path):
    """From the checkpoint alone, in a recipe that never saw the first half, with dropout and a schedule."""
    config = {**CONFIG, "optimizer": optimizer}
    whole = list(deep_net(data).train(config, seed=3))

    first = deep_net(data).train(config, 3, tmp_path / "trial")
    assert paused(first, pause) == whole[: pause + 1]
    first.close()
    tensors, _ = load(tmp_path / "trial" / CHECKPOINT)
    assert int(tensors["training/step"]) == pause

    assert list(deep_net(data).train(config, 3, tmp_path / "trial", start_step=pause)) == whole[pause + 1 :]


def test_a_net_with_running_statistics_resumes_exactly(classes, tmp_path):
    """Batch normalisation keeps numbers that are no parameters; they are part of the state."""

    def build(config, data):
        return nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3))

    recipe = Recipe(build, classes)
    whole = list(recipe.train(CONFIG, seed=3))
    first = recipe.train(CONFIG, 3, tmp_path)
    paused(first, 4)
    first.close()
    assert list(recipe.train(CONFIG, 3, tmp_path, start_step=4)) == whole[5:]


def test_without_a_folder_the_missing_steps_are_trained_again_in_silence(data):
    whole = list(deep_net(data).train(CONFIG, seed=3))
    assert list(deep_net(data).train(CONFIG, 3, start_step=5)) == whole[6:]


def test_a_checkpoint_that_does_not_fit_is_not_used(data, tmp_path):
    """Too late, of another seed, of another configuration, damaged: each time the curve is the right one."""
    recipe = deep_net(data)
    whole = list(recipe.train(CONFIG, seed=3))

    def resumed(step):
        return list(recipe.train(CONFIG, 3, tmp_path, start_step=step))

    later = recipe.train(CONFIG, 3, tmp_path)
    paused(later, 6)
    later.close()
    assert resumed(2) == whole[3:]

    for seed, config in [(4, CONFIG), (3, {**CONFIG, "learning_rate": 0.02})]:
        other = recipe.train(config, seed, tmp_path)
        paused(other, 2)
        other.close()
        assert resumed(5) == whole[6:]

    (tmp_path / CHECKPOINT).write_bytes(b"half a che")
    assert resumed(5) == whole[6:]

    save(tmp_path / CHECKPOINT, {"foreign": torch.ones(2)}, CONFIG)
    assert resumed(5) == whole[6:]


def test_a_killed_trial_resumes_from_its_latest_periodic_checkpoint(classes, tmp_path, monkeypatch):
    """With no time between saves each step that was taken up is on disk, although nobody closed the generator."""
    monkeypatch.setattr(alone, "SAVE_EVERY_S", 0.0)
    monkeypatch.setattr(alone, "SAVE_SHARE", 1e9)
    whole = list(deep_net(classes).train(CONFIG, seed=3))
    running = deep_net(classes).train(CONFIG, 3, tmp_path)
    paused(running, 5)
    tensors, _ = load(tmp_path / CHECKPOINT)
    assert int(tensors["training/step"]) == 4
    assert list(deep_net(classes).train(CONFIG, 3, tmp_path, start_step=5)) == whole[6:]


def test_a_new_start_ignores_what_the_folder_held(classes, tmp_path):
    recipe = deep_net(classes)
    whole = list(recipe.train(CONFIG, 3, tmp_path))
    assert list(recipe.train(CONFIG, 3, tmp_path)) == whole


def test_closing_after_the_folder_was_removed_is_quiet(classes, tmp_path):
    folder = tmp_path / "trial"
    running = deep_net(classes).train(CONFIG, 3, folder)
    paused(running, 2)
    folder.rmdir()
    running.close()
    assert not folder.exists()


# --- predicting ------------------------------------------------------------------------------------------------


def test_the_trained_net_predicts_as_it_was_measured(classes, tmp_path):
    """The checkpoint is there as soon as the last measurement is, without the generator being closed."""
    recipe = deep_net(classes)
    last = paused(recipe.train(CONFIG, 3, tmp_path), 8)[-1]
    logits = recipe.predict(tmp_path, classes.X_valid)
    assert logits.shape == (40, 3)
    assert np.mean(logits.argmax(axis=1) != classes.y_valid) == pytest.approx(last["valid_error"])


def test_predictions_take_and_give_the_units_of_the_source(tmp_path):
    """Blood sugar and body mass as they are in the table go in; the disease score as it is there comes out."""
    task = load_task("diabetes")
    recipe = deep_net(task.data)
    last = paused(recipe.train({**CONFIG, "iterations": 30}, 3, tmp_path), 30)[-1]
    scores = task.sealed.score(lambda X: recipe.predict(tmp_path, X))
    assert scores["test_error"] < 77  # the standard deviation of the target, what always guessing the mean costs
    assert scores["test_error"] == pytest.approx(last["valid_error"], rel=0.3)


def test_predicting_before_training_says_so(classes, tmp_path):
    with pytest.raises(DataError, match="There is no parameter file"):
        deep_net(classes).predict(tmp_path, classes.X_valid)


# --- mistakes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "The configuration has no iterations. Add it to the space, say iterations=50"),
        ({"iterations": 0}, "iterations must be a whole number of at least 1, got 0"),
        ({"iterations": 5, "batch_size": 2.5}, "batch_size must be a whole number of at least 1, got 2.5"),
        ({"iterations": 5, "optimizer": "adan"}, "Unknown optimizer 'adan'"),
        ({"iterations": 5, "schedule": "linear"}, "Unknown schedule 'linear'. Known: constant, step, cosine"),
    ],
)
def test_a_configuration_that_cannot_be_trained_says_why(config, message, classes):
    with pytest.raises(SpaceError, match=message):
        list(deep_net(classes).train(config, seed=0))


def test_a_task_handed_in_as_data_is_refused():
    with pytest.raises(ObjectiveError, match=r"not Task\. Of a task, hand in task\.data"):
        deep_net(load_task("iris"))


def test_outputs_that_would_broadcast_against_the_targets_are_refused(reals):
    """A column of outputs against a row of targets would give a loss, of all pairs, and be wrong."""
    recipe = Recipe(lambda config, data: nn.Linear(5, 1), reals)
    with pytest.raises(ObjectiveError, match=r"outputs have shape \(90, 1\), the targets \(90,\)"):
        next(recipe.train({"iterations": 1}, seed=0))


def test_a_build_that_makes_no_net_is_refused(classes):
    with pytest.raises(ObjectiveError, match=r"build must return a torch.nn.Module, got function"):
        next(Recipe(lambda config, data: lambda X: X, classes).train({"iterations": 1}, seed=0))


def test_a_recipe_sent_to_another_process_leaves_loaded_data_behind(classes):
    recipe = Recipe(deep_net(classes).build, partial(made, 5))
    size = len(cloudpickle.dumps(recipe))
    list(recipe.train({**CONFIG, "iterations": 1}, seed=0))
    assert len(cloudpickle.dumps(recipe)) == size


def made(n_rows: int) -> Data:
    X, y = np.zeros((n_rows, 5), dtype=np.float32), np.zeros(n_rows, dtype=np.int64)
    return Data(X, y, X, y, n_classes=2)


def test_data_mapped_from_a_file_is_read_as_it_is_needed(classes, tmp_path, monkeypatch):
    """Its pages are used where they lie, a few batches at a time, and the curve is the same."""
    monkeypatch.setattr("ayar.nets.alone.DRAWN_BYTES", 1000)
    names = ("X_train", "y_train", "X_valid", "y_valid")
    for name in names:
        np.save(tmp_path / f"{name}.npy", getattr(classes, name))
    mapped = {name: np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in names}
    recipe = deep_net(replace(classes, **mapped))
    assert recipe.material.X_train.data_ptr() == mapped["X_train"].ctypes.data
    config = {"hidden_units": 8, "batch_size": 16, "iterations": 3}
    expected = list(deep_net(classes).train(config, 1))
    for ours, in_memory in zip(recipe.train(config, 1), expected, strict=True):  # where rows lie decides the round-off
        assert ours == pytest.approx(in_memory, rel=1e-5)
    lanes = recipe.lanes(2)
    lanes.load(0, config, 1, None, 0, 3)
    lanes.load(1, config, 2, None, 0, 3)
    curve = [metrics for _ in range(3) for trial, _, metrics in lanes.advance() if trial == 0]
    assert [m["valid_loss"] for m in curve] == pytest.approx([m["valid_loss"] for m in expected], rel=1e-4)
