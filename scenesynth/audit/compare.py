"""What a change of recipe did: two datasets beside each other, A and B.

Of each quantity: medians, ranges, the distance of the two distributions, and whether that is more
than chance. Of identity, classes, rooms and clips: what only one has. What was looked at is a
sample where the audits took samples; then things in common are those that both samples met.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa

from scenesynth.audit.columns import Array, matching, texts, with_scenes
from scenesynth.audit.distances import chance_of, ks_distance, worth
from scenesynth.audit.findings import some
from scenesynth.audit.quantities import QUANTITIES, Quantity, of_format
from scenesynth.audit.records import Audit
from scenesynth.plots.text import number
from scenesynth.store.writer import plain_differences

ERROR: Final = 0.01
"""Chance that anything is said to differ where the datasets are draws of one distribution."""
_QUANTILES: Final = (0.05, 0.5, 0.95)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """The middle and the range of values: 5 %, median and 95 %; None of none."""

    n: int
    low: float | None
    median: float | None
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """A quantity in both datasets.

    Attributes:
        distance: of Kolmogorov and Smirnov, 0 to 1; None where one dataset has no values.
        chance: probability of such a distance between draws of one distribution.
        differs: whether that is too small for chance, given how many quantities were compared; or
            only one dataset has values.
    """

    name: str
    title: str
    unit: str
    digits: int
    a: Spread
    b: Spread
    distance: float | None
    chance: float | None
    differs: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """Things that both datasets have.

    Attributes:
        what: "rooms", "clips" or "scenes".
        a, b, common: how many were met in A, in B and in both.
        crossing: how many of those are in one split of A and in another one of B: to train on one
            dataset and test on the other would be to test on what was trained on.
    """

    what: str
    a: int
    b: int
    common: int
    crossing: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """How many targets of each dataset have a class."""

    label: str
    a: int
    b: int


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What is alike and what is not in two datasets.

    Attributes:
        identity: values that differ, by dotted path: those of A and B; None for absent.
        contrasts: every quantity that at least one of them has.
        classes: of the targets that were looked at, the most frequent ones first.
    """

    uri_a: str
    uri_b: str
    n_a: int
    n_b: int
    identity: Mapping[str, tuple[Any, Any]]
    contrasts: tuple[Contrast, ...]
    overlaps: tuple[Overlap, ...]
    classes: tuple[Share, ...]

    @property
    def differing(self) -> tuple[Contrast, ...]:
        """The quantities that differ by more than chance, the most distant ones first."""
        found = [each for each in self.contrasts if each.differs]
        return tuple(sorted(found, key=lambda each: -_order(each)))

    @property
    def ordered(self) -> tuple[Contrast, ...]:
        """The quantities that differ, then the others."""
        return (*self.differing, *(each for each in self.contrasts if not each.differs))

    @property
    def gained(self) -> tuple[str, ...]:
        """Classes of B that A does not have."""
        return tuple(each.label for each in self.classes if not each.a)

    @property
    def lost(self) -> tuple[str, ...]:
        """Classes of A that B does not have."""
        return tuple(each.label for each in self.classes if not each.b)

    def plain(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {
            "a": {"uri": self.uri_a, "scenes": self.n_a},
            "b": {"uri": self.uri_b, "scenes": self.n_b},
            "identity": {path: {"a": a, "b": b} for path, (a, b) in self.identity.items()},
            "quantities": [asdict(each) for each in self.contrasts],
            "overlaps": [asdict(each) for each in self.overlaps],
            "classes": [asdict(each) for each in self.classes],
            "classes_gained": list(self.gained),
            "classes_lost": list(self.lost),
        }

    def lines(self) -> Iterator[str]:
        """For a terminal."""
        yield f"A: {self.uri_a} ({self.n_a} scenes looked at)"
        yield f"B: {self.uri_b} ({self.n_b} scenes looked at)"
        yield from _section("identity", [_changed(*item) for item in self.identity.items()])
        yield from _section(
            "differ by more than chance", [_contrasted(each) for each in self.differing]
        )
        if same := [each.title for each in self.contrasts if not each.differs]:
            yield f"alike, as far as {self.n_a} and {self.n_b} scenes tell: {'; '.join(same)}"
        for each in self.overlaps:
            yield f"{each.what} in common: {overlap_text(each)}"
        yield f"classes gained: {some(self.gained) or 'none'}; lost: {some(self.lost) or 'none'}"


def compare(a: Audit, b: Audit) -> Comparison:
    """Compare what two audits looked at; A is the older one, or the reference."""
    formats = sorted(formats_of(a) | formats_of(b))
    quantities = [*QUANTITIES, *(each for name in formats for each in of_format(name))]
    return Comparison(
        uri_a=a.uri,
        uri_b=b.uri,
        n_a=len(a.scenes),
        n_b=len(b.scenes),
        identity=plain_differences(_keyed(a.identity), _keyed(b.identity)),
        contrasts=_contrasts(quantities, a, b),
        overlaps=tuple(_overlaps(a, b, formats)),
        classes=_classes(a, b),
    )


def spread_of(values: Array) -> Spread:
    """The middle and the range of finite values."""
    if not len(values):
        return Spread(n=0, low=None, median=None, high=None)
    low, median, high = (float(value) for value in np.quantile(values, _QUANTILES))
    return Spread(n=len(values), low=low, median=median, high=high)


def spread_text(spread: Spread, unit: str, digits: int) -> str:
    """Such as `0.34 s (0.21 to 0.48)`; or `10.00 s`, if all are the same."""
    if spread.median is None:
        return "none"
    low, high = (number(value, "", digits) for value in (spread.low, spread.high))
    median = number(spread.median, unit, digits)
    return median if low == high else f"{median} ({low} to {high})"


def overlap_text(each: Overlap) -> str:
    """How many there are in common, and what of it is a fault."""
    text = f"{each.common} of {each.a} in A and {each.b} in B"
    return f"{text}; {each.crossing} of them in different splits" if each.crossing else text


def formats_of(audit: Audit) -> set[str]:
    """Names of the formats whose levels the scenes have."""
    prefix = "peak_"
    return {n.removeprefix(prefix) for n in audit.scenes.column_names if n.startswith(prefix)}


def value_text(value: Any) -> str:
    """A value of an identity on one line."""
    return "absent" if value is None else str(value)


def _contrasts(quantities: Sequence[Quantity], a: Audit, b: Audit) -> tuple[Contrast, ...]:
    pairs = [(each, _grouped(each, a), _grouped(each, b)) for each in quantities]
    pairs = [pair for pair in pairs if len(pair[1][0]) or len(pair[2][0])]
    limit = ERROR / max(len(pairs), 1)  # Bonferroni's
    return tuple(_contrast(each, one, other, limit) for each, one, other in pairs)


def _contrast(
    quantity: Quantity,
    one: tuple[Array, list[str]],
    other: tuple[Array, list[str]],
    limit: float,
) -> Contrast:
    distance = chance = None
    if len(one[0]) and len(other[0]):
        distance = ks_distance(one[0], other[0])
        chance = chance_of(distance, worth(*one), worth(*other))
    return Contrast(
        name=quantity.name,
        title=quantity.title,
        unit=quantity.unit,
        digits=quantity.digits,
        a=spread_of(one[0]),
        b=spread_of(other[0]),
        distance=distance,
        chance=chance,
        differs=chance is None or chance < limit,
    )


def _grouped(quantity: Quantity, audit: Audit) -> tuple[Array, list[str]]:
    """Values, each with its room; those without one are of the group of their scene."""
    values = quantity.looked_at(audit)
    table = audit.scenes
    if quantity.of != "scenes":
        table = with_scenes(audit.events, audit.scenes, ["room"])
    rooms = texts(table, "room") or [""] * len(table)
    scenes = texts(table, "index") or [str(n) for n in range(len(table))]
    groups = np.array([room or scene for room, scene in zip(rooms, scenes, strict=True)], object)
    if values.ndim == 2:
        groups = np.repeat(groups, values.shape[1])
    flat = values.reshape(-1)
    there = np.isfinite(flat)
    return flat[there], [str(group) for group in groups[there]]


def _overlaps(a: Audit, b: Audit, formats: Iterable[str]) -> Iterator[Overlap]:
    yield _overlap("rooms", _of_splits(a.scenes, ["room"]), _of_splits(b.scenes, ["room"]))
    clips = [
        _of_splits(with_scenes(each.events, each.scenes, ["split"]), ["corpus", "clip"])
        for each in (a, b)
    ]
    yield _overlap("clips", *clips)
    keys = [f"render_key_{name}" for name in formats]
    scenes = [
        {k: v for key in keys for k, v in _of_splits(t.scenes, [key]).items()} for t in (a, b)
    ]
    yield _overlap("scenes", *scenes)


def _overlap(what: str, a: Mapping[str, set[str]], b: Mapping[str, set[str]]) -> Overlap:
    common = a.keys() & b.keys()
    crossing = sum(1 for name in common if _cross(a[name], b[name]))
    return Overlap(what=what, a=len(a), b=len(b), common=len(common), crossing=crossing)


def _cross(one: set[str], other: set[str]) -> bool:
    return any(x != y for x in one for y in other)


def _of_splits(table: pa.Table, columns: Sequence[str]) -> dict[str, set[str]]:
    """In which splits each thing occurs that has a name in the last of the columns."""
    splits = texts(table, "split") or [""] * len(table)
    parts = [texts(table, name) or [""] * len(table) for name in columns]
    found: dict[str, set[str]] = {}
    for split, *names in zip(splits, *parts, strict=True):
        if names[-1]:
            found.setdefault(":".join(names), set()).add(split)
    return found


def _classes(a: Audit, b: Audit) -> tuple[Share, ...]:
    one, other = class_counts(a.events), class_counts(b.events)
    order = sorted(one.keys() | other.keys(), key=lambda label: (-one[label] - other[label], label))
    return tuple(Share(label=label, a=one[label], b=other[label]) for label in order)


def class_counts(events: pa.Table) -> Counter[str]:
    """How many targets have each label."""
    found: Counter[str] = Counter()
    targets = matching(events, "role", ["target"])
    if "labels" in targets.column_names:
        for labels in targets["labels"].to_pylist():
            found.update(labels or ())
    return found


def _keyed(value: Any) -> Any:
    """Plain data with the records of a list by their names, or numbers, so that paths go on."""
    if isinstance(value, Mapping):
        return {key: _keyed(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        if not value or not all(isinstance(item, Mapping) for item in value):
            return list(value)
        names = [item.get("name") for item in value]
        unique = all(names) and len(set(names)) == len(names)
        return {str(names[n] if unique else n): _keyed(item) for n, item in enumerate(value)}
    return value


def _order(each: Contrast) -> float:
    return 2.0 if each.distance is None else each.distance


def _section(title: str, lines: Sequence[str]) -> Iterator[str]:
    yield f"{title}:" if lines else f"{title}: nothing"
    yield from (f"  {line}" for line in lines)


def _changed(path: str, pair: tuple[Any, Any]) -> str:
    return f"{path}: {value_text(pair[0])} -> {value_text(pair[1])}"


def _contrasted(each: Contrast) -> str:
    a, b = (spread_text(spread, each.unit, each.digits) for spread in (each.a, each.b))
    distance = "" if each.distance is None else f", KS distance {each.distance:.2f}"
    return f"{each.title}: {a} -> {b}{distance}"
