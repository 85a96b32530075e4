"""Responses of the package's own engine as if measured, and SOFA files of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from scenesynth.acoustics.response import shoebox_response
from scenesynth.room.decay import absorption_for_t60
from scenesynth.room.model import OCTAVE_BANDS_HZ, Air, Room, Vector
from scenesynth.room.recorded import Recorded
from scenesynth.scene.geometry import rotation_matrix
from scenesynth.spatial.formats import parse_format

RATE = 24000
SIZE: Vector = (6.0, 5.0, 3.0)
LISTENER: Vector = (2.6, 2.3, 1.4)
AIR = Air()
SOURCES: tuple[Vector, ...] = (
    (4.1, 2.3, 1.4),
    (4.0, 3.2, 1.6),
    (2.4, 4.1, 1.2),
    (1.1, 3.4, 1.8),
    (0.9, 1.6, 1.3),
    (3.4, 0.9, 1.7),
    (4.6, 4.0, 0.8),
)


def own_room(rt60_s: float = 0.3) -> Room:
    walls = absorption_for_t60(SIZE, (rt60_s,) * len(OCTAVE_BANDS_HZ), OCTAVE_BANDS_HZ, AIR)
    return Room(id="own", size_m=SIZE, band_hz=OCTAVE_BANDS_HZ, absorption=walls)


def own_response(
    source_m: Vector,
    listener_m: Vector = LISTENER,
    *,
    format: str = "foa",
    yaw_deg: float = 0.0,
    pitch_deg: float = 0.0,
    roll_deg: float = 0.0,
    length_s: float = 0.3,
    sample_rate: int = RATE,
    anechoic: bool = False,
) -> NDArray[np.float32]:
    """A response of `own_room`, without high-pass, which the scene applies."""
    room = own_room()
    if anechoic:
        walls = ((1.0,) * len(OCTAVE_BANDS_HZ),) * 6
        room = Room(id="own", size_m=SIZE, band_hz=OCTAVE_BANDS_HZ, absorption=walls)
    return shoebox_response(
        room=room,
        air=AIR,
        source_m=source_m,
        listener_m=listener_m,
        rotation=rotation_matrix(yaw_deg, pitch_deg, roll_deg),
        format=parse_format(format),
        sample_rate=sample_rate,
        length_s=length_s,
        highpass_hz=0.0,
    ).ir


def recorded(
    sources: tuple[Vector, ...] = SOURCES, listener_m: Vector = LISTENER, **fields: Any
) -> Recorded:
    """`own_response` of every source, with its positions."""
    given = {name: fields.pop(name) for name in ("format", "anechoic") if name in fields}
    responses = np.stack([own_response(source, listener_m, **given) for source in sources])
    n = len(sources)
    known: dict[str, Any] = {
        "path": Path("own"),
        "responses": responses,
        "sample_rate": RATE,
        "delay": np.zeros(responses.shape[:2]),
        "source_m": np.array(sources),
        "listener_m": np.tile(np.array(listener_m), (n, 1)),
        "rotation": np.tile(np.eye(3), (n, 1, 1)),
        "channels": "sh",
    }
    return Recorded(**(known | fields))


class Sofa:
    """Contents of a SOFA file: variables (values, Type, Units) and attributes, to be changed."""

    def __init__(self, convention: str, data: NDArray[np.floating], rate: float = RATE) -> None:
        self.attributes: dict[str, str] = {
            "Conventions": "SOFA",
            "Version": "2.1",
            "SOFAConventions": convention,
            "SOFAConventionsVersion": "1.0",
            "DataType": "FIR",
            "RoomType": "shoebox",
            "Title": "own",
            "License": "CC0",
        }
        self.variables: dict[str, tuple[Any, dict[str, str]]] = {}
        self.set("Data.IR", data)
        self.set("Data.SamplingRate", [rate], Units="hertz")
        self.set("Data.Delay", np.zeros((1, data.shape[1])))
        self.place("SourcePosition", [[1, 0, 0]])
        self.place("ListenerPosition", [[0, 0, 0]])
        self.place("EmitterPosition", np.zeros((1, 3, 1)))
        self.place("ReceiverPosition", np.zeros((data.shape[1], 3, 1)))
        self.place("ListenerView", [[1, 0, 0]])
        self.set("ListenerUp", [[0, 0, 1]])

    def set(self, name: str, values: Any, **attributes: str) -> None:
        self.variables[name] = (np.asarray(values, dtype=np.float64), attributes)

    def place(self, name: str, values: Any) -> None:
        self.set(name, values, Type="cartesian", Units="metre")

    def write(self, path: Path) -> Path:
        with h5py.File(path, "w") as file:
            for name, text in self.attributes.items():
                file.attrs[name] = np.bytes_(text)
            for name, (values, attributes) in self.variables.items():
                file[name] = values
                for key, text in attributes.items():
                    file[name].attrs[key] = np.bytes_(text)
        return path


def sofa_of(given: Recorded, convention: str = "SingleRoomSRIR") -> Sofa:
    """A file of some responses, Ambisonics by its receivers' type."""
    sofa = Sofa(convention, given.responses, given.sample_rate)
    sofa.place("SourcePosition", given.source_m)
    sofa.place("ListenerPosition", given.listener_m)
    sofa.place("ListenerView", given.rotation[:, :, 0])
    sofa.set("ListenerUp", given.rotation[:, :, 2])
    sofa.set("Data.Delay", given.delay)
    if given.channels == "sh":
        receivers = np.zeros((given.responses.shape[1], 3, 1))
        sofa.set("ReceiverPosition", receivers, Type="spherical harmonics", Units="degree")
    return sofa
