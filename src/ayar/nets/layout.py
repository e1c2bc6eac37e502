"""Where a plain net's parameters lie in a lane's row of numbers.

Lanes that train together share one layout, so its layers are a little wider than some of their nets need. The units
that are too many stay silent: what goes into them and comes out of them is 0, and so is every slope.

They also make a lane's bits its own. PyTorch's loops go through memory in strides of two vector registers and treat
the remainder one by one, where the last bit may differ. Widths and rows are rounded up so that each lane has whole
strides, wherever it lies and whatever trains beside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor

STRIDE = 32  # two of the widest vector registers, of 32-bit numbers
WIDTHS = (16, 32, 64, 96)  # narrower layers are rounded up to these, for sharing a step is worth more than the zeros
HIDDEN, OUTPUTS, ROWS = 16, 4, 8  # wider layers, outputs and mini-batches are rounded up to multiples of these
SILENT_SIGMOID = -1e4  # a bias for which sigmoid is exactly 0
SILENT_OUTPUT = -1e9  # a logit that no softmax hears


@dataclass(frozen=True)
class Layout:
    """First all W[l], then all b[l]. Those of hidden layers lie with the units of the layer before as their rows.

    Lying so, products with the inputs of a layer are of the kind that libraries multiply quickest.

    Attributes:
        sizes: Inputs, units of each hidden layer, outputs.
    """

    sizes: tuple[int, ...]

    @classmethod
    def around(cls, sizes: tuple[int, ...]) -> Layout:
        """The layout of nets with these layers, rounded up.

        >>> Layout.around((5, 20, 3)).sizes
        (5, 32, 4)
        """
        n_inputs, *hidden, n_outputs = sizes
        widths = [next((w for w in WIDTHS if n <= w), _up(n, HIDDEN)) for n in hidden]
        return cls((n_inputs, *widths, n_outputs if n_outputs == 1 else _up(n_outputs, OUTPUTS)))

    @property
    def n_weights(self) -> int:
        """Columns that hold an entry of some W[l]."""
        return sum(n_in * n_out for n_in, n_out in pairwise(self.sizes))

    @property
    def width(self) -> int:
        """Columns of the row."""
        return _up(self.n_weights + sum(self.sizes[1:]), STRIDE)

    def weights(self, rows: Tensor) -> list[Tensor]:
        """Views of W[1], W[2], ... in rows of shape ``(k, width)``: ``(k, n[l], n[l-1])`` each."""
        *hidden, outputs = pairwise(self.sizes)
        views = _views(rows, 0, [*hidden, outputs[::-1]])
        return [*(W.mT for W in views[:-1]), views[-1]]

    def biases(self, rows: Tensor) -> list[Tensor]:
        """Views of b[1], b[2], ... in rows of shape ``(k, width)``: ``(k, 1, n[l])`` each."""
        return _views(rows, self.n_weights, [(1, n_out) for n_out in self.sizes[1:]])

    def parts(self, row: Tensor, sizes: tuple[int, ...]) -> list[Tensor]:
        """Views of W[1], b[1], W[2], b[2], ... of a net with layers of these ``sizes`` in its row."""
        rows = row.unsqueeze(0)
        views = []
        for W, b, n_in, n_out in zip(self.weights(rows), self.biases(rows), sizes, sizes[1:], strict=False):
            views += [W[0, :n_out, :n_in], b[0, 0, :n_out]]
        return views

    def silent(self, like: Tensor, sizes: tuple[int, ...], activation: str) -> Tensor:
        """A row for a net whose surplus units are not heard; the others are to be filled in."""
        row = like.new_zeros(self.width)
        if self.sizes != sizes:
            *hidden, outputs = self.biases(row.unsqueeze(0))
            for b, n in zip(hidden, sizes[1:], strict=False):
                b[..., n:] = SILENT_SIGMOID if activation == "sigmoid" else 0.0
            outputs[..., sizes[-1] :] = SILENT_OUTPUT
        return row


def rows_for(n: int) -> int:
    """Rows that a mini-batch of ``n`` takes up; those after the n-th are computed and ignored.

    >>> rows_for(32), rows_for(26)
    (32, 32)
    """
    return _up(n, ROWS)


def _views(rows: Tensor, start: int, shapes: Sequence[tuple[int, int]]) -> list[Tensor]:
    views = []
    for shape in shapes:
        n = math.prod(shape)
        views.append(rows[:, start : start + n].view(len(rows), *shape))
        start += n
    return views


def _up(n: int, multiple: int) -> int:
    return -(-n // multiple) * multiple
