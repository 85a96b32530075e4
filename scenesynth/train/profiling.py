"""A trace of some steps, for chrome://tracing or Perfetto."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch
from torch import profiler

TRACE_FILE: Final = "trace.json"
_BEFORE: Final = 3
"""Steps that are not recorded: the first ones allocate and compile."""


@contextmanager
def profiled(run: Path, steps: int) -> Iterator[Callable[[], None]]:
    """Record `steps` steps into the folder of a run; the value is to be called after each step."""
    if not steps:
        yield _nothing
        return
    activities = [profiler.ProfilerActivity.CPU]
    if torch.cuda.is_available():
        activities.append(profiler.ProfilerActivity.CUDA)

    def write(trace: Any) -> None:
        trace.export_chrome_trace(str(run / TRACE_FILE))

    plan = profiler.schedule(wait=_BEFORE - 1, warmup=1, active=steps, repeat=1)
    with profiler.profile(activities=activities, schedule=plan, on_trace_ready=write) as recorder:
        yield recorder.step


def _nothing() -> None:
    pass
