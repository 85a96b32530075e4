"""Listening to scenes of a dataset: what their stored audio tells, beside what the tables say.

`listen` reads scenes and gives a row for each; `sound_checks` draws conclusions from the rows. A
scene that cannot be read has a row that says why. Some of the scenes are rendered again where their
clips are at hand, and what is different about the stored ones is named (`diagnosis`).
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.synchronize import Event
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from scenesynth.audit.bearings import (
    BEARING,
    ambisonic_check,
    bearing_of,
    direction_check,
    unaccused,
)
from scenesynth.audit.diagnosis import (
    NOT_CHOSEN,
    RERENDERED,
    diagnosed,
    faults_of,
    rendering_checks,
)
from scenesynth.audit.findings import with_shards
from scenesynth.audit.records import Check
from scenesynth.audit.signals import SIGNAL, signal_checks, signal_of
from scenesynth.audit.stems import STEMS, stem_check, stems_of
from scenesynth.corpus.corpora import Corpora
from scenesynth.errors import ConfigError, StoreError
from scenesynth.localization.agreement import event_estimates, scene_directions
from scenesynth.localization.reach import reach_of
from scenesynth.pipeline.formats import format_of
from scenesynth.pipeline.recheck import other_clips
from scenesynth.scene.spec import SceneSpec
from scenesynth.spatial.formats import Format
from scenesynth.store.frames import frame_table
from scenesynth.store.reader import Dataset
from scenesynth.store.schema import Scene

RERENDER: Final = 64
"""Scenes that are rendered again unless something else is asked for."""

STEERED: Final = 256
"""Scenes whose directions are estimated from ears or microphones, unless all are rendered again: a
scene takes twice as long as from Ambisonics, and each head a second to begin with."""

BLOCK: Final = 8
"""Neighbouring scenes that a process listens to at a time: they share a shard's tables."""

HEARD: Final = pa.schema(
    [
        ("number", pa.int64()),
        ("index", pa.int64()),
        ("shard", pa.int64()),
        ("scene", pa.string()),
        ("why", pa.string()),
        ("signals", pa.list_(SIGNAL)),
        ("bearings", pa.list_(BEARING)),
        ("stems", STEMS),
        ("rerendered", pa.list_(RERENDERED)),
        ("not_rerendered", pa.string()),
    ]
)
"""A row for each scene: `number` is its place in the dataset, `index` the column of that name.
`why` is "" but for what could not be read (a damaged shard or spec). `rerendered` is null where the
scene was not chosen for it, or for the reason `not_rerendered`."""

_ASKED: Final = {"snr": "snr_requested_db", "t60": "rt60_broadband_s"}
"""Column of the scenes that have what a check is about: a scene without noise has no wrong SNR."""

OnProgress = Callable[[int, int], None]


def listen(
    dataset: Dataset,
    numbers: Sequence[int],
    *,
    corpora: Corpora | None = None,
    processes: int = 1,
    rerender: int | None = RERENDER,
    on_progress: OnProgress = lambda done, total: None,
) -> pa.Table:
    """What the audio of some scenes tells, a row of `HEARD` for each, in their order.

    Args:
        numbers: of the scenes, as in `dataset[number]`.
        corpora: the clips of the dataset, if they are at hand.
        processes: how many listen; 1 for this one. Others are started anew (forkserver), so a
            script that asks for several guards its main module.
        rerender: how many of the scenes to render again, evenly over them; None for all.
        on_progress: called with scenes done and their number.

    Raises:
        ChildProcessError: one that listens was killed.
    """
    numbers = sorted(dict.fromkeys(map(int, numbers)))
    again, why = _chosen(dataset, numbers, corpora, rerender)
    steered = frozenset(_evenly(numbers, len(numbers) if rerender is None else STEERED))
    blocks = [numbers[n : n + BLOCK] for n in range(0, len(numbers), BLOCK)]
    tasks: list[_Task] = [
        (block, again.intersection(block), steered.intersection(block), why) for block in blocks
    ]
    rows: list[dict[str, Any]] = []
    for some in _made(dataset, corpora if again else None, tasks, processes):
        rows += some
        on_progress(len(rows), len(numbers))
    return pa.Table.from_pylist(rows, schema=HEARD)


def sound_checks(
    dataset: Dataset, scenes: pa.Table, events: pa.Table, heard: pa.Table
) -> list[Check]:
    """What `listen` found, as checks.

    Args:
        scenes, events: rows of the tables that are looked at.
        heard: from `listen`.
    """
    rows, of = heard.to_pylist(), len(dataset)
    formats = _formats(dataset)
    faults = faults_of(rows)
    directions = direction_check(rows, formats, of, faults.get("directions", ()))
    accused = [finding for finding in directions.findings if finding.index is None]
    for name in ("channels", "rendering"):
        # Without late sound, channels that are swapped look like channels of another level.
        faults[name] = unaccused(faults.get(name, ()), accused)
    signals = signal_checks(rows, of, faults.get("channels", ()))
    explained = {finding.index for check in signals for finding in check.findings}
    by_ear = [
        *signals,
        directions,
        ambisonic_check(rows, formats, of),
        stem_check(rows, of, dataset.info),
    ]
    anew = rendering_checks(rows, of, faults, frozenset(explained))
    heard_in = [row["index"] for row in rows if not row["why"]]
    rendered = {row["index"] for row in rows if row["rerendered"] is not None}
    asked = {name: rendered & _with(scenes, column) for name, column in _ASKED.items()}
    size = dataset.info.shard_scenes
    return [
        *(_with_shards(check, heard_in, size) for check in by_ear),
        *(_with_shards(check, asked.get(check.name, rendered), size) for check in anew),
    ]


def _with(scenes: pa.Table, column: str) -> set[int]:
    """Numbers of the scenes that have a value in a column."""
    return set(scenes.filter(pc.is_valid(scenes[column]))["index"].to_pylist())


def _with_shards(check: Check, looked: Collection[int], shard_scenes: int) -> Check:
    """A check whose findings about scenes name a shard only where all that was looked at of it is
    wrong."""
    whole = [finding for finding in check.findings if finding.index is None]
    single = [replace(f, shard=None) for f in check.findings if f.index is not None]
    return replace(check, findings=(*whole, *with_shards(single, looked, shard_scenes)))


_Task = tuple[list[int], frozenset[int], frozenset[int], str]
"""Numbers of scenes; which of them to render again, and to estimate directions of from ears or
microphones; why not."""


def _chosen(
    dataset: Dataset, numbers: Sequence[int], corpora: Corpora | None, count: int | None
) -> tuple[frozenset[int], str]:
    """Which scenes to render again, or why none."""
    if count == 0:
        return frozenset(), "no scene was to be rendered again"
    if corpora is None:
        names = ", ".join(dataset.info.corpora)
        return frozenset(), (
            f"the clips are not at hand: give --sources and --noise as for the `scenesynth render` "
            f"command of this dataset (its corpora: {names})"
        )
    others = other_clips(dataset.info, corpora)
    missing = [f"{name} {why}" for name, why in others.items() if name not in corpora]
    if missing:
        return frozenset(), f"the clips are not at hand: corpus {'; corpus '.join(missing)}"
    return frozenset(_evenly(numbers, len(numbers) if count is None else count)), ""


def _evenly(numbers: Sequence[int], count: int) -> list[int]:
    """At most `count` of some numbers, evenly spread over them."""
    if len(numbers) <= count:
        return list(numbers)
    return [numbers[n * len(numbers) // count] for n in range(count)]


def _made(
    dataset: Dataset, corpora: Corpora | None, tasks: Sequence[_Task], processes: int
) -> Iterator[list[dict[str, Any]]]:
    """Rows of each task, in order."""
    if processes <= 1 or len(tasks) <= 1:
        for task in tasks:
            yield _heard(dataset, corpora, task)
        return
    context = multiprocessing.get_context("forkserver")
    stop = context.Event()
    count = min(processes, len(tasks))
    with ProcessPoolExecutor(count, context, _begin, (dataset, corpora, stop)) as pool:
        try:
            with _without_interrupts():
                found = pool.map(_go_on, tasks)
            yield from found
        except BrokenProcessPool:
            raise ChildProcessError(
                f"{dataset.place}: a process that listens was killed, perhaps for want of memory; "
                f"audit it with fewer --workers than {count}"
            ) from None
        finally:
            stop.set()


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Processes that are begun herein never see Ctrl-C, which is for this one; here it waits."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_AT_HAND: list[tuple[Dataset, Corpora | None, Event]] = []
"""What a process of a pool listens to, and what tells it to end early."""


def _begin(dataset: Dataset, corpora: Corpora | None, stop: Event) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _AT_HAND.append((dataset, corpora, stop))


def _end_with_parent() -> None:
    """End this process when the one that began it has ended without saying so."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _go_on(task: _Task) -> list[dict[str, Any]]:
    dataset, corpora, stop = _AT_HAND[0]
    return _heard(dataset, corpora, task, stop.is_set)


def _heard(
    dataset: Dataset,
    corpora: Corpora | None,
    task: _Task,
    stopped: Callable[[], bool] = lambda: False,
) -> list[dict[str, Any]]:
    numbers, again, steered, why_not = task
    rows: list[dict[str, Any]] = []
    for number in numbers:
        if stopped():
            return rows
        index = dataset.index_of(number)
        row = {
            "number": number,
            "index": index,
            "shard": index // dataset.info.shard_scenes,
            "scene": "",
            "why": "",
            "not_rerendered": "" if number in again else why_not or NOT_CHOSEN,
        }
        try:
            scene = dataset[number]
            row |= _told(dataset, scene, number, steered=number in steered)
            if number in again:
                assert corpora is not None
                row |= diagnosed(scene, corpora, dataset.info)
        except (StoreError, ConfigError, OSError) as error:
            row["why"] = str(error)
        rows.append(row)
    return rows


def _told(dataset: Dataset, scene: Scene, number: int, *, steered: bool) -> dict[str, Any]:
    formats = _formats(dataset)
    signals = [
        signal_of(audio, formats[name], scene.row) for name, audio in scene.audio_by_format.items()
    ]
    finite = not any(signal["not_finite"] for signal in signals)
    return {
        "scene": scene.id,
        "signals": signals,
        "bearings": _bearings(scene, formats, steered=steered) if finite else [],
        "stems": stems_of(dataset, scene, number),
    }


def _bearings(
    scene: Scene, formats: Mapping[str, Format], *, steered: bool
) -> list[dict[str, Any]]:
    """Directions of the scene's events in every format that tells any."""
    spec = SceneSpec.from_json(scene.spec_json)
    labelled = frame_table(scene.events, spec.n_samples, spec.sample_rate)
    found = []
    for name, audio in scene.audio_by_format.items():
        item = formats[name]
        if reach_of(item) == "none" or not (steered or item.kind == "ambisonics"):
            continue
        directions, _ = scene_directions(audio, item, spec)
        estimates = event_estimates(scene.events, labelled, directions)
        found += [bearing_of(n, item, e) for n, e in enumerate(estimates) if e is not None]
    return found


def _formats(dataset: Dataset) -> dict[str, Format]:
    return {stored.name: format_of(stored) for stored in dataset.info.formats}
