"""Opening a stream of batches: what is asked for is checked against what the datasets hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xxhash

from scenesynth.errors import ConfigError
from scenesynth.records import did_you_mean
from scenesynth.store.arguments import name_list, positive, whole
from scenesynth.store.arrays import CODECS
from scenesynth.store.crops import Source
from scenesynth.store.follow import FOLLOW_TIMEOUT_S, Follower, OnWait, log_waiting
from scenesynth.store.layout import DATASET_FILE, StoredFormat
from scenesynth.store.order import Rules
from scenesynth.store.part import Part
from scenesynth.store.places import Address
from scenesynth.store.reader import Dataset, open_dataset
from scenesynth.store.selection import Selection, SkipBad, check_number
from scenesynth.store.targets import FrameTargets, TargetMaker

if TYPE_CHECKING:
    from scenesynth.store.stream import Stream

Given = Dataset | Address
GROUP: int = 32
"""Shards whose scenes are mixed."""


def stream(
    datasets: Given | Sequence[Given],
    *,
    crop_s: float | None = None,
    batch: int = 32,
    format: str | None = None,
    seed: int = 0,
    split: str | None = None,
    where: Mapping[str, Any] | None = None,
    columns: Sequence[str] = (),
    targets: FrameTargets | None = None,
    weights: Sequence[float] | None = None,
    shuffle: bool = True,
    group: int = GROUP,
    drop_last: bool = True,
    follow: bool = False,
    follow_timeout_s: float = FOLLOW_TIMEOUT_S,
    on_wait: OnWait = log_waiting,
    rank: int = 0,
    world: int = 1,
    workers: int = 0,
    skip_bad: SkipBad = False,
    epochs: int | None = None,
    pin_memory: bool = False,
) -> Stream:
    """Batches of scenes, or of crops of them, for training with torch.

    Order, crops and batches depend on the datasets, `seed`, `batch`, `group`, `shuffle` and
    `weights` alone; see `scenesynth.store.order`.

    Args:
        datasets: one or several, opened or by folder or URI.
        crop_s: length of random crops; None for whole scenes. Scenes that are shorter are followed
            by zeros.
        batch: scenes of a batch of all ranks together.
        format: which one, where the datasets have several.
        seed: of the order and of the crops.
        split: which one to take; None for all that is there.
        where: which scenes to take, by columns of the scenes table: a value, a list of values, or a
            pair (low, high).
        columns: of the scenes table, to come along.
        targets: what `frames` gives; crops then begin on whole frames.
        weights: shares of the datasets in an epoch; None for shares by size.
        shuffle: whether scenes are mixed at all; crops are random in any case.
        group: shards whose scenes are mixed.
        drop_last: leave out what does not fill a batch at the end of an epoch.
        follow: read along while the dataset is being rendered.
        follow_timeout_s: how long to wait for a commit before taking the renderer for dead.
        on_wait: is told every ten seconds what is waited for.
        rank, world: which of how many processes this is; each gets its part of every batch.
        workers: processes that read ahead; 0 reads in this one.
        skip_bad: leave out shards that are damaged: those with missing or cut files (True), or
            with any wrong byte ("deep", which reads all of them first).
        epochs: after how many there is nothing more; None for no end.
        pin_memory: hand out batches in page-locked memory, where there is a GPU.

    Raises:
        ConfigError: something that the datasets cannot give; or torch is missing.
        StoreError: no dataset there.
    """
    from scenesynth.store.stream import Stream

    batch, world = whole("batch", batch), whole("world", world)
    rank, workers = whole("rank", rank, 0), whole("workers", workers, 0)
    epochs = None if epochs is None else whole("epochs", epochs)
    follow_timeout_s = positive("follow_timeout_s", follow_timeout_s)
    asked_columns = name_list("columns", columns)
    check_ranks(batch, rank, world, drop_last=drop_last)
    check_targets(targets)
    opened = _opened(datasets)
    _check_follow(opened, follow=follow, skip_bad=skip_bad)
    rules = Rules(
        seed=whole("seed", seed, 0),
        batch=batch,
        group=whole("group", group),
        shuffle=shuffle,
        weights=_weights(weights, opened),
        drop_last=drop_last,
    )
    formats = _formats(opened, format)
    longest = max(ds.info.max_samples for ds in opened)
    n_samples = crop_samples(longest, opened[0].sample_rate, crop_s)
    classes = _classes(opened, targets)
    selection = Selection(split=split, where=where, skip_bad=skip_bad)
    parts = tuple(
        _part(
            ds,
            fmt,
            selection,
            asked_columns,
            None
            if targets is None
            else TargetMaker.of_dataset(targets, classes, ds.classes, ds.sample_rate, n_samples),
            Follower(ds, selection, follow_timeout_s, on_wait) if follow else None,
        )
        for ds, fmt in zip(opened, formats, strict=True)
    )
    made = Stream(
        parts,
        rules,
        n_samples=n_samples,
        classes=classes,
        rank=rank,
        world=world,
        workers=workers,
        epochs=epochs,
        pin_memory=pin_memory,
    )
    if not follow and len(made) == 0:
        raise ConfigError(
            f"batch = {batch}: more than the {made.n_scenes} scenes that there are; make it smaller"
        )
    return made


def _part(
    dataset: Dataset,
    fmt: StoredFormat,
    selection: Selection,
    columns: tuple[str, ...],
    targets: TargetMaker | None,
    follower: Follower | None,
) -> Part:
    selection.check(dataset)
    for name in columns:
        check_number(dataset.schema("scenes"), name, "columns", dataset.place)
    return Part(
        source=Source(
            place=dataset.place, info=dataset.info, format=fmt, columns=columns, targets=targets
        ),
        identity=str(xxhash.xxh3_64_hexdigest(dataset.place.read(DATASET_FILE))),
        shards=tuple(selection.shards(dataset)) if follower is None else None,
        follower=follower,
        promised=dataset.n_promised,
    )


def _opened(datasets: Given | Sequence[Given]) -> list[Dataset]:
    if not isinstance(datasets, Dataset | str | Path | Iterable):
        raise ConfigError(f"datasets = {datasets!r}; must be one or several")
    several: list[Given] = [datasets] if isinstance(datasets, Dataset | str | Path) else [*datasets]
    if not several:
        raise ConfigError("datasets: got none; give one or several")
    return [given if isinstance(given, Dataset) else open_dataset(given) for given in several]


def check_ranks(batch: int, rank: int, world: int, *, drop_last: bool = True) -> None:
    """Raise ConfigError where ranks cannot have equal parts of every batch."""
    if not 0 <= rank < world:
        raise ConfigError(f"rank = {rank}; must be from 0 to {world - 1} in a world of {world}")
    if batch % world:
        raise ConfigError(
            f"batch = {batch} is that of all ranks together and cannot be divided by world = "
            f"{world}; make it {batch - batch % world or world} or {batch + world - batch % world}"
        )
    if not drop_last and world > 1:
        raise ConfigError(
            f"drop_last=False with world = {world}: the ranks' last batches would differ in size; "
            f"read it all with one rank"
        )


def check_targets(targets: object) -> None:
    """Raise ConfigError where targets are none that `frames` gave."""
    if not isinstance(targets, FrameTargets | None):
        raise ConfigError(f"targets = {targets!r}; must be what ss.frames(...) gives, or None")


def _check_follow(opened: Sequence[Dataset], *, follow: bool, skip_bad: SkipBad) -> None:
    if follow and len(opened) > 1:
        raise ConfigError(
            f"follow=True with {len(opened)} datasets: how they mix depends on their sizes, which "
            f"are known once they are complete; follow one"
        )
    if follow and skip_bad:
        raise ConfigError(
            "skip_bad looks for damage when a dataset is opened; with follow=True that is too "
            "early; leave one of them out"
        )


def _weights(
    weights: Sequence[float] | None, opened: Sequence[Dataset]
) -> tuple[float, ...] | None:
    if weights is None:
        return None
    if isinstance(weights, str) or not isinstance(weights, Iterable):
        raise ConfigError(f"weights = {weights!r}; must be a list, a number for each dataset")
    checked = tuple(positive(f"weights[{n}]", weight) for n, weight in enumerate(weights))
    if len(checked) != len(opened):
        raise ConfigError(f"weights: got {len(checked)} for {len(opened)} datasets")
    positive("sum of weights", sum(checked))
    return checked


def _formats(opened: Sequence[Dataset], wanted: str | None) -> list[StoredFormat]:
    """The format of each dataset, alike in all."""
    first = opened[0]
    if wanted is None and len(first.formats) > 1:
        raise ConfigError(f"{first.place} has the formats {', '.join(first.formats)}; name one")
    name = first.formats[0] if wanted is None else wanted
    found = []
    for ds in opened:
        by_name = {fmt.name: fmt for fmt in ds.info.formats}
        if not isinstance(name, str) or name not in by_name:
            near = did_you_mean(str(name), by_name)
            raise ConfigError(f"format {name!r}: {ds.place} has {', '.join(by_name)}{near}")
        found.append(by_name[name])
        for what, here, there in [
            ("channels", found[-1].channel_names, found[0].channel_names),
            ("convention", found[-1].convention, found[0].convention),
            ("sample rate", ds.sample_rate, first.sample_rate),
            ("samples", CODECS[ds.info.codec].dtype, CODECS[first.info.codec].dtype),
        ]:
            if here != there:
                raise ConfigError(
                    f"datasets that are mixed must be alike: {what} of {ds.place} is {here}, of "
                    f"{first.place} {there}; render one anew with scenesynth render --from"
                )
    return found


def crop_samples(longest: int, sample_rate: int, crop_s: float | None) -> int:
    """Length of crops of scenes of at most `longest` samples; None for whole scenes.

    Raises:
        ConfigError: less than a sample, or longer than any scene.
    """
    if crop_s is None:
        return longest
    if not positive("crop_s", crop_s) * sample_rate >= 1:
        raise ConfigError(f"crop_s = {crop_s}; must be at least a sample, or None for whole scenes")
    if (n_samples := round(crop_s * sample_rate)) > longest:
        raise ConfigError(
            f"crop_s = {crop_s:g}: longer than any scene; the longest has "
            f"{longest / sample_rate:g} s"
        )
    return n_samples


def _classes(opened: Sequence[Dataset], targets: FrameTargets | None) -> tuple[str, ...]:
    of_datasets = [ds.classes for ds in opened]
    if targets is None:
        return tuple(dict.fromkeys(name for names in of_datasets for name in names))
    targets.hop_samples(opened[0].sample_rate)
    return targets.names(of_datasets)
