"""The page of a preview: one HTML file that needs nothing else, or what a server shows at first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from scenesynth.errors import ConfigError
from scenesynth.plots.page import render_page
from scenesynth.preview.card import Card
from scenesynth.store.local import replace_file

PAGE_BYTES: Final = 13_500_000
"""What the cards of a page may take together, before stems are left out."""

_PACKAGE: Final = "scenesynth.preview"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pager:
    """What a served page needs to fetch cards.

    Attributes:
        page_scenes: scenes that are fetched together.
        n_chosen: scenes that were asked for by name or drawn; 0 for those from the first on.
    """

    page_scenes: int
    n_chosen: int = 0


def page_html(
    name: str,
    about: str,
    chosen: str,
    cards: Sequence[Card] = (),
    failures: Iterable[str] = (),
    pager: Pager | None = None,
) -> str:
    """The page.

    Args:
        name: of the dataset or recipe.
        about: what that is, in a sentence.
        chosen: how the scenes were chosen, in a sentence.
        failures: chosen scenes that cannot be shown, and why.
        pager: given if cards are fetched from a server.
    """
    return render_page(
        _PACKAGE,
        "preview.html",
        name=name,
        about=about,
        chosen=chosen,
        cards=cards,
        failures=list(failures),
        served=pager is not None,
        page_scenes=pager.page_scenes if pager else 0,
        n_chosen=pager.n_chosen if pager else 0,
        first=0,
    )


def card_html(card: Card) -> str:
    """A card alone, to be put into a page."""
    return render_page(_PACKAGE, "card.html", card=card)


def check_writable(path: Path) -> None:
    """Check that a page can be written to `path`, before the work; its folder is made.

    Raises:
        ConfigError: it cannot.
    """
    try:
        if path.is_dir():
            raise ConfigError(
                f"--out {path}: is a folder; give a file, such as {path / 'index.html'}"
            )
        there = path.exists()
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a"):
            pass
        if not there:
            path.unlink()
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be written ({error.strerror}); give another file with --out"
        ) from None


def check_folder(folder: Path) -> None:
    """Check that pictures can be written to `folder`, before the work; it is made.

    Raises:
        ConfigError: they cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ConfigError(
            f"{folder}: cannot be written ({error.strerror}); give another folder with --out"
        ) from None


def write_page(path: Path, html: str) -> None:
    """Write a page, whole or not at all: one that was there stays until then.

    Raises:
        OSError: it cannot, such as on a full disk.
    """
    replace_file(path, html.encode("utf-8", "replace"))
