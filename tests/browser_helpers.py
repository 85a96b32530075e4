"""A real browser for the tests of pages: Chromium of the distribution, without a window."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
FLAGS = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required", "--disable-dev-shm-usage"]

needs_browser = pytest.mark.skipif(
    not CHROMIUM, reason="Chromium is not installed (Debian: apt install chromium)"
)


@contextmanager
def browser() -> Iterator[Any]:
    """A Playwright browser; several pages may be opened in it."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            yield started
        finally:
            started.close()


@contextmanager
def opened(started: Any, where: Path | str, **settings: Any) -> Iterator[Any]:
    """A page of `browser`, from a file or an address; fails on what its console reports.

    Args:
        settings: of the page, such as `viewport` and `color_scheme`.
    """
    page = started.new_page(**settings)
    said: list[str] = []
    page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: said.append(f"error: {error}"))
    page.on("requestfailed", lambda request: said.append(f"request failed: {request.url[:100]}"))
    try:
        page.goto(where.resolve().as_uri() if isinstance(where, Path) else where)
        yield page
    finally:
        page.close()
    assert [line for line in said if line.startswith(("error", "warning", "request"))] == []
