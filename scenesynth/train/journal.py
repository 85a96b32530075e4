"""What a run tells: a line of JSON per event, a line on the console, TensorBoard where installed.

`metrics.jsonl` of a run that was interrupted is that of one that was not, but for its times: what
was written after the checkpoint from which a run goes on is cut off.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Any, Final

from scenesynth.errors import ConfigError
from scenesynth.store.local import replace

METRICS_FILE: Final = "metrics.jsonl"
BOARD_FOLDER: Final = "tensorboard"

_SHOWN: Final = {
    "loss": "loss {:.4f}",
    "lr": "lr {:.2e}",
    "grad_norm": "grad {:.2f}",
    "windows_per_s": "{:.0f} windows/s",
    "audio_s_per_s": "{:.0f} s of audio/s",
    "data_wait": "waits for data {:.1%}",
    "mfu": "MFU {:.1%}",
    "memory_gb": "{:.1f} GB",
    "doa_mean_deg": "direction {:.1f} deg",
    "random_doa_mean_deg": "random encoder {:.1f}",
    "constant_doa_mean_deg": "constant {:.1f}",
    "lateral_mean_deg": "lateral {:.1f}",
    "random_lateral_mean_deg": "random encoder {:.1f}",
    "constant_lateral_mean_deg": "constant {:.1f}",
    "distance_error": "distance {:.0%}",
    "t60_error": "T60 {:.0%}",
    "class_accuracy": "class {:.0%} right",
}
"""Values on the console, in this order."""


class Journal:
    """Writes what happens in a run; processes other than the first have none."""

    def __init__(self, run: Path, step: int, tell: Callable[[str], None]) -> None:
        """Go on after step `step`."""
        self._path = run / METRICS_FILE
        self._tell = tell
        self._board = _board(run / BOARD_FOLDER, step)
        replace(self._path, "".join(_until(read_metrics(run), step)).encode())

    def write(self, kind: str, step: int, values: Mapping[str, float]) -> None:
        """Note values of one kind ("train", "validation", "probe", ...) after `step` steps."""
        line = {"kind": kind, "step": step} | {name: _plain(v) for name, v in values.items()}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(f"{kind}/{name}", value, step)
        shown = [form.format(values[name]) for name, form in _SHOWN.items() if name in values]
        self._tell(f"step {step:>7,}  {kind:<10}  {', '.join(shown)}")

    def picture(self, name: str, step: int, path: Path) -> None:
        """Show a picture, a PNG file, on TensorBoard."""
        if self._board is not None:
            import matplotlib.image

            self._board.add_image(name, matplotlib.image.imread(path), step, dataformats="HWC")

    def close(self) -> None:
        """Flush what is left."""
        if self._board is not None:
            self._board.close()


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """Lines of a run's `metrics.jsonl`; one that a kill left unfinished, and none, are no error.

    Raises:
        ConfigError: another line is damaged.
    """
    path = run / METRICS_FILE
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    return [_event(path, n, line) for n, line in enumerate(lines, 1) if line.endswith(b"\n")]


def _event(path: Path, number: int, line: bytes) -> dict[str, Any]:
    with suppress(ValueError):  # of JSON and of UTF-8
        found = json.loads(line)
        if isinstance(found, dict) and isinstance(found.get("step"), int) and "kind" in found:
            return found
    raise ConfigError(
        f"{path}: line {number} is damaged; delete that line, or move the file elsewhere to go on "
        f"without what was measured before"
    )


class Meter:
    """Where the time of steps goes, between two lines of the journal."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._began = perf_counter()
        self._waited = 0.0
        self._aside = 0.0
        self._windows = 0
        self._audio_s = 0.0

    def waited(self, seconds: float) -> None:
        """Count time in which no data was there."""
        self._waited += seconds

    def aside(self, seconds: float) -> None:
        """Leave out time that was not spent on steps: validation, probes, checkpoints."""
        self._aside += seconds

    def count(self, windows: int, audio_s: float) -> None:
        """Count what a step has seen, in all processes."""
        self._windows += windows
        self._audio_s += audio_s

    def read(self) -> dict[str, float]:
        """Rates since the last reading."""
        seconds = max(perf_counter() - self._began - self._aside, 1e-9)
        rates = {
            "windows_per_s": self._windows / seconds,
            "audio_s_per_s": self._audio_s / seconds,
            "data_wait": self._waited / seconds,
        }
        self._reset()
        return rates


def _until(lines: Iterable[Mapping[str, Any]], step: int) -> list[str]:
    return [json.dumps(line) + "\n" for line in lines if line["step"] <= step]


def _plain(value: float) -> float | None:
    """JSON has no NaN."""
    return value if math.isfinite(value) else None


def _board(folder: Path, step: int) -> Any:
    if find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=step + 1 if step else None)
