"""Stacked products by either library."""

import math

import numpy as np
import pytest
import torch

from ayar.nets import elementwise, products
from ayar.nets.measured import remembered


@pytest.mark.parametrize("by_numpy", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_both_libraries_fill_the_same_memory_with_the_same_product(by_numpy, dtype, monkeypatch):
    """Where lanes have gaps between them, and where a matrix lies transposed, too."""
    monkeypatch.setattr(products, "numpy_is_quicker", lambda *_: by_numpy)
    rng = torch.Generator().manual_seed(0)
    rows = torch.randn(3, 50, dtype=dtype, generator=rng)
    a, b = rows[:, :20].view(3, 4, 5), rows[:, 20:50].view(3, 6, 5).mT
    c = torch.randn(3, 1, 6, dtype=dtype, generator=rng)
    memory = torch.zeros(3, 30, dtype=dtype)
    out = memory[:, :24].view(3, 4, 6)
    for call in products.product(a, b, out):
        call()
    expected = np.einsum("kij,kjl->kil", a.numpy(), b.numpy())
    assert out.numpy() == pytest.approx(expected, rel=1e-5, abs=1e-5)
    assert not memory[:, 24:].any()
    whole = torch.empty(3, 4, 6, dtype=dtype)
    for call in products.affine(c, a, b, whole):
        call()
    assert whole.numpy() == pytest.approx(expected + c.numpy(), rel=1e-5, abs=1e-5)


def test_what_was_measured_is_measured_once(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    found = iter([{"width": 4.0}, {"width": 8.0}])
    assert remembered("x", lambda: next(found)) == {"width": 4.0}
    assert remembered("x", lambda: next(found)) == {"width": 4.0}
    (file,) = tmp_path.rglob("*.json")
    assert file.read_text().count("width") == 1


@pytest.mark.parametrize("by_numpy", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("name", "function"), [("exp", math.exp), ("tanh", math.tanh), ("sqrt", math.sqrt)])
def test_both_libraries_have_the_same_functions(name, function, by_numpy, dtype, monkeypatch):
    """Wherever a number lies, for company must not change a lane's bits."""
    monkeypatch.setattr(elementwise, "numpy_is_quicker_at", lambda *_: by_numpy)
    a = torch.linspace(0.0, 9.0, 96, dtype=dtype).view(2, 48)
    out = torch.empty_like(a)
    elementwise.elementwise(name, a, out)()
    expected = [function(number) for number in a.flatten().tolist()]
    assert out.flatten().tolist() == pytest.approx(expected, rel=3 * torch.finfo(dtype).eps)
    alone = torch.empty(48, dtype=dtype)
    elementwise.elementwise(name, a[1], alone)()
    assert torch.equal(alone, out[1])
