"""Rules of training targets: frames, classes, and the three forms."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from store_helpers import RATE, make_info, make_scene

import scenesynth as ss
from scenesynth.errors import ConfigError
from scenesynth.store.frames import frame_table
from scenesynth.store.targets import FrameTargets, TargetMaker, stack
from scenesynth.store.writer import ShardWriter, create_or_open, extend_to

CLASSES = ("bell", "dog", "car")
SECOND = RATE


def event(number: int = 0, **fields: Any) -> dict[str, Any]:
    """A row of the events table: a bell in front, from 0.2 to 0.5 s."""
    row = {"event": number, "role": "target", "class_ids": [0], "heard": None}
    row |= {"dry_onset_s": 0.2, "dry_offset_s": 0.5, "wet_onset_s": 0.2}
    row |= {"azimuth_start_deg": 0.0, "elevation_start_deg": 0.0, "distance_start_m": 2.0}
    return {**row, **fields}


def maker(asked: FrameTargets, crop_samples: int = SECOND) -> TargetMaker:
    return TargetMaker.of_dataset(asked, asked.names([CLASSES]), CLASSES, RATE, crop_samples)


def targets(
    asked: FrameTargets,
    rows: list[dict[str, Any]],
    *,
    start: int = 0,
    n_samples: int = SECOND,
    crop_samples: int = SECOND,
) -> dict[str, np.ndarray]:
    made = maker(asked, crop_samples)
    return made.of_crop(made.labels(rows, n_samples), n_samples, start)


LEFT = {"azimuth_start_deg": 90.0}
UP = {"elevation_start_deg": 90.0}
BACK = {"azimuth_start_deg": 180.0}


def test_accdoa_points_to_who_is_active() -> None:
    rows = [event(), event(1, class_ids=[1], dry_onset_s=0.4, wet_onset_s=0.4, **LEFT)]
    found = targets(ss.frames(form="accdoa"), rows)
    assert found["accdoa"].shape == (10, 3, 3)
    expected = np.zeros((10, 3, 3), np.float32)
    expected[2:5, 0, 0] = 1.0  # x, bell
    expected[4, 1, 1] = 1.0  # y, dog
    np.testing.assert_allclose(found["accdoa"], expected, atol=1e-7)
    assert found["distance_m"][2, 0] == 2.0
    assert found["distance_m"].sum() == 8.0
    assert found["mask"].all()


def test_of_several_events_of_a_class_accdoa_has_the_first() -> None:
    rows = [event(0, dry_offset_s=0.3, **LEFT), event(1, **UP)]
    accdoa = targets(ss.frames(form="accdoa"), rows)["accdoa"][:, :, 0]
    np.testing.assert_allclose(accdoa[2:5], [[0, 1, 0], [0, 0, 1], [0, 0, 1]], atol=1e-7)


@pytest.mark.parametrize(
    ("directions", "tracks"),
    [
        ([LEFT], {0: (0, 1, 0)}),
        ([LEFT, UP], {1: (0, 1, 0), 2: (0, 0, 1)}),
        ([LEFT, UP, BACK], {3: (0, 1, 0), 4: (0, 0, 1), 5: (-1, 0, 0)}),
        ([LEFT, UP, BACK, {}], {3: (0, 1, 0), 4: (0, 0, 1), 5: (-1, 0, 0)}),
    ],
)
def test_adpit_fills_the_tracks_of_as_many_events_as_overlap(
    directions: list[dict[str, float]], tracks: dict[int, tuple[int, int, int]]
) -> None:
    """Tracks A0 | B0, B1 | C0, C1, C2 of arXiv 2110.07124, as the code of DCASE 2022 fills them."""
    rows = [event(n, **direction) for n, direction in enumerate(directions)]
    adpit = targets(ss.frames(form="adpit", distance=True), rows)["adpit"]
    assert adpit.shape == (10, 6, 5, 3)
    expected = np.zeros((6, 5), np.float32)
    for track, direction in tracks.items():
        expected[track] = [1.0, *direction, 2.0]
    for frame in (2, 3, 4):
        np.testing.assert_allclose(adpit[frame, :, :, 0], expected, atol=1e-6)
    assert not adpit[[0, 1, 5, 6, 7, 8, 9]].any()
    assert not adpit[..., 1:].any()
    assert np.array_equal(targets(ss.frames(form="adpit"), rows)["adpit"], adpit[:, :, :4])


def test_adpit_counts_each_class_and_frame_for_itself() -> None:
    rows = [event(0), event(1, dry_onset_s=0.4, wet_onset_s=0.4, **LEFT), event(2, class_ids=[2])]
    active = targets(ss.frames(form="adpit"), rows)["adpit"][:, :, 0]
    assert [np.flatnonzero(active[frame, :, 0]).tolist() for frame in (2, 3, 4)] == [
        [0],
        [0],
        [1, 2],
    ]
    assert [np.flatnonzero(active[frame, :, 2]).tolist() for frame in (2, 4)] == [[0], [0]]


def test_event_lists_have_a_row_for_each_active_frame() -> None:
    rows = [event(3, dry_offset_s=0.4), event(5, class_ids=[2, 1], **LEFT)]
    found = targets(ss.frames(), rows)
    assert found["frame"].tolist() == [2, 2, 2, 3, 3, 3, 4, 4]
    assert found["class_id"].tolist() == [0, 2, 1, 0, 2, 1, 2, 1]
    assert found["event"].tolist() == [3, 5, 5, 3, 5, 5, 5, 5]
    np.testing.assert_allclose(found["direction"][1], [0, 1, 0], atol=1e-7)
    together = stack([found, found])
    assert together["row"].tolist() == [0] * 8 + [1] * 8
    assert together["mask"].shape == (2, 10)
    empty = targets(ss.frames(), [])
    assert empty["direction"].shape == (0, 3)


def test_a_crop_has_the_frames_of_its_scene() -> None:
    heard = [
        {"time_s": 0.2, "x": 1.0, "y": 0.0, "z": 0.0},
        {"time_s": 1.7, "x": 0.0, "y": 2.0, "z": 0.5},
    ]
    rows = [event(dry_offset_s=1.7, heard=heard)]
    table = frame_table(rows, 2 * SECOND, RATE)
    whole = targets(ss.frames(form="accdoa"), rows, n_samples=2 * SECOND, crop_samples=2 * SECOND)
    azimuth = np.degrees(np.arctan2(whole["accdoa"][:, 1, 0], whole["accdoa"][:, 0, 0]))
    active = table.active[0]
    np.testing.assert_allclose(azimuth[active], table.azimuth_deg[0][active], atol=1e-4)
    np.testing.assert_allclose(
        whole["distance_m"][active, 0], table.distance_m[0][active], rtol=1e-6
    )
    assert not whole["accdoa"][~active].any()
    for frame in range(11):
        start = frame * SECOND // 10
        part = targets(ss.frames(form="accdoa"), rows, start=start, n_samples=2 * SECOND)
        assert np.array_equal(part["accdoa"], whole["accdoa"][frame : frame + 10])


def test_frames_beyond_the_end_of_the_scene_are_masked() -> None:
    rows = [event(dry_offset_s=0.55)]
    found = targets(ss.frames(form="adpit"), rows, n_samples=4500)  # 5.6 frames
    assert found["mask"].tolist() == [True] * 6 + [False] * 4
    assert found["adpit"][:, 0, 0, 0].tolist() == [0, 0, 1, 1, 1, 1, 0, 0, 0, 0]
    assert found["adpit"].shape[0] == 10


def test_a_crop_that_is_no_whole_number_of_frames_has_the_last_one_too() -> None:
    assert maker(ss.frames(), 8001).n_frames == 11
    assert maker(ss.frames(hop_s=0.02), 8000).n_frames == 50
    with pytest.raises(ValueError, match="multiple of 800"):
        targets(ss.frames(), [], start=1)


def test_classes_are_chosen_ordered_and_joined() -> None:
    rows = [event(0), event(1, class_ids=[1]), event(2, class_ids=[2])]
    chosen = ss.frames(classes=["car", "bell"], form="accdoa")
    assert chosen.names([CLASSES]) == ("car", "bell")
    found = targets(chosen, rows)["accdoa"]
    assert found.shape == (10, 3, 2)
    joined = ss.frames(classes={"dog": "animal", "bell": "thing", "car": "thing"}, form="adpit")
    assert joined.names([CLASSES]) == ("animal", "thing")
    active = targets(joined, rows)["adpit"][2, :, 0]
    assert np.flatnonzero(active[:, 0]).tolist() == [0]
    assert np.flatnonzero(active[:, 1]).tolist() == [1, 2]


def test_only_targets_are_targets_unless_asked() -> None:
    rows = [event(0, role="interferer"), event(1, role="noise", class_ids=[]), event(2)]
    assert set(targets(ss.frames(), rows)["event"].tolist()) == {2}
    asked = ss.frames(roles=("target", "interferer"))
    assert set(targets(asked, rows)["event"].tolist()) == {0, 2}


def test_what_comes_from_nowhere_is_in_lists_only() -> None:
    nowhere = {"azimuth_start_deg": None, "elevation_start_deg": None, "distance_start_m": None}
    rows = [event(0, **nowhere), event(1, **LEFT)]
    found = targets(ss.frames(), rows)
    assert np.isnan(found["direction"][0]).all()
    adpit = targets(ss.frames(form="adpit"), rows)["adpit"]
    np.testing.assert_allclose(adpit[2, 0, :, 0], [1, 0, 1, 0], atol=1e-7)
    assert not adpit[2, 1:].any()


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"form": "acdoa"}, "form = 'acdoa'; did you mean 'accdoa'"),
        ({"roles": ("targets",)}, "roles = 'targets'; did you mean 'target'"),
        ({"hop_s": 0.0}, "hop_s = 0.0; must be above 0"),
        ({"hop_s": float("inf")}, "hop_s = inf; must be above 0 and finite"),
        ({"hop_s": "0.1"}, "hop_s = '0.1'; must be a number"),
        ({"classes": []}, "classes is empty"),
        ({"classes": "dog"}, r"a list of names; for one, \['dog'\]"),
        ({"classes": [3]}, "classes: 3 is not a name"),
        ({"classes": {"dog": 3}}, "classes: 3 is not a name"),
        ({"roles": "target"}, r"a list of names; for one, \['target'\]"),
        ({"roles": []}, "roles is empty"),
    ],
)
def test_wrong_targets_are_refused(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ss.frames(**asked)


def test_roles_may_be_given_by_an_iterator() -> None:
    assert ss.frames(roles=iter(["interferer", "target"])).roles == ("interferer", "target")


def test_streams_cut_targets_with_their_crops(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs torch: pip install 'scenesynth[torch]'")
    info = make_info(classes=CLASSES)
    create_or_open(tmp_path, info)
    extend_to(tmp_path, 4, info)
    writer = ShardWriter(tmp_path, info, 0, 4)
    for index in range(4):
        rows = [event(0, dry_offset_s=1.0 + index / 5), event(1, class_ids=[1], **LEFT)]
        writer.add(replace(make_scene(index, info), events=tuple(rows)))
    writer.commit(writer.put_files(), {}, {})
    ds = ss.open_dataset(tmp_path)
    for form in ("events", "accdoa", "adpit"):
        asked = ss.frames(form=form)
        made = maker(asked)
        (batch,) = ss.stream(ds, crop_s=1.0, batch=4, targets=asked)
        assert (batch.start % 800 == 0).all()
        expected = stack(
            [
                made.of_crop(made.labels(ds[index].events, 20000), 20000, start)
                for index, start in zip(batch.index.tolist(), batch.start.tolist(), strict=True)
            ]
        )
        assert batch.targets.keys() == expected.keys()
        for name, values in expected.items():
            np.testing.assert_array_equal(batch.targets[name].numpy(), values)
    assert len(set(batch.start.tolist())) > 1
