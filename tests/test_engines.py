"""From a spec's emitter to responses in every format asked for."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from scenesynth.acoustics import engines
from scenesynth.acoustics.engines import respond
from scenesynth.errors import ConfigError
from scenesynth.room.model import OCTAVE_BANDS_HZ, Air, Room
from scenesynth.scene.geometry import azimuth_elevation, to_listener
from scenesynth.scene.spec import ClipRef, Emitter, Event, Keyframe, Origin, SceneSpec
from scenesynth.spatial.doa import intensity_direction
from scenesynth.spatial.formats import parse_format

EVENT = Event(
    role="target",
    clip=ClipRef(corpus="sources", id="a", digest="0"),
    onset_s=0.0,
    duration_s=0.5,
    active_start_s=0.0,
    active_end_s=0.5,
)
EMITTER = Emitter(
    id="e0",
    keyframes=(Keyframe(position_m=(1.0, 1.0, 1.5)), Keyframe(time_s=1.0, position_m=(3, 3, 1))),
    events=(EVENT,),
)
LISTENER = Keyframe(position_m=(4.0, 2.0, 1.2), yaw_deg=70, pitch_deg=-20, roll_deg=10)
SPEC = SceneSpec(
    origin=Origin(),
    sample_rate=16000,
    n_samples=16000,
    room=Room(id="r", size_m=(6, 5, 3), band_hz=OCTAVE_BANDS_HZ, absorption=((1.0,) * 7,) * 6),
    air=Air(),
    listener=(LISTENER,),
    emitters=(EMITTER,),
    response_s=0.05,
)
FORMATS = [parse_format(name) for name in ("mono", "foa", "hoa2")]


def test_formats_rendered_together_equal_each_alone() -> None:
    together = respond(SPEC, 0, FORMATS)
    assert list(together) == ["mono", "foa", "hoa2"]
    for item in FORMATS:
        alone = respond(SPEC, 0, [item])[item.name].ir
        assert alone.shape == (item.n_channels, 800)
        np.testing.assert_array_equal(together[item.name].ir, alone)


def test_directions_are_those_of_the_listener_that_the_spec_turns() -> None:
    for pose in EMITTER.keyframes:
        response = respond(SPEC, 0, FORMATS, emitter_at=pose)["foa"]
        azimuth_deg, elevation_deg, distance_m = to_listener(pose.position_m, LISTENER)
        np.testing.assert_allclose(
            azimuth_elevation(response.direction), (azimuth_deg, elevation_deg), atol=1e-9
        )
        estimate = azimuth_elevation(intensity_direction(response.ir, 16000, (200.0, 7000.0)))
        np.testing.assert_allclose(estimate, (azimuth_deg, elevation_deg), atol=0.5)
        assert math.isclose(response.distance_m, distance_m)


def test_the_first_keyframes_are_the_default() -> None:
    default = respond(SPEC, 0, FORMATS)["foa"].ir
    given = respond(SPEC, 0, FORMATS, emitter_at=EMITTER.keyframes[0], listener_at=LISTENER)[
        "foa"
    ].ir
    np.testing.assert_array_equal(default, given)


def test_an_engine_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "ENGINE_MODULES", {"shoebox": "scenesynth.acoustics.shoebox"})
    with pytest.raises(ConfigError, match="engine = 'gpurir' is not available; must be shoebox"):
        respond(replace(SPEC, engine="gpurir"), 0, FORMATS)


def test_every_emitter_of_every_seed_has_a_seed_of_its_own() -> None:
    seeds = {engines.emitter_seed(seed, index) for seed in (0, 1, 2**40) for index in range(50)}
    assert len(seeds) == 150
    assert all(0 <= seed < 2**32 for seed in seeds)
    assert engines.emitter_seed(7, 3) == engines.emitter_seed(7, 3)
