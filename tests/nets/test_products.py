"""Stacked products by either library."""

import numpy as np
import pytest
import torch

from ayar.nets import products
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
