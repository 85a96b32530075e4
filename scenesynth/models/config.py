"""The shape of a masked autoencoder, as numbers: the record that a checkpoint carries.

`SIZES` holds encoders and decoders by name; `sized` puts one together with what it sees.
"""

from __future__ import annotations

from dataclasses import dataclass, field, is_dataclass
from typing import Any, Final, Literal, get_args

from scenesynth.errors import ConfigError
from scenesynth.records import did_you_mean, from_plain, to_plain

Backbone = Literal["vit", "mamba"]
Objective = Literal["mae", "joint"]
LossScale = Literal["one", "channels"]

GRAM_WINDOWS: Final = (2, 5, 10, 25, 50, 100, 0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderConfig:
    """Width, blocks and heads of the encoder (of a Mamba: heads of its expanded width)."""

    dim: int
    depth: int
    heads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderConfig:
    """Width, blocks and heads of the decoder.

    Attributes:
        windows: tokens that each head sees at once, one number per head; 0 sees all.
    """

    dim: int
    depth: int
    heads: int
    windows: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SsdConfig:
    """What only a Mamba encoder has.

    Attributes:
        state: numbers of the state per channel.
        expand: inner width over `dim`.
        conv: taps of the causal convolution before the recurrence.
        chunk: tokens that are multiplied as one matrix; changes speed, not values.
    """

    state: int = 128
    expand: int = 2
    conv: int = 4
    chunk: int = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class MaeConfig:
    """A masked autoencoder over windows of features [channels, mels, frames].

    Attributes:
        patch: mel bands and frames of a token.
        mask_ratio: share of the tokens that is hidden from the encoder.
        backbone: "vit", pre-norm attention; "mamba", state-space blocks in both directions.
        mlp_ratio: inner width of the MLPs over their outer one.
        objective: "mae", reconstruct hidden tokens; "joint", also tell them apart (SSAST).
        generative_weight: of the reconstruction beside the other loss, "joint" only.
        loss_scale: "channels" multiplies the reconstruction loss by `channels`, as GRAM does.
        direction_channels: the three channels that hold intensity vectors, whose directions can
            be a loss of their own.
        direction_weight: of that loss beside the others; 0 leaves it out.
        learn_mask_token: False keeps the token of hidden places as it was drawn, as GRAM does.
    """

    channels: int
    mels: int = 128
    frames: int = 200
    patch: tuple[int, int] = (16, 8)
    mask_ratio: float = 0.8
    backbone: Backbone = "vit"
    encoder: EncoderConfig
    decoder: DecoderConfig
    ssd: SsdConfig = field(default_factory=SsdConfig)
    mlp_ratio: float = 4.0
    objective: Objective = "mae"
    generative_weight: float = 10.0
    loss_scale: LossScale = "one"
    direction_channels: tuple[int, ...] = ()
    direction_weight: float = 0.0
    learn_mask_token: bool = True

    def __post_init__(self) -> None:
        for name, kind in (
            ("backbone", Backbone),
            ("objective", Objective),
            ("loss_scale", LossScale),
        ):
            _check_choice(name, getattr(self, name), get_args(kind))
        self._check_grid()
        self._check_mask()
        self._check_losses()
        self._check_widths()

    def _check_grid(self) -> None:
        if self.channels < 1:
            raise ConfigError(f"channels = {self.channels}; must be at least 1")
        for name, n, by, axis in (
            ("mels", self.mels, self.patch[0], 0),
            ("frames", self.frames, self.patch[1], 1),
        ):
            if by < 1:
                raise ConfigError(f"patch[{axis}] = {by}; must be at least 1")
            if n < by or n % by:
                raise ConfigError(
                    f"{name} = {n} is no multiple of patch[{axis}] = {by}; "
                    f"the nearest is {max(1, round(n / by)) * by}"
                )

    def _check_mask(self) -> None:
        fewest = 2 if self.objective == "joint" else 1
        if not fewest <= self.n_hidden < self.n_tokens:
            raise ConfigError(
                f"mask_ratio = {self.mask_ratio} hides {self.n_hidden} of {self.n_tokens} tokens; "
                f"must hide at least {fewest} and leave at least 1"
            )

    def _check_losses(self) -> None:
        for name in ("generative_weight", "direction_weight"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} = {getattr(self, name)}; must be 0 or more")
        chosen = set(self.direction_channels)
        if not chosen <= set(range(self.channels)) or len(chosen) != len(self.direction_channels):
            raise ConfigError(
                f"direction_channels = {list(self.direction_channels)}; must be different ones of "
                f"0 to {self.channels - 1}"
            )
        if len(chosen) != 3 and (chosen or self.direction_weight):
            raise ConfigError(
                f"direction_channels has {len(chosen)} numbers; must have 3, those of the "
                "intensity vectors (or none, with direction_weight = 0)"
            )

    def _check_widths(self) -> None:
        for name, part in (("encoder", self.encoder), ("decoder", self.decoder)):
            if min(part.dim, part.depth, part.heads) < 1:
                raise ConfigError(f"{name}: dim, depth and heads must be at least 1; got {part}")
            inner = self.backbone == "mamba" and part is self.encoder
            if part.dim * (self.ssd.expand if inner else 1) % part.heads:
                raise ConfigError(
                    f"{name}.dim = {part.dim}{' times ssd.expand' if inner else ''} cannot be "
                    f"divided among {name}.heads = {part.heads}"
                )
            if part.dim % 4:
                raise ConfigError(
                    f"{name}.dim = {part.dim}; must be a multiple of 4, for the sines and cosines "
                    "of two axes"
                )
        windows = self.decoder.windows
        if len(windows) != self.decoder.heads:
            raise ConfigError(
                f"decoder.windows has {len(windows)} numbers; must have one for each of "
                f"decoder.heads = {self.decoder.heads}"
            )
        if min(windows) < 0:
            raise ConfigError(f"decoder.windows has {min(windows)}; must be 0 (all) or more")
        if self.mlp_ratio <= 0:
            raise ConfigError(f"mlp_ratio = {self.mlp_ratio}; must be above 0")
        if min(to_plain(self.ssd).values()) < 1:
            raise ConfigError(f"ssd: all numbers must be at least 1; got {self.ssd}")

    @property
    def grid(self) -> tuple[int, int]:
        """Patches over frequency and over time."""
        return self.mels // self.patch[0], self.frames // self.patch[1]

    @property
    def n_tokens(self) -> int:
        """Patches of a window."""
        return self.grid[0] * self.grid[1]

    @property
    def n_hidden(self) -> int:
        """Tokens that are hidden from the encoder, the same number in every window."""
        return round(self.n_tokens * self.mask_ratio)

    @property
    def n_values(self) -> int:
        """Numbers of a patch, over all channels."""
        return self.channels * self.patch[0] * self.patch[1]

    @property
    def step_dim(self) -> int:
        """Width of an embedding per time step: its patches over frequency, side by side."""
        return self.grid[0] * self.encoder.dim


def _check_choice(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ConfigError(
            f"{name} = {value!r}; must be one of {', '.join(known)}{did_you_mean(value, known)}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """An encoder with its decoder."""

    encoder: EncoderConfig
    decoder: DecoderConfig
    ssd: SsdConfig = field(default_factory=SsdConfig)


SIZES: Final[dict[str, Size]] = {
    "tiny": Size(
        encoder=EncoderConfig(dim=64, depth=2, heads=4),
        decoder=DecoderConfig(dim=32, depth=1, heads=4, windows=(5, 25, 50, 0)),
        ssd=SsdConfig(state=16),
    ),
    "small": Size(
        encoder=EncoderConfig(dim=384, depth=12, heads=6),
        decoder=DecoderConfig(dim=256, depth=4, heads=8, windows=GRAM_WINDOWS),
        ssd=SsdConfig(state=64),
    ),
    "base": Size(
        encoder=EncoderConfig(dim=768, depth=12, heads=12),
        decoder=DecoderConfig(dim=512, depth=8, heads=8, windows=GRAM_WINDOWS),
    ),
}
"""tiny is for tests on a CPU; base is GRAM's."""


def sized(size: str, **rest: Any) -> MaeConfig:
    """A configuration of the named size; `rest` are the other fields of `MaeConfig`.

    A mapping changes fields of a part: `decoder={"depth": 4}`. A Mamba gets `expand` times as many
    heads, so that a head is as wide as a transformer's.

    Raises:
        ConfigError: no such size or field, or numbers that do not go together.
    """
    _check_choice("size", size, tuple(SIZES))
    plain = to_plain(SIZES[size])
    if rest.get("backbone") == "mamba":
        plain["encoder"]["heads"] *= plain["ssd"]["expand"]
    for name, value in rest.items():
        if isinstance(value, dict) and name in plain:
            plain[name] = {**plain[name], **value}
        else:
            plain[name] = to_plain(value) if is_dataclass(value) else value
    return from_plain(MaeConfig, plain)
