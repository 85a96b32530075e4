"""`scenesynth recipe`: the distributions that scenes are drawn from."""

from __future__ import annotations

import click

from scenesynth.cli.app import DONE, FAILED, Sectioned, option, pairs, table


@click.group(
    short_help="List, show and check recipes.",
    epilog="""\b
Examples:
  scenesynth recipe list
  scenesynth recipe show gram > mine.yaml
  scenesynth recipe check mine.yaml
  scenesynth render --recipe mine.yaml --hours 1 --out out/mine
""",
)
def recipe() -> None:
    """List, show and check recipes: the distributions that scenes are drawn from.

    A recipe is a YAML file. Its values are numbers, or distributions such as
    {uniform: [0.2, 0.5]}. To make your own, write one that comes along to a file, change it,
    and check it.
    """


@recipe.command("list")
def list_() -> None:
    """List the recipes that come along."""
    from scenesynth.scene.recipe import list_recipes

    click.echo(table(list(list_recipes().items())))


@recipe.command(
    short_help="Print the file of a recipe.",
    epilog="\b\nExample:\n  scenesynth recipe show gram > mine.yaml\n",
)
@click.argument("name", metavar="NAME|FILE")
def show(name: str) -> None:
    """Print the file of a recipe, comments and all: a start for your own."""
    from scenesynth.scene.recipe import find_recipe

    click.echo(find_recipe(name).read_text(encoding="utf-8"), nl=False)


@recipe.command(
    short_help="Draw scenes and say what they hold.",
    cls=Sectioned,
    epilog="""\b
Examples:
  scenesynth recipe check mine.yaml
  scenesynth recipe check gram --set noise.snr_db=10 --scenes 1000
""",
)
@click.argument("name", metavar="NAME|FILE")
@option(
    "What to draw",
    "--set",
    "changes",
    multiple=True,
    metavar="A.B=V",
    help="Change one value of the recipe; repeats.",
)
@option(
    "What to draw",
    "--scenes",
    type=click.IntRange(min=1),
    default=200,
    metavar="N",
    help="Scenes to draw.",
)
@option(
    "What to draw", "--seed", type=click.IntRange(min=0), default=0, metavar="N", help="Root seed."
)
def check(name: str, changes: tuple[str, ...], scenes: int, seed: int) -> None:
    """Read a recipe strictly, draw scenes from it, and say what they hold and what failed.

    Nothing is rendered and no clip is read: stand-in clips of 0.3 to 12 s take their place. Exit
    code 1 where a scene could not be drawn in any attempt, 2 where the recipe is wrong.
    """
    from scenesynth.scene.check import check as check_recipe
    from scenesynth.scene.recipe import load_recipe

    result = check_recipe(load_recipe(name, pairs(changes)), n_scenes=scenes, seed=seed)
    click.echo(f"{name}: {result}")
    raise SystemExit(DONE if result.ok else FAILED)


@recipe.command(
    short_help="Describe all that a recipe can say.",
    epilog="\b\nExamples:\n  scenesynth recipe schema\n"
    "  scenesynth recipe schema --json > recipe.schema.json\n",
)
@click.option("--json", "as_json", is_flag=True, help="JSON Schema, for editors and validators.")
def schema(as_json: bool) -> None:
    """Describe all that a recipe can say: every field, its default and its meaning."""
    import json

    from scenesynth.scene.recipe_schema import describe_schema, recipe_schema

    click.echo(json.dumps(recipe_schema(), indent=2) if as_json else describe_schema())
