"""`scenesynth bench`: how fast this machine renders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from scenesynth.cli.app import FAILED, Sectioned, option, pairs, table, tell

if TYPE_CHECKING:
    from scenesynth.render.device.bench import Bench


@click.group(
    short_help="Measure how fast this machine renders.",
    epilog="""\b
Examples:
  scenesynth bench gpu
  scenesynth bench gpu --json --out gpu.json
""",
)
def bench() -> None:
    """Measure how fast this machine renders."""


@bench.command(cls=Sectioned, short_help="Measure responses and scenes on a GPU.")
@option("What", "--recipe", default="gram", help="Recipe of the scenes.")
@option("What", "--set", "settings", multiple=True, metavar="FIELD=VALUE", help="As in render.")
@option("What", "--format", "format_name", default="foa", help="Output format.")
@option("What", "--batch", default="16,64,256", help="Scenes per batch, separated by commas.")
@option("How", "--device", default="cuda", help="cuda, cuda:N, or cpu for the same code without.")
@option("How", "--seconds", default=20.0, type=click.FloatRange(0), help="Spent on rates, about.")
@option("How", "--threads", type=click.IntRange(1), help="On the host; one per core by default.")
@option("Output", "--json", "as_json", is_flag=True, help="One JSON object.")
@option("Output", "--out", type=click.Path(dir_okay=False), help="Also write the JSON here.")
@click.pass_context
def gpu(
    context: click.Context,
    recipe: str,
    settings: tuple[str, ...],
    format_name: str,
    batch: str,
    device: str,
    seconds: float,
    threads: int | None,
    as_json: bool,
    out: str | None,
) -> None:
    """Measure rendering on a GPU: rates by batch size, breakdown, floors, accuracy, stability.

    Both modes, full and tail. Scenes are drawn from the recipe with the built-in clips. Ends with
    exit code 1 where there is no such device.
    """
    import json
    import os
    from pathlib import Path

    from scenesynth.acoustics.gpu.device import torch_device
    from scenesynth.errors import ConfigError

    try:
        where = torch_device(device)
    except ConfigError as error:
        tell(f"error: {error}")
        context.exit(FAILED)
    measured = _bench(
        recipe, settings, format_name, batch, where, seconds, threads or os.cpu_count() or 1
    )
    results = {"recipe": recipe, "format": format_name} | measured.run(tell)
    if out:
        Path(out).write_text(json.dumps(results, indent=1) + "\n")
    click.echo(json.dumps(results, indent=1) if as_json else report(results))


def _bench(
    recipe_name: str,
    settings: tuple[str, ...],
    format_name: str,
    batch: str,
    device: Any,
    seconds: float,
    threads: int,
) -> Bench:
    from scenesynth.corpus.corpora import Corpora
    from scenesynth.errors import ConfigError
    from scenesynth.render.compile import ensure_compiled
    from scenesynth.render.device.bench import Bench
    from scenesynth.scene.recipe import load_recipe
    from scenesynth.scene.sample import sample_scene_with_redraw
    from scenesynth.spatial.formats import parse_format

    parse_format(format_name)
    if not all(part.strip().isdigit() and int(part) for part in batch.split(",")):
        raise ConfigError(f"--batch {batch}: must be whole numbers above 0, such as 16,64,256")
    batches = sorted(int(part) for part in batch.split(","))
    recipe, corpora = load_recipe(recipe_name, pairs(settings)), Corpora.open()
    tell(f"drawing {batches[-1]} scenes")
    ensure_compiled(tell)
    specs = [sample_scene_with_redraw(recipe, corpora, index=n)[0] for n in range(batches[-1])]
    return Bench(
        specs=specs,
        corpora=corpora,
        format=format_name,
        batches=batches,
        seconds=seconds,
        device=device,
        threads=threads,
    )


def report(results: dict[str, Any]) -> str:
    """The results for people."""
    machine, floors = results["machine"], results["floors"]
    additions = floors["additions_per_s"]
    lines = [
        f"recipe {results['recipe']}, {results['format']}, "
        f"{machine.get('name', machine['device'])}, torch {machine['torch']}",
        f"copies {floors['copy_bytes_per_s'] / 1e9:,.0f} GB/s"
        + (f", adds {additions / 1e9:,.0f} G int32/s" if additions else ""),
    ]
    for mode, found in results["modes"].items():
        lines += ["", f"{mode}"]
        lines += [_batch_line(batch) for batch in found["batches"]]
        chunk = found["chunk"]
        lines.append(f"  a chunk of {chunk['rows']} responses of {chunk['n_images']} samples, ms")
        steps = chunk["ms"] | chunk.get("sweep_ms", {})
        lines.append(table([(f"  {name}", f"{ms:.3f}") for name, ms in steps.items()]))
        near, stable = found["accuracy"], found["stable"]
        lines.append(
            f"  from the CPU: responses {near['responses_db']:.1f} dB, scenes "
            f"{near['scenes_db']:.1f} dB, SNR {near['snr_db']:.2g} dB"
        )
        lines.append(
            f"  same bytes: {stable['over_runs']} again, {stable['over_batches']} in batch"
        )
    return "\n".join(lines)


def _batch_line(batch: dict[str, Any]) -> str:
    memory, over = batch["peak_memory_bytes"], batch.get("response_time_over_floor")
    return (
        f"  batch {batch['scenes']}: {batch['responses_per_s']:,.0f} responses/s, "
        f"{batch['scenes_per_s']:,.0f} scenes/s, {batch['rendered_per_s']:,.0f} with labels and "
        f"audio on the host"
        + (f", {memory / 1e9:.1f} GB" if memory else "")
        + (f"; responses take {over:.1f} x their floor" if over else "")
    )
