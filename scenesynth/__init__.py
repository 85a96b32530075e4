"""Simulated sound scenes whose labels can be trusted.

The public names are those listed in `__all__`; everything else may move. They are imported when
first used, so that `import scenesynth` costs nothing and needs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scenesynth.acoustics.simulate import simulate_rir as simulate_rir
    from scenesynth.corpus.corpora import Corpora as Corpora
    from scenesynth.corpus.corpora import builtin_corpora as builtin_corpora
    from scenesynth.errors import ClipError as ClipError
    from scenesynth.errors import ConfigError as ConfigError
    from scenesynth.errors import ContentError as ContentError
    from scenesynth.errors import CorruptShardError as CorruptShardError
    from scenesynth.errors import PlacementError as PlacementError
    from scenesynth.errors import StoreError as StoreError
    from scenesynth.errors import UnreachableT60Error as UnreachableT60Error
    from scenesynth.pipeline.live import live as live
    from scenesynth.render.renderer import render_scene as render_scene
    from scenesynth.scene.recipe import load_recipe as load_recipe
    from scenesynth.scene.sample import sample_scene as sample_scene
    from scenesynth.scene.spec import SceneSpec as SceneSpec
    from scenesynth.store.frames import frame_table as frame_table
    from scenesynth.store.reader import open_dataset as open_dataset
    from scenesynth.store.schema import Scene as Scene
    from scenesynth.store.streaming import stream as stream
    from scenesynth.store.targets import frames as frames

    __version__: str

_HOMES = {
    "ClipError": "errors",
    "ConfigError": "errors",
    "ContentError": "errors",
    "Corpora": "corpus.corpora",
    "CorruptShardError": "errors",
    "PlacementError": "errors",
    "Scene": "store.schema",
    "SceneSpec": "scene.spec",
    "StoreError": "errors",
    "UnreachableT60Error": "errors",
    "builtin_corpora": "corpus.corpora",
    "frame_table": "store.frames",
    "frames": "store.targets",
    "live": "pipeline.live",
    "load_recipe": "scene.recipe",
    "open_dataset": "store.reader",
    "render_scene": "render.renderer",
    "sample_scene": "scene.sample",
    "simulate_rir": "acoustics.simulate",
    "stream": "store.streaming",
}

__all__ = [*_HOMES, "__version__"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("scenesynth")
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
