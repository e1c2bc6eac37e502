"""Runs that Weights & Biases recorded offline: files ``run-ID.wandb`` in folders ``offline-run-...``. Needs no package.

Such a file is a log in blocks, as LevelDB writes it (https://github.com/google/leveldb/blob/main/doc/log_format.md), of
Protocol Buffers messages (https://protobuf.dev/programming-guides/encoding/, ``wandb/proto/wandb_internal.proto``).
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ayar.errors import NotInLedger
from ayar.integrations.history import History, Past, counted_from_one, numbers, scalars, unreadable

MAGIC = b":W&B"
_HEADER = 7  # bytes before the first record, and of the head of each piece of a record
_BLOCK = 32768
_WHOLE, _LAST = 1, 4

# Numbers of fields in wandb_internal.proto
_HISTORY, _CONFIG, _RUN, _EXIT = 2, 5, 17, 18
_CONFIG_OF_RUN, _UPDATE, _ITEM, _EXIT_CODE = 4, 1, 1, 1
_KEY, _NESTED_KEY, _VALUE = 1, 2, 16


def files(place: Path) -> list[Path]:
    """The runs in a file or folder, oldest first; that which ``latest-run`` points to is not counted twice."""
    found = [place] if place.is_file() else sorted(place.glob("**/run-*.wandb"))
    return list({path.resolve(): path for path in found}.values())


def read(place: Path) -> History:
    """The runs in a folder, or the one in a file.

    Raises:
        LedgerError: A file in it can't be read.
        NotInLedger: It holds no run.
    """
    runs = files(place)
    if not runs:
        raise NotInLedger(f"{place} holds no offline run of W&B: no folder in it has a file run-ID.wandb.")
    return History(place.stem, counted_from_one([_past(path) for path in runs]))


def _past(path: Path) -> Past:
    config: dict[str, Any] = {}
    rows: list[dict[str, float]] = []
    code: int | None = None
    seconds = 0.0
    try:
        for record in _records(path.read_bytes()):
            for number, value in _fields(record):
                if number == _RUN:
                    config |= {
                        k: v for n, part in _fields(value) if n == _CONFIG_OF_RUN for k, v in _items(part).items()
                    }
                elif number == _CONFIG:
                    config |= _items(value)
                elif number == _HISTORY:
                    told = _items(value)
                    own = {name: each for name, each in told.items() if not name.startswith("_")}
                    spent = float(told.get("_runtime", seconds))
                    step, cost_s = int(told.get("_step", len(rows))), max(0.0, spent - seconds)
                    seconds = spent
                    rows.append({**numbers(own), "step": step, "cost_s": cost_s})
                elif number == _EXIT:
                    code = next((each for n, each in _fields(value) if n == _EXIT_CODE), 0)
    except (ValueError, IndexError, struct.error) as error:
        raise unreadable(path, "an offline run of W&B", error) from error
    own = {name: value for name, value in config.items() if not name.startswith("_")}
    return Past(scalars(own), rows, f"exit status {code} in W&B" if code else None, ended=code is not None)


def _records(data: bytes) -> Iterator[bytes]:
    """The records of a log; one that was cut off at its end was being written when the run died."""
    if not data.startswith(MAGIC):
        raise ValueError("it does not begin like one")
    at, record = _HEADER, b""
    while at + _HEADER <= len(data):
        if _BLOCK - at % _BLOCK < _HEADER:
            at += _BLOCK - at % _BLOCK
            continue
        checksum, length, kind = struct.unpack_from("<IHB", data, at)
        piece = data[at + _HEADER : at + _HEADER + length]
        if len(piece) < length:
            return
        if zlib.crc32(bytes([kind]) + piece) != checksum:
            raise ValueError(f"byte {at} begins a record whose checksum is wrong")
        at += _HEADER + length
        record += piece
        if kind in (_WHOLE, _LAST):
            yield record
            record = b""


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """The fields of a message by number: bytes for texts and messages, whole numbers for the rest."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, form = key >> 3, key & 7
        if form == 0:
            value, at = _varint(message, at)
            yield number, value
            continue
        length, at = (8, at) if form == 1 else (4, at) if form == 5 else _varint(message, at)
        yield number, message[at : at + length]
        at += length


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value, shift, at = value | (byte & 127) << shift, shift + 7, at + 1
        if byte < 128:
            return value, at


def _items(message: bytes) -> dict[str, Any]:
    """Names and values of ``config.update`` or ``history.item``; parts of a nested name are joined by dots."""
    found = {}
    for number, item in _fields(message):
        if number == _ITEM == _UPDATE:
            fields = list(_fields(item))
            parts = [part.decode() for n, part in fields if n in (_KEY, _NESTED_KEY)]
            found[".".join(filter(None, parts))] = json.loads(next(value for n, value in fields if n == _VALUE))
    return found
