"""The configuration of a run: typed records, presets as YAML, changes from the command line.

A preset is a YAML file of `RunConfig` in `manifests/runs`. Three things are shorter there than in
the record: `features` may be the name of a front end, `model.size` the name of a model's size, and
`model.channels` and `model.mels` follow from the features. `run.yaml` in the folder of a run is the
configuration with all of it written out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import yaml

from scenesynth.data import data_root
from scenesynth.errors import ConfigError
from scenesynth.features.config import FeatureConfig, feature_preset
from scenesynth.models.config import MaeConfig, sized
from scenesynth.records import from_plain, to_plain
from scenesynth.yaml_files import find_yaml, read_yaml, set_field

PRESET_FOLDER: Final = "manifests/runs"

_LARGEST_SEED: Final = 2**63 - 1
"""Of torch's generators."""

_FREE: Final = (
    "name",
    "description",
    "device",
    "compile",
    "micro_batch",
    "peak_tflops",
    "log_every",
    "data.workers",
    "data.follow",
    "data.follow_timeout_s",
    "validation",
    "checkpoint",
)
"""Values that may change when a run goes on: they decide nothing but rounding and what is told."""

_SIZED: Final = ("encoder", "decoder", "ssd")
"""Parts of a model that its size decides."""

_FOLLOWS: Final = ("channels", "mels")
"""Numbers of a model that the features decide."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """Which scenes are seen, and how they are read.

    Attributes:
        datasets: folders or URIs.
        live: in place of datasets, a recipe whose scenes are rendered as they are needed.
        sources, noise: clips that it plays, as for `scenesynth render`; the built-in ones if empty.
        weights: how often scenes of each dataset come, relative to each other; in proportion to
            their numbers of scenes where it is empty.
        split: the split that is trained on.
        crop_s: length that is read of a scene; all of it where null.
        windows: windows that are cut of each clip, on the device.
        group: scenes that are read together from a shard, in the order of the stream.
        workers: processes that read.
        follow: whether to wait for scenes of a dataset that is still being rendered.
        follow_timeout_s: how long, until its renderer is taken for dead.
    """

    datasets: tuple[str, ...] = ()
    live: str | None = None
    sources: tuple[str, ...] = ()
    noise: tuple[str, ...] = ()
    weights: tuple[float, ...] = ()
    split: str = "train"
    crop_s: float | None = None
    windows: int = 16
    group: int = 32
    workers: int = 2
    follow: bool = False
    follow_timeout_s: float = 600.0

    def __post_init__(self) -> None:
        _at_least("data", self, windows=1, group=1, workers=0)
        if self.weights and len(self.weights) != len(self.datasets):
            raise ConfigError(
                f"data.weights has {len(self.weights)} values for {len(self.datasets)} datasets; "
                f"give one for each, in their order, or none"
            )
        if self.live is not None and (self.datasets or self.follow):
            what = "data.follow" if self.follow else f"data.datasets {', '.join(self.datasets)}"
            raise ConfigError(
                f"data.live = {self.live} and {what}: scenes are rendered as they are needed, or "
                f"read from datasets; give one of the two"
            )
        if self.live is None and (self.sources or self.noise):
            raise ConfigError(
                "data.sources, data.noise: clips are played by a recipe; give one with "
                "--live RECIPE, or leave them out"
            )
        if self.crop_s is not None and self.crop_s <= 0:
            raise ConfigError(f"data.crop_s = {self.crop_s}; must be above 0, or null for all")


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimiserConfig:
    """How weights are changed.

    Attributes:
        kind: "adamw", or "muon" for matrices with AdamW for the rest.
        lr: the learning rate after the warm-up.
        final_lr: the learning rate at the end.
        warmup_steps: steps over which it rises from 0.
        betas: of AdamW.
        weight_decay: of matrices.
        clip: largest norm of the gradient.
    """

    kind: Literal["adamw", "muon"] = "adamw"
    lr: float = 2e-4
    final_lr: float = 0.0
    warmup_steps: int = 10_000
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 0.01
    clip: float = 5.0

    def __post_init__(self) -> None:
        _at_least("optimiser", self, warmup_steps=0, final_lr=0, weight_decay=0)
        for name in ("lr", "clip"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"optimiser.{name} = {getattr(self, name)}; must be above 0")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ConfigError(
                f"optimiser.betas = {self.betas}; both must be from 0 to below 1, as [0.9, 0.95]"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationConfig:
    """What is looked at on scenes that are not trained on.

    Attributes:
        datasets: folders or URIs in which they are; those of `data` where it is empty.
        every: steps from one validation loss to the next; 0 is never.
        split: the split whose rooms and clips are held out.
        scenes: how many of its scenes.
        panels: windows that are drawn.
        probe_every: steps from one linear probe to the next; 0 is never.
        probe_scenes: scenes of the training split that probes are fitted on; they are scored on
            the `scenes` that are held out.
    """

    datasets: tuple[str, ...] = ()
    every: int = 1_000
    split: str = "valid"
    scenes: int = 256
    panels: int = 2
    probe_every: int = 10_000
    probe_scenes: int = 1_024

    def __post_init__(self) -> None:
        _at_least("validation", self, every=0, scenes=2, panels=0, probe_every=0, probe_scenes=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointConfig:
    """When the state is written (at the end and on a signal, too), and how many are kept."""

    every: int = 1_000
    keep: int = 2

    def __post_init__(self) -> None:
        _at_least("checkpoint", self, every=1, keep=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """A run.

    Attributes:
        features: the front end.
        model: the masked autoencoder.
        steps: optimiser steps.
        batch: clips of a step, over all processes.
        micro_batch: clips of a forward and backward pass of a process; all of its share of the
            batch where null. Gradients are accumulated over as many passes as that takes.
        seed: of initial weights, order of scenes, windows and masks.
        precision: of the model's body: "bf16" (autocast), "fp32", or "auto", bf16 on CUDA.
            Features and weights are float32.
        compile: torch.compile: "auto" is on CUDA alone.
        device: "auto" is a GPU where there is one.
        peak_tflops: what the device can do at most, for the model FLOP utilisation; unknown where
            null.
        log_every: steps from one line to the next.
    """

    name: str
    description: str = ""
    features: FeatureConfig
    model: MaeConfig
    steps: int
    batch: int
    micro_batch: int | None = None
    seed: int = 0
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    compile: Literal["auto", "on", "off"] = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    peak_tflops: float | None = None
    log_every: int = 50
    data: DataConfig = field(default_factory=DataConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    validation: ValidationConfig = field(default_factory=ValidationConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)

    def __post_init__(self) -> None:
        _at_least("", self, steps=1, batch=1, seed=0, log_every=1)
        if self.seed > _LARGEST_SEED:
            raise ConfigError(f"seed = {self.seed}; must be at most {_LARGEST_SEED}")
        if self.peak_tflops is not None and self.peak_tflops <= 0:
            raise ConfigError(
                f"peak_tflops = {self.peak_tflops}; must be above 0, or null where it is unknown"
            )
        looks = self.validation.every or self.validation.probe_every
        if looks and self.validation.split == self.data.split:
            raise ConfigError(
                f"validation.split = {self.validation.split} is trained on (data.split); give "
                f"another, or do without (--set validation.every=0 --set validation.probe_every=0)"
            )
        for name, ours, theirs in (
            ("channels", self.model.channels, self.features.n_channels),
            ("mels", self.model.mels, self.features.n_mels),
        ):
            if ours != theirs:
                raise ConfigError(
                    f"model.{name} = {ours}, but the features have {theirs} "
                    f"({', '.join(self.features.channel_names)}); leave model.{name} out"
                )

    @property
    def window_samples(self) -> int:
        """Samples from the first frame of a window to that of the next window."""
        return self.model.frames * self.features.hop

    @property
    def window_s(self) -> float:
        """Length of a window in seconds."""
        return self.window_samples / self.features.sample_rate

    def accumulation(self, world: int) -> tuple[int, int]:
        """Passes of a step, and clips of each, where `world` processes share the batch.

        Raises:
            ConfigError: the batch cannot be divided so.
        """
        share, rest = divmod(self.batch, world)
        if rest:
            raise ConfigError(
                f"batch = {self.batch} cannot be shared by {world} processes; give a multiple of "
                f"{world}, such as --set batch={max(share, 1) * world}"
            )
        micro = share if self.micro_batch is None else self.micro_batch
        if micro < 1 or share % micro:
            fitting = max(n for n in range(1, share + 1) if share % n == 0 and n <= max(micro, 1))
            raise ConfigError(
                f"micro_batch = {self.micro_batch} does not divide the {share} clips that each of "
                f"{world} process{'es' if world > 1 else ''} has of batch = {self.batch}; give "
                f"--set micro_batch={fitting}"
            )
        return share // micro, micro


def load_run(name_or_path: str | Path, changes: Sequence[tuple[str, str]] = ()) -> RunConfig:
    """Read the configuration of a run by the name of a preset, or from a YAML file.

    Args:
        name_or_path: "gram-foa", or a path that ends in .yaml or .yml.
        changes: pairs such as ("optimiser.lr", "1e-3"); the text is YAML.

    Raises:
        ConfigError: no such preset, or a wrong one; names file, field and value.
    """
    path = find_yaml(name_or_path, data_root() / PRESET_FOLDER, list_presets, "preset", "file")
    plain = read_yaml(path)
    if not isinstance(plain, dict):
        raise ConfigError(f"{path}: holds no mapping, so it is no configuration of a run")
    changed = f" (with {', '.join(f'{f}={t}' for f, t in changes)})" if changes else ""
    try:
        return from_plain(RunConfig, {"name": path.stem} | _written_out(plain, changes))
    except ConfigError as error:
        raise ConfigError(f"{path}{changed}: {error}") from None


def list_presets() -> dict[str, str]:
    """Names of the presets, and what each is for in one line."""
    folder = data_root() / PRESET_FOLDER
    return {
        path.stem: str(read_yaml(path).get("description", ""))
        for path in sorted(folder.glob("*.yaml"))
    }


def run_yaml(config: RunConfig) -> str:
    """The configuration as YAML text; `load_run` of a file of it gives an equal one."""
    text: str = yaml.safe_dump(
        to_plain(config), sort_keys=False, default_flow_style=None, width=100, allow_unicode=True
    )
    return text


def bound(plain: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a plain configuration that may not change when a run goes on."""
    kept: dict[str, Any] = {}
    for name, value in plain.items():
        if name in _FREE:
            continue
        if isinstance(value, dict):
            value = {key: v for key, v in value.items() if f"{name}.{key}" not in _FREE}
        kept[name] = value
    return kept


def _written_out(plain: dict[str, Any], changes: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """A configuration, changed, with the names of front end and size replaced by what they mean."""
    _expand(plain)
    for name, text in changes:
        set_field(plain, name, text, f"--set {name}={text}", "the run")
        if name == "model.size":
            for part in _SIZED:
                plain["model"].pop(part, None)
        if name.partition(".")[0] == "features":
            for follows in _FOLLOWS:
                plain["model"].pop(follows, None)
        _expand(plain)
    seen = from_plain(FeatureConfig, plain["features"], "features")
    for follows, value in zip(_FOLLOWS, (seen.n_channels, seen.n_mels), strict=True):
        plain["model"].setdefault(follows, value)
    return plain


def _expand(plain: dict[str, Any]) -> None:
    """Replace names by what they mean, in place."""
    for name in ("features", "model"):
        if name not in plain:
            raise ConfigError(f"{name}: missing key of RunConfig")
    if isinstance(plain["features"], str):
        plain["features"] = to_plain(feature_preset(plain["features"]))
    if not isinstance(plain["model"], dict):
        raise ConfigError(f"model: got {plain['model']!r}, must be a mapping (MaeConfig)")
    if "size" in plain["model"]:
        plain["model"] = _with_size(plain["model"])


def _with_size(model: dict[str, Any]) -> dict[str, Any]:
    """A model of a named size; what it states itself goes before."""
    stated = {name: value for name, value in model.items() if name != "size"}
    backbone = stated.get("backbone", "vit")
    try:
        base = to_plain(sized(str(model["size"]), channels=1, backbone=backbone))
    except ConfigError as error:
        raise ConfigError(f"model.{error}") from None
    for follows in _FOLLOWS:
        del base[follows]
    for name in _SIZED:
        if isinstance(stated.get(name), dict):
            stated[name] = base[name] | stated[name]
    return {**base, **stated}


def _at_least(path: str, record: Any, **least: float) -> None:
    for name, value in least.items():
        if getattr(record, name) < value:
            where = f"{path}.{name}" if path else name
            raise ConfigError(f"{where} = {getattr(record, name)}; must be at least {value}")
