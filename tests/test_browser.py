"""The page of a preview in a real browser: it plays, filters, sorts, and can be used by all."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser_helpers import browser, needs_browser, opened
from page_helpers import HOSTILE, Shelf, card, served, stored_scene, with_stems

from scenesynth.preview.page import page_html
from scenesynth.preview.player import encoded
from scenesynth.preview.serve import Previews

pytestmark = needs_browser

INDEX = "(list) => list.map((card) => Number(card.dataset.index))"


@pytest.fixture(scope="module")
def started() -> Iterator[Any]:
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory, compiled_kernels: None) -> Path:
    """A page of four scenes; a clip of the last one is called `<script>`."""
    scenes = [
        with_stems(stored_scene(index=0, seconds=1.0)),
        stored_scene([("rain", -20.0, 0.0)], index=3, row={"snr_achieved_db": -2.0}, seconds=0.5),
        stored_scene([("bell", 100.0, 30.0)], index=5, row={"rt60_broadband_s": 1.5}, seconds=0.5),
        stored_scene(
            [(HOSTILE, 0.0, 0.0)], index=8, row={"drr_db": -9.0}, seconds=0.5, clip=HOSTILE
        ),
    ]
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(page_html("a set", "about", "chosen", [card(s) for s in scenes]), "utf-8")
    return path


@pytest.fixture(scope="module")
def whole(started: Any, file: Path) -> Iterator[Any]:
    """The page, opened from disk once for all tests that leave it as it was."""
    with opened(started, file, viewport={"width": 1280, "height": 900}) as page:
        yield page


@pytest.fixture
def page(whole: Any) -> Iterator[Any]:
    yield whole
    whole.evaluate("document.querySelectorAll('audio').forEach((audio) => audio.pause())")
    whole.fill("#filter", "")
    whole.select_option("#class", "")
    whole.select_option("#sort", "index")
    whole.evaluate("document.activeElement.blur(); scrollTo(0, 0); go(cards()[0])")


def until(page: Any, condition: str, limit_s: float = 10.0) -> None:
    """Wait for a condition from outside: the page forbids the `eval` that Playwright would use."""
    end = time.monotonic() + limit_s
    while not page.evaluate(condition):
        assert time.monotonic() < end, f"waited in vain for {condition}"
        page.wait_for_timeout(20)


def visible(page: Any) -> list[int]:
    return page.eval_on_selector_all("article.card:not([hidden])", INDEX)


def test_sound_has_a_duration_and_advances(page: Any) -> None:
    audio = page.locator("article.card audio").first
    until(page, "document.querySelector('audio').readyState > 0")
    assert audio.evaluate("(a) => a.duration") == pytest.approx(1.0, abs=1e-3)
    audio.evaluate("(a) => { a.muted = true; return a.play(); }")
    until(page, "document.querySelector('audio').currentTime > 0.2")
    head = page.locator(".timeline .head").first
    assert head.is_visible()
    left = head.evaluate("(h) => parseFloat(h.style.left) / 100")
    start, stop = (float(page.get_attribute(".timeline", f"data-{end}")) for end in ("from", "to"))
    assert start < left <= stop


def test_a_stem_takes_over_where_the_mixture_was(page: Any) -> None:
    until(page, "document.querySelector('audio').readyState > 0")
    first = page.locator("article.card").first
    assert first.locator("option").all_text_contents()[:2] == ["mixture", "direct + early + late"]
    page.evaluate("document.querySelector('audio').currentTime = 0.5")
    before = page.evaluate("document.querySelector('audio').src")
    page.select_option(".track", label="late")
    until(page, "document.querySelector('audio').currentTime > 0.4")
    after = page.evaluate("document.querySelector('audio').src")
    assert after != before
    # Having read to the end, Chromium counts the silence that fills the last frames.
    assert page.evaluate("document.querySelector('audio').duration") == pytest.approx(1.0, abs=0.1)
    page.select_option(".track", index=0)
    until(page, f"document.querySelector('audio').src === '{before}'")


def test_a_click_in_a_plot_over_time_plays_from_there(page: Any) -> None:
    until(page, "document.querySelector('audio').readyState > 0")
    page.evaluate("document.querySelector('audio').muted = true")
    view = page.locator(".timeline").first
    start, stop = (float(view.get_attribute(f"data-{end}")) for end in ("from", "to"))
    box = view.bounding_box()
    at = {"x": box["width"] * (start + 0.6 * (stop - start)), "y": 30}
    view.click(position=at)
    until(page, "!document.querySelector('audio').paused")
    assert 0.55 < page.evaluate("document.querySelector('audio').currentTime") <= 1.0


@pytest.mark.parametrize(
    ("rate", "seconds"), [(8000, 1.3), (22050, 0.7), (24000, 1.0), (32000, 1.1), (44100, 0.5)]
)
def test_a_browser_decodes_tracks_to_the_sample(page: Any, rate: int, seconds: float) -> None:
    noise = np.random.default_rng(1).standard_normal((1, round(rate * seconds))) * 0.1
    _, data = encoded(noise.astype(np.float32), rate, 0.7)
    heard = page.evaluate(
        """async ([text, rate]) => {
            const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
            const context = new OfflineAudioContext(1, 1, rate);
            const audio = await context.decodeAudioData(bytes.buffer);
            return Array.from(audio.getChannelData(0));
        }""",
        [base64.b64encode(data).decode(), rate],
    )
    assert len(heard) == noise.shape[1]
    spectrum = np.conj(np.fft.rfft(noise[0])) * np.fft.rfft(heard)
    assert np.argmax(np.fft.irfft(spectrum)) == 0


def test_a_filter_hides_the_rest_and_says_how_many_are_left(page: Any) -> None:
    assert page.locator("#count").text_content() == "4 scenes"
    page.fill("#filter", "BELL")
    assert visible(page) == [5]
    assert page.locator("#count").text_content() == "1 of 4 scenes"
    page.fill("#filter", "no such clip")
    assert visible(page) == []
    assert page.locator("#none").is_visible()
    page.fill("#filter", "")
    page.select_option("#class", "rain")
    assert visible(page) == [3]


@pytest.mark.parametrize(("key", "first"), [("snr", 3), ("-t60", 5), ("drr", 8), ("index", 0)])
def test_cards_are_sorted(page: Any, key: str, first: int) -> None:
    page.select_option("#sort", key)
    assert visible(page)[0] == first
    assert sorted(visible(page)) == [0, 3, 5, 8]


def test_the_largest_label_error_comes_first(page: Any) -> None:
    page.select_option("#sort", "-error")
    errors = page.eval_on_selector_all(
        "article.card", "(list) => list.map((card) => Number(card.dataset.error))"
    )
    assert errors == sorted(errors, reverse=True)


def test_keys_lead_from_scene_to_scene_play_and_explain(page: Any) -> None:
    focused = "document.activeElement.dataset.index"
    page.evaluate("go(cards()[0])")
    page.keyboard.press("j")
    assert page.evaluate(focused) == "3"
    page.keyboard.press("ArrowRight")
    assert page.evaluate(focused) == "5"
    page.keyboard.press("k")
    assert page.evaluate(focused) == "3"
    page.evaluate("document.querySelectorAll('audio').forEach((audio) => { audio.muted = true; })")
    page.keyboard.press(" ")
    playing = "document.querySelector('#scene-3 audio')"
    until(page, f"!{playing}.paused")
    page.keyboard.press(" ")
    until(page, f"{playing}.paused")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "filter"
    page.keyboard.type("j ?")
    assert page.input_value("#filter") == "j ?"
    page.keyboard.press("Escape")
    page.fill("#filter", "")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()
    page.keyboard.press("Escape")
    assert not page.locator("#help").is_visible()


def test_a_clip_called_script_is_shown_as_text(page: Any) -> None:
    card = page.locator("#scene-8")
    assert card.locator("li.class").text_content() == HOSTILE
    assert HOSTILE in card.locator(".table").last.text_content()
    assert page.locator("script:has-text('alert(1)')").count() == 0
    page.select_option("#class", HOSTILE)
    assert visible(page) == [8]


def test_everything_that_can_be_used_has_a_name(page: Any) -> None:
    nameless = page.evaluate(
        """() => [...document.querySelectorAll('button, input, select, audio, summary, pre, '
              + '[role=region], [role=img], dialog, form, article')].filter((one) => {
            const label = one.getAttribute('aria-label')
              || document.getElementById(one.getAttribute('aria-labelledby'))?.textContent
              || one.labels?.[0]?.textContent
              || (['BUTTON', 'SUMMARY'].includes(one.tagName) && one.textContent)
              || (one.method === 'dialog' && 'in a dialog with a name');
            return !label?.trim();
        }).map((one) => one.outerHTML.slice(0, 80))"""
    )
    assert nameless == []
    plots = page.locator("svg.plot")
    assert plots.count() >= 8
    assert all(plot.get_attribute("role") == "img" for plot in plots.all())
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map((one) => one.id)")
    assert len(ids) == len(set(ids))


def test_a_command_is_copied_as_it_stands(page: Any) -> None:
    first = page.locator("#scene-0 details").first
    first.locator("summary").click()
    first.locator("button.copy").click()
    until(page, "document.querySelector('#scene-0 details .copy').textContent === 'Copied'")
    assert first.locator("code").text_content() == "scenesynth render --only train-00000000"
    first.locator("summary").click()


def test_a_phone_has_nothing_to_scroll_sideways(started: Any, file: Path) -> None:
    with opened(started, file, viewport={"width": 390, "height": 844}) as page:
        for card in page.locator("article.card").all():
            card.scroll_into_view_if_needed()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert page.locator("#scene-0 audio").bounding_box()["width"] > 250


def test_colours_follow_the_system_and_the_button(started: Any, file: Path) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    with opened(started, file, color_scheme="dark") as page:
        dark = page.evaluate(background)
        page.click("#theme")
        light = page.evaluate(background)
        assert (dark, light) == ("rgb(23, 24, 26)", "rgb(255, 255, 255)")
        page.click("#theme")
        assert page.evaluate(background) == dark


def test_a_served_page_fetches_the_scenes_that_are_asked_for(started: Any) -> None:
    previews = Previews(Shelf(), [], "", page_scenes=1)
    loaded = "document.getElementById('loading').value === '' && cards().length === 1"
    with served(previews) as port, opened(started, f"http://127.0.0.1:{port}/") as page:
        until(page, loaded, 60)
        assert visible(page) == [0]
        assert page.is_disabled("#previous")
        page.click("#next")
        until(page, f"cards()[0]?.dataset.index === '1' && {loaded}", 60)
        until(page, "document.querySelector('audio').duration > 0")
        page.fill("#goto", "7")
        page.keyboard.press("Enter")
        until(page, f"cards()[0]?.dataset.index === '7' && {loaded}", 60)
        page.click("#previous")
        until(page, f"cards()[0]?.dataset.index === '6' && {loaded}", 60)
        assert page.locator("#count").text_content() == "1 scene"
