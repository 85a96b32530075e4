"""Birds and water, and instruments that are plucked or hammered."""

from __future__ import annotations

import numpy as np
from scipy.signal import lfilter

from scenesynth.corpus.synth.tools import (
    SAMPLE_RATE,
    Signal,
    add_at,
    band,
    decay,
    fade,
    modes,
    samples,
    shaped_noise,
    smeared,
    sweep,
    times,
    unit_peak,
    wander,
)
from scenesynth.seeds import Rng

_SCALES = ((0, 2, 4, 7, 9, 12), (0, 2, 3, 5, 7, 10, 12), (0, 2, 4, 5, 7, 9, 11, 12))


def bird(group: Rng, take: Rng) -> Signal:
    """A song: two to four kinds of chirps of this bird, repeated in phrases."""
    kinds = [_draw_chirp(group) for _ in range(group.integer(2, 4))]
    out = np.zeros(samples(take.uniform(1.8, 3.8)))
    at = take.uniform(0.0, 0.1)
    while at < len(out) / SAMPLE_RATE - 0.35:
        kind = take.choice(kinds)
        for _ in range(take.integer(1, 5)):
            piece = _chirp(kind, take)
            add_at(out, at, piece, take.uniform(0.6, 1.0))
            at += len(piece) / SAMPLE_RATE + kind[4] * take.uniform(0.9, 1.2)
        at += take.uniform(0.1, 0.4)
    return fade(out, 0.001, 0.02)


def _draw_chirp(rng: Rng) -> tuple[float, float, float, float, float]:
    """Start, middle and end in hertz, length and gap in seconds."""
    centre = rng.uniform(2600.0, 5600.0)
    start, end = (centre * rng.uniform(0.75, 1.3) for _ in range(2))
    return (start, centre, end, rng.uniform(0.05, 0.2), rng.uniform(0.03, 0.12))


def _chirp(kind: tuple[float, float, float, float, float], rng: Rng) -> Signal:
    start, middle, end, length, _ = kind
    n = samples(length * rng.uniform(0.92, 1.08))
    at = np.linspace(0.0, 1.0, n)
    freq = np.interp(at, (0.0, 0.5, 1.0), (start, middle, end)) * rng.uniform(0.98, 1.02)
    freq = freq * (1.0 + 0.012 * np.sin(2 * np.pi * 38.0 * times(n)))
    wave = sweep(freq) + 0.12 * sweep(2 * freq)
    return np.asarray(wave * np.sin(np.pi * at) ** 0.8)


def water(group: Rng, take: Rng) -> Signal:
    """Water poured or running: bubbles that chirp upwards, and a light hiss."""
    rate, low_hz = group.uniform(60.0, 200.0), group.uniform(350.0, 750.0)
    wet = group.uniform(0.04, 0.14)
    n = samples(take.uniform(2.5, 4.5))
    out = wet * shaped_noise(take, n, ((200, -20), (1500, 0), (6000, -4), (14000, -16)))
    out *= 1.0 + 0.25 * wander(take, n, 5.0)
    for _ in range(int(rate * n / SAMPLE_RATE)):
        bubble_hz = low_hz * float(np.exp(abs(0.75 * take.normal())))
        add_at(out, take.uniform(0.0, n / SAMPLE_RATE), _bubble(take, bubble_hz), take.unit() ** 2)
    return fade(out, 0.05, 0.12)


def _bubble(rng: Rng, freq_hz: float) -> Signal:
    """A bubble rings at its Minnaert frequency and rises as it nears the surface."""
    n = samples(min(0.09, 25.0 / freq_hz))
    rising = freq_hz * (1.0 + rng.uniform(0.0, 6.0) * times(n))
    attack = np.minimum(times(n) / 0.001, 1.0)
    return np.asarray(sweep(rising) * attack * decay(n, 0.8 * n / SAMPLE_RATE))


def _melody(
    rng: Rng, scale: tuple[int, ...], root_hz: float, beat_s: float
) -> list[tuple[float, float]]:
    """(onset in seconds, hertz) of a tune that walks up and down a scale."""
    degree, at, notes = rng.integer(0, len(scale) - 1), 0.0, []
    for _ in range(rng.integer(5, 10)):
        notes.append((at, root_hz * 2.0 ** (scale[degree] / 12.0)))
        degree = min(max(degree + rng.choice((-2, -1, -1, 1, 1, 2)), 0), len(scale) - 1)
        at += beat_s * rng.choice((0.5, 0.5, 1.0))
    return notes


def plucked_string(group: Rng, take: Rng) -> Signal:
    """A tune on a plucked string (Karplus and Strong 1983)."""
    root, beat = group.uniform(110.0, 240.0), group.uniform(0.3, 0.5)
    scale, where = group.choice(_SCALES), group.uniform(0.1, 0.3)
    notes = _melody(take, scale, root, beat)
    out = np.zeros(samples(notes[-1][0] + 1.2))
    for at, freq in notes:
        add_at(out, at, _pluck(take, freq, where), take.uniform(0.7, 1.0))
    body = modes(samples(0.08), [105.0, 205.0, 420.0], [0.12, 0.1, 0.07], [0.02, 0.02, 0.012])
    return fade(unit_peak(out + smeared(out, body)), 0.001, 0.25)


def _pluck(rng: Rng, freq_hz: float, where: float) -> Signal:
    n = samples(1.2)
    # Two samples are averaged on every turn, which delays by half a sample.
    period = SAMPLE_RATE / freq_hz - 0.5
    length = int(period)
    part = period - length
    burst = np.zeros(n)
    shape = rng.normals(length)
    shape = np.convolve(shape, np.ones(4) / 4, mode="same")
    burst[:length] = shape - np.roll(shape, max(1, int(where * length)))
    feedback = np.zeros(length + 3)
    feedback[0] = 1.0
    loss = 0.5 * 10.0 ** (-3.0 / (freq_hz * 2.4))
    for tap, weight in ((length, 1.0 - part), (length + 1, part)):
        feedback[tap] -= 2.0 * loss * 0.5 * weight
        feedback[tap + 1] -= 2.0 * loss * 0.5 * weight
    return fade(unit_peak(np.asarray(lfilter([1.0], feedback, burst))), 0.0, 0.1)


def piano(group: Rng, take: Rng) -> Signal:
    """A tune on a piano: stiff strings, two to a note, that decay in two stages."""
    root, beat = group.uniform(200.0, 400.0), group.uniform(0.3, 0.5)
    scale, stiff = group.choice(_SCALES), group.uniform(2e-4, 6e-4)
    notes = _melody(take, scale, root, beat)
    out = np.zeros(samples(notes[-1][0] + 1.5))
    for at, freq in notes:
        add_at(out, at, _hammered(take, freq, stiff), take.uniform(0.6, 1.0))
    return fade(unit_peak(out), 0.001, 0.3)


def _hammered(rng: Rng, freq_hz: float, stiff: float) -> Signal:
    n = samples(1.5)
    k = np.arange(1, min(16, int(9000.0 / freq_hz)) + 1)
    freqs = freq_hz * k * np.sqrt(1.0 + stiff * k**2)
    gains = np.abs(np.sin(np.pi * k / 8.0)) + 0.05
    gains = gains / k**1.1
    quick = modes(n, freqs, 1.1 / np.sqrt(k), gains)
    slow = modes(n, freqs * 1.0004, 4.0 / np.sqrt(k), 0.35 * gains)
    thud = unit_peak(band(rng.normals(n) * decay(n, 0.05), 80.0, 900.0))
    attack = np.minimum(times(n) / 0.002, 1.0)
    return unit_peak((quick + slow) * attack + 0.05 * thud)
