"""One look for all plots, as PNG and inside pages that are light or dark."""

from __future__ import annotations

import base64
import io
import re
import xml.etree.ElementTree as ET

import matplotlib
import numpy as np
from PIL import Image

from scenesynth.plots import page
from scenesynth.plots.labels import HALO
from scenesynth.plots.style import COLOURS, INK, PAPER, THEMED, drawn_alike, new_figure
from scenesynth.plots.svg import to_svg


def drawn(title: str = "Title", text: str = "text") -> str:
    with drawn_alike():
        figure = new_figure(3, 2)
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1], color=COLOURS[0])
        axes.text(0.2, 0.5, text, color=INK)
        return str(to_svg(figure, title))


def test_a_plot_in_a_page_is_well_formed_and_keeps_its_text() -> None:
    root = ET.fromstring(drawn(text="<script>alert(1)</script> & #222222"))
    texts = [element.text for element in root.iter() if element.tag.endswith("}text")]
    assert "<script>alert(1)</script> & #222222" in texts
    assert not [element for element in root.iter() if element.tag.endswith("script")]


def test_greys_follow_the_theme_and_colours_do_not() -> None:
    svg = drawn()
    assert "var(--ink)" in svg
    assert "var(--paper)" in svg
    assert INK not in svg
    assert PAPER.lower() not in svg
    assert COLOURS[0].lower() in svg


def test_plots_of_one_page_share_no_names() -> None:
    def names(svg: str) -> set[str]:
        return set(re.findall(r' id="([^"]*)"', svg))

    assert names(drawn("One"))
    assert not names(drawn("One")) & names(drawn("Two"))


def test_what_a_plot_refers_to_is_in_it() -> None:
    svg = drawn()
    referred = set(re.findall(r'(?:url\(#|href="#)([^)"]*)', svg))
    assert referred
    assert referred <= set(re.findall(r' id="([^"]*)"', svg))


def test_the_same_plot_is_the_same_bytes() -> None:
    assert drawn() == drawn()


def test_a_title_is_escaped() -> None:
    svg = drawn('"><script>')
    assert "<script>" not in svg
    assert ET.fromstring(svg).get("aria-label") == '"><script>'


def test_a_page_has_every_colour_of_the_theme_in_light_and_dark() -> None:
    css = page._asset("scenesynth.plots", "page.css")
    for name in THEMED.values():
        assert css.count(f"--{name}:") == 3, name


def test_light_pages_have_the_colours_of_pictures() -> None:
    light = str(page._asset("scenesynth.plots", "page.css")).partition("}")[0]
    for colour, name in THEMED.items():
        if name != "quiet":  # text on a page is smaller, and has more contrast
            assert f"--{name}: {colour.lower()};" in light


def test_a_text_with_a_halo_stays_text_and_looks_the_same_afterwards() -> None:
    with drawn_alike():
        figure = new_figure(3, 2)
        note = figure.add_subplot().text(0.5, 0.5, "haloed", path_effects=HALO)
        svg = str(to_svg(figure, "Title"))
    assert ">haloed</text>" in svg
    assert "paint-order: stroke; stroke: var(--paper)" in svg
    assert note.get_path_effects() == HALO


def image_of(pixels: np.ndarray) -> Image.Image:
    with drawn_alike():
        figure = new_figure(3, 2)
        figure.add_subplot().imshow(pixels, cmap="magma", interpolation="none")
        svg = str(to_svg(figure, "Title"))
    (encoded,) = re.findall(r"data:image/png;base64,([^\"]+)", svg)
    return Image.open(io.BytesIO(base64.b64decode(encoded)))


def test_an_image_of_few_colours_has_a_palette_and_the_same_colours() -> None:
    few = np.random.default_rng(0).integers(0, 40, (30, 50))
    many = np.random.default_rng(0).integers(0, 2**24, (30, 50))
    rgb = np.stack([many >> 16, many >> 8 & 255, many & 255], axis=-1).astype(np.uint8)
    image = image_of(few)
    assert image.mode == "P"
    scaled = (few - few.min()) / (few.max() - few.min())
    wanted = matplotlib.colormaps["magma"](scaled, bytes=True)[..., :3]
    np.testing.assert_array_equal(np.asarray(image.convert("RGB"))[::-1], wanted[::-1])
    assert image_of(rgb).mode == "RGBA"


def test_text_falls_back_to_the_readers_font() -> None:
    assert "font-family: 'DejaVu Sans', sans-serif" in drawn()
