"""Output formats: what a direction means to the channels.

A format is a pair: a unit vector gives K real gains (the real SN3D spherical harmonics up to
`order`, ACN), and a mixer turns K gains into channels. For Ambisonics the mixer is the identity.
"""

from __future__ import annotations

from dataclasses import dataclass

from scenesynth.errors import ConfigError

MAX_ORDER = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """An output format.

    Attributes:
        name: what users call it: "mono", "foa", "hoa2"...
        order: Ambisonic order of the directional gains.
        channel_names: one name per channel, in order.
        mixer: how gains become channels; None is the identity.
    """

    name: str
    order: int
    channel_names: tuple[str, ...]
    mixer: None = None

    @property
    def n_gains(self) -> int:
        """Number of directional gains, (order + 1)^2."""
        return (self.order + 1) ** 2

    @property
    def n_channels(self) -> int:
        """Number of channels."""
        return len(self.channel_names)


def _ambisonic(name: str, order: int) -> Format:
    letters = ("W", "Y", "Z", "X")
    names = tuple(letters[n] if n < 4 else f"ACN{n}" for n in range((order + 1) ** 2))
    return Format(name=name, order=order, channel_names=names)


_FORMATS = {
    f.name: f
    for f in (
        Format(name="mono", order=0, channel_names=("omni",)),
        _ambisonic("foa", 1),
        *(_ambisonic(f"hoa{n}", n) for n in range(1, MAX_ORDER + 1)),
    )
}


def parse_format(name: str) -> Format:
    """The format of that name.

    Raises:
        ConfigError: an unknown name.
    """
    try:
        return _FORMATS[name]
    except KeyError:
        raise ConfigError(f"format {name!r} is not known; formats: {', '.join(_FORMATS)}") from None
