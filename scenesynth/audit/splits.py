"""What splits share and lack: checks on rooms, clips and heads in two splits, and on classes.

A room, clip, group of clips (a speaker, an uploader) or head that is in two splits leaks from one
to the other: a model may know it by heart. Splits are kept apart when scenes are drawn, so any
leak is a fault, but for heads that a recipe has all splits share.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
from scipy.stats import hypergeom

from scenesynth.audit.findings import counted, some
from scenesynth.audit.reading import Columns
from scenesynth.audit.records import Check, Finding

NO_CHANCE: Final = 1e-6
"""Probability below which it is no chance that a split has no scene of a class."""

FOUND_SCENES: Final = 64
"""Scenes that are named for each thing that leaks."""

Shared = Mapping[str, Mapping[str, int]]
"""Scenes by split, by name of a thing."""


def room_check(columns: Columns, of: int) -> Check:
    """Whether a room is in two splits."""
    names = pc.replace_substring_regex(_texts(columns.scenes["room"]), "/anechoic$", "")
    scenes = columns.scenes.append_column("name", names)
    return _leak_check(
        "room_leak", "Are rooms in one split only?", "room", scenes, columns.scenes, of
    )


def head_check(columns: Columns, of: int, *, shared: bool) -> Check:
    """Whether a head is in two splits.

    Args:
        shared: whether the recipe has all splits share its heads.
    """
    title = "Are heads in one split only?"
    if (
        "head" not in columns.scenes.column_names
        or not pc.any(pc.is_valid(columns.scenes["head"])).as_py()
    ):
        return Check(
            name="head_leak",
            title=title,
            status="skipped",
            summary="nothing is heard with a head (no binaural format)",
            of=of,
        )
    scenes = columns.scenes.append_column("name", _texts(columns.scenes["head"]))
    check = _leak_check("head_leak", title, "head", scenes, columns.scenes, of)
    if not (shared and check.status == "failed"):
        return check
    return Check(
        name=check.name,
        title=title,
        status="noted",
        summary="all splits share the heads, as the recipe has it",
        looked=check.looked,
        of=of,
        figures=check.figures,
    )


def clip_check(columns: Columns, of: int) -> Check:
    """Whether a clip, the same samples by another name, or a group of clips is in two splits."""
    scenes = columns.scenes
    at = pc.index_in(columns.events["index"], scenes["index"].combine_chunks())
    events = columns.events.append_column("split", _texts(scenes["split"]).take(at))
    events = events.filter(pc.is_valid(events["split"]))
    checks = []
    for noun, name in (
        ("clip", _joined(events, ("corpus", "clip"))),
        ("clip", _texts(events["clip_digest"])),
        ("group", _group_names(events)),
    ):
        named = events.append_column("name", name).select(["index", "split", "name"])
        checks.append(
            _leak_check("clip_leak", "Are clips in one split only?", noun, named, scenes, of)
        )
    by_name, by_digest, by_group = checks
    if by_name.status == "skipped":
        return by_name
    shown = next((c for c in checks if c.status == "failed"), by_name)
    shares = {
        name: check.figures
        for name, check in zip(("clips", "samples", "groups"), checks, strict=True)
    }
    told = "; ".join(dict.fromkeys(c.summary for c in checks if c.status == shown.status))
    return Check(
        name="clip_leak",
        title="Are clips, and groups of them, in one split only?",
        status=shown.status,
        summary=told,
        looked=len(scenes),
        of=of,
        findings=tuple(f for check in (by_name, by_digest, by_group) for f in check.findings),
        figures=shares,
    )


def class_check(columns: Columns, classes: Sequence[str], of: int) -> Check:
    """Whether every class is in every split that is large enough for it.

    A class is missing where a split has no scene of it, and if the scenes that have it had been
    dealt to the splits at random, that would be less likely than `NO_CHANCE` (hypergeometric).
    """
    scenes = columns.scenes
    title = "Are all classes in every split?"
    per_split = {
        str(pair["values"]): int(pair["counts"])
        for pair in pc.value_counts(_texts(scenes["split"])).to_pylist()
    }
    seen = _scenes_of_classes(columns)
    figures = {
        "classes": len(classes),
        "scenes": {name: dict(seen.get(name, {})) for name in classes},
    }
    if not classes:
        return Check(
            name="classes",
            title=title,
            status="skipped",
            summary="the clips have no labels",
            of=of,
            figures=figures,
        )
    never = [name for name in classes if not seen.get(name)]
    missing: list[tuple[str, str, float]] = []
    rare: list[tuple[str, str, float]] = []
    for split, n in sorted(per_split.items()):
        total = sum(per_split.values())
        for name in classes:
            if name in never or seen[name].get(split):
                continue
            with_it = sum(seen[name].values())
            found = missing if hypergeom.pmf(0, total, with_it, n) < NO_CHANCE else rare
            found.append((split, name, n * with_it / (total - n)))
    word = "class" if len(classes) == 1 else "classes"
    told = f"{len(classes) - len(never)} of {len(classes)} {word} met"
    told += f" over all splits: {_splits(per_split)}"
    findings = tuple(
        Finding(
            what=f"class {name!r} is in none of the {per_split[split]:,} scenes of split {split}; "
            f"by its share of the others, {expected:.0f} should have it"
        )
        for split, name, expected in missing
    )
    if missing:
        told += "; missing are " + some(f"{name!r} in {split}" for split, name, _ in missing)
    for split in sorted({split for split, _, _ in rare}):
        names = [repr(name) for in_split, name, _ in rare if in_split == split]
        told += f"; too rare to be expected in {split}, and not met there: {some(names)}"
    if never:
        told += f"; in no scene are {some(map(repr, never))}"
    return Check(
        name="classes",
        title=title,
        status="failed" if missing else "noted" if rare or never else "passed",
        summary=told,
        looked=len(scenes),
        of=of,
        findings=findings,
        figures=figures,
    )


def _leak_check(
    name: str, title: str, noun: str, rows: pa.Table, scenes: pa.Table, of: int
) -> Check:
    """Whether a thing is in two splits.

    Args:
        rows: columns index, split and name; a null or empty name is nothing's.
        scenes: with the columns index and id.
    """
    splits = sorted(_distinct(_texts(scenes["split"])))
    if len(splits) < 2:
        told = f"all {counted(len(scenes), 'scene')} are of split {some(splits) or '?'}"
        return Check(name=name, title=title, status="skipped", summary=told, of=of)
    named = rows.select(["index", "split", "name"])
    named = named.set_column(1, "split", _texts(named["split"]))
    named = named.filter(pc.fill_null(pc.not_equal(named["name"], ""), False))
    counts = _by_name(named)
    leaks = {thing: shares for thing, shares in counts.items() if len(shares) > 1}
    per_split = {split: sum(split in shares for shares in counts.values()) for split in splits}
    told = ", ".join(
        f"{counted(per_split[split], noun)} in {split}" for split in splits if per_split[split]
    )
    if leaks:
        told = f"{counted(len(leaks), noun)} in two splits: {some(leaks, 3)}"
    elif told:
        told += ", none in two"
    return Check(
        name=name,
        title=title,
        status="failed" if leaks else "passed",
        summary=told,
        looked=len(scenes),
        of=of,
        findings=tuple(_leak_findings(noun, leaks, named, scenes)),
        figures={f"{noun}s": per_split, "shared": sorted(leaks)[:FOUND_SCENES]},
    )


def _leak_findings(
    noun: str, leaks: Shared, named: pa.Table, scenes: pa.Table
) -> Iterable[Finding]:
    """A finding for each thing that leaks, and for each scene of the smaller splits that has it."""
    if not leaks:
        return
    ids = dict(zip(scenes["index"].to_pylist(), scenes["id"].to_pylist(), strict=True))
    for thing, shares in sorted(leaks.items()):
        told = ", ".join(f"{n:,} in {split}" for split, n in sorted(shares.items()))
        clip = thing if noun == "clip" and ":" in thing else ""
        yield Finding(what=f"{noun} {thing} is in {len(shares)} splits ({told})", clip=clip)
        home = max(sorted(shares), key=lambda split: shares[split])
        away = named.filter(
            pc.and_(pc.equal(named["name"], thing), pc.not_equal(named["split"], home))
        )
        for row in away.slice(0, FOUND_SCENES).to_pylist():
            what = f"{noun} {thing} in split {row['split']} is one of split {home}, too"
            yield Finding(what=what, scene=ids.get(row["index"], ""), index=row["index"], clip=clip)


def _by_name(named: pa.Table) -> dict[str, dict[str, int]]:
    """Rows by split, by name; only of names that are there."""
    grouped = named.group_by(["name", "split"]).aggregate([("index", "count_distinct")])
    found: dict[str, dict[str, int]] = {}
    for row in grouped.to_pylist():
        found.setdefault(row["name"], {})[row["split"]] = row["index_count_distinct"]
    return found


def _scenes_of_classes(columns: Columns) -> dict[str, dict[str, int]]:
    """Scenes by split in which a target or interferer has a label, by label."""
    events = columns.events
    mine = pc.is_in(_texts(events["role"]), pa.array(["target", "interferer"]))
    events = events.filter(mine)
    labels = events["labels"].combine_chunks()
    flat = pa.table(
        {
            "index": events["index"].take(pc.list_parent_indices(labels)),
            "name": _texts(pc.list_flatten(labels)),
        }
    )
    scenes = columns.scenes
    at = pc.index_in(flat["index"], scenes["index"].combine_chunks())
    return _by_name(flat.append_column("split", _texts(scenes["split"]).take(at)))


def _group_names(events: pa.Table) -> Any:
    """Groups with their corpus; "" where there is none."""
    group = pc.fill_null(_texts(events["group"]), "")
    return pc.if_else(pc.equal(group, ""), "", _joined(events, ("corpus", "group")))


def _joined(events: pa.Table, names: tuple[str, str]) -> Any:
    one, other = (_texts(events[name]) for name in names)
    return pc.binary_join_element_wise(one, other, ":")


def _texts(column: Any) -> Any:
    """A column of texts as such, whether it was numbered or not."""
    return pc.cast(column, pa.string())


def _distinct(column: Any) -> list[str]:
    return [str(value) for value in pc.unique(column).to_pylist() if value is not None]


def _splits(per_split: Mapping[str, int]) -> str:
    return ", ".join(f"{split} ({counted(n, 'scene')})" for split, n in sorted(per_split.items()))
