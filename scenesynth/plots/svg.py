"""Plots as SVG inside a page: text stays text, greys follow the page's theme.

Nothing in it depends on the time or the machine, so a page of the same data is the same bytes.
"""

from __future__ import annotations

import html
import io
import re
from hashlib import blake2s
from typing import Final

import matplotlib
from markupsafe import Markup
from matplotlib.figure import Figure

from scenesynth.plots.style import THEMED

_SETTINGS: Final = {"svg.fonttype": "none", "svg.hashsalt": "scenesynth"}
_NO_METADATA: Final = dict.fromkeys(("Creator", "Date", "Format", "Type"))
_TAG: Final = re.compile(r"<[a-z][^>]*>")
_COLOUR: Final = re.compile(r"(?<=: )#[0-9a-f]{6}")
_REFERENCE: Final = re.compile(r'\bid="|url\(#|href="#')


def to_svg(figure: Figure, title: str, description: str = "") -> Markup:
    """`figure` as an inline SVG element of class `plot`, as wide as its container.

    Call it inside `style.drawn_alike`, as for any drawing.

    Args:
        title: what is drawn, for those who hear the page; unique on a page.
        description: what it shows, in a sentence.
    """
    text = io.StringIO()
    with matplotlib.rc_context(_SETTINGS):
        figure.savefig(text, format="svg", metadata=_NO_METADATA)
    _, _, body = text.getvalue().partition("<svg ")
    attributes, _, content = body.partition(">")
    (box,) = re.findall(r'viewBox="([^"]*)"', attributes)
    mark = f"p{blake2s(title.encode(), digest_size=4).hexdigest()}-"
    told = html.escape(f"{title}. {description}" if description else title)
    return Markup(
        f'<svg class="plot" role="img" aria-label="{told}" viewBox="{box}" '
        f'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">'
        + _TAG.sub(lambda tag: _in_page(tag[0], mark), content)
    )


def _in_page(tag: str, mark: str) -> str:
    """A tag with themed colours, and with names that no other plot of the page has."""
    themed = _COLOUR.sub(lambda colour: _themed(colour[0]), tag)
    return _REFERENCE.sub(lambda reference: reference[0] + mark, themed)


def _themed(colour: str) -> str:
    name = THEMED.get(colour.upper())
    return f"var(--{name})" if name else colour
