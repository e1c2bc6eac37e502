"""Which kernels a worker's linear algebra uses."""

from __future__ import annotations

import sys
from pathlib import Path

_AVX512 = frozenset({"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"})
_CPUINFO = Path("/proc/cpuinfo")


def widest_kernels(cpuinfo: Path = _CPUINFO) -> dict[str, str]:
    """Environment in which OpenBLAS, NumPy's usual library, uses AVX-512 where an AMD processor has it.

    By itself it takes some of them for processors without, and multiplies at half their speed. It reads the variable
    when it is loaded, so it can only be set for a process that is yet to start.
    """
    try:
        lines = cpuinfo.read_text(encoding="utf-8").splitlines() if sys.platform == "linux" else []
    except OSError:
        return {}
    first = {name.strip(): value.split() for name, _, value in (line.partition(":") for line in reversed(lines))}
    has_them = first.get("vendor_id") == ["AuthenticAMD"] and set(first.get("flags", ())) >= _AVX512
    return {"OPENBLAS_CORETYPE": "SkylakeX"} if has_them else {}
