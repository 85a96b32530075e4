"""The report of an audit, as one HTML page that opens from disk and fetches nothing."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from scenesynth.audit import tallies
from scenesynth.audit.actions import Action
from scenesynth.audit.compare import (
    compare,
    overlap_text,
    spread_text,
    value_text,
)
from scenesynth.audit.findings import some
from scenesynth.audit.records import Audit, Check, Finding, Status
from scenesynth.audit.sections import sections
from scenesynth.errors import ConfigError
from scenesynth.plots.page import render_page
from scenesynth.plots.style import drawn_alike
from scenesynth.plots.text import number
from scenesynth.store.local import replace_file

MOST_FINDINGS: Final = 40
"""Findings of a check that a report shows."""
ORDER: Final[tuple[Status, ...]] = ("failed", "noted", "passed", "skipped")
SYMBOLS: Final = {
    "failed": "\N{BALLOT X}",
    "noted": "\N{BLACK DIAMOND}",
    "passed": "\N{CHECK MARK}",
    "skipped": "\N{EN DASH}",
}
TONES: Final = {"failed": "bad", "noted": "warn", "passed": "good", "skipped": "quiet"}


def write_report(
    path: Path, audit: Audit, other: Audit | None = None, actions: Sequence[Action] = ()
) -> None:
    """Write the report of an audit as an HTML file.

    Args:
        other: B of a comparison, which the report begins with.
        actions: what `write_actions` has written beside the report.

    Raises:
        ConfigError: the file cannot be written.
    """
    page = report(audit, other, actions)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, page.encode("utf-8", "replace"))
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be written ({error.strerror or error}); name another file"
        ) from error


def report(audit: Audit, other: Audit | None = None, actions: Sequence[Action] = ()) -> str:
    """The HTML of `write_report`."""
    with drawn_alike():
        plots = sections(audit, other)
    return render_page(
        "scenesynth.audit",
        "audit.html",
        audit=audit,
        other=other,
        actions=actions,
        comparison=compare(audit, other) if other else None,
        checks=anchored(audit.checks),
        counts={status: sum(c.status == status for c in audit.checks) for status in ORDER},
        symbols=SYMBOLS,
        tones=TONES,
        most_findings=MOST_FINDINGS,
        facts=_facts(audit),
        recipe=_yaml(audit.identity.get("recipe")),
        corpora=tallies.corpora(audit.identity),
        splits=tallies.split_facts(audit),
        grids=[tallies.classes_by_split(audit), tallies.heads_by_split(audit)],
        licences=tallies.licences(audit),
        sections=plots,
        command=f"scenesynth audit {shlex.quote(audit.uri)}",
        about=about,
        listed=lambda names: some(names) or "none",
        number=number,
        overlap_text=overlap_text,
        spread_text=spread_text,
        value_text=value_text,
    )


def about(finding: Finding) -> list[tuple[str, str]]:
    """What a finding is about: kinds and names."""
    named = [
        ("scene", finding.scene or ("" if finding.index is None else str(finding.index))),
        ("clip", finding.clip),
        ("file", finding.key),
        ("shard", "" if finding.shard is None else str(finding.shard)),
    ]
    return [pair for pair in named if pair[1]]


def anchored(checks: Sequence[Check]) -> list[tuple[str, Check]]:
    """Checks, those that failed first, each with a name for links that no other has."""
    ordered = sorted(checks, key=lambda check: ORDER.index(check.status))
    return [(f"check-{n}-{check.name}", check) for n, check in enumerate(ordered, 1)]


def _facts(audit: Audit) -> list[tuple[str, str]]:
    """Identity of the dataset, for people."""
    told = audit.identity
    recipe = told.get("recipe") or {}
    packages = told.get("packages") or {}
    pairs: list[tuple[str, Any]] = [
        ("Recipe", ": ".join(str(recipe[k]) for k in ("name", "description") if recipe.get(k))),
        ("Formats", "; ".join(_format(item) for item in told.get("formats") or ())),
        ("Sample rate", _unit(told.get("sample_rate"), "Hz")),
        ("Seed", told.get("seed")),
        ("Split", told.get("split")),
        ("Scenes of a shard", told.get("shard_scenes")),
        ("Codec", told.get("codec")),
        ("Rendered on", " ".join(str(told[key]) for key in ("backend", "cpu") if told.get(key))),
        ("Render version", told.get("render")),
        ("Packages", ", ".join(f"{name} {version}" for name, version in packages.items())),
        ("Made from", _yaml(told.get("came_from"))),
    ]
    return [(name, str(value)) for name, value in pairs if value not in (None, "")]


def _format(item: Any) -> str:
    """A format with what its channels are."""
    channels = item.get("channel_names") or item.get("channels") or ()
    told = [f"{len(channels)} channels" if channels else "", str(item.get("convention", ""))]
    return f"{item.get('name', '')} ({', '.join(part for part in told if part)})"


def _unit(value: Any, unit: str) -> str:
    return "" if value is None else f"{value} {unit}"


def _yaml(value: Any) -> str:
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True).strip() if value else ""
