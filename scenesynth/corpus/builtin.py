"""The built-in procedural clips, so that the product runs with no data at all.

`manifests/builtin.yaml` says what there is; the sounds are made once, into the cache, as wav files
with a clips.csv, and are from then on a corpus like any other (and can be listened to).
"""

from __future__ import annotations

import csv
import hashlib
import io
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile
import yaml
from numpy.typing import NDArray

from scenesynth.corpus.clips import Progress
from scenesynth.corpus.index import TABLE_NAME
from scenesynth.corpus.readers.table import COLUMNS
from scenesynth.corpus.synth import beds, nature, objects, voices
from scenesynth.corpus.synth.tools import SAMPLE_RATE, Signal, samples, unit_peak
from scenesynth.corpus.tables import scratch_name, unwritable
from scenesynth.corpus.threads import in_threads
from scenesynth.data import cache_root, data_root
from scenesynth.errors import ConfigError
from scenesynth.records import from_plain
from scenesynth.seeds import Rng, rng

SYNTH_VERSION = 1
"""Raised whenever a sound's code changes what it sounds like."""

Role = Literal["sources", "noise"]
Sound = Callable[[Rng, Rng], Signal]

PEAK = 0.7
_TAIL_LEVEL = 1e-3
_TAIL_S = 0.06
_STALE_S = 3600.0

SOUNDS: Mapping[str, Sound] = {
    sound.__name__: sound
    for sound in (
        voices.speech,
        voices.singing,
        voices.laughter,
        voices.cough,
        voices.dog_bark,
        voices.cat_meow,
        objects.footsteps,
        objects.door_knock,
        objects.typing,
        objects.clapping,
        objects.drum,
        objects.bell,
        objects.telephone,
        objects.alarm,
        objects.clock,
        objects.car_horn,
        objects.engine,
        nature.bird,
        nature.water,
        nature.plucked_string,
        nature.piano,
        beds.rain,
        beds.wind,
        beds.crowd,
        beds.traffic,
        beds.ventilation,
        beds.surf,
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SoundClass:
    """A class of the manifest."""

    groups: int
    takes: int
    caption: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The built-in manifest, with its classes by role."""

    version: Literal[1]
    seed: int
    licence: str
    attribution: str
    classes: Mapping[str, Mapping[str, SoundClass]]
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One clip to be made."""

    label: str
    group: int
    take: int
    split: str

    @property
    def path(self) -> str:
        """File in the folder of the role."""
        return f"{self.label}/{self.label}-{self.group}-{self.take}.wav"


def builtin_folder(role: Role, *, progress: Progress | None = None) -> Path:
    """Folder with the built-in clips of a role and their clips.csv; made on first use.

    Raises:
        ConfigError: the cache cannot be written.
    """
    manifest = load_manifest()
    folder = cache_root() / "builtin" / manifest.digest / role
    if not folder.is_dir():
        try:
            _make(manifest, role, folder, progress)
        except OSError as error:
            raise unwritable(folder.parent, error) from None
    return folder


@lru_cache(maxsize=1)
def load_manifest() -> Manifest:
    """The built-in manifest.

    Raises:
        ConfigError: it names an unknown sound or key.
    """
    file = data_root() / "manifests" / "builtin.yaml"
    text = file.read_text(encoding="utf-8")
    plain = yaml.safe_load(text)
    roles = {role: plain.pop(role) for role in ("sources", "noise")}
    classes = {
        role: {
            label: from_plain(SoundClass, item, f"{file}: {role}.{label}")
            for label, item in listed.items()
        }
        for role, listed in roles.items()
    }
    for role, listed in classes.items():
        if unknown := sorted(set(listed) - set(SOUNDS)):
            raise ConfigError(
                f"{file}: {role}.{unknown[0]}: no such sound; there are {', '.join(SOUNDS)}"
            )
    identity = f"{SYNTH_VERSION} {SAMPLE_RATE} {plain} {roles}"
    digest = hashlib.sha256(identity.encode()).hexdigest()[:16]
    return Manifest(**plain, classes=classes, digest=digest)


def plan(manifest: Manifest, role: Role) -> list[Planned]:
    """All clips of a role in the manifest's order."""
    return [
        Planned(label=label, group=group, take=take, split=_split(group, item.groups))
        for label, item in manifest.classes[role].items()
        for group in range(item.groups)
        for take in range(item.takes)
    ]


def synthesise(planned: Planned, seed: int) -> NDArray[np.int16]:
    """The samples of a clip. Shape: [n]."""
    group = rng(seed, "builtin", f"group {planned.label}", planned.group)
    take = rng(seed, "builtin", f"take {planned.label}", planned.group, planned.take)
    wave = unit_peak(SOUNDS[planned.label](group, take))
    heard = np.flatnonzero(np.abs(wave) > _TAIL_LEVEL)
    wave = wave[: heard[-1] + samples(_TAIL_S)]
    return np.rint(wave * PEAK * 32767.0).astype(np.int16)


def _split(group: int, groups: int) -> str:
    return {groups - 1: "test", groups - 2: "valid"}.get(group, "train")


def _make(manifest: Manifest, role: Role, folder: Path, progress: Progress | None) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    _sweep(folder)
    scratch = scratch_name(folder)
    clips = plan(manifest, role)

    def one(planned: Planned) -> None:
        path = scratch / planned.path
        # Through memory, since libsndfile tells neither a full disk nor where it is.
        wav = io.BytesIO()
        samples = synthesise(planned, manifest.seed)
        soundfile.write(wav, samples, SAMPLE_RATE, subtype="PCM_16", format="WAV")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(wav.getvalue())

    in_threads(one, clips, what=f"synthesise built-in {role}", progress=progress)
    (scratch / TABLE_NAME).write_text(_table(manifest, role, clips), encoding="utf-8")
    try:
        scratch.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
        shutil.rmtree(scratch)  # another process was faster, with the same clips


def _sweep(folder: Path) -> None:
    """Remove what a killed run left behind."""
    for old in folder.parent.glob(f".{folder.name}.*"):
        if time.time() - old.stat().st_mtime > _STALE_S:
            shutil.rmtree(old, ignore_errors=True)


def _table(manifest: Manifest, role: Role, clips: list[Planned]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for planned in clips:
        writer.writerow(
            {
                "id": planned.path.removesuffix(".wav"),
                "path": planned.path,
                "labels": planned.label,
                "split": planned.split,
                "group": f"{planned.label}-{planned.group}",
                "licence": manifest.licence,
                "attribution": manifest.attribution,
                "caption": manifest.classes[role][planned.label].caption,
            }
        )
    return text.getvalue()
