"""What runs in a Ray process: it keeps a `Child`, hands it tasks and hands back its replies.

Kept apart so that this process imports next to nothing: all that renders is in the child.
"""

from __future__ import annotations

import platform

from scenesynth.pipeline.child import NODE_VARIABLE, Child, Reply, Task

_child: Child | None = None


def render_watched(task: Task) -> Reply:
    """The reply to a task, from a child that this process keeps from task to task."""
    global _child
    if _child is None or not _child.alive:
        _child = Child({NODE_VARIABLE: node_name()})
    return _child.run(task)


class Watcher:
    """An actor that keeps a child, and with it a device."""

    def render(self, task: Task) -> Reply:
        """The reply to a task."""
        return render_watched(task)


def node_name() -> str:
    """Name of this node, unique in the cluster."""
    import ray

    return f"{platform.node()}/{ray.get_runtime_context().get_node_id()[:6]}"
