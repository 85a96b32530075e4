"""How far the directions that previews estimate from the audio are from the labels.

    scenesynth render --format foa,binaural,mic,mic:em32 --scenes 40 --sample-rate 24000 --out out/d
    python benchmarks/directions.py out/d [--encoded 500,800,1200]

Prints per format, over all events that are no noise, the error's median, 75th and 90th percentile
and maximum: of all events, and of those whose estimate comes without a doubt (noise, reverberation,
others that sound along). Ears and rows of microphones are compared by lateral angle.

`--encoded` estimates from arrays in the way that was not taken: encoded to Ambisonics, and the
intensity vector in the bands between these edges.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from dataclasses import replace
from unittest.mock import patch

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from numpy.typing import NDArray

from scenesynth.localization.directions import Directions
from scenesynth.localization.intensity import intensity_vectors
from scenesynth.localization.reach import reach_of
from scenesynth.pipeline.formats import format_of
from scenesynth.preview import view
from scenesynth.preview.listen import array_encoder
from scenesynth.preview.view import Estimate, view_of
from scenesynth.room.model import Air, AssetRef
from scenesynth.spatial.formats import Format
from scenesynth.store.reader import Dataset, open_dataset


def estimates(
    dataset: Dataset, name: str, formats: Mapping[str, Format]
) -> tuple[list[Estimate], int]:
    """Of all events that are no noise; how many have none."""
    found, none = [], 0
    for scene in dataset:
        alone = replace(scene, audio_by_format={name: scene.audio_by_format[name]})
        for sounding in view_of(alone, formats).soundings:
            if sounding.estimate is not None:
                found.append(sounding.estimate)
            elif sounding.role != "noise":
                none += 1
    return found, none


def encoded(edges_hz: tuple[float, ...]):  # type: ignore[no-untyped-def]
    """An `estimate_directions` that encodes arrays to Ambisonics."""

    def estimate(
        audio: NDArray[np.float32],
        sample_rate: int,
        hop_s: float,
        item: Format,
        *,
        head: AssetRef | None,
        air: Air,
    ) -> Directions:
        assert item.array is not None
        encoder = array_encoder(item.array, sample_rate, round(air.speed_of_sound_mps))
        n_frames = max(1, int(np.ceil(audio.shape[1] / sample_rate / hop_s - 1e-9)))
        foa = encoder.firs.filtered(audio)[:4]
        vectors, weight = intensity_vectors(foa, sample_rate, hop_s, n_frames, edges_hz)
        return Directions(hop_s=hop_s, vectors=vectors, weight=weight, reach="all")

    return estimate


def line(errors_deg: list[float]) -> str:
    """Percentiles of errors."""
    if not errors_deg:
        return f"{'-':>35}"
    shown = np.percentile(errors_deg, (50, 75, 90, 100))
    return f"{len(errors_deg):7}" + "".join(f"{value:7.2f}" for value in shown)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("uri")
    parser.add_argument("--encoded", metavar="HZ,HZ,...")
    asked = parser.parse_args()
    dataset = open_dataset(asked.uri)
    formats = {stored.name: format_of(stored) for stored in dataset.info.formats}
    told = {name: item for name, item in formats.items() if reach_of(item) != "none"}
    head = f"{'n':>7}{'median':>7}{'75 %':>7}{'90 %':>7}{'most':>7}"
    print(f"{'degrees':14}{head}   without doubt: {head}   no estimate")
    for name, item in told.items():
        if asked.encoded and (item.array is None or reach_of(item) != "all"):
            continue
        edges = tuple(float(edge) for edge in (asked.encoded or "").split(",") if edge)
        way = encoded(edges) if edges else view.estimate_directions
        with patch.object(view, "estimate_directions", way):
            found, none = estimates(dataset, name, formats)
        every = [estimate.error_deg for estimate in found]
        sure = [estimate.error_deg for estimate in found if not estimate.doubt]
        print(f"{name:14}{line(every)}                  {line(sure)}{none:14}")


if __name__ == "__main__":
    main()
