"""How much 16 bits and a gain per scene take away from rendered scenes.

    python benchmarks/quantisation.py
    python benchmarks/quantisation.py --sources CLIPS --noise CLIPS --scenes 500

Renders scenes, encodes and decodes them as the store does, and prints the ratio of each scene's
energy to that of the difference. It is about 101 dB less the scene's crest factor (peak to RMS over
all channels and the whole length), and more where a scene is silent in part, since zeros are exact.
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.typing import NDArray

from scenesynth.corpus.corpora import Corpora, prepare_for_rendering
from scenesynth.errors import ContentError
from scenesynth.render.compile import ensure_compiled
from scenesynth.render.renderer import render_scene
from scenesynth.scene.recipe import load_recipe
from scenesynth.scene.recipe_records import Recipe
from scenesynth.scene.sample import sample_scene_with_redraw
from scenesynth.store.arrays import CODECS, dequantise, quantise
from scenesynth.store.schema import Scene

TARGET_MEDIAN_DB, TARGET_WORST_DB = 75.0, 60.0


def main() -> None:
    """Read the options, render and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", default="gram")
    parser.add_argument("--format", default="foa")
    parser.add_argument("--codec", default="lz4", choices=sorted(CODECS))
    parser.add_argument("--scenes", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sources", action="append", default=[])
    parser.add_argument("--noise", action="append", default=[])
    options = parser.parse_args()
    recipe = load_recipe(options.recipe)
    ensure_compiled(print)
    corpora = Corpora.open(sources=options.sources, noise=options.noise)
    corpora = prepare_for_rendering(corpora, recipe.sample_rate)
    ratios_db, crests_db = [], []
    for index in range(options.scenes):
        audio = rendered(recipe, corpora, options.seed, index, options.format).audio
        ratios_db.append(quantisation_db(audio, options.codec))
        crests_db.append(20 * np.log10(np.abs(audio).max() / np.sqrt(np.square(audio).mean())))
    worst = int(np.argmin(ratios_db))
    print(f"{options.scenes} scenes of {options.recipe}, {options.format}, {options.codec}")
    print(
        f"signal to quantisation: median {np.median(ratios_db):.1f} dB "
        f"(target {TARGET_MEDIAN_DB:g}), 5 % below {np.percentile(ratios_db, 5):.1f} dB, "
        f"worst {ratios_db[worst]:.1f} dB in scene {worst} (target {TARGET_WORST_DB:g})"
    )
    print(f"crest factor: median {np.median(crests_db):.1f} dB, highest {max(crests_db):.1f} dB")


def rendered(recipe: Recipe, corpora: Corpora, seed: int, index: int, format_name: str) -> Scene:
    """A scene, drawn again where its content does not work out, as a run does."""
    first = 0
    while True:
        spec, _ = sample_scene_with_redraw(
            recipe, corpora, seed=seed, index=index, first_attempt=first
        )
        try:
            return render_scene(spec, corpora, format=format_name)
        except ContentError:
            first = spec.origin.attempt + 1


def quantisation_db(audio: NDArray[np.float32], codec_name: str) -> float:
    """Energy of a scene over that of what encoding changes; inf where it changes nothing."""
    codec, gain = CODECS[codec_name], np.float32(np.abs(audio).max())
    back = dequantise(quantise(audio, gain, codec), float(gain), codec)
    signal, error = (
        np.square(x, dtype=np.float64).sum() for x in (audio, audio.astype(np.float64) - back)
    )
    return float(10 * np.log10(signal / error)) if error > 0 else float("inf")


if __name__ == "__main__":
    main()
