"""The L-layer net as a recipe.

===============  ======================================================================================
hyperparameter   meaning, and its value where the configuration has none
===============  ======================================================================================
hidden_layers    L, hidden layers; 0 is a linear model (2)
hidden_units     n[1] ... n[L] as a list, or one number for every layer (128)
activation       "relu", "leaky_relu", "gelu", "tanh" or "sigmoid", of the hidden layers ("relu")
dropout          share of hidden units silenced in each training pass (0)
label_smoothing  share of each target spread over all classes while training, in classification (0)
===============  ======================================================================================

and those of ``ayar.nets.optimizers``, ``batch_size`` (64) and ``iterations``.
"""

from __future__ import annotations

from collections.abc import Callable

from ayar.nets.data import Data
from ayar.nets.plain_net import build_deep_net
from ayar.nets.recipe import Recipe
from ayar.nets.spaces import default_space
from ayar.nets.splits import Splits

__all__ = ["build_deep_net", "deep_net", "default_space"]


def deep_net(data: Data | Callable[[], Data], splits: Splits | None = None) -> Recipe:
    """The L-layer net on ``data``, as a recipe that Ayar can train; with ``task.splits``, confirmed on those."""
    return Recipe(build_deep_net, data, splits=splits)
