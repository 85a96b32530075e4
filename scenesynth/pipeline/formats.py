"""Output formats as a dataset keeps them, and back: no file that described one is needed again."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from scenesynth.records import from_json, to_json
from scenesynth.spatial.arrays import MicArray
from scenesynth.spatial.formats import Format, array_format, parse_format
from scenesynth.store.layout import StoredFormat

_CONVENTIONS: Final = {
    "mono": "pressure at the listener's centre",
    "binaural": "ears of the scene's head, the left one first",
}
_AMBIX: Final = "AmbiX: ACN channel order, SN3D, real, no Condon-Shortley phase"


def stored_format(item: Format) -> StoredFormat:
    """A format as the store sees it."""
    return StoredFormat(
        name=item.name,
        channel_names=item.channel_names,
        convention=_convention(item),
        microphones="" if item.array is None else to_json(item.array),
    )


@lru_cache(maxsize=64)
def format_of(stored: StoredFormat) -> Format:
    """Inverse of `stored_format`."""
    if not stored.microphones:
        return parse_format(stored.name)
    return array_format(from_json(MicArray, stored.microphones), stored.name)


def _convention(item: Format) -> str:
    if item.array is not None:
        kind = "in free air" if item.array.kind == "open" else "on a rigid sphere"
        return f"{item.n_channels} microphones {kind}, radius {100 * item.array.radius_m:g} cm"
    return _CONVENTIONS.get(item.name, _AMBIX)
