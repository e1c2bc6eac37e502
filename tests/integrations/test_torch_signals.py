"""A loop of one's own reports what happens inside its net, and nothing about its training changes."""

import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from ayar.curves import diagnose
from ayar.integrations.torch_signals import TorchSignals, dead_share
from ayar.records import Curve, Metric


@pytest.fixture
def numbers():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def net_of(widths, activation=nn.ReLU):
    layers = []
    for n_in, n_out in pairwise(widths):
        layers += [nn.Linear(n_in, n_out), activation()]
    return nn.Sequential(*layers[:-1])


def train(net, rate, *, epochs=30, scale=1.0, **more):
    """A small classification by the three-line loop; gives its curve and the last metrics."""
    X = torch.randn(240, 10) * scale
    y = (X[:, 0] * X[:, 1] > 0).long()
    optimizer = torch.optim.SGD(net.parameters(), lr=rate)
    watch, rows = TorchSignals(net, X[:64], every_batch=3, every_step=1, **more), []
    for epoch in range(epochs):
        for i in range(0, 240, 24):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(X[i : i + 24]), y[i : i + 24]).backward()
            watch.step(optimizer)
        with torch.no_grad():
            loss = float(nn.functional.cross_entropy(net(X), y))
        rows.append({"step": epoch + 1, "train_probe": loss, **watch.metrics()})
    metric = Metric("train_probe")
    return Curve(tuple(metric.measurement(row.pop("step"), 0.0, row) for row in rows))


def test_the_gradient_and_the_update_are_measured(numbers):
    """One linear unit, loss w * 3: the gradient is 3, and a step of 0.1 moves w = 2 by 0.3, to 1.7."""
    net = nn.Linear(1, 1, bias=False)
    nn.init.constant_(net.weight, 2.0)
    watch = TorchSignals(net)
    net(torch.full((1, 1), 3.0)).sum().backward()
    watch.step(torch.optim.SGD(net.parameters(), lr=0.1))

    assert watch.metrics() == {
        "gradient_norm": pytest.approx(3.0),
        "gradient_norm_max": pytest.approx(3.0),
        "update_ratio": pytest.approx(0.3 / 1.7),
    }
    assert watch.metrics() == {}


def test_the_training_is_the_same_bit_for_bit(numbers):
    def weights(step):
        torch.manual_seed(1)
        net = net_of([4, 8, 2])
        optimizer, watch = torch.optim.Adam(net.parameters()), TorchSignals(net, torch.randn(5, 4))
        for _ in range(10):
            net(torch.randn(6, 4)).square().mean().backward()
            step(optimizer, watch)
            watch.metrics()
        return [p.detach().clone() for p in net.parameters()]

    plain, watched = weights(lambda o, w: o.step()), weights(lambda o, w: w.step(o))
    assert all(torch.equal(a, b) for a, b in zip(plain, watched, strict=True))


def test_dead_units_are_counted_over_all_hidden_layers(numbers):
    """Three of eight units of the first hidden layer and one of four of the second never answer."""
    net = net_of([5, 8, 4, 2])
    with torch.no_grad():
        net[0].bias[:3] = -100.0
        net[2].bias[0] = -100.0
        net[2].bias[1:] = 100.0

    assert dead_share(net, torch.randn(50, 5)) == pytest.approx(4 / 12)


def test_a_saturated_unit_and_a_dead_channel_count_too(numbers):
    saturated = net_of([5, 4, 2], nn.Tanh)
    conv = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(2), nn.Flatten(), nn.Linear(4 * 9, 2))
    channels = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3))
    with torch.no_grad():
        saturated[0].bias[0] = 1000.0
        conv[0].bias[0] = channels[0].bias[0] = -100.0
    images = torch.randn(20, 1, 5, 5)

    assert dead_share(saturated, torch.randn(50, 5)) == 1 / 4
    assert dead_share(channels, images) == 1 / 4
    assert dead_share(conv, images) == 1 / 4


def test_the_net_keeps_its_mode_and_has_no_hooks_left(numbers):
    net = nn.Sequential(nn.Linear(3, 3), nn.Dropout(), nn.Linear(3, 1)).train()
    dead_share(net, torch.randn(4, 3))

    assert net.training
    assert not any(m._forward_pre_hooks for m in net.modules())
    assert math.isnan(dead_share(nn.Linear(3, 1), torch.randn(4, 3)))


def test_only_every_so_many_mini_batches_and_steps_are_looked_at(numbers):
    net = net_of([3, 4, 1])
    optimizer, watch = (
        torch.optim.SGD(net.parameters(), lr=0.1),
        TorchSignals(net, torch.randn(4, 3), every_batch=4, every_step=3),
    )
    seen = []
    for _ in range(6):
        net(torch.randn(2, 3)).sum().backward()
        watch.step(optimizer)
        seen.append(watch.metrics())

    assert ["gradient_norm" in each for each in seen] == [True, False, False, False, True, False]
    assert ["dead_units" in each for each in seen] == [True, False, False, True, False, False]


def test_nonsense_intervals_are_refused():
    with pytest.raises(ValueError, match="every_batch=0"):
        TorchSignals(nn.Linear(1, 1), every_batch=0)


def test_a_sound_net_is_not_blamed(numbers):
    curve = train(net_of([10, 32, 32, 2]), 0.1)

    inner = {"dead units", "vanishing gradients", "exploding gradients"}
    assert inner & {v.name for v in diagnose(curve)} == set()


def test_a_deep_net_of_sigmoids_has_vanishing_gradients(numbers):
    curve = train(net_of([10, *[16] * 9, 2], nn.Sigmoid), 0.1)

    assert "vanishing gradients" in {v.name for v in diagnose(curve)}


def test_a_huge_step_leaves_dead_units_behind(numbers):
    net = net_of([10, 32, 32, 2])
    with torch.no_grad():
        for layer in (net[0], net[2]):
            layer.bias -= 4.0  # what one step that is far too long does
    curve = train(net, 0.01)

    assert "dead units" in {v.name for v in diagnose(curve)}
