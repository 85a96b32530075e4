"""Rules of label times and frames."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenesynth.errors import ContentError
from scenesynth.render.energy import Energy
from scenesynth.render.labels import event_times
from scenesynth.scene.spec import ClipRef, Event
from scenesynth.store.frames import frame_range, frame_table, n_frames

RATE = 32_000


def event(**fields: float) -> Event:
    values = {"onset_s": 1.0, "duration_s": 2.0, "active_start_s": 0.25, "active_end_s": 1.5}
    return Event(
        role="target", clip=ClipRef(corpus="sources", id="a.wav", digest="d"), **values | fields
    )


def sounding(start: int, stop: int) -> Energy:
    return Energy(np.ones(stop - start, np.float32), start)


@pytest.mark.parametrize(
    ("onset_s", "offset_s", "expected"),
    [
        (0.0, 0.1, (0, 1)),
        (0.0, 1.0, (0, 10)),  # a frame is not lost at the end
        (0.5, 1.0, (5, 10)),
        (0.05, 1.0, (0, 10)),  # exactly half of the first frame is enough
        (0.050001, 1.0, (1, 10)),
        (0.0, 0.95, (0, 10)),  # exactly half of the last frame is enough
        (0.0, 0.949999, (0, 9)),
        (0.15, 0.25, (1, 3)),  # halves on both sides
        (0.3, 0.7, (3, 7)),  # 0.3 and 0.7 are not whole frames in float64
        (0.02, 0.04, (0, 1)),  # shorter than half a frame: one frame all the same
        (0.96, 1.0, (9, 10)),
        (0.06, 0.14, (0, 1)),  # no half anywhere, equal parts: the earlier
        (0.07, 0.14, (1, 2)),  # no half anywhere: the larger part
        (0.099999, 0.2, (1, 2)),
    ],
)
def test_frames_are_those_half_filled_by_direct_sound(
    onset_s: float, offset_s: float, expected: tuple[int, int]
) -> None:
    assert frame_range(onset_s, offset_s, 10) == expected


@given(
    onset=st.integers(0, 999), length=st.integers(1, 1000), hop=st.sampled_from([20, 25, 100, 320])
)
def test_frame_range_equals_counting_every_frame(onset: int, length: int, hop: int) -> None:
    """Times and hop in milliseconds, in exact fractions."""
    offset = min(onset + length, 1000)
    count = n_frames(1000, 1000, hop / 1000)
    occupied = [max(min(offset, (k + 1) * hop) - max(onset, k * hop), 0) for k in range(count)]
    active = [k for k, part in enumerate(occupied) if Fraction(part, hop) >= Fraction(1, 2)]
    expected = active or [occupied.index(max(occupied))]
    got = frame_range(onset / 1000, offset / 1000, count, hop / 1000)
    assert list(range(*got)) == expected


@pytest.mark.parametrize(
    ("n_samples", "expected"), [(320_000, 100), (320_001, 101), (1, 1), (3200, 1), (3201, 2)]
)
def test_the_last_frame_may_be_partly_in_the_scene(n_samples: int, expected: int) -> None:
    assert n_frames(n_samples, RATE) == expected


def test_dry_times_follow_the_active_region_at_both_ends() -> None:
    times = event_times(
        event(), sounding(0, 9 * RATE), direct_delay_s=0.01, n_samples=10 * RATE, sample_rate=RATE
    )
    assert (times.dry_onset_s, times.dry_offset_s) == (1.25, 2.5)
    assert times.wet_onset_s == pytest.approx(1.26)
    assert times.direct_offset_s == pytest.approx(2.51)
    assert times.wet_offset_s == pytest.approx(9.0, abs=1e-4)
    assert (times.frame_start, times.frame_stop) == (13, 25)  # 1.26 to 2.51 s


def test_times_count_from_the_sample_on_which_the_clip_starts() -> None:
    times = event_times(
        event(onset_s=0.00002),
        sounding(0, RATE),
        direct_delay_s=0.0,
        n_samples=10 * RATE,
        sample_rate=RATE,
    )
    assert times.dry_onset_s == 1 / RATE + 0.25


def test_an_event_cut_by_the_scenes_end_is_labelled_up_to_it() -> None:
    times = event_times(
        event(onset_s=0.5),
        sounding(0, 3 * RATE),
        direct_delay_s=0.01,
        n_samples=RATE,
        sample_rate=RATE,
    )
    assert (times.dry_offset_s, times.wet_offset_s, times.direct_offset_s) == (1.0, 1.0, 1.0)
    assert (times.frame_start, times.frame_stop) == (8, 10)  # 0.76 to 1.0 s


def test_an_event_that_nobody_hears_is_a_content_error() -> None:
    late = {"direct_delay_s": 0.01, "n_samples": 40_000, "sample_rate": RATE}
    with pytest.raises(ContentError, match=r"event 3 \(clip a.wav\).*arrives at 1.2600 s"):
        event_times(event(onset_s=1.0), sounding(0, RATE), **late, name="event 3")
    silent = Energy(np.zeros(RATE, np.float32))
    with pytest.raises(ContentError, match="has to sound"):
        event_times(event(onset_s=0.1), silent, **late)


def row(**fields: float) -> dict[str, float]:
    values = {
        "dry_onset_s": 0.25,
        "dry_offset_s": 0.5,
        "wet_onset_s": 0.26,
        "azimuth_start_deg": 170.0,
        "elevation_start_deg": -5.0,
        "distance_start_m": 2.5,
    }
    return values | fields


def test_dense_frames_hold_direction_where_active_and_nan_elsewhere() -> None:
    dense = frame_table([row(), row(dry_offset_s=5.0, azimuth_start_deg=-30.0)], RATE, RATE)
    assert dense.active.shape == (2, 10)
    assert np.flatnonzero(dense.active[0]).tolist() == [3, 4]
    assert np.flatnonzero(dense.active[1]).tolist() == list(range(3, 10))
    assert set(dense.azimuth_deg[0, dense.active[0]]) == {170.0}
    assert set(dense.elevation_deg[1, dense.active[1]]) == {-5.0}
    assert np.isnan(dense.distance_m[~dense.active]).all()


def test_dense_frames_follow_the_hop() -> None:
    dense = frame_table([row()], RATE, RATE, hop_s=0.02)
    assert dense.active.shape == (1, 50)
    assert np.flatnonzero(dense.active[0]).tolist() == list(range(13, 26))  # 0.26 to 0.51 s
