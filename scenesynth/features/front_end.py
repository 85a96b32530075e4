"""The front end: from waveforms to feature channels over mel bands and frames.

    power spectrum -> mel bands -> ln(. + eps)         one channel per channel of the waveform
    (W, A) of each bin -> intensity -> mel bands       three channels, first-order Ambisonics only
    (L, R) -> phase and level differences              three channels, binaural only

Everything is float32, whatever autocast says around it. There is no pre-emphasis, no mean and no
level normalisation here: the model normalises each window.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from scenesynth.features.config import FeatureConfig
from scenesynth.features.intensity import intensity_vectors
from scenesynth.features.interaural import interaural_differences
from scenesynth.features.mel import mel_filters


class FrontEnd(nn.Module):  # type: ignore[misc]
    """Features of waveforms as `config` says; it has constants but no parameters.

    Attributes:
        config: the record it was built from.
        n_channels, channel_names: of what it returns.
    """

    def __init__(self, config: FeatureConfig) -> None:
        super().__init__()
        self.config = config
        self.n_channels = config.n_channels
        self.channel_names = config.channel_names
        filters = mel_filters(config)
        pooling = filters
        if config.intensity_bands == "mean":
            pooling = filters / filters.sum(axis=1, keepdims=True)
        for name, constant in (
            ("_window", torch.hann_window(config.n_fft, periodic=True)),
            ("_filters", torch.from_numpy(filters).float()),
            ("_pooling", torch.from_numpy(pooling).float()),
            ("_scales", torch.tensor(config.scales)[:, None, None]),
        ):
            self.register_buffer(name, constant, persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """Features. Shapes: [batch, channels, samples] -> [batch, n_channels, n_mels, frames].

        Raises:
            TypeError: not floating point.
            ValueError: another number of channels, or too short for a frame.
        """
        self._check(waveform)
        with torch.autocast(waveform.device.type, enabled=False):
            return self._features(waveform.float())

    def _features(self, waveform: Tensor) -> Tensor:
        spectra = self._spectra(waveform)
        power = spectra.real.square() + spectra.imag.square()
        log_mel = torch.log(self._filters @ power + self.config.log_eps)
        parts = [log_mel]
        if self.config.intensity != "none":
            parts.append(self._pooling @ intensity_vectors(spectra, power, self.config))
        if self.config.phase != "none":
            parts.append(interaural_differences(spectra, log_mel, self._filters, self.config))
        features = torch.cat(parts, dim=1)
        return features * self._scales if self.config.scales else features

    def _spectra(self, waveform: Tensor) -> Tensor:
        """Short-time spectra, frames centred, ends reflected. Shape: [B, C, bins, frames]."""
        config = self.config
        spectra = torch.stft(
            waveform.flatten(0, 1),
            config.n_fft,
            hop_length=config.hop,
            window=self._window,
            center=True,
            pad_mode="reflect",
            return_complex=True,
        )
        return spectra.unflatten(0, waveform.shape[:2])

    def _check(self, waveform: Tensor) -> None:
        config = self.config
        shape = tuple(waveform.shape)
        if not waveform.is_floating_point():
            raise TypeError(
                f"waveform is {waveform.dtype}; must be floating point "
                "(a batch of the store gives that as batch.waveform())"
            )
        if len(shape) != 3:
            raise ValueError(f"waveform has shape {shape}; must be [batch, channels, samples]")
        if shape[1] != len(config.channel_order):
            raise ValueError(
                f"waveform has {shape[1]} channels; input {config.input!r} has "
                f"{len(config.channel_order)}: {', '.join(config.channel_order)}"
            )
        if shape[2] < config.min_samples:
            raise ValueError(
                f"waveform has {shape[2]} samples; must have at least {config.min_samples}, more "
                f"than half of n_fft = {config.n_fft}, to be reflected at its ends; pad it with "
                "zeros or take a longer crop"
            )
