"""Measured rooms, and rooms simulated elsewhere: responses with positions, in a library of folders.

A room of the library is a folder of three files:

    room.json       the card: what the responses are, and where they came from
    pairs.npz       per pair of a source and a listener: positions, orientation, delay, checksum
    responses.npy   float32 [pairs, channels, samples], read by memory map

Ambisonic responses are ACN, SN3D, whatever the original was. Positions are room coordinates: metres
from a corner of a box that holds them all. The digest covers the card, all pairs and the checksum
of every response; a response is compared with its checksum whenever it is read, so that neither a
damaged nor another room can pass for the one that a spec names.

Rooms lie in `cache_root()/rooms` and in the folders of `SCENESYNTH_ROOMS` (separated as in PATH).
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Final, Literal

import numpy as np
import xxhash
from numpy.typing import NDArray

from scenesynth.data import cache_root
from scenesynth.errors import ConfigError
from scenesynth.records import did_you_mean, from_json, to_json
from scenesynth.room.model import AssetRef, Vector

FOLDERS: Final = "SCENESYNTH_ROOMS"
CARD, PAIRS, RESPONSES = "room.json", "pairs.npz", "responses.npy"
_SHOWN: Final = 16
"""Digits of the digest in a folder's name."""

_LONGEST: Final = 200
"""Bytes of a name: a folder's has up to 255, and digest and process are added."""

Kind = Literal["sh", "mics", "ears"]


def check_name(name: str) -> None:
    """Check a name for the library, which becomes part of a folder's.

    Raises:
        ConfigError: one that no folder, or no recipe, could have.
    """
    if (
        not name.isprintable()
        or name != name.strip()
        or not 0 < len(name.encode(errors="replace")) <= _LONGEST
        or name.startswith(".")
        or set("/@") & set(name)
    ):
        raise ConfigError(
            f"name {name!r}: must be printable text of at most {_LONGEST} bytes without / and @, "
            f"no dot first and no blank at an end; give another one (--name)"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What the responses of a room are, and where they came from.

    Attributes:
        name: name in the library.
        kind: "sh": Ambisonics of `order`, ACN SN3D; "mics": capsules; "ears": left, right.
        capsules_m: capsules relative to the listener's place, in its frame ("mics").
        omni: channel that stands for the pressure at the listener's place; None where none does.
        size_m: box that holds all positions.
        size_stated: whether the original stated its room's corners.
        origin_m: where the original's origin lies in room coordinates.
        calibrated: whether the original's levels were kept.
        onset: what the original's delays were found to mean.
        convention: Ambisonic convention of the original ("sh").
        notes: what was decided from the data, for people.
        source: name of the original file.
        source_digest: digest of its bytes.
    """

    schema: Literal[1] = 1
    name: str
    kind: Kind
    order: int = 0
    capsules_m: tuple[Vector, ...] = ()
    omni: int | None = None
    sample_rate: int
    n_pairs: int
    n_channels: int
    n_samples: int
    size_m: Vector
    size_stated: bool = False
    origin_m: Vector = (0.0, 0.0, 0.0)
    calibrated: bool = False
    onset: str = ""
    convention: str = ""
    notes: tuple[str, ...] = ()
    title: str = ""
    licence: str = ""
    source: str = ""
    source_digest: str = ""

    def __post_init__(self) -> None:
        check_name(self.name)
        if min(self.sample_rate, self.n_pairs, self.n_channels, self.n_samples) < 1:
            raise ValueError("sample_rate, n_pairs, n_channels and n_samples must be positive")
        if self.kind == "sh" and self.n_channels != (self.order + 1) ** 2:
            raise ValueError(
                f"order = {self.order} with {self.n_channels} channels; must be (order + 1)^2"
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class Pairs:
    """What is known of each response, by row.

    Attributes:
        source_m, listener_m: positions in room coordinates. Shape: [pairs, 3].
        rotation: listener-to-room matrix when it was recorded. Shape: [pairs, 3, 3].
        direct_s: when the direct sound comes in the stored response, which may be before its start.
            Shape: [pairs].
        gain: factor that makes a source at 1 m give 1.0 in W. Shape: [pairs].
        checksum: of the stored samples. Shape: [pairs].
    """

    source_m: NDArray[np.float64]
    listener_m: NDArray[np.float64]
    rotation: NDArray[np.float64]
    direct_s: NDArray[np.float64]
    gain: NDArray[np.float64]
    checksum: NDArray[np.uint64]

    @cached_property
    def distance_m(self) -> NDArray[np.float64]:
        """Distance of every source from its listener. Shape: [pairs]."""
        return np.asarray(np.linalg.norm(self.source_m - self.listener_m, axis=1))


@dataclass(frozen=True, kw_only=True, eq=False)
class MeasuredRoom:
    """A room of the library."""

    card: Card
    pairs: Pairs
    digest: str
    folder: Path

    @property
    def ref(self) -> AssetRef:
        """How a spec names it."""
        return AssetRef(id=self.card.name, digest=self.digest)

    @property
    def length_s(self) -> float:
        """From emission to the end of the longest response, at 331 m/s or faster, in whole ms."""
        stored_s = self.card.n_samples / self.card.sample_rate
        tail_s = stored_s - self.pairs.direct_s + self.pairs.distance_m / 331.0
        return float(np.ceil(np.max(tail_s) * 1e3) / 1e3)

    @cached_property
    def _responses(self) -> NDArray[np.float32]:
        path = self.folder / RESPONSES
        shape = (self.card.n_pairs, self.card.n_channels, self.card.n_samples)
        try:
            found = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path}: cannot be read ({error}); import the room again") from None
        if found.shape != shape or found.dtype != np.float32:
            raise ConfigError(
                f"{path}: holds {found.dtype} {found.shape}, expected float32 {shape}; "
                f"import the room again"
            )
        return found  # type: ignore[no-any-return]

    def response(self, pair: int) -> NDArray[np.float32]:
        """Stored samples of a pair, neither shifted nor scaled. Shape: [channels, samples].

        Raises:
            ConfigError: the file is damaged.
        """
        samples = np.array(self._responses[pair])
        if checksum(samples) != int(self.pairs.checksum[pair]):
            raise ConfigError(
                f"{self.folder / RESPONSES}: response {pair} differs from what was imported; "
                f"import room {self.card.name} again"
            )
        return samples


def checksum(samples: NDArray[np.float32]) -> int:
    """64-bit checksum of a response."""
    return xxhash.xxh3_64_intdigest(np.ascontiguousarray(samples, dtype="<f4").tobytes())


def library_folders() -> tuple[Path, ...]:
    """Folders that are searched for rooms; the first is written to."""
    more = os.environ.get(FOLDERS, "").split(os.pathsep)
    return (cache_root() / "rooms", *(Path(text) for text in more if text))


def library() -> Iterator[tuple[str, str, Path]]:
    """Name, start of the digest and folder of every room at hand, by the folders' names alone."""
    for folder in library_folders():
        for card in sorted(folder.glob(f"[!.]*-{'?' * _SHOWN}/{CARD}")):
            name = card.parent.name
            yield name[: -_SHOWN - 1], name[-_SHOWN:], card.parent


def find_room(name_or_path: str) -> MeasuredRoom:
    """A room by its name in the library, by `name@digest` (or the start of one), or by its folder.

    Raises:
        ConfigError: none, or several of that name.
    """
    if Path(name_or_path, CARD).is_file():
        return open_folder(Path(name_or_path))
    name, _, start = name_or_path.partition("@")
    entries = list(library())
    found = {
        digest: folder
        for known, digest, folder in entries
        if known == name and digest.startswith(start[:_SHOWN])
    }
    if len(found) == 1:
        return open_folder(*found.values())
    if found:
        raise ConfigError(
            f"room {name_or_path!r}: there are {len(found)} of that name; give one as "
            f"{', '.join(f'{name}@{digest[:8]}' for digest in found)}"
        )
    names = sorted({known for known, _, _ in entries})
    raise ConfigError(
        f"no measured room {name_or_path!r}{did_you_mean(name, names)}; the library "
        f"({', '.join(map(str, library_folders()))}) has {', '.join(names) or 'none'}. Import one: "
        f"scenesynth rooms import FILE"
    )


@lru_cache(maxsize=64)
def locate_room(ref: AssetRef) -> MeasuredRoom:
    """The room that a spec names, by its digest alone.

    Raises:
        ConfigError: it is not in the library.
    """
    same = []
    for name, start, folder in library():
        if ref.digest.startswith(start) and (room := open_folder(folder)).digest == ref.digest:
            return room
        if name == ref.id:
            same.append(start)
    other = f"; {ref.id} is there with digest {', '.join(same)}" if same else ""
    raise ConfigError(
        f"measured room {ref.id} (digest {ref.digest}) is in none of "
        f"{', '.join(map(str, library_folders()))}{other}. Import it again, or set {FOLDERS} to "
        f"a folder that holds it"
    )


@lru_cache(maxsize=256)
def open_folder(folder: Path) -> MeasuredRoom:
    """The room in a folder.

    Raises:
        ConfigError: not a room, or damaged.
    """
    path = folder / CARD
    try:
        card = from_json(Card, path.read_text(encoding="utf-8"), str(path))
        with np.load(folder / PAIRS, allow_pickle=False) as file:
            pairs = Pairs(**{name: file[name] for name in Pairs.__dataclass_fields__})
    except (OSError, KeyError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{folder}: is no measured room ({error}); import it again") from None
    digest = _digest(card, pairs)
    if not folder.name.endswith(digest[:_SHOWN]):
        raise ConfigError(f"{folder}: was changed after it was imported; import the room again")
    return MeasuredRoom(card=card, pairs=pairs, digest=digest, folder=folder)


def write_room(card: Card, pairs: Pairs, responses: NDArray[np.float32]) -> MeasuredRoom:
    """Put a room into the library; one of the same content is there already and is kept.

    Args:
        responses: Shape: [pairs, channels, samples].
    """
    digest = _digest(card, pairs)
    folder = library_folders()[0] / f"{card.name}-{digest[:_SHOWN]}"
    if not (folder / CARD).is_file():
        part = folder.with_name(f".{folder.name}.{os.getpid()}")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        np.save(part / RESPONSES, np.ascontiguousarray(responses, dtype=np.float32))
        np.savez(part / PAIRS, **{name: getattr(pairs, name) for name in _COLUMNS})
        (part / CARD).write_text(to_json(card), encoding="utf-8")
        try:
            part.rename(folder)
        except OSError:  # somebody else wrote the same room meanwhile
            shutil.rmtree(part)
            if not (folder / CARD).is_file():
                raise
    return open_folder(folder)


_COLUMNS = tuple(Pairs.__dataclass_fields__)


def _digest(card: Card, pairs: Pairs) -> str:
    state = hashlib.sha256(to_json(card).encode())
    for name in _COLUMNS:
        column = getattr(pairs, name)
        state.update(np.ascontiguousarray(column, dtype=column.dtype.newbyteorder("<")).tobytes())
    return state.hexdigest()[:32]
