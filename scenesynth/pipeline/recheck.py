"""Rendering scenes of a dataset again to see that they are what their rows say.

Three questions, each answered apart. Is the stored spec what the recipe, seed and index give
today? Are the stored bytes those that rendering this spec gives? And where they are not: is the
audio within -80 dB? In the environment that the dataset records, bytes have to be equal; elsewhere
the tolerance is what is promised. `verdict_of` says in one sentence what the answers come to.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from scenesynth.corpus.corpora import Corpora
from scenesynth.errors import ConfigError, ContentError
from scenesynth.pipeline.changes import changed_spec
from scenesynth.pipeline.environment import cpu_level, package_versions
from scenesynth.pipeline.formats import format_of
from scenesynth.records import from_plain
from scenesynth.render.renderer import render_scene
from scenesynth.scene.recipe_records import Recipe
from scenesynth.scene.sample import sample_scene
from scenesynth.scene.spec import RENDER_VERSION, SceneSpec
from scenesynth.seeds import rng
from scenesynth.store.arrays import CODECS, encode_scene, rows_of
from scenesynth.store.copies import StoredShard
from scenesynth.store.layout import DatasetInfo
from scenesynth.store.reader import Dataset
from scenesynth.store.schema import Scene, parse_stems

TOLERANCE_DB = -80.0
"""Largest difference between environments, re the scene, beside the rounding of stored samples."""

Outcome = Literal["exact", "within_tolerance", "not_reproduced"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rechecked:
    """A scene that was rendered again.

    Attributes:
        spec_equal: whether sampling gives the stored spec.
        bytes_equal: whether all arrays hold the bytes that rendering gives.
        worst_db: largest difference of a format to what was rendered, re its energy, beyond half a
            step of the stored samples; -inf for none.
        why: why it could not be rendered; "" where it could.
    """

    scene: str
    spec_equal: bool
    bytes_equal: bool = False
    worst_db: float = math.inf
    why: str = ""

    @property
    def within_tolerance(self) -> bool:
        """Whether the difference is at most `TOLERANCE_DB`."""
        return self.worst_db <= TOLERANCE_DB


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Something of the environment that a dataset records in another way than is found here."""

    what: str
    recorded: str
    here: str

    def __str__(self) -> str:
        return f"{self.what} {self.recorded} recorded, {self.here} here"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What re-rendered scenes come to, in a word and in a sentence."""

    outcome: Outcome
    text: str


def environment_differences(info: DatasetInfo) -> tuple[Difference, ...]:
    """What decides bytes and is not as the dataset records it; nothing where it all is.

    Scenes that were copied from another dataset bring the environment of that one along.
    """
    copied = (info.came_from or {}).get("environment") or {}
    recorded: dict[str, Any] = {
        "backend": info.backend,
        "cpu": info.cpu,
        "renderer": info.render,
        **info.packages,
    }
    here = {
        "backend": "cpu",
        "cpu": cpu_level(),
        "renderer": RENDER_VERSION,
        **package_versions(),
    }
    found = [
        Difference(what=name, recorded=recorded.get(name, "not"), here=here.get(name, "not"))
        for name in dict.fromkeys([*recorded, *here])
        if recorded.get(name) != here.get(name)
    ]
    there = {
        "backend": copied.get("backend", info.backend),
        "cpu": copied.get("cpu", info.cpu),
        **copied.get("packages", {}),
    }
    found += [
        Difference(what=f"{name} of copied scenes", recorded=str(value), here=here.get(name, "not"))
        for name, value in there.items()
        if copied and value != here.get(name)
    ]
    return tuple(found)


def other_clips(info: DatasetInfo, corpora: Corpora) -> dict[str, str]:
    """Corpora of a dataset that are not at hand as they were, by name, and what is the matter."""
    found = {}
    for name, recorded in info.corpora.items():
        if name not in corpora:
            found[name] = "is not given"
        elif corpora[name].digest != recorded["digest"]:
            found[name] = (
                f"holds other clips (digest {corpora[name].digest[:12]}, "
                f"recorded {recorded['digest'][:12]})"
            )
    return found


def recheck(
    dataset: Dataset,
    corpora: Corpora,
    count: int,
    *,
    seed: int = 0,
    on_scene: Callable[[], None] = lambda: None,
) -> Iterator[Rechecked]:
    """Render `count` scenes of a dataset again, drawn at random; all where it has no more.

    Args:
        seed: of the choice; another one takes other scenes.
        on_scene: called after each.

    Raises:
        ConfigError: corpora that lack a clip's corpus.
        CorruptShardError: a shard that is missing or damaged.
    """
    order = rng(seed, "", "verify").units(len(dataset)).argsort()
    recipe = from_plain(Recipe, dataset.info.recipe, f"{dataset.root}: recipe")
    for number in sorted(order[:count].tolist()):
        yield _recheck(dataset, recipe, corpora, dataset[number])
        on_scene()


def render_again(
    stored: Scene, corpora: Corpora, info: DatasetInfo, stems: Sequence[str] = ()
) -> Scene:
    """A stored scene rendered from its spec, with more kinds of stems if asked for.

    Raises:
        ConfigError: corpora that lack a clip's corpus, or a head that is not at hand.
        ContentError: clips that changed, or cannot be used.
    """
    return render_scene(
        SceneSpec.from_json(stored.spec_json),
        corpora,
        formats=[format_of(item) for item in info.formats],
        stems=parse_stems([*info.stem_kinds, *stems]),
    )


def difference_db(
    fresh: NDArray[np.float32], stored: NDArray[np.float32], info: DatasetInfo
) -> float:
    """Energy of what differs, beyond half a step of stored samples, re that of `fresh`, in dB.

    Shape of both: [channels, samples].
    """
    full_scale = CODECS[info.codec].full_scale
    step = float(np.abs(stored).max(initial=0)) / full_scale if full_scale > 1 else 0.0
    wanted = fresh.astype(np.float64)
    beyond = np.maximum(np.abs(wanted - stored) - 0.501 * step, 0)
    error, energy = float(np.sum(beyond**2)), float(np.sum(wanted**2))
    if not error:
        return -math.inf
    return 10 * math.log10(error / energy) if energy else math.inf


def findings_of(rechecked: Sequence[Rechecked], info: DatasetInfo) -> list[str]:
    """What is wrong with scenes that were rendered again, a line each."""
    same = not environment_differences(info)
    lines = []
    for item in rechecked:
        if item.why:
            lines.append(f"{item.scene}: cannot be rendered: {item.why}")
        elif not item.within_tolerance:
            lines.append(
                f"{item.scene}: differs by {item.worst_db:.0f} dB from what its spec gives; at "
                f"most {TOLERANCE_DB:.0f} dB are allowed"
            )
        elif same and not item.bytes_equal:
            lines.append(
                f"{item.scene}: has other bytes than its spec gives, though this is the recorded "
                f"environment (difference {item.worst_db:.0f} dB)"
            )
        if not item.spec_equal:
            lines.append(f"{item.scene}: its spec is not what recipe, seed and clips give")
    return lines


def verdict_of(
    rechecked: Sequence[Rechecked],
    info: DatasetInfo,
    clips: Mapping[str, str] = MappingProxyType({}),
) -> Verdict:
    """One sentence that another lab can rely on.

    Args:
        clips: from `other_clips`.
    """
    differ = environment_differences(info)
    n = len(rechecked)
    n_exact = sum(item.bytes_equal for item in rechecked)
    n_within = sum(item.within_tolerance for item in rechecked)
    where = (
        f"in another environment: {'; '.join(map(str, differ))}"
        if differ
        else ("in the recorded environment")
    )
    where += "".join(f"; corpus {name} {why}" for name, why in clips.items())
    counts = f"{n_exact} of {n} byte-equal, {n_within} of {n} within {TOLERANCE_DB:.0f} dB"
    wrong = _wrong(rechecked, exact=not differ)
    if wrong:
        return Verdict(
            outcome="not_reproduced", text=f"not reproduced: {wrong} ({counts}), {where}"
        )
    if n_exact == n:
        return Verdict(outcome="exact", text=f"reproduced exactly ({n} of {n} byte-equal), {where}")
    return Verdict(
        outcome="within_tolerance",
        text=f"reproduced within {TOLERANCE_DB:.0f} dB ({counts}), {where}",
    )


def _wrong(rechecked: Sequence[Rechecked], *, exact: bool) -> str:
    n = len(rechecked)
    kinds = (
        ("cannot be rendered", [item for item in rechecked if item.why]),
        (
            "differ in their audio",
            [r for r in rechecked if not (r.why or r.within_tolerance)],
        ),
        (
            "have other bytes than their specs give",
            [r for r in rechecked if exact and r.within_tolerance and not r.bytes_equal],
        ),
        (
            "have other specs than recipe, seed and clips give",
            [r for r in rechecked if not r.spec_equal],
        ),
    )
    return ", ".join(f"{len(some)} of {n} scenes {what}" for what, some in kinds if some)


def _recheck(dataset: Dataset, recipe: Recipe, corpora: Corpora, stored: Scene) -> Rechecked:
    info, index = dataset.info, stored.row["index"]
    spec = SceneSpec.from_json(stored.spec_json)
    spec_equal = _sampled(recipe, corpora, spec, info) == stored.spec_json
    try:
        scene = render_again(stored, corpora, info)
    except ContentError as error:
        return Rechecked(scene=spec.id, spec_equal=spec_equal, why=str(error))
    shard = StoredShard(dataset.place, info, index // info.shard_scenes)
    held = shard.encoded(index, info.arrays)
    made = {a.name: encode_scene(rows_of(scene, a), a, info) for a in info.arrays}
    return Rechecked(
        scene=spec.id,
        spec_equal=spec_equal,
        bytes_equal=all(
            (made[name].chunks, made[name].gain) == (held[name].chunks, held[name].gain)
            for name in made
        ),
        worst_db=max(
            difference_db(scene.audio_by_format[name], audio, info)
            for name, audio in stored.audio_by_format.items()
        ),
    )


def _sampled(recipe: Recipe, corpora: Corpora, spec: SceneSpec, info: DatasetInfo) -> str:
    """JSON of the spec that the recipe gives today; why not, where it gives none."""
    origin = spec.origin
    try:
        drawn = sample_scene(
            recipe,
            corpora,
            seed=origin.seed,
            index=origin.index,
            split=origin.split,
            attempt=origin.attempt,
        )
    except (ContentError, ConfigError) as error:
        return str(error)
    changes: Mapping[str, Any] = (info.came_from or {}).get("changes", {})
    return changed_spec(drawn.to_json(), changes).to_json()
