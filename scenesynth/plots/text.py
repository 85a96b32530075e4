"""Texts of a picture: any label made drawable, numbers made readable."""

from __future__ import annotations

import math
import unicodedata
from functools import cache
from pathlib import Path

from matplotlib import get_data_path
from matplotlib.ft2font import FT2Font

FONT = "DejaVu Sans"  # ships with matplotlib, so a picture looks the same everywhere
EN_DASH, MINUS, TIMES = "\N{EN DASH}", "\N{MINUS SIGN}", "\N{MULTIPLICATION SIGN}"
INFINITY = "\N{INFINITY}"


@cache
def _font() -> FT2Font:
    return FT2Font(str(Path(get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"))


@cache
def _glyphs() -> frozenset[int]:
    return frozenset(_font().get_charmap())


def one_line(text: str) -> str:
    """`text` without characters that are not printed, such as those of control, on one line."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def drawable(text: str, limit: int = 28) -> str:
    """`text` on one line, in glyphs that the font has (others as `\\u72ac`), cut to `limit`."""
    known = "".join(
        c if ord(c) in _glyphs() else c.encode("ascii", "backslashreplace").decode()
        for c in unicodedata.normalize("NFC", one_line(text))
    )
    return known if len(known) <= limit else known[: limit - 1].rstrip() + "…"


def fitting(text: str, width_inches: float, size: float) -> str:
    """As `drawable`, cut to a width in a size of the font in points."""
    limit = 60
    while _width_inches(known := drawable(text, limit), size) > width_inches and limit > 2:
        limit = min(limit, len(known)) - 1
    return known


def _width_inches(text: str, size: float) -> float:
    font = _font()
    font.set_size(size, 72)
    font.set_text(text, 0.0)
    return float(font.get_width_height()[0]) / 64 / 72


def number(value: float | None, unit: str = "", digits: int = 1, sign: bool = False) -> str:
    """A number with its unit, or a dash where there is none. Zero has no sign."""
    if value is None or math.isnan(value):
        return EN_DASH
    text = f"{value:{'+' if sign else ''}.{digits}f}".replace("-", MINUS).replace("inf", INFINITY)
    if not text.strip(f"+{MINUS}0."):
        text = text.lstrip(f"+{MINUS}")
    return f"{text}{unit if unit == '°' or not unit else f' {unit}'}"


def direction(azimuth_deg: float | None, elevation_deg: float | None) -> str:
    """A direction, such as `az +34° el −3°`."""
    return f"az {number(azimuth_deg, '°', 0, True)} el {number(elevation_deg, '°', 0, True)}"


def hertz(freq_hz: float) -> str:
    """A frequency of a scale, such as `250` or `4k`."""
    return f"{freq_hz / 1000:g}k" if freq_hz >= 1000 else f"{freq_hz:g}"
