"""Putting findings together: of scenes that share a shard, and in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import Final

from scenesynth.audit.records import Check, Finding, Status

LISTED: Final = 8
GRAVEST: Final[tuple[Status, ...]] = ("failed", "noted", "passed", "skipped")


def with_shards(
    findings: Sequence[Finding], looked: Collection[int], shard_scenes: int
) -> tuple[Finding, ...]:
    """Findings of scenes, each with its shard where all that was looked at of that is wrong.

    Args:
        findings: each about a scene.
        looked: numbers of all scenes that were looked at.
        shard_scenes: scenes of a shard.

    One scene tells nothing of its shard, and where all shards are wrong it is not the shards.
    """
    total = Counter(index // shard_scenes for index in looked)
    wrong = {found.index for found in findings if found.index is not None}
    bad = Counter(index // shard_scenes for index in wrong)
    whole = {shard for shard, n in bad.items() if 2 <= n == total[shard]}
    if len(whole) == len(total):
        whole = set()
    return tuple(
        replace(found, shard=found.index // shard_scenes)
        if found.index is not None and found.index // shard_scenes in whole
        else found
        for found in findings
    )


def joined(checks: Iterable[Check]) -> tuple[Check, ...]:
    """Checks in their order, those of one name made one: the same question, asked in two ways.

    The gravest status holds. A way that could not be gone is not mentioned beside one that was.
    What both ways found of a scene is one finding.
    """
    found: dict[str, Check] = {}
    for check in checks:
        found[check.name] = _both(found[check.name], check) if check.name in found else check
    return tuple(found.values())


def _both(one: Check, other: Check) -> Check:
    made = [check for check in (one, other) if check.status != "skipped"]
    if len(made) < 2:
        return made[0] if made else one
    return replace(
        one,
        status=min(one.status, other.status, key=GRAVEST.index),
        summary=f"{one.summary}; {other.summary}",
        looked=max(one.looked, other.looked),
        findings=_once_a_scene([*one.findings, *other.findings]),
        figures={**other.figures, **one.figures},
    )


def _once_a_scene(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Findings in their order, those about one scene made one."""
    found: dict[object, Finding] = {}
    for n, finding in enumerate(findings):
        key = ("", n) if finding.index is None else finding.index
        if (first := found.get(key)) is None:
            found[key] = finding
        else:
            shard = finding.shard if first.shard is None else first.shard
            found[key] = replace(first, what=f"{first.what}; {finding.what}", shard=shard)
    return tuple(found.values())


def shards_told(findings: Iterable[Finding]) -> str:
    """In which shards all is wrong, as the end of a sentence; "" where that is not so."""
    shards = sorted({found.shard for found in findings if found.shard is not None})
    if not shards:
        return ""
    return f"; all that was looked at of {'shards' if len(shards) > 1 else 'shard'} {some(shards)}"


def some(names: Iterable[object], limit: int = LISTED) -> str:
    """Up to `limit` names between commas, and how many more there are."""
    listed = [str(name) for name in names]
    more = f" and {len(listed) - limit} more" if len(listed) > limit else ""
    return ", ".join(listed[:limit]) + more


def counted(n: int, noun: str) -> str:
    """A number and its noun: 1 scene, 2 scenes."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"
