"""SOFA files of every convention that rooms can be read from, and of others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from measured_helpers import RATE, SOURCES, Sofa, recorded, sofa_of

from scenesynth.errors import ConfigError
from scenesynth.room.sofa import read_sofa

DATA = np.random.default_rng(5).standard_normal((3, 4, 64)).astype(np.float32)


@pytest.fixture
def sofa() -> Sofa:
    file = Sofa("SingleRoomSRIR", DATA)
    file.place("SourcePosition", [[1, 2, 3], [2, 0, 1], [0, -1, 1]])
    file.place("ListenerPosition", [[0.5, 0, 1]])
    return file


def test_responses_positions_and_orientation_are_read(tmp_path: Path) -> None:
    given = recorded(SOURCES[:3])
    found = read_sofa(sofa_of(given).write(tmp_path / "a.sofa"))
    np.testing.assert_array_equal(found.responses, given.responses)
    np.testing.assert_allclose(found.source_m, given.source_m)
    np.testing.assert_allclose(found.listener_m, given.listener_m)
    np.testing.assert_allclose(found.rotation, given.rotation, atol=1e-12)
    assert (found.channels, found.sample_rate, found.licence) == ("sh", RATE, "CC0")


def test_spherical_positions_are_the_cartesian_ones(sofa: Sofa, tmp_path: Path) -> None:
    units = {"Type": "spherical", "Units": "degree, degree, metre"}
    sofa.set("SourcePosition", [[90, 0, 2], [0, 90, 1], [-45, 0, np.sqrt(2)]], **units)
    found = read_sofa(sofa.write(tmp_path / "a.sofa"))
    np.testing.assert_allclose(found.source_m, [[0, 2, 0], [0, 0, 1], [1, -1, 0]], atol=1e-12)


def test_a_view_turns_the_listener(sofa: Sofa, tmp_path: Path) -> None:
    sofa.place("ListenerView", [[0, 2, 0]])
    found = read_sofa(sofa.write(tmp_path / "a.sofa"))
    left_of_it = found.rotation[0] @ (0, 1, 0)
    np.testing.assert_allclose(left_of_it, (-1, 0, 0), atol=1e-12)


@pytest.mark.parametrize("shape", [(1, 4), (3, 4)])
def test_delays_are_read_for_all_or_for_each(
    shape: tuple[int, int], sofa: Sofa, tmp_path: Path
) -> None:
    delay = np.arange(np.prod(shape), dtype=float).reshape(shape)
    sofa.set("Data.Delay", delay)
    found = read_sofa(sofa.write(tmp_path / "a.sofa"))
    np.testing.assert_array_equal(found.delay, np.broadcast_to(delay, (3, 4)))


@pytest.mark.parametrize(
    ("convention", "axis", "receivers"),
    [
        ("SingleRoomMIMOSRIR", 3, 4),
        ("MultiSpeakerBRIR", 2, 2),
        ("MultiSpeakerBRIR", 3, 2),  # as some writers have it
        ("FreeFieldHRIR", 3, 2),
    ],
)
def test_every_emitter_is_a_pair_of_its_own(
    convention: str, axis: int, receivers: int, tmp_path: Path
) -> None:
    data = np.random.default_rng(1).standard_normal((3, 5, receivers, 16)).astype(np.float32)
    file = Sofa(convention, np.zeros((3, receivers, 16)))
    file.set("Data.IR", np.moveaxis(data, 1, axis))
    places = np.random.default_rng(2).standard_normal((5, 3))
    file.place("EmitterPosition", places[:, :, None])
    file.place("SourcePosition", [[1, 0, 0]])
    file.place("SourceView", [[0, 1, 0]])
    found = read_sofa(file.write(tmp_path / "a.sofa"))
    np.testing.assert_array_equal(found.responses, data.reshape(15, receivers, 16))
    x, y, z = places.T  # the source looks along y: its x is the room's y, its y the room's -x
    np.testing.assert_allclose(found.source_m[:5], np.stack([1 - y, x, z], axis=1), atol=1e-12)
    np.testing.assert_allclose(found.source_m[5:10], found.source_m[:5])


def test_a_zero_position_needs_no_unit_and_receivers_at_one_place_say_nothing(
    sofa: Sofa, tmp_path: Path
) -> None:
    sofa.set("EmitterPosition", np.zeros((1, 3, 1)), Type="spherical", Units="metre")
    sofa.set("Data.IR", DATA, ChannelOrdering="acn", Normalization="sn3d")
    found = read_sofa(sofa.write(tmp_path / "a.sofa"))
    assert (found.channels, found.convention) == ("unknown", "acn-sn3d")


def test_default_corners_are_read_as_they_are(sofa: Sofa, tmp_path: Path) -> None:
    sofa.set("RoomCornerA", [[0, 0, 0]])
    sofa.set("RoomCornerB", [[4, 3, 2.5]])
    assert read_sofa(sofa.write(tmp_path / "a.sofa")).corners_m == ((0, 0, 0), (4, 3, 2.5))


def _other_convention(sofa: Sofa) -> None:
    sofa.attributes["SOFAConventions"] = "GeneralTF"


def _feet(sofa: Sofa) -> None:
    sofa.set("SourcePosition", np.ones((3, 3)), Type="cartesian", Units="foot")


def _radians(sofa: Sofa) -> None:
    sofa.set("SourcePosition", np.ones((3, 3)), Type="spherical", Units="radian, radian, metre")


def _kilohertz(sofa: Sofa) -> None:
    sofa.set("Data.SamplingRate", [24], Units="kilohertz")


def _no_positions(sofa: Sofa) -> None:
    del sofa.variables["SourcePosition"]


def _too_few_positions(sofa: Sofa) -> None:
    sofa.place("SourcePosition", np.ones((2, 3)))


def _not_a_number(sofa: Sofa) -> None:
    broken = DATA.copy()
    broken[1, 2, 3] = np.nan
    sofa.set("Data.IR", broken)


def _silent(sofa: Sofa) -> None:
    broken = DATA.copy()
    broken[2] = 0
    sofa.set("Data.IR", broken)


def _two_rates(sofa: Sofa) -> None:
    sofa.set("Data.SamplingRate", [24000, 48000, 24000], Units="hertz")


def _no_rate(sofa: Sofa) -> None:
    sofa.set("Data.SamplingRate", [np.nan], Units="hertz")


def _no_emitters(sofa: Sofa) -> None:
    sofa.place("EmitterPosition", np.zeros((0, 3, 1)))


def _far_away(sofa: Sofa) -> None:
    sofa.place("SourcePosition", [[1, 2, 3], [2, 1e300, 1], [0, -1, 1]])


def _late(sofa: Sofa) -> None:
    sofa.set("Data.Delay", np.full((1, 4), 1e9))


def _apart(sofa: Sofa) -> None:
    sofa.set("Data.Delay", [[0, 0, 0, 2 * RATE]])


def _no_frame(sofa: Sofa) -> None:
    sofa.place("ListenerView", [[0, 0, 1]])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_other_convention, "SOFAConventions = GeneralTF; rooms can be read from SingleRoomSRIR"),
        (_feet, "SourcePosition is cartesian in foot; expected cartesian in metre"),
        (_radians, "SourcePosition is spherical in radian, radian, metre; expected"),
        (_kilohertz, "Data.SamplingRate is in kilohertz; expected hertz"),
        (_no_positions, "has no SourcePosition"),
        (_too_few_positions, "SourcePosition has 2 rows for 3 measurements"),
        (_not_a_number, "response 1 holds NaN"),
        (_silent, "response 2 is silent"),
        (_two_rates, "expected one whole number"),
        (_no_rate, "Data.SamplingRate = [nan]; expected one whole number"),
        (_no_emitters, "EmitterPosition has no rows"),
        (_far_away, "source_m of response 1 = [2.0, 1e+300, 1.0]; must lie within 10000 m"),
        (_late, "response 0: delay 41666.7 s; at most 30 s"),
        (_apart, "response 0: delays of its channels differ: 2 s; at most 1 s"),
        (_no_frame, "ListenerView and ListenerUp span no frame"),
    ],
)
def test_what_cannot_be_understood_is_named(
    spoil: Callable[[Sofa], None], message: str, sofa: Sofa, tmp_path: Path
) -> None:
    spoil(sofa)
    with pytest.raises(ConfigError, match=r"a\.sofa: ") as error:
        read_sofa(sofa.write(tmp_path / "a.sofa"))
    assert message in str(error.value)


@pytest.mark.parametrize(
    "name",
    ["Data.IR", "Data.SamplingRate", "Data.Delay", "SourcePosition", "ListenerView", "RoomCornerB"],
)
def test_a_variable_that_is_no_array_of_numbers_is_named(
    name: str, sofa: Sofa, tmp_path: Path
) -> None:
    sofa.place("RoomCornerA", [[0, 0, 0]])
    sofa.place("RoomCornerB", [[4, 3, 2]])
    for content in ("text", None):
        path = sofa.write(tmp_path / "a.sofa")
        with h5py.File(path, "r+") as file:
            attributes = dict(file[name].attrs)
            del file[name]
            if content is None:
                file.create_group(name)
            else:
                file[name] = content
            file[name].attrs.update(attributes)
        with pytest.raises(ConfigError, match=rf"a\.sofa: {name} .*; expected .*numbers"):
            read_sofa(path)


def test_more_responses_than_memory_are_refused_unread(sofa: Sofa, tmp_path: Path) -> None:
    path = sofa.write(tmp_path / "a.sofa")
    with h5py.File(path, "r+") as file:
        del file["Data.IR"]
        file.create_dataset("Data.IR", shape=(3, 4, 10**12), dtype="f8", chunks=(1, 1, 10**5))
    with pytest.raises(ConfigError, match=r"a\.sofa: its responses do not fit into memory"):
        read_sofa(path)


@pytest.mark.parametrize(("far", "units"), [(20, "feet"), (1e300, "metre")])
def test_corners_that_cannot_be_metres_do_not_count(
    far: float, units: str, sofa: Sofa, tmp_path: Path
) -> None:
    for name, values in (("RoomCornerA", [[0, 0, 0]]), ("RoomCornerB", [[far] * 3])):
        sofa.set(name, values, Type="cartesian", Units=units)
    assert read_sofa(sofa.write(tmp_path / "a.sofa")).corners_m is None


def test_a_title_in_another_encoding_can_be_written_on(sofa: Sofa, tmp_path: Path) -> None:
    path = sofa.write(tmp_path / "a.sofa")
    with h5py.File(path, "r+") as file:
        del file.attrs["Title"]
        text = np.array("Aud\u00ed".encode("latin-1"), dtype=object)
        file.attrs.create("Title", text, dtype=h5py.string_dtype("utf-8"))
    assert read_sofa(path).title.encode("utf-8").startswith(b"Aud")


def test_a_truncated_or_foreign_file_is_an_error(sofa: Sofa, tmp_path: Path) -> None:
    path = sofa.write(tmp_path / "a.sofa")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ConfigError, match="is no SOFA file, or a damaged one"):
        read_sofa(path)
    path.write_text("no HDF5 at all")
    with pytest.raises(ConfigError, match="is no SOFA file, or a damaged one"):
        read_sofa(path)
    with pytest.raises(ConfigError, match="no such file"):
        read_sofa(tmp_path / "none.sofa")


def test_real_head_related_responses_are_read(real_audio: Path) -> None:
    kemar = read_sofa(real_audio / "hrtf" / "MIT_KEMAR_normal_pinna.sofa")
    assert kemar.responses.shape == (710, 2, 512)
    assert (kemar.sample_rate, kemar.channels) == (44100, "ears")
    np.testing.assert_allclose(np.linalg.norm(kemar.source_m, axis=1), 1.4)
