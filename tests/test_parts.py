"""Laws of the parts of a response: they add up, and lie where their names say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from oracle_render import relative_error_db
from test_render import RATE, emitter, event, room, scene, target

from scenesynth.acoustics.engines import respond_in
from scenesynth.acoustics.measure import EARLY_S
from scenesynth.acoustics.parts import AROUND_DIRECT_S, FADE_S, Parts, parts_of
from scenesynth.acoustics.response import Response
from scenesynth.scene.spec import SceneSpec
from scenesynth.spatial.formats import Layout, layout_of, parse_format

LAYOUT = layout_of([parse_format(name) for name in ("foa", "binaural", "mic")])
SPEC = scene(target())


@pytest.fixture(scope="module")
def response() -> Response:
    return respond_in(LAYOUT, SPEC, 0)


def known(layout: Layout, spec: SceneSpec, found: Response) -> Parts:
    return parts_of(layout, spec, found)


def unknown(layout: Layout, spec: SceneSpec, found: Response) -> Parts:
    """As of an engine that does not know arrivals apart."""
    return parts_of(layout, spec, replace(found, early=None))


BOTH = pytest.mark.parametrize("split", [known, unknown])


@BOTH
def test_parts_add_up_to_the_response(
    response: Response, split: Callable[[Layout, SceneSpec, Response], Parts]
) -> None:
    parts = split(LAYOUT, SPEC, response)
    total = sum(part.astype(np.float64) for part in parts)
    assert relative_error_db(total, response.ir) < -140


@BOTH
def test_late_begins_and_early_ends_about_50_ms_after_the_direct_arrival(
    response: Response, split: Callable[[Layout, SceneSpec, Response], Parts]
) -> None:
    parts = split(LAYOUT, SPEC, response)
    after_s = np.arange(response.ir.shape[1]) / RATE - response.direct_delay_s - EARLY_S
    assert not parts.late[:, after_s <= -FADE_S / 2].any()
    assert not parts.early[:, after_s >= FADE_S / 2].any()
    assert parts.late[:, after_s > FADE_S / 2].any(axis=1).all()
    assert parts.early[:, after_s < -FADE_S / 2].any(axis=1).all()


def test_the_direct_part_is_the_response_without_walls(response: Response) -> None:
    open_air = replace(SPEC, room=room(1.0))
    alone = respond_in(LAYOUT, open_air, 0).ir
    direct = parts_of(LAYOUT, SPEC, response).direct
    for rows in LAYOUT.rows.values():
        assert relative_error_db(direct[rows], alone[rows]) < -60


def test_without_walls_hardly_anything_is_left_after_the_direct_part() -> None:
    spec = replace(SPEC, room=room(1.0))
    parts = parts_of(LAYOUT, spec, respond_in(LAYOUT, spec, 0))
    for rows in LAYOUT.rows.values():
        assert relative_error_db(parts.direct[rows] + parts.early[rows], parts.direct[rows]) < -60
        assert relative_error_db(parts.direct[rows] + parts.late[rows], parts.direct[rows]) < -90


def test_where_arrivals_are_not_known_apart_the_direct_part_is_a_window(
    response: Response,
) -> None:
    direct = unknown(LAYOUT, SPEC, response).direct
    offset_s = np.arange(response.ir.shape[1]) / RATE - response.direct_delay_s
    first_s, last_s = AROUND_DIRECT_S
    assert not direct[:, (offset_s < first_s) | (offset_s > last_s)].any()
    kept = (offset_s > first_s + 0.0005) & (offset_s < last_s - 0.0005)
    np.testing.assert_array_equal(direct[:, kept], response.ir[:, kept])


def test_a_source_beyond_the_end_of_early_sound_has_its_own_clock() -> None:
    near, far = (
        scene(emitter("a", (x, 2.5, 1.5), event("long")), room=room(0.3)) for x in (3.5, 5.5)
    )
    starts = []
    for spec in (near, far):
        found = respond_in(LAYOUT, spec, 0)
        late = parts_of(LAYOUT, spec, found).late
        starts.append(int(np.argmax(late.any(axis=0))) / RATE - found.direct_delay_s)
    assert starts[0] == pytest.approx(starts[1], abs=2 / RATE)
    assert starts[0] == pytest.approx(EARLY_S - FADE_S / 2, abs=2 / RATE)
