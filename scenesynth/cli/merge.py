"""`scenesynth merge`: one dataset of parts that were rendered in different places."""

from __future__ import annotations

import click

from scenesynth.cli.app import Sectioned, option, plural


@click.command(
    short_help="Join datasets rendered in different places by the same command.",
    cls=Sectioned,
    epilog="""\b
Example: halves of one job on two machines, then together
  scenesynth render --recipe everyday --hours 100 --part 1/2 --out out/half    (on one)
  scenesynth render --recipe everyday --hours 100 --part 2/2 --out out/half    (on the other)
  scenesynth merge one/half other/half --out out/whole
""",
)
@click.argument("uris", nargs=-1, required=True, metavar="URI URI...")
@option("Output", "--out", required=True, metavar="URI", help="Folder of the merged dataset.")
@option(
    "What is accepted",
    "--other-environment",
    is_flag=True,
    help="Accept parts rendered with other package versions or on another CPU level, whose scenes "
    "may differ by rounding; the first part's environment is the one that is recorded.",
)
def merge(uris: tuple[str, ...], out: str, other_environment: bool) -> None:
    """Make one dataset in --out of the datasets URI URI..., which stay as they are.

    They have to be parts of the same: equal recipe, seed, formats, shard size and corpora. A shard
    that several of them have is taken once, and has to have equal bytes. Files are linked where
    that is possible, else copied. The same command again finishes a merge that was interrupted.
    """
    from scenesynth.store.merge import merge as join
    from scenesynth.store.places import address_of

    done = join(
        [address_of(uri) for uri in uris], address_of(out), other_environment=other_environment
    )
    click.echo(
        f"{out} holds {plural(done.shards, 'shard')} now, {done.added:,} of them new, of a dataset "
        f"of {plural(done.scenes, 'scene')}"
        + (
            f"; {plural(done.missing, 'shard')} are in none of the parts: give the `scenesynth "
            f"render` command with --out {out} to make them"
            if done.missing
            else "; it is complete"
        )
    )
