"""How isotropic diffuse noise comes out: powers, correlations, coherences.

    python benchmarks/diffuse.py
    python benchmarks/diffuse.py --noise AMBIENCE --scenes 10

Renders white noise to Ambisonics, ears and microphones, and compares coherences and levels with
those of the receivers' exact responses in an isotropic field. Then renders every clip that is long
enough as the only noise of some scenes, and prints how correlated its signals are left.
"""

from __future__ import annotations

import argparse

import numpy as np
import scipy.signal
from numpy.typing import NDArray

from scenesynth.corpus.clips import Clip
from scenesynth.corpus.corpora import Corpora
from scenesynth.distributions import Draws
from scenesynth.render.compile import ensure_compiled
from scenesynth.render.renderer import Clips, render_scene
from scenesynth.room.family import draw_room
from scenesynth.room.model import Air
from scenesynth.scene.diffuse import usable_part
from scenesynth.scene.parts import clip_reference
from scenesynth.scene.recipe import load_recipe
from scenesynth.scene.spec import (
    LEAST_DIFFUSE_CLIP_S,
    DiffuseField,
    Keyframe,
    Origin,
    SceneSpec,
)
from scenesynth.spatial.array_response import diffuse_covariance
from scenesynth.spatial.arrays import load_array
from scenesynth.spatial.ears import ear_responses
from scenesynth.spatial.grids import sphere_grid
from scenesynth.spatial.heads import load_head

WINDOW = 256


def main() -> None:
    """Read the options, render and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sample-rate", type=int, default=16000)
    parser.add_argument("--seconds", type=float, default=60.0, help="of white noise")
    parser.add_argument("--scenes", type=int, default=10, help="of 10 s for every clip")
    parser.add_argument("--noise", action="append", default=[])
    options = parser.parse_args()
    ensure_compiled(print)
    corpora = Corpora.open(noise=options.noise)
    rate = options.sample_rate
    white = DiffuseField(id="white", colour="white", seed=7, duration_s=options.seconds)
    rendered = render_scene(scene(white, rate), corpora, formats=("foa", "binaural", "mic"))
    powers, off = correlations(rendered.audio_by_format["foa"])
    print(f"white noise, {options.seconds:g} s at {rate} Hz")
    print(f"power of Y, Z, X over W / 3: {', '.join(f'{p:.3f}' for p in powers)}")
    print(f"largest correlation: {off.max():.4f}")
    for name in ("binaural", "mic"):
        print_receiver(name, rendered.audio_by_format[name].astype(np.float64), rate)
    for clip in corpora["noise"].clips:
        print_clip(clip, corpora, rate, options.scenes)


def scene(item: DiffuseField, sample_rate: int) -> SceneSpec:
    """A scene of diffuse noise alone."""
    draws = Draws(seed=0, split="train", index=0)
    drawn = draw_room(load_recipe("gram").rooms, "room", draws)
    middle = tuple(size / 2 for size in drawn.room.size_m)
    return SceneSpec(
        origin=Origin(),
        sample_rate=sample_rate,
        n_samples=round(item.duration_s * sample_rate),
        room=drawn.room,
        air=Air(),
        listener=(Keyframe(position_m=(middle[0], middle[1], middle[2])),),
        emitters=(),
        diffuse=(item,),
        response_s=drawn.response_s,
    )


def correlations(audio: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Powers of Y, Z and X over a third of W's, and magnitudes of all pairs' coefficients."""
    signals = audio.astype(np.float64)
    covariance = signals @ signals.T
    power = np.diag(covariance)
    coefficients = np.abs(covariance / np.sqrt(np.outer(power, power)))
    return 3 * power[1:4] / power[0], coefficients[np.triu_indices(len(power), 1)]


def print_receiver(name: str, audio: NDArray[np.float64], rate: int) -> None:
    """Errors of coherence and level, 200 Hz to 0.9 of Nyquist."""
    freq_hz, found = scipy.signal.csd(audio[None], audio[:, None], fs=rate, nperseg=WINDOW)
    judged = (freq_hz >= 200) & (freq_hz <= 0.45 * rate)
    matrices = found[..., judged] * (rate / 2), exact(name, freq_hz, rate)[..., judged]
    levels, true_levels = (np.einsum("ccf->cf", matrix).real for matrix in matrices)
    coherences = [
        matrix / np.sqrt(level[:, None] * level)
        for matrix, level in zip(matrices, (levels, true_levels), strict=True)
    ]
    pairs = np.triu_indices(len(audio), 1)
    error = np.abs(coherences[0] - coherences[1])[pairs]
    level_db = np.abs(10 * np.log10(levels / true_levels))
    print(
        f"{name}: coherence within {error.max():.3f} of theory, {np.sqrt(np.mean(error**2)):.3f} "
        f"rms; level within {level_db.max():.2f} dB"
    )


def exact(name: str, freq_hz: NDArray[np.float64], rate: int) -> NDArray[np.complex128]:
    """Covariance of a receiver's channels in an isotropic field. Shape: [channels, channels, f]."""
    if name == "mic":
        return diffuse_covariance(load_array("mic"), freq_hz, Air().speed_of_sound_mps)
    directions, weights = sphere_grid(20)
    fine = 4
    ears = ear_responses(load_head("kemar").at_rate(rate), directions, fine * WINDOW)[..., ::fine]
    return np.asarray(np.einsum("ncf,n,ndf->cdf", ears, weights, ears.conj(), optimize=True))


def print_clip(clip: Clip, corpora: Clips, rate: int, n_scenes: int) -> None:
    """Correlation of the signals of a clip: of first order, and of one scene's 25."""
    start, length = usable_part(clip, rate)
    if length < LEAST_DIFFUSE_CLIP_S * rate:
        return
    found = []
    for seed in range(n_scenes):
        item = DiffuseField(
            id="clip",
            clip=clip_reference("noise", clip),
            seed=seed,
            start_s=start / rate,
            length_s=length / rate,
            duration_s=10.0,
        )
        audio = render_scene(scene(item, rate), corpora, format="hoa4").audio
        found.append((correlations(audio[:4])[1], correlations(audio)[1]))
    first = np.concatenate([few for few, _ in found])
    print(
        f"{clip.id} ({clip.duration_s:.0f} s): correlation of first-order channels "
        f"{np.median(first):.3f} in the median, {first.max():.3f} at most; of 25 channels "
        f"{max(many.max() for _, many in found):.3f}"
    )


if __name__ == "__main__":
    main()
