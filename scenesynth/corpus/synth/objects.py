"""Struck, shaken and switched things: modes, clicks and bursts in the rhythm of what they are."""

from __future__ import annotations

import numpy as np

from scenesynth.corpus.synth.tools import (
    SAMPLE_RATE,
    Signal,
    add_at,
    band,
    decay,
    fade,
    modes,
    samples,
    smeared,
    sweep,
    times,
    unit_peak,
    wander,
)
from scenesynth.seeds import Rng


def footsteps(group: Rng, take: Rng) -> Signal:
    """A walk of four to eight steps: heel, then toe, on wood, stone or gravel."""
    ground = group.choice(("wood", "stone", "gravel"))
    period, weight = group.uniform(0.48, 0.62), group.uniform(75.0, 110.0)
    steps = take.integer(4, 8)
    out = np.zeros(samples(period * steps + 0.4))
    at = 0.0
    for k in range(steps):
        side = 1.0 if k % 2 else 1.06
        add_at(out, at, _heel(take, ground, weight * side), take.uniform(0.8, 1.0))
        add_at(out, at + 0.19 * period, _toe(take, ground), take.uniform(0.25, 0.4))
        at += period * take.uniform(0.96, 1.04)
    return out


def _heel(rng: Rng, ground: str, weight_hz: float) -> Signal:
    n = samples(0.3)
    thump = modes(n, [weight_hz, 2.1 * weight_hz], [0.12, 0.07], [1.0, 0.5])
    if ground == "gravel":
        return 0.35 * thump + _grains(rng, n, 0.16, 140)
    click = band(rng.normals(n) * decay(n, 0.03), 900.0, 6000.0)
    if ground == "stone":
        return 0.6 * thump + 0.7 * unit_peak(click)
    plank = modes(n, [210.0, 390.0, 640.0], [0.16, 0.1, 0.06], [0.6, 0.4, 0.25])
    return thump + plank + 0.3 * unit_peak(click)


def _toe(rng: Rng, ground: str) -> Signal:
    n = samples(0.2)
    if ground == "gravel":
        return _grains(rng, n, 0.12, 90)
    scuff = band(rng.normals(n), 500.0, 4500.0) * np.sin(np.pi * np.clip(times(n) / 0.07, 0, 1))
    return unit_peak(scuff)


def _grains(rng: Rng, n: int, spread_s: float, count: int) -> Signal:
    """Crunch: many short clicks whose density rises and falls."""
    hits = np.zeros(n)
    at = (rng.units(count) + rng.units(count)) / 2.0 * spread_s
    np.add.at(hits, np.minimum((at * SAMPLE_RATE).astype(np.int64), n - 1), rng.normals(count))
    ring = rng.normals(samples(0.006)) * decay(samples(0.006), 0.005)
    return unit_peak(band(smeared(hits, ring), 900.0, 9000.0))


def door_knock(group: Rng, take: Rng) -> Signal:
    """Two to five knocks on a wooden door."""
    low = group.uniform(95.0, 170.0)
    ratios = np.array([1.0, 1.9, 2.7, 3.6, 5.3, 7.2, 9.1]) * (1 + 0.06 * group.normals(7))
    t60s = 0.16 * np.array([1.0, 0.8, 0.6, 0.5, 0.3, 0.22, 0.18]) * group.uniform(0.8, 1.3)
    gap = group.uniform(0.16, 0.3)
    knocks = take.integer(2, 5)
    out = np.zeros(samples(gap * knocks + 0.45))
    n = samples(0.35)
    for k in range(knocks):
        gains = np.array([1.0, 0.9, 0.8, 0.7, 0.5, 0.4, 0.3]) * (0.7 + 0.6 * take.units(7))
        body = modes(n, low * ratios, t60s, gains)
        knuckle = band(take.normals(n) * decay(n, 0.02), 600.0, 3500.0)
        hit = unit_peak(body + 1.2 * unit_peak(knuckle))
        add_at(out, gap * k * take.uniform(0.96, 1.04), hit, take.uniform(0.75, 1.0))
    return out


def typing(group: Rng, take: Rng) -> Signal:
    """Typing: a press and a softer release for every key, in bursts with pauses."""
    pace = group.uniform(0.1, 0.17)
    case_hz, click_hz = group.uniform(180.0, 420.0), group.uniform(1800.0, 3800.0)
    out = np.zeros(samples(take.uniform(2.0, 4.0)))
    at = 0.02
    while at < len(out) / SAMPLE_RATE - 0.3:
        space = take.unit() < 0.15
        pitch = 0.7 if space else take.uniform(0.85, 1.2)
        press = _key(take, case_hz * pitch, click_hz * pitch)
        add_at(out, at, press, 1.0 if space else take.uniform(0.5, 0.85))
        add_at(out, at + take.uniform(0.06, 0.1), _key(take, 1.3 * case_hz, 1.4 * click_hz), 0.22)
        at += pace * np.exp(0.35 * take.normal()) + (0.35 if take.unit() < 0.08 else 0.0)
    return out


def _key(rng: Rng, case_hz: float, click_hz: float) -> Signal:
    n = samples(0.07)
    click = band(rng.normals(n) * decay(n, 0.012), 0.6 * click_hz, 2.2 * click_hz)
    case = modes(n, [case_hz, 2.3 * case_hz, click_hz], [0.06, 0.035, 0.02], [0.5, 0.3, 0.2])
    return np.asarray(unit_peak(click) + case)


def clapping(group: Rng, take: Rng) -> Signal:
    """Applause of one to twenty pairs of hands, each with its own pace."""
    people = group.choice((1, 1, 2, 6, 14, 20))
    hands = [(group.uniform(750.0, 1700.0), group.uniform(0.2, 0.34)) for _ in range(people)]
    out = np.zeros(samples(take.uniform(1.6, 3.6)))
    for tone_hz, period in hands:
        at = take.uniform(0.0, period)
        near = take.uniform(0.4, 1.0)
        while at < len(out) / SAMPLE_RATE - 0.1:
            add_at(out, at, _clap(take, tone_hz), near * take.uniform(0.7, 1.0))
            at += period * take.uniform(0.93, 1.07)
    return fade(out, 0.001, 0.08)


def _clap(rng: Rng, tone_hz: float) -> Signal:
    n = samples(0.11)
    t = times(n)
    # Palm and fingers do not meet at once: a few onsets within ten milliseconds.
    shape = sum(np.where(t >= d, np.exp(-(t - d) / 0.004), 0.0) for d in (0.0, 0.004, 0.009))
    shape = shape + 0.35 * np.where(t >= 0.009, np.exp(-(t - 0.009) / 0.02), 0.0)
    burst = rng.normals(n) * shape
    return unit_peak(
        band(burst, 0.55 * tone_hz, 1.9 * tone_hz) + 0.25 * band(burst, 2000.0, 9000.0)
    )


def drum(group: Rng, take: Rng) -> Signal:
    """A bar or two on a drum kit: kick, snare, hat."""
    beat = 60.0 / group.uniform(85.0, 140.0)
    kick_hz, snare_hz = group.uniform(44.0, 62.0), group.uniform(170.0, 230.0)
    rock = group.unit() < 0.6
    beats = take.integer(4, 8)
    out = np.zeros(samples(beat * beats + 0.5))
    for k in range(2 * beats):
        at = 0.5 * beat * k
        if k % 4 == 0 or (take.unit() < 0.25 and k % 2):
            add_at(out, at, _kick(kick_hz), 1.0)
        if k % 4 == 2 and rock:
            add_at(out, at, _snare(take, snare_hz), 0.8)
        if not rock and k % 4 in (2, 3):
            add_at(out, at, _tom(kick_hz * (2.2 if k % 4 == 2 else 1.7)), 0.7)
        add_at(out, at, _hat(take), take.uniform(0.12, 0.22))
    return out


def _kick(freq_hz: float) -> Signal:
    n = samples(0.4)
    glide = freq_hz * (1.0 + 2.6 * np.exp(-times(n) / 0.025))
    click = np.exp(-times(n) / 0.002) * np.sin(2 * np.pi * 1800.0 * times(n))
    return fade(sweep(glide) * decay(n, 0.45) + 0.25 * click, 0.0, 0.08)


def _tom(freq_hz: float) -> Signal:
    n = samples(0.45)
    glide = freq_hz * (1.0 + 0.5 * np.exp(-times(n) / 0.05))
    return fade(sweep(glide) * decay(n, 0.5), 0.0, 0.08)


def _snare(rng: Rng, freq_hz: float) -> Signal:
    n = samples(0.3)
    skin = modes(n, [freq_hz, 1.6 * freq_hz], [0.18, 0.12], [0.8, 0.5])
    wires = unit_peak(band(rng.normals(n) * decay(n, 0.26), 1200.0, 10000.0))
    return np.asarray(skin + 0.9 * wires)


def _hat(rng: Rng) -> Signal:
    n = samples(0.1)
    return unit_peak(band(rng.normals(n) * decay(n, 0.09), 6500.0, 16000.0, order=4))


def bell(group: Rng, take: Rng) -> Signal:
    """Strokes of a church bell or a hand bell; the partials of a minor-third bell, each beating."""
    strike_hz = float(np.exp(group.uniform(np.log(280.0), np.log(1150.0))))
    ratios = np.array([0.5, 1.0, 1.19, 1.5, 2.0, 2.51, 2.66, 3.01, 4.17, 5.43])
    gains = np.array([0.5, 0.6, 0.8, 0.3, 1.0, 0.35, 0.3, 0.4, 0.25, 0.15])
    ratios = ratios * (1.0 + 0.004 * group.normals(10))
    t60s = group.uniform(3.5, 6.0) * np.sqrt(400.0 / strike_hz) / (0.6 + 0.4 * ratios)
    strokes, gap = take.integer(1, 3), group.uniform(0.9, 1.5)
    out = np.zeros(samples(gap * (strokes - 1) + take.uniform(2.6, 3.6)))
    for k in range(strokes):
        n = len(out) - samples(gap * k)
        beating = np.concatenate([ratios, ratios * 1.0007])
        stroke = modes(
            n, strike_hz * beating, np.tile(t60s, 2), np.tile(gains, 2), take.units(20) * 0.1
        )
        clapper = unit_peak(band(take.normals(n) * decay(n, 0.015), 1500.0, 9000.0))
        add_at(out, gap * k, unit_peak(stroke) + 0.2 * clapper, take.uniform(0.8, 1.0))
    return fade(out, 0.0005, 0.35)


def telephone(group: Rng, take: Rng) -> Signal:
    """A telephone: two gongs struck 20 times a second, or an electronic trill."""
    gongs_hz = (group.uniform(950.0, 1300.0), group.uniform(1350.0, 1750.0))
    mechanical, rate = group.unit() < 0.5, group.uniform(18.0, 25.0)
    pattern = group.choice((((0.0, 1.4),), ((0.0, 0.42), (0.62, 0.42))))
    rings = take.integer(1, 2)
    period = 2.2
    out = np.zeros(samples(period * (rings - 1) + 2.0))
    for k in range(rings):
        for at, length in pattern:
            ring = (
                _gongs(take, gongs_hz, rate, length)
                if mechanical
                else _trill(gongs_hz, rate, length)
            )
            add_at(out, period * k + at, ring)
    return fade(out, 0.001, 0.05)


def _gongs(rng: Rng, gongs_hz: tuple[float, float], rate_hz: float, length_s: float) -> Signal:
    n = samples(length_s + 0.5)
    out = np.zeros(n)
    strokes = [
        modes(n, np.array([1.0, 2.74, 5.2]) * g, [0.7, 0.4, 0.2], [1, 0.5, 0.25]) for g in gongs_hz
    ]
    for k in range(int(length_s * rate_hz)):
        add_at(out, k / rate_hz, strokes[k % 2], rng.uniform(0.7, 1.0))
    return fade(unit_peak(out), 0.0, 0.2)


def _trill(tones_hz: tuple[float, float], rate_hz: float, length_s: float) -> Signal:
    n = samples(length_s)
    first = np.sin(2 * np.pi * rate_hz / 2 * times(n)) > 0
    freq = np.where(first, *tones_hz)
    wave = sweep(freq) + 0.3 * sweep(2 * freq) + 0.15 * sweep(3 * freq)
    return fade(unit_peak(wave), 0.004, 0.01)


def alarm(group: Rng, take: Rng) -> Signal:
    """A siren that alternates or wails, a smoke detector, or an alarm clock."""
    kind = group.choice(("alternating", "wail", "smoke", "clock"))
    base = group.uniform(0.85, 1.2)
    n = samples(take.uniform(2.2, 4.5))
    t = times(n) + take.uniform(0.0, 0.5)
    if kind == "alternating":
        return _horn(np.where((t / 0.55) % 2.0 < 1.0, 440.0, 585.0) * base)
    if kind == "wail":
        turn = 0.5 - 0.5 * np.cos(2 * np.pi * t / group.uniform(1.2, 3.5))
        return _horn(base * 600.0 * 2.3**turn)
    if kind == "smoke":
        gate = ((t % 2.0) < 1.5) & ((t % 0.5) < 0.35)
        return _beeps(n, 3100.0 * base, gate)
    gate = ((t % 1.0) < 0.5) & ((t % 0.125) < 0.07)
    return _beeps(n, 2050.0 * base, gate)


def _horn(freq_hz: Signal) -> Signal:
    phase = np.cumsum(freq_hz) / SAMPLE_RATE
    wave = sum(np.sin(2 * np.pi * k * phase) / k**0.8 for k in (1, 2, 3, 4, 5, 6, 7, 8))
    return fade(unit_peak(band(np.asarray(wave), 300.0, 6000.0)), 0.02, 0.05)


def _beeps(n: int, freq_hz: float, gate: np.ndarray) -> Signal:
    smooth = np.convolve(gate.astype(float), np.ones(64) / 64, mode="same")
    tone = sum(np.sin(2 * np.pi * k * freq_hz * times(n)) / k for k in (1, 3))
    return unit_peak(np.asarray(tone) * smooth)


def clock(group: Rng, take: Rng) -> Signal:
    """A clock: tick and tock."""
    tick_hz, wooden = group.uniform(1900.0, 3600.0), group.uniform(250.0, 600.0)
    period = group.choice((0.25, 0.5, 0.5, 1.0))
    out = np.zeros(samples(take.uniform(2.5, 4.5)))
    n = samples(0.12)
    for k in range(int(len(out) / SAMPLE_RATE / period)):
        pitch = 1.0 if k % 2 else 0.84
        tick = modes(
            n, np.array([1.0, 1.62, 2.4]) * tick_hz * pitch, [0.05, 0.03, 0.02], [1, 0.6, 0.4]
        )
        box = modes(n, [wooden * pitch, 2.2 * wooden], [0.1, 0.06], [0.4, 0.3])
        catch = unit_peak(band(take.normals(n) * decay(n, 0.006), 2000.0, 9000.0))
        hit = tick + box + 0.5 * catch
        add_at(out, 0.02 + k * period, hit, take.uniform(0.9, 1.0))
        add_at(out, 0.02 + k * period + 0.028, hit, 0.18)
    return out


def car_horn(group: Rng, take: Rng) -> Signal:
    """A car horn: two reeds a third apart, one to three blasts."""
    low = group.uniform(330.0, 430.0)
    ratio = group.choice((1.19, 1.26))
    blasts = take.integer(1, 3)
    lengths = [take.uniform(0.18, 0.9) for _ in range(blasts)]
    out = np.zeros(samples(sum(lengths) + 0.18 * blasts))
    at = 0.0
    for length in lengths:
        n = samples(length)
        scoop = 1.0 - 0.04 * np.exp(-times(n) / 0.03)
        wave = _reed(low * scoop) + _reed(low * ratio * scoop)
        add_at(out, at, fade(unit_peak(band(wave, 250.0, 9000.0)), 0.015, 0.05))
        at += length + take.uniform(0.1, 0.18)
    return out


def _reed(freq_hz: Signal) -> Signal:
    phase = 2 * np.pi * np.cumsum(freq_hz) / SAMPLE_RATE
    top = int(13000.0 / freq_hz.max())
    return np.asarray(sum(np.sin(k * phase + k * k) / (1 + (k / 7) ** 2) for k in range(1, top)))


def engine(group: Rng, take: Rng) -> Signal:
    """A combustion engine that idles and is revved: firing pulses through an exhaust."""
    cylinders = group.choice((1, 2, 4, 4, 6))
    idle_rpm = group.uniform(700.0, 1100.0) * (1.6 if cylinders < 3 else 1.0)
    pipes_hz = np.sort(np.array([group.uniform(low, 2.0 * low) for low in (90, 220, 520, 1100)]))
    strengths = 1.0 + 0.25 * group.normals(cylinders)
    n = samples(take.uniform(3.0, 5.5))
    revs = 1.0 + take.uniform(1.2, 2.6) * _blips(take, n)
    rpm = idle_rpm * revs * (1.0 + 0.02 * wander(take, n, 6.0))
    fires = np.cumsum(rpm / 60.0 * cylinders / 2.0) / SAMPLE_RATE
    which = fires.astype(np.int64)
    strength = strengths[which % cylinders] * (1.0 + 0.15 * take.normals(which[-1] + 1)[which])
    since = (fires - which) / np.maximum(np.gradient(fires), 1e-9) / SAMPLE_RATE
    puff = strength * np.exp(-since / 0.0012) * (since / 0.0012) * 2.7
    hiss = band(take.normals(n), 500.0, 5000.0) * (0.008 + 0.05 * puff)
    ring = modes(samples(0.08), pipes_hz, [0.09, 0.06, 0.045, 0.03], [1.0, 0.9, 0.8, 0.6])
    body = smeared(np.diff(puff, prepend=0.0), ring)
    loud = 0.35 + 0.25 * revs
    return fade(unit_peak((unit_peak(body) + hiss) * loud), 0.15, 0.25)


def _blips(rng: Rng, n: int) -> Signal:
    """How far the throttle is open: one or two presses, quick up and slow down."""
    out = np.zeros(n)
    t = times(n)
    for _ in range(rng.integer(1, 2)):
        since = t - rng.uniform(0.4, 0.7) * t[-1]
        rise = np.clip(since / 0.35, 0.0, 1.0)
        fall = np.exp(-np.clip(since - 0.5, 0.0, None) / 0.5)
        out = np.maximum(out, rng.uniform(0.5, 1.0) * rise * fall)
    return out
