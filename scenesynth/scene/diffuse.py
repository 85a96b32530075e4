"""Diffuse noise of a scene: whether there is any, what it sounds like, and its level."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import cast

from scenesynth.corpus.clips import Clip
from scenesynth.corpus.pools import Pool
from scenesynth.distributions import Draws
from scenesynth.errors import ConfigError
from scenesynth.scene.diffuse_records import CLIP, Diffuse
from scenesynth.scene.layers import Stage, noise_clip
from scenesynth.scene.parts import clip_reference
from scenesynth.scene.recipe_records import Noise
from scenesynth.scene.spec import LEAST_DIFFUSE_CLIP_S, Colour, DiffuseField, Emitter


def draw_company(diffuse: Diffuse | None, draws: Draws) -> tuple[bool, bool]:
    """Whether the noise of a scene has a diffuse field, and whether it has emitters."""
    if diffuse is None or draws.rng("noise.diffuse").unit() >= diffuse.share:
        return False, True
    return True, draws.rng("noise.diffuse.alone").unit() >= diffuse.alone_share


def sample_diffuse(
    noise: Noise, diffuse: Diffuse, pool: Pool | None, stage: Stage, emitters: Sequence[Emitter]
) -> DiffuseField:
    """The diffuse field of a scene, as long as the scene.

    Args:
        pool: clips of the split that are long enough; None where no clip is asked for.
        emitters: all of the scene, whose clips are avoided.

    Raises:
        ContentError: the pool has no clip left that no target plays.
    """
    draws, duration_s = stage.draws, stage.n_samples / stage.sample_rate
    heard = [event for emitter in emitters for event in emitter.events]
    sound = draws.name(diffuse.sound, "noise.diffuse.sound")
    amplitude = 10 ** (draws.number(noise.level_dbfs, "noise.diffuse.level") / 20)
    ratio_db = None
    if diffuse.ratio_db is not None and any(event.role == "noise" for event in heard):
        ratio_db = draws.number(diffuse.ratio_db, "noise.diffuse.ratio")
    clip = None
    start = length = 0
    if sound == CLIP:
        assert pool is not None
        clip = noise_clip(
            pool,
            draws.rng("noise.diffuse.clip").word(),
            diffuse.labels or None,
            used={event.clip.group for event in heard if event.role == "noise"},
            heard={event.clip.group for event in heard if event.role != "noise"},
        )
        amplitude /= clip.rms
        start, length = usable_part(clip, stage.sample_rate)
    return DiffuseField(
        id="diffuse0",
        clip=None if clip is None else clip_reference(diffuse.corpus, clip),
        colour=None if clip is not None else cast(Colour, sound),
        seed=draws.rng("noise.diffuse.seed").word() >> 32,
        start_s=start / stage.sample_rate,
        length_s=length / stage.sample_rate,
        duration_s=duration_s,
        gain=float(f"{amplitude:.7g}"),
        ratio_db=ratio_db,
        fade_in_s=min(noise.fade_s, duration_s / 2),
        fade_out_s=min(noise.fade_s, duration_s / 2),
    )


@lru_cache(maxsize=256)
def long_clips(pool: Pool, diffuse: Diffuse, sample_rate: int, name: str) -> Pool:
    """The clips of a pool that a diffuse field can be made of.

    Args:
        name: of the recipe, for errors.

    Raises:
        ConfigError: all are too short.
    """
    wanted = set(diffuse.labels)
    clips = [
        clip
        for clip in pool.ordered()
        if (not wanted or wanted & set(clip.labels))
        and usable_part(clip, sample_rate)[1] >= LEAST_DIFFUSE_CLIP_S * sample_rate
    ]
    if not clips:
        raise ConfigError(
            f"recipe {name}: noise.diffuse: no clip of the split in corpus {diffuse.corpus} sounds "
            f"for {LEAST_DIFFUSE_CLIP_S:g} s or longer; give longer ones, or set "
            f"noise.diffuse.sound: pink"
        )
    return Pool(clips, name="clips for diffuse noise")


def usable_part(clip: Clip, sample_rate: int) -> tuple[int, int]:
    """First sample and number of samples of a clip's active region at a rate."""
    start = math.ceil(clip.active_start_s * sample_rate)
    end = min(clip.active_end_s, clip.duration_s)
    return start, math.floor(end * sample_rate) - start
