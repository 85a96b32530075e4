"""What a front end computes, as numbers: the record that a checkpoint carries.

Training and serving build their `FrontEnd` from the same record, so that they cannot differ.
`FEATURES` holds records by name. The `gram-` presets are those of GRAM (arXiv 2602.03307) as its
code computes them, with one epsilon for training and serving.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from scenesynth.errors import ConfigError
from scenesynth.records import did_you_mean

Input = Literal["mono", "binaural", "foa"]
Intensity = Literal["none", "gram", "dcase2020", "dcase2021", "dcase2022", "psel"]
Bands = Literal["sum", "mean"]
Phase = Literal["none", "ipd_ild"]

CHANNELS: Final[dict[str, tuple[str, ...]]] = {
    "mono": ("omni",),
    "binaural": ("left", "right"),
    "foa": ("W", "Y", "Z", "X"),
}
"""Channels of an input in the order of the store. FOA is ACN, SN3D."""

AXES: Final[dict[str, tuple[str, ...]]] = {
    "none": (),
    "gram": ("y", "z", "x"),
    "dcase2020": ("x", "y", "z"),
    "dcase2021": ("x", "y", "z"),
    "dcase2022": ("y", "z", "x"),
    "psel": ("y", "z", "x"),
}
"""Order in which each definition gives the three components of intensity."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureConfig:
    """Features of one input format.

    Attributes:
        input: what the waveform is.
        channel_order: channels of the waveform; left out, the order of the store (`CHANNELS`).
        sample_rate: of the waveform, Hz.
        n_fft: samples of a frame and of its periodic Hann window.
        hop: samples from frame to frame; frames are centred on multiples of it.
        n_mels: bands, equally wide on the HTK mel scale.
        f_min_hz, f_max_hz: lower edge of the lowest and upper edge of the highest band.
        log_eps: added to the power of a band before its natural logarithm (and in the ILD).
        intensity: definition of the intensity vectors (`scenesynth.features.intensity`).
        intensity_bands: "sum" weighs bins with the mel filters as they are, so that high bands,
            which are wide, get long vectors; "mean" divides by the filter's sum.
        ratio_eps: added to the divisors of intensity and of interaural phase.
        phase: "ipd_ild" adds interaural phase and level (`scenesynth.features.interaural`).
        scales: what each channel is multiplied by at the end, in the order of `channel_names`; left
            out, nothing. A model normalises all channels together, so that those with small numbers
            (cosines beside decibels) count for little in what it reconstructs.
    """

    input: Input
    channel_order: tuple[str, ...] = ()
    sample_rate: int = 32000
    n_fft: int = 1024
    hop: int = 320
    n_mels: int = 128
    f_min_hz: float = 50.0
    f_max_hz: float = 16000.0
    log_eps: float = 1e-5
    intensity: Intensity = "none"
    intensity_bands: Bands = "mean"
    ratio_eps: float = 1e-6
    phase: Phase = "none"
    scales: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.input not in CHANNELS:
            raise ConfigError(
                f"input = {self.input!r}; must be one of {', '.join(CHANNELS)}"
                f"{did_you_mean(self.input, CHANNELS)}"
            )
        if not self.channel_order:
            object.__setattr__(self, "channel_order", CHANNELS[self.input])
        self._check_channels()
        self._check_frames()
        self._check_bands()
        self._check_scales()

    def _check_channels(self) -> None:
        expected = CHANNELS[self.input]
        if sorted(self.channel_order) != sorted(expected):
            raise ConfigError(
                f"channel_order = {list(self.channel_order)}; must be {list(expected)} in some "
                f"order, as input is {self.input!r}"
            )
        if self.intensity not in AXES:
            raise ConfigError(
                f"intensity = {self.intensity!r}; must be one of {', '.join(AXES)}"
                f"{did_you_mean(self.intensity, AXES)}"
            )
        if self.intensity != "none" and self.input != "foa":
            raise ConfigError(
                f"intensity = {self.intensity!r} needs input 'foa', not {self.input!r}; "
                "set intensity to 'none'"
            )
        if self.phase != "none" and self.input != "binaural":
            raise ConfigError(
                f"phase = {self.phase!r} needs input 'binaural', not {self.input!r}; "
                "set phase to 'none'"
            )

    def _check_frames(self) -> None:
        if self.sample_rate < 1:
            raise ConfigError(f"sample_rate = {self.sample_rate}; must be at least 1 Hz")
        if self.n_fft < 2 or self.n_fft % 2:
            raise ConfigError(f"n_fft = {self.n_fft}; must be even and at least 2")
        if not 1 <= self.hop <= self.n_fft:
            raise ConfigError(f"hop = {self.hop}; must be from 1 to n_fft = {self.n_fft}")

    def _check_bands(self) -> None:
        if self.n_mels < 1:
            raise ConfigError(f"n_mels = {self.n_mels}; must be at least 1")
        if not 0 <= self.f_min_hz < self.f_max_hz:
            raise ConfigError(
                f"f_min_hz = {self.f_min_hz}; must be at least 0 and below f_max_hz = "
                f"{self.f_max_hz}"
            )
        if self.f_max_hz > self.sample_rate / 2:
            raise ConfigError(
                f"f_max_hz = {self.f_max_hz} lies above the Nyquist frequency "
                f"{self.sample_rate / 2} Hz of sample_rate = {self.sample_rate}; lower it"
            )
        for name in ("log_eps", "ratio_eps"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name} = {getattr(self, name)}; must be above 0")

    def _check_scales(self) -> None:
        if self.scales and len(self.scales) != self.n_channels:
            raise ConfigError(
                f"scales has {len(self.scales)} numbers; must have one for each of the "
                f"{self.n_channels} channels ({', '.join(self.channel_names)}), or none"
            )
        if self.scales and min(self.scales) <= 0:
            raise ConfigError(f"scales has {min(self.scales)}; all must be above 0")

    @property
    def channel_names(self) -> tuple[str, ...]:
        """One name per feature channel, in order: `logmel_W`, ..., `intensity_y`, ..."""
        phase = ("ipd_cos", "ipd_sin", "ild_db") if self.phase != "none" else ()
        return (
            *(f"logmel_{name}" for name in self.channel_order),
            *(f"intensity_{axis}" for axis in AXES[self.intensity]),
            *phase,
        )

    @property
    def n_channels(self) -> int:
        """Feature channels."""
        return len(self.channel_names)

    @property
    def min_samples(self) -> int:
        """Shortest waveform: reflection at its ends needs more than half a frame."""
        return self.n_fft // 2 + 1

    def frames(self, n_samples: int) -> int:
        """Frames of a waveform: one at sample 0 and at each multiple of the hop within it."""
        return 1 + n_samples // self.hop

    def samples(self, frames: int) -> int:
        """Fewest samples that give at least so many frames."""
        return max((frames - 1) * self.hop, self.min_samples)


FEATURES: Final[dict[str, FeatureConfig]] = {
    "gram-mono": FeatureConfig(input="mono"),
    "gram-binaural": FeatureConfig(input="binaural"),
    "gram-foa": FeatureConfig(
        input="foa", log_eps=1e-6, intensity="gram", intensity_bands="sum", ratio_eps=1e-6
    ),
    "binaural-phase": FeatureConfig(input="binaural", phase="ipd_ild"),
}
"""Front ends by name."""


def feature_preset(name: str) -> FeatureConfig:
    """The preset `name`.

    Raises:
        ConfigError: no such preset.
    """
    if name not in FEATURES:
        raise ConfigError(
            f"features = {name!r}; must be one of {', '.join(FEATURES)}"
            f"{did_you_mean(name, FEATURES)}"
        )
    return FEATURES[name]
