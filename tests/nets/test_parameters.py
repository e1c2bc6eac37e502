import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from ayar.errors import DataError
from ayar.nets.parameters import load, registry, registry_of, save, totals
from ayar.nets.plain_net import DeepNet

CONFIG = {"hidden_layers": 2, "hidden_units": [30, 20], "activation": "relu", "learning_rate": 0.1}


@settings(deadline=None, max_examples=30)
@given(
    units=st.lists(st.integers(1, 9), max_size=4),
    n_inputs=st.integers(1, 9),
    n_outputs=st.integers(1, 5),
    activation=st.sampled_from(["relu", "tanh", "sigmoid"]),
)
def test_registry_and_built_net_agree(units, n_inputs, n_outputs, activation):
    config = {"hidden_layers": len(units), "hidden_units": units, "activation": activation}
    net = DeepNet(config, n_inputs, n_outputs)
    declared = registry(config, n_inputs, n_outputs)
    found = registry_of(net)
    assert [(p.name, p.shape, p.bytes) for p in declared] == [(p.name, p.shape, p.bytes) for p in found]


def test_registry_counts_what_the_textbook_counts():
    infos = registry(CONFIG, n_inputs=64, n_outputs=10)
    assert [(p.name, p.count) for p in infos] == [
        ("W[1]", 1920), ("b[1]", 30), ("W[2]", 600), ("b[2]", 20), ("W[3]", 200), ("b[3]", 10),
    ]  # fmt: skip
    assert totals(infos) == (2780, 11120)


def test_registry_says_how_each_array_begins_and_what_decided_it():
    weights = {p.name: p for p in registry(CONFIG, n_inputs=64, n_outputs=10)}
    assert weights["W[1]"].initialisation == "He normal, sd 0.18"
    assert weights["W[1]"].decided_by == ("hidden_layers", "hidden_units", "activation")
    assert weights["b[1]"].initialisation == "zeros"
    assert weights["W[3]"].initialisation == "Glorot normal, sd 0.26"
    assert weights["b[3]"].decided_by == ("hidden_layers",)


@pytest.mark.parametrize(
    ("activation", "sd"), [("relu", math.sqrt(2 / 400)), ("tanh", math.sqrt(2 / 700)), ("sigmoid", math.sqrt(2 / 700))]
)
def test_weights_begin_with_the_published_spread(activation, sd):
    torch.manual_seed(0)
    net = DeepNet({"hidden_units": [300], "hidden_layers": 1, "activation": activation}, 400, 2)
    weights, bias = getattr(net, "W[1]"), getattr(net, "b[1]")
    assert weights.std().item() == pytest.approx(sd, rel=0.01)
    assert abs(weights.mean().item()) < 0.01 * sd
    assert not bias.any()


def test_a_registry_of_any_net_is_as_its_module_declares():
    infos = registry_of(nn.Sequential(nn.Conv2d(3, 8, 5), nn.Linear(4, 2).double()))
    assert [(p.name, p.shape, p.bytes) for p in infos] == [
        ("0.weight", (8, 3, 5, 5), 2400), ("0.bias", (8,), 32), ("1.weight", (2, 4), 64), ("1.bias", (2,), 16),
    ]  # fmt: skip


def test_saved_values_come_back_with_their_configuration(tmp_path):
    net = DeepNet(CONFIG, 4, 3)
    save(tmp_path / "net.safetensors", net, CONFIG)
    tensors, config = load(tmp_path / "net.safetensors")
    assert config == CONFIG
    assert tensors.keys() == net.state_dict().keys()
    assert all(torch.equal(tensors[name], value) for name, value in net.state_dict().items())
    assert [path.name for path in tmp_path.iterdir()] == ["net.safetensors"]


def test_tied_and_strided_tensors_can_be_saved(tmp_path):
    whole = torch.arange(6.0).reshape(2, 3)
    save(tmp_path / "t.safetensors", {"a": whole, "tied": whole, "strided": whole.T}, {})
    tensors, _ = load(tmp_path / "t.safetensors")
    assert torch.equal(tensors["tied"], whole)
    assert torch.equal(tensors["strided"], whole.T)


def test_files_that_cannot_be_loaded_say_why(tmp_path):
    path = tmp_path / "net.safetensors"
    with pytest.raises(DataError, match=r"There is no parameter file .*net.safetensors"):
        load(path)
    path.write_bytes(b"not a net at all")
    with pytest.raises(DataError, match="is damaged or no safetensors file"):
        load(path)
    save(path, DeepNet(CONFIG, 4, 3), CONFIG)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(DataError, match="is damaged or no safetensors file"):
        load(path)
    save_file({"a": torch.ones(1)}, path)
    with pytest.raises(DataError, match="holds tensors but no configuration"):
        load(path)
