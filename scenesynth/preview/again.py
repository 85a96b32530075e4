"""How exactly one scene is made once more, as text to be copied."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from scenesynth.corpus.builtin import load_manifest, plan
from scenesynth.store.layout import DatasetInfo
from scenesynth.store.places import Address
from scenesynth.store.schema import Scene


@dataclass(frozen=True, kw_only=True)
class Again:
    """A command or a program that renders one scene again.

    Attributes:
        language: "shell" or "python".
        note: what has to be filled in, or "".
    """

    language: str
    text: str
    note: str = ""


def again_from(root: Address, info: DatasetInfo, scene: Scene) -> Again:
    """The command that renders a scene of the dataset in `root` again."""
    own = [name for name in info.corpora if not _is_builtin(name, info, scene)]
    options = "".join(f" {_option(name)}" for name in own)
    return Again(
        language="shell",
        text=(
            f"scenesynth render --from {shlex.quote(str(root))} --only {shlex.quote(scene.id)} "
            f"--anew{options} --out out/again"
        ),
        note=f"Put in where the clips of {' and '.join(own)} are." if own else "",
    )


def again_drawn(
    recipe: str,
    changes: Iterable[tuple[str, str]],
    scene: Scene,
    *,
    seed: int,
    formats: Sequence[str],
    sources: Sequence[str] = (),
    noise: Sequence[str] = (),
) -> Again:
    """The program that draws and renders a scene of a recipe again."""
    row = scene.row
    given = [
        f"{name}={list(paths)!r}"
        for name, paths in (("sources", sources), ("noise", noise))
        if paths
    ]
    attempt = f", attempt={row['attempt']}" if row["attempt"] else ""
    lines = [
        "import scenesynth as ss",
        f"recipe = ss.load_recipe({recipe!r}, {list(changes)!r})",
        f"corpora = ss.Corpora.open({', '.join(given)})",
        f"spec = ss.sample_scene(recipe, corpora, seed={seed}, index={row['index']}, "
        f"split={row['split']!r}{attempt})",
        f"scene = ss.render_scene(spec, corpora, formats={list(formats)!r})",
    ]
    return Again(language="python", text="\n".join(lines))


def _is_builtin(name: str, info: DatasetInfo, scene: Scene) -> bool:
    """Whether a corpus is the built-in one of its name, as far as the scene tells."""
    known = _builtin_clips().get(name, frozenset())
    played = {event["clip"] for event in scene.events if event["corpus"] == name}
    return info.corpora[name]["clips"] == len(known) and played <= known


@cache
def _builtin_clips() -> dict[str, frozenset[str]]:
    """Ids of the built-in clips by corpus."""
    manifest = load_manifest()
    planned = {"sources": plan(manifest, "sources"), "noise": plan(manifest, "noise")}
    return {
        name: frozenset(clip.path.removesuffix(".wav") for clip in clips)
        for name, clips in planned.items()
    }


def _option(name: str) -> str:
    if name == "noise":
        return "--noise NOISE_CLIPS"
    return "--sources CLIPS" if name == "sources" else f"--sources {name}={name.upper()}_CLIPS"
