"""Diffuse noise: an isotropic field at the listener, in every format.

Its Ambisonic channels are independent signals of equal spectrum. In SN3D those of degree n have
1 / (2n + 1) of the power of the pressure W, for that is the mean of Y^2 over all directions: Y, Z
and X have a third each, and no two channels are correlated. Signals are numbered as channels (ACN),
each made by itself, so those of a lower order are the first of a higher one. Ears and microphones
hear the field through their mixers, which have the levels and coherences of their exact responses
in such a field. A turned listener hears the same field in the mean, so nothing is turned; and it is
the sound at the listener, so no room is applied.

Signals of a colour are Gaussian noise from named streams of random numbers. Those of a clip are
parts of it: its ends are faded into each other, and bit reversal spreads the places of that loop at
which the signals begin, first-order ones by nearly a quarter of it. They are brought to the power
of the first. Where the loop is shorter than all signals together, some repeat what others play,
50 ms later at least: noise is then as good as independent at any one moment, but a steady tone
stays correlated at any distance.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Final

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from scenesynth.acoustics.engines import receivers_of, source_order
from scenesynth.errors import ClipError, ContentError
from scenesynth.render.convolve import Grid, Wet
from scenesynth.render.dry import SLACK_S, ramp
from scenesynth.render.energy import Energy
from scenesynth.render.labels import WET_OFFSET_DROP_DB, Times
from scenesynth.render.mix import Rendered, Sound, channel_of
from scenesynth.scene.spec import ClipRef, Colour, DiffuseField, SceneSpec
from scenesynth.seeds import rng
from scenesynth.spatial.formats import MAX_ORDER, Layout
from scenesynth.store.frames import frame_range, n_frames

MOST_SIGNALS: Final = (MAX_ORDER + 1) ** 2

LOW_CORNER_HZ: Final = 20.0
"""Where noise of a colour has half the power of its slope; it loses 24 dB per octave below."""

SLOPES: Final[dict[Colour, float]] = {"white": 0.0, "pink": 1.0, "brown": 2.0}
"""Power goes with frequency to the minus this: 0, -3 and -6 dB per octave."""

SEAM_S: Final = 0.1
"""In which the end of a clip fades into its beginning."""

SILENT: Final = 1e-4
"""Share of a clip's mean power below which a part of it cannot be brought to the others' level."""

_FEWEST_BINS: Final = 64

Signal = NDArray[np.float32]
Load = Callable[[ClipRef, int, int, int], Signal]
"""Mono samples [start, stop) of a clip at a rate: `load(clip, sample_rate, start, stop)`."""


def diffuse_sounds(
    spec: SceneSpec, layout: Layout, load: Load, grid: Grid, sounds: Sequence[Sound]
) -> list[Sound]:
    """The diffuse fields of a scene as sounds, at their levels among the noise.

    Args:
        sounds: the events of all emitters.

    Raises:
        ClipError: a clip that is missing samples, changed, or not finite.
        ContentError: a field, or the noise that it is relative to, is silent.
    """
    noises = [sound for sound in sounds if sound.event.role == "noise"]
    localised = 0.0
    if any(item.ratio_db is not None for item in spec.diffuse) and noises:
        start, samples = channel_of(grid, noises, 0)
        localised = Energy(samples, start).between(0, spec.n_samples)
    return [_sound(spec, layout, load, item, localised) for item in spec.diffuse]


def _sound(
    spec: SceneSpec, layout: Layout, load: Load, item: DiffuseField, localised: float
) -> Sound:
    """One field; `localised` is the energy of the noise of emitters in the pressure."""
    name = f"scene {spec.id}, diffuse field {item.id}"
    start = _start(spec, item)
    ambisonics = field_signals(spec, item, load, (source_order(layout, spec) + 1) ** 2, name)
    energy = Energy(ambisonics[0], start).total
    if not (math.isfinite(energy) and energy > 0):
        raise ContentError(f"{name}: its energy is {energy:g}; it has to sound and be finite")
    if item.ratio_db is not None:
        if not localised > 0:
            raise ContentError(
                f"{name}: the noise of emitters is silent, so no gain gives the requested ratio of "
                f"{item.ratio_db:g} dB to it; draw the scene again"
            )
        gain = math.sqrt(localised / energy) * 10 ** (item.ratio_db / 20)
        ambisonics *= np.float32(gain)
        item = replace(item, gain=item.gain * gain)
    heard = [receiver.mixed(ambisonics) for receiver in receivers_of(layout, spec)]
    channels = np.concatenate([ambisonics[: layout.n_ambisonic], *heard])
    wet = Wet(start, channels[0])
    measured = Energy(wet.samples, start)
    return Sound(
        emitter=item,
        event=item,
        response=None,
        heard=Rendered(start=start, channels=channels),
        wet=wet,
        energy=measured,
        times=_times(spec, start, measured),
    )


def _start(spec: SceneSpec, item: DiffuseField) -> int:
    """Sample of the scene at which a field begins."""
    return min(round(item.onset_s * spec.sample_rate), spec.n_samples - 1)


def field_signals(
    spec: SceneSpec, item: DiffuseField, load: Load, n_signals: int, name: str
) -> Signal:
    """Ambisonic channels of a field from its onset on, in SN3D. Shape: [n_signals, samples]."""
    rate = spec.sample_rate
    longest = spec.n_samples - _start(spec, item)
    n_samples = max(1, min(round(item.duration_s * rate), longest))
    if item.clip is None:
        assert item.colour is not None
        signals = [
            coloured_noise(item.colour, item.seed, number, n_samples, rate)
            for number in range(n_signals)
        ]
    else:
        part = _clip_part(item, item.clip, load, rate, name)
        signals = clip_signals(part, item.seed, n_signals, n_samples, rate, name)
    fade_in, fade_out = (ramp(s, n_samples, rate) for s in (item.fade_in_s, item.fade_out_s))
    for number, signal in enumerate(signals):
        signal *= np.float32(item.gain / math.sqrt(2 * math.isqrt(number) + 1))
        signal[: len(fade_in)] *= fade_in
        signal[n_samples - len(fade_out) :] *= fade_out[::-1]
    return np.stack(signals)


def coloured_noise(
    colour: Colour, seed: int, number: int, n_samples: int, sample_rate: int
) -> Signal:
    """Gaussian noise of unit power. Shape: [samples].

    Its spectrum is drawn, real and imaginary parts normal with the wanted deviation, so that the
    slope is exact. The period of the transform is longer than what is taken of it.
    """
    n_fft = scipy.fft.next_fast_len(max(n_samples, 2 * _FEWEST_BINS), real=True)
    deviations = _deviations(colour, n_fft, sample_rate)
    parts = rng(seed, "", "diffuse.noise", slot=number).normals(2 * len(deviations))
    spectrum = deviations * (parts[: len(deviations)] + 1j * parts[len(deviations) :])
    noise = scipy.fft.irfft(spectrum, n=n_fft, workers=1)
    return np.asarray(noise[:n_samples], dtype=np.float32)


@lru_cache(maxsize=4)
def _deviations(colour: Colour, n_fft: int, sample_rate: int) -> NDArray[np.float64]:
    """Standard deviations of the parts of a spectrum, none at 0 Hz and the highest bin."""
    freq_hz = np.arange(1, n_fft // 2) * (sample_rate / n_fft)
    low = (LOW_CORNER_HZ / freq_hz) ** 8
    shape = np.zeros(n_fft // 2 + 1)
    shape[1:-1] = np.sqrt(freq_hz ** -SLOPES[colour] / (1 + low))
    # Each pair of bins is a cosine and a sine of variance (2 / n)^2 each, of which one is heard.
    return np.asarray(shape * (n_fft / (2 * math.sqrt(float(np.sum(np.square(shape)))))))


def clip_signals(
    part: Signal, seed: int, n_signals: int, n_samples: int, sample_rate: int, name: str
) -> list[Signal]:
    """Parts of a clip, far apart and of equal power. Shape of each: [n_samples].

    Raises:
        ContentError: the clip is silent for so long that one of the signals would be, of any order.
    """
    loop = looped(part, round(SEAM_S * sample_rate))
    starts = signal_starts(seed, len(loop))
    energies = _energies(loop, starts, n_samples)
    floor = SILENT * float(np.sum(np.square(loop, dtype=np.float64))) * n_samples / len(loop)
    if not energies.min() > floor:
        start_s = starts[int(np.argmin(energies))] / sample_rate
        raise ContentError(
            f"{name}: its clip is silent for {n_samples / sample_rate:g} s from {start_s:.2f} s "
            f"on; diffuse noise needs a clip that sounds all the time"
        )
    gains = np.sqrt(energies[0] / energies)
    at = np.arange(n_samples)
    return [
        loop[(start + at) % len(loop)] * np.float32(gain)
        for start, gain in zip(starts[:n_signals], gains, strict=False)
    ]


def looped(part: Signal, seam: int) -> Signal:
    """A clip whose end goes on into its beginning, `seam` samples shorter.

    The two are faded with the sine and cosine of one angle, which keeps the power of noise.
    """
    angle = (np.arange(seam) + 0.5) * (math.pi / 2 / seam)
    loop = part[: len(part) - seam].copy()
    loop[:seam] *= np.sin(angle).astype(np.float32)
    loop[:seam] += part[len(part) - seam :] * np.cos(angle).astype(np.float32)
    return loop


def signal_starts(seed: int, period: int) -> NDArray[np.int64]:
    """Where in a loop of `period` samples each signal begins. Shape: [MOST_SIGNALS].

    Places are those of a number's bits in reverse, as shares of the loop, plus up to a quarter of a
    64th: never closer than 3/256 of the loop, 57 ms in the shortest that there is.
    """
    bits = MOST_SIGNALS.bit_length() - 1
    turned = [int(f"{number:0{bits}b}"[::-1], 2) for number in range(MOST_SIGNALS)]
    draws = rng(seed, "", "diffuse.starts").units(1 + MOST_SIGNALS)
    places = draws[0] + (np.array(turned) + draws[1:] / 4) / MOST_SIGNALS
    starts: NDArray[np.int64] = (places * period).astype(np.int64) % period
    return starts


def _energies(loop: Signal, starts: NDArray[np.int64], n_samples: int) -> NDArray[np.float64]:
    """Energies of `n_samples` of a loop from each start on. Shape: [starts]."""
    passed = np.concatenate([[0.0], np.cumsum(np.square(loop, dtype=np.float64))])

    def until(at: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.asarray(passed[-1] * (at // len(loop)) + passed[at % len(loop)])

    return until(starts + n_samples) - until(starts)


def _clip_part(
    item: DiffuseField, clip: ClipRef, load: Load, sample_rate: int, name: str
) -> Signal:
    """The part of a clip that the signals are taken from."""
    start = round(item.start_s * sample_rate)
    length = round(item.length_s * sample_rate)
    part = load(clip, sample_rate, start, start + length)
    what = f"{name}: clip {clip.id} of corpus {clip.corpus}"
    if len(part) < length - round(SLACK_S * sample_rate):
        raise ClipError(
            f"{what} ends at {(start + len(part)) / sample_rate:.4f} s; the field is made of "
            f"{item.start_s:g} to {item.start_s + item.length_s:.4f} s of it; restore the clip"
        )
    if not np.isfinite(part).all():
        raise ClipError(f"{what} holds samples that are not finite; remove or repair it")
    return part


def _times(spec: SceneSpec, start: int, energy: Energy) -> Times:
    """Label times of a field: it is there at once, and ends by itself."""
    rate = spec.sample_rate
    onset_s = start / rate
    offset_s = min(energy.end(WET_OFFSET_DROP_DB), spec.n_samples) / rate
    first, last = frame_range(onset_s, offset_s, n_frames(spec.n_samples, rate))
    return Times(
        dry_onset_s=onset_s,
        dry_offset_s=offset_s,
        wet_onset_s=onset_s,
        wet_offset_s=offset_s,
        direct_offset_s=offset_s,
        frame_start=first,
        frame_stop=last,
    )
