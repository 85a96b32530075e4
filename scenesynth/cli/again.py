"""`scenesynth render --from`: what the options of `render` mean for scenes that are given."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import click
from click.core import ParameterSource

from scenesynth.cli.app import pairs, plural, span, table
from scenesynth.cli.live import Counter

if TYPE_CHECKING:
    from scenesynth.corpus.corpora import Corpora
    from scenesynth.pipeline.again import AgainPlan
    from scenesynth.pipeline.plan import Plan

_OF_DRAWING = {
    "hours": "--hours",
    "scenes": "--scenes",
    "recipe": "--recipe",
    "sample_rate": "--sample-rate",
    "duration": "--duration",
    "split": "--split",
    "seed": "--seed",
}
"""Options that decide how scenes are drawn."""


class Asked(Protocol):
    """The options of `render` that matter here."""

    @property
    def source(self) -> str | None: ...
    @property
    def only(self) -> tuple[str, ...]: ...
    @property
    def anew(self) -> bool: ...
    @property
    def formats(self) -> str: ...
    @property
    def stems(self) -> str | None: ...
    @property
    def changes(self) -> tuple[str, ...]: ...
    @property
    def rir(self) -> str | None: ...
    @property
    def sources(self) -> tuple[str, ...]: ...
    @property
    def noise(self) -> tuple[str, ...]: ...
    @property
    def out(self) -> str: ...
    @property
    def shard_scenes(self) -> int | None: ...
    @property
    def codec(self) -> str: ...
    @property
    def on_error(self) -> str: ...
    @property
    def device(self) -> str: ...


def refuse_without_from(asked: Asked) -> None:
    """Refuse options that only make sense for given scenes."""
    if asked.only or asked.anew:
        name = "--only" if asked.only else "--anew"
        raise click.UsageError(f"{name} is about scenes that are given; give --from URI too")


def plan_of(asked: Asked) -> AgainPlan:
    """What is going to be made of the scenes that `--from` gives."""
    for name, flag in _OF_DRAWING.items():
        if _stated(name):
            raise click.UsageError(
                f"{flag} decides how scenes are drawn, and those of --from {asked.source} are; "
                f"leave it out (--only chooses among them)"
            )
    if asked.device == "cuda":
        raise click.UsageError("--device cuda: scenes that are given are rendered on the CPU")

    from scenesynth.corpus.corpora import Corpora
    from scenesynth.pipeline.again import plan_again

    def open_corpora() -> Corpora:
        with Counter() as progress:
            return Corpora.open(asked.sources, asked.noise, progress=progress)

    assert asked.source is not None
    rir = [("mode", asked.rir)] if asked.rir else []
    return plan_again(
        asked.source,
        asked.out,
        open_corpora=open_corpora,
        only=asked.only,
        changes=[*pairs(asked.changes), *rir],
        formats=_names(asked.formats) if _stated("formats") else (),
        stems=None if asked.stems is None else _names(asked.stems),
        shard_scenes=asked.shard_scenes,
        codec=asked.codec if _stated("codec") else None,
        on_error=asked.on_error if _stated("on_error") else "skip",
        anew=asked.anew,
    )


def report(plan: AgainPlan, as_json: bool) -> str:
    """The plan in words, or as one JSON object."""
    plain = {
        "out": str(plan.root),
        "from": plan.given.source,
        "scenes": plan.stop,
        "shards": plan.n_shards,
        "shard_scenes": plan.info.shard_scenes,
        "formats": list(plan.info.format_names),
        "stems": list(plan.info.stem_kinds),
        "hours": round(plan.hours, 4),
        "changes": dict(plan.given.changes),
        "rendering": plan.rendering,
        "complete": plan.complete,
        "bytes_at_most": plan.raw_bytes,
    }
    if as_json:
        return json.dumps(plain)
    from scenesynth.pipeline.progress import format_bytes

    changes = ", ".join(f"{name} = {value}" for name, value in plan.given.changes.items())
    length = span(plan.hours * 3600)
    rows = [
        ("output", f"{plan.root} (not touched by --dry-run)"),
        ("from", plan.given.source + ("" if plan.complete else ", which is still being rendered")),
        ("formats", f"{', '.join(plan.info.format_names)} at {plan.info.sample_rate} Hz"),
        ("stems", ", ".join(plan.info.stem_kinds)),
        ("scenes", f"{plan.stop:,}, {length} of audio"),
        ("shards", f"{plan.n_shards:,} of up to {plan.info.shard_scenes} scenes"),
        ("changed", changes),
        ("disk", f"at most {format_bytes(plan.raw_bytes)}"),
        ("rendering", _rendering(plan)),
    ]
    return table(rows)


def _rendering(plan: AgainPlan) -> str:
    """What is rendered, and why."""
    if plan.given.anew:
        return "everything, for --anew"
    if plan.rendering:
        return f"what has another render key, since {plan.rendering}; the rest is copied"
    return "nothing: all is copied as it is stored, and no clips are needed"


def closing(plan: Plan) -> str:
    """How much was copied, over all runs."""
    from scenesynth.store.commit import list_commits, read_commit

    logs = [read_commit(plan.root, shard).log for shard in list_commits(plan.root)]
    copied = sum(log.get("copied", 0) for log in logs)
    return f"{plural(copied, 'scene')} of {plan.stop:,} copied as they were stored"


def _stated(name: str) -> bool:
    """Whether an option was given, and does not just have its default."""
    source = click.get_current_context().get_parameter_source(name)
    return source is not ParameterSource.DEFAULT


def _names(text: str) -> Sequence[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
