"""The direct sound and the first reflections, one by one."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from scenesynth.acoustics.early import (
    REFLECTIONS,
    arrival_pieces,
    arrival_spectra,
    sum_of_early,
)
from scenesynth.acoustics.response import Request, shoebox_responses
from scenesynth.room.model import Air, Room
from scenesynth.scene.geometry import rotation_matrix
from scenesynth.spatial.ambisonics import spherical_harmonics
from scenesynth.spatial.formats import parse_format

RATE = 16000
BANDS = (125.0, 250.0, 500.0, 1000.0, 2000.0, 4000.0)
WALLS = tuple(tuple(0.1 + 0.1 * wall + 0.03 * band for band in range(6)) for wall in range(6))
# Within 15.5 m of its middle lie the images of two reflections at most, and all but the farthest.
CUBE = Room(id="cube", size_m=(10.0, 10.0, 10.0), band_hz=BANDS, absorption=WALLS)
REQUEST = Request(
    room=CUBE,
    air=Air(),
    source_m=(5.6, 4.8, 5.1),
    listener_m=(5.0, 5.0, 5.0),
    rotation=rotation_matrix(30, -20, 10),
    format=parse_format("hoa2"),
    sample_rate=RATE,
    length_s=15.5 / 343.2,
    highpass_hz=0.0,
)


def of_order(order: int):  # type: ignore[no-untyped-def]
    def responses(directions, window):  # type: ignore[no-untyped-def]
        gains = spherical_harmonics(directions, order)
        return np.broadcast_to(gains[:, :, None], (*gains.shape, window // 2 + 1))

    return responses


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"directivity": "cardioid", "front": (0.3, -1.0, 0.2)},
        {"directivity": "speech", "front": (-1.0, 0.1, 0.0)},
    ],
)
def test_early_arrivals_are_the_whole_response_where_there_are_no_others(
    changes: dict[str, object],
) -> None:
    (response,) = shoebox_responses([replace(REQUEST, **changes)])  # type: ignore[arg-type]
    assert response.early is not None
    summed = sum_of_early(
        response.early(),
        of_order(2),
        sample_rate=RATE,
        n_samples=response.ir.shape[1],
        window=4096,
    )
    for channel, other in zip(response.ir, summed, strict=True):
        error = np.sum((channel - other) ** 2) / np.sum(channel**2)
        assert 10 * np.log10(error) < -60


def test_a_box_has_25_early_arrivals_the_direct_sound_first() -> None:
    (response,) = shoebox_responses([replace(REQUEST, length_s=0.2)])
    early = response.early()  # type: ignore[misc]
    assert len(early.delay_s) == 1 + 6 + 18
    assert early.delay_s[0] == pytest.approx(response.direct_delay_s)
    np.testing.assert_allclose(early.direction[0], response.direction, atol=1e-12)
    assert all(a <= b for a, b in pairwise(early.delay_s))
    assert REFLECTIONS == 2


def test_images_that_give_way_to_noise_do_so_one_by_one_too() -> None:
    late = replace(REQUEST, length_s=0.3, mode="tail", mixing_time_s=0.041)
    (response,) = shoebox_responses([late])
    early = response.early()  # type: ignore[misc]
    (whole,) = shoebox_responses([replace(late, mode="full")])
    n = len(early.delay_s)
    unfaded = whole.early().amplitude[:n]  # type: ignore[misc]
    share = early.amplitude[:, 0] / unfaded[:, 0]
    start_s, end_s = 0.0385, 0.0435
    expected = np.sqrt(np.clip((end_s - early.delay_s) / (end_s - start_s), 0, 1))
    np.testing.assert_allclose(share, expected, atol=1e-9)
    assert 0 < share.min() < 1


def test_without_delay_arrivals_lie_in_the_middle_of_the_window() -> None:
    (response,) = shoebox_responses([REQUEST])
    direct = response.early().direct  # type: ignore[misc]
    spectra = arrival_spectra(direct, of_order(0), sample_rate=RATE, window=1024)
    ((pulse,),), _ = arrival_pieces(spectra, np.zeros(1))
    assert np.argmax(np.abs(pulse)) == 512
    assert pulse[512] == pytest.approx(direct.amplitude.mean(), rel=0.1)
