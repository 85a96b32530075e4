"""What runs in a Ray process: it keeps a `Child`, hands it tasks and hands back its replies.

Kept apart so that this process imports next to nothing: all that renders is in the child.
"""

from __future__ import annotations

import platform
from collections.abc import Callable

from scenesynth.pipeline.child import NODE_VARIABLE, Child, Reply, Task

_child: Child | None = None


def render_watched(task: Task) -> Reply:
    """The reply to a task, from a child that this process keeps from task to task."""
    global _child
    if _child is None or not _child.alive:
        _child = Child({NODE_VARIABLE: node_name()})
    return _child.run(task)


def watching(shared: bytes) -> Callable[[bytes, float], Reply]:
    """A function that replies to the tasks with this in common.

    Ray brings a function to each of its processes once, and what it is called with every time.
    """

    def render(own: bytes, scene_limit_s: float) -> Reply:
        return render_watched(Task(shared, own, scene_limit_s))

    return render


class Watcher:
    """An actor that keeps a child, and with it a device."""

    def render(self, task: Task) -> Reply:
        """The reply to a task."""
        return render_watched(task)


def node_name() -> str:
    """Name of this node, unique in the cluster."""
    import ray

    return f"{platform.node()}/{ray.get_runtime_context().get_node_id()[:6]}"
