"""The datasets of a run: opened, checked against the configuration, and streamed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pyarrow.compute as pc

from scenesynth.errors import ConfigError
from scenesynth.store.reader import Dataset, open_dataset
from scenesynth.store.schema import STATUS_OK
from scenesynth.store.stream import Stream
from scenesynth.store.streaming import stream
from scenesynth.train.config import RunConfig
from scenesynth.train.processes import Processes


def open_data(config: RunConfig) -> tuple[list[Dataset], list[Dataset]]:
    """The datasets that are trained on, and those in which scenes are held out.

    Where training scenes are rendered as they are needed, the latter stand for both: they hold a
    sample of the scenes of all splits.

    Raises:
        ConfigError: none is given, or one is of another format or rate, or too short.
        StoreError: one cannot be opened.
    """
    if config.data.live is not None:
        held_out = _live_held_out(config)
        return held_out, held_out
    if not config.data.datasets:
        raise ConfigError(
            "data.datasets: none is given; name one, such as `scenesynth train out/mine --run "
            "runs/first`, or a recipe with --live"
        )
    datasets = [_opened(uri, config) for uri in config.data.datasets]
    if not config.data.follow:
        _check_split(datasets, config)
    others = [_opened(uri, config) for uri in config.validation.datasets]
    return datasets, others or datasets


def _live_held_out(config: RunConfig) -> list[Dataset]:
    looked_at = config.validation
    if not looked_at.datasets and (looked_at.every or looked_at.probe_every):
        raise ConfigError(
            f"validation.datasets: none is given, and of a recipe that is rendered as needed no "
            f"scenes are held out; render some (scenesynth render --recipe {config.data.live} "
            f"--split all --seed 1 --scenes 2000 --out out/valid) and give --valid out/valid, or "
            f"do without (--set validation.every=0 --set validation.probe_every=0)"
        )
    return [_opened(uri, config) for uri in looked_at.datasets]


def _opened(uri: str, config: RunConfig) -> Dataset:
    dataset = open_dataset(uri)
    _check(uri, dataset, config)
    return dataset


def open_stream(config: RunConfig, processes: Processes) -> Stream:
    """Batches of clips for this process, in the order that the configuration decides."""
    data = config.data
    if data.live is not None:
        return _open_live(config, processes)
    return stream(
        list(data.datasets),
        crop_s=data.crop_s,
        batch=config.batch,
        format=config.features.input,
        seed=config.seed,
        split=data.split,
        weights=list(data.weights) or None,
        group=data.group,
        follow=data.follow,
        follow_timeout_s=data.follow_timeout_s,
        rank=processes.rank,
        world=processes.world,
        workers=data.workers,
        pin_memory=processes.device.type == "cuda",
    )


def _open_live(config: RunConfig, processes: Processes) -> Stream:
    """Batches of a recipe; rendered by workers, or without any by the training process."""
    from scenesynth.corpus.corpora import Corpora
    from scenesynth.pipeline.live import live
    from scenesynth.scene.recipe import load_recipe

    data = config.data
    assert data.live is not None
    recipe = load_recipe(data.live)
    if recipe.sample_rate != config.features.sample_rate:
        raise ConfigError(
            f"features.sample_rate = {config.features.sample_rate} Hz: recipe {recipe.name} makes "
            f"scenes at {recipe.sample_rate} Hz; give --set "
            f"features.sample_rate={recipe.sample_rate} (features.f_max_hz may be at most half of "
            f"it), or another recipe"
        )
    found = live(
        recipe,
        Corpora.open(data.sources, data.noise),
        crop_s=data.crop_s,
        batch=config.batch,
        format=config.features.input,
        seed=config.seed,
        split=data.split,
        rank=processes.rank,
        world=processes.world,
        workers=data.workers,
        device="cpu" if data.workers or processes.device.type == "cpu" else str(processes.device),
        pin_memory=processes.device.type == "cuda",
    )
    _check_window(f"recipe {recipe.name}", found.n_samples, config)
    return found


def _check(uri: str, dataset: Dataset, config: RunConfig) -> None:
    features = config.features
    if features.input not in dataset.formats:
        raise ConfigError(
            f"features.input = {features.input}: {uri} holds {', '.join(dataset.formats)}; render "
            f"its scenes in that format (scenesynth render --from {uri} --format {features.input} "
            f"--out ...), or take a preset for what is there"
        )
    if features.sample_rate != dataset.sample_rate:
        raise ConfigError(
            f"features.sample_rate = {features.sample_rate} Hz: {uri} is at {dataset.sample_rate} "
            f"Hz; give --set features.sample_rate={dataset.sample_rate} (features.f_max_hz may be "
            f"at most half of it), or render at {features.sample_rate} Hz"
        )
    (stored,) = [fmt for fmt in dataset.info.formats if fmt.name == features.input]
    if sorted(stored.channel_names) != sorted(features.channel_order) and features.input == "foa":
        raise ConfigError(
            f"features.channel_order = {list(features.channel_order)}: {uri} has the channels "
            f"{list(stored.channel_names)}"
        )
    longest_s = dataset.info.max_samples / dataset.sample_rate
    crop_s = longest_s if config.data.crop_s is None else config.data.crop_s
    if crop_s > longest_s:
        raise ConfigError(
            f"data.crop_s = {crop_s:g}: scenes of {uri} last {longest_s:g} s at most; give "
            f"--set data.crop_s=null for whole scenes"
        )
    _check_window(uri, round(crop_s * dataset.sample_rate), config)


def _check_window(what: str, n_samples: int, config: RunConfig) -> None:
    if config.features.frames(n_samples) < config.model.frames:
        raise ConfigError(
            f"model.frames = {config.model.frames}, a window of {config.window_s:g} s: clips of "
            f"{what} have {n_samples / config.features.sample_rate:g} s; give longer clips "
            f"(data.crop_s) or a smaller --set model.frames=N"
        )


def scenes_by_split(datasets: Sequence[Dataset]) -> Counter[str]:
    """How many usable scenes of each split there are."""
    counts: Counter[str] = Counter()
    for dataset in datasets:
        scenes = dataset.table("scenes", ["split", "status"])
        counts.update(scenes.filter(pc.equal(scenes["status"], STATUS_OK))["split"].to_pylist())
    return counts


def _check_split(datasets: Sequence[Dataset], config: RunConfig) -> None:
    splits = scenes_by_split(datasets)
    n = splits[config.data.split]
    if n >= config.batch:
        return
    there = ", ".join(f"{count} of {name}" for name, count in sorted(splits.items()))
    if n == 0:
        raise ConfigError(
            f"data.split = {config.data.split}: the datasets hold no scene of it, but "
            f"{there or 'none at all'}; give another --set data.split=NAME, or wait for scenes "
            f"that are still being rendered with --follow"
        )
    raise ConfigError(
        f"batch = {config.batch}: the datasets hold {n} scenes of the split {config.data.split}, "
        f"which fill no batch; give --set batch={n} or less, or render more scenes"
    )
