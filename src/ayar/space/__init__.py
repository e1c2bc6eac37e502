"""Spaces of hyperparameters: ranges, scales, conditions; configurations as points of the unit cube and back."""

from ayar.space.grid import Grid
from ayar.space.hyperparameters import Choice, Float, Hyperparameter, Int, PerLayer, Scalar, When
from ayar.space.space import Space

__all__ = ["Choice", "Float", "Grid", "Hyperparameter", "Int", "PerLayer", "Scalar", "Space", "When"]
