"""Laws of the stored scene and its tables."""

from __future__ import annotations

import numpy as np
import pytest

from scenesynth.errors import StoreError
from scenesynth.store.schema import (
    SCHEMA_VERSION,
    Scene,
    events_schema,
    scenes_schema,
    table_of,
)


def _scene(*formats: str) -> Scene:
    audio = {name: np.zeros((1, 4), np.float32) for name in formats}
    row = {"id": "train-00000003", "index": 3, "drr_db": -2.5}
    return Scene(spec_json="{}", sample_rate=8000, audio_by_format=audio, row=row, events=())


def test_audio_is_the_only_format_and_otherwise_names_them() -> None:
    assert _scene("mono").audio.shape == (1, 4)
    with pytest.raises(ValueError, match="foa, mono"):
        _ = _scene("foa", "mono").audio


def test_scene_takes_its_id_and_measurements_from_its_row() -> None:
    scene = _scene("mono")
    assert scene.id == "train-00000003"
    assert scene.measured["drr_db"] == -2.5
    assert scene.measured["c50_db"] is None


def test_each_format_adds_its_columns() -> None:
    names = set(scenes_schema(["foa", "hoa3"]).names)
    for name in ("foa", "hoa3"):
        assert {f"render_key_{name}", f"snr_{name}_db", f"gain_{name}", f"peak_{name}"} <= names
    assert "gain_mono" not in names


def test_schemas_carry_their_version() -> None:
    for schema in (scenes_schema(["foa"]), events_schema()):
        assert schema.metadata[b"scenesynth_schema"] == str(SCHEMA_VERSION).encode()


def test_missing_columns_and_nan_become_null_at_any_depth() -> None:
    row = {"index": 0, "drr_db": float("nan"), "rt60_measured_s": np.array([0.5, np.nan])}
    table = table_of([row], scenes_schema(["foa"]))
    plain = table.to_pylist()[0]
    assert plain["drr_db"] is None
    assert plain["rt60_measured_s"] == [0.5, None]
    assert plain["room"] is None


def test_unknown_column_is_refused_by_name() -> None:
    with pytest.raises(StoreError, match="'loudness'"):
        table_of([{"id": "train-00000000", "loudness": 1.0}], scenes_schema(["foa"]))


def test_trajectory_round_trips() -> None:
    key = {"time_s": 0.0, "x": 1.0, "y": 2.0, "z": 3.0, "qw": 1.0, "qx": 0.0, "qy": 0.0, "qz": 0.0}
    table = table_of([{"scene": "s", "trajectory": [key, key]}], events_schema())
    assert table.to_pylist()[0]["trajectory"] == [key, key]
