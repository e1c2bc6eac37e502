"""Which kernels workers are told to use."""

import pytest

from ayar.run.kernels import widest_kernels

FLAGS = "fpu sse4_2 avx2 avx512f avx512dq avx512bw avx512cd avx512vl"


@pytest.mark.parametrize(
    ("vendor", "flags", "expected"),
    [
        ("AuthenticAMD", FLAGS, {"OPENBLAS_CORETYPE": "SkylakeX"}),
        ("AuthenticAMD", "fpu sse4_2 avx2", {}),
        ("GenuineIntel", FLAGS, {}),
    ],
)
def test_only_an_amd_processor_with_avx512_is_told_so(vendor, flags, expected, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.platform", "linux")
    described = f"processor\t: 0\nvendor_id\t: {vendor}\nflags\t\t: {flags}\n\n"
    (tmp_path / "cpuinfo").write_text(described * 2)
    assert widest_kernels(tmp_path / "cpuinfo") == expected


def test_an_unknown_processor_is_left_alone(tmp_path):
    assert widest_kernels(tmp_path / "nothing") == {}
