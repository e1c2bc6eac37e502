"""A user's nets in lanes against the same trials trained alone."""

import itertools
import math
import re
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from ayar.nets import func_lanes
from ayar.nets.alone import CHECKPOINT
from ayar.nets.deep_net import deep_net
from ayar.nets.func_lanes import FuncLanes
from ayar.nets.parameters import load
from ayar.nets.recipe import Recipe
from ayar.nets.tasks import Data

OPTIMIZERS = [
    {"optimizer": "sgd", "momentum": 0.8, "nesterov": True, "learning_rate": 0.05, "dropout": 0.0},
    {"optimizer": "momentum", "learning_rate": 0.03, "weight_decay": 0.01, "dropout": 0.3},
    {"optimizer": "nesterov", "learning_rate": 0.03, "schedule": "cosine", "warmup": 0.1, "dropout": 0.1},
    {"optimizer": "rmsprop", "learning_rate": 0.003, "dropout": 0.5, "label_smoothing": 0.1},
    {
        "optimizer": "adam",
        "learning_rate": 0.01,
        "schedule": "step",
        "weight_decay": 0.01,
        "dropout": 0.2,
        "label_smoothing": 0.3,
    },
    {"optimizer": "adamw", "learning_rate": 0.01, "weight_decay": 0.1, "beta1": 0.8, "dropout": 1.0},
]
BASE = {"batch_size": 32, "iterations": 67}  # 201 updates of the 90 rows
SHORT = {**BASE, "iterations": 3}


class Mixer(nn.Module):
    """Shared layers, a scalar parameter, a frozen one, a buffer that counts, and two uses of one dropout."""

    def __init__(self, config, data):
        super().__init__()
        self.inner = nn.Linear(5, 5)
        self.again = self.inner
        self.mirror = nn.Linear(5, 5, bias=False)
        self.mirror.weight = self.inner.weight
        self.norm = nn.LayerNorm(5)
        self.batch_norm = nn.BatchNorm1d(5)
        self.drop = nn.Dropout(config.get("dropout", 0.0))
        self.scale = nn.Parameter(torch.tensor(0.7))
        self.frozen = nn.Parameter(torch.randn(5), requires_grad=False)
        self.out = nn.Linear(5, data.n_classes or 1)
        self.register_buffer("passes", torch.zeros((), dtype=torch.int64))

    def forward(self, X):
        if self.training:
            self.passes += 1
        a = self.drop(nn.functional.gelu(self.norm(self.inner(X))))
        a = self.drop(torch.sin(self.again(a) + self.mirror(X)) * self.scale + self.frozen)
        return self.out(self.batch_norm(a)).squeeze(-1)


def convolutions(config, data):
    return nn.Sequential(
        nn.Unflatten(1, (1, 5)),
        nn.Conv1d(1, 4, 3, padding=1, bias=False),  # batch norm would leave a bias nothing but rounding to learn from
        nn.BatchNorm1d(4),
        nn.ReLU(),
        nn.Dropout1d(config.get("dropout", 0.0)),
        nn.MaxPool1d(2),
        nn.Flatten(),
        nn.Linear(8, data.n_classes),
    )


def recurrent(config, data):
    class Last(nn.Module):
        def forward(self, outputs):
            return outputs[0][:, -1]

    return nn.Sequential(nn.Unflatten(1, (5, 1)), nn.RNN(1, 6, batch_first=True), Last(), nn.Linear(6, data.n_classes))


def lanes_of(recipe, at_most=16):
    return FuncLanes(recipe.begin, recipe.material, at_most)


def trained(lanes, trials, folder=None, start_step=0, stop_step=10**6):
    """The curve of each ``(config, seed)``, all loaded at once."""
    for trial, (config, seed) in enumerate(trials):
        lanes.load(trial, config, seed, folder and folder / str(trial), start_step, stop_step)
    curves = advanced(lanes, len(trials))
    for trial in range(len(trials)):
        lanes.unload(trial)
    return curves


def advanced(lanes, n):
    """What the trials measure until they all stand still."""
    curves = [[] for _ in range(n)]
    while steps := lanes.advance():
        for trial, step, metrics in steps:
            curves[trial].append({"step": step, **metrics})
    return curves


def assert_equal(curves, expected, rel):
    assert [[m["step"] for m in curve] for curve in curves] == [[m["step"] for m in curve] for curve in expected]
    for ours, alone in zip(itertools.chain(*curves), itertools.chain(*expected), strict=True):
        assert ours == pytest.approx(alone, rel=rel, abs=1e-300, nan_ok=True)


# --- equality --------------------------------------------------------------------------------------------------


def test_all_optimizers_and_shares_of_dropout_side_by_side_train_as_each_trains_alone(data):
    """Over 201 updates in float64, with weight decay, schedules, warm-up, and batch norm's running statistics."""
    recipe = Recipe(Mixer, data, dtype=torch.float64)
    trials = [({**BASE, **config}, seed) for seed, config in enumerate(OPTIMIZERS)]
    lanes = lanes_of(recipe, at_most=len(trials))
    curves = trained(lanes, trials)
    assert lanes.reasons == []
    assert_equal(curves, [list(recipe.train(*trial)) for trial in trials], rel=1e-10)


def test_full_lanes_that_were_traced_after_a_while_give_the_same_curves(classes, monkeypatch):
    trials = [({**SHORT, **config}, seed) for seed, config in enumerate(OPTIMIZERS)]

    def curves(traced_after_s):
        monkeypatch.setattr(func_lanes, "TRACED_AFTER_S", traced_after_s)
        return trained(lanes_of(Recipe(Mixer, classes), at_most=len(trials)), trials)

    assert curves(0.0) == curves(math.inf)


@pytest.mark.parametrize("build", [Mixer, convolutions])
def test_nets_of_every_sort_train_in_float32_as_alone_but_for_rounding(classes, build):
    recipe = Recipe(build, classes)
    trials = [({**SHORT, **config}, seed) for seed, config in enumerate(OPTIMIZERS)]
    lanes = lanes_of(recipe)
    curves = trained(lanes, trials)
    assert lanes.reasons == []
    expected = [list(recipe.train(*trial)) for trial in trials]
    for m in itertools.chain(*curves, *expected):
        del m["valid_error"]  # it jumps where rounding turns a row
    assert_equal(curves, expected, rel=1e-3)


def test_losses_and_metrics_of_ones_own_are_kept(reals):
    def loss(outputs, y):
        return nn.functional.smooth_l1_loss(outputs, y, beta=0.3)

    def worst(outputs, y):
        return float((outputs - y).abs().max())

    recipe = Recipe(Mixer, reals, loss, {"worst": worst}, dtype=torch.float64)
    trials = [(SHORT, 1), (SHORT, 2)]
    curves = trained(lanes_of(recipe), trials)
    assert set(curves[0][0]) == {"step", "train_probe", "valid_loss", "worst"}
    assert_equal(curves, [list(recipe.train(*trial)) for trial in trials], rel=1e-10)


def test_whole_number_inputs_and_embeddings_train_as_alone():
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 9, size=(40, 6))
    data = Data(tokens, (tokens[:, 0] > 4).astype(np.int64), tokens[:9], np.zeros(9, dtype=np.int64), n_classes=2)

    def build(config, data):
        return nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(24, 2))

    recipe = Recipe(build, data, dtype=torch.float64)
    lanes = lanes_of(recipe)
    curves = trained(lanes, [(SHORT, 1), (SHORT, 2)])
    assert lanes.reasons == []
    assert_equal(curves, [list(recipe.train(SHORT, seed)) for seed in (1, 2)], rel=1e-10)


def test_a_plain_pytorch_loop_gives_the_curve_of_a_lane(classes):
    """What is tuned here means the same outside: only the seeding of the epochs is Ayar's."""
    recipe = Recipe(convolutions, classes, dtype=torch.float64)
    config = {**SHORT, "optimizer": "momentum", "learning_rate": 0.05, "dropout": 0.4}
    curve = trained(lanes_of(recipe), [(config, 7), ({**config, "dropout": 0.1}, 8)])[0]

    def seeded(epoch):
        torch.manual_seed(int(np.random.SeedSequence((7, epoch)).generate_state(1)[0]))

    X, y = torch.tensor(classes.X_train).double(), torch.tensor(classes.y_train)
    seeded(0)
    net = convolutions(config, classes).double()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    losses = []
    for epoch in (1, 2, 3):
        seeded(epoch)
        net.train()
        order = torch.randperm(90)
        for rows in order.split(32):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(X[rows]), y[rows]).backward()
            optimizer.step()
        net.eval()
        with torch.no_grad():
            outputs = net(torch.tensor(classes.X_valid).double())
        losses.append(float(nn.functional.cross_entropy(outputs, torch.tensor(classes.y_valid))))
    assert [m["valid_loss"] for m in curve[1:]] == pytest.approx(losses, rel=1e-10)


def test_nets_of_different_kinds_and_batch_sizes_share_the_lanes(classes):
    def build(config, data):
        net = nn.Sequential(nn.Linear(5, config["units"]), nn.ReLU(), nn.Linear(config["units"], 3))
        net[1].inplace = config["units"] == 4
        return net

    recipe = Recipe(build, classes, dtype=torch.float64)
    trials = [
        ({**SHORT, "units": units, "batch_size": size, "iterations": n}, n)
        for units, size, n in itertools.product([4, 6], [32, 50], [2, 3, 4])
    ]
    curves = trained(lanes_of(recipe), trials)
    assert_equal(curves, [list(recipe.train(*trial)) for trial in trials], rel=1e-10)


def test_attributes_that_steer_the_forward_pass_never_leak_from_lane_to_lane(classes):
    class Scaled(nn.Module):
        def __init__(self, factor, power):
            super().__init__()
            self.linear = nn.Linear(5, 3)
            self.factor = factor
            self.function = lambda a: a**power

        def forward(self, X):
            return self.function(self.linear(X)) * self.factor

    recipe = Recipe(lambda config, data: Scaled(config["factor"], config["power"]), classes, dtype=torch.float64)
    trials = [({**SHORT, "factor": f, "power": p}, i) for i, (f, p) in enumerate(itertools.product((1, 2, 2), (1, 3)))]
    curves = trained(lanes_of(recipe), trials)
    assert_equal(curves, [list(recipe.train(*trial)) for trial in trials], rel=1e-10)


# --- coming and going ------------------------------------------------------------------------------------------


def test_trials_come_go_and_come_back_from_the_checkpoints_of_either_way_of_training(classes, tmp_path):
    recipe = Recipe(Mixer, classes, dtype=torch.float64)
    configs = [{**SHORT, "iterations": 6, **config} for config in OPTIMIZERS[1:4]]
    expected = [list(recipe.train(config, seed)) for seed, config in enumerate(configs)]
    lanes = lanes_of(recipe)
    trials = [(config, seed) for seed, config in enumerate(configs)]
    assert_equal(trained(lanes, trials, tmp_path, stop_step=2), [curve[:3] for curve in expected], rel=1e-10)
    for seed, config in enumerate(configs):
        generator = recipe.train(config, seed, tmp_path / str(seed), start_step=2)
        assert next(generator) == pytest.approx(expected[seed][3], rel=1e-10)
        generator.close()
    assert_equal(trained(lanes, trials, tmp_path, start_step=3), [curve[4:] for curve in expected], rel=1e-10)
    tensors, config = load(tmp_path / "1" / CHECKPOINT)
    assert int(tensors["training/step"]) == 6
    assert config == configs[1]


def test_without_a_checkpoint_the_missing_steps_are_trained_in_silence(classes):
    recipe = Recipe(Mixer, classes, dtype=torch.float64)
    lanes = lanes_of(recipe)
    for trial in (1, 2):
        lanes.load(trial, SHORT, trial, None, start_step=2, stop_step=3)
    steps = [step for _ in range(3) for step in lanes.advance()]
    assert [(trial, step) for trial, step, _ in steps] == [(1, 3), (2, 3)]
    assert steps[0][2] == pytest.approx({n: v for n, v in list(recipe.train(SHORT, 1))[3].items() if n != "step"})


def test_lanes_that_reached_their_stop_stand_still_and_hold_their_place(classes):
    recipe = Recipe(Mixer, classes)
    lanes = lanes_of(recipe, at_most=3)
    assert lanes.free == 3
    for trial in (1, 2):
        lanes.load(trial, SHORT, trial, None, 0, stop_step=trial)
    assert lanes.free == 1
    assert [(trial, step) for trial, step, _ in lanes.advance()] == [(1, 0), (1, 1), (2, 0), (2, 1)]
    assert [(trial, step) for trial, step, _ in lanes.advance()] == [(2, 2)]
    assert lanes.advance() == []
    lanes.unload(1)
    assert lanes.free == 2


def test_a_configuration_that_cannot_be_trained_leaves_the_other_lanes_as_they_were(classes):
    recipe = Recipe(Mixer, classes)
    lanes = lanes_of(recipe, at_most=3)
    lanes.load(1, SHORT, 1, None, 0, 3)
    with pytest.raises(ValueError, match="Unknown optimizer 'adma'"):
        lanes.load(2, {**SHORT, "optimizer": "adma"}, 1, None, 0, 3)
    assert lanes.free == 2
    assert [step for _, step, _ in lanes.advance()] == [0, 1]


# --- isolation -------------------------------------------------------------------------------------------------


def test_a_lane_that_diverges_says_nan_and_changes_no_bit_of_its_neighbours(classes):
    mild = {**SHORT, "optimizer": "sgd", "learning_rate": 0.01, "iterations": 4}
    wild = {**mild, "learning_rate": 1e30}

    def neighbours(config):
        lanes = lanes_of(Recipe(Mixer, classes))
        for trial, (own, stop) in enumerate([(mild, 4), (config, 1), (mild, 4)]):
            lanes.load(trial, own, trial, None, 0, stop)
        return advanced(lanes, 3)

    beside_mild, beside_wild = neighbours(mild), neighbours(wild)
    assert beside_wild[0] == beside_mild[0]
    assert beside_wild[2] == beside_mild[2]
    assert math.isfinite(beside_wild[1][0]["valid_loss"])
    assert all(math.isnan(value) for name, value in beside_wild[1][1].items() if name != "step")


# --- what trains alone, and why --------------------------------------------------------------------------------


class Asks(nn.Linear):
    def forward(self, X):
        return super().forward(X) if X.sum() > 0 else -super().forward(X)


class Draws(nn.Linear):
    def forward(self, X):
        return super().forward(X + 0.1 * torch.randn_like(X) if self.training else X)


class Keeps(nn.Linear):
    """Each pass leaves behind in the module what the next one uses."""

    last = 0.0

    def forward(self, X):
        outputs = super().forward(X) + self.last
        if self.training:
            self.last = outputs.detach().mean().item()
        return outputs


class Counts(nn.Linear):
    passes = 0

    def forward(self, X):
        self.passes += self.training
        return super().forward(X) / (1 + self.passes // 4)


class Locked(nn.Linear):
    def __deepcopy__(self, memo):
        raise TypeError("one of a kind")


@pytest.mark.parametrize(
    ("net", "words"),
    [
        (Asks, "Asks trains alone: it cannot train in lanes: RuntimeError: .*data-dependent"),
        (Draws, "Draws trains alone: it cannot train in lanes: RuntimeError: vmap: .*random"),
        (Keeps, "Keeps trains alone: it cannot train in lanes: RuntimeError: .*item"),
        (Counts, "Counts trains alone: it keeps values of its own"),
        (Locked, "Locked trains alone: it cannot be copied and compared: TypeError: one of a kind"),
    ],
)
def test_what_cannot_train_in_lanes_trains_alone_and_the_reason_is_said_once(classes, net, words):
    recipe = Recipe(lambda config, data: net(5, 3), classes)
    trials = [(SHORT, seed) for seed in range(4)]
    lanes = lanes_of(recipe)
    curves = trained(lanes, trials)
    assert curves == [list(recipe.train(*trial)) for trial in trials]
    assert len(lanes.reasons) == 1
    assert re.match(words, lanes.reasons[0])


def test_a_net_whose_gradients_differ_in_lanes_trains_alone(classes):
    """Here the trick is a buffer that a pass replaces instead of changing it, which a stacked net forgets."""

    class Replaces(nn.Linear):
        def __init__(self):
            super().__init__(5, 3)
            self.register_buffer("mean", torch.zeros(3))

        def forward(self, X):
            outputs = super().forward(X)
            if self.training:
                self.mean = 0.9 * self.mean + outputs.detach().mean(0)
            return outputs - self.mean

    recipe = Recipe(lambda config, data: Replaces(), classes)
    lanes = lanes_of(recipe)
    curves = trained(lanes, [(SHORT, 1), (SHORT, 2)])
    assert curves == [list(recipe.train(SHORT, seed)) for seed in (1, 2)]
    assert len(lanes.reasons) == 1


def test_an_error_in_the_net_is_the_users_to_see(classes):
    recipe = Recipe(lambda config, data: nn.Linear(4, 3), classes)
    lanes = lanes_of(recipe)
    lanes.load(1, SHORT, 1, None, 0, 3)
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        lanes.advance()


# --- width -----------------------------------------------------------------------------------------------------


def test_without_a_given_width_lanes_train_as_alone_whatever_the_calibration_finds(classes):
    recipe = Recipe(Mixer, classes, dtype=torch.float64)
    trials = [({**SHORT, **config}, seed) for seed, config in enumerate(OPTIMIZERS)]
    lanes = lanes_of(recipe, at_most=None)
    assert lanes.free > 1
    assert_equal(trained(lanes, trials), [list(recipe.train(*trial)) for trial in trials], rel=1e-10)


def test_a_recipe_opens_such_lanes_for_any_net_that_is_not_its_own_with_its_own_loss(classes):
    """The net from the shelf with another loss is any net, too."""
    from_shelf = deep_net(classes)
    recipe = replace(from_shelf, loss=partial(nn.functional.cross_entropy, label_smoothing=0.1), dtype=torch.float64)
    assert isinstance(Recipe(Mixer, classes).lanes(), FuncLanes)
    assert isinstance(recipe.lanes(), FuncLanes)
    assert not isinstance(from_shelf.lanes(), FuncLanes)
    lanes = recipe.lanes(at_most=2)
    trials = [({**SHORT, "hidden_units": 7}, seed) for seed in (1, 2)]
    assert_equal(trained(lanes, trials), [list(recipe.train(*trial)) for trial in trials], rel=1e-10)
    assert lanes.reasons == []
