"""From a recipe, the clips at hand and a number to a scene: pure, no audio, no clock.

Scene `index` depends on (recipe, seed, split, index, attempt) and on the clips that it uses. Every
quantity of every emitter has a named stream of its own (`scenesynth.distributions.Draws`), and
clips are drawn by rendezvous hashing, so that an edit of one distribution, or a clip taken away,
changes only what it concerns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from scenesynth.corpus.clips import Clip
from scenesynth.corpus.pools import Pool
from scenesynth.distributions import Draws
from scenesynth.errors import ConfigError, ContentError
from scenesynth.room.family import anechoic
from scenesynth.room.model import Vector
from scenesynth.scene.diffuse import draw_company, long_clips, sample_diffuse
from scenesynth.scene.diffuse_records import CLIP, Diffuse
from scenesynth.scene.grid import place_measured
from scenesynth.scene.layers import Stage, sample_layer, sample_noise
from scenesynth.scene.listening import listener_path
from scenesynth.scene.parts import clip_samples
from scenesynth.scene.placement import place_listener, place_table
from scenesynth.scene.recipe_records import Layer, Noise, Recipe
from scenesynth.scene.spec import DiffuseField, Emitter, Origin, SceneSpec
from scenesynth.scene.splits import find_split, scene_head, scene_room, split_heads

ATTEMPTS: Final = 20
"""Times that a scene is drawn before it is given up."""


class HasPool(Protocol):
    """What sampling needs of a corpus."""

    def pool(self, split: str, shares: Mapping[str, float]) -> Pool:
        """Clips of a split."""
        ...


def sample_scene(
    recipe: Recipe,
    corpora: Mapping[str, HasPool],
    *,
    seed: int = 0,
    index: int,
    split: str = "train",
    attempt: int = 0,
) -> SceneSpec:
    """Scene `index` of a split.

    Args:
        recipe: the distribution of scenes.
        corpora: the corpora that the recipe names.
        seed: root seed of the dataset.
        index: number of the scene in its split.
        split: name of the split.
        attempt: 0, or the number of times that the scene was drawn again.

    Raises:
        ContentError: this draw cannot be made; the next `attempt` may be.
        ConfigError: the recipe, split, index or corpora are wrong.
    """
    drawn = scene_room(recipe, seed, split, index, attempt)
    draws = Draws(seed=seed, split=split, index=index, attempt=attempt)
    clean = recipe.clean.share > 0 and draws.rng("clean").unit() < recipe.clean.share
    if clean and recipe.clean.anechoic:
        drawn = anechoic(drawn)
    given = _given_clip(recipe, corpora, split, index)
    table = place_table(recipe.table, drawn.room, draws) if recipe.table else None
    grid = None
    if drawn.measured is None:
        listener = place_listener(recipe.listener, drawn.room, table, draws)
    else:
        listener, grid = place_measured(recipe.listener, drawn, draws)
    n_samples = _n_samples(recipe, draws, given)
    duration_s = n_samples / recipe.sample_rate
    stage = Stage(
        draws=draws,
        room=drawn.room,
        listener=listener_path(recipe.listener, listener, drawn.room, duration_s, draws),
        grid=grid,
        table=table,
        sample_rate=recipe.sample_rate,
        n_samples=n_samples,
    )
    targets, interferers = _sample_emitters(recipe, corpora, split, stage, given)
    noise: tuple[Emitter, ...] = ()
    diffuse: tuple[DiffuseField, ...] = ()
    if recipe.noise is not None and not clean:
        noise, diffuse = _sample_noise(
            recipe, recipe.noise, corpora, split, stage, (*targets, *interferers)
        )
    return SceneSpec(
        origin=Origin(recipe=recipe.name, seed=seed, split=split, index=index, attempt=attempt),
        sample_rate=stage.sample_rate,
        n_samples=stage.n_samples,
        room=drawn.room,
        air=drawn.air,
        listener=stage.listener,
        emitters=(*targets, *interferers, *noise),
        diffuse=diffuse,
        snr_db=(
            draws.number(recipe.noise.snr_db, "snr")
            if recipe.noise and (noise or diffuse) and targets
            else None
        ),
        sir_db=(
            draws.number(recipe.sir_db, "sir")
            if recipe.sir_db and interferers and targets
            else None
        ),
        snr_reference=recipe.noise.snr_reference if recipe.noise else "omni",
        engine=recipe.engine,
        mode=recipe.mode,
        tracing=recipe.traced,
        response_s=drawn.response_s,
        mixing_time_s=recipe.mixing_time_s,
        highpass_hz=recipe.highpass_hz,
        displacement_m=recipe.displacement_m,
        scattering=draws.number(recipe.scattering, "scattering"),
        acoustic_seed=draws.rng("acoustics").word() >> 32,
        head=scene_head(recipe, draws),
        doppler=recipe.doppler,
    )


def sample_scene_with_redraw(
    recipe: Recipe,
    corpora: Mapping[str, HasPool],
    *,
    seed: int = 0,
    index: int,
    split: str = "train",
    first_attempt: int = 0,
) -> tuple[SceneSpec, int]:
    """The scene of the first attempt that works out, and the number of draws that it took.

    Args:
        first_attempt: where to begin; 1 + the attempt whose clips could not be rendered.

    Raises:
        ContentError: no attempt below `ATTEMPTS` worked out; holds the last reason.
        ConfigError: see `sample_scene`.
    """
    last: ContentError | None = None
    for attempt in range(first_attempt, ATTEMPTS):
        try:
            spec = sample_scene(
                recipe, corpora, seed=seed, index=index, split=split, attempt=attempt
            )
        except ContentError as error:
            last = error
        else:
            return spec, attempt - first_attempt + 1
    raise ContentError(
        f"scene {split} {index} (seed {seed}) of recipe {recipe.name}: no draw from attempt "
        f"{first_attempt} to {ATTEMPTS - 1} worked out; the last: {last}"
    )


def scene_count(recipe: Recipe, corpora: Mapping[str, HasPool], split: str) -> int | None:
    """Number of scenes of a split, or None where there is no end to them."""
    find_split(recipe, split)
    if recipe.targets.pick != "each_once":
        return None
    return len(_listed_clips(recipe, corpora, split))


def max_samples(recipe: Recipe, corpora: Mapping[str, HasPool], split: str) -> int:
    """Upper bound of the scenes' lengths in samples."""
    if recipe.duration_s is not None:
        return round(recipe.duration_s.high * recipe.sample_rate)
    longest = max(
        clip_samples(clip, recipe.sample_rate) for clip in _listed_clips(recipe, corpora, split)
    )
    return longest + _tail(recipe)


def _sample_emitters(
    recipe: Recipe,
    corpora: Mapping[str, HasPool],
    split: str,
    stage: Stage,
    given: Clip | None,
) -> tuple[tuple[Emitter, ...], tuple[Emitter, ...]]:
    """Targets and interferers, each keeping clear of those before."""
    pool = _pool(recipe, corpora, split, "targets", recipe.targets)
    targets = sample_layer("target", recipe.targets, pool, stage, (), frozenset(), given)
    interferers: tuple[Emitter, ...] = ()
    if recipe.interferers is not None:
        pool = _pool(recipe, corpora, split, "interferers", recipe.interferers)
        groups = {event.clip.group for emitter in targets for event in emitter.events}
        interferers = sample_layer(
            "interferer", recipe.interferers, pool, stage, _positions(targets), groups
        )
    return targets, interferers


def _sample_noise(
    recipe: Recipe,
    noise: Noise,
    corpora: Mapping[str, HasPool],
    split: str,
    stage: Stage,
    others: Sequence[Emitter],
) -> tuple[tuple[Emitter, ...], tuple[DiffuseField, ...]]:
    """Noise emitters, which keep clear of the others, and what diffuse noise there is."""
    is_diffuse, has_emitters = draw_company(noise.diffuse, stage.draws)
    emitters: tuple[Emitter, ...] = ()
    if has_emitters and noise.emitters.high > 0:
        pool = _pool(recipe, corpora, split, "noise", noise)
        emitters = sample_noise(noise, pool, stage, others)
    if noise.diffuse is None or not is_diffuse:
        return emitters, ()
    clips = _diffuse_pool(recipe, corpora, split, noise.diffuse)
    return emitters, (sample_diffuse(noise, noise.diffuse, clips, stage, (*others, *emitters)),)


def _diffuse_pool(
    recipe: Recipe, corpora: Mapping[str, HasPool], split: str, diffuse: Diffuse
) -> Pool | None:
    """The clips that diffuse noise is made of, if it is made of any."""
    if CLIP not in diffuse.sound.options:
        return None
    pool = _pool(recipe, corpora, split, "noise.diffuse", diffuse)
    return long_clips(pool, diffuse, recipe.sample_rate, recipe.name)


def _positions(emitters: Sequence[Emitter]) -> tuple[Vector, ...]:
    return tuple(emitter.keyframes[0].position_m for emitter in emitters)


def check_corpora(recipe: Recipe, corpora: Mapping[str, HasPool], split: str) -> None:
    """Check that every layer of a recipe finds clips in a split, and every split a head.

    Raises:
        ConfigError: a layer names a corpus or labels that are not there; heads that are not.
    """
    split_heads(recipe, split)
    for field, layer in (("targets", recipe.targets), ("interferers", recipe.interferers)):
        if layer is not None and layer.emitters.high > 0:
            _pool(recipe, corpora, split, field, layer)
    noise = recipe.noise
    if noise is None or recipe.clean.share >= 1:
        return
    if noise.emitters.high > 0:
        _pool(recipe, corpora, split, "noise", noise)
    if noise.diffuse is not None and noise.diffuse.share > 0:
        _diffuse_pool(recipe, corpora, split, noise.diffuse)


def _pool(
    recipe: Recipe,
    corpora: Mapping[str, HasPool],
    split: str,
    field: str,
    layer: Layer | Noise | Diffuse,
) -> Pool:
    if layer.corpus not in corpora:
        raise ConfigError(
            f"recipe {recipe.name}: {field}.corpus = {layer.corpus!r}, but the corpora at hand are "
            f"{', '.join(corpora)}; give it as {layer.corpus}=PATH"
        )
    pool = corpora[layer.corpus].pool(split, recipe.shares)
    if layer.labels and not set(layer.labels) & set(pool.classes):
        raise ConfigError(
            f"recipe {recipe.name}: {field}.labels = {', '.join(layer.labels)}, but corpus "
            f"{layer.corpus} has none of them in split {split}; it has {_few(pool.classes)}. Set "
            f"{field}.labels to some of these, or to [] for all"
        )
    return pool


def _few(names: Sequence[str], limit: int = 12) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(name or "(clips without a label)" for name in names[:limit]) + more


def _listed_clips(recipe: Recipe, corpora: Mapping[str, HasPool], split: str) -> Sequence[Clip]:
    """Clips of the split in the order of `each_once`: by id."""
    clips = _pool(recipe, corpora, split, "targets", recipe.targets).ordered()
    wanted = set(recipe.targets.labels)
    return [clip for clip in clips if wanted & set(clip.labels)] if wanted else clips


def _given_clip(
    recipe: Recipe, corpora: Mapping[str, HasPool], split: str, index: int
) -> Clip | None:
    if recipe.targets.pick != "each_once":
        return None
    clips = _listed_clips(recipe, corpora, split)
    if index >= len(clips):
        raise ConfigError(
            f"recipe {recipe.name}: no scene {index} in split {split}; targets.pick: each_once "
            f"makes one scene for each of its {len(clips)} clips"
        )
    return clips[index]


def _n_samples(recipe: Recipe, draws: Draws, given: Clip | None) -> int:
    if recipe.duration_s is not None:
        return round(draws.number(recipe.duration_s, "duration") * recipe.sample_rate)
    assert given is not None
    return clip_samples(given, recipe.sample_rate) + _tail(recipe)


def _tail(recipe: Recipe) -> int:
    return round(recipe.tail_s * recipe.sample_rate)
