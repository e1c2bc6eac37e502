"""The parameters W[l], b[l] of nets that were built, and how they are kept."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from ayar.errors import DataError
from ayar.nets.registry import ParameterInfo, hidden_units, registry
from ayar.records import Configuration

__all__ = ["ParameterInfo", "hidden_units", "load", "registry", "registry_of", "save", "totals"]


def registry_of(net: nn.Module) -> list[ParameterInfo]:
    """The parameters of any net, as its module declares them; how they began is not known from there."""
    return [
        ParameterInfo(name, tuple(p.shape), math.nan, "as the module sets it", (), p.element_size())
        for name, p in net.named_parameters()
    ]


def totals(infos: list[ParameterInfo]) -> tuple[int, int]:
    """Number of entries and bytes of all together."""
    return sum(p.count for p in infos), sum(p.bytes for p in infos)


def save(path: Path | str, parameters: nn.Module | Mapping[str, torch.Tensor], config: Configuration) -> None:
    """Write trained values and the configuration that made them as one safetensors file.

    The file appears whole or not at all: it is written beside its place and then moved there.
    """
    path = Path(path)
    tensors = parameters.state_dict() if isinstance(parameters, nn.Module) else parameters
    # Copies, because safetensors refuses tensors that share memory (tied weights) or lie strided.
    copies = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    save_file(copies, beside, metadata={"ayar_config": json.dumps(config)})
    beside.replace(path)


def load(path: Path | str) -> tuple[dict[str, torch.Tensor], Configuration]:
    """The tensors and the configuration that ``save`` wrote.

    Raises:
        DataError: There is no such file, or it is damaged, or another program wrote it.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"There is no parameter file {path}. Train first, or check the path.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dict)
    except SafetensorError as error:
        raise DataError(f"{path} is damaged or no safetensors file ({error}). Train again to replace it.") from error
    if "ayar_config" not in metadata:
        raise DataError(f"{path} holds tensors but no configuration: it was not written by Ayar.")
    return tensors, json.loads(metadata["ayar_config"])
