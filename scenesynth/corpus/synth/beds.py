"""Noise beds: rain, wind, crowd, traffic, ventilation, surf. Half a minute and more."""

from __future__ import annotations

import numpy as np

from scenesynth.corpus.synth.tools import (
    SAMPLE_RATE,
    Signal,
    add_at,
    band,
    decay,
    fade,
    filter_frames,
    frame_times,
    modes,
    samples,
    shaped_noise,
    smeared,
    times,
    unit_peak,
    wander,
)
from scenesynth.corpus.synth.voices import draw_voice, sentence
from scenesynth.seeds import Rng

_EDGE_S = 0.05
_BLUR = (
    (0.011, 0.5),
    (0.023, -0.42),
    (0.037, 0.36),
    (0.058, 0.3),
    (0.083, -0.24),
    (0.121, 0.18),
    (0.167, -0.13),
    (0.211, 0.09),
)


def _length(rng: Rng) -> int:
    return samples(rng.uniform(30.0, 36.0))


def rain(group: Rng, take: Rng) -> Signal:
    """Rain: a hiss, thousands of drops a second, some of them near."""
    n = _length(take)
    heavy, dull = group.unit(), group.uniform(-10.0, 0.0)
    hiss = shaped_noise(
        take, n, ((150, -14), (1000, -4), (5000, 0), (9000, dull - 2), (15000, dull - 8))
    )
    drops = _patter(take, n, 500.0 + 2500.0 * heavy, (1500.0, 9000.0), 0.004)
    near = _patter(take, n, 25.0 + 60.0 * group.unit(), (600.0, 4000.0), 0.012)
    level = 1.0 + 0.12 * wander(take, n, 0.4)
    return fade((0.4 * hiss + 0.8 * drops + 0.35 * near) * level, _EDGE_S, _EDGE_S)


def _patter(
    rng: Rng, n: int, rate_hz: float, limits_hz: tuple[float, float], ring_s: float
) -> Signal:
    """Clicks at random times with log-normal strengths, of unit power."""
    count = int(rate_hz * n / SAMPLE_RATE)
    hits = np.zeros(n)
    strength = np.exp(0.5 * rng.normals(count)) * np.sign(rng.normals(count))
    np.add.at(hits, (rng.units(count) * n).astype(np.int64), strength)
    ring = decay(samples(ring_s), ring_s)
    wave = band(smeared(hits, ring), *limits_hz)
    return np.asarray(wave / np.sqrt(np.mean(np.square(wave))))


def wind(group: Rng, take: Rng) -> Signal:
    """Wind: gusts that grow louder and brighter together, with a whistle in the strong ones."""
    n = _length(take)
    gusts = 0.5 * wander(take, n, 0.15) + 0.3 * wander(take, n, 0.6) + 0.12 * wander(take, n, 3.0)
    centre = group.uniform(180.0, 420.0)
    noise = shaped_noise(take, n, ((30, -2), (100, 0), (400, -6), (3000, -24), (12000, -46)))
    at = np.minimum((frame_times(n).clip(0) * SAMPLE_RATE).astype(np.int64), n - 1)
    freqs = np.fft.rfftfreq(1024, 1.0 / SAMPLE_RATE)
    corner = centre * np.exp(0.8 * gusts[at])[:, None]
    tilt = (1.0 / (1.0 + np.square(freqs / corner))).astype(np.complex128)
    blow = filter_frames(noise, tilt) * np.exp(0.6 * gusts)
    whistle = _narrow(take, n, group.uniform(500.0, 900.0) * np.exp(0.25 * gusts), 30.0)
    whistle *= np.clip(gusts - 0.3, 0.0, None)
    return fade(blow / np.std(blow) + 0.3 * whistle, _EDGE_S, _EDGE_S)


def _narrow(rng: Rng, n: int, freq_hz: Signal, width_hz: float) -> Signal:
    """Noise of unit power in a narrow band around a moving frequency [n]."""
    phase = 2.0 * np.pi * np.cumsum(freq_hz) / SAMPLE_RATE
    parts = [wander(rng, n, width_hz) for _ in range(2)]
    return np.asarray(parts[0] * np.cos(phase) + parts[1] * np.sin(phase))


def crowd(group: Rng, take: Rng) -> Signal:
    """A crowd: sixteen talkers at once, each with sentences of its own."""
    n = _length(take)
    out = np.zeros(n)
    for _ in range(16):
        voice = draw_voice(group)
        said = [sentence(voice, take, take.uniform(1.4, 2.8)) for _ in range(2)]
        near, at = take.uniform(0.35, 1.0), take.uniform(-2.5, 0.0)
        while at < n / SAMPLE_RATE:
            phrase = take.choice(said)
            add_at(out, at, phrase, near * take.uniform(0.6, 1.0))
            at += len(phrase) / SAMPLE_RATE + take.uniform(0.1, 0.9)
    murmur = shaped_noise(take, n, ((100, -8), (500, 0), (1500, -10), (6000, -34)))
    out += 0.12 * np.std(out) * murmur
    return fade(_damp(out), _EDGE_S, _EDGE_S)


def _damp(x: Signal) -> Signal:
    """Voices at some distance in a hall: a short blur and less treble."""
    blurred = x.copy()
    for delay_s, gain in _BLUR:
        add_at(blurred, delay_s, x, gain)
    return band(blurred, 90.0, 5000.0, order=1)


def traffic(group: Rng, take: Rng) -> Signal:
    """A road: a rumble far away and cars that pass, tyres and engine."""
    n = _length(take)
    out = 0.35 * shaped_noise(take, n, ((30, 0), (120, -2), (500, -14), (4000, -36)))
    speed = group.uniform(9.0, 18.0)
    distance = group.uniform(5.0, 12.0)
    at = take.uniform(-2.0, 3.0)
    while at < n / SAMPLE_RATE + 2.0:
        out += _car(take, n, at, speed * take.uniform(0.85, 1.2), distance)
        at += take.uniform(2.5, 7.0)
    return fade(out, _EDGE_S, _EDGE_S)


def _car(rng: Rng, n: int, passes_s: float, speed_mps: float, distance_m: float) -> Signal:
    t = times(n)
    start, stop = np.searchsorted(t, (passes_s - 6.0, passes_s + 6.0))
    along = speed_mps * (t[start:stop] - passes_s)
    away = np.hypot(along, distance_m)
    m = len(away)
    out = np.zeros(n)
    if m < samples(0.1):
        return out
    tyres = shaped_noise(rng, m, ((60, -6), (300, -3), (900, 0), (2500, -8), (9000, -26)))
    # The radial speed bends the pitch: the Doppler drop of a passing car.
    bend = 1.0 / (1.0 + speed_mps * along / away / 343.0)
    phase = 2.0 * np.pi * np.cumsum(rng.uniform(55.0, 95.0) * bend) / SAMPLE_RATE
    hum = sum(np.sin(k * phase + k) / k for k in (1, 2, 3, 4, 6))
    gate = np.sin(np.pi * np.linspace(0.0, 1.0, m)) ** 2
    out[start:stop] = (tyres + 0.5 * np.asarray(hum)) * gate * distance_m / away
    return out


def ventilation(group: Rng, take: Rng) -> Signal:
    """A fan in a duct: steady noise, the tone of the blades and of the duct."""
    n = _length(take)
    slope, knee = group.uniform(5.0, 9.0), group.uniform(200.0, 500.0)
    octaves = np.log2(14000.0 / knee)
    points = ((40, -10.0), (knee / 2, 0.0), (knee, 0.0), (14000, -slope * octaves))
    air = shaped_noise(take, n, points)
    blade_hz = group.uniform(45.0, 140.0)
    phase = 2 * np.pi * np.cumsum(blade_hz * (1 + 0.002 * wander(take, n, 2.0))) / SAMPLE_RATE
    tone = sum(group.uniform(0.3, 1.0) * np.sin(k * phase + k) / k for k in range(1, 7))
    duct = smeared(air, modes(samples(0.08), [2.1 * knee, 3.4 * knee], [0.06, 0.05], 0.01))
    swing = 1.0 + 0.06 * np.sin(2 * np.pi * group.uniform(0.4, 1.5) * times(n))
    return fade((air + duct + 0.4 * np.asarray(tone)) * swing, _EDGE_S, _EDGE_S)


def surf(group: Rng, take: Rng) -> Signal:
    """Waves on a beach: each swells, breaks and washes back, over a distant roar."""
    n = _length(take)
    out = 0.25 * shaped_noise(take, n, ((40, 0), (200, -3), (1000, -10), (8000, -26)))
    period, bright = group.uniform(6.0, 9.0), group.uniform(-4.0, 2.0)
    at = take.uniform(-4.0, 0.0)
    while at < n / SAMPLE_RATE:
        m = samples(period * take.uniform(1.2, 1.5))
        t = times(m)
        swell = np.clip(t / (0.3 * period), 0.0, 1.0) ** 2
        wash = np.exp(-np.clip(t - 0.3 * period, 0.0, None) / (0.28 * period))
        body = shaped_noise(
            take, m, ((80, -4), (400, 0), (2500, -7 + bright), (12000, -18 + bright))
        )
        foam = shaped_noise(take, m, ((800, -20), (3000, -4), (7000, 0), (14000, -6)))
        late = np.exp(-np.square((t - 0.45 * period) / (0.2 * period)))
        wave = fade((body + 0.45 * foam * late) * swell * wash, 0.01, 0.3)
        add_at(out, at, wave, take.uniform(0.6, 1.0))
        at += period * take.uniform(0.8, 1.2)
    return fade(unit_peak(out), _EDGE_S, _EDGE_S)
