"""The heads at hand: those that come along, the user's own, and the sphere.

A set is two files of a folder: `ID.yaml`, its card, and `ID.npz`, its arrays. Folders are `hrtf` of
the package's data, `hrtf` of the cache, and those of `SCENESYNTH_HRTF` (separated as in PATH). A
head is known by its id and the digest of its arrays, so that neither a damaged nor another set can
pass for the one that a spec names.
"""

from __future__ import annotations

import io
import math
import os
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import yaml
from numpy.typing import NDArray

from scenesynth.data import cache_root, data_root
from scenesynth.errors import ConfigError
from scenesynth.records import did_you_mean, from_plain, to_plain
from scenesynth.spatial.ears import Head
from scenesynth.spatial.head_measure import arrays_of, asymmetry, tell_ears
from scenesynth.spatial.head_sofa import read_head_sofa
from scenesynth.spatial.hrtf import MeasuredHead, arrays_sha256, head_of
from scenesynth.spatial.sphere_head import parse_sphere

FOLDERS: Final = "SCENESYNTH_HRTF"
SPHERE: Final = "sphere"


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What a set is and where it came from, beside its arrays.

    Attributes:
        sha256: of the arrays, whatever the compression of the file.
        missing_pct: share of the sphere without measurements, which is filled from around.
        ears: how the ears were told apart.
        latency_ms: time that was taken out of the original's responses, so that time 0 is when the
            sound is at the head's centre.
        gain_db: gain on the original's samples.
        symmetric: whether left and right are exact mirror images.
    """

    id: str
    title: str
    licence: str
    citation: str
    file: str
    sha256: str
    source: str
    source_sha256: str
    sample_rate: int
    n_directions: int
    n_taps: int
    lowest_elevation_deg: float
    missing_pct: float
    ears: str
    latency_ms: float
    gain_db: float
    symmetric: bool
    notes: tuple[str, ...] = ()


def own_folder() -> Path:
    """Where `add_head` puts sets."""
    return cache_root() / "hrtf"


def head_folders() -> tuple[Path, ...]:
    """Folders that are looked through, in this order."""
    more = [Path(text) for text in os.environ.get(FOLDERS, "").split(os.pathsep) if text]
    return (data_root() / "hrtf", own_folder(), *more)


def head_ids() -> tuple[str, ...]:
    """Ids of all heads at hand; `sphere` stands for every `sphere:RADIUS`, too."""
    return (*dict.fromkeys(path.stem for path in _cards()), SPHERE)


def load_head(id: str, digest: str = "") -> Head:
    """The head of that id, at its own sample rate.

    Args:
        id: of a set, or "sphere", or "sphere:RADIUS" with the radius in metres.
        digest: which of several sets of that id; any if not given.

    Raises:
        ConfigError: an unknown id, another digest, or a damaged set.
    """
    if id == SPHERE or id.startswith(f"{SPHERE}:"):
        sphere = parse_sphere(id)
        _check_digest(id, [sphere.digest], digest)
        return sphere
    cards = find_cards(id)
    _check_digest(id, [card.sha256[:32] for card, _ in cards], digest)
    card, folder = next(pair for pair in cards if not digest or pair[0].sha256[:32] == digest)
    return _read(folder / card.file, card)


def find_cards(id: str) -> list[tuple[Card, Path]]:
    """Cards of that id with their folders, the first being the one that is meant.

    Raises:
        ConfigError: none has it, or a card is not one.
    """
    found = [(read_card(path), path.parent) for path in _cards() if path.stem == id]
    if not found:
        known = head_ids()
        raise ConfigError(
            f"head {id!r} is not known{did_you_mean(id, known)}; heads: {', '.join(known)} "
            f"(looked in {', '.join(map(str, head_folders()))}; scenesynth hrtf add FILE.sofa adds "
            f"one)"
        )
    return found


def read_card(path: Path) -> Card:
    """A card from its file.

    Raises:
        ConfigError: it is none.
    """
    try:
        plain = yaml.safe_load(path.read_text(encoding="utf-8"))
        card = from_plain(Card, plain)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ConfigError) as error:
        raise ConfigError(f"{path}: is no card of a head ({error})") from None
    if card.id != path.stem or card.file != f"{path.stem}.npz":
        raise ConfigError(f"{path}: is the card of {card.id!r} and {card.file}; names must agree")
    return card


def make_head(
    sofa_path: Path, id: str, *, title: str = "", licence: str = "", citation: str = ""
) -> tuple[Card, dict[str, NDArray[Any]]]:
    """Card and arrays of a SOFA file; what is given here replaces what the file says.

    Raises:
        ConfigError: a file that no head can be made of.
    """
    sofa = read_head_sofa(sofa_path)
    ears = tell_ears(sofa)
    arrays, notes = arrays_of(sofa, ears)
    head = head_of(arrays, id)
    card = Card(
        id=id,
        title=title or sofa.title,
        licence=licence or sofa.licence,
        citation=citation or sofa.citation,
        file=f"{id}.npz",
        sha256=arrays_sha256(arrays),
        source=sofa_path.name,
        source_sha256=sofa.sha256,
        sample_rate=head.sample_rate,
        n_directions=len(head.directions),
        n_taps=head.n_taps,
        lowest_elevation_deg=round(math.degrees(math.asin(head.directions[:, 2].min())), 1),
        missing_pct=round(100 * head.grid.missing_share, 1),
        ears=ears.how,
        latency_ms=round(-1000 * head.start_s, 4),
        gain_db=round(20 * math.log10(float(arrays["gain"])), 2),
        symmetric=asymmetry(head) == 0,
        notes=notes,
    )
    return card, arrays


def add_head(
    card: Card, arrays: dict[str, NDArray[Any]], folder: Path, licence_text: str = ""
) -> Path:
    """Put a set into a folder of heads, its card last. Returns the card's path.

    Raises:
        ConfigError: an id that cannot be, or that another set has.
    """
    _check_id(card.id)
    path = folder / f"{card.id}.yaml"
    others = [other for other in (*_cards(), path) if other.stem == card.id and other.is_file()]
    for other in others:
        if read_card(other).sha256 != card.sha256:
            raise ConfigError(
                f"head {card.id!r} is another set already ({other}); give another --id, or remove "
                f"that file"
            )
    packed = io.BytesIO()
    np.savez_compressed(packed, **arrays)  # type: ignore[arg-type]
    folder.mkdir(parents=True, exist_ok=True)
    _publish(folder / card.file, packed.getvalue())
    if licence_text:
        _publish(folder / f"{card.id}.licence.txt", licence_text.encode())
    text = yaml.safe_dump(to_plain(card), sort_keys=False, allow_unicode=True, width=100)
    _publish(path, text.encode())
    return path


def _check_id(id: str) -> None:
    letters = set("abcdefghijklmnopqrstuvwxyz0123456789-_.")
    if not id or id.startswith((".", "-")) or len(id) > 100 or not set(id) <= letters:
        raise ConfigError(
            f"id {id!r}: must be up to 100 of a-z, 0-9, - _ and dots, and not begin with - or a dot"
        )
    if id == SPHERE:
        raise ConfigError(f"id {id!r} is the built-in sphere; give another --id")


def _check_digest(id: str, known: list[str], wanted: str) -> None:
    if wanted and wanted not in known:
        raise ConfigError(
            f"head {id} (digest {wanted}) is at hand only with digest {', '.join(known)}; "
            f"set {FOLDERS} to a folder that holds the one that is wanted"
        )


def _cards() -> Iterator[Path]:
    for folder in head_folders():
        yield from sorted(folder.glob("*.yaml"))


@lru_cache(maxsize=8)
def _read(path: Path, card: Card) -> MeasuredHead:
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ConfigError(f"{path}: cannot be read ({error}); add the set again") from None
    if arrays_sha256(arrays) != card.sha256:
        raise ConfigError(
            f"{path}: is damaged, or not the set of its card: SHA-256 "
            f"{arrays_sha256(arrays)[:16]}..., expected {card.sha256[:16]}...; add the set again"
        )
    return head_of(arrays, card.id)


def _publish(path: Path, content: bytes) -> None:
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_bytes(content)
    part.replace(path)
