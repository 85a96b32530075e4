"""First-time compilation of the kernels: announced, cached on disk, once for many processes.

A kernel compiles when it is first called. `ensure_compiled` makes those calls on tiny inputs with
the production signatures, under a file lock, and leaves a mark in the cache folder; the next
process sees the mark and does nothing. The mark belongs to the kernels' source text, the versions
of Python, numba and numpy, and the processor.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import itertools
import platform
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import llvmlite.binding  # type: ignore[import-untyped]
import numba
import numpy as np

from scenesynth.acoustics.receivers import receiver_of
from scenesynth.acoustics.response import shoebox_response
from scenesynth.jit import kernel_cache, sources_digest
from scenesynth.room.decay import absorption_for_t60, response_length_s
from scenesynth.room.model import Air, Room
from scenesynth.scene.spec import Mode
from scenesynth.spatial.ambisonics import spherical_harmonics
from scenesynth.spatial.formats import parse_format

WarmUp = Callable[[], object]


def ensure_compiled(
    announce: Callable[[str], None] | None = None,
    warm_ups: Mapping[str, WarmUp] | None = None,
) -> bool:
    """Compile every kernel of responses, unless a process has done so before.

    Many processes may call this at once: one compiles, the others wait and load from the cache.
    Where the cache folder cannot be written, each process compiles for itself in memory.

    Args:
        announce: called with one line before a compilation, and not otherwise.
        warm_ups: further kernels to compile, as calls on tiny inputs under a name of their own
            (rendering hands in its own).

    Returns:
        Whether anything was compiled.
    """
    calls = {"acoustics": compile_responses, **(warm_ups or {})}
    say = announce or (lambda _: None)
    folder = kernel_cache()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("a")
    except OSError as error:
        say(f"compiling kernels for this process only: cannot write {folder} ({error.strerror})")
        _run(calls)
        return True
    with lock:
        if not _missing(folder, calls):
            return False
        with _locked(lock.fileno()):
            missing = _missing(folder, calls)
            if not missing:
                return False
            say(f"compiling kernels, once for this machine: about a minute (cache: {folder})")
            for name, call in missing.items():
                call()
                _mark(folder, name).touch()
    return True


def compile_responses() -> None:
    """Call every kernel of rooms, of `shoebox_response` in all modes, of directions and of ears."""
    absorption_for_t60((3.0, 3.0, 3.0), (0.1,), (1000.0,), Air())
    room = Room(
        id="warm-up",
        size_m=(3.0, 3.0, 3.0),
        band_hz=(1000.0, 2000.0),
        absorption=((0.5, 0.5),) * 6,
    )
    response_length_s(room, Air())
    modes: tuple[Mode, ...] = ("full", "tail")
    for name, mode in itertools.product(("mono", "foa", "hoa2"), modes):
        shoebox_response(
            room=room,
            air=Air(),
            source_m=(1.0, 1.0, 1.0),
            listener_m=(2.0, 2.0, 2.0),
            rotation=np.eye(3),
            format=parse_format(name),
            sample_rate=8000,
            length_s=0.05,
            mode=mode,
            mixing_time_s=0.03,
        )
    spherical_harmonics([1.0, 0.0, 0.0], 1)
    ears = receiver_of(parse_format("binaural"), None, 1, 8000, Air())
    ears.mixed(np.zeros((4, 64), np.float32))


def _run(calls: Mapping[str, WarmUp]) -> None:
    for call in calls.values():
        call()


def _missing(folder: Path, calls: Mapping[str, WarmUp]) -> dict[str, WarmUp]:
    return {name: call for name, call in calls.items() if not _mark(folder, name).exists()}


def _mark(folder: Path, name: str) -> Path:
    llvm = llvmlite.binding
    machine = (
        sources_digest(),
        platform.python_version(),
        numba.__version__,
        np.__version__,
        llvm.get_host_cpu_name(),
        llvm.get_host_cpu_features().flatten(),
    )
    digest = hashlib.sha256("\n".join(machine).encode()).hexdigest()[:16]
    return folder / f"compiled-{name}-{digest}"


@contextlib.contextmanager
def _locked(descriptor: int) -> Iterator[None]:
    """Hold an exclusive lock; the kernel of the system drops it if this process dies."""
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
