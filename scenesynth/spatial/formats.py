"""Output formats: what a direction means to the channels.

Everything is a projection of one Ambisonic response. For Ambisonics and mono the channels are its
own; ears and microphones (`kind` "binaural" and "array") are receivers whose channels are made of
more orders than users ask to keep: filters turn its channels into theirs, and the early arrivals
are put right one by one (`scenesynth.acoustics.project`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final, Literal

from scenesynth.errors import ConfigError
from scenesynth.records import did_you_mean
from scenesynth.spatial.arrays import MicArray, load_array

MAX_ORDER: Final = 7

LATE_ORDER: Final = 4
"""Order of the late sound that ears and microphones hear; arrays of more than its 25 channels
take the lowest order that has as many."""

Kind = Literal["ambisonics", "binaural", "array"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """An output format.

    Attributes:
        name: "mono", "foa", "hoa2", "binaural", "mic", "mic-NAME"; also names its folder on disk.
        order: Ambisonic order of the response that the channels are made of.
        channel_names: one name per channel, in order.
        array: the microphones, where there are any.
    """

    name: str
    order: int
    channel_names: tuple[str, ...]
    kind: Kind = "ambisonics"
    array: MicArray | None = None

    @property
    def n_channels(self) -> int:
        """Number of channels."""
        return len(self.channel_names)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Channels of several formats side by side, as responses and mixtures hold them.

    Ambisonic channels come first, mono and lower orders being the first of them; then those of
    each receiver.

    Attributes:
        formats: what is asked for.
        order: of the Ambisonic channels that are kept; at least 0, the pressure.
    """

    formats: tuple[Format, ...]
    order: int

    @cached_property
    def receivers(self) -> tuple[Format, ...]:
        """The formats that have channels of their own."""
        return tuple(item for item in self.formats if item.kind != "ambisonics")

    @cached_property
    def rows(self) -> Mapping[str, slice]:
        """Channels of each format."""
        found = {f.name: slice(0, f.n_channels) for f in self.formats if f.kind == "ambisonics"}
        first = self.n_ambisonic
        for item in self.receivers:
            found[item.name] = slice(first, first + item.n_channels)
            first += item.n_channels
        return found

    @property
    def n_ambisonic(self) -> int:
        """Ambisonic channels that are kept."""
        return (self.order + 1) ** 2

    @property
    def n_channels(self) -> int:
        """All channels."""
        return self.n_ambisonic + sum(item.n_channels for item in self.receivers)

    @property
    def source_order(self) -> int:
        """Order of the response that all of it is made of."""
        return max(self.order, *(item.order for item in self.receivers), 0)


def layout_of(formats: Sequence[Format], least_order: int = 0) -> Layout:
    """Formats side by side, with Ambisonic channels up to `least_order` at least."""
    orders = [item.order for item in formats if item.kind == "ambisonics"]
    return Layout(formats=tuple(formats), order=max(least_order, *orders, 0))


def ambisonic_format(order: int) -> Format:
    """Ambisonics of an order; order 0 is mono."""
    return _AMBISONIC["mono" if order == 0 else "foa" if order == 1 else f"hoa{order}"]


def parse_format(name: str) -> Format:
    """The format of that name; `mic:FILE` reads the microphones from a YAML file.

    Raises:
        ConfigError: an unknown name, or a file that describes no array.
    """
    if name in _AMBISONIC:
        return _AMBISONIC[name]
    if name == "binaural":
        return _BINAURAL
    if name == "mic":
        return _dcase_array()
    if name.startswith("mic:") and name != "mic:":
        array = load_array(name.removeprefix("mic:"))
        return array_format(array, f"mic-{array.name}")
    known = [*_AMBISONIC, "binaural", "mic", "mic:NAME", "mic:FILE"]
    guess = did_you_mean(name.lower(), known[:-2])
    raise ConfigError(f"format {name!r} is not known{guess}; formats: {', '.join(known)}")


def parse_formats(names: Sequence[str | Format]) -> list[Format]:
    """The formats of these names, each once; formats that are known already stay.

    Raises:
        ConfigError: none, an unknown one, or two that would be stored under one name.
    """
    if not names:
        raise ConfigError("formats is empty; name at least one, such as 'foa'")
    found: dict[str, Format] = {}
    for name in names:
        item = parse_format(name) if isinstance(name, str) else name
        # File systems and databases may not tell upper and lower case apart.
        other = found.setdefault(item.name.casefold(), item)
        if other != item:
            raise ConfigError(
                f"formats: two arrays would be stored as {other.name!r} and {item.name!r}; an "
                f"array is called as its file, so rename one of the two"
            )
    return list(found.values())


@lru_cache(maxsize=1)
def _dcase_array() -> Format:
    return array_format(load_array("mic"), "mic")


@lru_cache(maxsize=32)
def array_format(array: MicArray, name: str) -> Format:
    """The format of some microphones."""
    order = max(LATE_ORDER, math.ceil(math.sqrt(array.n_channels)) - 1)
    return Format(
        name=name, order=order, channel_names=array.channel_names, kind="array", array=array
    )


def _ambisonic(name: str, order: int) -> Format:
    letters = ("W", "Y", "Z", "X")
    names = tuple(letters[n] if n < 4 else f"ACN{n}" for n in range((order + 1) ** 2))
    return Format(name=name, order=order, channel_names=names)


_AMBISONIC: Final = {
    f.name: f
    for f in (
        Format(name="mono", order=0, channel_names=("omni",)),
        _ambisonic("foa", 1),
        *(_ambisonic(f"hoa{n}", n) for n in range(1, MAX_ORDER + 1)),
    )
}

_BINAURAL: Final = Format(
    name="binaural", order=LATE_ORDER, channel_names=("left", "right"), kind="binaural"
)
