"""What a result rests on: hardware, software, code and data as they were.

Only what can move a result is written down; no environment variable, no user name, no path.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

GROUPS = ("hardware", "software", "code", "data")
"""The groups of a fingerprint, in the order in which changes are told."""

FRAMEWORKS = ("torch", "tensorflow", "keras", "jax", "flax", "lightning", "transformers", "scikit-learn", "xgboost")
"""What trains: another minor version of it may train otherwise."""

_DISTRIBUTIONS = ("ayar", "numpy", "scipy", *FRAMEWORKS)
_PATIENCE_S = 10.0  # for git and nvidia-smi, which may hang on a sick network drive or driver


def fingerprint(
    data: str | Mapping[str, Any] | None = None,
    code: Callable[..., object] | Sequence[str] | None = None,
    precision: str | None = None,
) -> dict[str, dict[str, Any]]:
    """Hardware, software, code and data as they are now; JSON-safe.

    Args:
        data: A hash of the data's content and split, or what else is known of it, by name.
        code: The training. Its own source is hashed; what it calls is covered by the commit it lies in. Of a
            command, its words, the files that they name are hashed.
        precision: That of products of matrices, where it is not full.

    Returns:
        Group -> field -> value, with a further group ``"sha256"``: group -> hash of its canonical JSON. What
        cannot be found out is left out.
    """
    groups = {
        "hardware": _known(_hardware()),
        "software": _known({**_software(), "matmul_precision": precision}),
        "code": _known(_code(code)),
        "data": _known(data if isinstance(data, Mapping) else {"content": data}),
    }
    return {**groups, "sha256": {group: _sha256(_canonical(fields)) for group, fields in groups.items()}}


def changes(old: Mapping[str, Mapping[str, Any]], new: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What differs between two fingerprints, one line each, in the order of ``GROUPS``.

    >>> changes({"software": {"torch": "2.4.0"}}, {"software": {"torch": "2.5.1", "scipy": "1.17.0"}})
    ['software: scipy was unknown, is 1.17.0', 'software: torch was 2.4.0, is 2.5.1']
    """
    lines = []
    for group in GROUPS:
        before, after = old.get(group, {}), new.get(group, {})
        for name in sorted({*before, *after}):
            was, now = before.get(name), after.get(name)
            if was != now:
                lines.append(f"{group}: {name} was {_words(was)}, is {_words(now)}")
    return lines


def _hardware() -> dict[str, Any]:
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "memory_gib": _memory_gib(),
        "gpus": _gpus(),
        "precision": _precision(),
    }


def _cpu_model() -> str | None:
    listing = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*:\s*(.+)$", listing.read_text(), re.MULTILINE) if listing.exists() else None
    return found[1].strip() if found else platform.processor() or platform.machine() or None


def _memory_gib() -> float | None:
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return None
    return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)


def _gpus() -> list[str]:
    """Model, memory and driver of each NVIDIA GPU, as its driver tells them: asking torch would take seconds."""
    listing = _output("nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader")
    return listing.splitlines() if listing else []


def _precision() -> str | None:
    """How exactly PyTorch computes, where it is in use: its default type, matrix products, deterministic or not."""
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "get_float32_matmul_precision"):
        return None
    exact = ", deterministic" * torch.are_deterministic_algorithms_enabled()
    default = str(torch.get_default_dtype()).removeprefix("torch.")
    return f"{default}, products {torch.get_float32_matmul_precision()}{exact}"


def _software() -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        **{name: _installed(name) for name in _DISTRIBUTIONS},
        "cuda": getattr(getattr(sys.modules.get("torch"), "version", None), "cuda", None),
    }


def _installed(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _code(code: Callable[..., object] | Sequence[str] | None) -> dict[str, Any]:
    folder = Path.cwd()
    fields: dict[str, Any] = {}
    if isinstance(code, Sequence):
        files = [Path(word) for word in code if Path(word).is_file()]
        fields["name"] = " ".join(code)
        fields["source"] = _sha256(" ".join(hashlib.sha256(file.read_bytes()).hexdigest() for file in files))
        folder = files[-1].absolute().parent if files else folder
    elif code is not None:
        target = _defined(code)
        fields["name"] = f"{target.__module__}.{target.__qualname__}"
        try:
            fields["source"] = _sha256(inspect.getsource(target))
            folder = Path(inspect.getfile(target)).absolute().parent
        except (OSError, TypeError):  # typed at a prompt, or written in C
            return fields
    if not folder.is_dir():  # a notebook's cell has a file name without a file
        return fields
    fields["commit"] = _output("git", "-C", str(folder), "rev-parse", "HEAD")
    if fields["commit"] is not None:
        fields["dirty"] = _output("git", "-C", str(folder), "status", "--porcelain", "--untracked-files=no") != ""
    return fields


def _defined(code: Callable[..., object]) -> Any:
    """What was written down: the function within wrappers, the class of an object that can be called."""
    while isinstance(code, functools.partial):
        code = code.func
    code = inspect.unwrap(code)
    return code if hasattr(code, "__qualname__") else type(code)


def _output(program: str, *arguments: str) -> str | None:
    """What a program prints; None where it is missing, fails or hangs."""
    path = shutil.which(program)
    if path is None:
        return None
    try:
        # No shell is involved, and the arguments are those written above.
        run = subprocess.run([path, *arguments], capture_output=True, text=True, timeout=_PATIENCE_S, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None
    return run.stdout.strip()


def _known(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _canonical(fields: Mapping[str, Any]) -> str:
    return json.dumps(fields, sort_keys=True, separators=(",", ":"))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _words(value: Any) -> str:
    """A value as a line can hold it: the start of a hash, the members of a list."""
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return " and ".join(map(str, value)) or "none"
    return value[:8] if isinstance(value, str) and re.fullmatch(r"[0-9a-f]{40,}", value) else str(value)
