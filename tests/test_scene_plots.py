"""What the plots of a scene show, and that its texts can be read."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.text import Text
from oracles_scene import RATE, plane_wave_scene, with_motion
from preview_helpers import heard_scene

from scenesynth.features.config import FeatureConfig
from scenesynth.features.mel import mel_filters
from scenesynth.plots.style import INK, drawn_alike, new_figure
from scenesynth.plots.text import MINUS
from scenesynth.preview import decay as decays
from scenesynth.preview.decay import decay_of, in_words
from scenesynth.preview.mel import mel_levels
from scenesynth.preview.over_time import draw_direction, label_steps
from scenesynth.preview.plots import WIDTH, decay_plot, room_plot, timeline_plot
from scenesynth.preview.room import draw_plan_and_side
from scenesynth.preview.timeline import LEFT, RIGHT, draw_timeline, timeline_height
from scenesynth.preview.view import View, view_of
from scenesynth.room.model import AssetRef
from scenesynth.scene.spec import Tracing
from scenesynth.spatial.formats import parse_format

THREE = [("a dog barks", 40.0, 0.0), ("speech", 60.0, 10.0), ("telephone", -80.0, 0.0)]


@pytest.fixture(scope="module")
def view() -> View:
    return view_of(plane_wave_scene(THREE))


@pytest.fixture(autouse=True)
def style() -> Iterator[None]:
    with drawn_alike():
        yield


def in_room(view: View, **fields: object) -> View:
    """The view with another room."""
    room = replace(view.spec.room, **fields)
    return replace(view, spec=replace(view.spec, room=room))


def both(view: View) -> tuple[Figure, Axes, Axes]:
    figure = new_figure(7.0, 8.0)
    plan, side = draw_plan_and_side(figure, view, 0.0, 0.0, 7.0, 8.0)
    figure.draw_without_rendering()
    return figure, plan, side


def pixels_per_metre(axes: Axes) -> list[float]:
    low, high = axes.transData.transform([(0.0, 0.0), (1.0, 1.0)])
    return list(high - low)


@pytest.mark.parametrize("size_m", [(6.2, 4.1, 2.8), (4.4, 14.0, 3.0), (4.3, 4.0, 9.0)])
def test_plan_and_side_are_to_scale_and_on_the_same(
    view: View, size_m: tuple[float, float, float]
) -> None:
    figure, plan, side = both(in_room(view, size_m=size_m))
    scales = pixels_per_metre(plan) + pixels_per_metre(side)
    assert scales == pytest.approx([scales[0]] * 4)
    for axes in (plan, side):
        assert figure.bbox.contains(*axes.bbox.min)
        assert figure.bbox.contains(*axes.bbox.max)
    assert side.bbox.y1 < plan.bbox.y0


def listener(axes: Axes) -> list[float]:
    (at,) = [line.get_xydata()[0] for line in axes.lines if line.get_color() == INK]
    return [float(value) for value in at]


def test_the_side_view_has_the_listener_at_its_height(view: View) -> None:
    x, y, z = view.spec.listener[0].position_m
    _, plan, side = both(view)
    assert listener(plan) == [x, y]
    assert listener(side) == [x, z]


def test_the_side_view_looks_across_the_longer_side(view: View) -> None:
    _, y, z = view.spec.listener[0].position_m
    _, _, side = both(in_room(view, size_m=(6.2, 7.1, 2.8)))
    assert listener(side) == [y, z]
    assert side.get_title(loc="right") == f"looking along {MINUS}x, y to the right"


def test_a_nose_that_points_up_is_drawn_and_said_to(view: View) -> None:
    up = replace(view.spec.listener[0], yaw_deg=0.0, pitch_deg=30.0)
    _, _, side = both(replace(view, spec=replace(view.spec, listener=(up,))))
    tips = [note.xy for note in side.texts if not note.get_text()]
    ((x, z),) = np.array(tips) - listener(side)
    assert np.degrees(np.arctan2(z, x)) == pytest.approx(30)
    assert "listener 1.50 m, nose 30° up" in [note.get_text() for note in side.texts]


def test_each_emitter_is_drawn_at_its_place_with_its_height(view: View) -> None:
    _, plan, side = both(view)
    for emitter, sounding in zip(view.spec.emitters, view.soundings, strict=True):
        x, y, z = emitter.keyframes[0].position_m
        for axes, place in ((plan, (x, y)), (side, (x, z))):
            marks = [line.get_xydata()[0].tolist() for line in axes.lines if len(line.get_xdata())]
            assert list(place) in marks
        assert f"{sounding.name} {z:.2f} m" in [note.get_text() for note in side.texts]


@pytest.mark.parametrize("size_m", [(6.0, 4.5, 3.0), (4.4, 12.0, 3.0), (14.0, 4.0, 3.0)])
def test_texts_of_a_room_cover_neither_each_other_nor_the_key(
    view: View, size_m: tuple[float, float, float]
) -> None:
    figure, plan, side = both(in_room(view, size_m=size_m))
    legend = plan.get_legend()
    assert legend is not None
    notes = [note for axes in (plan, side) for note in axes.texts if note.get_text()]
    assert len(notes) == 4 + 5
    titles = [axes.title for axes in (plan, side)] + [axes._left_title for axes in (plan, side)]
    labels = [axis.label for axes in (plan, side) for axis in (axes.xaxis, axes.yaxis)]
    # Of a note the text alone, without the line that leads to its point.
    texts = [text for text in (*notes, *labels, *titles) if text.get_text()]
    boxes = [Text.get_window_extent(text) for text in texts] + [legend.get_window_extent()]
    assert not [(a, b) for a, b in combinations(boxes, 2) if a.overlaps(b)]
    assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 for box in boxes)


def test_a_way_is_drawn_with_an_arrow_and_its_directions_over_time() -> None:
    moving = view_of(with_motion(plane_wave_scene(noise=[])))
    _, plan, _ = both(moving)
    ways = [line.get_xydata() for line in plan.lines if len(line.get_xydata()) > 2]
    assert [len(way) for way in ways] == [13]
    arrows = [note for note in plan.texts if not note.get_text()]
    assert len(arrows) == 3  # of the emitter, of the listener's way, and of his heading
    azimuth = moving.soundings[0].azimuth_deg
    azimuth = azimuth[np.isfinite(azimuth)]
    assert azimuth[0] > 150
    assert azimuth[-1] < -150
    curve = new_figure(4, 3).add_subplot()
    draw_direction(curve, moving, 0)
    (bands,) = [c for c in curve.collections if isinstance(c, LineCollection) and c.get_segments()]
    assert len(bands.get_segments()) == 2  # apart where the azimuth wraps, not through the front


def test_bands_have_each_frames_label_for_its_length() -> None:
    nothing = float("nan")
    degrees = np.array([nothing, 10.0, 10.0, 20.0, nothing, nothing, 5.0, 175.0, -175.0, nothing])
    lines = label_steps(degrees)
    at = (np.arange(len(degrees)) + 0.5) * 0.1
    drawn = np.full(len(degrees), nothing)
    for line in lines:
        inside = (at > line[0, 0]) & (at < line[-1, 0])
        drawn[inside] = np.interp(at[inside], *line.T)
    np.testing.assert_array_equal(drawn, degrees)
    assert [line[[0, -1], 0].round(6).tolist() for line in lines] == [
        [0.1, 0.4],
        [0.6, 0.8],
        [0.8, 0.9],
    ]
    assert label_steps(np.full(3, nothing)) == []


def test_the_span_is_where_the_scene_starts_and_ends(view: View) -> None:
    plot = timeline_plot(view)
    assert plot.span is not None
    box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', plot.svg)
    assert box is not None
    assert float(box[1]) == pytest.approx(72 * WIDTH)
    figure = new_figure(WIDTH, timeline_height(view))
    for axes in draw_timeline(figure, view, LEFT, 0.0, WIDTH - LEFT - RIGHT):
        ends = [axes.transData.transform((t, 0))[0] for t in (0.0, view.duration_s)]
        assert np.array(ends) / figure.bbox.width == pytest.approx(plot.span)
    assert room_plot(view).span is None


@pytest.mark.parametrize("name", ["foa", "hoa2", "binaural", "mic:linear4"])
def test_texts_of_a_timeline_are_apart_and_inside(name: str) -> None:
    item = parse_format(name)
    scene = heard_scene(item, [("m" * 40, 40.0, 10.0), ("dog", -40.0, 0.0)], seconds=0.5)
    view = view_of(scene, {item.name: item})
    figure = new_figure(WIDTH, timeline_height(view))
    every = draw_timeline(figure, view, LEFT, 0.0, WIDTH - LEFT - RIGHT)
    figure.draw_without_rendering()
    for axes in every:
        title, note = axes._left_title, axes._right_title
        gap = note.get_window_extent().x0 - title.get_window_extent().x1
        assert gap > 10, note.get_text()
        ticks = [*axes.get_yticklabels(), *axes.texts]
        boxes = [text.get_window_extent() for text in ticks if text.get_text()]
        assert boxes
        assert min(box.x0 for box in boxes) > 0
        assert not [(a, b) for a, b in combinations(boxes, 2) if a.overlaps(b)]


def test_channels_that_have_no_place_are_counted() -> None:
    item = parse_format("hoa2")
    view = view_of(heard_scene(item, [("bell", 40.0, 10.0)]), {"hoa2": item})
    assert timeline_plot(view).svg.count("5 of 9 not shown") == 2


def test_texts_of_plots_stay_texts_whatever_they_are() -> None:
    odd = ["<script>alert(1)</script>", "$x_1$ & co", "犬"]
    view = view_of(plane_wave_scene([(name, 30.0 * n, 0.0) for n, name in enumerate(odd)]))
    for plot in (room_plot(view), timeline_plot(view)):
        root = ET.fromstring(str(plot.svg))
        said = [element.text or "" for element in root.iter() if element.tag.endswith("}text")]
        for name in ("<script>alert", "$x_1$ & co", r"\u72ac"):
            assert any(text.startswith(name) for text in said)
        assert not [element for element in root.iter() if element.tag.endswith("script")]
        assert odd[0] in (root.get("aria-label") or "")


def test_ten_seconds_of_four_channels_are_less_than_250_kilobytes(view: View) -> None:
    noise = np.random.default_rng(0).standard_normal((4, 10 * RATE)).astype(np.float32)
    spec = replace(view.spec, n_samples=10 * RATE)
    assert len(timeline_plot(replace(view, spec=spec, audio=noise)).svg) < 250_000


def test_plots_of_scenes_have_titles_of_their_own(view: View) -> None:
    other = replace(view, row={**view.row, "id": "train-00000018"})
    plots = [plot(each) for each in (view, other) for plot in (room_plot, decay_plot)]
    titles = {re.search(r'aria-label="([^.]*)', plot.svg)[1] for plot in plots if plot}  # type: ignore[index]
    assert len(titles) == 4


def test_a_skipped_scene_is_drawn() -> None:
    scene = plane_wave_scene()
    nothing = replace(scene, events=(), audio_by_format={"foa": 0 * scene.audio})
    view = view_of(nothing)
    view = replace(view, spec=replace(view.spec, emitters=()))
    assert len(room_plot(view).svg) > 1000
    assert len(timeline_plot(view).svg) > 1000
    assert decay_plot(view) is None


def test_a_tone_stands_at_its_frequency_in_the_spectrum() -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE).astype(np.float32)
    levels, (start_s, stop_s) = mel_levels(np.stack([tone, 0.5 * tone]), RATE)
    middle = levels[:, :, levels.shape[2] // 2]
    filters = mel_filters(
        FeatureConfig(input="mono", sample_rate=RATE, n_fft=512, n_mels=64, f_max_hz=RATE / 2)
    )
    assert middle[0].argmax() == filters[:, 1000 * 512 // RATE].argmax()
    assert levels.max() == 0
    assert middle[1].max() - middle[0].max() == pytest.approx(-6.02, abs=0.01)
    assert start_s < 0 < 1 < stop_s < 1.02


def test_levels_are_those_of_explicit_sums() -> None:
    audio = np.random.default_rng(0).standard_normal((1, RATE)).astype(np.float32)
    levels, _ = mel_levels(audio, RATE)
    config = FeatureConfig(input="mono", sample_rate=RATE, n_fft=512, n_mels=64, f_max_hz=RATE / 2)
    hop, column = RATE // 480, 100
    power = np.zeros(64)
    for frame in (2 * column, 2 * column + 1):  # of 485 frames two are drawn together
        samples = audio[0, frame * hop - 256 : frame * hop + 256].astype(np.float64)
        window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(512) / 512)
        power += mel_filters(config) @ np.abs(np.fft.rfft(samples * window)) ** 2
    assert np.ptp(levels[0, :, column] - 10 * np.log10(power)) < 0.001  # one scale apart


def test_a_long_scene_is_drawn_with_no_more_columns() -> None:
    levels, (_, stop_s) = mel_levels(np.ones((1, 60 * RATE), np.float32), RATE)
    assert levels.shape[2] <= 480
    assert stop_s == pytest.approx(60, abs=0.3)


def test_the_drawn_decay_is_that_of_the_scenes_room(view: View) -> None:
    decay = decay_of(view)
    assert decay is not None
    assert decay.level_db is not None
    assert decay.of == "a dog barks"
    assert decay.wanted_by == "requested"
    for level, wanted_s in zip(decay.level_db, decay.wanted_s, strict=True):
        fitted = (level < -5) & (level > -25)
        slope = np.polyfit(decay.time_s[fitted], level[fitted], 1)[0]
        assert wanted_s is not None
        assert 0.5 < -60 / slope / wanted_s < 2  # the room was not made for it
    assert "500 Hz 0.41 s (requested 0.40 s)" in in_words(decay)


def test_decays_that_cannot_be_rendered_again_are_told_by_their_times(view: View) -> None:
    rays = replace(view.spec, engine="pyroomacoustics", mode="tail", tracing=Tracing())
    away = replace(
        view.spec.room, measured=AssetRef(id="hall", digest="0" * 16), absorption=(), rt60_s=None
    )
    hall = replace(view.spec, engine="sofa", room=away)
    for spec, why in (
        (rays, "engine pyroomacoustics takes too long"),
        (hall, "cannot be rendered here"),
    ):
        decay = decay_of(replace(view, spec=spec))
        assert decay is not None
        assert decay.level_db is None
        assert why in decay.why_not
        plot = decay_plot(replace(view, spec=spec))
        assert plot is not None
        assert why in plot.svg


def test_too_many_images_are_not_rendered_again(
    view: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decays, "MOST_IMAGES", 100.0)
    decay = decay_of(view)
    assert decay is not None
    assert decay.level_db is None


def test_walls_that_absorb_everything_have_no_decay(view: View) -> None:
    row = {**view.row, "rt60_requested_s": None, "rt60_measured_s": [None] * 6}
    dead = in_room(view, absorption=((1.0,) * 6,) * 6, rt60_s=None)
    assert decay_plot(replace(dead, row=row)) is None
