"""A computation written down once as PyTorch's basic operations, to be run again without what led to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph

Computation = Callable[..., Any]

_IDENTITIES = {  # give their input itself where its shape and strides are those asked for
    torch.ops.aten.view.default,
    torch.ops.aten._unsafe_view.default,  # noqa: SLF001 - its name in the list of operations
    torch.ops.aten.expand.default,
    torch.ops.aten.detach.default,
}


def traced(computation: Computation, inputs: Sequence[Tensor]) -> Computation:
    """The same computation for tensors of the same shapes and strides, at a fraction of the cost in Python.

    It is watched once while it works on copies of ``inputs``. Its result may not depend on anything else that changes.
    """
    from torch.fx.experimental.proxy_tensor import make_fx  # takes a second to import

    module = make_fx(computation)(*map(_copy, inputs))
    _shorten(module.graph)
    module.recompile()
    run: Computation = module.forward
    return run


def _shorten(graph: Graph) -> None:
    """Leave out the operations that give their input back."""
    for node in graph.nodes:
        if node.target in _IDENTITIES and _layout(node) == _layout(node.args[0]):
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)


def _layout(node: Any) -> tuple[Any, Any]:
    tensor = node.meta["val"]
    return tensor.shape, tensor.stride()


def _copy(tensor: Tensor) -> Tensor:
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=tensor.device).copy_(tensor)
