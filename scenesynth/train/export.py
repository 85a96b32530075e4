"""From a run to the file that others use."""

from __future__ import annotations

from pathlib import Path

from scenesynth.errors import ConfigError
from scenesynth.evaluate.encoder import ENCODER_FILE, save_encoder
from scenesynth.records import from_plain
from scenesynth.train import checkpoint
from scenesynth.train.config import RunConfig


def export(source: Path, out: Path) -> tuple[Path, Path]:
    """Write the encoder of a run's newest checkpoint, or of the one named, into a folder.

    Returns:
        The file, and the checkpoint it was made from.

    Raises:
        ConfigError: the run has no checkpoint, or it cannot be read.
        FileNotFoundError: no such run or checkpoint.
    """
    if source.is_dir():
        found = checkpoint.found(source)
        if not found:
            raise ConfigError(
                f"{source}: has no checkpoints; give the folder of a run of `scenesynth train`, or "
                f"a checkpoint"
            )
        source = found[-1]
    state = checkpoint.load(source)
    config = from_plain(RunConfig, state.config, f"{source}: config")
    path = out / ENCODER_FILE
    origin = {
        "run": config.name,
        "steps": state.step,
        "audio_hours_seen": state.samples["samples"] / config.features.sample_rate / 3600,
    }
    try:
        save_encoder(path, config.features, config.model, state.model, origin)
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from None
    return path, source
