"""Training targets of a crop, frame by frame: who sounds where, per class.

Crops that have targets begin on whole frames of their scene, so that frame k of a crop is frame
`start / hop + k` of `scenesynth.store.frames`, whose rule of what is active, and where, holds
unchanged. A crop has the frames that it reaches into. The mask is false for frames beyond the end
of the scene, which a crop has where its scene is shorter.

Forms, with C classes and F frames:

- "events": rows, one for each active event, class and frame, as the lists of DCASE have them.
- "accdoa": [F, 3, C], a vector x, y, z of length 1 in the direction of an active class, else of
  length 0 (Shimada et al. 2021, arXiv 2010.15306). Of several events of a class the first counts.
- "adpit": [F, 6, 4, C], activity, x, y, z, for multi-ACCDOA with auxiliary duplicating permutation
  invariant training (Shimada et al. 2022, arXiv 2110.07124). One event of a class in a frame is in
  track 0, two are in 1 and 2, three in 3, 4 and 5; the first three of more. With `distance=True` a
  fifth row holds the distance in metres.

x is the front, y left, z up. Events are in the order of the events table. Those without a class,
and in the dense forms those without a direction (diffuse ones), are no targets.
"""

from __future__ import annotations

import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from scenesynth.errors import ConfigError
from scenesynth.records import did_you_mean
from scenesynth.store.arguments import name_list, positive
from scenesynth.store.frames import FRAME_HOP_S, frame_table, n_frames

Form = Literal["events", "accdoa", "adpit"]
Classes = Sequence[str] | Mapping[str, str] | None
Role = Literal["target", "interferer", "noise"]

COLUMNS: Final = (
    *("index", "event", "role", "class_ids", "dry_onset_s", "dry_offset_s", "wet_onset_s"),
    *("azimuth_start_deg", "elevation_start_deg", "distance_start_m", "heard"),
)
"""Columns of the events table that targets are made of; `heard` only where it is there."""

TRACKS: Final = 6
_OVERLAPS: Final = 3
_FIRST_TRACK: Final = np.array([0, 0, 1, 3])
"""Of ADPIT's tracks, by how many events of a class sound in a frame."""

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameTargets:
    """What targets are to be made; see `frames`."""

    hop_s: float
    classes: tuple[tuple[str, str], ...] | None
    form: Form
    roles: tuple[Role, ...]
    distance: bool

    def names(self, of_datasets: Sequence[Sequence[str]]) -> tuple[str, ...]:
        """Names of the target classes, in order: those asked for, or all of the datasets.

        Raises:
            ConfigError: one that no dataset has.
        """
        known = list(dict.fromkeys(name for names in of_datasets for name in names))
        if self.classes is None:
            return tuple(known)
        for name, _ in self.classes:
            if name not in known:
                raise ConfigError(
                    f"classes: {name!r} is not known{did_you_mean(name, known)}; classes of the "
                    f"events: {', '.join(known)}"
                )
        return tuple(dict.fromkeys(target for _, target in self.classes))

    def hop_samples(self, sample_rate: int) -> int:
        """Length of a frame.

        Raises:
            ConfigError: it is no whole number.
        """
        exact = self.hop_s * sample_rate
        if abs(exact - round(exact)) > 1e-6 or round(exact) < 1:
            raise ConfigError(
                f"frames: hop_s = {self.hop_s:g} is {exact:g} samples at {sample_rate} Hz; must be "
                f"a whole number, so that crops can begin on frames"
            )
        return round(exact)


def frames(
    hop_s: float = FRAME_HOP_S,
    classes: Classes = None,
    form: Form = "events",
    *,
    roles: Iterable[Role] = ("target",),
    distance: bool = False,
) -> FrameTargets:
    """Targets for `stream`: activity, direction and distance per frame.

    Args:
        hop_s: length of a frame.
        classes: names of classes, in the order of the target's class axis; or a mapping from
            names in the dataset to those of the target, several to one where wanted. Events of
            other classes are no targets. None for all classes of the datasets.
        form: "events", "accdoa" or "adpit"; see `scenesynth.store.targets`.
        roles: whose events are targets.
        distance: whether "adpit" has a fifth row.

    Raises:
        ConfigError: an unknown form or role, or no class.
    """
    asked_roles = name_list("frames: roles", roles)
    for value, known, what in [
        (form, Form, "form"),
        *((role, Role, "roles") for role in asked_roles),
    ]:
        if value not in get_args(known):
            raise ConfigError(
                f"frames: {what} = {value!r}{did_you_mean(str(value), get_args(known))}; must be "
                f"{' or '.join(repr(name) for name in get_args(known))}"
            )
    if not asked_roles:
        raise ConfigError("frames: roles is empty; leave it out for targets")
    return FrameTargets(
        hop_s=positive("frames: hop_s", hop_s),
        classes=None if classes is None else _pairs(classes),
        form=form,
        roles=typing.cast(tuple[Role, ...], asked_roles),
        distance=distance,
    )


def _pairs(classes: Sequence[str] | Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Classes of the dataset, each with the one of the target that it counts as."""
    own = name_list("frames: classes", classes)
    if not own:
        raise ConfigError("frames: classes is empty; leave it out for all of them")
    if not isinstance(classes, Mapping):
        return tuple((name, name) for name in own)
    name_list("frames: classes", classes.values())
    return tuple((name, classes[name]) for name in own)


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """Events of a scene that are targets. Shapes: [events], [events, frames], [.., .., 3].

    Attributes:
        classes: of each event, as places on the target's class axis.
    """

    events: tuple[int, ...]
    classes: tuple[tuple[int, ...], ...]
    active: NDArray[np.bool_]
    vectors: NDArray[np.float32]
    distance_m: NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetMaker:
    """Targets of the crops of one dataset.

    Attributes:
        names: of the target classes.
        places: on the class axis, by class id of the dataset.
        crop_samples: length of the crops.
    """

    asked: FrameTargets
    names: tuple[str, ...]
    places: Mapping[int, int]
    sample_rate: int
    crop_samples: int

    @classmethod
    def of_dataset(
        cls,
        asked: FrameTargets,
        names: tuple[str, ...],
        classes: Sequence[str],
        sample_rate: int,
        crop_samples: int,
    ) -> TargetMaker:
        """For a dataset with these `classes`, whose targets are called `names`."""
        renamed = {name: name for name in names} if asked.classes is None else dict(asked.classes)
        places = {
            number: names.index(renamed[name])
            for number, name in enumerate(classes)
            if name in renamed
        }
        return cls(
            asked=asked,
            names=names,
            places=places,
            sample_rate=sample_rate,
            crop_samples=crop_samples,
        )

    @property
    def hop_samples(self) -> int:
        """Length of a frame."""
        return self.asked.hop_samples(self.sample_rate)

    @property
    def n_frames(self) -> int:
        """Frames of a crop."""
        return n_frames(self.crop_samples, self.sample_rate, self.asked.hop_s)

    def labels(self, rows: Iterable[Mapping[str, Any]], n_samples: int) -> Labels:
        """Labels of a whole scene.

        Args:
            rows: of the events table, all of the scene.
            n_samples: length of the scene.
        """
        kept, classes = [], []
        for row in rows:
            of_row = tuple(
                dict.fromkeys(self.places[n] for n in row["class_ids"] or () if n in self.places)
            )
            if row["role"] in self.asked.roles and of_row:
                kept.append(row)
                classes.append(of_row)
        table = frame_table(kept, n_samples, self.sample_rate, self.asked.hop_s)
        azimuth, elevation = np.radians(table.azimuth_deg), np.radians(table.elevation_deg)
        flat = np.cos(elevation)
        vectors = np.stack([flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation)], -1)
        return Labels(
            events=tuple(row["event"] for row in kept),
            classes=tuple(classes),
            active=table.active,
            vectors=vectors.astype(np.float32),
            distance_m=table.distance_m.astype(np.float32),
        )

    def of_crop(self, labels: Labels, n_samples: int, start: int) -> Arrays:
        """Targets of a crop from sample `start` of a scene on.

        Raises:
            ValueError: it does not begin on a frame.
        """
        first, rest = divmod(start, self.hop_samples)
        if rest:
            raise ValueError(f"start = {start}; must be a multiple of {self.hop_samples} samples")
        there = n_frames(n_samples, self.sample_rate, self.asked.hop_s) - first
        mask = np.arange(self.n_frames) < there
        cut = slice(first, first + min(self.n_frames, max(there, 0)))
        heard = replace(
            labels,
            active=labels.active[:, cut],
            vectors=labels.vectors[:, cut],
            distance_m=labels.distance_m[:, cut],
        )
        make = {"events": self._events, "accdoa": self._accdoa, "adpit": self._adpit}
        return {**make[self.asked.form](heard), "mask": mask}

    def _events(self, labels: Labels) -> Arrays:
        which, frame = np.nonzero(labels.active)
        repeats = [len(labels.classes[n]) for n in which]
        at = np.repeat(np.arange(len(which)), repeats)
        classes = [place for n in which for place in labels.classes[n]]
        order = np.argsort(frame[at], kind="stable")
        at = at[order]
        return {
            "frame": frame[at],
            "class_id": np.array(classes, np.int64)[order],
            "event": np.array(labels.events, np.int64)[which[at]],
            "direction": labels.vectors[which[at], frame[at]],
            "distance_m": labels.distance_m[which[at], frame[at]],
        }

    def _accdoa(self, labels: Labels) -> Arrays:
        accdoa = np.zeros((self.n_frames, 3, len(self.names)), np.float32)
        distance = np.zeros((self.n_frames, len(self.names)), np.float32)
        for place, which in self._by_class(labels):
            sounds = _directed(labels, which)
            event, frame, rank = _ranked(sounds)
            event, frame = event[rank == 0], frame[rank == 0]
            accdoa[frame, :, place] = labels.vectors[which][event, frame]
            distance[frame, place] = labels.distance_m[which][event, frame]
        return {"accdoa": accdoa, "distance_m": distance}

    def _adpit(self, labels: Labels) -> Arrays:
        rows = 5 if self.asked.distance else 4
        adpit = np.zeros((self.n_frames, TRACKS, rows, len(self.names)), np.float32)
        for place, which in self._by_class(labels):
            sounds = _directed(labels, which)
            event, frame, rank = _ranked(sounds)
            kept = rank < _OVERLAPS
            event, frame, rank = event[kept], frame[kept], rank[kept]
            together = np.minimum(sounds.sum(axis=0), _OVERLAPS)[frame]
            track = _FIRST_TRACK[together] + rank
            adpit[frame, track, 0, place] = 1.0
            adpit[frame, track, 1:4, place] = labels.vectors[which][event, frame]
            if self.asked.distance:
                adpit[frame, track, 4, place] = labels.distance_m[which][event, frame]
        return {"adpit": adpit}

    def _by_class(self, labels: Labels) -> list[tuple[int, list[int]]]:
        """Places on the class axis that occur, with the numbers of their events."""
        found: dict[int, list[int]] = {}
        for number, places in enumerate(labels.classes):
            for place in places:
                found.setdefault(place, []).append(number)
        return sorted(found.items())


def _directed(labels: Labels, which: list[int]) -> NDArray[np.bool_]:
    """Where events sound that have a direction. Shape: [events, frames]."""
    return labels.active[which] & ~np.isnan(labels.vectors[which, :, 0])


def _ranked(
    sounds: NDArray[np.bool_],
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.int64]]:
    """Event, frame and, among those that sound in the frame, rank of each that does."""
    event, frame = np.nonzero(sounds)
    return event, frame, (np.cumsum(sounds, axis=0) - 1)[event, frame]


def stack(crops: Sequence[Arrays]) -> Arrays:
    """Targets of a batch: stacked along a first axis, or lists one after another with `row`."""
    if "frame" not in crops[0]:
        return {name: np.stack([crop[name] for crop in crops]) for name in crops[0]}
    lengths = [len(crop["frame"]) for crop in crops]
    lists = {
        name: np.concatenate([crop[name] for crop in crops]) for name in crops[0] if name != "mask"
    }
    row = np.repeat(np.arange(len(crops)), lengths)
    return {"row": row, **lists, "mask": np.stack([crop["mask"] for crop in crops])}
