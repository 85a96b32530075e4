"""Responses from SOFA files (AES69): netCDF-4, which is HDF5, so that h5py reads them.

Understood are the conventions of `CONVENTIONS`: a room measured with microphones, Ambisonics or a
head, or a head in the free field. Positions become Cartesian metres, orientations matrices, and one
source with several emitters becomes as many pairs.

What files get wrong and this reader allows for: a position of all zeros needs no unit; `ListenerUp`
takes the type of `ListenerView`; receivers all at one place say nothing about what they are.
What it does not forgive: another convention, a unit that is not stated or not metres and degrees,
data that does not fit its positions.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from scenesynth.errors import ConfigError
from scenesynth.room.model import Vector
from scenesynth.room.recorded import FARTHEST_M, Channels, Recorded
from scenesynth.sofa import METRE, SofaFile, open_sofa, text

FREE_FIELD: Final = ("SimpleFreeFieldHRIR", "FreeFieldHRIR")
BINAURAL: Final = (*FREE_FIELD, "MultiSpeakerBRIR")
CONVENTIONS: Final = ("SingleRoomSRIR", "SingleRoomMIMOSRIR", "SingleRoomDRIR", *BINAURAL)

_ORDERINGS = {"acn": "acn", "fuma": "fuma", "wxyz": "wxyz"}


def read_sofa(path: Path) -> Recorded:
    """Responses of a SOFA file.

    Raises:
        ConfigError: not a SOFA file of a known convention, damaged, or without positions in metres.
    """
    try:
        with open_sofa(path, "room") as sofa:
            return _Reader(sofa).read().check()
    except MemoryError:
        raise ConfigError(
            f"{path}: its responses do not fit into memory; split the file, or copy it again if it "
            f"is smaller than that"
        ) from None


class _Reader:
    """One open file."""

    def __init__(self, sofa: SofaFile) -> None:
        self.path, self.file, self.sofa = sofa.path, sofa.file, sofa

    def read(self) -> Recorded:
        convention = self.sofa.convention(CONVENTIONS)
        emitters_m = self._positions("EmitterPosition", self._emitters(convention))
        if not len(emitters_m):
            raise ConfigError(f"{self.path}: EmitterPosition has no rows; expected 1 or more")
        responses = self._responses(convention, len(emitters_m))
        n, n_emitters = len(responses) // len(emitters_m), len(emitters_m)
        turned = np.einsum("nij,ej->nei", self._frame("Source", n), emitters_m)
        source_m = self._rows("SourcePosition", n)[:, None, :] + turned
        capsules_m, channels = self._receivers(convention, responses.shape[1])
        return Recorded(
            path=self.path,
            responses=responses,
            sample_rate=self.sofa.sample_rate(),
            delay=self._delay(n, responses.shape[1], n_emitters),
            source_m=source_m.reshape(-1, 3),
            listener_m=np.repeat(self._rows("ListenerPosition", n), n_emitters, axis=0),
            rotation=np.repeat(self._frame("Listener", n), n_emitters, axis=0),
            capsules_m=capsules_m,
            channels=channels,
            convention=self._ambisonics(),
            corners_m=self._corners(),
            title=text(self.file, "Title") or text(self.file, "DatabaseName"),
            licence=text(self.file, "License"),
            notes=(f"SOFA {convention} {text(self.file, 'SOFAConventionsVersion')}",),
        )

    def _emitters(self, convention: str) -> int | None:
        """Emitters that are pairs of their own; None where the data does not tell them apart."""
        if convention in ("SingleRoomSRIR", "SingleRoomDRIR", "SimpleFreeFieldHRIR"):
            return None
        return int(self.sofa.dataset("EmitterPosition").shape[0])

    def _responses(self, convention: str, n_emitters: int) -> NDArray[np.float32]:
        """Shape: [measurements * emitters, receivers, samples]."""
        data = self.sofa.dataset("Data.IR")
        if data.dtype.kind not in "fi":
            raise ConfigError(f"{self.path}: Data.IR holds {data.dtype}; expected real numbers")
        if 4 * data.size > os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2:
            raise MemoryError
        if data.ndim == 3:
            if n_emitters > 1:
                raise ConfigError(
                    f"{self.path}: Data.IR has shape {data.shape}, without the {n_emitters} "
                    f"emitters of EmitterPosition"
                )
            return np.asarray(data.astype(np.float32)[...])
        if data.ndim != 4:
            raise ConfigError(f"{self.path}: Data.IR has shape {data.shape}; expected 3 or 4 axes")
        # MultiSpeakerBRIR counts measurement, receiver, emitter, sample; the others put emitters
        # last. Writers mix the two up, so the number of emitters decides where it can.
        axis = 2 if convention == "MultiSpeakerBRIR" else 3
        if data.shape[axis] != n_emitters:
            axis = 5 - axis
        if data.shape[axis] != n_emitters:
            raise ConfigError(
                f"{self.path}: Data.IR has shape {data.shape}; no axis after the receivers has "
                f"the {n_emitters} emitters of EmitterPosition"
            )
        values = np.moveaxis(np.asarray(data.astype(np.float32)[...]), axis, 1)
        return np.ascontiguousarray(values.reshape(-1, *values.shape[2:]))

    def _delay(self, n: int, n_receivers: int, n_emitters: int) -> NDArray[np.float64]:
        """Delay in samples. Shape: [measurements * emitters, receivers]."""
        shape = (n, n_receivers, n_emitters)
        if "Data.Delay" not in self.file:
            return np.zeros((n * n_emitters, n_receivers))
        found = self.sofa.values("Data.Delay")
        if found.ndim == 2:
            found = found[:, :, None]
        try:
            full = np.broadcast_to(found, shape)
        except ValueError:
            raise ConfigError(
                f"{self.path}: Data.Delay has shape {found.shape}; expected "
                f"[1 or {n}, {n_receivers}, 1 or {n_emitters}]"
            ) from None
        return full.transpose(0, 2, 1).reshape(-1, n_receivers).copy()

    def _receivers(self, convention: str, n: int) -> tuple[NDArray[np.float64] | None, Channels]:
        """Where the channels are, and what they are as far as the file says."""
        data = self.sofa.dataset("ReceiverPosition")
        if text(data, "Type").lower() == "spherical harmonics":
            return None, "sh"
        places_m = self._positions("ReceiverPosition", n)
        if convention in BINAURAL:
            if n != 2:
                raise ConfigError(f"{self.path}: {convention} has {n} receivers; expected two ears")
            return places_m, "ears"
        # Responses in Ambisonics are often written with all receivers at the listener's place.
        return (None, "unknown") if n > 1 and not places_m.any() else (places_m, "mics")

    def _ambisonics(self) -> str:
        """Convention by the attributes that some writers add to Data.IR, or ""."""
        data = self.file["Data.IR"]
        ordering = text(data, "ChannelOrdering").lower()
        norm = text(data, "Normalization").lower()
        if ordering == "fuma":
            return "fuma"
        return f"{ordering}-{norm}" if ordering == "acn" and norm in ("sn3d", "n3d") else ""

    def _corners(self) -> tuple[Vector, Vector] | None:
        """Opposite corners of the room, where stated in metres and larger than nothing."""
        if "RoomCornerA" not in self.file or "RoomCornerB" not in self.file:
            return None
        corners = [np.atleast_2d(self.sofa.values(f"RoomCorner{x}")) for x in "AB"]
        if any(found.shape != (1, 3) for found in corners):
            return None
        for name in ("RoomCornerA", "RoomCornerB"):
            units = text(self.file[name], "Units")
            if units and not set(units.lower().replace(",", " ").split()) <= METRE:
                return None
        low, high = np.minimum(*corners)[0], np.maximum(*corners)[0]
        if not np.abs([low, high]).max() <= FARTHEST_M or np.min(high - low) <= 0:
            return None
        return tuple(low.tolist()), tuple(high.tolist())

    def _rows(self, name: str, n: int) -> NDArray[np.float64]:
        """A position per measurement, one for all being repeated. Shape: [n, 3]."""
        found = self._positions(name, None)
        if len(found) not in (1, n):
            raise ConfigError(
                f"{self.path}: {name} has {len(found)} rows for {n} measurements; expected 1 or {n}"
            )
        return np.broadcast_to(found, (n, 3)).copy()

    def _positions(self, name: str, n: int | None) -> NDArray[np.float64]:
        """Cartesian metres. Shape: [rows, 3], with `n` rows where given."""
        data = self.sofa.dataset(name)
        values = self.sofa.values(name)
        if values.ndim == 3:  # receivers and emitters may move with the measurement
            if values.shape[2] > 1 and not (values == values[:, :, :1]).all():
                raise ConfigError(f"{self.path}: {name} moves between measurements; not supported")
            values = values[:, :, 0]
        if values.ndim != 2 or values.shape[1] != 3:
            raise ConfigError(f"{self.path}: {name} has shape {data.shape}; expected [rows, 3]")
        if n is not None and len(values) == 1 < n:
            values = np.repeat(values, n, axis=0)
        if n is not None and len(values) != n:
            raise ConfigError(f"{self.path}: {name} has {len(values)} rows; expected {n}")
        kind = text(data, "Type").lower()
        return self.sofa.metres(name, values, kind, text(data, "Units"))

    def _frame(self, who: str, n: int) -> NDArray[np.float64]:
        """Matrix of front, left and up per measurement, from View and Up. Shape: [n, 3, 3]."""
        if f"{who}View" not in self.file:
            return np.broadcast_to(np.eye(3), (n, 3, 3)).copy()
        view = self.file[f"{who}View"]
        kind = text(view, "Type").lower() or "cartesian"
        axes = []
        for name, default in ((f"{who}View", (1.0, 0.0, 0.0)), (f"{who}Up", (0.0, 0.0, 1.0))):
            data = self.file.get(name)
            values = np.atleast_2d(np.array(default) if data is None else self.sofa.values(name))
            own = kind if data is None else (text(data, "Type").lower() or kind)
            if own == "spherical" and data is not None:
                values = self.sofa.metres(name, values, own, "degree, degree, metre")
            if values.ndim != 2 or values.shape[1] != 3 or len(values) not in (1, n):
                raise ConfigError(
                    f"{self.path}: {name} has shape {values.shape}; expected [{n}, 3]"
                )
            axes.append(np.broadcast_to(values, (n, 3)))
        return self._orthonormal(who, *axes)

    def _orthonormal(
        self, who: str, view: NDArray[np.float64], up: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        with np.errstate(invalid="ignore", divide="ignore"):
            front = view / np.linalg.norm(view, axis=1, keepdims=True)
            left = np.cross(up, front)
            left /= np.linalg.norm(left, axis=1, keepdims=True)
        if not np.isfinite(front).all() or not np.isfinite(left).all():
            raise ConfigError(f"{self.path}: {who}View and {who}Up span no frame")
        return np.stack([front, left, np.cross(front, left)], axis=2)
