"""The plots of what was heard: levels, directions and what rendering again found.

The columns are those of `audit.sound.HEARD`: lists of records, one for each format, or event and
format, of a scene. An audit that did not listen has none of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scenesynth.audit.charts import Series
from scenesynth.audit.columns import Array, matching, numbers, present, texts
from scenesynth.audit.panels import Panel, histogram_panel
from scenesynth.audit.quantities import axis_of
from scenesynth.audit.records import Audit
from scenesynth.plots.style import COLOURS

CERTAIN: Final = "certain"


def records_of(heard: pa.Table, name: str) -> pa.Table:
    """A row for each record of a column of lists of them; nothing where there is no such column."""
    if name not in heard.column_names or not len(heard):
        return pa.table({})
    records = pc.list_flatten(heard[name].combine_chunks())
    if not pa.types.is_struct(records.type):
        return pa.table({})
    return pa.Table.from_batches([pa.RecordBatch.from_struct_array(records)])


def heard_panels(named: Sequence[tuple[str, Audit]]) -> Iterator[Panel]:
    """All plots of what was heard.

    Args:
        named: one audit, or A and B.
    """
    signals = [(name, records_of(each.heard, "signals")) for name, each in named]
    for found in sorted({found for _, table in signals for found in texts(table, "format")}):
        own = [(name, matching(table, "format", [found])) for name, table in signals]
        for title, column in ((f"Peak of {found} as heard", "peak"), (f"RMS of {found}", "rms")):
            series = [(name, _decibels(numbers(table, column))) for name, table in own]
            yield _panel(title, series, "recordings", unit="dBFS", digits=1)
    bearings = [(name, records_of(each.heard, "bearings")) for name, each in named]
    for found in sorted({found for _, table in bearings for found in texts(table, "format")}):
        own = [(name, matching(table, "format", [found])) for name, table in bearings]
        yield errors_panel(f"Label against direction heard in {found}", own)
    again = [(name, records_of(each.heard, "rerendered")) for name, each in named]
    if any(len(table) for _, table in again):
        yield from _against_again(again)


def errors_panel(title: str, bearings: Sequence[tuple[str, pa.Table]]) -> Panel:
    """Angles between labels and what is heard: of one audit by what is doubtful, or of A and B."""
    if len(bearings) > 1:
        series = [(name, numbers(table, "error_deg")) for name, table in bearings]
        return _panel(title, series, "events", unit="°", digits=1)
    table = bearings[0][1]
    errors = numbers(table, "error_deg")
    doubts = np.array([doubt_of(text) for text in texts(table, "doubt")], dtype=object)
    kinds = sorted({*doubts}, key=lambda kind: (kind != CERTAIN, kind))
    parts = [Series(name=kind, values=present(errors[doubts == kind])) for kind in kinds]
    return histogram_panel(
        title, parts, axis="error in degrees", counted="events", unit="°", digits=1, pile=True
    )


def doubt_of(text: str) -> str:
    """The kind of a doubt, without its figures: `noise is strong (local SNR 3 dB)`."""
    return text.partition(" (")[0].partition(";")[0] or CERTAIN


def _against_again(again: Sequence[tuple[str, pa.Table]]) -> Iterator[Panel]:
    for title, column, unit, mark in (
        ("Stored against rendered again: difference", "difference_db", "dB", None),
        ("Stored against rendered again: noise", "noise_db", "dB", 0.0),
        ("Stored against rendered again: T60", "decay_ratio", "", 1.0),
    ):
        series = [(name, numbers(table, column)) for name, table in again]
        yield _panel(title, series, "recordings", unit=unit, mark=mark)


def _panel(
    title: str,
    series: Sequence[tuple[str, Array]],
    counted: str,
    *,
    unit: str,
    digits: int = 2,
    mark: float | None = None,
) -> Panel:
    drawn = [
        Series(name=name, values=present(values), colour=COLOURS[n])
        for n, (name, values) in enumerate(series)
    ]
    axis = axis_of(title, unit)
    return histogram_panel(
        title, drawn, axis=axis, counted=counted, unit=unit, digits=digits, mark=mark
    )


def _decibels(values: Array) -> Array:
    """Levels of amplitudes; silence has none. Shape: as given."""
    return 20 * np.log10(np.where(values > 0, values, np.nan))
