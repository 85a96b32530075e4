"""A user who presses Ctrl-C again and again, in the whole process group as a terminal does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pipeline_helpers import make_clips

from scenesynth.store.reader import open_dataset

SMALL = [
    "--sample-rate",
    "8000",
    "--duration",
    "1",
    "--scenes",
    "4000",
    "--shard-scenes",
    "4",
    "--format",
    "mono",
]


@pytest.mark.usefixtures("compiled_kernels")
@pytest.mark.parametrize("workers", [1, 2])
def test_any_number_of_interrupts_ends_in_good_order(tmp_path: Path, workers: int) -> None:
    out = tmp_path / "out"
    clips = make_clips(tmp_path / "sources", "bell", "dog")
    noise = make_clips(tmp_path / "noise", "hum")
    places = ["--sources", clips, "--noise", noise, "--out", out, "--workers", workers]
    command = [sys.executable, "-m", "scenesynth.cli", "render", *SMALL, *map(str, places)]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        deadline = time.monotonic() + 90
        while not (out / "commits" / "0.json").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        for _ in range(4):
            os.killpg(process.pid, signal.SIGINT)
            time.sleep(0.1)
        _, message = process.communicate(timeout=60)
    assert process.returncode == 75, message
    assert "Traceback" not in message
    assert "give the same command again to go on" in message
    ds = open_dataset(out)
    assert 0 < len([scene.audio for scene in ds]) == len(ds) < 4000
