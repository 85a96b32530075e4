"""The masked autoencoder: GRAM-T (arXiv 2602.03307), and GRAM-M with another backbone.

    window [C, mels, frames] -> normalised over all of it -> patches
    patches that are seen -> encoder (with a CLS token, and positions)
    encoded, and a mask token at each hidden place -> decoder (with positions) -> all patches

The loss compares predicted with normalised patches where they were hidden. What the encoder makes
of a whole window, with nothing hidden, is its embedding.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from scenesynth.models.attention import Block, WindowBias
from scenesynth.models.config import MaeConfig
from scenesynth.models.losses import direction, info_nce, reconstruction
from scenesynth.models.mamba import MambaBlock
from scenesynth.models.masking import Masking, in_time_order, masking, pick
from scenesynth.models.patches import patched, positions, unpatched

EPS = 1e-5
"""Added to the variance of a window where it is normalised."""


class MaeOutput(NamedTuple):
    """Attributes:
    loss: to be minimised, a scalar.
    prediction, target: patches. Shape: [batch, tokens, values].
    mask: True where the encoder saw nothing. Shape: [batch, tokens].
    parts: the losses that `loss` is a weighted sum of, by name.
    """

    loss: Tensor
    prediction: Tensor
    target: Tensor
    mask: Tensor
    parts: dict[str, Tensor]


class Encoded(NamedTuple):
    """Attributes:
    cls: of the window. Shape: [batch, dim].
    steps: of each time step, its patches side by side from low to high.
        Shape: [batch, time_steps, freq_patches * dim].
    """

    cls: Tensor
    steps: Tensor


class MaskedAutoencoder(nn.Module):  # type: ignore[misc]
    """A masked autoencoder over windows of features.

    Attributes:
        config: the record it was built from.
    """

    def __init__(self, config: MaeConfig) -> None:
        super().__init__()
        self.config = config
        encoder, decoder = config.encoder, config.decoder
        self.cls = nn.Parameter(torch.empty(encoder.dim))
        self.embed = nn.Linear(config.n_values, encoder.dim)
        self.encoder = nn.ModuleList(_encoder_block(config) for _ in range(encoder.depth))
        self.encoder_norm = _encoder_norm(config)
        self.mask_token = nn.Parameter(
            torch.empty(decoder.dim), requires_grad=config.learn_mask_token
        )
        self.bridge = nn.Linear(encoder.dim, decoder.dim)
        self.decoder = nn.ModuleList(
            Block(
                decoder.dim,
                decoder.heads,
                round(decoder.dim * config.mlp_ratio),
                WindowBias(config.n_tokens, decoder.windows),
            )
            for _ in range(decoder.depth)
        )
        self.decoder_norm = nn.LayerNorm(decoder.dim, eps=1e-6)
        self.predict = nn.Linear(decoder.dim, config.n_values)
        self.discriminate = _discriminator(config) if config.objective == "joint" else None
        for name, dim in (("_encoder_places", encoder.dim), ("_decoder_places", decoder.dim)):
            places = torch.from_numpy(positions(dim, config.grid))
            self.register_buffer(name, places, persistent=False)
        self.apply(_initialise)
        for token in (self.cls, self.mask_token):
            nn.init.normal_(token, std=0.02)

    def forward(
        self,
        features: Tensor,
        *,
        noise: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> MaeOutput:
        """Hide tokens and reconstruct them.

        Args:
            features: Shape: [batch, channels, mels, frames].
            noise: decides the mask: the tokens with the largest numbers are hidden; drawn where
                left out. Shape: [batch, tokens].
            generator: draws the noise; torch's own where left out.

        Raises:
            ValueError: features or noise of another shape, or both noise and a generator.
        """
        target = patched(self.normalise(features), self.config.patch)
        chosen = self._choose(target, noise, generator)
        encoded = self._encode(pick(target, chosen.visible), chosen.visible)
        decoded = self._decode(encoded[:, 1:], chosen.visible)
        prediction = self.predict(decoded)
        parts = self._losses(decoded, prediction, target, chosen.hidden)
        if self.config.direction_weight:
            parts["direction"] = self._direction(features, prediction, target, chosen.hidden)
        loss = sum(self._weight(name) * part for name, part in parts.items())
        return MaeOutput(loss, prediction, target, chosen.mask, parts)

    def encode(self, features: Tensor) -> Encoded:
        """Embeddings of windows with nothing hidden. Shape: [batch, channels, mels, frames]."""
        patches = patched(self.normalise(features), self.config.patch)
        tokens = torch.arange(self.config.n_tokens, device=patches.device)
        tokens = in_time_order(tokens.expand(len(patches), -1), self.config.grid)
        encoded = self._encode(pick(patches, tokens), tokens).float()
        steps = encoded[:, 1:].unflatten(1, (self.config.grid[1], -1)).flatten(2)
        return Encoded(encoded[:, 0], steps)

    def normalise(self, features: Tensor) -> Tensor:
        """Each window with mean 0 and variance 1 over channels, bands and frames together.

        That removes its level and keeps level differences between channels. Shape kept.
        """
        config = self.config
        expected = (config.channels, config.mels, config.frames)
        if features.ndim != 4 or tuple(features.shape[1:]) != expected:
            raise ValueError(
                f"features have shape {tuple(features.shape)}; must be [batch, channels = "
                f"{expected[0]}, mels = {expected[1]}, frames = {expected[2]}]"
            )
        return functional.layer_norm(features.float(), expected, eps=EPS)

    def unpatch(self, values: Tensor) -> Tensor:
        """Pictures [batch, channels, mels, frames] of patches [batch, tokens, values]."""
        return unpatched(values, self.config.grid, self.config.patch)

    def _choose(
        self, target: Tensor, noise: Tensor | None, generator: torch.Generator | None
    ) -> Masking:
        shape = tuple(target.shape[:2])
        if noise is None:
            source = generator.device if generator is not None else target.device
            noise = torch.rand(shape, generator=generator, device=source).to(target.device)
        elif generator is not None:
            raise ValueError("got both noise and a generator; one decides the mask")
        elif tuple(noise.shape) != shape:
            raise ValueError(
                f"noise has shape {tuple(noise.shape)}; must be [batch, tokens] = {list(shape)}"
            )
        return masking(noise, self.config.n_hidden, self.config.grid)

    def _encode(self, patches: Tensor, tokens: Tensor) -> Tensor:
        """Encode the patches of `tokens`. Shape: [batch, 1 + tokens, dim], CLS first."""
        x = self.embed(patches) + self._encoder_places[tokens]
        x = torch.cat([self.cls.expand(len(x), 1, -1).to(x.dtype), x], dim=1)
        for block in self.encoder:
            x = block(x)
        return self.encoder_norm(x)

    def _decode(self, encoded: Tensor, visible: Tensor) -> Tensor:
        """Fill hidden places and decode. Shape: [batch, tokens, dim of the decoder]."""
        known = self.bridge(encoded)
        x = self.mask_token.to(known.dtype).expand(len(known), self.config.n_tokens, -1)
        x = x.scatter(1, visible[..., None].expand_as(known), known) + self._decoder_places
        for block in self.decoder:
            x = block(x)
        return self.decoder_norm(x)

    def _losses(
        self, decoded: Tensor, prediction: Tensor, target: Tensor, hidden: Tensor
    ) -> dict[str, Tensor]:
        hidden_target = pick(target, hidden)
        mse = reconstruction(pick(prediction, hidden), hidden_target)
        if self.config.loss_scale == "channels":
            mse = mse * self.config.channels
        parts = {"mse": mse}
        if self.discriminate is not None:
            parts["info_nce"] = info_nce(self.discriminate(pick(decoded, hidden)), hidden_target)
        return parts

    def _direction(
        self, features: Tensor, prediction: Tensor, target: Tensor, hidden: Tensor
    ) -> Tensor:
        """Loss of directions, between vectors scaled back to what they were as features."""
        variance, mean = torch.var_mean(features.float(), (1, 2, 3), correction=0, keepdim=True)
        scale = (variance + EPS).sqrt()

        def vectors(values: Tensor) -> Tensor:
            channels = pick(values, hidden).unflatten(2, (self.config.channels, -1))
            return channels[:, :, self.config.direction_channels] * scale + mean

        return direction(vectors(prediction), vectors(target))

    def _weight(self, part: str) -> float:
        """Of a part in the loss."""
        if part == "direction":
            return self.config.direction_weight
        if part == "mse" and self.config.objective == "joint":
            return self.config.generative_weight
        return 1.0


def _encoder_block(config: MaeConfig) -> nn.Module:
    encoder, ssd = config.encoder, config.ssd
    if config.backbone == "vit":
        return Block(encoder.dim, encoder.heads, round(encoder.dim * config.mlp_ratio))
    return MambaBlock(
        encoder.dim,
        inner=encoder.dim * ssd.expand,
        heads=encoder.heads,
        state=ssd.state,
        conv=ssd.conv,
        chunk=ssd.chunk,
    )


def _encoder_norm(config: MaeConfig) -> nn.Module:
    norm = nn.LayerNorm if config.backbone == "vit" else nn.RMSNorm
    return norm(config.encoder.dim, eps=1e-6)


def _discriminator(config: MaeConfig) -> nn.Module:
    dim = config.decoder.dim
    return nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, config.n_values))


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
