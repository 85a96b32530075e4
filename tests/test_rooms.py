"""`scenesynth rooms`, recipes of measured rooms, and responses in plain files."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import yaml
from click.testing import CliRunner, Result
from measured_helpers import LISTENER, RATE, SOURCES, own_response, recorded, sofa_of
from scene_helpers import MINIMAL, fake_corpora, small_recipe, write_recipe

from scenesynth import open_dataset
from scenesynth.acoustics.exports import read_exports, with_axes
from scenesynth.acoustics.importing import import_room
from scenesynth.cli import main
from scenesynth.errors import ConfigError
from scenesynth.room.measured import find_room
from scenesynth.scene.geometry import to_listener
from scenesynth.scene.grid import NEAR_M
from scenesynth.scene.recipe import load_recipe
from scenesynth.scene.recipe_records import Recipe
from scenesynth.scene.sample import sample_scene, sample_scene_with_redraw
from scenesynth.scene.splits import split_families
from scenesynth.spatial.doa import intensity_direction

HEADER = "file,source_x,source_y,source_z,listener_x,listener_y,listener_z"


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def refused(*arguments: object, code: int = 2) -> str:
    result = call(*arguments)
    assert result.exit_code == code, result.output
    assert isinstance(result.exception, SystemExit)
    return result.stderr


@pytest.fixture(scope="module")
def houses() -> tuple[str, ...]:
    """Names of three imported rooms; the last has two listeners."""
    ring = tuple(
        (2.6 + 1.5 * math.cos(a), 2.3 + 1.5 * math.sin(a), z)
        for z in (1.2, 1.6)
        for a in np.radians(range(0, 360, 30)).tolist()
    )
    import_room(recorded(ring), "ring-house")
    import_room(recorded(), "free-house")
    both = [recorded(SOURCES[:4]), recorded(SOURCES[:4], listener_m=(2.0, 2.5, 1.5))]
    joined = {
        name: np.concatenate([getattr(part, name) for part in both])
        for name in ("responses", "delay", "source_m", "listener_m", "rotation")
    }
    import_room(replace(both[0], **joined), "wide-house")
    return ("ring-house", "free-house", "wide-house")


def measured_recipe(folder: Path, names: tuple[str, ...], **changes: Any) -> Recipe:
    pick = changes.pop("pick", "nearest")
    given: dict[str, Any] = {
        "engine": "sofa",
        "splits": {"train": {"share": 1}},
        "rooms": [{"name": "houses", "measured": {"rooms": list(names), "pick": pick}}],
        "targets": {"emitters": 2},
    }
    return small_recipe(folder, **(given | changes))


# --- recipes ---


def test_scenes_stand_at_the_measured_places(houses: tuple[str, ...], tmp_path: Path) -> None:
    recipe = measured_recipe(tmp_path, houses)
    seen = set()
    for index in range(30):
        spec = sample_scene(recipe, fake_corpora(), index=index)
        assert spec.room.measured is not None
        room = find_room(spec.room.measured.id)
        assert spec.engine == "sofa"
        assert spec.room.absorption == ()
        for emitter in spec.emitters:
            pose = emitter.keyframes[0].position_m
            at = (np.abs(room.pairs.source_m - pose).max(axis=1) < 1e-6) & (
                np.abs(room.pairs.listener_m - spec.listener[0].position_m).max(axis=1) < 1e-6
            )
            assert at.any()
        seen.add((room.card.name, spec.listener[0].position_m))
    assert {name for name, _ in seen} == set(houses)
    assert len(seen) == 4


def test_between_the_places_means_near_them(houses: tuple[str, ...], tmp_path: Path) -> None:
    recipe = measured_recipe(tmp_path, houses[:1], pick="interpolate")
    room = find_room(houses[0])
    away = []
    for index in range(20):
        spec = sample_scene(recipe, fake_corpora(), index=index)
        for emitter in spec.emitters:
            at = np.array(emitter.keyframes[0].position_m)
            away.append(np.linalg.norm(room.pairs.source_m - at, axis=1).min())
    assert 0.02 < max(away) < NEAR_M
    assert min(away) > 0


def test_distance_and_azimuth_are_ranges_there(houses: tuple[str, ...], tmp_path: Path) -> None:
    placement = {
        "distance_m": {"uniform": [1.3, 1.8]},
        "azimuth_deg": {"uniform": [-100, 100]},
        "separation_m": 0.4,
    }
    recipe = measured_recipe(tmp_path, houses[:2], targets={"emitters": 1, "placement": placement})
    for index in range(20):
        spec, _ = sample_scene_with_redraw(recipe, fake_corpora(), index=index)
        azimuth, _, distance = to_listener(
            spec.emitters[0].keyframes[0].position_m, spec.listener[0]
        )
        assert 1.3 <= distance <= 1.8
        assert abs(azimuth) <= 100


def test_no_measured_room_is_in_two_splits(houses: tuple[str, ...], tmp_path: Path) -> None:
    shares = {"train": {"share": 0.8}, "valid": {"share": 0.1}, "test": {"share": 0.1}}
    recipe = measured_recipe(tmp_path, houses, splits=shares)
    rooms = [
        {name for family in split_families(recipe, split) for name in family.measured.rooms}
        for split in shares
        if all(family.measured for family in split_families(recipe, split))
    ]
    assert [len(names) for names in rooms] == [1, 1, 1]
    assert set.union(*rooms) == set(houses)
    reordered = measured_recipe(tmp_path, houses[::-1], splits=shares)
    assert {n for f in split_families(reordered, "test") for n in f.measured.rooms} == rooms[2]


def test_fewer_rooms_than_splits_and_one_room_twice_are_refused(
    houses: tuple[str, ...], tmp_path: Path
) -> None:
    shares = {"train": {"share": 0.8}, "test": {"share": 0.2}}
    recipe = measured_recipe(tmp_path, houses[:1], splits=shares)
    with pytest.raises(ConfigError, match="1 measured rooms for 2 splits"):
        split_families(recipe, "train")
    twice = measured_recipe(tmp_path, (houses[0], str(find_room(houses[0]).folder)))
    with pytest.raises(ConfigError, match="are the same measured room"):
        split_families(twice, "train")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"engine": "shoebox"}, "sofa"),
        ({"rooms": MINIMAL["rooms"]}, "sofa"),
        ({"table": {"length_m": 1, "width_m": 1}}, "a measured room has no table"),
        ({"targets": {"directivity": "speech"}}, "targets.directivity = speech: measured"),
    ],
)
def test_what_does_not_go_with_measured_rooms_is_refused_on_reading(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        measured_recipe(tmp_path, ("anything",), **changes)


def test_a_measured_family_has_no_size(tmp_path: Path) -> None:
    rooms = [{"name": "a", "measured": {"rooms": ["b"]}, "length_m": 3}]
    with pytest.raises(ConfigError, match=r"rooms\[0\]: length_m: a room of shape 'measured'"):
        measured_recipe(tmp_path, (), rooms=rooms)
    with pytest.raises(ConfigError, match="no measured room 'nowhere'"):
        sample_scene(measured_recipe(tmp_path, ("nowhere",)), fake_corpora(), index=0)


def test_a_dataset_in_measured_rooms_has_true_labels(tmp_path: Path) -> None:
    """From SOFA files through the commands to audio whose direction is that of the labels."""
    folder = tmp_path / "sofa"
    folder.mkdir()
    sofa_of(recorded(anechoic=True)).write(folder / "dry-a.sofa")
    sofa_of(recorded(SOURCES[::-1], anechoic=True)).write(folder / "dry-b.sofa")
    assert call("rooms", "import", folder).exit_code == 0
    changes = {
        "engine": "sofa",
        "rooms": [{"name": "dry", "measured": {"rooms": ["dry-a", "dry-b"]}}],
        "splits": {"train": {"share": 1}},
        "duration_s": 2,
    }
    clips = tmp_path / "clips" / "noise"
    clips.mkdir(parents=True)
    for n in range(4):
        bursts = 0.1 * np.random.default_rng(n).standard_normal(16000)
        soundfile.write(clips / f"{n}.wav", bursts, 16000)
    recipe = write_recipe(tmp_path, changes)
    out = tmp_path / "out"
    done = call(
        *("render", "--recipe", recipe, "--scenes", 4, "--out", out, "--workers", 1, "--yes"),
        *("--sources", clips.parent, "--noise", clips),
    )
    assert done.exit_code == 0, done.output
    dataset = open_dataset(out)
    assert len(dataset) == 4
    for n in range(4):
        scene = dataset[n]
        event = scene.events[0]
        x, y, z = intensity_direction(scene.audio, scene.sample_rate)
        azimuth = math.radians(event["azimuth_start_deg"])
        elevation = math.radians(event["elevation_start_deg"])
        flat = math.cos(elevation)
        label = (flat * math.cos(azimuth), flat * math.sin(azimuth), math.sin(elevation))
        assert math.degrees(math.acos(min(1, x * label[0] + y * label[1] + z * label[2]))) < 1
        assert event["distance_start_m"] == pytest.approx(
            event["direct_delay_s"] * json.loads(scene.spec_json)["air"]["speed_of_sound_mps"],
            rel=1e-4,
        )


# --- commands ---


def test_help_teaches() -> None:
    text = call("rooms", "--help").stdout
    for command in ("list", "show", "fit", "import"):
        assert f"  {command}" in text
        assert "Example" in call("rooms", command, "--help").stdout or command == "list"


def test_list_shows_families_and_measured_rooms(houses: tuple[str, ...]) -> None:
    text = call("rooms", "list").stdout
    assert "gram:house" in text
    assert "ring-house" in text
    plain = json.loads(call("rooms", "list", "--json").stdout)
    assert {"ring-house", "free-house"} <= {card["name"] for card in plain["measured"]}


def test_show_draws_a_room_of_a_recipe() -> None:
    plain = json.loads(call("rooms", "show", "everyday:office", "--seed", 4, "--json").stdout)
    x, y, z = plain["size_m"]
    assert plain["volume_m3"] == pytest.approx(x * y * z)
    assert plain["mixing_s"] == pytest.approx(math.sqrt(x * y * z) / 1000)
    for low, t60, high in zip(plain["shortest_s"], plain["t60_s"], plain["longest_s"], strict=True):
        assert low < t60 < high
    text = call("rooms", "show", "everyday:office", "--seed", 4).stdout
    for words in ("absorption of z1", "T60 predicted", "Schroeder frequency", "mixing time"):
        assert words in text
    assert "no room family 'offce'; did you mean 'office'?" in refused(
        "rooms", "show", "everyday:offce"
    )


def test_show_measures_an_imported_room(houses: tuple[str, ...]) -> None:
    plain = json.loads(call("rooms", "show", "wide-house", "--json").stdout)
    assert (plain["n_sources"], plain["n_listeners"], plain["n_pairs"]) == (4, 2, 8)
    bands = dict(zip(plain["band_hz"], plain["t60_measured_s"], strict=True))
    assert bands[1000.0] == pytest.approx(0.3, rel=0.25)
    assert "from" not in call("rooms", "show", "wide-house").stdout.split("delays")[0]
    assert "no measured room 'wide-hose'; did you mean" in refused("rooms", "show", "wide-hose")


def test_fit_finds_the_absorption_and_says_what_can_be_had() -> None:
    plain = json.loads(call("rooms", "fit", "--size", "5,4,3", "--rt60", "0.4", "--json").stdout)
    np.testing.assert_allclose(plain["t60_s"], 0.4, rtol=0.01)
    weighted = json.loads(
        call(
            *("rooms", "fit", "--size", "5,4,3", "--rt60", "0.5,0.5,0.45,0.4,0.4,0.4,0.35"),
            *("--weights", "1,1,1,1,1,3", "--json"),
        ).stdout
    )
    walls = weighted["absorption"]
    assert walls[5][3] == pytest.approx(3 * walls[0][3], rel=1e-6)
    assert "it reaches" in refused("rooms", "fit", "--size", "5,4,3", "--rt60", "30")
    assert "--size 5,4: must be 3 positive numbers" in refused(
        "rooms", "fit", "--size", "5,4", "--rt60", "1"
    )


def test_fit_check_measures_what_it_rendered() -> None:
    result = call("rooms", "fit", "--size", "4,3,2.5", "--rt60", "0.2", "--check", "--json")
    plain = json.loads(result.stdout)
    measured = [got is None or abs(got / 0.2 - 1) <= 0.1 for got in plain["t60_measured_s"]]
    assert result.exit_code == (0 if all(measured) else 1)
    assert ("more than 10% off" in result.stderr) == (not all(measured))
    assert plain["t60_measured_s"][4] == pytest.approx(0.2, rel=0.1)


def test_fit_check_of_a_room_that_cannot_be_rendered_says_so() -> None:
    message = refused("rooms", "fit", "--size", "0.03,0.03,0.03", "--rt60", "0.01", "--check")
    assert "--check: --size 0.03,0.03,0.03 cannot be rendered: " in message


# --- plain files ---


def wavs(folder: Path, rows: Callable[[int], str] | None = None) -> Path:
    """Responses as wav files with a table, in a simulator's axes (y up, z to the back)."""
    lines = [HEADER]
    for n, (x, y, z) in enumerate(SOURCES):
        samples = own_response((x, y, z)).T * np.array([1, *[math.sqrt(3)] * 3])
        soundfile.write(folder / f"{n}.wav", 0.2 * samples, RATE, subtype="FLOAT")
        a, b, c = LISTENER
        lines.append(rows(n) if rows else f"{n}.wav,{x},{z},{-y},{a},{c},{-b}")
    table = folder / "positions.csv"
    table.write_text("\n".join(lines), encoding="utf-8")
    return table


def test_exports_of_a_simulator_become_a_room(tmp_path: Path) -> None:
    table = wavs(tmp_path)
    arguments = ("rooms", "import", tmp_path, "--positions", table, "--channels", "sh")
    message = refused(*arguments, "--name", "exported")
    assert "with --axes x,-z,y they would" in message
    done = call(*arguments, "--name", "exported", "--axes", "x,-z,y", "--json")
    assert done.exit_code == 0, done.output
    plain = json.loads(done.stdout)
    assert plain["convention"] == "acn-n3d"
    assert plain["fit"]["factor"] == pytest.approx(math.sqrt(3), rel=0.01)
    assert plain["fit"]["error_deg"] < 0.1
    room = find_room("exported")
    np.testing.assert_allclose(
        room.pairs.source_m - room.card.origin_m, np.array(SOURCES), atol=1e-5
    )
    np.testing.assert_allclose(room.pairs.gain, 5, rtol=0.01)


def test_one_npy_file_holds_all_responses_in_the_order_of_the_table(tmp_path: Path) -> None:
    given = recorded()
    np.save(tmp_path / "all.npy", given.responses)
    lines = [HEADER.removeprefix("file,") + ",yaw_deg"]
    lines += [",".join(map(str, (*source, *LISTENER, 90))) for source in SOURCES]
    (tmp_path / "p.csv").write_text("\n".join(lines))
    found = read_exports(tmp_path / "all.npy", tmp_path / "p.csv", RATE)
    np.testing.assert_array_equal(found.responses, given.responses)
    np.testing.assert_allclose(found.rotation[0] @ (1, 0, 0), (0, 1, 0), atol=1e-12)
    turned = with_axes(found, "-y,x,z")
    np.testing.assert_allclose(turned.source_m[:, 0], -found.source_m[:, 1])


def test_wrong_tables_and_files_are_named(tmp_path: Path) -> None:
    table = wavs(tmp_path)
    path = tmp_path / "p.csv"

    def message(text: str, files: Path = tmp_path, rate: int | None = None) -> str:
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ConfigError) as error:
            read_exports(files, path, rate)
        return str(error.value)

    assert "column source_z is missing" in message("file,source_x,source_y\n")
    assert "unknown column 'sorce_x'; did you mean 'source_x'?" in message("sorce_x,source_y\n")
    assert "has no rows" in message("file,source_x,source_y,source_z\n")
    full = "file,source_x,source_y,source_z\n"
    assert "row 1: source_y = 'two'; must be a number" in message(f"{full}0.wav,1,two,3\n")
    assert "row 1 has 3 values; expected 4" in message(f"{full}0.wav,1,2\n")
    assert "row 1 has 5 values; expected 4" in message(f"{full}0.wav,1,2,3,4\n")
    placed = f"{full.strip()},listener_x,listener_y,listener_z\n"
    assert "row 1 has 5 values; expected 7" in message(f"{placed}0.wav,1,2,3,4\n")
    twice = f"{full.strip()},source_x\n"
    assert "column source_x is there twice" in message(f"{twice}0.wav,1,2,3,4\n")
    assert "none.wav: no such file" in message(f"{full}none.wav,1,2,3\n")
    (tmp_path / "text.wav").write_text("no audio")
    assert "text.wav: cannot be decoded" in message(f"{full}text.wav,1,2,3\n")
    assert "row 1: file is missing" in message("source_x,source_y,source_z\n1,2,3\n")
    np.save(tmp_path / "a.npy", np.zeros((2, 4, 100)))
    single = "source_x,source_y,source_z\n1,2,3\n"
    assert "does not say its rate" in message(single, tmp_path / "a.npy")
    assert "holds 2 responses, but" in message(single, tmp_path / "a.npy", 24000)
    header = {"descr": "<f4", "fortran_order": False, "shape": (1, 4, 10**15)}
    with (tmp_path / "huge.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
    assert "huge.npy: cannot be read" in message(single, tmp_path / "huge.npy", 24000)
    np.save(tmp_path / "b.npy", np.zeros((1, 100, 4)))
    assert "expected real numbers" in message(single, tmp_path / "b.npy", 24000)
    soundfile.write(tmp_path / "slow.wav", np.ones((50, 4)), 8000)
    assert "channels at [8000, 24000] Hz" in message(f"{full}0.wav,1,2,3\nslow.wav,1,2,3\n")
    assert "must be three signed axes" in refused(
        *("rooms", "import", tmp_path, "--positions", table, "--axes", "x,x,y")
    )
    assert "give --positions CSV" in refused("rooms", "import", tmp_path / "0.wav")
    assert "holds no .sofa files" in refused("rooms", "import", tmp_path)
    assert "give --channels" in refused("rooms", "import", tmp_path, "--positions", table)


def test_a_real_array_recording_gives_mono_from_its_centre(
    real_audio: Path, tmp_path: Path
) -> None:
    path = real_audio / "rir" / "ExampleRoom_S1_R1_FRL10cm.wav"
    table = tmp_path / "p.csv"
    table.write_text("source_x,source_y,source_z\n2.0,0,0\n")
    done = call(
        *("rooms", "import", path, "--positions", table, "--channels", "mics", "--json"),
        *("--name", "example-room"),
    )
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["kind"] == "mics"
    shown = json.loads(call("rooms", "show", "example-room", "--json").stdout)
    bands = dict(zip(shown["band_hz"], shown["t60_measured_s"], strict=True))
    assert bands[1000.0] == pytest.approx(0.47, rel=0.2)  # T20 stated with the recording


def test_recipe_files_of_measured_rooms_are_plain_yaml(tmp_path: Path) -> None:
    plain = {
        **MINIMAL,
        "engine": "sofa",
        "rooms": [{"name": "a", "measured": {"rooms": ["x"]}}],
    }
    path = tmp_path / "m.yaml"
    path.write_text(yaml.safe_dump(plain))
    assert load_recipe(path).rooms[0].measured is not None


def test_a_room_that_is_no_box_is_shown_with_eyrings_estimate() -> None:
    plain = json.loads(call("rooms", "show", "l-shape", "--json").stdout)
    x, y, z = plain["size_m"]
    assert plain["volume_m3"] < x * y * z
    assert len(plain["surfaces"]) == len(plain["absorption"])
    assert plain["longest_s"] == []
    assert "T60 by Eyring" in call("rooms", "show", "l-shape").stdout
