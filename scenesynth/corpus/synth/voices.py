"""Voices: glottal pulses and breath through moving formants, with syllables and prosody.

After the source-filter model (Fant 1960) in the manner of Klatt (1980): pulses of the KLGLOTT88
shape, a cascade of five formants, vowels of Peterson and Barney (1952) scaled by the length of
the vocal tract.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import fftconvolve

from scenesynth.corpus.synth.tools import (
    SAMPLE_RATE,
    Signal,
    add_at,
    band,
    fade,
    filter_frames,
    formant_response,
    frame_times,
    samples,
    times,
    unit_peak,
    wander,
)
from scenesynth.seeds import Rng

VOWELS_HZ = (
    (270.0, 2290.0, 3010.0),
    (390.0, 1990.0, 2550.0),
    (530.0, 1840.0, 2480.0),
    (660.0, 1720.0, 2410.0),
    (730.0, 1090.0, 2440.0),
    (570.0, 840.0, 2410.0),
    (440.0, 1020.0, 2240.0),
    (300.0, 870.0, 2240.0),
    (640.0, 1190.0, 2390.0),
    (490.0, 1350.0, 1690.0),
)
_OPEN_VOWELS = (3, 4, 8)
_BANDWIDTHS_HZ = np.array([70.0, 95.0, 130.0, 190.0, 280.0])
_NASAL_HZ = (280.0, 1150.0, 2300.0)
_FRICATIVES_HZ = ((4500.0, 11000.0), (2200.0, 6500.0), (1500.0, 9000.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Voice:
    """A person: pitch, length of the vocal tract, breathiness, pace."""

    f0_hz: float
    tract: float
    breath: float
    syllables_per_s: float
    liveliness: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Phone:
    """A stretch of sound: where the formants go, how loud pulses and hiss are."""

    duration_s: float
    formants_hz: tuple[float, float, float]
    voicing: float
    hiss: float = 0.0
    hiss_hz: tuple[float, float] = (1500.0, 9000.0)


def draw_voice(rng: Rng) -> Voice:
    """A man, a woman or a child."""
    low, high, tract = rng.choice(((92.0, 135.0, 1.0), (175.0, 235.0, 1.16), (260.0, 320.0, 1.32)))
    return Voice(
        f0_hz=rng.uniform(low, high),
        tract=tract * rng.uniform(0.95, 1.06),
        breath=rng.uniform(0.02, 0.08),
        syllables_per_s=rng.uniform(3.6, 5.4),
        liveliness=rng.uniform(0.7, 1.4),
    )


def speech(group: Rng, take: Rng) -> Signal:
    """A phrase of a talker in no language."""
    return sentence(draw_voice(group), take, take.uniform(1.2, 3.6))


def sentence(voice: Voice, rng: Rng, duration_s: float) -> Signal:
    """A phrase: syllables, a falling (or, asking, rising) pitch line with accents."""
    phones: list[Phone] = []
    while sum(phone.duration_s for phone in phones) < duration_s:
        phones += _syllable(voice, rng)
        if rng.unit() < 0.1:
            pause_s = rng.uniform(0.08, 0.2)
            phones.append(Phone(duration_s=pause_s, formants_hz=_NASAL_HZ, voicing=0.0))
    n = samples(sum(phone.duration_s for phone in phones))
    at = np.linspace(0.0, 1.0, n)
    asks = rng.unit() < 0.3
    line = 1.12 - 0.3 * at + (0.5 if asks else -0.1) * np.clip(at - 0.85, 0.0, None) / 0.15
    accents = voice.liveliness * 0.09 * wander(rng, n, 0.8 * voice.syllables_per_s)
    f0 = voice.f0_hz * line * np.exp(accents)
    return fade(speak(voice, phones, f0, rng), 0.005, 0.04)


def _syllable(voice: Voice, rng: Rng) -> list[Phone]:
    vowel = rng.choice(VOWELS_HZ)
    length = rng.uniform(0.7, 1.35) / voice.syllables_per_s
    onset = _consonant(rng, vowel)
    rest = max(0.07, length - sum(phone.duration_s for phone in onset))
    stress = rng.uniform(0.6, 1.0)
    return [*onset, Phone(duration_s=rest, formants_hz=vowel, voicing=stress)]


def _consonant(rng: Rng, vowel: tuple[float, float, float]) -> list[Phone]:
    kind = rng.choice(("none", "fricative", "plosive", "plosive", "nasal", "glide"))
    if kind == "fricative":
        hiss_hz = rng.choice(_FRICATIVES_HZ)
        length = rng.uniform(0.06, 0.13)
        return [
            Phone(duration_s=length, formants_hz=vowel, voicing=0.0, hiss=0.22, hiss_hz=hiss_hz)
        ]
    if kind == "plosive":
        burst_hz = rng.choice(((400.0, 2500.0), (2500.0, 9000.0), (1200.0, 4000.0)))
        closed = Phone(duration_s=rng.uniform(0.04, 0.07), formants_hz=vowel, voicing=0.0)
        burst = Phone(
            duration_s=rng.uniform(0.012, 0.03),
            formants_hz=vowel,
            voicing=0.05,
            hiss=0.4,
            hiss_hz=burst_hz,
        )
        return [closed, burst]
    if kind == "nasal":
        return [Phone(duration_s=rng.uniform(0.05, 0.09), formants_hz=_NASAL_HZ, voicing=0.35)]
    if kind == "glide":
        start = rng.choice((VOWELS_HZ[0], VOWELS_HZ[7]))
        return [Phone(duration_s=rng.uniform(0.04, 0.07), formants_hz=start, voicing=0.6)]
    return []


def speak(voice: Voice, phones: list[Phone], f0_hz: Signal, rng: Rng) -> Signal:
    """Sound of a list of phones along a pitch curve [n]."""
    n = len(f0_hz)
    ends = np.cumsum([phone.duration_s for phone in phones])
    which = np.minimum(np.searchsorted(ends, times(n), side="right"), len(phones) - 1)
    voicing = _smooth(np.array([phone.voicing for phone in phones])[which], 0.012)
    pulses, flow = glottis(f0_hz, rng)
    excitation = pulses * voicing + voice.breath * rng.normals(n) * voicing * (0.3 + flow)
    formants = _formant_track(voice, phones, ends, n)
    voiced = filter_frames(excitation, formant_response(formants, _bandwidths(voice)))
    return unit_peak(voiced) + _hiss(phones, ends, n, rng)


def glottis(f0_hz: Signal, rng: Rng, roughness: float = 1.0) -> tuple[Signal, Signal]:
    """Glottal pulses (derivative of the flow) and the flow itself, along a pitch [n]."""
    n = len(f0_hz)
    jitter = 1.0 + roughness * (0.004 * wander(rng, n, 90.0) + 0.012 * wander(rng, n, 4.0))
    phase = np.cumsum(f0_hz * jitter) / SAMPLE_RATE
    open_quotient = 0.62
    within = np.minimum((phase % 1.0) / open_quotient, 1.0)
    flow = 6.75 * np.square(within) * (1.0 - within)
    shimmer = 1.0 + roughness * 0.04 * wander(rng, n, 60.0)
    pulses = np.diff(flow, prepend=flow[0]) * (SAMPLE_RATE / f0_hz) * 0.25
    return pulses * shimmer, flow


def _formant_track(
    voice: Voice, phones: list[Phone], ends: NDArray[np.float64], n: int
) -> NDArray[np.float64]:
    """Formant frequencies per frame [frames, 5], gliding between the phones' targets."""
    targets = np.array([(*phone.formants_hz, 3350.0, 4300.0) for phone in phones]) * voice.tract
    at = frame_times(n)
    which = np.clip(np.searchsorted(ends, at, side="right"), 0, len(phones) - 1)
    kernel = np.hanning(9)[1:-1]
    kernel /= kernel.sum()
    edge = len(kernel) // 2
    steps = np.pad(targets[which], ((edge, edge), (0, 0)), mode="edge")
    return np.stack([np.convolve(column, kernel, mode="valid") for column in steps.T], axis=1)


def _bandwidths(voice: Voice) -> NDArray[np.float64]:
    return _BANDWIDTHS_HZ * (1.0 + 2.0 * voice.breath)


def _hiss(phones: list[Phone], ends: NDArray[np.float64], n: int, rng: Rng) -> Signal:
    out = np.zeros(n)
    for phone, end in zip(phones, ends, strict=True):
        if phone.hiss:
            piece = band(rng.normals(samples(phone.duration_s + 0.02)), *phone.hiss_hz)
            shape = fade(piece, min(0.02, phone.duration_s / 4), 0.025)
            add_at(out, end - phone.duration_s, shape, phone.hiss * 0.6)
    return out


def _smooth(x: Signal, width_s: float) -> Signal:
    kernel = np.hanning(samples(width_s) + 2)[1:-1]
    return np.asarray(fftconvolve(x, kernel / kernel.sum(), mode="same"))


def singing(group: Rng, take: Rng) -> Signal:
    """A few sung notes on open vowels, with vibrato."""
    voice = draw_voice(group)
    scale = (0, 2, 4, 5, 7, 9, 12)
    vibrato_hz, depth = group.uniform(5.0, 6.2), group.uniform(0.012, 0.025)
    notes = [take.choice(scale) for _ in range(take.integer(3, 6))]
    lengths = [take.uniform(0.45, 0.95) for _ in notes]
    n = samples(sum(lengths))
    ends = np.cumsum(lengths)
    which = np.minimum(np.searchsorted(ends, times(n), side="right"), len(notes) - 1)
    pitch = _smooth(np.pad(np.array(notes, float)[which], 2000, mode="edge"), 0.06)[2000:-2000]
    since = times(n) - np.concatenate([[0.0], ends])[which]
    onset = np.clip((since - 0.12) / 0.2, 0.0, 1.0)
    vibrato = depth * onset * np.sin(2 * np.pi * vibrato_hz * times(n))
    f0 = 1.25 * voice.f0_hz * 2.0 ** (pitch / 12.0) * (1.0 + vibrato)
    vowels = [VOWELS_HZ[take.choice((*_OPEN_VOWELS, 2, 5))] for _ in notes]
    phones = [
        Phone(duration_s=length, formants_hz=vowel, voicing=0.9)
        for length, vowel in zip(lengths, vowels, strict=True)
    ]
    return fade(speak(voice, phones, f0, take), 0.06, 0.15)


def laughter(group: Rng, take: Rng) -> Signal:
    """Ha-ha-ha: breathy bursts, four to five a second, the pitch falling."""
    voice = draw_voice(group)
    vowel = VOWELS_HZ[group.choice((*_OPEN_VOWELS, 2))]
    rate = group.uniform(4.2, 5.4)
    phones: list[Phone] = []
    for k in range(take.integer(4, 9)):
        period = (1.0 + 0.04 * k) / rate * take.uniform(0.9, 1.1)
        breath = 0.45 * period
        phones += [
            Phone(
                duration_s=breath,
                formants_hz=vowel,
                voicing=0.0,
                hiss=0.16,
                hiss_hz=(700.0, 5000.0),
            ),
            Phone(duration_s=period - breath, formants_hz=vowel, voicing=max(0.3, 1 - 0.08 * k)),
        ]
    n = samples(sum(phone.duration_s for phone in phones))
    arch = 1.75 - 0.7 * np.linspace(0.0, 1.0, n)
    f0 = voice.f0_hz * arch * np.exp(0.1 * wander(take, n, rate))
    return fade(speak(voice, phones, f0, take), 0.01, 0.05)


def cough(group: Rng, take: Rng) -> Signal:
    """One to three coughs: a burst of breath, a rough voiced tail."""
    voice = draw_voice(group)
    coughs = take.integer(1, 3)
    out = np.zeros(samples(0.55 * coughs + 0.2))
    for k in range(coughs):
        at = 0.55 * k + take.uniform(0.0, 0.06)
        add_at(out, at, _one_cough(voice, take), take.uniform(0.7, 1.0))
    return out


def _one_cough(voice: Voice, rng: Rng) -> Signal:
    n = samples(rng.uniform(0.3, 0.42))
    t = times(n)
    burst = rng.normals(n) * np.minimum(t / 0.004, 1.0) * np.exp(-t / 0.045)
    drone = rng.normals(n) * 0.25 * np.exp(-np.square((t - 0.2) / 0.08))
    pulses, _ = glottis(voice.f0_hz * (1.5 - 1.2 * t), rng, roughness=6.0)
    tail = 2.2 * pulses * np.exp(-np.square((t - 0.09) / 0.07))
    targets = np.array([680.0, 1250.0, 2600.0, 3400.0, 4400.0]) * voice.tract
    widths = np.array([180.0, 220.0, 300.0, 400.0, 500.0])
    frames = np.broadcast_to(targets, (len(frame_times(n)), 5))
    shaped = filter_frames(burst + drone + tail, formant_response(frames, widths))
    return fade(unit_peak(shaped + 0.35 * band(burst, 1500.0, 7000.0)), 0.001, 0.05)


def dog_bark(group: Rng, take: Rng) -> Signal:
    """Barks: a short rough yell whose pitch and mouth open and close."""
    size = group.uniform(0.0, 1.0)
    dog = Voice(
        f0_hz=620.0 - 380.0 * size,
        tract=1.55 - 0.6 * size,
        breath=0.25,
        syllables_per_s=2.0,
        liveliness=1.0,
    )
    length = group.uniform(0.11, 0.16) + 0.08 * size
    period = group.uniform(0.32, 0.6)
    barks = take.integer(2, 5)
    out = np.zeros(samples(period * barks + 0.4))
    at = 0.0
    for _ in range(barks):
        add_at(out, at, _one_bark(dog, take, length * take.uniform(0.9, 1.15)))
        at += period * take.uniform(0.85, 1.25)
    return out


def _one_bark(dog: Voice, rng: Rng, length: float) -> Signal:
    n = samples(length + 0.05)
    arch = np.sin(np.pi * np.clip(times(n) / length, 0.0, 1.0))
    f0 = dog.f0_hz * (0.7 + 0.55 * arch**0.7)
    pulses, _ = glottis(f0, rng, roughness=5.0)
    loud = np.clip(times(n) / 0.012, 0.0, 1.0) * arch**0.6
    rough = (pulses + 0.22 * rng.normals(n)) * loud
    mouth = np.interp(frame_times(n), times(n), arch)[:, None]
    closed = np.array([420.0, 1000.0, 2300.0, 3300.0, 4300.0])
    opened = np.array([880.0, 1500.0, 2700.0, 3500.0, 4500.0])
    track = (closed + (opened - closed) * mouth) * dog.tract
    widths = np.array([130.0, 160.0, 220.0, 300.0, 400.0])
    return fade(unit_peak(filter_frames(rough, formant_response(track, widths))), 0.002, 0.03)


def cat_meow(group: Rng, take: Rng) -> Signal:
    """A meow: pitch up and down while the mouth goes from m over a to u."""
    base = group.uniform(420.0, 640.0)
    cat = Voice(
        f0_hz=base,
        tract=group.uniform(1.35, 1.6),
        breath=0.05,
        syllables_per_s=1.0,
        liveliness=1.0,
    )
    meows = take.integer(1, 2)
    out = np.zeros(samples(1.5 * meows))
    for k in range(meows):
        length = take.uniform(0.65, 1.15)
        shape = ((280.0, 1000.0, 2300.0), (450.0, 2000.0, 2700.0), VOWELS_HZ[3], VOWELS_HZ[5])
        parts = (0.12, 0.22, 0.36, 0.3)
        levels = (0.25, 0.8, 1.0, 0.55)
        phones = [
            Phone(duration_s=length * part, formants_hz=formants, voicing=level)
            for formants, part, level in zip(shape, parts, levels, strict=True)
        ]
        n = samples(length)
        at = np.linspace(0.0, 1.0, n)
        f0 = base * (0.8 + 0.5 * np.sin(np.pi * at**0.75)) * (1.0 + 0.01 * wander(take, n, 8.0))
        add_at(out, 1.5 * k, fade(speak(cat, phones, f0, take), 0.05, 0.12))
    return out
