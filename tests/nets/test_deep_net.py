"""The L-layer net against an oracle: the same net, backpropagation and updates in plain NumPy, in float64."""

import cloudpickle
import numpy as np
import pytest
import torch

from ayar.errors import MissingExtra, SpaceError
from ayar.nets.deep_net import build_deep_net, deep_net, default_space
from ayar.nets.recipe import Recipe
from ayar.nets.tasks import load_task
from ayar.nets.unmade import UnmadeDeepNet

ACTIVATIONS = {  # g and its slope, given z and a = g(z)
    "relu": (lambda z: np.maximum(z, 0), lambda z, a: (z > 0).astype(float)),
    "tanh": (np.tanh, lambda z, a: 1 - a**2),
    "sigmoid": (lambda z: 1 / (1 + np.exp(-z)), lambda z, a: a * (1 - a)),
}


def forward(theta, X, activation):
    """Outputs and, for each layer, its input and its z. ``theta`` is [W1, b1, W2, b2, ...]."""
    cache, a = [], X
    for layer in range(0, len(theta), 2):
        z = a @ theta[layer].T + theta[layer + 1]
        cache.append((a, z))
        a = ACTIVATIONS[activation][0](z) if layer < len(theta) - 2 else z
    return a, cache


def loss_and_slope(outputs, y, kind):
    """Mean loss and its derivative by the outputs."""
    n = len(y)
    if kind == "regression":
        gap = outputs[:, 0] - y
        return np.mean(gap**2), 2 * gap[:, None] / n
    shifted = outputs - outputs.max(axis=1, keepdims=True)
    shares = np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True)
    right = np.eye(outputs.shape[1])[y]
    return -np.mean(np.log(shares[np.arange(n), y])), (shares - right) / n


def gradients(theta, X, y, activation, kind):
    outputs, cache = forward(theta, X, activation)
    _, dz = loss_and_slope(outputs, y, kind)
    slopes = []
    for layer in range(len(cache) - 1, -1, -1):
        a_in, _ = cache[layer]
        slopes = [dz.T @ a_in, dz.sum(axis=0), *slopes]
        if layer > 0:
            _, z_below = cache[layer - 1]
            dz = (dz @ theta[2 * layer]) * ACTIVATIONS[activation][1](z_below, a_in)
    return slopes


def updated(theta, slopes, state, t, alpha, config):
    """One update of every array, written out from the methods' publications, array by array."""
    name, decay = config["optimizer"], config["weight_decay"]
    after = []
    for i, (before, slope) in enumerate(zip(theta, slopes, strict=True)):
        lam = decay if before.ndim == 2 else 0.0
        v, s = state.get(i, (np.zeros_like(before), np.zeros_like(before)))
        w = before - alpha * lam * before if name == "adamw" else before
        g = slope if name == "adamw" else slope + lam * before
        if name in ("sgd", "momentum", "nesterov"):
            mu = config.get("momentum", {"sgd": 0.0, "momentum": 0.9, "nesterov": 0.9}[name])
            v = mu * v + g
            direction = g + mu * v if name == "nesterov" or config.get("nesterov") else v
        elif name == "rmsprop":
            s = 0.99 * s + 0.01 * g**2
            direction = g / (np.sqrt(s) + 1e-8)
        else:
            v, s = 0.9 * v + 0.1 * g, 0.999 * s + 0.001 * g**2
            direction = (v / (1 - 0.9**t)) / (np.sqrt(s / (1 - 0.999**t)) + 1e-8)
        state[i] = (v, s)
        after.append(w - alpha * direction)
    return after


def trained_by_the_recipe(data, config):
    """Curve, first and last parameters, and the targets of each mini-batch in the order they were drawn."""
    first, nets, batches = [], [], []

    def build(config, data):
        net = build_deep_net(config, data).double()
        nets.append(net)
        first.extend(p.detach().numpy().copy() for p in net.parameters())
        return net

    def loss(outputs, y):
        if torch.is_grad_enabled() and outputs.requires_grad:
            batches.append(y.numpy().copy())
        if data.kind == "regression":
            return torch.nn.functional.mse_loss(outputs, y)
        return torch.nn.functional.cross_entropy(outputs, y)

    curve = list(Recipe(build, data, loss=loss, dtype=torch.float64).train(config, seed=5))
    return curve, first, [p.detach().numpy() for p in nets[0].parameters()], batches


def trained_by_the_oracle(data, config, theta, batches):
    """Validation losses after each epoch, and the last parameters, on the same mini-batches."""
    X_train, X_valid = data.X_train.astype(float), data.X_valid.astype(float)
    # Real targets all differ, so they tell which rows a batch held; classes are trained in one full batch.
    row_of = {value: row for row, value in enumerate(data.y_train.astype(float))}
    losses, state = [], {}
    per_epoch = len(batches) // config["iterations"]
    for t, targets in enumerate(batches, start=1):
        rows = [row_of[v] for v in targets] if data.kind == "regression" else np.arange(len(X_train))
        slopes = gradients(theta, X_train[rows], data.y_train[rows], config["activation"], data.kind)
        cosine = 0.5 * (1 + np.cos(np.pi * (t - 1) / len(batches)))
        theta = updated(theta, slopes, state, t, config["learning_rate"] * cosine, config)
        if t % per_epoch == 0:
            losses.append(loss_and_slope(forward(theta, X_valid, config["activation"])[0], data.y_valid, data.kind)[0])
    return losses, theta


OPTIMIZERS = [
    {"optimizer": "sgd"},
    {"optimizer": "sgd", "momentum": 0.8},
    {"optimizer": "sgd", "momentum": 0.8, "nesterov": True},
    {"optimizer": "momentum"},
    {"optimizer": "nesterov"},
    {"optimizer": "rmsprop", "learning_rate": 0.003},
    {"optimizer": "adam", "learning_rate": 0.003},
    {"optimizer": "adamw", "learning_rate": 0.003},
]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: "-".join(map(str, o.values())))
@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_training_agrees_with_a_numpy_net_to_ten_digits(data, optimizer, activation):
    config = {
        "hidden_layers": 2,
        "hidden_units": [7, 4],
        "activation": activation,
        "learning_rate": 0.05,
        "weight_decay": 0.01,
        "batch_size": 32 if data.kind == "regression" else len(data.X_train),
        "schedule": "cosine",
        "iterations": 6,
        **optimizer,
    }
    curve, first, last, batches = trained_by_the_recipe(data, config)

    losses, theta = trained_by_the_oracle(data, config, first, batches)

    np.testing.assert_allclose([m["valid_loss"] for m in curve[1:]], losses, rtol=1e-10)
    for ours, oracle in zip(last, theta, strict=True):
        np.testing.assert_allclose(ours, oracle, rtol=1e-9, atol=1e-11)
    assert not np.allclose(first[0], last[0])


def test_an_epoch_visits_every_row_once(reals):
    config = {"hidden_units": 4, "batch_size": 32, "iterations": 2}
    _, _, _, batches = trained_by_the_recipe(reals, config)
    assert [len(b) for b in batches] == [32, 32, 26, 32, 32, 26]
    first, second = np.concatenate(batches[:3]), np.concatenate(batches[3:])
    np.testing.assert_array_equal(np.sort(first), np.sort(reals.y_train.astype(float)))
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "gelu", "tanh", "sigmoid"])
def test_every_activation_learns(activation, classes):
    config = {"activation": activation, "hidden_layers": 1, "learning_rate": 0.02, "iterations": 60}
    curve = list(deep_net(classes).train(config, seed=0))
    assert curve[-1]["train_probe"] < 0.9 * curve[0]["train_probe"]


def test_no_hidden_layer_is_a_linear_model(classes):
    net = build_deep_net({"hidden_layers": 0}, classes)
    X = torch.randn(6, 5)
    assert torch.allclose(net(X), X @ getattr(net, "W[1]").T)
    assert [name for name, _ in net.named_parameters()] == ["W[1]", "b[1]"]


def test_dropout_silences_its_share_while_training_only(classes):
    net = build_deep_net({"hidden_units": 8, "dropout": 0.5}, classes)
    X = torch.randn(20, 5)
    assert not torch.equal(net.train()(X), net(X))
    assert torch.equal(net.eval()(X), net(X))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"activation": "rleu"}, "Unknown activation 'rleu'. Known: relu, .*Did you mean 'relu'"),
        ({"dropout": 1.0}, r"dropout is a share and must lie in \[0, 1\), got 1.0"),
        ({"hidden_layers": 2, "hidden_units": [8]}, r"hidden_units=\[8\] has 1 layers, but hidden_layers=2"),
        ({"hidden_units": [8, 0]}, r"hidden_units=\[8, 0\]: each layer needs a whole number"),
    ],
)
def test_a_net_that_cannot_be_built_says_why(config, message, classes):
    with pytest.raises(SpaceError, match=message):
        build_deep_net(config, classes)


def test_the_recipe_travels_to_a_worker_and_trains_there_alike(classes):
    recipe = deep_net(classes)
    config = {"hidden_units": 8, "iterations": 2, "dropout": 0.2}
    there = cloudpickle.loads(cloudpickle.dumps(recipe))
    assert list(there.train(config, 1)) == list(recipe.train(config, 1))


def test_an_unmade_recipe_arrives_at_a_worker_as_the_recipe_and_trains_here_alike(classes):
    unmade = UnmadeDeepNet(classes, precision="high")
    config = {"hidden_units": 8, "iterations": 2, "dropout": 0.2}
    there = cloudpickle.loads(cloudpickle.dumps(unmade))
    assert isinstance(there, Recipe)
    assert (there.precision, there.build) == ("high", unmade.build)
    assert list(unmade.train(config, 1)) == list(there.train(config, 1)) == list(deep_net(classes).train(config, 1))


def test_without_torch_an_unmade_recipe_says_what_to_install(classes, monkeypatch):
    monkeypatch.setattr("ayar.nets.unmade.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"torch is not installed\. Install it with: pip install 'ayar\[torch\]'"):
        UnmadeDeepNet(classes)


def test_every_configuration_of_the_default_space_trains(data):
    space, rng = default_space(data), np.random.default_rng(0)
    for seed in range(8):
        config = {**space.sample(rng), "iterations": 1}
        steps = [m["step"] for m in deep_net(data).train(config, seed)]
        assert steps == [0, 1]


def test_the_default_configuration_reads_handwritten_digits():
    """At most one digit in fifteen wrong, after a fifth of the default iterations."""
    data = load_task("digits").data
    config = {**default_space(data).default(), "iterations": 10}
    *_, last = deep_net(data).train(config, seed=0)
    assert last["valid_error"] < 1 / 15
