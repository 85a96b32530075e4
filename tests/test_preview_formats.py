"""Previews of ears and microphones: what they tell of directions, and what is heard of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import matplotlib.image
import numpy as np
import pytest
import soundfile
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from oracles_scene import RATE, plane_wave_scene
from preview_helpers import heard_scene

from scenesynth.localization.directions import estimate_directions, to_angles, to_vectors
from scenesynth.localization.reach import as_told, reach_of
from scenesynth.pipeline.formats import format_of, stored_format
from scenesynth.plots.text import direction
from scenesynth.preview.files import write_preview
from scenesynth.preview.listen import best_to_hear, listening
from scenesynth.preview.over_time import draw_direction, draw_waveforms
from scenesynth.preview.view import Estimate, view_of
from scenesynth.room.model import AssetRef
from scenesynth.scene.spec import SceneSpec
from scenesynth.spatial.ambisonics import spherical_harmonics
from scenesynth.spatial.arrays import Capsule, MicArray
from scenesynth.spatial.formats import Format, array_format, parse_format
from scenesynth.spatial.grids import sphere_grid
from scenesynth.store.schema import Scene

NAMES = ["mono", "foa", "hoa3", "binaural", "mic", "mic:em32", "mic:linear4", "mic:ortf", "mic:xy"]
ANGLES = [(0.0, 0.0), (65.0, 0.0), (-90.0, 20.0), (180.0, -35.0), (37.5, 50.0), (-142.0, -4.0)]
SPEED_MPS = 343.0


def open_array(*positions_m: tuple[float, float, float], name: str = "own") -> MicArray:
    capsules = (Capsule(name=f"M{n}", position_m=place) for n, place in enumerate(positions_m))
    return MicArray(name=name, capsules=tuple(capsules))


def known(*items: Format) -> dict[str, Format]:
    """Formats as a dataset gives them back."""
    return {item.name: format_of(stored_format(item)) for item in items}


def estimates(scene: Scene, item: Format) -> list[Estimate]:
    found = [sounding.estimate for sounding in view_of(scene, known(item)).soundings]
    assert None not in found
    return [estimate for estimate in found if estimate is not None]


@pytest.mark.parametrize("name", ["mic", "mic:em32"])
def test_microphones_tell_a_direction_within_three_degrees(name: str) -> None:
    item = parse_format(name)
    scene = heard_scene(item, [("bell", *angles) for angles in ANGLES], seconds=3.0)
    for estimate in estimates(scene, item):
        assert estimate.error_deg < 3
        assert estimate.confidence > 0.9


@pytest.mark.parametrize("name", ["binaural", "mic:linear4", "mic:ortf"])
def test_ears_and_rows_of_microphones_tell_a_lateral_angle_within_eight_degrees(name: str) -> None:
    item = parse_format(name)
    scene = heard_scene(item, [("bell", *angles) for angles in ANGLES], seconds=3.0)
    for estimate, (azimuth, elevation) in zip(estimates(scene, item), ANGLES, strict=True):
        lateral = np.degrees(np.arcsin(np.sin(np.radians(azimuth)) * np.cos(np.radians(elevation))))
        assert estimate.told_deg == (pytest.approx(lateral, abs=1e-6), 0.0)
        assert estimate.estimated_deg == (pytest.approx(lateral, abs=8), 0.0)


def test_ears_take_front_for_back_but_never_left_for_right() -> None:
    item = parse_format("binaural")
    directions = [("bell", 40.0, 0.0), ("bell", 140.0, 0.0), ("bell", -40.0, 0.0)]
    front, back, right = estimates(heard_scene(item, directions, seconds=1.5), item)
    assert front.told_deg == pytest.approx(back.told_deg)
    assert front.error_deg < 8
    assert back.error_deg < 8
    assert right.estimated_deg[0] < -30


def test_microphones_in_a_horizontal_plane_take_up_for_down() -> None:
    around = [(0.05, 0.0, 0.0), (-0.025, 0.0433, 0.0), (-0.025, -0.0433, 0.0)]
    item = array_format(open_array(*around), "mic-own")
    directions = [("bell", 100.0, 40.0), ("bell", -20.0, -40.0)]
    for estimate, azimuth in zip(
        estimates(heard_scene(item, directions), item), (100, -20), strict=True
    ):
        assert estimate.estimated_deg == pytest.approx((azimuth, 40), abs=3)


@pytest.mark.parametrize(
    ("array", "reach"),
    [
        (open_array((0, 0.1, 0), (0, -0.1, 0)), "side"),
        (open_array((0.1, 0, 0), (-0.1, 0, 0)), "none"),
        (open_array((0, 0, 0)), "none"),
        (open_array((0.1, 0, 0), (0, 0.1, 0), (-0.1, 0, 0)), "upper"),
        (open_array((0.1, 0, 0), (0, 0.1, 0), (0, 0, 0.1)), "none"),
        (open_array((0.1, 0, 0), (0, 0.1, 0), (0, 0, 0.1), (0, 0, 0)), "all"),
    ],
)
def test_what_microphones_tell_follows_from_their_places(array: MicArray, reach: str) -> None:
    assert reach_of(array_format(array, "mic-own")) == reach


def test_microphones_in_one_place_need_four_different_patterns() -> None:
    looks = [(45.0, 35.3), (-45.0, -35.3), (135.0, -35.3), (-135.0, 35.3)]
    capsules = tuple(
        Capsule(
            name=f"M{n}", azimuth_deg=az, elevation_deg=el, position_m=(0, 0, 0), omni_share=0.5
        )
        for n, (az, el) in enumerate(looks)
    )
    item = array_format(MicArray(name="a", capsules=capsules), "mic-a")
    assert reach_of(item) == "all"
    (estimate,) = estimates(heard_scene(item, [("bell", 70.0, -20.0)]), item)
    assert estimate.error_deg < 3
    assert reach_of(array_format(MicArray(name="a", capsules=capsules[:3]), "mic-a")) == "none"


def test_what_is_told_is_told_again_alike() -> None:
    azimuth = np.linspace(-180, 180, 37)
    vectors = to_vectors(azimuth, np.linspace(-80, 80, 37))
    for reach in ("all", "upper", "side"):
        told = as_told(vectors, reach)
        assert np.allclose(np.linalg.norm(told, axis=-1), 1)
        assert np.allclose(as_told(told, reach), told, atol=1e-7)
    assert np.abs(to_angles(as_told(vectors, "side"))[0]).max() <= 90


def test_estimates_do_not_read_labels() -> None:
    item = parse_format("mic")
    scene = heard_scene(item, [("bell", 60.0, 10.0)])
    labelled = view_of(scene, known(item)).directions
    bare = view_of(replace(scene, events=()), known(item)).directions
    assert labelled is not None
    assert bare is not None
    assert np.array_equal(labelled.vectors, bare.vectors)


@pytest.mark.parametrize("name", ["mic", "binaural"])
def test_a_diffuse_field_gives_less_confidence_than_a_wave(name: str) -> None:
    item = parse_format(name)
    bursts = np.exp(-20 * (np.arange(RATE) / RATE % 0.1))
    noise = np.random.default_rng(1).standard_normal((item.n_channels, RATE)) * bursts
    diffuse = estimate_directions(noise.astype(np.float32), RATE, 0.1, item)
    wave = view_of(heard_scene(item, [("bell", 30.0, 0.0)]), known(item)).directions
    assert wave is not None
    assert np.median(diffuse.confidence[diffuse.weight > 0]) < 0.6
    assert np.median(wave.confidence[wave.weight > 0]) > 0.9


def test_the_format_that_tells_most_is_shown() -> None:
    def shown(*names: str) -> str:
        items = [parse_format(name) for name in names]
        audio = {item.name: np.zeros((item.n_channels, RATE), np.float32) for item in items}
        return view_of(
            replace(plane_wave_scene(seconds=1.0), audio_by_format=audio), known(*items)
        ).format.name

    assert shown("binaural", "mic:em32", "foa") == "foa"
    assert shown("foa", "hoa2", "mic:em32") == "hoa2"
    assert shown("binaural", "mic:em32", "mono") == "mic-em32"
    assert shown("binaural", "mic:linear4") == "mic-linear4"
    assert shown("mic:xy", "binaural", "mono") == "binaural"


@pytest.mark.parametrize("name", NAMES)
def test_each_format_is_drawn_and_heard(name: str, tmp_path: Path) -> None:
    item = parse_format(name)
    scene = heard_scene(item, [("bell", 40.0, 10.0), ("dog", -40.0, 0.0)])
    preview = write_preview(scene, tmp_path, known(item))
    assert np.asarray(mpl.image.imread(preview.picture))[..., :3].std() > 0.1
    assert [wav.name for wav in preview.wavs] == [f"{scene.id}.{item.name}.wav"]
    ears, rate = soundfile.read(preview.listen)
    assert (ears.shape, rate) == ((RATE, 2), RATE)
    left, right = np.sum(ears[: RATE // 2] ** 2, axis=0)
    assert left == right if name == "mono" else left > 1.2 * right
    (first, _) = (line for line in preview.lines if "target" in line)
    if name in ("mono", "mic:xy"):
        assert "no estimate: " in first
        assert first.endswith("no direction")
    else:
        assert "error" in first


def test_channels_have_their_names() -> None:
    item = parse_format("binaural")
    axes = Figure().add_subplot()
    view = view_of(heard_scene(item, [("bell", 60.0, 0.0)]), known(item))
    draw_waveforms(axes, view)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["left", "right"]


def test_azimuths_of_ears_are_drawn_in_front_and_behind() -> None:
    item = parse_format("binaural")
    view = view_of(heard_scene(item, [("bell", 150.0, 0.0)]), known(item))
    azimuth, elevation = Figure().subplots(2)
    draw_direction(azimuth, view, 0)
    draw_direction(elevation, view, 1)
    behind, front = (points.get_offsets()[:, 1] for points in points_of(azimuth))
    assert np.allclose(behind, 150, atol=8)
    assert np.allclose(front, 30, atol=8)
    assert not points_of(elevation)
    assert len(elevation.collections) == 2  # the labels', of noise and of others


def points_of(axes: Axes) -> list[PathCollection]:
    return [drawn for drawn in axes.collections if isinstance(drawn, PathCollection)]


def test_a_sound_that_begins_late_in_a_frame_is_not_taken_for_another() -> None:
    scene = plane_wave_scene([("bell", 60.0, 0.0), ("dog", -60.0, 0.0)], noise=[], seconds=2.0)
    audio = {"foa": np.roll(scene.audio, round(0.07 * RATE), axis=1)}
    times = ("dry_onset_s", "dry_offset_s", "wet_onset_s", "wet_offset_s")
    later = [{**e, **{name: e[name] + 0.07 for name in times}} for e in scene.events]
    later[0] |= {"dry_offset_s": 1.4, "wet_offset_s": 1.7}
    moved = replace(scene, audio_by_format=audio, events=tuple(later))
    for estimate in estimates(moved, parse_format("foa")):
        assert estimate.error_deg < 3


@pytest.mark.parametrize("name", ["foa", "binaural", "mic", "mono"])
def test_silent_and_short_scenes_are_drawn(name: str, tmp_path: Path) -> None:
    item = parse_format(name)
    scene = heard_scene(item, [("bell", 75.0, 10.0)], seconds=0.5)
    silent = replace(scene, audio_by_format={name: 0 * scene.audio})
    for number, odd in enumerate((scene, silent)):
        preview = write_preview(odd, tmp_path / str(number), known(item))
        assert preview.picture.stat().st_size > 0
    assert "no estimate" in preview.lines[0]


def test_a_scene_of_a_few_samples_is_estimated() -> None:
    for name in ("foa", "binaural", "mic"):
        item = parse_format(name)
        few = np.ones((item.n_channels, 3), np.float32)
        assert estimate_directions(few, RATE, 0.1, item).weight.shape == (1,)


def test_diffuse_noise_without_a_direction_is_drawn(tmp_path: Path) -> None:
    item = parse_format("binaural")
    scene = heard_scene(item, [("bell", 75.0, 10.0)])
    nowhere = {
        name: None
        for name in scene.events[0]
        if name.startswith(("azimuth", "elevation", "distance")) or name == "drr_db"
    }
    diffuse = {**scene.events[0], **nowhere, "role": "noise", "event": 1, "emitter": "diffuse"}
    target = {**diffuse, "role": "target", "event": 2, "labels": ["rain"]}
    preview = write_preview(
        replace(scene, events=(*scene.events, diffuse, target)), tmp_path, known(item)
    )
    assert len(preview.lines) == 2
    assert preview.lines[1].startswith(f"rain (target): label {direction(None, None)}, no estimate")


def test_a_head_that_is_not_at_hand_leaves_the_picture(tmp_path: Path) -> None:
    item = parse_format("binaural")
    scene = heard_scene(item, [("bell", 75.0, 10.0)])
    spec = replace(SceneSpec.from_json(scene.spec_json), head=AssetRef(id="mine", digest="ab"))
    preview = write_preview(replace(scene, spec_json=spec.to_json()), tmp_path, known(item))
    assert preview.lines[0].endswith("no estimate: head mine is not at hand")


def test_ears_are_heard_as_they_are_and_before_anything_else() -> None:
    items = [parse_format(name) for name in ("mono", "mic", "hoa2", "binaural")]
    assert [best_to_hear(known(*items[:n])).name for n in (1, 2, 3, 4)] == [
        "mono",
        "mic",
        "hoa2",
        "binaural",
    ]
    ears = np.random.default_rng(0).standard_normal((2, 100)).astype(np.float32)
    assert np.array_equal(listening(ears, items[3], RATE, SPEED_MPS), ears)


def test_two_microphones_are_heard_left_first() -> None:
    ears = np.random.default_rng(0).standard_normal((2, 100)).astype(np.float32)
    turned = array_format(open_array((0, -0.1, 0), (0, 0.1, 0)), "mic-own")
    assert np.array_equal(listening(ears, turned, RATE, SPEED_MPS), ears[::-1])
    assert np.array_equal(listening(ears, parse_format("mic:xy"), RATE, SPEED_MPS), ears)


def test_listening_is_in_time_and_coloured_by_no_loudspeaker() -> None:
    item, apart = parse_format("hoa5"), 1024
    directions, weights = sphere_grid(6)
    impulses = np.zeros((item.n_channels, len(directions), apart), np.float32)
    impulses[:, :, apart // 2] = spherical_harmonics(directions, item.order).T
    ears = listening(impulses.reshape(item.n_channels, -1), item, RATE, SPEED_MPS)
    each = ears.reshape(2, len(directions), apart)
    front = np.argmax(directions[:, 0])
    late = np.argmax(np.abs(each[:, front]), axis=1) - apart // 2
    assert np.all(np.abs(late) < 0.0005 * RATE)
    power = weights @ np.mean(np.abs(np.fft.rfft(each)) ** 2, axis=0)
    inside = slice(round(200 * apart / RATE), round(7000 * apart / RATE))
    assert np.abs(10 * np.log10(power[inside])).max() < 1
