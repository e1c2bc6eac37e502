"""The recipe of the L-layer net before it is made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ayar.errors import extra
from ayar.folds import Folds
from ayar.nets.data import Data
from ayar.nets.splits import Splits
from ayar.records import Configuration

if TYPE_CHECKING:
    from ayar.nets.recipe import Recipe


@dataclass(frozen=True, eq=False)
class UnmadeDeepNet:
    """``deep_net(data, splits)``, made where it is first used: in the workers, which get the recipe itself.

    A recipe imports PyTorch, which takes a second, and who only hands it on to workers needs nothing of it.

    Attributes:
        data: As for ``ayar.Recipe``.
        splits: As for ``ayar.Recipe``.
        precision: As for ``ayar.Recipe``.

    Raises:
        MissingExtra: PyTorch is not installed.
    """

    data: Data
    splits: Splits | None = None
    precision: str = "highest"

    def __post_init__(self) -> None:
        with extra("torch"):
            if find_spec("torch") is None:
                raise ModuleNotFoundError(name="torch")

    def __reduce__(self) -> tuple[Callable[..., Recipe], tuple[Any, ...]]:
        return _made, (self.data, self.splits, self.precision)

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe."""
        return _made(self.data, self.splits, self.precision)

    @property
    def build(self) -> Callable[..., Any]:
        """What the recipe builds its nets by."""
        return self.recipe.build

    @property
    def folds(self) -> Folds | None:
        """As for the recipe."""
        return None if self.splits is None else self.splits.folds

    @property
    def data_hash(self) -> str | None:
        """As for the recipe."""
        return self.data.content_hash

    def train(
        self, config: Configuration, seed: int, folder: Path | str | None = None, start_step: int = 0
    ) -> Iterator[dict[str, float]]:
        """As the recipe does."""
        return self.recipe.train(config, seed, folder, start_step)

    def lanes(self, at_most: int | None = None) -> Any:
        """As the recipe does."""
        return self.recipe.lanes(at_most)

    def predict(self, folder: Path | str, X: np.ndarray) -> np.ndarray:
        """As the recipe does."""
        return self.recipe.predict(folder, X)


def _made(data: Data, splits: Splits | None, precision: str) -> Recipe:
    from ayar.nets.deep_net import deep_net

    return replace(deep_net(data, splits), precision=precision)
