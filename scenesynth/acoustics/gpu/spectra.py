"""From grids to responses: air, transforms, bands, and the high-pass.

Chunks have a fixed number of responses and a length that each response alone decides, so a
transform has the same shape in every batch and its rows the same values.
"""

from __future__ import annotations

import math
from functools import lru_cache

import scipy.fft
import torch

from scenesynth.acoustics.gpu.spread import Spreader
from scenesynth.acoustics.gpu.tables import ROWS_PER_M
from scenesynth.acoustics.grids import Grid, Plan
from scenesynth.acoustics.highpass import highpass_coefficients
from scenesynth.acoustics.simd import TAPS

RING_DB = 120.0
"""The high-pass has rung down by this where its transform wraps around."""


def images_in_time(spreader: Spreader, plan: Plan) -> torch.Tensor:
    """Sum of all images, without a high-pass. Shape: [responses, channels, plan.n_fft]."""
    images = spreader.images
    spectra = None
    for grid in plan.grids:
        cells, worth = spreader.grid(plan, grid)
        step_m = 2.0**grid.shift / images.numbers[:, ROWS_PER_M]
        exponent = images.attenuation_per_m[:, grid.bands] * step_m[:, None] / -2
        rows = torch.arange(-TAPS, grid.n_rows - TAPS, device=worth.device)
        gain = torch.exp(exponent[:, :, None] * rows) * worth[:, None, None]
        turned = cells.permute(0, 2, 3, 1)
        columns = torch.empty(turned.shape, dtype=torch.float32, device=worth.device)
        torch.mul(turned, gain.to(torch.float32)[:, None], out=columns)
        part = _bands_together(torch.fft.rfft(columns), grid)
        if spectra is None:
            spectra = part.new_zeros((*part.shape[:2], plan.n_fft // 2 + 1))
        spectra[..., : part.shape[2]] += part
    return torch.fft.irfft(spectra, n=plan.n_fft)


def _bands_together(columns: torch.Tensor, grid: Grid) -> torch.Tensor:
    """phase * sum over the bands of weight * column, band by band in order.

    Shape: [responses, channels, bands, bins] to [responses, channels, the weights' bins].
    """
    weights, phase = _corrections(grid, columns.device)
    n_bins = len(phase)
    total = columns[:, :, 0, :n_bins] * weights[0]
    for band in range(1, len(weights)):
        total += columns[:, :, band, :n_bins] * weights[band]
    return total.mul_(phase)


@lru_cache(maxsize=128)
def _corrections(grid: Grid, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(grid.weights).to(device), torch.from_numpy(grid.phase).to(device)


def highpass_in_time(
    responses: torch.Tensor, lengths: torch.Tensor, corner_hz: float, sample_rate: int
) -> torch.Tensor:
    """The recursive high-pass of `scenesynth.acoustics.highpass`, by its transfer function.

    With silence behind the responses for as long as the filter rings, the circular convolution is
    the linear one.

    Args:
        responses: Shape: [responses, channels, samples].
        lengths: samples of each response; what follows is silenced. Shape: [responses].
        corner_hz: 0 leaves the responses as they are.
    """
    n = responses.shape[2]
    silent = torch.arange(n, device=responses.device) >= lengths[:, None, None]
    if corner_hz:
        # Only what comes before reaches a sample, so what lies behind the end may stay.
        n_fft, gain = _highpass_gain(n, corner_hz, sample_rate, responses.device)
        responses = torch.fft.irfft(torch.fft.rfft(responses, n=n_fft) * gain, n=n_fft)[..., :n]
    return responses.masked_fill(silent, 0.0)


@lru_cache(maxsize=128)
def _highpass_gain(
    n: int, corner_hz: float, sample_rate: int, device: torch.device
) -> tuple[int, torch.Tensor]:
    """Length of the transform and the filter's spectrum."""
    b0, b1, b2, a1, a2 = highpass_coefficients(corner_hz, sample_rate).tolist()
    decay_per_sample = -0.5 * math.log(a2)  # a2 is the squared radius of the two poles
    ring = math.ceil(RING_DB / 20 * math.log(10) / decay_per_sample)
    n_fft = int(scipy.fft.next_fast_len(n + ring, real=True))
    n_fft += n_fft % 2
    turn = torch.arange(n_fft // 2 + 1, dtype=torch.float64) * (-2 * math.pi / n_fft)
    back = torch.polar(torch.ones_like(turn), turn)
    gain = (b0 + back * (b1 + back * b2)) / (1.0 + back * (a1 + back * a2))
    return n_fft, gain.to(device, torch.complex64)
