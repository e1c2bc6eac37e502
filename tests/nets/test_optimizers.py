import math

import pytest
import torch
from torch import nn

from ayar.errors import SpaceError
from ayar.nets.optimizers import RULES, Optimizer, learning_rate


def rates(updates=8, **config):
    return [round(learning_rate({"learning_rate": 1.0, **config}, k, updates), 6) for k in range(updates)]


def test_constant_schedule_keeps_the_learning_rate():
    assert rates() == [1.0] * 8


def test_step_schedule_cuts_to_a_tenth_at_half_and_again_at_three_quarters():
    assert rates(schedule="step") == [1, 1, 1, 1, 0.1, 0.1, 0.01, 0.01]


def test_cosine_schedule_falls_from_the_peak_through_half_of_it_midway():
    fall = rates(schedule="cosine")
    assert fall[0] == 1.0
    assert fall[4] == 0.5
    assert fall[6] == round((1 + math.cos(math.pi * 3 / 4)) / 2, 6)
    assert fall == sorted(fall, reverse=True)


def test_warmup_rises_in_equal_steps_to_the_peak_and_the_schedule_follows():
    assert rates(warmup=0.5) == [0.25, 0.5, 0.75, 1, 1, 1, 1, 1]
    assert rates(warmup=0.5, schedule="cosine")[3:6] == [1, 1, round((1 + math.cos(math.pi / 4)) / 2, 6)]


def test_a_warmup_shorter_than_one_update_does_not_exceed_the_peak():
    assert rates(warmup=0.01)[0] == 1.0


def test_a_warmup_over_the_whole_training_ends_at_the_peak():
    assert rates(warmup=1.0) == [0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0]


@pytest.mark.parametrize("name", sorted(RULES))
def test_every_rule_walks_down_a_bowl(name):
    """From (3, -2) each rule comes near the minimum of |w|^2 / 2, where W and b have different shapes."""
    net = nn.Linear(1, 1)
    with torch.no_grad():
        net.weight.fill_(3.0)
        net.bias.fill_(-2.0)
    optimizer = Optimizer(net, {"optimizer": name})
    for _ in range(500):
        optimizer.gradient.zero_()
        ((net.weight**2).sum() / 2 + (net.bias**2).sum() / 2).backward()
        optimizer.step(0.02)
    assert abs(net.weight.item()) < 0.05
    assert abs(net.bias.item()) < 0.05


@pytest.mark.parametrize("name", sorted(RULES))
def test_weight_decay_shrinks_weights_and_spares_biases(name):
    """Without any gradient only the decay moves a parameter."""
    torch.manual_seed(0)
    net = nn.Linear(3, 2)
    with torch.no_grad():
        net.weight += 0.1 * net.weight.sign()  # further from 0 than the step
    weight, bias = net.weight.detach().clone(), net.bias.detach().clone()
    optimizer = Optimizer(net, {"optimizer": name, "weight_decay": 0.5})
    optimizer.step(0.001)
    assert (net.weight.abs() < weight.abs()).all()
    assert torch.equal(net.bias, bias)


def test_frozen_parameters_stay():
    torch.manual_seed(0)
    net = nn.Linear(3, 2)
    net.bias.requires_grad_(False)
    before = net.bias.clone()
    optimizer = Optimizer(net, {"optimizer": "sgd"})
    net(torch.ones(4, 3)).sum().backward()
    optimizer.step(0.1)
    assert torch.equal(net.bias, before)
    assert optimizer.vector.shape == (6,)


@pytest.mark.parametrize("config", [{"optimizer": "adan"}, {"optimizer": None}])
def test_an_unknown_optimizer_is_refused_with_the_known_ones(config):
    with pytest.raises(SpaceError, match=r"Unknown optimizer .* Known: sgd, momentum, nesterov, rmsprop, adam, adamw"):
        Optimizer(nn.Linear(1, 1), config)


def test_an_unknown_schedule_is_refused_with_a_guess():
    with pytest.raises(SpaceError, match=r"Unknown schedule 'cosin'.*Did you mean 'cosine'"):
        learning_rate({"schedule": "cosin"}, 0, 1)
