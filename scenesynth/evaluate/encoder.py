"""A trained encoder in one file that describes itself: weights, model and front end.

`encoder.safetensors` holds the weights of the encoder alone, and in its metadata the records
`FeatureConfig` and `MaeConfig` as JSON, so that nothing has to be known to use it, and what
computes features here is what did in training. Weights are loaded strictly: none may lack or be
left over, and their hash is that in the metadata, as safetensors has none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import safetensors.torch
import torch
import xxhash
from safetensors import SafetensorError, safe_open

from scenesynth.errors import ConfigError
from scenesynth.features.config import FeatureConfig
from scenesynth.features.front_end import FrontEnd
from scenesynth.models.config import MaeConfig
from scenesynth.models.mae import MaskedAutoencoder
from scenesynth.records import from_json, to_json
from scenesynth.store.local import replace

SCHEMA: Final = "1"
ENCODER_FILE: Final = "encoder.safetensors"

_DECODER: Final = ("mask_token", "bridge", "decoder", "decoder_norm", "predict", "discriminate")
"""Parts of a masked autoencoder that embeddings do without."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoder:
    """A front end and a model whose decoder is gone; `origin` says where they come from."""

    front_end: FrontEnd
    model: MaskedAutoencoder
    origin: Mapping[str, Any]


def save_encoder(
    path: Path,
    features: FeatureConfig,
    config: MaeConfig,
    state: Mapping[str, torch.Tensor],
    origin: Mapping[str, Any],
) -> None:
    """Write the encoder of a whole model's state; the file is there whole or not at all.

    Args:
        origin: for people: which run, how many steps.

    Raises:
        ConfigError: the state is not that of such a model; nothing is written.
    """
    kept = {
        name: tensor.detach().cpu().contiguous()
        for name, tensor in state.items()
        if name.partition(".")[0] not in _DECODER
    }
    _model(config, kept)
    metadata = {
        "scenesynth": SCHEMA,
        "features": to_json(features),
        "model": to_json(config),
        "origin": json.dumps(dict(origin)),
        "weights": _hash(kept),
    }
    replace(path, safetensors.torch.save(kept, metadata))


def load_encoder(path: Path) -> Encoder:
    """Read an encoder, onto the CPU, from its file or the folder that holds it.

    Raises:
        FileNotFoundError: none there.
        ConfigError: another kind of file, or weights that are not those of its records.
    """
    file = path / ENCODER_FILE if path.is_dir() else path
    if not file.is_file():
        raise FileNotFoundError(2, "no such encoder; make one with `scenesynth export`", str(file))
    try:
        with safe_open(file, framework="pt") as opened:
            metadata = opened.metadata() or {}
            state = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ConfigError(f"{file}: is damaged, or no safetensors file ({error})") from None
    if metadata.get("scenesynth") != SCHEMA:
        raise ConfigError(
            f"{file}: is no encoder of this version of scenesynth (schema "
            f"{metadata.get('scenesynth')!r}, must be {SCHEMA!r}); export it again with "
            f"`scenesynth export RUN`"
        )
    try:
        config = from_json(MaeConfig, metadata["model"], f"{file}: model")
        features = from_json(FeatureConfig, metadata["features"], f"{file}: features")
        origin = json.loads(metadata["origin"])
        weights = metadata["weights"]
    except (KeyError, json.JSONDecodeError) as error:
        raise ConfigError(f"{file}: is damaged (its metadata: {error})") from None
    if weights != _hash(state):
        raise ConfigError(
            f"{file}: is damaged (the hash of its weights is not that in its metadata); export it "
            f"again with `scenesynth export RUN`"
        )
    try:
        model = _model(config, state)
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from None
    return Encoder(front_end=FrontEnd(features).eval(), model=model.eval(), origin=origin)


def _model(config: MaeConfig, state: Mapping[str, torch.Tensor]) -> MaskedAutoencoder:
    """The model without decoder that has these weights."""
    model = without_decoder(MaskedAutoencoder(config))
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        why = " ".join(str(error).split())
        raise ConfigError(f"weights do not fit its own records: {why}") from None
    return model


def _hash(state: Mapping[str, torch.Tensor]) -> str:
    digest = xxhash.xxh3_128()
    for name in sorted(state):
        digest.update(name.encode())
        digest.update(state[name].reshape(-1).view(torch.uint8).numpy())
    return str(digest.hexdigest())


def without_decoder(model: MaskedAutoencoder) -> MaskedAutoencoder:
    """The same model, its decoder taken away; `encode` still works."""
    for name in _DECODER:
        delattr(model, name)
    return model
