"""`scenesynth export`: the encoder of a run as one file."""

from __future__ import annotations

from pathlib import Path

import click

from scenesynth.cli.app import Sectioned, option
from scenesynth.cli.train import needs_torch


@click.command(
    short_help="Export the encoder of a run.",
    cls=Sectioned,
    epilog="""\b
Examples:
  scenesynth export runs/first --out encoders/first
  scenesynth export runs/first/checkpoints/step-00001000.pt --out encoders/early
\b
In Python, by the interface of HEAR:
  from scenesynth.evaluate.hear import load_model, get_scene_embeddings
  model = load_model("encoders/first")
  get_scene_embeddings(audio, model)      # audio [n, channels, samples] at model.sample_rate
""",
)
@click.argument("source", metavar="RUN|CHECKPOINT", type=click.Path(exists=True, path_type=Path))
@option(
    "Output",
    "--out",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder for encoder.safetensors; one that is there is replaced.",
)
def export(source: Path, out: Path) -> None:
    """Write the encoder of a run's newest checkpoint, or of a checkpoint, as encoder.safetensors.

    The file holds the weights of the encoder, and in its metadata what front end and model they
    belong to: it is all that is needed to compute embeddings (docs/training.md).
    """
    needs_torch("export")
    from scenesynth.evaluate.hear import load_model
    from scenesynth.train.export import export as write

    path, checkpoint = write(source, out)
    model = load_model(str(path))
    size_mb = path.stat().st_size / 1e6
    click.echo(
        f"{path}  {size_mb:.1f} MB, from {checkpoint}\n"
        f"  {', '.join(model.channel_names)} at {model.sample_rate} Hz; embeddings of "
        f"{model.timestamp_embedding_size} numbers every {1000 * model.step_s:g} ms"
    )
