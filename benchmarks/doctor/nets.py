"""Small nets whose every tensor has a leading axis of lanes: many runs as one computation.

A net says the shapes of its tensors and computes its outputs from them. ``x`` is ``(lanes, rows, ...)``; hidden
activations are handed to ``keep(h)``, which applies dropout and may look at them, as ``(lanes, n, units)``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

Keep = Callable[[Tensor], Tensor]


class Net(Protocol):
    """Shapes in, outputs out."""

    rectified: bool
    tables: int  # how many of the first tensors are tables of vectors to look up

    def shapes(self, units: int) -> list[tuple[int, ...]]:
        """Shapes of all tensors without the lanes; a vector is a bias, a matrix multiplies from the right."""
        ...

    def outputs(self, p: list[Tensor], x: Tensor, keep: Keep) -> Tensor:
        """Shape ``(lanes, rows, outputs)``."""
        ...


def layer(x: Tensor, W: Tensor, b: Tensor) -> Tensor:
    """``x @ W + b`` lane by lane, for ``(lanes, n, inputs)``."""
    return torch.baddbmm(b.unsqueeze(1), x, W)


def chain(*widths: int) -> list[tuple[int, ...]]:
    """The shapes of layers from each width to the next."""
    return [shape for a, b in pairwise(widths) for shape in ((a, b), (b,))]


@dataclass(frozen=True)
class Dense:
    """A dense net: ``hidden`` layers of the configuration's units."""

    inputs: int
    classes: int
    hidden: int = 2
    rectified: bool = True
    tables: int = 0

    def shapes(self, units: int) -> list[tuple[int, ...]]:
        """See ``Net``."""
        return chain(self.inputs, *[units] * self.hidden, self.classes)

    def outputs(self, p: list[Tensor], x: Tensor, keep: Keep) -> Tensor:
        """See ``Net``."""
        act = torch.relu if self.rectified else torch.tanh
        for i in range(0, len(p) - 2, 2):
            x = keep(act(layer(x, p[i], p[i + 1])))
        return layer(x, p[-2], p[-1])


@dataclass(frozen=True)
class Conv:
    """Two convolutions of 3 x 3, then a dense layer; ``x`` is ``(lanes, rows, side, side, channels)``."""

    side: int
    channels: int
    classes: int
    stride: int = 3
    rectified: bool = True
    tables: int = 0

    def shapes(self, units: int) -> list[tuple[int, ...]]:
        """See ``Net``."""
        few, last = max(units // 4, 1), (self.side - 3) // self.stride - 1
        return [*chain(9 * self.channels, few), *chain(9 * few, units), *chain(last**2 * units, self.classes)]

    def outputs(self, p: list[Tensor], x: Tensor, keep: Keep) -> Tensor:
        """See ``Net``."""
        lanes, rows = x.shape[:2]
        for i, stride in ((0, self.stride), (2, 1)):
            patches = x.unfold(2, 3, stride).unfold(3, 3, stride)  # (lanes, rows, a, a, channels, 3, 3)
            a = patches.shape[2]
            h = keep(torch.relu(layer(patches.reshape(lanes, rows * a * a, -1), p[i], p[i + 1])))
            x = h.view(lanes, rows, a, a, -1)
        return layer(x.reshape(lanes, rows, -1), p[4], p[5])


@dataclass(frozen=True)
class Frames:
    """Windows of five frames through two dense layers, their mean through a third: a net for short sounds."""

    bands: int
    classes: int
    rectified: bool = True
    tables: int = 0

    def shapes(self, units: int) -> list[tuple[int, ...]]:
        """See ``Net``."""
        return chain(5 * self.bands, units, units, self.classes)

    def outputs(self, p: list[Tensor], x: Tensor, keep: Keep) -> Tensor:
        """See ``Net``."""
        lanes, rows = x.shape[:2]
        windows = x.unfold(2, 5, 3)  # (lanes, rows, places, bands, 5)
        places = windows.shape[2]
        h = keep(torch.relu(layer(windows.reshape(lanes, rows * places, -1), p[0], p[1])))
        h = keep(torch.relu(layer(h, p[2], p[3])))
        return layer(h.view(lanes, rows, places, -1).mean(2), p[4], p[5])


@dataclass(frozen=True)
class Recurrent:
    """Embedded tokens through a gated recurrent layer (one gate); the last state tells."""

    words: int
    classes: int
    rectified: bool = False
    tables: int = 1

    def shapes(self, units: int) -> list[tuple[int, ...]]:
        """See ``Net``."""
        return [(self.words, 8), *chain(8 + units, 2 * units), *chain(units, self.classes)]

    def outputs(self, p: list[Tensor], x: Tensor, keep: Keep) -> Tensor:
        """See ``Net``."""
        e, units = embed(p[0], x), p[3].shape[1]
        h = e.new_zeros(*e.shape[:2], units)
        for t in range(e.shape[2]):
            gate, new = layer(torch.cat([e[:, :, t], h], dim=2), p[1], p[2]).split(units, dim=2)
            h = torch.lerp(h, torch.tanh(new), torch.sigmoid(gate))
        return layer(keep(h), p[3], p[4])


@dataclass(frozen=True)
class Attention:
    """Embedded tokens with places, one block of attention and one dense, both with residuals; the mean tells."""

    words: int
    length: int
    classes: int
    width: int = 16
    rectified: bool = True
    tables: int = 2

    def shapes(self, units: int) -> list[tuple[int, ...]]:
        """See ``Net``."""
        d = self.width
        return [
            (self.words, d),
            (self.length, d),
            *chain(d, 3 * d),
            *chain(d, units),
            *chain(units, d),
            *chain(d, self.classes),
        ]

    def outputs(self, p: list[Tensor], x: Tensor, keep: Keep) -> Tensor:
        """See ``Net``."""
        e = embed(p[0], x) + p[1][:, None]
        lanes, _, length, d = e.shape
        q, k, v = layer(_normed(e).view(lanes, -1, d), p[2], p[3]).view(-1, length, 3 * d).split(d, dim=2)
        seen = torch.bmm(torch.softmax(torch.bmm(q, k.transpose(1, 2)) / d**0.5, dim=2), v)
        e = e + seen.view_as(e)
        h = keep(torch.relu(layer(_normed(e).view(lanes, -1, d), p[4], p[5])))
        e = e + layer(h, p[6], p[7]).view_as(e)
        return layer(_normed(e).mean(2), p[8], p[9])


@dataclass(frozen=True)
class Clicks:
    """Numbers beside embedded categories through a dense net; ``x`` holds the numbers, then the categories."""

    numbers: int
    categories: int
    words: int
    classes: int = 2
    rectified: bool = True
    tables: int = 1

    def shapes(self, units: int) -> list[tuple[int, ...]]:
        """See ``Net``."""
        return [(self.words, 4), *chain(self.numbers + 4 * self.categories, units, units, self.classes)]

    def outputs(self, p: list[Tensor], x: Tensor, keep: Keep) -> Tensor:
        """See ``Net``."""
        e = embed(p[0], x[:, :, self.numbers :].long()).flatten(2)
        h = torch.cat([x[:, :, : self.numbers], e], dim=2)
        for i in (1, 3):
            h = keep(torch.relu(layer(h, p[i], p[i + 1])))
        return layer(h, p[5], p[6])


@dataclass(frozen=True)
class Factors:
    """A user's and a product's vectors, multiplied, and a dense layer on the products."""

    words: int
    classes: int = 2
    rectified: bool = True
    tables: int = 1

    def shapes(self, units: int) -> list[tuple[int, ...]]:
        """See ``Net``."""
        return [(self.words, 16), *chain(48, units), *chain(units, self.classes)]

    def outputs(self, p: list[Tensor], x: Tensor, keep: Keep) -> Tensor:
        """See ``Net``."""
        user, product = embed(p[0], x).unbind(2)
        h = keep(torch.relu(layer(torch.cat([user, product, user * product], dim=2), p[1], p[2])))
        return layer(h, p[3], p[4])


def embed(table: Tensor, tokens: Tensor) -> Tensor:
    """The vectors of whole numbers ``(lanes, ...)`` in each lane's table ``(lanes, words, d)``."""
    lanes, words, d = table.shape
    offset = (torch.arange(lanes) * words).view(-1, *[1] * (tokens.ndim - 1))
    return functional.embedding(tokens + offset, table.reshape(lanes * words, d))


def _normed(x: Tensor) -> Tensor:
    return functional.layer_norm(x, x.shape[-1:])
