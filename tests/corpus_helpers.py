"""Small corpora on disk for the corpus tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from scenesynth.corpus.clips import Clip

SHARES = {"train": 0.7, "valid": 0.15, "test": 0.15}


def tone(freq_hz: float = 440.0, seconds: float = 0.3, rate: int = 16000) -> NDArray[np.float32]:
    """A sine of amplitude 0.5. Shape: [n]."""
    t = np.arange(round(seconds * rate)) / rate
    return (0.5 * np.sin(2 * np.pi * freq_hz * t)).astype(np.float32)


def write(path: Path, audio: NDArray[np.float32], rate: int = 16000, subtype: str = "") -> Path:
    """Write samples [n] or [n, channels]."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, audio, rate, subtype=subtype or None)
    return path


def small_folder(root: Path, n: int = 12) -> Path:
    """`n` tones in the sub-folders a, b and c."""
    for k in range(n):
        write(root / "abc"[k % 3] / f"tone{k}.wav", tone(200.0 + 37.0 * k))
    return root


def clip(name: str, labels: tuple[str, ...] = ("x",), group: str = "", **more: object) -> Clip:
    """A clip that needs no file."""
    fields: dict[str, object] = {
        "id": name,
        "path": f"{name}.wav",
        "labels": labels,
        "split": None,
        "group": group or name,
        "fold": "",
        "licence": "",
        "attribution": "",
        "url": "",
        "caption": "",
        "sample_rate": 16000,
        "channels": 1,
        "n_frames": 16000,
        "digest": f"digest of {name}",
        "file_digest": "",
        "peak": 0.5,
        "rms": 0.1,
        "active_start_s": 0.0,
        "active_end_s": 1.0,
    }
    return Clip(**(fields | more))  # type: ignore[arg-type]
