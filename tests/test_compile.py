"""First-time compilation: once for many processes, announced only when needed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from store_helpers import FOA, make_info, make_scene

import scenesynth as ss
from scenesynth import jit
from scenesynth.acoustics import arrivals, highpass, measure, noise, octaves, spread_cpu, tail
from scenesynth.acoustics.compile import compile_responses
from scenesynth.render import convolve_kernels
from scenesynth.render.compile import compile_rendering
from scenesynth.render.convolve import (
    Term,
    block_spectra,
    convolve,
    convolve_sum,
    plan,
    response_spectra,
)
from scenesynth.room import decay_kernels
from scenesynth.store import rounding
from scenesynth.store.arrays import encode_scene

# A real kernel with a real cache, but one that takes a second and not ten.
SCRIPT = """
from scenesynth.acoustics import compile
from scenesynth.spatial import ambisonics
compile.compile_responses = lambda: ambisonics.spherical_harmonics([1.0, 0.0, 0.0], 1)
compiled = compile.ensure_compiled(lambda line: print("announced:", line))
ambisonics.spherical_harmonics([1.0, 0.0, 0.0], 1)
stats = ambisonics._harmonics_rows.stats
print("compiled:", compiled, "hits", sum(stats.cache_hits.values()))
"""


def start(script: str, cache: Path, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script],
        env=os.environ | {"SCENESYNTH_CACHE": str(cache), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def outputs(processes: list[subprocess.Popen[str]]) -> list[str]:
    texts = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), texts
    return texts


def test_four_processes_on_an_empty_cache_compile_once(tmp_path: Path) -> None:
    texts = outputs([start(SCRIPT, tmp_path) for _ in range(4)])
    assert sum("announced: compiling kernels" in text for text in texts) == 1
    assert sum("compiled: True" in text for text in texts) == 1
    assert sum("compiled: False hits 1" in text for text in texts) == 3
    later = outputs([start(SCRIPT, tmp_path)])[0]
    assert "announced" not in later
    assert "compiled: False hits 1" in later


@pytest.mark.parametrize("format", ["mono", "foa", "hoa3"])
@pytest.mark.parametrize("sample_rate", [8000, 16000, 32000])
def test_whatever_is_rendered_every_kernel_has_one_signature(format: str, sample_rate: int) -> None:
    """So that nothing is left to compile while scenes are rendered."""
    compile_responses()
    place = {"room_m": (4, 3, 2.5), "source_m": (1, 1, 1.5), "listener_m": (3, 2, 1.2)}
    asked: dict[str, Any] = {"rt60_s": 0.2, "format": format, "sample_rate": sample_rate}
    for highpass_hz in (0.0, 30.0):
        ss.simulate_rir(**place, **asked, highpass_hz=highpass_hz)
    ss.simulate_rir(
        **place, **asked, mode="tail", directivity="speech", displacement_m=0.1, scattering=0.3
    )
    for kernel in (
        arrivals._fill,
        spread_cpu._spread,
        spread_cpu._take_columns,
        spread_cpu._add_bands,
        highpass._filter,
        measure._decays,
        octaves.remaining_broadband,
        octaves.remaining_in_bands,
        decay_kernels.predict,
        decay_kernels.solve,
        decay_kernels.late_moments,
        noise._fill_words,
        noise._fill_starts,
        tail._factor,
        tail._add_noise,
    ):
        assert len(kernel.signatures) == 1


def test_mixing_and_quantising_leave_nothing_to_compile() -> None:
    compile_rendering()
    grid = plan(5_000, 300)
    spectra = response_spectra(grid, [np.ones((4, 200), np.float32), np.ones((4, 300), np.float32)])
    terms = [Term(block_spectra(grid, np.ones(900, np.float32), 7), part[0]) for part in spectra]
    convolve(grid, terms[0])
    convolve_sum(grid, terms)
    info = make_info()
    encode_scene(make_scene(0, info).audio, FOA, info)
    for kernel in (
        convolve_kernels.block_transforms,
        convolve_kernels.channel_transforms,
        convolve_kernels.accumulate,
        convolve_kernels.inverse_of_product,
        convolve_kernels.take_blocks,
        rounding.rounded,
    ):
        assert len(kernel.signatures) == 1


def test_kernels_of_others_are_compiled_under_their_own_mark(tmp_path: Path) -> None:
    script = """
from scenesynth.acoustics import compile
from scenesynth.acoustics.compile import ensure_compiled
compile.compile_responses = lambda: print("responses")
for _ in range(2):
    print(ensure_compiled(None, {"mixing": lambda: print("mixing")}))
"""
    text = outputs([start(script, tmp_path)])[0]
    assert text.split() == ["responses", "mixing", "True", "False"]


def test_a_cache_that_cannot_be_written_is_said_and_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    script = """
from scenesynth.acoustics import compile
compile.compile_responses = lambda: print("responses")
print(compile.ensure_compiled(print))
"""
    text = outputs([start(script, tmp_path / "file")])[0]
    assert "for this process only: cannot write" in text
    assert text.split()[-2:] == ["responses", "True"]


def test_without_any_writable_folder_kernels_compile_in_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """numba raises where neither its cache folder nor the package nor the home can be written."""
    njit = numba.njit

    def refusing(*args: object, cache: bool = False, **options: object) -> object:
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return njit(*args, **options)

    monkeypatch.setattr(numba, "njit", refusing)
    assert jit.kernel(lambda x: x + 1)(2) == 3


def test_the_digest_of_kernels_follows_their_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A changed kernel in any module must not meet old machine code; other modules do not count."""
    kernels, other = tmp_path / "kernels.py", tmp_path / "other.py"
    monkeypatch.setattr(jit, "_PACKAGE", tmp_path)
    digests = []
    for kernel_text, other_text in (("a = 1", "b = 1"), ("a = 1", "b = 2"), ("a = 2", "b = 2")):
        kernels.write_text(f"from scenesynth.jit import kernel\n{kernel_text}")
        other.write_text(other_text)
        digests.append(jit.sources_digest.__wrapped__())
    assert digests[0] == digests[1] != digests[2]
