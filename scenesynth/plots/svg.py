"""Plots as SVG inside a page: text stays text, greys follow the page's theme.

Nothing in it depends on the time or the machine, so a page of the same data is the same bytes.
"""

from __future__ import annotations

import base64
import html
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2s
from typing import Final

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from PIL import Image

from scenesynth.plots.style import THEMED
from scenesynth.plots.text import FONT, one_line

_SETTINGS: Final = {"svg.fonttype": "none", "svg.hashsalt": "scenesynth"}
_NO_METADATA: Final = dict.fromkeys(("Creator", "Date", "Format", "Type"))
_TAG: Final = re.compile(r"<[a-z][^>]*>")
_COLOUR: Final = re.compile(r"(?<=: )#[0-9a-f]{6}")
_REFERENCE: Final = re.compile(r'\bid="|url\(#|href="#')
_PATH: Final = re.compile(r' d="[^"]*"')
_DECIMALS: Final = re.compile(r"(\.\d\d)\d+")
_IMAGE: Final = re.compile(r"(?<=data:image/png;base64,)[^\"]+")
_FONT: Final = f"font-family: '{FONT}'"
_HALO: Final = "halo_"
_HALO_STYLE: Final = (
    "paint-order: stroke; stroke: var(--paper); stroke-width: 2.5px; stroke-linejoin: round"
)


def to_svg(figure: Figure, title: str, description: str = "") -> Markup:
    """`figure` as an inline SVG element of class `plot`, as wide as its container.

    Call it inside `style.drawn_alike`, as for any drawing.

    Args:
        title: what is drawn, for those who hear the page; unique on a page.
        description: what it shows, in a sentence.
    """
    text = io.StringIO()
    with matplotlib.rc_context(_SETTINGS), _texts_alive(figure):
        figure.savefig(text, format="svg", metadata=_NO_METADATA)
    _, _, body = text.getvalue().partition("<svg ")
    attributes, _, content = body.partition(">")
    (box,) = re.findall(r'viewBox="([^"]*)"', attributes)
    mark = f"p{blake2s(title.encode(), digest_size=4).hexdigest()}-"
    told = html.escape(one_line(f"{title}. {description}" if description else title))
    return Markup(
        f'<svg class="plot" role="img" aria-label="{told}" viewBox="{box}" '
        f'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">'
        + _TAG.sub(lambda tag: _in_page(tag[0], mark), content)
    )


@contextmanager
def _texts_alive(figure: Figure) -> Iterator[None]:
    """Texts with a halo by name instead of by path effects, which would draw them as outlines."""
    texts = [*figure.texts, *(text for axes in figure.axes for text in axes.texts)]
    haloed = [text for text in texts if text.get_path_effects()]
    before = [(text.get_path_effects(), text.get_gid()) for text in haloed]
    for n, text in enumerate(haloed):
        text.set_path_effects([])
        text.set_gid(f"{_HALO}{n}")
    yield
    for text, (effects, name) in zip(haloed, before, strict=True):
        text.set_path_effects(effects)
        text.set_gid(name)


def _in_page(tag: str, mark: str) -> str:
    """A tag with themed colours, and with names that no other plot of the page has."""
    if tag.startswith("<image"):
        tag = _IMAGE.sub(lambda image: _with_palette(image[0]), tag)
    tag = _PATH.sub(lambda path: _DECIMALS.sub(r"\1", path[0]), tag)
    tag = tag.replace(_FONT, f"{_FONT}, sans-serif")
    tag = tag.replace(f'<g id="{_HALO}', f'<g style="{_HALO_STYLE}" id="{_HALO}')
    themed = _COLOUR.sub(lambda colour: _themed(colour[0]), tag)
    return _REFERENCE.sub(lambda reference: reference[0] + mark, themed)


def _themed(colour: str) -> str:
    name = THEMED.get(colour.upper())
    return f"var(--{name})" if name else colour


def _with_palette(encoded: str) -> str:
    """The same PNG with a palette, a sixth of the size, where it has few enough colours."""
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded))).convert("RGBA"))
    flat = np.ascontiguousarray(pixels).view(np.uint32)[..., 0]
    colours, index = np.unique(flat, return_inverse=True)
    if len(colours) > 256 or not (pixels[..., 3] == 255).all():
        return encoded
    image = Image.fromarray(index.reshape(flat.shape).astype(np.uint8), "P")
    image.putpalette(colours[:, None].view(np.uint8)[:, :3].tobytes())
    file = io.BytesIO()
    image.save(file, format="PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()
