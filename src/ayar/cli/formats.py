"""Rows as files: CSV, JSON, JSON lines, Parquet; a configuration as TOML."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ayar.errors import extra
from ayar.reports.tables import json_safe


def _csv(rows: Sequence[Mapping[str, Any]]) -> bytes:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: json.dumps(v) if isinstance(v, list | dict) else v for k, v in row.items()} for row in rows)
    return text.getvalue().encode()


def _parquet(rows: Sequence[Mapping[str, Any]]) -> bytes:
    with extra("parquet"):
        import pyarrow as pa
        from pyarrow import parquet
    columns = {name: [row.get(name) for row in rows] for name in dict.fromkeys(name for row in rows for name in row)}
    table = pa.table({name: _one_type(values) for name, values in columns.items()})
    file = io.BytesIO()
    parquet.write_table(table, file)
    return file.getvalue()


def _one_type(values: Sequence[Any]) -> Sequence[Any]:
    """A column's values; as text where they are of several types, or lists."""
    kinds = {type(value) for value in values if value is not None}
    if len(kinds) <= 1 and not kinds & {list, dict}:
        return values
    if kinds == {int, float}:
        return [None if value is None else float(value) for value in values]
    return [None if value is None else json.dumps(value) for value in values]


def _toml(config: Mapping[str, Any]) -> bytes:
    """A configuration as TOML. Its numbers, texts, truths and lists of them are written as in JSON."""
    return "".join(f"{_key(name)} = {json.dumps(value)}\n" for name, value in config.items()).encode()


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name)


FORMATS: dict[str, Callable[[Any], bytes]] = {
    ".csv": _csv,
    ".json": lambda rows: (json.dumps(json_safe(rows), indent=2) + "\n").encode(),
    ".jsonl": lambda rows: "".join(json.dumps(json_safe(row)) + "\n" for row in rows).encode(),
    ".parquet": _parquet,
    ".toml": _toml,
}
"""By a file's ending, what turns rows, or a configuration, into its content."""

TABLES = (".csv", ".json", ".jsonl", ".parquet")
"""The endings of files that hold rows."""
