"""Counts of a run for Ray's exporter, and through it for Prometheus."""

from __future__ import annotations

from scenesynth.pipeline.events import Event, ShardDone, ShardFailed, Started


class RayMetrics:
    """Takes the events of a run that Ray carries; see docs/cluster.md for the names."""

    def __init__(self) -> None:
        from ray.util.metrics import Counter, Gauge

        by_node = ("node",)
        self._scenes = Counter("scenesynth_scenes", "Scenes committed.", by_node)
        self._audio_s = Counter("scenesynth_audio_seconds", "Audio committed.", by_node)
        self._bytes = Counter("scenesynth_bytes", "Bytes committed.", by_node)
        self._redraws = Counter("scenesynth_redraws", "Draws repeated.", by_node)
        self._failures = Counter("scenesynth_failures", "Failures of shards.", ("kind",))
        self._left = Gauge("scenesynth_shards_left", "Shards that this run has still to end.")
        self._n_left = 0

    def __call__(self, event: Event) -> None:
        """Count one event."""
        match event:
            case Started():
                self._leave(event.shards)
            case ShardDone():
                node = {"node": event.node}
                counts = (
                    (self._scenes, event.scenes),
                    (self._audio_s, event.audio_s),
                    (self._bytes, event.n_bytes),
                    (self._redraws, event.redraws),
                )
                for counter, value in counts:
                    if value:
                        counter.inc(value, node)
                self._leave(self._n_left - 1)
            case ShardFailed():
                self._failures.inc(1, {"kind": event.kind})
                self._leave(self._n_left - event.parked)
            case _:
                pass

    def _leave(self, n: int) -> None:
        self._n_left = n
        self._left.set(n)
