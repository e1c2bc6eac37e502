"""Arrays that are too large to be read at once: mapped from the file where they lie, or from one in the user's cache.

An ``.npz`` file is a zip archive. An array that was stored in it as it is can be mapped in place. One that is
compressed, or of numbers that no net takes, is written out once, some rows at a time.
"""

from __future__ import annotations

import hashlib
import math
import mmap
import os
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import psutil

from ayar.errors import DataError
from ayar.nets.cache import cache_folder

SHARE = 0.1
"""Of the memory that is free; a larger array is mapped, for making a task of it takes about four times its size."""

PIECE_BYTES = 2**26
"""Of rows that are in memory at a time."""

_LOCAL_HEADER, _LENGTHS = (
    30,
    (26, 28),
)  # of a zip member; where it says how long name and extra field are (APPNOTE 4.3.7)

Rows = Callable[[np.ndarray], np.ndarray]


def is_large(n_bytes: float) -> bool:
    """Whether an array of so many bytes is to be mapped instead of read."""
    return bool(n_bytes > SHARE * psutil.virtual_memory().available)


def pieces(count: int, row_bytes: int) -> Iterator[slice]:
    """``count`` rows as consecutive runs of about ``PIECE_BYTES``."""
    step = max(1, PIECE_BYTES // max(1, row_bytes))
    return (slice(start, min(start + step, count)) for start in range(0, count, step))


@dataclass(frozen=True, slots=True)
class Member:
    """An array in an ``.npz`` file.

    Attributes:
        path: The file.
        name: The array's.
        shape: Its shape.
        dtype: Of its numbers.
        by_columns: Whether the numbers of a column lie together instead of those of a row.
        is_stored: Whether they are not compressed.
        offset: Where in the file they begin; means nothing where they are compressed.
    """

    path: Path
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    by_columns: bool
    is_stored: bool
    offset: int

    @classmethod
    def of(cls, path: Path, name: str) -> Member:
        """What the file says of its array of this name; ValueError where it is no plain array."""
        with zipfile.ZipFile(path) as archive, path.open("rb") as file:
            info = archive.getinfo(f"{name}.npy")
            with archive.open(info) as member:
                shape, by_columns, dtype = _header(member)
                offset = member.tell()
            is_stored = info.compress_type == zipfile.ZIP_STORED
            if is_stored:
                file.seek(info.header_offset)
                header = file.read(_LOCAL_HEADER)
                lengths = (int.from_bytes(header[at : at + 2], "little") for at in _LENGTHS)
                offset += info.header_offset + _LOCAL_HEADER + sum(lengths)
        return cls(path, name, shape, dtype, by_columns, is_stored, offset)

    @property
    def n_bytes(self) -> int:
        """Of all its numbers."""
        return math.prod(self.shape) * self.dtype.itemsize

    def mapped(self, as_numbers: Rows) -> np.ndarray:
        """Its rows as ``as_numbers`` makes them, mapped; in place where that leaves them as they are.

        Raises:
            DataError: A column's numbers lie together, so that rows cannot be read one after the other.
        """
        if self.by_columns:
            raise DataError(
                f"{self.name} in {self.path.name} does not fit into memory and lies column by column. "
                f"Save numpy.ascontiguousarray({self.name})."
            )
        like = as_numbers(np.empty((0, *self.shape[1:]), self.dtype))
        shape = (self.shape[0], *like.shape[1:])
        if self.is_stored and like.dtype == self.dtype:
            return np.memmap(self.path, self.dtype, "r", self.offset, shape)
        stat = self.path.stat()
        what = f"{self.path.absolute()} {stat.st_size} {stat.st_mtime_ns} {self.name} {like.dtype}"
        return kept(f"{self.path.stem}-{self.name}", what, shape, like.dtype, self._rows(as_numbers))

    def _rows(self, as_numbers: Rows) -> Iterator[np.ndarray]:
        row_bytes = self.n_bytes // max(1, self.shape[0])
        with zipfile.ZipFile(self.path) as archive, archive.open(f"{self.name}.npy") as member:
            _header(member)
            for part in pieces(self.shape[0], row_bytes):
                n = part.stop - part.start
                numbers = np.frombuffer(member.read(n * row_bytes), self.dtype)
                yield as_numbers(numbers.reshape(n, *self.shape[1:]))


def _header(member: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether it lies column by column, and dtype; leaves the file where the numbers begin."""
    version = np.lib.format.read_magic(member)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    header: tuple[tuple[int, ...], bool, np.dtype[Any]] = read(member)
    return header


def kept(name: str, what: str, shape: tuple[int, ...], dtype: np.dtype[Any], rows: Iterator[np.ndarray]) -> np.ndarray:
    """An array in a file of the user's cache, mapped; written there from its ``rows`` unless it is there already.

    Args:
        name: Begins the file's name.
        what: Equal for the same numbers.
        shape: Of the array.
        dtype: Of its numbers.
        rows: Its rows, some at a time.
    """
    folder = cache_folder() / "data"
    path = folder / f"{name}-{hashlib.sha256(what.encode()).hexdigest()[:16]}.npy"
    if not path.exists():
        size = math.prod(shape) * dtype.itemsize / 1e9
        print(f"{name} does not fit into memory: writing {size:.1f} GB to {path}", file=sys.stderr)
        folder.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(f".{os.getpid()}.tmp")
        try:
            with beside.open("wb") as file:  # written, not mapped: a full disk is an error there, and here the end
                described = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(file, described)
                for some in rows:
                    file.write(np.ascontiguousarray(some, dtype).tobytes())
            beside.replace(path)
        except OSError as error:
            raise DataError(f"{path} cannot be written ({error}). Make room, or set XDG_CACHE_HOME.") from error
        finally:
            beside.unlink(missing_ok=True)
    mapped: np.ndarray = np.load(path, mmap_mode="r")
    return mapped


@dataclass(frozen=True, slots=True)
class Mapped:
    """A mapped array as another process can map it, too: what is pickled in its place."""

    path: str
    dtype: np.dtype[Any]
    offset: int
    shape: tuple[int, ...]

    @classmethod
    def instead_of(cls, value: object) -> object:
        """A ``Mapped`` in the place of an array that is mapped as a whole; any other value as it is."""
        if isinstance(value, np.memmap) and isinstance(value.base, mmap.mmap) and value.flags.c_contiguous:
            return cls(str(Path(value.filename).absolute()), value.dtype, value.offset, value.shape)
        return value

    def opened(self) -> np.ndarray:
        """The array."""
        try:
            return np.memmap(self.path, self.dtype, "r", self.offset, self.shape)
        except (OSError, ValueError) as error:
            raise DataError(f"{self.path}, from which data was mapped, is gone or shorter now: {error}.") from error
