"""Lanes against the same trials trained alone: the curves must be equal, whatever trains beside them."""

import itertools
import json
import math
from dataclasses import replace

import pytest
import torch

from ayar.errors import SpaceError
from ayar.nets import alone as alone_module
from ayar.nets.alone import CHECKPOINT, seed_of
from ayar.nets.calibration import Fit, best_fit
from ayar.nets.deep_net import deep_net
from ayar.nets.layout import Layout
from ayar.nets.parameters import load
from ayar.nets.threads import using

BASE = {"hidden_units": [7, 5], "batch_size": 32, "iterations": 67, "weight_decay": 0.01, "warmup": 0.1}
OPTIMIZERS = [
    {"optimizer": "sgd", "learning_rate": 0.05},
    {"optimizer": "sgd", "learning_rate": 0.05, "momentum": 0.8, "nesterov": True},
    {"optimizer": "momentum", "learning_rate": 0.03},
    {"optimizer": "nesterov", "learning_rate": 0.03, "schedule": "cosine"},
    {"optimizer": "rmsprop", "learning_rate": 0.003, "weight_decay": 0.0},
    {"optimizer": "adam", "learning_rate": 0.01, "schedule": "step"},
    {"optimizer": "adamw", "learning_rate": 0.01, "beta1": 0.8, "beta2": 0.99},
]
ACTIVATIONS = ["relu", "leaky_relu", "gelu", "tanh", "sigmoid"]
DROPOUTS = itertools.cycle([0.0, 0.3, 0.1])
SMOOTHINGS = itertools.cycle([0.0, 0.2])


def trained_in_lanes(lanes, trials, folder=None, start_step=0, stop_step=10**6):
    """The curve of each ``(config, seed)``, all loaded at once."""
    curves = {}
    assert lanes.free == len(trials)
    for trial, (config, seed) in enumerate(trials):
        lanes.load(trial, config, seed, folder and folder / str(trial), start_step, stop_step)
        curves[trial] = []
    while steps := lanes.advance():
        for trial, step, metrics in steps:
            curves[trial].append({"step": step, **metrics})
    for trial in curves:
        lanes.unload(trial)
    lanes.close()
    return list(curves.values())


def assert_equal(curve, alone, rel):
    assert [m["step"] for m in curve] == [m["step"] for m in alone]
    for ours, expected in zip(curve, alone, strict=True):
        assert ours == pytest.approx(expected, rel=rel, abs=1e-300, nan_ok=True)


def test_lanes_of_all_optimizers_and_activations_side_by_side_train_as_each_trains_alone(data):
    """201 updates in float64 with weight decay, schedules, warm-up, and in some lanes dropout and smoothed labels."""
    recipe = replace(deep_net(data), dtype=torch.float64)
    trials = [
        ({**BASE, **optimizer, "activation": activation, "dropout": dropout, "label_smoothing": smoothing}, seed)
        for seed, ((optimizer, activation), dropout, smoothing) in enumerate(
            zip(itertools.product(OPTIMIZERS, ACTIVATIONS), DROPOUTS, SMOOTHINGS, strict=False)
        )
    ]
    curves = trained_in_lanes(recipe.lanes(len(trials)), trials)
    for curve, (config, seed) in zip(curves, trials, strict=True):
        alone = list(recipe.train(config, seed))
        assert_equal(curve, alone, rel=1e-10)
        assert alone[-1]["train_probe"] < alone[0]["train_probe"]


BY_HAND = {  # what a configuration says, and PyTorch's own optimizer for it
    "sgd": ({"optimizer": "sgd"}, torch.optim.SGD, {}),
    "momentum": ({"optimizer": "momentum", "momentum": 0.8}, torch.optim.SGD, {"momentum": 0.8}),
    "nesterov": ({"optimizer": "nesterov"}, torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
    "rmsprop": ({"optimizer": "rmsprop"}, torch.optim.RMSprop, {"alpha": 0.99}),
    "adam": ({"optimizer": "adam", "beta1": 0.8}, torch.optim.Adam, {"betas": (0.8, 0.999)}),
    "adamw": ({"optimizer": "adamw"}, torch.optim.AdamW, {}),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_a_loop_written_by_hand_gets_the_curve_that_a_lane_had(name, classes):
    """So a tuned value means the same outside: plain modules, PyTorch's own optimizer, the same rows in each batch."""
    chosen, optimizer_of, given = BY_HAND[name]
    recipe = replace(deep_net(classes), dtype=torch.float64)
    base = {"hidden_units": [7, 5], "activation": "tanh", "batch_size": 32, "iterations": 10, "learning_rate": 0.01}
    config = {**base, **chosen, "weight_decay": 0.02, "label_smoothing": 0.1, "schedule": "cosine"}
    curve = trained_in_lanes(recipe.lanes(2), [(config, 4), ({**config, "optimizer": "sgd"}, 5)])[0]

    own = recipe.begin(config, 4).net
    net = torch.nn.Sequential(
        torch.nn.Linear(5, 7), torch.nn.Tanh(), torch.nn.Linear(7, 5), torch.nn.Tanh(), torch.nn.Linear(5, 3)
    ).double()
    for mine, first in zip(net.parameters(), own.parameters(), strict=True):
        mine.data.copy_(first.detach())
    weights, biases = ([p for p in net.parameters() if p.ndim == n] for n in (2, 1))
    groups = [{"params": weights, "weight_decay": 0.02}, {"params": biases, "weight_decay": 0.0}]
    optimizer = optimizer_of(groups, lr=0.01, **given)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10 * 3)
    X, y = torch.from_numpy(classes.X_train).double(), torch.from_numpy(classes.y_train)
    X_valid, y_valid = torch.from_numpy(classes.X_valid).double(), torch.from_numpy(classes.y_valid)
    for measured in curve[1:]:
        torch.manual_seed(seed_of(4, measured["step"]))
        for rows in torch.randperm(len(X)).split(32):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(net(X[rows]), y[rows], label_smoothing=0.1).backward()
            optimizer.step()
            schedule.step()
        with torch.no_grad():
            loss = torch.nn.functional.cross_entropy(net(X_valid), y_valid)
        assert measured["valid_loss"] == pytest.approx(float(loss), rel=1e-10)


def test_lanes_of_other_depths_widths_and_batch_sizes_train_as_each_trains_alone(data):
    """Some share a layout, with units that stay silent; of sigmoid, these must not say one half."""
    recipe = replace(deep_net(data), dtype=torch.float64)
    shapes = [
        {"hidden_units": []},
        {"hidden_units": [9, 14], "activation": "sigmoid"},
        {"hidden_units": [16, 2], "activation": "sigmoid"},
        {"hidden_units": [3, 11], "activation": "gelu", "optimizer": "sgd"},
        {"hidden_units": [40, 33, 20], "activation": "tanh", "batch_size": 20},
        {"hidden_units": [34, 64, 17], "batch_size": 20},
        {"hidden_units": [70], "batch_size": 7},
        {"hidden_units": [100], "batch_size": 1000},
    ]
    trials = [({**BASE, "dropout": 0.2, "iterations": 12, **shape}, seed) for seed, shape in enumerate(shapes)]
    curves = trained_in_lanes(recipe.lanes(len(trials)), trials)
    for curve, (config, seed) in zip(curves, trials, strict=True):
        assert_equal(curve, list(recipe.train(config, seed)), rel=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_trains_beside_a_lane_changes_none_of_its_bits(dtype, data):
    """Not even a lane that diverges. In a batch of one, of three, of eight: always the same numbers."""
    recipe = replace(deep_net(data), dtype=dtype)
    base = {**BASE, "iterations": 8, "batch_size": 20}
    calm = ({**base, "dropout": 0.2, "activation": "tanh"}, 2)
    wild = ({**base, "optimizer": "sgd", "learning_rate": 1e30, "warmup": 0.0}, 1)
    others = [({**base, **optimizer}, seed) for seed, optimizer in enumerate(OPTIMIZERS)]
    by_itself = trained_in_lanes(recipe.lanes(1), [calm])[0]
    with_wild = trained_in_lanes(recipe.lanes(3), [wild, calm, others[0]])
    with_all = trained_in_lanes(recipe.lanes(8), [*others, calm])
    assert with_wild[1] == by_itself
    assert with_all[-1] == by_itself
    assert math.isnan(with_wild[0][-1]["valid_error"])
    assert all(math.isfinite(m["valid_loss"]) for m in with_wild[0][:-1])
    assert with_wild[2] == with_all[0]


@pytest.mark.parametrize("optimizer", ["momentum", "rmsprop", "adam"])
def test_checkpoints_go_from_lane_to_alone_and_back(optimizer, classes, tmp_path):
    recipe = replace(deep_net(classes), dtype=torch.float64)
    config = {**BASE, "optimizer": optimizer, "dropout": 0.2, "iterations": 9}
    whole = list(recipe.train(config, 5))
    companion = {**BASE, "optimizer": "sgd", "activation": "tanh"}

    first = trained_in_lanes(recipe.lanes(2), [(config, 5), (companion, 6)], tmp_path, stop_step=3)[0]
    tensors, _ = load(tmp_path / "0" / CHECKPOINT)
    assert int(tensors["training/step"]) == 3

    second = []
    running = recipe.train(config, 5, tmp_path / "0", start_step=3)
    second += list(itertools.islice(running, 3))
    running.close()

    third = trained_in_lanes(recipe.lanes(1), [(config, 5)], tmp_path, start_step=6)[0]
    assert_equal(first + second + third, whole, rel=1e-12)


def test_a_killed_lane_goes_on_from_its_latest_periodic_checkpoint(classes, tmp_path, monkeypatch):
    """With no time between saves each epoch is on disk, although nobody unloaded the lane."""
    monkeypatch.setattr(alone_module, "SAVE_EVERY_S", 0.0)
    monkeypatch.setattr(alone_module, "SAVE_SHARE", 1e9)
    recipe, config = replace(deep_net(classes), dtype=torch.float64), {**BASE, "iterations": 6}
    lanes = recipe.lanes(2)
    lanes.load(0, config, 3, tmp_path, 0, 6)
    for _ in range(4):
        lanes.advance()
    tensors, _ = load(tmp_path / CHECKPOINT)
    assert int(tensors["training/step"]) == 4
    assert_equal(list(recipe.train(config, 3, tmp_path, 4)), list(recipe.train(config, 3))[5:], rel=1e-12)


def test_large_lanes_are_updated_one_by_one_and_train_as_each_trains_alone(classes, monkeypatch):
    monkeypatch.setattr("ayar.nets.optimizers.LARGE", 0)
    recipe = replace(deep_net(classes), dtype=torch.float64)
    trials = [({**BASE, **optimizer}, seed) for seed, optimizer in enumerate(OPTIMIZERS)]
    for curve, (config, seed) in zip(trained_in_lanes(recipe.lanes(7), trials), trials, strict=True):
        assert_equal(curve, list(recipe.train(config, seed)), rel=1e-10)


def test_lanes_come_and_go_while_others_train_on(classes, tmp_path):
    """Loading, early unloading and silent retraining leave every curve what it is alone."""
    recipe = replace(deep_net(classes), dtype=torch.float64)
    configs = [{**BASE, **optimizer, "iterations": 6} for optimizer in OPTIMIZERS]
    alone = [list(recipe.train(config, seed)) for seed, config in enumerate(configs)]
    lanes, curves = recipe.lanes(3), {trial: [] for trial in range(len(configs))}
    starts = dict.fromkeys(curves, 0) | {1: 4}  # step 4 of trial 1 is nowhere: it is trained up to there unheard
    waiting, loaded = list(curves), set()
    while waiting or loaded:
        while waiting and lanes.free:
            trial = waiting.pop(0)
            lanes.load(trial, configs[trial], trial, tmp_path / str(trial), starts[trial], 6)
            loaded.add(trial)
        for trial, step, metrics in lanes.advance():
            curves[trial].append({"step": step, **metrics})
            if (step == 2 and trial % 2 == 0) or step == 6:
                lanes.unload(trial)
                loaded.remove(trial)
            if step == 2 and trial % 2 == 0:
                waiting.append(trial)
                starts[trial] = 2
    for trial, curve in curves.items():
        assert_equal(curve, alone[trial][5:] if trial == 1 else alone[trial], rel=1e-12)


def test_a_lane_that_takes_the_place_of_another_finds_nothing_left_of_it(data):
    """Places are taken as they are where the kind is the same; dropout, smoothing and averages must be its own."""
    recipe = replace(deep_net(data), dtype=torch.float64)
    own = [
        {"dropout": 0.3, "label_smoothing": 0.2, "optimizer": "adam"},
        {"dropout": 0.1, "optimizer": "rmsprop"},
        {"label_smoothing": 0.1, "optimizer": "adamw", "beta1": 0.8},
        {"dropout": 0.2, "optimizer": "rmsprop", "hidden_units": [6, 3]},
    ]
    trials = [({**BASE, "warmup": 0.0, "iterations": 4, **config}, seed) for seed, config in enumerate(own)]
    lanes, curves = recipe.lanes(2), [[] for _ in trials]
    loaded = []
    for trial, (config, seed) in enumerate(trials):
        if len(loaded) == 2:  # the older of two leaves after two epochs, and stays in memory
            lanes.unload(loaded.pop(0))
        lanes.load(trial, config, seed, None, 0, 4)
        loaded.append(trial)
        for _ in range(2):
            for number, step, metrics in lanes.advance():
                curves[number].append({"step": step, **metrics})
    for curve, (config, seed) in zip(curves, trials, strict=True):
        assert_equal(curve, list(recipe.train(config, seed))[: len(curve)], rel=1e-10)
        assert len(curve) in (3, 5)


def test_a_paused_lane_is_held_in_memory_and_saved_at_the_end(classes, tmp_path):
    recipe, config = replace(deep_net(classes), dtype=torch.float64), {**BASE, "iterations": 6, "dropout": 0.2}
    lanes = recipe.lanes(1)
    lanes.load(7, config, 3, tmp_path, 0, 2)
    curve = [metrics for _ in range(2) for *_, metrics in lanes.advance()]
    lanes.unload(7)
    assert lanes.held == {7}
    assert not (tmp_path / CHECKPOINT).exists()
    lanes.load(7, config, 3, tmp_path, 2, 4)
    assert lanes.held == frozenset()
    curve += [metrics for _ in range(2) for *_, metrics in lanes.advance()]
    lanes.unload(7)
    lanes.close()
    tensors, _ = load(tmp_path / CHECKPOINT)
    assert int(tensors["training/step"]) == 4
    expected = [{name: value for name, value in m.items() if name != "step"} for m in recipe.train(config, 3)]
    for ours, alone in zip(curve, expected[:5], strict=True):
        assert ours == pytest.approx(alone, rel=1e-10)


def test_what_is_held_is_saved_when_it_gets_too_much(classes, tmp_path, monkeypatch):
    monkeypatch.setattr("ayar.nets.lanes.HELD_BYTES", 8000)
    lanes = deep_net(classes).lanes(1)
    for trial in range(3):  # of about 5,400 bytes each
        lanes.load(trial, {**BASE, "iterations": 6}, trial, tmp_path / str(trial), 0, 1)
        lanes.advance()
        lanes.unload(trial)
    assert lanes.held == {2}
    assert [path.parent.name for path in sorted(tmp_path.rglob(CHECKPOINT))] == ["0", "1"]


def test_float32_lanes_agree_to_round_off(data):
    recipe = deep_net(data)
    trials = [({**BASE, **optimizer, "iterations": 5}, seed) for seed, optimizer in enumerate(OPTIMIZERS)]
    for curve, (config, seed) in zip(trained_in_lanes(recipe.lanes(7), trials), trials, strict=True):
        for ours, expected in zip(curve, recipe.train(config, seed), strict=True):
            assert ours["valid_loss"] == pytest.approx(expected["valid_loss"], rel=1e-4)


def test_where_nobody_says_how_many_the_machine_is_asked_once_two_of_a_kind_have_come(classes, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    recipe, config = deep_net(classes), {"hidden_units": 16, "iterations": 3}
    lanes = recipe.lanes()
    assert lanes.free > 0
    lanes.load(0, config, 0, None, 0, 3)
    assert not list(tmp_path.rglob("*.json"))
    lanes.load(1, config, 1, None, 0, 3)
    (file,) = tmp_path.rglob("*.json")
    (found,) = (known for what, known in json.loads(file.read_text()).items() if "layers" in what)
    assert lanes.free == max(0, min(found["few"], 4) - 2)
    assert {step for _, step, _ in lanes.advance()} <= {0, 1}


def test_lanes_double_where_trials_share_a_layout_and_stay_few_where_they_do_not(classes, monkeypatch):
    """A trial beside others of its kind costs them little; beside others it only makes all of them wait."""
    monkeypatch.setattr("ayar.nets.lanes.best_fit", lambda *_: Fit(8, 6, 1))

    def under_way(units):
        """How many trials were at each epoch, with hidden layers of so many units each."""
        lanes, waiting, loaded, counts = deep_net(classes).lanes(), list(enumerate(units)), set(), []
        while waiting:
            while waiting and lanes.free:
                trial, n = waiting.pop(0)
                lanes.load(trial, {"hidden_units": n, "iterations": 2}, trial, None, 0, 2)
                loaded.add(trial)
            counts.append(len(loaded))
            for number in {trial for trial, step, _ in lanes.advance() if step == 2}:
                lanes.unload(number)
                loaded.remove(number)
        return counts

    assert max(under_way([8] * 40)) == 6
    each_its_own = under_way([8, 40, 90, 110, 130, 150, 170, 190, 210])
    assert max(each_its_own) == 2
    assert set(each_its_own[-6:]) == {1}


def test_who_came_first_is_through_first(classes):
    lanes = deep_net(classes).lanes(3)
    for trial, units in enumerate([8, 40, 8]):
        lanes.load(trial, {"hidden_units": units, "iterations": 9}, trial, None, 0, 2 + trial)
    ends = [trial for _ in range(7) for trial, step, _ in lanes.advance() if step == 2 + trial]
    assert ends == [0, 1, 2]


def test_a_cache_file_that_cannot_be_used_is_measured_anew(classes, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    (tmp_path / "file").write_text("no folder")
    lanes = deep_net(classes).lanes()
    lanes.load(0, {"hidden_units": 16, "iterations": 3}, 0, None, 0, 3)
    lanes.load(1, {"hidden_units": 16, "iterations": 3}, 1, None, 0, 3)
    assert len(lanes.advance()) >= 2


def test_less_than_full_precision_is_another_curve_only_where_it_is_asked_for(classes):
    """And PyTorch multiplies in the caller's own precision again afterwards."""
    config = {"hidden_units": [40, 40], "iterations": 3}
    full, less = (replace(deep_net(classes), precision=precision) for precision in ("highest", "medium"))
    before = torch.get_float32_matmul_precision()
    curves = [trained_in_lanes(recipe.lanes(2), [(config, 1), (config, 2)])[0] for recipe in (full, less)]
    assert torch.get_float32_matmul_precision() == before
    assert_equal(curves[0], list(full.train(config, 1)), rel=1e-4)
    assert_equal(curves[1], curves[0], rel=0.1)


def test_an_unknown_precision_is_refused(classes):
    with pytest.raises(SpaceError, match="Unknown precision 'hihgest'"):
        replace(deep_net(classes), precision="hihgest")


def test_with_several_threads_the_calibration_tries_one_alone_too(classes, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    layout, config = Layout.around((5, 16, 3)), {"hidden_units": 16}
    with using(2):
        fit = best_fit(layout, 32, config, deep_net(classes).material)
        assert torch.get_num_threads() == 2
    assert fit.width >= 1
    assert fit.threads in (1, 2)
    (found,) = (known for path in tmp_path.rglob("*2threads*") for known in json.loads(path.read_text()).values())
    assert found["processes"] > 0
