"""A small dataset, and faults to plant in copies of it.

Faults are committed anew, so that the files are those of their commits and only what is wrong with
their content can be found.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pipeline_helpers import make_recipe, plan_of

from scenesynth.audit.derive import event_columns, scene_columns
from scenesynth.audit.records import Audit, Check
from scenesynth.corpus.corpora import Corpora
from scenesynth.pipeline.driver import run
from scenesynth.pipeline.formats import format_of
from scenesynth.scene.recipe_records import Recipe
from scenesynth.scene.spec import SceneSpec
from scenesynth.store.commit import Commit, put_commit, read_commit, record_of
from scenesynth.store.layout import DATASET_FILE, commit_key, read_info, seal, table_key

SCENES, SHARD = 40, 4
ROWS = list[dict[str, Any]]


def audit_recipe(**changes: Any) -> Recipe:
    """Two targets, an interferer and noise, in two splits of one size."""
    layers: dict[str, Any] = {
        "splits": {"train": {"share": 1}, "test": {"share": 1}},
        "targets": {"event_s": 0.4, "emitters": 2},
        "interferers": {"event_s": 0.4},
        "sir_db": {"uniform": [0, 10]},
    }
    return make_recipe(**(layers | changes))


def render_small(root: Path, corpora: Corpora, scenes: int = SCENES, **changes: Any) -> None:
    plan = plan_of(
        root, corpora, scenes, recipe=audit_recipe(**changes), split="all", formats=["foa"]
    )
    assert run(plan).state == "done"


def failed(audit: Audit) -> set[str]:
    return {check.name for check in audit.failed}


def check_of(audit: Audit, name: str) -> Check:
    (check,) = (check for check in audit.checks if check.name == name)
    return check


def recommit(root: Path, shard: int) -> None:
    """Commit whatever lies there."""
    old = read_commit(root, shard)
    records = {key: record_of((root / key).read_bytes()) for key in old.files}
    (root / commit_key(shard)).unlink()
    put_commit(root, Commit(**{**_fields(old), "files": records}))


def _fields(commit: Commit) -> dict[str, Any]:
    return {name: getattr(commit, name) for name in Commit.__dataclass_fields__}


def edit(root: Path, table: str, change: Callable[[dict[str, Any]], None], *shards: int) -> None:
    """Change rows of a table where they lie, in some shards or all, and commit them."""
    for shard in shards or range(SCENES // SHARD):
        path = root / table_key(table, shard)
        found = pq.read_table(path)
        rows = found.to_pylist()
        for row in rows:
            change(row)
        _write(path, rows, found.schema)
        recommit(root, shard)


def edit_specs(root: Path, change: Callable[[dict[str, Any]], bool], *shards: int) -> None:
    """Change specs, and with them all that follows from them.

    Args:
        change: whether it has changed the spec, as plain data.
    """
    formats = [format_of(stored) for stored in read_info(root).formats]
    for shard in shards or range(SCENES // SHARD):
        paths = {name: root / table_key(name, shard) for name in ("scenes", "events")}
        tables = {name: pq.read_table(path) for name, path in paths.items()}
        scenes, events = (tables[name].to_pylist() for name in ("scenes", "events"))
        for row in scenes:
            plain = json.loads(row["spec"])
            if not change(plain):
                continue
            spec = SceneSpec.from_json(json.dumps(plain))
            row |= {"spec": spec.to_json(), **scene_columns(spec, formats)}
            mine = [event for event in events if event["index"] == row["index"]]
            for event, columns in zip(mine, event_columns(spec), strict=True):
                event |= columns
        for name, rows in (("scenes", scenes), ("events", events)):
            _write(paths[name], rows, tables[name].schema)
        recommit(root, shard)


def edit_identity(root: Path, **changes: Any) -> None:
    """Change dataset.json, which then says something else of the same scenes."""
    plain = read_info(root).to_dict()
    (root / DATASET_FILE).write_bytes(seal({**plain, **changes}))


def clips_of(spec: dict[str, Any], role: str) -> Iterator[dict[str, Any]]:
    """The clips of a spec's events of a role."""
    for emitter in spec["emitters"]:
        for event in emitter["events"]:
            if event["role"] == role:
                yield event["clip"]


def shards_of(root: Path, split: str) -> list[int]:
    """Shards of a split's scenes."""
    found = []
    for shard in range(SCENES // SHARD):
        path = root / table_key("scenes", shard)
        if pq.read_table(path, columns=["split"])["split"][0].as_py() == split:
            found.append(shard)
    return found


def _write(path: Path, rows: ROWS, schema: pa.Schema) -> None:
    pq.write_table(
        pa.Table.from_pylist(rows, schema=schema),
        path,
        compression="zstd",
        write_page_checksum=True,
    )
