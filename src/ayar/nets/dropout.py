"""Dropout whose masks follow from the seed and the epoch alone, so that a lane draws what a trial alone draws.

PyTorch's own dropout takes its random numbers from one global stream, call by call. Here they come from a stream of
the epoch's own, 16 bits for each unit, in the order of the calls; the bits of many calls can be drawn at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

_PER_WORD = 4  # decisions of 16 bits in one word of the generator
_MASKS = 1  # tells this stream apart from others of the same seed and epoch


class Masks:
    """The random bits of one epoch of one trial, in the order in which dropout asks for them."""

    def __init__(self, seed: int, epoch: int) -> None:
        self._generator = np.random.SFC64(np.random.SeedSequence((seed, epoch, _MASKS)))

    def draw(self, times: int, units: Sequence[int]) -> list[np.ndarray]:
        """The bits of the next ``times`` rounds of calls, each for so many ``units``.

        One int16 array of shape ``(times, units)`` for each call of a round.
        """
        ends = np.cumsum([-(-n // _PER_WORD) for n in units])
        drawn = self._generator.random_raw(times * int(ends[-1])).view(np.int16).reshape(times, -1)
        starts = [0, *(_PER_WORD * ends[:-1]).tolist()]
        return [drawn[:, start : start + n] for start, n in zip(starts, units, strict=True)]


def fill(factors: np.ndarray, bits: np.ndarray, share: float) -> None:
    """Fill ``factors`` with what dropout multiplies each unit by: 0, or ``1 / (1 - share)``.

    >>> factors = np.zeros(3)
    >>> fill(factors, np.array([-2000, 0, 2000], dtype=np.int16), share=0.5)
    >>> factors.tolist()
    [0.0, 2.0, 2.0]
    """
    least = min(round(share * 2**16) - 2**15, 2**15 - 1)
    np.multiply(bits >= least, factors.dtype.type(1 / (1 - share)), out=factors)


def dropout(a: Tensor, share: float, training: bool = True) -> Tensor:
    """Silence ``share`` of the units of ``a`` and scale the rest up by as much; nothing outside training.

    Inside ``masks_of`` the units follow from its seed and epoch, elsewhere from torch's random numbers.
    """
    if not training or share == 0:
        return a
    if _current is None:
        return nn.functional.dropout(a, share)
    factors = np.empty(a.shape, dtype=np.float64)
    fill(factors, _current.draw(1, [a.numel()])[0].reshape(a.shape), share)
    return a * torch.from_numpy(factors).to(a)


@contextmanager
def masks_of(seed: int, epoch: int) -> Iterator[Masks]:
    """Inside, ``dropout`` draws the masks of this epoch, from its first batch on."""
    global _current  # noqa: PLW0603 - the net that is trained cannot be handed anything but its inputs
    before, _current = _current, Masks(seed, epoch)
    try:
        yield _current
    finally:
        _current = before


_current: Masks | None = None
