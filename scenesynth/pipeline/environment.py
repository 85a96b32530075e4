"""What of this machine and installation decides the bytes of a rendering."""

from __future__ import annotations

import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

BYTE_PACKAGES: Final = ("numpy", "scipy", "numba", "soxr", "soundfile", "numcodecs", "pyarrow")
"""Packages whose versions may change samples or the bytes that hold them."""

_X86_LEVELS: Final = (
    ("x86-64-v4", {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}),
    ("x86-64-v3", {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe"}),
    ("x86-64-v2", {"cx16", "popcnt", "sse4_1", "sse4_2", "ssse3"}),
)


def package_versions(backend: str = "cpu") -> dict[str, str]:
    """Versions of the packages that decide bytes, by name.

    torch, which may be on the nodes alone, is named without its build.
    """
    names = BYTE_PACKAGES if backend == "cpu" else (*BYTE_PACKAGES, "torch")
    return {name: _version(name) for name in names}


@cache
def _version(name: str) -> str:
    # What this process has imported does not change, and the installer's record is slow to read.
    try:
        return version(name).partition("+")[0]
    except PackageNotFoundError:
        return "not installed"


def cpu_level() -> str:
    """Instruction set level that compiled kernels use, such as "x86-64-v3".

    The machine's name where the level cannot be told (another architecture or system).
    """
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.machine()
    return x86_level(text) or platform.machine()


def x86_level(cpuinfo: str) -> str | None:
    """Level in the x86-64 psABI of a `/proc/cpuinfo`; None where it lists no x86 flags."""
    line = next((line for line in cpuinfo.splitlines() if line.startswith("flags")), None)
    if line is None:
        return None
    flags = set(line.partition(":")[2].split())
    levels = []
    for name, needed in reversed(_X86_LEVELS):
        if not needed <= flags:
            break
        levels.append(name)
    return levels[-1] if levels else "x86-64-v1"
