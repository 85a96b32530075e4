"""An audit's report in a real browser: it loads, its controls work and have names, it fits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser_helpers import browser, needs_browser, opened
from report_helpers import EVIL, make_audit

from scenesynth.audit.page import write_report

pytestmark = needs_browser

PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A report with failures and names that are markup, and one with a comparison."""
    folder = tmp_path_factory.mktemp("reports")
    found = {name: folder / f"{name}.html" for name in ("one", "two")}
    audit = make_audit(labels=(EVIL, "dog"))
    write_report(found["one"], audit)
    write_report(found["two"], audit, make_audit(seed=1, snr_db=(0.0, 9.0)))
    return found


@pytest.fixture(scope="module")
def started() -> Iterator[Any]:
    with browser() as found:
        yield found


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["one", "two"])
def test_a_report_loads_in_light_and_dark(
    started: Any, reports: dict[str, Path], name: str, scheme: str
) -> None:
    with opened(started, reports[name], color_scheme=scheme) as page:
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (paper == "rgb(255, 255, 255)") == (scheme == "light")
        plot = page.locator("svg.plot").first
        assert plot.bounding_box()["height"] > 100
        assert page.locator("svg.plot[aria-label]").count() == page.locator("svg.plot").count()


@pytest.mark.parametrize("name", ["one", "two"])
def test_a_phone_shows_it_without_scrolling_sideways(
    started: Any, reports: dict[str, Path], name: str
) -> None:
    with opened(started, reports[name], viewport=PHONE) as page:
        page.locator("#open").click()
        page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_findings_open_and_close(started: Any, reports: dict[str, Path]) -> None:
    with opened(started, reports["one"]) as page:
        finding = page.get_by_text("3.0 dB off, not 0 (7)")
        assert not finding.is_visible()
        page.locator("details.findings summary").first.click()
        assert finding.is_visible()
        page.get_by_role("button", name="Open all findings").click()
        page.get_by_role("button", name="Close all findings").click()
        assert not finding.is_visible()


def test_a_link_of_the_verdict_opens_the_findings_of_its_check(
    started: Any, reports: dict[str, Path]
) -> None:
    with opened(started, reports["one"]) as page:
        page.get_by_role("button", name="passed 1").click()
        page.locator("#verdict").get_by_role("link", name="snr").click()
        assert page.get_by_text("3.0 dB off, not 0 (7)").is_visible()


def test_filters_show_checks_of_one_status(started: Any, reports: dict[str, Path]) -> None:
    with opened(started, reports["one"]) as page:
        rows = page.locator("tr[data-status]:visible")
        assert rows.count() == 4
        button = page.get_by_role("button", name="failed 1")
        button.click()
        assert rows.count() == 1
        assert button.get_attribute("aria-pressed") == "true"
        page.get_by_role("button", name="all 4").click()
        assert rows.count() == 4


def test_the_colours_can_be_chosen(started: Any, reports: dict[str, Path]) -> None:
    with opened(started, reports["one"], color_scheme="light") as page:
        button = page.get_by_role("button", name="Colours: system")
        button.click()
        page.get_by_role("button", name="Colours: light").click()
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(23, 24, 26)"


def test_every_control_and_region_has_a_name(started: Any, reports: dict[str, Path]) -> None:
    with opened(started, reports["two"]) as page:
        told = page.locator("body").aria_snapshot()
        for role in ("button", "link", "img", "group", "region", "navigation"):
            lines = [line.strip() for line in told.splitlines()]
            named = [line for line in lines if line.startswith((f"- {role} ", f"- {role}:"))]
            assert all('"' in line or role == "group" for line in named), role
        summaries = page.locator("summary").all_inner_texts()
        assert all(text.strip() for text in summaries)
        texts = page.locator("summary").all_text_contents()
        assert len(set(texts)) == len(texts)


def test_markup_in_names_is_shown_as_text(started: Any, reports: dict[str, Path]) -> None:
    with opened(started, reports["one"]) as page:
        page.on("dialog", lambda dialog: pytest.fail(dialog.message))
        assert page.get_by_role("rowheader", name=EVIL, exact=True).is_visible()
        assert page.locator("script").count() == 1
