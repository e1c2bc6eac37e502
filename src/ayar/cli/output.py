"""Printing: words for people, JSON for programs."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import Any

from ayar.errors import AyarError
from ayar.reports.tables import json_safe


def say(text: str) -> None:
    """Print text for a person; what the terminal's encoding lacks, a curve's dots say, becomes question marks."""
    line = text.rstrip("\n") + "\n"
    try:
        sys.stdout.write(line)
    except UnicodeEncodeError:
        encoding = sys.stdout.encoding
        sys.stdout.write(line.encode(encoding, "replace").decode(encoding))


def coloured() -> bool:
    """Whether colours can be seen: on a terminal, unless NO_COLOR is set."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def say_json(value: Any) -> None:
    """Print JSON for a program; what isn't finite becomes null, records become objects."""
    sys.stdout.write(json.dumps(json_safe(_plain(value)), indent=2) + "\n")


def write(path: str, content: bytes, what: str) -> None:
    """Write a file; the message calls it ``what``.

    Raises:
        AyarError: It can't be written.
    """
    try:
        Path(path).write_bytes(content)
    except OSError as error:
        raise AyarError(f"{what} can't be written to {path}: {error.strerror}. Name another place.") from error


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
