"""Laws of an audit's report: plots count what is there, and nothing in it is more than text."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup
from matplotlib.patches import StepPatch
from report_helpers import CHECKS, EVIL, IDENTITY, make_audit, without
from scipy import stats

from scenesynth.audit import charts, panels, sphere
from scenesynth.audit.actions import Action
from scenesynth.audit.bins import beyond, counts_of, edges_of, shares_of
from scenesynth.audit.charts import Series
from scenesynth.audit.columns import lists, middle_bands, numbers
from scenesynth.audit.page import MOST_FINDINGS, report, write_report
from scenesynth.audit.panels import histogram_panel, map_panel, ranks_panel, ratio_panel
from scenesynth.audit.quantities import QUANTITIES
from scenesynth.audit.records import Audit, Check
from scenesynth.audit.sections import directions_of, quantity_panel, sections, uses_of
from scenesynth.audit.tallies import MOST_ROWS, classes_by_split, grid, split_facts
from scenesynth.errors import ConfigError
from scenesynth.plots.style import drawn_alike

Array = np.ndarray
NUMBERS = st.lists(st.floats(-1e6, 1e6), max_size=40).map(np.array)


SCENES = 512


@pytest.fixture(scope="module")
def audit() -> Audit:
    return make_audit(SCENES, rooms=80)


@pytest.fixture(scope="module")
def page(audit: Audit) -> str:
    return report(audit)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is drawn, which takes longest; words and figures are as they are."""
    drawing = '<svg class="plot" role="img" aria-label="{}"></svg>'
    monkeypatch.setattr(panels, "to_svg", lambda figure, *told: Markup(drawing).format(told))
    for module in (charts, sphere):
        for name in ("histogram", "stacked", "ranks", "ranges", "draw_density", "draw_ratio"):
            monkeypatch.setattr(module, name, lambda *_, **__: None, raising=False)


@pytest.fixture
def plotless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages have no plots."""
    monkeypatch.setattr("scenesynth.audit.page.sections", lambda audit, other: ())


# --- histograms ----------------------------------------------------------------------------------


@given(st.lists(NUMBERS, max_size=3), st.booleans(), st.none() | st.floats(-10, 10))
def test_counts_of_a_histogram_add_up_to_the_values(
    series: list[Array], whole: bool, around: float | None
) -> None:
    series = [np.round(values) if whole else values for values in series]
    edges = edges_of(series, whole=whole, around=around)
    assert (np.diff(edges) > 0).all()
    for values in series:
        assert counts_of(values, edges).sum() == len(values)
        assert shares_of(values, edges).sum() == pytest.approx(100 if len(values) else 0)


@given(NUMBERS.filter(len), st.floats(-10, 10))
def test_nothing_is_beyond_the_edges_where_values_should_be_something(
    values: Array, wanted: float
) -> None:
    edges = edges_of([values], around=wanted)
    span = edges[-1] - edges[0]
    assert edges[0] <= min(values.min(), wanted) + 1e-9 * span
    assert edges[-1] >= max(values.max(), wanted) - 1e-9 * span


def test_a_value_far_out_leaves_the_others_readable() -> None:
    values = np.append(np.linspace(0.2, 0.6, 100), 3600.0)
    edges = edges_of([values])
    assert edges[-1] < 5
    assert counts_of(values, edges)[-1] >= 1
    assert beyond(values, edges) == 1


def test_each_whole_number_has_a_bin_of_its_own() -> None:
    values = np.array([1.0, 1, 2, 4])
    edges = edges_of([values], whole=True)
    assert edges.tolist() == [0.5, 1.5, 2.5, 3.5, 4.5]
    assert counts_of(values, edges).tolist() == [2, 1, 0, 1]


def test_bins_of_angles_go_all_the_way_round() -> None:
    edges = edges_of([np.array([3.0, 40])], circle=180.0)
    assert (edges[0], edges[-1]) == (-180, 180)
    assert 360 / (len(edges) - 1) % 5 == 0


def steps(figure: Any) -> list[StepPatch]:
    return [patch for patch in figure.axes[0].patches if isinstance(patch, StepPatch)]


def area(step: StepPatch) -> float:
    data = step.get_data()
    return float(np.sum(data.values * np.diff(data.edges)))


def test_the_line_of_the_recipe_integrates_to_the_bars() -> None:
    random = np.random.default_rng(1)
    series = [
        Series(name="looked at", values=random.normal(0, 1, 90)),
        Series(name="recipe", values=random.normal(0.5, 2, 400)),
    ]
    with drawn_alike():
        edges = edges_of([each.values for each in series])
        bars, line = steps(charts.histogram(series, edges, "x", "scenes"))
    assert bars.get_fill()
    assert not line.get_fill()
    assert area(bars) == pytest.approx(area(line))


def test_bars_upon_each_other_add_up_to_all() -> None:
    series = [Series(name=n, values=np.arange(k, 20.0)) for n, k in (("a", 0), ("b", 7), ("c", 3))]
    edges = edges_of([each.values for each in series])
    with drawn_alike():
        data = [step.get_data() for step in steps(charts.stacked(series, edges, "x", "events"))]
    assert [step.values.sum() - np.sum(step.baseline) for step in data] == [20, 13, 17]
    assert data[-1].values.sum() == 50


def test_the_line_of_uses_has_every_thing_at_its_rank() -> None:
    uses = np.array([1.0, 5, 2, 2, 1, 1])
    with drawn_alike():
        (line,) = steps(charts.ranks([Series(name="clips", values=uses)], "clips", "uses"))
    data = line.get_data()
    assert area(line) == uses.sum()
    assert data.values.tolist() == [5, 2, 1]
    assert data.edges.tolist() == [0.5, 1.5, 3.5, 6.5]


# --- the map -------------------------------------------------------------------------------------


def even_directions(n: int, seed: int) -> tuple[Array, Array]:
    random = np.random.default_rng(seed)
    height = random.uniform(-1, 1, n)
    return random.uniform(-180, 180, n), np.degrees(np.arcsin(height))


@pytest.mark.parametrize("n", [0, 40, 500, 100_000])
def test_all_cells_have_one_area_on_the_sphere_and_on_the_map(n: int) -> None:
    cells = sphere.cells_for(n)
    rings = np.diff(cells.ring_edges) / cells.per_ring
    np.testing.assert_allclose(rings, rings[0])
    areas = [shoelace(outline) for outline in sphere._outlines(cells)]
    # Straight pieces between the points of an outline cut some of the round rim off.
    np.testing.assert_allclose(areas, 2 * np.pi / cells.n, rtol=0.06)
    assert sum(areas) == pytest.approx(2 * np.pi, rel=0.01)


def shoelace(outline: Array) -> float:
    x, y = outline.T
    return float(abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2)


@pytest.mark.parametrize("seed", range(3))
def test_even_directions_are_evenly_dense_and_others_are_not(seed: int) -> None:
    directions = even_directions(4000, seed)
    cells = sphere.cells_for(4000)
    counts = sphere.counts_in(cells, *directions)
    assert counts.sum() == 4000
    assert stats.chisquare(counts).pvalue > 1e-3
    assert sphere.densities(cells, *directions).mean() == pytest.approx(1)
    flat = (directions[0], np.random.default_rng(seed).uniform(-90, 90, 4000))
    assert stats.chisquare(sphere.counts_in(cells, *flat)).pvalue < 1e-9


def test_the_front_is_in_the_middle_and_left_is_on_the_left() -> None:
    x, y = sphere.project(np.array([0.0, 90, -90, 179, -179]), np.zeros(5))
    assert x[0] == 0
    np.testing.assert_allclose(x[1:3], [-1, 1])
    assert x[3] == pytest.approx(-x[4])
    assert x[3] < -1.9
    np.testing.assert_allclose(y, 0, atol=1e-12)
    assert sphere.project(np.array([0.0]), np.array([90.0]))[1][0] == pytest.approx(1)


def test_the_map_says_left_on_its_left() -> None:
    with drawn_alike():
        figure = sphere.draw_density(*even_directions(100, 0))
    places = {text.get_text(): text.get_position()[0] for text in figure.axes[0].texts}
    assert places["left +90°"] < places["front"] < places["right \N{MINUS SIGN}90°"]


@given(st.floats(-90, 90), st.floats(-180, 180))
def test_the_map_is_mollweides(elevation: float, azimuth: float) -> None:
    x, y = sphere.project(np.array([azimuth]), np.array([elevation]))
    angle = np.arcsin(np.clip(y[0], -1, 1))
    assert 2 * angle + np.sin(2 * angle) == pytest.approx(np.pi * np.sin(np.radians(elevation)))
    assert (x[0] / 2) ** 2 + y[0] ** 2 <= 1 + 1e-9


def test_a_cluster_is_where_the_map_is_densest() -> None:
    cells = sphere.cells_for(400)
    cluster = (np.full(400, 90.0), np.full(400, 10.0))
    at = int(np.argmax(sphere.densities(cells, *cluster)))
    x, y = sphere._outlines(cells)[at].mean(axis=0)
    assert x < 0 < y


def test_two_draws_of_one_distribution_are_within_chance() -> None:
    one, other = even_directions(2000, 1), even_directions(3000, 2)
    cells = sphere.compared_cells(one, other)
    scores = sphere.chance_scores(cells, one, other)
    assert np.std(scores) == pytest.approx(1, abs=0.2)
    mirrored = (np.where(one[0] > 0, one[0], one[0] + 180), one[1])
    assert np.abs(sphere.chance_scores(cells, mirrored, other)).max() > 5


# --- columns -------------------------------------------------------------------------------------


def test_lists_become_rows_whatever_is_missing() -> None:
    table = pa.table({"x": pa.array([[1.0, 2], None, [], [3, None, 5]], pa.list_(pa.float64()))})
    np.testing.assert_array_equal(
        lists(table, "x", 2), [[1, 2], [np.nan] * 2, [np.nan] * 2, [3, np.nan]]
    )
    assert np.isnan(lists(table, "y", 2)).all()
    assert np.isnan(numbers(table, "x")).all()


def test_the_middle_of_octaves_is_that_of_500_and_1000_hz_and_of_one_band_that_one() -> None:
    values = np.full((3, 7), np.nan)
    values[0] = [9, 9, 1, 3, 9, 9, 9]
    values[1, 0] = 0.4
    np.testing.assert_array_equal(middle_bands(values), [2, 0.4, np.nan])


# --- panels --------------------------------------------------------------------------------------


def test_a_panel_tells_its_main_figures_to_who_cannot_see_it(audit: Audit) -> None:
    with drawn_alike():
        panel = quantity_panel(QUANTITIES[0], audit)
    median = np.median(QUANTITIES[0].looked_at(audit))
    label = ET.fromstring(str(panel.plot)).get("aria-label")
    assert label is not None
    assert label.startswith(panel.title)
    assert f"looked at: {median:.2f} s (" in label
    assert "recipe: " in label
    assert [row[0] for row in panel.rows] == ["looked at", "recipe", "test", "train"]
    counts = {row[0]: int(row[1]) for row in panel.rows}
    assert counts["looked at"] == counts["test"] + counts["train"] == SCENES


def test_what_there_is_none_of_is_said_and_not_drawn() -> None:
    with drawn_alike():
        none = histogram_panel(
            "SNR", [Series(name="looked at", values=np.empty(0))], axis="", counted="", unit="dB"
        )
        same = histogram_panel(
            "SNR", [Series(name="a", values=np.full(9, 5.0))], axis="", counted="scenes", unit="dB"
        )
        nowhere = map_panel("Directions", (np.empty(0), np.empty(0)))
    assert (none.plot, none.note) == (None, "none")
    assert (same.plot, same.note) == (None, "5.00 dB in all scenes")
    assert (nowhere.plot, nowhere.note) == (None, "none")


@pytest.mark.usefixtures("undrawn")
def test_all_titles_of_plots_differ(audit: Audit) -> None:
    with drawn_alike():
        for other in (None, make_audit(seed=1)):
            titles = [panel.title for part in sections(audit, other) for panel in part.panels]
            assert len(set(titles)) == len(titles)


def test_uses_of_clips_add_up_to_the_events(audit: Audit) -> None:
    uses = uses_of(audit.events, "clip", "corpus")
    assert set(uses) == {"sources", "noise"}
    assert sum(values.sum() for values in uses.values()) == len(audit.events)


# --- tables --------------------------------------------------------------------------------------


def test_classes_add_up_and_those_that_nothing_has_are_there(audit: Audit) -> None:
    counted = classes_by_split(audit)
    assert counted.columns == ("train", "test")
    assert sum(sum(counts) for _, counts in counted.rows) == len(audit.scenes)
    assert ("drum", (0, 0)) in counted.rows
    assert max(map(max, counted.shares)) == 1


def test_a_long_table_keeps_what_is_rarest_and_counts_what_it_leaves_out() -> None:
    pairs = [(f"class{n:04d}", "train") for n in range(900) for _ in range(900 - n)]
    counted = grid("classes", pairs, ["train", "test"])
    assert len(counted.rows) == MOST_ROWS
    assert counted.left_out == 900 - MOST_ROWS
    assert counted.rows[0][0] == "class0000"
    assert counted.rows[-1][0] == "class0899"


def test_facts_of_splits_add_up(audit: Audit) -> None:
    facts = split_facts(audit)
    assert [each.name for each in facts] == ["train", "test"]
    assert sum(each.scenes for each in facts) == len(audit.scenes)
    assert sum(each.events for each in facts) == len(audit.events)
    seconds = np.sum(numbers(audit.scenes, "n_samples")) / 16000
    assert sum(each.hours for each in facts) == pytest.approx(seconds / 3600)


# --- the page ------------------------------------------------------------------------------------


class Outline(HTMLParser):
    """Elements and text of a page; fails on tags that are not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.loads: list[str] = []
        self.scripts = 0
        self.said: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.ids += [given["id"]] if given.get("id") else []
        self.links += [given["href"]] if tag == "a" and given.get("href") else []
        self.loads += [str(given[k]) for k in ("src", "href", "data") if k in given and tag != "a"]
        self.scripts += tag == "script"
        if tag not in ("meta", "link", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if self.open[-1:] == [tag]:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.said.append(data)


def test_a_page_is_whole_and_fetches_nothing(page: str) -> None:
    outline = Outline(page)
    assert len(set(outline.ids)) == len(outline.ids)
    assert {link[1:] for link in outline.links} <= set(outline.ids)
    assert all(link.startswith("#") for link in outline.links)
    assert all(load.startswith(("data:", "#")) for load in outline.loads)
    assert "default-src 'none'" in page


def test_failed_checks_are_named_at_the_top_with_links(page: str) -> None:
    top = page[: page.index('id="checks"')]
    assert "1 of 4 checks failed" in top
    assert re.search(r'<a href="#(check-[^"]*)">snr</a>: 3 dB off in 50 scenes', top)
    assert "No fault found" not in page


@pytest.mark.usefixtures("plotless")
def test_a_page_without_failures_says_so_and_of_how_much(audit: Audit) -> None:
    page = report(replace(audit, checks=CHECKS[:1], running=True))
    assert "No fault found" in page
    assert f"{SCENES} of 1000 scenes looked at" in page
    assert "Still being rendered: 1000 of 2000 scenes are there" in page
    assert "--full" in page


def test_findings_are_capped_with_their_count(page: str) -> None:
    assert "50 findings" in page
    assert page.count("dB off, not 0 (") == MOST_FINDINGS
    assert f"And {50 - MOST_FINDINGS} more" in page


def test_a_status_is_a_word_and_not_a_colour_alone(page: str) -> None:
    for status in ("failed", "noted", "passed", "skipped"):
        assert re.search(rf'class="\w+ status"><span aria-hidden="true">.</span> {status}<', page)


@pytest.mark.usefixtures("undrawn")
def test_names_are_text_wherever_they_come_from(audit: Audit) -> None:
    evil = make_audit(
        labels=(EVIL, "dog"),
        splits=(EVIL, "test"),
        tag=EVIL,
        uri=f"out/{EVIL}",
        identity={
            **IDENTITY,
            "recipe": {"name": EVIL, "description": EVIL, EVIL: [EVIL]},
            "corpora": {EVIL: {"digest": EVIL, "clips": 1, "licences": {EVIL: 1}}},
            "classes": [EVIL],
            "packages": {EVIL: EVIL},
            "formats": [{"name": EVIL, "convention": EVIL}],
        },
        checks=(Check(name=EVIL, title=EVIL, status="failed", summary=EVIL), *CHECKS),
    )
    action = Action(path=Path(EVIL.replace("/", "_")), count=1, commands=(EVIL,))
    for other in (None, audit):
        outline = Outline(report(evil, other, [action]))
        assert outline.scripts == 1
        assert sum(EVIL in said for said in outline.said) > 10


def test_names_are_text_in_plots_too() -> None:
    with drawn_alike():
        series = [Series(name=name, values=np.array([1.0, 2])) for name in (EVIL, "b")]
        panel = ranks_panel("Uses", series, EVIL, "uses")
    drawing = ET.fromstring(str(panel.plot))
    assert not [each for each in drawing.iter() if each.tag.endswith("script")]
    assert sum(each.text == EVIL for each in drawing.iter()) == 2


@pytest.mark.usefixtures("plotless")
def test_actions_are_shown_with_their_commands(audit: Audit) -> None:
    command = "scenesynth preview out/mine --only audit-mine/scenes.txt --random 12"
    action = Action(path=Path("audit-mine/scenes.txt"), count=50, commands=(command,))
    page = report(audit, actions=[action])
    assert f"<code>{command}</code>" in page
    assert "scenes.txt</code>: 50 lines" in page


MISSING: dict[str, Sequence[str]] = {
    "no noise": ("snr_requested_db", "snr_achieved_db", "local_snr_db", "snr_foa_db"),
    "anechoic": ("rt60_measured_s", "edt_s", "drr_db", "c50_db"),
    "materials": ("rt60_requested_s",),
    "no directions": ("azimuth_start_deg", "elevation_start_deg", "distance_start_m"),
    "no levels": ("peak_foa", "level_db", "signals", "bearings", "rerendered"),
    "no names": ("split", "room", "clip", "corpus", "licence", "labels", "head", "role"),
}


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("missing", MISSING.values(), ids=MISSING)
def test_a_report_does_without_columns(audit: Audit, missing: Sequence[str]) -> None:
    page = report(without(audit, *missing))
    Outline(page)
    assert "<dd>none" in page


def test_a_report_of_nothing_says_none() -> None:
    nothing = make_audit(0, identity={}, checks=(), drawn=None, drawn_events=None)
    page = report(nothing)
    Outline(page)
    assert "There is no scene to look at" in page
    assert "<svg" not in page


@pytest.mark.usefixtures("undrawn")
def test_a_report_of_one_scene_of_one_split_stands() -> None:
    single = make_audit(1, splits=("train",), drawn=None, drawn_events=None)
    Outline(report(single))
    Outline(report(single, make_audit(0)))


def test_two_audits_of_the_same_have_nothing_to_tell_apart(audit: Audit) -> None:
    targets = directions_of(audit.events, ["target"])
    with drawn_alike():
        panel = ratio_panel("Directions", targets, targets, ("A", "B"))
    assert "0 of 24 equal areas" in panel.note


def test_a_report_of_512_scenes_is_small(page: str) -> None:
    assert len(page.encode()) < 1_000_000


@pytest.mark.usefixtures("plotless")
def test_a_report_makes_its_folder(tmp_path: Path, audit: Audit) -> None:
    path = tmp_path / "sub" / "report.html"
    write_report(path, audit)
    assert path.read_text(encoding="utf-8") == report(audit)


@pytest.mark.usefixtures("plotless")
def test_what_cannot_be_written_is_named(tmp_path: Path, audit: Audit) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"report\.html: cannot be written"):
        write_report(tmp_path / "file" / "report.html", audit)
